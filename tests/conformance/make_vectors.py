"""Writes `schemas/vectors/`: `python -m tests.conformance.make_vectors`. The same bytes every time."""

import json
from pathlib import Path
from typing import Any

from b3iq_schemas.envelope import keyid
from b3iq_schemas.partitioner import murmur2, partition_for
from tests.conformance import bad_canonical, bad_envelopes, bad_facts, bad_payloads, bad_possession, bad_signatures, good_cases
from tests.conformance.cases import KEY_NAMES, PARTITIONS, Case, to_json
from tests.factory import key, public

FOLDER = Path(__file__).parents[2] / "schemas" / "vectors"
PARTITIONED = (
    "",
    "a",
    "21",
    "foobar",
    "abc",
    "node-1",
    "node-54",
    "a-little-bit-long-string",
    "a-little-bit-longer-string",
    "nöde",
)


def good() -> dict[str, Case]:
    """Vectors that must be admitted, by name."""
    return good_cases.cases()


def bad() -> dict[str, Case]:
    """Vectors that must be refused, by name."""
    made: dict[str, Case] = {}
    for part in (bad_envelopes, bad_signatures, bad_canonical, bad_payloads, bad_facts, bad_possession):
        more = part.cases()
        assert not made.keys() & more.keys(), made.keys() & more.keys()
        made |= more
    return made


def files() -> dict[str, bytes]:
    """Every generated file by its path under `schemas/vectors`."""
    made: dict[str, Any] = {"keys.json": _keys(), "partitioner.json": _partitioner()}
    for folder, cases in (("good", good()), ("bad", bad())):
        made |= {f"envelopes/{folder}/{name}.json": to_json(case) for name, case in cases.items()}
    return {path: _write(data) for path, data in made.items()}


def _write(data: dict[str, Any]) -> bytes:
    """One line per member: short enough to keep, plain enough to compare."""
    lines = [f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}" for name, value in data.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _keys() -> dict[str, dict[str, str]]:
    return {
        name: {"seed": bytes(key(name)).hex(), "public_key": public(name), "keyid": keyid(bytes.fromhex(public(name)))}
        for name in KEY_NAMES
    }


def _partitioner() -> dict[str, dict[str, int]]:
    raws = {text: text.encode() for text in PARTITIONED}
    return {
        text: {"murmur2": murmur2(raw), "partitions": PARTITIONS, "partition": partition_for(raw, PARTITIONS)}
        for text, raw in raws.items()
    }


def write() -> None:
    """Write every file, and remove vectors that are no longer made."""
    made = files()
    for stale in (FOLDER / "envelopes").rglob("*.json"):
        if stale.relative_to(FOLDER).as_posix() not in made:
            stale.unlink()
    for path, raw in made.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(raw)


if __name__ == "__main__":
    write()
