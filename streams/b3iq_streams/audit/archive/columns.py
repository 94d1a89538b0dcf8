"""The columns of an archive, topic by topic: what an analyst filters and joins by, taken out of the raw value.

What stands in these columns is **not checked**: whoever may append to a topic may make them say anything. Only
`accepted_epoch` is a judgement, the chain's own (`archive_fates.py`). Null where the value does not hold what is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.codes import Gate
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.envelope import SIGNATURES_MAX, EnvelopeError, parse
from b3iq_schemas.events import NODE_KEYS_MAX, PROFILES_MAX
from b3iq_schemas.ids import INT_MAX
from b3iq_streams.audit.archive.fates import Fate
from b3iq_streams.audit.archive.rows import RAW, raw_columns, record_sha256
from b3iq_streams.core.records import Record

CONSIDERED_MAX, VIEW_MAX, FAILING_MAX, TIERS_MAX = 32, 1024, 64, 32
"""Longer lists than the contract allows are not read: a small record must not unpack to a large one."""


class Read(NamedTuple):
    """What a value says when nobody checks it: its envelope's type and key ids, and its members by name."""

    plain: Mapping[str, Any] = {}
    payload_type: str | None = None
    keyids: list[str] | None = None
    payload: bytes | None = None


class Kind(NamedTuple):
    """A column's type, and how a member becomes a cell: the value itself, or None if it is not of the kind."""

    type: Any
    cell: Callable[[Any], Any]


class Column(NamedTuple):
    """A column and where its cells come from."""

    name: str
    kind: Kind
    get: Callable[[Read], Any]


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= INT_MAX else None


TEXT = Kind(pa.string(), lambda value: value if type(value) is str else None)
COUNT = Kind(pa.int64(), _whole)
FLAG = Kind(pa.bool_(), lambda value: value if type(value) is bool else None)
TIME = Kind(pa.timestamp("ms", "UTC"), _whole)
TIME_OR_NEVER = Kind(TIME.type, lambda value: _whole(value) or None)
"""0 says "never" or "not"."""


def _texts(longest: int) -> Kind:
    def cell(value: Any) -> list[str] | None:
        if type(value) is not list or len(value) > longest:
            return None
        return value if all(type(item) is str for item in value) else None

    return Kind(pa.list_(pa.string()), cell)


def _structs(longest: int, **fields: Kind) -> Kind:
    def cell(value: Any) -> list[dict[str, Any]] | None:
        if type(value) is not list or len(value) > longest:
            return None
        found = [item if type(item) is dict else {} for item in value]
        return [{name: kind.cell(item.get(source)) for name, source, kind in wanted} for item in found]

    wanted = [(name, f"{name}_ms" if kind.type == TIME.type else name, kind) for name, kind in fields.items()]
    return Kind(pa.list_(pa.struct([(name, kind.type) for name, kind in fields.items()])), cell)


def _member(name: str) -> Callable[[Read], Any]:
    return lambda read: read.plain.get(name)


def _is(kind: Kind, *names: str) -> tuple[Column, ...]:
    """Columns that hold the members of the same names; a moment's member has its unit behind its name."""
    ending = "_ms" if kind.type == TIME.type else ""
    return tuple(Column(name, kind, _member(name + ending)) for name in names)


def _inside(outer: str, name: str) -> Callable[[Read], Any]:
    def get(read: Read) -> Any:
        found = read.plain.get(outer)
        return found.get(name) if type(found) is dict else None

    return get


def _codes(read: Read) -> Any:
    found = read.plain.get("failing")
    if type(found) is not list or len(found) > FAILING_MAX:
        return None
    return [item.get("code") if type(item) is dict else None for item in found]


def _tiers(read: Read) -> Any:
    found = read.plain.get("tiers")
    if type(found) is not dict or len(found) > TIERS_MAX:
        return None
    return sorted(name for name, rule in found.items() if type(rule) is dict and rule.get("paid") == "allowed")


