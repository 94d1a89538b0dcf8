"""The columns of an archive say what the raw value says, and null where it says nothing that fits; they never fail."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.envelope import keyid, parse, sign
from b3iq_streams.audit.archive import columns
from b3iq_streams.audit.archive.fates import Fate
from b3iq_streams.audit.archive.rows import RAW
from b3iq_streams.audit.source import AUDITED
from b3iq_streams.core.records import Record
from tests.audit.archive_lab import CHANGES, hostile, small
from tests.factory import key

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
NAMES = sorted(
    {"decision", "gates", "failing", "profiles", "considered", "view", "tiers", "keys", "codes"}
    | {name.removesuffix("_at") for topic in AUDITED for name in columns.schema(topic).names}
    | {f"{name}_ms" for topic in AUDITED for name in columns.schema(topic).names}
)

SOURCE, KEPT = ("topic", "partition", "offset", "logged_at_ms"), ("key", "value")
"""Of a dead letter: what says where the record stands, and its first bytes, which have no column."""


def row(topic: str, record: Record, fate: Fate | None = None) -> dict[str, Any]:
    """The one row of a record."""
    (found,) = columns.table(topic, [record], [fate]).to_pylist()
    return dict(found)


def derived(topic: str, found: dict[str, Any]) -> dict[str, Any]:
    """Of a row what was taken out of its value."""
    return {name: cell for name, cell in found.items() if name not in RAW and name not in ("partition", "record_sha256")}


@pytest.mark.parametrize("topic", AUDITED)
def test_members_of_the_payload_are_columns(topic: str) -> None:
    """Of sound records each member of the payload that has a column of its name stands there."""
    records = [record for place, found in small().records.items() if place.topic == topic for record in found]
    compared = 0
    for record in records:
        found = row(topic, record)
        value = orjson.loads(record.value or b"")
        if "payloadType" in value:
            sealed = parse(record.value or b"")
            value = orjson.loads(sealed.payload)
            assert (sealed.payload_type, [s.keyid for s in sealed.signatures]) == (found["payload_type"], found["keyids"])
        value |= value.get("decision") or {}
        if topic == topics.DEAD_LETTERS:
            value = {f"source_{name}" if name in SOURCE else name: member for name, member in value.items() if name not in KEPT}
        for name, member in value.items():
            if name in found and not isinstance(member, dict | list):
                assert member == found[name], name
                compared += 1
            elif name.endswith("_ms") and name.removesuffix("_ms") in found:
                cell = found[name.removesuffix("_ms")]
                assert (member or None) == (cell and round(cell.timestamp() * 1_000)), name
                compared += 1
    assert compared >= 4 * len(records)
    assert records


def test_what_lies_deeper_is_flat() -> None:
    """Gates, codes, profiles, what a router looked at and held, keys, tiers."""
    chain = [record for place, found in small().records.items() if place.topic == CHANGES for record in found]
    blocked = next(record for record in chain if b'"eligible":false' in (record.value or b""))
    found, decision = row(CHANGES, blocked, Fate(7, 1_000)), orjson.loads(blocked.value or b"")["decision"]
    assert decision["gates"] == {gate: found[f"gate_{gate}"] for gate in decision["gates"]}
    assert [failing["code"] for failing in decision["failing"]] == found["codes"]
    assert (decision["failing"][0]["code"], "change", 7, 1) == (
        found["first_code"], found["kind"], found["accepted_epoch"], found["effective_at"].timestamp()
    )  # fmt: skip
    told = _payload(topics.HEARTBEATS, 0)
    assert told["profiles"] == row(topics.HEARTBEATS, _record(topics.HEARTBEATS, 0))["profiles"]
    asked, choice = _payload(topics.ROUTING_DECISIONS, 0), row(topics.ROUTING_DECISIONS, _record(topics.ROUTING_DECISIONS, 0))
    assert asked["considered"] == choice["considered"]
    assert [(view["epoch"], view["digest"]) for view in asked["view"]] == [
        (view["epoch"], view["digest"]) for view in choice["view"]
    ]
    registered = row(topics.REGISTRATIONS, _record(topics.REGISTRATIONS, 0))
    assert [bytes(key("node-1").verify_key).hex()] == registered["public_keys"]
    assert ["network_beta", "portable_local"] == row(topics.POLICIES, _record(topics.POLICIES, 0))["tiers_allowed"]
    mark = next(record for record in chain if record.key == MARK_KEY)
    assert row(CHANGES, chain[-1])["prev"] == row(CHANGES, chain[-2])["digest"]
    assert ("mark", [keyid(bytes(key("processor").verify_key))]) == (row(CHANGES, mark)["kind"], row(CHANGES, mark)["keyids"])


def _record(topic: str, at: int) -> Record:
    return next(found for place, found in small().records.items() if place.topic == topic)[at]


def _payload(topic: str, at: int) -> dict[str, Any]:
    return dict(orjson.loads(parse(_record(topic, at).value or b"").payload))


def test_nothing_is_made_of_nothing() -> None:
    """Junk has its raw columns and a hash, and null in all others but the kind."""
    for place, records in hostile().records.items():
        for record in records[-3:]:
            found = row(place.topic, record)
            assert record.value == found["value"]
            assert {None} >= set(derived(place.topic, found).values()) - {"mark", "change"} or record.value not in (None, b"")


LONG: list[tuple[str, Any]] = [
    ("profiles", [{}] * 65),
    ("considered", [{}] * 33),
    ("view", [{}] * 1_025),
    ("keys", [{"public_key": "x"}] * 5),
    ("tiers", {str(at): {"paid": "allowed"} for at in range(33)}),
]


@pytest.mark.parametrize(("name", "held"), LONG)
def test_a_small_value_does_not_unpack_to_a_large_row(name: str, held: Any) -> None:
    """Lists longer than the contract allows are not taken apart."""
    place = {"profiles": topics.HEARTBEATS, "keys": topics.REGISTRATIONS, "tiers": topics.POLICIES}.get(
        name, topics.ROUTING_DECISIONS
    )
    column = {"keys": "public_keys", "tiers": "tiers_allowed"}.get(name, name)
    cells = []
    for found in (held, held[:-1] if isinstance(held, list) else dict(list(held.items())[:-1])):
        value = sign("text/plain", orjson.dumps({name: found}), [key("somebody")])
        cells.append(row(place, Record(place, 0, 0, b"k", value, 1))[column])
    assert (None, len(held) - 1) == (cells[0], len(cells[1]))


@settings(deadline=None, max_examples=200)
@given(
    topic=st.sampled_from(AUDITED), kafka_key=st.sampled_from([b"k", MARK_KEY, None]),
    found=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), sealed=st.booleans(), raw=st.none() | st.binary(max_size=30),
)  # fmt: skip
def test_no_value_breaks_a_column(
    topic: str, kafka_key: bytes | None, found: dict[str, Any], sealed: bool, raw: bytes | None
) -> None:
    """Whatever stands where a member should be, the record is archived, and its columns hold members that fit or null."""
    plain = orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS)
    value = sign("text/plain", plain, [key("somebody")]) if sealed else plain
    record = Record(topic, 0, 0, kafka_key, value if raw is None else raw, 1)
    cells = row(topic, record)
    assert (record.value, 0) == (cells["value"], cells["offset"])
    for name, cell in derived(topic, cells).items():
        made = name in ("payload_type", "digest", "kind", "first_code")
        if isinstance(cell, str | bool) and name in found and not made and sealed and raw is None:
            assert found[name] == cell


def test_raw_columns_come_first() -> None:
    """Every topic's files begin with the same columns, which make the record again."""
    for topic in AUDITED:
        assert ["partition", *RAW, "record_sha256"] == columns.schema(topic).names[: len(RAW) + 2]
        assert columns.schema(topic).names == list(dict.fromkeys(columns.schema(topic).names))
