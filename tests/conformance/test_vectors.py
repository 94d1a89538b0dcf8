"""Every vector, as a stranger would run it: fold its history, then ask for the verdict on its record."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import Refusal
from b3iq_schemas.envelope import keyid, pae, verify
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.admit import Fact, Scope, admit, keys_for, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import NO_KEYS, prepare
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from b3iq_streams.core.values import NodeState, Proof
from tests.conformance import make_vectors

FOLDER = make_vectors.FOLDER / "envelopes"
FILES = sorted(FOLDER.rglob("*.json"))
GOOD = [path for path in FILES if path.parent.name == "good"]
BAD = [path for path in FILES if path.parent.name == "bad"]


def load(path: Path) -> dict[str, Any]:
    """A vector as data."""
    data: dict[str, Any] = json.loads(path.read_bytes())
    return data


def unbase64(text: str | None) -> bytes | None:
    """Bytes, or None for null."""
    return None if text is None else b64decode(text)


def record_of(vector: dict[str, Any], partition: int, offset: int, timestamp_type: int) -> Record:
    """A vector's record, or one of its history."""
    key, value = unbase64(vector["key"]), unbase64(vector["value"])
    return Record(vector["topic"], partition, offset, key, value, vector["timestamp_ms"], timestamp_type)


def world(vector: dict[str, Any]) -> tuple[PartitionState, Scope, Record]:
    """The state before the record, what it is admitted against, and the record."""
    context = vector["context"]
    scope = Scope(RootTrust.model_validate_json(json.dumps(context["trust"])), vector["partition"], vector["partitions"])
    state = PartitionState()
    if context["policy"] is not None:
        payload = canonical(context["policy"])
        proof = Proof(0, sha256(payload).hexdigest(), "", context["policy"]["sent_at_ms"])
        state.absorb(0, {}, prepare(payload, proof))
    for entry in context["state"]:
        earlier = record_of(entry, scope.partition, entry["offset"], entry["timestamp_type"])
        outcome = fold(state, scope, earlier)
        assert not outcome.refused, outcome.refused[0].code
        state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
    return state, scope, record_of(vector, scope.partition, len(context["state"]), vector["timestamp_type"])


def fold(state: PartitionState, scope: Scope, record: Record) -> Outcome:
    """An epoch of one record, at a moment when nothing has expired."""
    return step(state, Epoch(state.resolved_at_ms, {record.topic: [record]}), scope, verify)


def node_of(state: PartitionState, record: Record) -> NodeState | None:
    """What is known of the node that the record's Kafka key names."""
    if record.topic == topics.POLICIES or record.key is None:
        return None
    return state.nodes.get(record.key.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_verdict(path: Path) -> None:
    """Admission says of each vector exactly what its file expects, whatever keys were tried first."""
    vector = load(path)
    state, scope, record = world(vector)
    node = node_of(state, record)
    for tried in (keys_for(record.topic, state.rules, node, scope), NO_KEYS):
        verdict = admit(open_record(record, tried, scope, verify), state.rules, node, scope, verify)
        assert ("admitted" if isinstance(verdict, Fact) else verdict.code) == vector["expect"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_refused_record_changes_nothing(path: Path) -> None:
    """A refused record leaves rules, nodes and decisions as they were; only a heartbeat's equivocation blocks its node."""
    vector = load(path)
    state, scope, record = world(vector)
    before = state.digest({}, state.rules)
    outcome = fold(state, scope, record)
    assert [(refused.record, refused.code) for refused in outcome.refused] == [(record, vector["expect"])]
    assert outcome.rules is state.rules
    assert not outcome.admitted
    assert state.digest({}, state.rules) == before
    if vector["expect"] == Refusal.EQUIVOCATION and record.topic == topics.HEARTBEATS:
        [(node_id, node)] = outcome.nodes.items()
        known = state.nodes[node_id]
        assert node.equivocated_until_ms > known.equivocated_until_ms == 0
        assert node._replace(equivocated_until_ms=0, equivocated_at_ms=0, published=known.published) == known
    else:
        assert not outcome.nodes
        assert not outcome.changes


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_steps(path: Path) -> None:
    """The intermediate values that a good vector shows are those of its record."""
    vector, names = load(path), json.loads((make_vectors.FOLDER / "keys.json").read_bytes())
    sealed, steps = envelope.parse(b64decode(vector["value"])), vector["steps"]
    message = b64decode(steps["pae"])
    assert steps["payload"].encode() == sealed.payload
    assert steps["payload_sha256"] == sha256(sealed.payload).hexdigest()
    assert message == b"DSSEv1 %d %b " % (len(sealed.payload_type), sealed.payload_type.encode()) + b"%d " % len(
        sealed.payload
    ) + (sealed.payload)
    assert [(s["keyid"], s["sig_hex"]) for s in steps["signatures"]] == [(s.keyid, s.sig.hex()) for s in sealed.signatures]
    named = {entry["keyid"]: bytes.fromhex(entry["public_key"]) for entry in names.values()}
    assert any(s.keyid in named and verify(named[s.keyid], message, s.sig) for s in sealed.signatures)


def test_generated() -> None:
    """The files are what the generator makes, to the byte, and there are no others."""
    made = make_vectors.files()
    found = {path.relative_to(make_vectors.FOLDER).as_posix() for path in FILES} | {"keys.json", "partitioner.json"}
    assert found == made.keys()
    for name, raw in made.items():
        assert (make_vectors.FOLDER / name).read_bytes() == raw, name


def test_every_refusal_has_a_vector() -> None:
    """Every code that a record can be refused with is shown by at least one vector."""
    assert {load(path)["expect"] for path in BAD} == {*Refusal} - {Refusal.ADMISSION_ERROR}


def test_keys() -> None:
    """The test keys are those of their seeds, and each seed is the SHA-256 of the key's name."""
    for name, entry in json.loads((make_vectors.FOLDER / "keys.json").read_bytes()).items():
        assert entry["seed"] == sha256(name.encode()).hexdigest()
        assert entry["keyid"] == keyid(bytes.fromhex(entry["public_key"]))


def test_pae_of_the_specification() -> None:
    """DSSE's own example (protocol.md) encodes as it says there."""
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
