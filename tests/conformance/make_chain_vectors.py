"""Writes `schemas/vectors/chain/*.json`: logs, and what a reader must make of every record. Same bytes in every run.

Run `python -m tests.conformance.make_chain_vectors`; a test fails when the files are not what this would write.
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from b3iq_schemas import topics
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.chain import Accepted, ChainReader, Ignored, PolicyUnknown
from b3iq_streams.core.records import Record
from b3iq_streams.router.bootstrap import Start
from b3iq_streams.router.partition import PartitionView
from b3iq_streams.router.view import RouterView
from tests.conformance.chain_cases import CASES, Case, Script
from tests.factory import T0, TRUST, VERIFY
from tests.shells.router_lab import drive

FOLDER = Path(__file__).parents[2] / "schemas" / "vectors" / "chain"


def vector(case: Case) -> dict[str, Any]:
    """One case as data."""
    script = Script(case.partition, case.partitions)
    case.write(script)
    view = RouterView(TRUST, case.partitions, VERIFY)
    part = view.parts[case.partition]
    start = _start(script, part)
    steps = list(_steps(script, view, part, start))
    judged = [step["verdict"] if step["verdict"] != "ignored" else step["reason"] for step in steps if _is_mark(step)]
    assert case.marks.split() == judged, (case.name, judged)
    made: dict[str, Any] = {
        "name": case.name,
        "about": case.about,
        "trust": TRUST.model_dump(mode="json"),
        "partition": case.partition,
        "partitions": case.partitions,
        "genesis": script.chain.genesis,
    }
    if script.bootstrap is not None:
        made["bootstrap"] = {
            "log_start": script.bootstrap.log_start,
            "log_end": script.bootstrap.log_end,
            "start_after": start.head.offset,
            "epoch": start.head.epoch,
            "digest": start.head.digest,
            "synced_at": start.target,
        }
    return made | {"records": steps}


def _start(script: Script, part: PartitionView) -> Start:
    number, search = part.search()
    start: Start | None = Start(script.chain.genesis_head(), 0, True)
    if script.bootstrap is not None:
        start = drive(search, script.records[: script.bootstrap.log_end], script.bootstrap.log_start)
    assert start is not None
    part.start(number, start, T0)
    return start


def _steps(script: Script, view: RouterView, part: PartitionView, start: Start) -> Iterator[dict[str, Any]]:
    """Each record with its verdict and the state after it."""
    reader = ChainReader(script.chain, start.head, view.book.processors_of, VERIFY)
    held: list[Record] = []
    for record in script.read:
        if record.topic == topics.ELIGIBILITY_CHANGES and record.offset <= start.head.offset:
            yield _record(record) | {"verdict": "not_read"}
            continue
        before = view.book.newest
        view.apply(record)
        step = _record(record)
        if record.topic == topics.POLICIES:
            step["verdict"] = "refused" if view.book.newest is before else "policy"
        else:
            held.append(record)
            step |= _verdict(reader, held)
        if record.topic == topics.POLICIES and held:
            step["released"] = [_verdict(reader, held) for _ in list(held)]
        yield step | _state(reader, part)


def _verdict(reader: ChainReader, held: list[Record]) -> dict[str, Any]:
    """What becomes of the oldest record that waits; it waits on when its policy is unknown."""
    try:
        verdict = reader.feed(held[0])
    except PolicyUnknown as unknown:
        return {"verdict": "held", "needs_revision": unknown.revision}
    del held[0]
    if isinstance(verdict, Accepted):
        return {"verdict": "accepted"}
    return {"verdict": "ignored", "reason": verdict.reason.value} if isinstance(verdict, Ignored) else {"verdict": "buffered"}


def _record(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _b64(record.key),
        "value": _b64(record.value),
    }


def _state(reader: ChainReader, part: PartitionView) -> dict[str, Any]:
    assert reader.head == part.head
    eligible = {name: part.entries[name].eligible for name in sorted(part.entries)}
    return {"epoch": part.head.epoch, "digest": part.head.digest, "eligible": eligible}


def _is_mark(step: dict[str, Any]) -> bool:
    read = step["topic"] == topics.ELIGIBILITY_CHANGES and step["verdict"] != "not_read"
    return bool(read and step["key"] == _b64(MARK_KEY))


def _b64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def files() -> dict[str, bytes]:
    """File name → content."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {f"{case.name}.json": orjson.dumps(vector(case), option=options) for case in CASES}


def main() -> None:
    """Write every file, and remove those that no case writes any more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = files()
    for old in FOLDER.glob("*.json"):
        if old.name not in written:
            old.unlink()
    for name, content in written.items():
        (FOLDER / name).write_bytes(content)
    print(f"{len(written)} chain vectors in {FOLDER}")


if __name__ == "__main__":
    main()
