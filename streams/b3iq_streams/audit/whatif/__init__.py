"""A range folded under another policy, beside what was recorded."""