def _node_keys(read: Read) -> Any:
    found = read.plain.get("keys")
    if type(found) is not list or len(found) > NODE_KEYS_MAX:
        return None
    return [item.get("public_key") if type(item) is dict else None for item in found]


def _digest(read: Read) -> Any:
    return None if read.payload is None else sha256_hex(read.payload)


_SIGNED = (
    Column("payload_type", TEXT, lambda read: read.payload_type),
    Column("keyids", _texts(SIGNATURES_MAX), lambda read: read.keyids),
)
_FACT = (*_SIGNED, *_is(TEXT, "node_id"), *_is(COUNT, "seq"), *_is(TIME, "sent_at"))
_OFFER = _is(TEXT, "model_id", "route_tier", "runtime_kind", "price_wei_per_mtok")
_PROFILE = {
    "profile_id": TEXT, "model_id": TEXT, "status": TEXT, "runtime_kind": TEXT, "runtime_reachable": FLAG, "route_tier": TEXT,
    "network_eligible": FLAG, "benchmark_verified": FLAG, "paid_route_eligible": FLAG, "queue_health": TEXT,
    "price_wei_per_mtok": TEXT, "context_tokens_max": COUNT,
}  # fmt: skip
DERIVED: dict[str, tuple[Column, ...]] = {
    topics.POLICIES: (
        *_SIGNED, *_is(COUNT, "revision"), *_is(TIME, "sent_at"),
        *_is(COUNT, "heartbeat_ttl_ms", "route_health_ttl_ms", "registration_ttl_ms", "benchmark_ttl_ms"),
        *_is(TEXT, "stake_wei_min"), Column("tiers_allowed", _texts(TIERS_MAX), _tiers),
    ),
    topics.REGISTRATIONS: (
        *_FACT, *_is(FLAG, "enrolled", "registered", "active"), *_is(TEXT, "stake_wei"), *_is(COUNT, "chain_height"),
        Column("public_keys", _texts(NODE_KEYS_MAX), _node_keys),
    ),
    topics.HOLDS: (*_FACT, *_is(FLAG, "held")),
    topics.BENCHMARKS: (
        *_FACT, *_is(TEXT, "profile_id", "model_id", "outcome"), *_is(COUNT, "throughput_mtok_per_s", "first_token_ms_p50"),
        *_is(TEXT, "report_sha256"),
    ),
    topics.ROUTE_HEALTH: (*_FACT, *_is(TEXT, "broker_id", "state"), *_is(FLAG, "public_inference_allowed")),
    topics.HEARTBEATS: (
        *_FACT, *_is(COUNT, "boot"), *_is(TEXT, "state", "agent_version"),
        *_is(_structs(PROFILES_MAX, **_PROFILE), "profiles"),
    ),
    topics.ELIGIBILITY_CHANGES: (
        *_is(TEXT, "kind", "attempt"), *_is(COUNT, "i"), *_is(FLAG, "refresh"), *_is(TEXT, "node_id", "profile_id"),
        *_is(FLAG, "eligible"), *(Column(f"gate_{gate}", TEXT, _inside("gates", gate)) for gate in Gate),
        Column("codes", _texts(FAILING_MAX), _codes), Column("first_code", TEXT, lambda read: (_codes(read) or [None])[0]),
        *_OFFER, *_is(COUNT, "throughput_mtok_per_s"), *_is(TIME_OR_NEVER, "benchmarked_at", "valid_until"),
        *_is(TIME, "decided_at"), *_is(COUNT, "policy_revision"),
        *_SIGNED, *_is(COUNT, "epoch"), *_is(TEXT, "prev"), Column("digest", TEXT, _digest),
        *_is(TIME, "resolved_at"), *_is(COUNT, "n"),
    ),
    topics.ROUTING_DECISIONS: (
        *_SIGNED, *_is(TEXT, "decision_id"), *_is(TIME, "decided_at"), *_is(TEXT, "model_id", "caller_hash"),
        *_is(TEXT, "request_policy_sha256"), *_is(FLAG, "allowed"), *_is(TEXT, "code", "node_id", "profile_id"),
        *_is(_structs(CONSIDERED_MAX, node_id=TEXT, profile_id=TEXT, reason=TEXT), "considered"),
        *_is(COUNT, "considered_total"),
        *_is(_structs(VIEW_MAX, partition=COUNT, epoch=COUNT, digest=TEXT, resolved_at=TIME), "view"),
    ),
    topics.DEAD_LETTERS: (
        *_is(TEXT, "code"), Column("source_topic", TEXT, _member("topic")),
        Column("source_partition", COUNT, _member("partition")), Column("source_offset", COUNT, _member("offset")),
        Column("source_logged_at", TIME, _member("logged_at_ms")), *_is(COUNT, "value_bytes"), *_is(TEXT, "value_sha256"),
    ),
}  # fmt: skip
"""Per topic, after the raw columns. On the chain, changes and marks share one table: `kind` says which a row is."""

