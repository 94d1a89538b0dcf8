"""The chain vectors are what the generator writes, and a second reader, written from their README, agrees with every one."""

from base64 import b64decode
from typing import Any

import orjson
import pytest

from b3iq_streams.core.chain import Reason
from tests.conformance.make_chain_vectors import FOLDER, files
from tests.conformance.plain_reader import NeedsPolicy, PlainReader

NAMES = sorted(path.name for path in FOLDER.glob("*.json"))


def test_the_files_are_what_the_generator_writes() -> None:
    """Same names, same bytes; `python -m tests.conformance.make_chain_vectors` writes them again."""
    assert {name: (FOLDER / name).read_bytes() for name in NAMES} == files()


@pytest.mark.parametrize("name", NAMES)
def test_a_second_reader_agrees(name: str) -> None:
    """Every verdict, and the state after every record."""
    vector = orjson.loads((FOLDER / name).read_bytes())
    reader = PlainReader(vector["trust"], vector["partition"], vector["partitions"])
    assert vector["genesis"] == reader.digest
    if start := vector.get("bootstrap"):
        reader.epoch, reader.digest = start["epoch"], start["digest"]
    waiting: list[dict[str, Any]] = []
    for step in vector["records"]:
        if step["verdict"] == "not_read":
            continue
        if step["topic"] == "policies":
            assert (step["verdict"] == "policy") is reader.policy(raw(step["value"]) or b"")
            released = [verdict(reader, waiting) for _ in list(waiting)]
            assert step.get("released", []) == released
        else:
            waiting.append(step)
            said = verdict(reader, waiting)
            assert {name: step[name] for name in said} == said
        state = {"epoch": reader.epoch, "digest": reader.digest, "eligible": reader.eligible}
        assert {name: step[name] for name in state} == state


def verdict(reader: PlainReader, waiting: list[dict[str, Any]]) -> dict[str, Any]:
    """What the second reader says to the oldest record that waits, in the vectors' words."""
    step = waiting[0]
    try:
        said = reader.take(raw(step["key"]), raw(step["value"]), step["timestamp_ms"])
    except NeedsPolicy:
        return {"verdict": "held", "needs_revision": reader.revision}
    del waiting[0]
    return {"verdict": said} if said in ("accepted", "buffered") else {"verdict": "ignored", "reason": said}


def raw(text: str | None) -> bytes | None:
    """The bytes in a field."""
    return None if text is None else b64decode(text)


def test_every_reason_has_a_vector() -> None:
    """No way to be ignored is left without a log that shows it."""
    steps = [step for name in NAMES for step in orjson.loads((FOLDER / name).read_bytes())["records"]]
    assert {reason.value for reason in Reason} == {step["reason"] for step in steps if "reason" in step}
