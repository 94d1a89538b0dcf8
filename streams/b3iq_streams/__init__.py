"""Folds signed facts about GPU hosts into eligibility for paid traffic."""
