"""One (node, profile) as the catalog keeps it: the view's candidate, and the exact value of the change it came with."""

from typing import NamedTuple

from pydantic import ValidationError

from b3iq_schemas.eligibility import Decision, EligibilityChange, Gates
from b3iq_streams.catalog.wording import public_id
from b3iq_streams.router.supply import Candidate

GATES = tuple(Gates.model_fields)
"""The gates, in the order of explanation."""


class RowId(NamedTuple):
    """Orders rows by node, then profile. The partition is there because nothing but honesty keeps a key on one."""

    node_id: str
    profile_id: str
    partition: int


class Row:
    """What is shown of one key, never changed. Evidence and failing checks stay in `value` until somebody asks."""

    __slots__ = ("candidate", "gates", "id", "text", "value")

    def __init__(self, candidate: Candidate, decision: Decision, value: bytes) -> None:
        gates = decision.gates
        self.candidate, self.value = candidate, value
        self.id = RowId(candidate.node_id, candidate.profile_id, candidate.partition)
        self.gates = (gates.node, gates.route, gates.protocol, gates.runtime, gates.policy)
        self.text = f"{candidate.key}\n{candidate.model_id}".lower()

    @property
    def group(self) -> tuple[str, str]:
        """Model and tier."""
        return self.candidate.model_id, self.candidate.route_tier

    @property
    def blocked_gates(self) -> list[str]:
        """The gates that do not pass."""
        return [name for name, state in zip(GATES, self.gates, strict=True) if state != "pass"]

    @property
    def decision(self) -> Decision:
        """The whole decision."""
        return EligibilityChange.model_validate_json(self.value).decision


def read_decision(value: bytes) -> Decision | None:
    """The decision in a change; None for what is not the contract's, which the view takes as a "no"."""
    try:
        return EligibilityChange.model_validate_json(value).decision
    except ValidationError:
        return None


def showable(candidate: Candidate) -> bool:
    """Whether a key may be shown at all."""
    return public_id(candidate.key) and public_id(candidate.model_id)
