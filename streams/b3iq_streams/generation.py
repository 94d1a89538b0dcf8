"""A new generation of a network, as decisions: what to do, what may be done, what was proven. Kafka is `regenerate.py`'s.

What a change of the number of partitions must not lose are the holds and the policies; what it may lose comes again from
its senders, and until then every node is closed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import orjson
from nacl.signing import SigningKey
from pydantic import Field, ValidationError

from b3iq_schemas.envelope import keyid
from b3iq_schemas.ids import Contract, Count, NetworkId
from b3iq_schemas.policy import Policy, RootTrust
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HOLDS, POLICIES, TOPICS
from b3iq_streams import policies
from b3iq_streams.cli_options import read, write
from b3iq_streams.core.admit import Refused
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, keys_by_id, prepare
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.kafka import Layout

KEPT = (POLICIES, HOLDS)
"""Grown where they are and never deleted (T1)."""
ANEW = (*(name for name in TOPICS if name not in (*KEPT, ELIGIBILITY_CHANGES)), ELIGIBILITY_CHANGES)
"""Deleted and made anew, the chain last: while it has the old number of partitions no processor starts."""


class Plan(Contract):
    """What a change is about. Kept in a file beside the new trust file from before the first step until after the last:
    how many partitions there were is what tells which holds are in force, and the topics stop saying it."""

    network: NetworkId
    generation: Count
    """The old one."""
    partitions_before: int = Field(ge=1, le=1_000)
    partitions: int = Field(ge=1, le=1_000)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The plan in a file, None if there is no file."""
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(read(path, "plan"))
        except ValidationError as error:
            raise UserError(f"{path} is not the plan of a change: {first_problem(error)}") from None

    def save(self, path: Path) -> None:
        """Write it in one step."""
        write(path, orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def plan(layouts: Mapping[str, Layout], trust: RootTrust, partitions: int, under_way: Plan | None) -> Plan:
    """The plan of a change to `partitions`, or the one under way; raises UserError unless it can be begun or gone on with."""
    if missing := [name for name in KEPT if name not in layouts]:
        raise UserError(f"topic {missing[0]} does not exist: holds and policies are what a new generation must carry over")
    if under_way is not None:
        wanted = Plan(
            network=trust.network,
            generation=trust.generation,
            partitions_before=under_way.partitions_before,
            partitions=partitions,
        )
        if wanted != under_way:
            raise UserError(
                f"a change of {under_way.network}, generation {under_way.generation}, to {under_way.partitions} partitions "
                "is under way: go on with that one"
            )
    else:
        if ELIGIBILITY_CHANGES not in layouts:
            raise UserError(f"without {ELIGIBILITY_CHANGES} or the plan of a change nothing says how many partitions there were")
        before = layouts[ELIGIBILITY_CHANGES].partitions
        if partitions <= before:
            raise UserError(f"there are {before} partitions, and holds can only be carried to more of them")
        wanted = Plan(network=trust.network, generation=trust.generation, partitions_before=before, partitions=partitions)
    for name, layout in layouts.items():
        if layout.partitions not in (wanted.partitions_before, partitions):
            raise UserError(f"{name} has {layout.partitions} partitions, neither {wanted.partitions_before} nor {partitions}")
    return wanted


def whole(topic: str, records: Iterable[Record], ends: Mapping[int, int]) -> list[Record]:
    """The records of a topic; raises UserError unless they are all there ever were: every offset from 0 to the end."""
    found = list(records)
    offsets: dict[int, int] = {}
    for record in found:
        if record.offset != offsets.get(record.partition, 0):
            raise UserError(
                f"{topic}/{record.partition}: records before offset {record.offset} are gone: what they said is unknown"
            )
        offsets[record.partition] = record.offset + 1
    for partition, end in ends.items():
        if offsets.get(partition, 0) < end:
            raise UserError(f"{topic}/{partition}: records before offset {end} are gone: what they said is unknown")
    return found


def newest(records: Iterable[Record], trust: RootTrust) -> Rules:
    """The newest revision on any partition; raises UserError if there is none."""
    revisions = _revisions(records, trust)
    if not revisions:
        raise UserError("no policy revision is in force: there is nobody whose holds could be carried over")
    return revisions[max(revisions)][0]


def lacking_policies(records: Sequence[Record], partitions: int, trust: RootTrust) -> Iterator[tuple[int, int, bytes]]:
    """(partition, revision, exact bytes) of what each partition lacks to have every revision above the one it has."""
    revisions, said = _revisions(records, trust), [record for record in records if record.topic == POLICIES]
    for partition, known in policies.fold(said, trust, range(partitions)).items():
        for revision, (_, value) in sorted(revisions.items()):
            if revision > known.revision:
                yield partition, revision, value


def _revisions(records: Iterable[Record], trust: RootTrust) -> dict[int, tuple[Rules, bytes]]:
    in_force: dict[int, Rules] = {}
    found: dict[int, tuple[Rules, bytes]] = {}
    for record in records:
        if record.topic != POLICIES:
            continue
        verdict = policies.judge(record, in_force.get(record.partition), trust)
        if isinstance(verdict, Refused):
            continue
        rules = in_force[record.partition] = prepare(verdict.payload, verdict.proof)
        known, _ = found.setdefault(rules.policy.revision, (rules, record.value or b""))
        if known.payload != rules.payload:
            raise UserError(f"policy revision {rules.policy.revision} differs between partitions: publish a higher one first")
    return found


def require_operator(key: SigningKey, policy: Policy) -> None:
    """Raise UserError unless the policy lets this key sign holds."""
    public = bytes(key.verify_key)
    if keyid(public) not in keys_by_id(policy.roles.operator):
        raise UserError(
            f"key {keyid(public)[:16]} is no operator's under policy revision {policy.revision}: it cannot sign holds"
        )


def next_trust(trust: RootTrust, policy: Policy) -> RootTrust:
    """The trust of the next generation. Its first epochs are the processors' of the newest policy: a key that the policy
    dropped does not come back with a new genesis."""
    return trust.model_copy(update={"generation": trust.generation + 1, "genesis_processors": policy.roles.processor})
