"""What a bundle may show: nothing that is not public, unless it was asked for as an operator."""

import functools
import re
from collections.abc import Iterator

import orjson
import pytest

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.envelope import sign
from b3iq_streams.audit.bundle.check import check
from b3iq_streams.audit.bundle.contents import Unshown, decode, encode, load
from b3iq_streams.audit.bundle.prove import LIMITS, Ask, make_bundle
from b3iq_streams.audit.bundle.text import as_data, as_text
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.core.records import CREATE_TIME
from tests import factory
from tests.audit.lab import Lab, busy_lab
from tests.factory import PAYLOAD_TYPE, T0, TRUST, key
from tests.sim.crypto import verify

PLANTED = (b"planted-reason", b"planted-actor")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")


def depths(raw: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, and whatever is base64 within them, at any depth."""
    yield raw
    for found in _BASE64.findall(raw) if depth < 8 else ():
        try:
            inner = decode(found.decode())
        except ValueError:
            continue
        yield from depths(inner, depth + 1)


def holds(raw: bytes, *words: bytes) -> set[bytes]:
    """Which of these words a file holds at any depth."""
    return {word for text in depths(raw) for word in words if word in text}


def made(lab: Lab, node: str, from_ms: int = 0, operator: bool = False) -> bytes:
    """The bundle of a node, which verifies."""
    raw = make_bundle(lab.origin, TRUST, Ask(node, from_ms, FAR_FUTURE_MS, operator), LIMITS, verify)
    assert check(raw, TRUST, verify).mismatch is None
    return raw


@functools.cache
def busy() -> Lab:
    """The busy network, whose one hold is planted."""
    return busy_lab()


@pytest.mark.parametrize("node", [f"node-{number}" for number in range(1, 7)])
@pytest.mark.parametrize("from_ms", [0, T0 + 100_000, T0 + 150_000])
def test_no_public_bundle_holds_reasons_and_actors(node: str, from_ms: int) -> None:
    """Not as they are, nor in base64 at any depth, nor in what the check says; whether the hold is in the range or before."""
    raw = made(busy(), node, from_ms)
    assert set() == holds(raw, *PLANTED)
    result = check(raw, TRUST, verify)
    assert set() == holds(as_text(result).encode() + orjson.dumps(as_data(result)), *PLANTED)


@pytest.mark.parametrize("from_ms", [0, T0 + 100_000])
def test_an_operators_bundle_holds_them(from_ms: int) -> None:
    """So the search above can find them, and the record of the hold is checked like any other."""
    assert set(PLANTED) == holds(made(busy(), "node-3", from_ms, operator=True), *PLANTED)
    assert set() == holds(made(busy(), "node-2", from_ms, operator=True), *PLANTED)


def _with_more(value: bytes) -> bytes:
    """An envelope with one more signature, whose key id is a text, and with space in it."""
    sealed = orjson.loads(value)
    sealed["signatures"].append({"keyid": "planted-reason", "sig": encode(b"planted-actor".ljust(64))})
    return orjson.dumps(sealed, option=orjson.OPT_INDENT_2)


def stuffed() -> Lab:
    """A node whose records carry whatever somebody could put into them: admitted ones, and refused ones."""
    lab = Lab(1)
    lab.ready("node-1")
    lab.epochs(2)
    inputs = lab.parts[0].inputs
    policy = inputs.records[topics.POLICIES][0]
    inputs.records[topics.POLICIES][0] = policy._replace(value=_with_more(policy.value or b""))
    secret = {"reason": "planted-reason", "actor": "planted-actor"}
    for topic in (topics.REGISTRATIONS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.HEARTBEATS, topics.HOLDS):
        record = lab.put(topic, "node-1", (), **(secret if topic == topics.HOLDS else {}))
        inputs.records[topic][-1] = record._replace(value=_with_more(record.value or b""))
    lab.epochs(2)
    inputs.raw(topics.HEARTBEATS, b"node-1", b"planted-reason", lab.now_ms)
    inputs.raw(topics.HEARTBEATS, b"node-1", None, lab.now_ms)
    event = factory.heartbeat_event("node-1", 99, lab.now_ms) | {"prompt": "planted-reason planted-actor"}
    value = sign(PAYLOAD_TYPE[topics.HEARTBEATS], canonical(event), [key("node-1")])
    inputs.raw(topics.HEARTBEATS, b"node-1", value, lab.now_ms)
    lab.put(topics.HOLDS, "node-1", ("somebody",), **secret)
    lab.put(topics.HOLDS, "node-1", (), seq=1, **secret)
    lab.epochs(1)
    lab.put(topics.HEARTBEATS, "node-1", seq=1)
    unstamped = lab.put(topics.HEARTBEATS, "node-1")
    inputs.records[topics.HEARTBEATS][-1] = unstamped._replace(timestamp_type=CREATE_TIME)
    lab.epochs(2)
    return lab


@pytest.mark.parametrize("from_ms", [0, T0 + 4_000])
def test_whatever_a_record_carries_beside_its_facts_is_left_out(from_ms: int) -> None:
    """More signatures with texts for key ids, payloads of other schemas, bytes of any kind: public bundles hold none of it,
    an operator's all of it, and both verify."""
    lab = stuffed()
    assert set() == holds(made(lab, "node-1", from_ms), *PLANTED)
    assert set(PLANTED) == holds(made(lab, "node-1", from_ms, operator=True), *PLANTED)


def test_a_refused_record_is_there_by_code_and_hash() -> None:
    """Whoever wrote it can recognise it; one that passed signature and schema is shown, and refused again. What an operator's
    bundle cannot show is how a record was stamped."""
    lab = stuffed()
    bundle = load(made(lab, "node-1"))
    unshown = {(entry.topic, entry.refused, entry.value_sha256) for entry in bundle.records if isinstance(entry, Unshown)}
    last = {topic: [record.value or b"" for record in log] for topic, log in lab.parts[0].inputs.records.items()}
    beats, paused = last[topics.HEARTBEATS], last[topics.HOLDS]
    assert {
        (topics.HEARTBEATS, "envelope_malformed", sha256_hex(b"planted-reason")),
        (topics.HEARTBEATS, "record_empty", sha256_hex(b"")),
        (topics.HEARTBEATS, "payload_invalid", sha256_hex(beats[4])),
        (topics.HEARTBEATS, "timestamp_type_wrong", sha256_hex(beats[6])),
        (topics.HOLDS, "unauthorized", sha256_hex(paused[1])),
        (topics.HOLDS, "sequence_replayed", sha256_hex(paused[2])),
    } == unshown
    result = check(made(lab, "node-1"), TRUST, verify)
    assert 1 == result.counts["refused"]
    assert 6 == result.unshown["refused"]
    result = check(made(lab, "node-1", operator=True), TRUST, verify)
    assert 6 == result.counts["refused"]
    assert 1 == result.unshown["refused"]


def test_routing_decisions_leave_nothing_but_counts() -> None:
    """No id of a request, no caller, no digest of a policy, no other candidate of a decision."""
    lab = Lab(1)
    lab.ready("node-1")
    lab.epochs(2)
    secrets = {"decision_id": "1f" * 16, "caller_hash": "2e" * 32, "request_policy_sha256": "3d" * 32}
    candidates = [{"node_id": node, "profile_id": "p0", "reason": ""} for node in ("node-1", "node-2")]
    record = lab.allow("node-1", considered=candidates, considered_total=2, **secrets)
    words = [*(word.encode() for word in secrets.values()), b"node-2"]
    assert set(words) == holds(record.value or b"", *words)
    for operator in (False, True):
        raw = made(lab, "node-1", operator=operator)
        assert 1 == load(raw).routing.chosen
        assert set() == holds(raw, *words)
