"""Routing decisions, joined with the truth at their moment and position."""
