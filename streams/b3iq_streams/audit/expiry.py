"""What an audit says beyond retention: "evidence expired", and never "not eligible"."""

from b3iq_streams.audit.times import show


class EvidenceExpired(Exception):
    """The records that an answer needs are not kept any more. `earliest_ms` = the earliest time that can be answered."""

    def __init__(self, what: str, earliest_ms: int | None) -> None:
        until = "nothing can be answered from what is left" if earliest_ms is None else (
            f"the earliest time that can be answered is {show(earliest_ms)}"
        )  # fmt: skip
        super().__init__(f"evidence expired: {what}; {until}")
        self.earliest_ms = earliest_ms
