"""Audit: any past decision re-folded from the logs alone, explained, and asked "what if". Reads; never writes to Kafka.

Every command reads a `Source` (live topics or an archive), walks the partitions' chains with `walk.Walk`, and reports.
"""
