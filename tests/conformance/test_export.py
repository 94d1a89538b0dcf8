"""The exported schemas accept what is sound and refuse what is not; the AsyncAPI document is one."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend

from b3iq_schemas import eligibility, envelope, topics
from b3iq_schemas.export import ENVELOPE, MODELS, asyncapi, json_schemas, write
from tests.conformance.bad_payloads import SCHEMA_CANNOT_SAY
from tests.conformance.make_vectors import FOLDER

SCHEMAS = json_schemas()
OF_TOPIC = {topic.payload_type: name for topic in topics.TOPICS.values() if topic.is_input for name in SCHEMAS
            if topic.payload_type == f"application/vnd.b3iq.{name}.v1+json"}  # fmt: skip
GOOD = sorted((FOLDER / "envelopes" / "good").glob("*.json"))
BAD = sorted((FOLDER / "envelopes" / "bad").glob("schema_*.json"))
MALFORMED = sorted((FOLDER / "envelopes" / "bad").glob("envelope_*.json"))


def _pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:
    """JSON Schema means ECMA-262, where `$` is the very end; in Python's `re` it is `\\Z`."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


def valid(name: str, data: object) -> bool:
    """Whether `data` is sound by the schema of that name."""
    return bool(Validator(SCHEMAS[name]).is_valid(data))


def sealed(path: Path) -> envelope.Envelope:
    """The envelope in a vector."""
    return envelope.parse(b64decode(json.loads(path.read_bytes())["value"]))


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_one(name: str) -> None:
    """Each schema is a JSON Schema of the 2020-12 dialect, named, and closed to unknown members."""
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:b3iq:schema:{name}:v1"
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_sound_records(path: Path) -> None:
    """Whatever admission takes is sound by the schemas: envelope, payload, and each proof of possession."""
    vector, parsed = json.loads(path.read_bytes()), sealed(path)
    assert valid(ENVELOPE, json.loads(b64decode(vector["value"])))
    assert valid(OF_TOPIC[parsed.payload_type], json.loads(parsed.payload))
    for entry in vector["steps"].get("possession", ()):
        assert valid("possession", json.loads(entry["payload"]))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_unsound_payloads(path: Path) -> None:
    """What admission refuses by schema is unsound by the JSON Schema too, but for what that cannot say."""
    parsed = sealed(path)
    unsaid = path.stem.removeprefix("schema_heartbeats_") in SCHEMA_CANNOT_SAY
    assert valid(OF_TOPIC[parsed.payload_type], json.loads(parsed.payload)) is unsaid


def test_unsound_envelopes() -> None:
    """Every malformed envelope that is JSON at all is unsound by the envelope's schema."""
    seen = 0
    for path in MALFORMED:
        try:
            data = orjson.loads(b64decode(json.loads(path.read_bytes())["value"]))
        except orjson.JSONDecodeError:
            continue
        seen += 1
        assert not valid(ENVELOPE, data), path.stem
    assert seen > 20


def test_optional_members_of_a_mark() -> None:
    """A mark may leave out its state digest, or say null."""
    digest = "ab" * 32
    mark: dict[str, Any] = {
        "network": "n", "generation": 1, "partition": 0, "attempt": "ab" * 16, "epoch": 1, "prev": digest,
        "resolved_at_ms": 1, "cut": {"holds": 1}, "n": 0, "changes_sha256": digest, "policy_revision": 0, "fold": 1,
        "anchor": {"offset": -1, "epoch": 0, "digest": digest},
    }  # fmt: skip
    eligibility.Mark.model_validate_json(json.dumps(mark))
    assert valid("mark", mark)
    assert valid("mark", mark | {"state_sha256": None})
    assert not valid("mark", mark | {"epoch": 0})


def test_asyncapi_is_one() -> None:
    """The document is valid by AsyncAPI's own schema, Kafka bindings included."""
    schema = json.loads((Path(__file__).parent / "asyncapi" / "schema-3.0.0.json").read_bytes())
    Draft7Validator.check_schema(schema)
    assert [error.json_path for error in Draft7Validator(schema).iter_errors(asyncapi())] == []
    broken = asyncapi()
    broken["channels"]["holds"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] = "for ever"
    assert not Draft7Validator(schema).is_valid(broken)


def test_asyncapi_is_whole() -> None:
    """Every topic is a channel with its settings, and every reference leads somewhere."""
    made = asyncapi()
    assert made["channels"].keys() == topics.TOPICS.keys()
    for name, channel in made["channels"].items():
        settings = channel["bindings"]["kafka"]["topicConfiguration"]
        as_kafka = {key: ",".join(value) if isinstance(value, list) else str(value) for key, value in settings.items()}
        assert as_kafka == topics.TOPICS[name].config
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(made)):
        found: Any = made
        for part in reference.split("/"):
            found = found[part]


def test_write(tmp_path: Path) -> None:
    """`write` leaves one file per schema and the AsyncAPI document, and says which."""
    written = write(tmp_path / "new")
    assert {path.name for path in written} == {*(f"{name}.schema.json" for name in (*MODELS, ENVELOPE)), "asyncapi.json"}
    assert json.loads((tmp_path / "new" / "hold.schema.json").read_bytes()) == SCHEMAS["hold"]
    assert {*(tmp_path / "new").iterdir()} == {*written}
