"""State as bytes and back: arrays in the order of the named tuples' fields, profiles in the contract's words.

The bytes are what state digests are over, so they must be the same for the same state: maps are written sorted.
"""

from dataclasses import replace
from typing import Any

import orjson

from b3iq_streams.core.rules import Rules, prepare
from b3iq_streams.core.values import Beat, Benchmarked, Claims, Held, NodeState, Proof, Published, Registered, Routed


def encode_node(node: NodeState) -> bytes:
    """The node's state as bytes; `decode_node` gives it back."""
    return orjson.dumps(
        [
            _registration(node.registration),
            list(_flat(node.hold)) if node.hold else None,
            [[profile_id, *_flat(node.benchmarks[profile_id])] for profile_id in sorted(node.benchmarks)],
            list(_flat(node.route)) if node.route else None,
            _beat(node.beat),
            node.equivocated_until_ms,
            node.equivocated_at_ms,
            [_published(profile_id, node.published[profile_id]) for profile_id in sorted(node.published)],
        ]
    )


def _flat(fact: Held | Benchmarked | Routed) -> tuple[object, ...]:
    return (tuple(fact[0]), *fact[1:])


def _registration(held: Registered | None) -> list[object] | None:
    if held is None:
        return None
    keys = sorted((name, key.hex()) for name, key in held.keys.items())
    return [tuple(held.proof), held.seq, held.enrolled, held.registered, held.active, str(held.stake_wei), keys]


def _beat(beat: Beat | None) -> list[object] | None:
    if beat is None:
        return None
    profiles = [tuple(claims) for claims in beat.profiles]
    return [tuple(beat.proof), beat.boot, beat.seq, beat.state, beat.listing, profiles]


def _published(profile_id: str, last: Published) -> list[object]:
    return [profile_id, last.eligible, last.body.decode(), *last[2:]]


def decode_node(raw: bytes) -> NodeState:
    """The state in `raw`. Raises ValueError, TypeError, KeyError, IndexError or AttributeError for anything else."""
    registration, hold, benchmarks, route, beat, until_ms, since_ms, published = orjson.loads(raw)
    return NodeState(
        _read_registration(registration),
        Held(Proof(*hold[0]), *hold[1:]) if hold else None,
        {row[0]: Benchmarked(Proof(*row[1]), *row[2:]) for row in benchmarks},
        Routed(Proof(*route[0]), *route[1:]) if route else None,
        _read_beat(beat),
        until_ms,
        since_ms,
        {row[0]: Published(row[1], row[2].encode(), row[3], row[4], tuple(row[5]), row[6]) for row in published},
    )


def _read_registration(row: list[Any] | None) -> Registered | None:
    if row is None:
        return None
    proof, seq, enrolled, registered, active, stake_wei, keys = row
    return Registered(
        Proof(*proof),
        seq,
        enrolled,
        registered,
        active,
        int(stake_wei),
        {name: bytes.fromhex(key) for name, key in keys},
    )


def _read_beat(row: list[Any] | None) -> Beat | None:
    if row is None:
        return None
    proof, boot, seq, state, listing, profiles = row
    return Beat(Proof(*proof), boot, seq, state, listing, tuple([Claims(*values) for values in profiles]))


def encode_rules(rules: Rules) -> bytes:
    """The rules as bytes: for each revision, newest first, the exact payload that was signed, and where it stands."""
    rows: list[tuple[str, list[object]]] = []
    revision: Rules | None = rules
    while revision is not None:
        rows.append((revision.payload.decode(), list(revision.proof)))
        revision = revision.before
    return orjson.dumps(rows)


def decode_rules(raw: bytes) -> Rules:
    """The rules in `raw`; raises ValueError, TypeError or AttributeError for anything else."""
    rules: Rules | None = None
    for payload, proof in reversed(orjson.loads(raw)):
        rules = replace(prepare(payload.encode(), Proof(*proof)), before=rules)
    if rules is None:
        raise ValueError("no rules")
    return rules
