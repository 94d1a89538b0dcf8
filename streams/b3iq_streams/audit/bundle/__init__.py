"""Bundles: what is on record about one node, for its host; written with Kafka, checked without."""