PRIVATE = frozenset({"decision_id", "caller_hash", "request_policy_sha256", "key", "value", "headers"})
"""Columns whose content no report shows."""
FATE = {"accepted_epoch": pa.int64(), "effective_at": TIME.type}
"""Of the chain only: the accepted epoch a row is part of, null if it does not count, and when that epoch was resolved."""


@cache
def schema(topic: str) -> Any:
    """The columns of a topic's files, in order."""
    raw = {"partition": pa.int32(), **RAW, "record_sha256": pa.binary(32)}
    derived = {column.name: column.kind.type for column in DERIVED[topic]}
    return pa.schema([*raw.items(), *derived.items(), *(FATE.items() if topic == topics.ELIGIBILITY_CHANGES else ())])


def table(topic: str, records: Sequence[Record], fates: Sequence[Fate | None] = ()) -> Any:
    """Rows of a topic's file for records of one partition; of the chain with a fate for each record."""
    cells: dict[str, Any] = {
        "partition": pa.array([record.partition for record in records], pa.int32()),
        **raw_columns(records),
        "record_sha256": pa.array([record_sha256(record) for record in records], pa.binary(32)),
    }
    found = [read(topic, record) for record in records]
    for column in DERIVED[topic]:
        get, cell = column.get, column.kind.cell
        cells[column.name] = pa.array([cell(get(item)) for item in found], column.kind.type)
    if topic == topics.ELIGIBILITY_CHANGES:
        cells["accepted_epoch"] = pa.array([fate and fate.epoch for fate in fates], FATE["accepted_epoch"])
        cells["effective_at"] = pa.array([fate and fate.resolved_at_ms for fate in fates], FATE["effective_at"])
    return pa.table(cells, schema=schema(topic))


def read(topic: str, record: Record) -> Read:
    """What a record says of itself; never raises."""
    if topic == topics.ELIGIBILITY_CHANGES:
        return _mark(record) if record.key == MARK_KEY else _change(record)
    if topic == topics.DEAD_LETTERS:
        return Read(_plain(record.value or b""))
    return _signed(record)


def _signed(record: Record) -> Read:
    try:
        sealed = parse(record.value or b"")
    except EnvelopeError:
        return Read()
    keyids = [signature.keyid for signature in sealed.signatures]
    return Read(_plain(sealed.payload), sealed.payload_type, keyids, sealed.payload)


def _mark(record: Record) -> Read:
    found = _signed(record)
    return found._replace(plain={**found.plain, "kind": "mark"})


def _change(record: Record) -> Read:
    outer = _plain(record.value or b"")
    inner = outer.get("decision")
    told = {name: outer.get(name) for name in ("attempt", "i", "refresh")}
    return Read({**(inner if type(inner) is dict else {}), **told, "kind": "change"})


def _plain(raw: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(raw)
    except ValueError:
        return {}
    return found if type(found) is dict else {}
