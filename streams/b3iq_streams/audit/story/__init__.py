"""One node: why at a moment (`explain`), and what over time (`timeline`)."""
