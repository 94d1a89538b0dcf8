"""A policy revision prepared for use: key ids resolved, tiers and limits ready to look up. Judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from b3iq_schemas import topics
from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import Policy
from b3iq_streams.core.values import Proof

_ROLE_OF_TOPIC = {
    topics.REGISTRATIONS: "control_plane",
    topics.BENCHMARKS: "observer",
    topics.ROUTE_HEALTH: "broker",
    topics.HOLDS: "operator",
}
NO_KEYS: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Rules:
    """One admitted revision: the policy, its exact payload, where it stands, and its keys by role and by key id.

    `before` is the revision it replaced: a fact by a key that was listed when it was logged is admitted, so that its "no" is
    never lost, however late it is folded. Whether it still counts as evidence is the gates' question.
    """

    policy: Policy
    payload: bytes
    proof: Proof
    keys_by_topic: Mapping[str, Mapping[str, bytes]]
    processors: Mapping[str, bytes]
    stake_wei_min: int
    before: "Rules | None" = None

    def at(self, logged_at_ms: int) -> "Rules":
        """The newest revision logged at or before that time; the first one for what is older than all of them."""
        rules = self
        while rules.before is not None and rules.proof.logged_at_ms > logged_at_ms:
            rules = rules.before
        return rules

    def judges_as(self, other: "Rules | None") -> bool:
        """Whether no decision could differ between the two revisions: they differ in names and publishing only."""
        return other is not None and self._judging() == other._judging()

    def _judging(self) -> Policy:
        idle = {
            "revision": 1,
            "sent_at_ms": 0,
            "grace_ms": 0,
            "refresh_period_ms": 0,
        }
        return self.policy.model_copy(update=idle)


def keys_by_id(public_keys: tuple[str, ...]) -> Mapping[str, bytes]:
    """Key id → raw public key."""
    return {keyid(raw): raw for raw in map(bytes.fromhex, public_keys)}


@lru_cache(maxsize=1024)
def prepare(payload: bytes, proof: Proof) -> Rules:
    """The rules in a policy payload that was admitted; raises pydantic's ValidationError for anything else."""
    policy = Policy.model_validate_json(payload)
    return Rules(
        policy=policy,
        payload=payload,
        proof=proof,
        keys_by_topic={name: keys_by_id(getattr(policy.roles, role)) for name, role in _ROLE_OF_TOPIC.items()},
        processors=keys_by_id(policy.roles.processor),
        stake_wei_min=int(policy.stake_wei_min),
    )
