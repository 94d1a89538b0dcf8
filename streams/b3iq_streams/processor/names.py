"""Names that only the processor and its supervisors see. Topics are `b3iq_schemas.topics`'."""

GROUP = "b3iq-processor"
TABLE = "checkpoint"
AGENT = "owner"


def changelog(group: str) -> str:
    """The topic behind the checkpoint table: compacted, as many partitions as the inputs, small segments."""
    return f"{group}-{TABLE}-changelog"
