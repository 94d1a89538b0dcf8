"""Policy revisions from a template to k of n signatures, and what a log of them says. Pure: files and Kafka are others'.

Whether a revision counts is decided by the same admission the processor runs; nothing here has an opinion of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from nacl.signing import SigningKey
from pydantic import ValidationError

from b3iq_schemas import envelope
from b3iq_schemas.canonical import canonical, parse_canonical
from b3iq_schemas.codes import REFUSAL_MEANING, Refusal
from b3iq_schemas.policy import POLICY_V1, Policy, RootTrust
from b3iq_schemas.topics import POLICIES
from b3iq_streams.core.admit import Fact, Refused, Scope, admit, keys_for, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, prepare
from b3iq_streams.errors import UserError, first_problem

ROLES = ("control-plane", "observer", "broker", "operator", "processor", "router")

_TEMPLATE: dict[str, Any] = {
    "heartbeat_ttl_ms": 30_000,
    "route_health_ttl_ms": 60_000,
    "registration_ttl_ms": 86_400_000,
    "benchmark_ttl_ms": 7 * 86_400_000,
    "sent_at_past_ms": 120_000,
    "sent_at_future_ms": 10_000,
    "boot_jump_max": 1_000,
    "seq_jump_max": 1_000_000,
    "equivocation_block_ms": 600_000,
    "stake_wei_min": "1000000000000000000",
    "tiers": {
        "local_convenience": {"paid": "blocked", "runtimes": []},
        "portable_local": {"paid": "allowed", "runtimes": ["ollama", "openai", "sglang", "vllm"]},
        "network_beta": {"paid": "allowed", "runtimes": ["openai", "sglang", "vllm"]},
        "datacenter_optimized": {"paid": "future", "runtimes": ["sglang", "vllm"]},
        "fleet_orchestrated": {"paid": "future", "runtimes": ["sglang", "vllm"]},
    },
    "queue_states_passing": ["healthy", "degraded"],
    "hold_down": {"flips_max": 3, "window_ms": 600_000, "hold_ms": 120_000},
    "refresh_period_ms": 3_600_000,
    "grace_ms": 10_000,
}


def template(network: str, revision: int, roles: Mapping[str, Sequence[str]], now_ms: int, **changes: Any) -> Policy:
    """A sound revision to start from; `roles` = public keys (hex) by role, a role without any can sign nothing."""
    keys = {role.replace("-", "_"): list(roles.get(role, ())) for role in ROLES}
    head = {"network": network, "revision": revision, "sent_at_ms": now_ms, "roles": keys}
    try:
        return Policy.model_validate_json(orjson.dumps(head | _TEMPLATE | changes))
    except ValidationError as error:
        raise UserError(f"no policy can be made of this: {first_problem(error)}") from None


def add_signature(raw: bytes, key: SigningKey) -> bytes:
    """An envelope with one more root's signature, from a policy in plain JSON or from an envelope; order is kept."""
    try:
        outer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}") from None
    if not isinstance(outer, dict) or "payload" not in outer:
        return envelope.sign(POLICY_V1, canonical(_policy(raw)), [key])
    sealed = _parse(raw)
    _policy(sealed.payload)
    public = bytes(key.verify_key)
    listed = [item for item in orjson.loads(raw)["signatures"] if item["keyid"] != envelope.keyid(public)]
    (fresh,) = orjson.loads(envelope.sign(POLICY_V1, sealed.payload, [key]))["signatures"]
    signed = orjson.dumps(outer | {"signatures": [*listed, fresh]})
    _parse(signed)
    return signed


def read(raw: bytes) -> Policy:
    """The policy in plain JSON or in an envelope, whoever signed that; raises UserError for anything else."""
    try:
        outer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}") from None
    return _policy(_parse(raw).payload if isinstance(outer, dict) and "payload" in outer else raw)


def _parse(raw: bytes) -> envelope.Envelope:
    try:
        sealed = envelope.parse(raw)
        parse_canonical(sealed.payload)
    except envelope.EnvelopeError as error:
        raise UserError(f"not an envelope: {explain(error.code)}") from None
    except ValueError:
        raise UserError(f"not a policy envelope: {explain(Refusal.PAYLOAD_NOT_CANONICAL)}") from None
    if sealed.payload_type != POLICY_V1:
        raise UserError(f"not a policy envelope: its payload type is {sealed.payload_type[:80]}")
    return sealed


def _policy(payload: bytes) -> Policy:
    try:
        return Policy.model_validate_json(payload)
    except ValidationError as error:
        raise UserError(f"not a policy: {first_problem(error)}") from None


def explain(code: Refusal) -> str:
    """A refusal's code and what it means."""
    return f"{code}: {REFUSAL_MEANING[code]}"


# --- the log ----------------------------------------------------------------------------------------------------------


class PartitionPolicies(NamedTuple):
    """One partition of the topic: the rules in force and the records that were refused."""

    rules: Rules | None
    refused: tuple[Refused, ...]

    @property
    def revision(self) -> int:
        """The revision in force, 0 for none."""
        return self.rules.policy.revision if self.rules else 0


def fold(
    records: Iterable[Record], trust: RootTrust, partitions: Sequence[int], stamped: bool = True
) -> dict[int, PartitionPolicies]:
    """What each partition's records come to. `stamped` False: do not insist on the broker's timestamps."""
    found = {partition: PartitionPolicies(None, ()) for partition in partitions}
    for record in records:
        known = found[record.partition]
        result = judge(record, known.rules, trust, stamped)
        if isinstance(result, Refused):
            found[record.partition] = known._replace(refused=(*known.refused, result))
        else:
            found[record.partition] = known._replace(rules=prepare(result.payload, result.proof))
    return found


def judge(record: Record, rules: Rules | None, trust: RootTrust, stamped: bool = True) -> Fact | Refused:
    """Admission's verdict on one record, after the revision in `rules`."""
    scope = Scope(trust, record.partition, record.partition + 1, require_log_append_time=stamped)
    opened = open_record(record, keys_for(POLICIES, rules, None, scope), scope, envelope.verify)
    return admit(opened, rules, None, scope, envelope.verify)


def plan(signed: bytes, trust: RootTrust, log: Mapping[int, PartitionPolicies]) -> tuple[Policy, list[int]]:
    """The policy in an envelope, and the partitions that still lack it; raises UserError unless it may be published.

    A publication that broke off can be finished: partitions that hold exactly this revision are left as they are.
    """
    policy = _policy(_parse(signed).payload)
    record = Record(POLICIES, 0, 0, str(policy.revision).encode(), signed, 0)
    verdict = judge(record, None, trust)
    if isinstance(verdict, Refused):
        raise UserError(f"the processor would refuse this revision: {explain(verdict.code)}")
    newest = max((held.revision for held in log.values()), default=0)
    same = [partition for partition, held in log.items() if held.rules and held.rules.payload == verdict.payload]
    lacking = [partition for partition in sorted(log) if partition not in same]
    if policy.revision < newest or (policy.revision == newest and not same):
        raise UserError(f"revision {policy.revision} is not above the published revision {newest}")
    if any(log[partition].revision >= policy.revision for partition in lacking):
        raise UserError(f"another policy with revision {policy.revision} is published already: raise the revision")
    if not lacking:
        raise UserError(f"revision {policy.revision} is published already, on every partition")
    return policy, lacking
