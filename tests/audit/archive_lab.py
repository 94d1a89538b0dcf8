"""Logs with something nasty of every kind on them, for archives to keep exactly; and ways to spoil an archive.

`hostile()` is a network of which every topic holds sound records and junk: headers, no key, no value, other timestamp types,
envelopes of nothing, epochs that count for nothing. The same in every run.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import parse, sign
from b3iq_streams.audit.archive import writer as archive_writer
from b3iq_streams.audit.archive.exporting import Exported, export
from b3iq_streams.audit.archive.manifest import MANIFEST, File, Manifest
from b3iq_streams.audit.archive.origin import ArchiveOrigin
from b3iq_streams.audit.archive.writer import Sizes
from b3iq_streams.audit.source import Origin
from b3iq_streams.core.records import CREATE_TIME, Record
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.conformance.plain_reader import NeedsPolicy, PlainReader
from tests.core.driver import Partition
from tests.factory import TRUST, key
from tests.sim.crypto import verify

SMALL = Sizes(group_records=7, group_bytes=20_000, file_records=20, file_bytes=1_000_000)
"""Sizes at which even a small log has several files and groups."""
CHANGES = topics.ELIGIBILITY_CHANGES


@functools.cache
def hostile(partitions: int = 2) -> MemoryOrigin:
    """Everything that is logged, whole, and short of nothing."""
    lab = busy_lab(partitions)
    for turn in range(3):
        for part in lab.parts:
            _junk_on_chain(part, lab.now_ms)
            _junk_on_inputs(part, lab.now_ms)
        lab.beat("node-1", "node-2", "node-3")
        lab.epochs(2 + turn)
        lab.allow("node-1")
    records = lab.records
    for found in records.values():  # an epoch is followed by another on the chain; junk comes last
        found += [_junk(found[-1], len(found) + at, at) for at in range(3)] if found else []
    return MemoryOrigin(records, partitions)


@functools.cache
def small() -> MemoryOrigin:
    """A log of one partition with all kinds of sound records on it, and little of each."""
    lab = Lab(1)
    lab.ready("node-1", "node-2")
    lab.epochs(2)
    lab.put(topics.HOLDS, "node-1", reason="planted-reason", actor="planted-actor")
    lab.put(topics.HEARTBEATS, "node-2", signers=("somebody",))
    lab.put(topics.ROUTE_HEALTH, "node-2", state="unhealthy", seq=1)
    lab.epochs(2)
    lab.allow("node-2")
    lab.policy(2)
    lab.put(topics.HOLDS, "node-1", held=False)
    lab.beat("node-1", "node-2")
    lab.epochs(3)
    lab.allow("node-1")
    lab.refuse()
    records = {
        place: [record._replace(headers=(("trace", b"%d" % record.offset),)) for record in found]
        for place, found in lab.records.items()
    }  # fmt: skip
    return MemoryOrigin(records, 1)


def _junk_on_chain(part: Partition, at_ms: int) -> None:
    """Replays, torn and void attempts, forged marks, and bytes that are nothing."""
    last = [record for record in part.chain if record.key == MARK_KEY][-1]
    payload = orjson.loads(parse(last.value or b"").payload)
    forged = payload | {"epoch": payload["epoch"] + 1, "prev": sha256_hex(parse(last.value or b"").payload), "n": 0}
    change = next(record for record in part.chain if record.key != MARK_KEY)
    torn = (change.value or b"").replace(b'"i":0', b'"i":1')
    for kafka_key, value in (
        (MARK_KEY, last.value),
        (change.key, change.value),
        (change.key, torn),
        (change.key, torn.replace(b"true", b"false")),
        (MARK_KEY, sign(MARK_V1, canonical(forged), [key("somebody")])),
        (MARK_KEY, change.value),
        (MARK_KEY, None),
        (None, None),
        (b"", b""),
        (b"\xff\x00", b"\xff\xfe{"),
        (b"x", b'{"attempt":[],"i":-1,"refresh":7,"decision":{"gates":[],"failing":[1],"codes":{},"node_id":"\\u0000"}}'),
    ):
        headers = (("trace", b"\x00\xff"), ("trace", None), ("", b"")) if value is None else ()
        part.chain.append(Record(CHANGES, part.partition, len(part.chain), kafka_key, value, at_ms, 1, headers))


def _junk_on_inputs(part: Partition, at_ms: int) -> None:
    for topic, records in part.inputs.records.items():
        if records and topic != topics.POLICIES:
            for at in range(5):
                records.append(_junk(records[0]._replace(timestamp_ms=at_ms), len(records), at))


def _junk(like: Record, offset: int, number: int) -> Record:
    """A record of the same partition that says nothing, in one of several ways."""
    record = like._replace(offset=offset)
    strange = sign("text/plain", b'{"seq":-1,"node_id":5,"profiles":[3,{"profile_id":null}],"state":["x"]}', [key("somebody")])
    return (
        record._replace(key=None, value=None, headers=(("note", b"\x00"), ("note", None), ("ünïcode", b"x" * 300))),
        record._replace(key=b"", value=b""),
        record._replace(value=bytes(range(256))),
        record._replace(timestamp_type=CREATE_TIME),
        record._replace(value=strange, headers=(("a", b""),)),
    )[number]


def exported(origin: Origin, directory: Path, sizes: Sizes = SMALL, **options: Any) -> Exported:
    """An export of a test's log; signatures are checked once each."""
    return export(origin, TRUST, directory, processes=1, sizes=sizes, verify=verify, **options)


def archived(origin: Origin, directory: Path, sizes: Sizes = SMALL, **options: Any) -> ArchiveOrigin:
    """The archive that an export makes."""
    exported(origin, directory, sizes, **options)
    return ArchiveOrigin.load(directory)


def contents(origin: Origin) -> dict[Place, list[Record]]:
    """Every record of an origin."""
    with origin.open() as source:
        return {
            place: [record for batch in source.read(place, *bounds) for record in batch]
            for place, bounds in origin.bounds.items()
        }  # fmt: skip


def known(origin: MemoryOrigin) -> dict[Place, list[Record]]:
    """What an archive of it must hold: of a chain only what is known to count, or not to."""
    found = {place: list(records) for place, records in origin.records.items()}
    for place, records in found.items():
        if place.topic == CHANGES:
            last = max((offset for offset, epoch in accepted(records, origin, place.partition).items() if epoch), default=-1)
            found[place] = [record for record in records if record.offset <= last]
    return found


@functools.cache
def hostile_known() -> dict[Place, list[Record]]:
    """What an archive of the hostile log must hold."""
    return known(hostile())


def accepted(chain: Sequence[Record], origin: MemoryOrigin, partition: int) -> dict[int, int | None]:
    """Which epoch each record of a chain is an accepted part of, by the second reader that knows nothing of ours."""
    reader = PlainReader(orjson.loads(TRUST.model_dump_json()), partition, origin.partitions)
    for record in origin.records[Place(topics.POLICIES, partition)]:
        _calmly(reader.policy, record.value or b"")
    found: dict[int, int | None] = {}
    since: list[Record] = []
    for record in chain:
        found[record.offset] = None
        try:
            verdict = reader.take(record.key, record.value, record.timestamp_ms)
        except NeedsPolicy:
            return found
        if verdict != "accepted":
            since += [record] if record.key != MARK_KEY else []
            continue
        found[record.offset] = reader.epoch
        attempt, seen = orjson.loads(parse(record.value or b"").payload)["attempt"], set[bytes]()
        for change in since:
            if _attempt(change.value or b"") == attempt and change.value not in seen:
                found[change.offset] = reader.epoch
                seen.add(change.value or b"")
        since = []
    return found


def _calmly(call: Callable[[bytes], object], value: bytes) -> None:
    """What is no revision adds none."""
    try:
        call(value)
    except (ValueError, TypeError, KeyError):
        return


def _attempt(value: bytes) -> object:
    try:
        found = orjson.loads(value)
    except ValueError:
        return None
    return found.get("attempt") if isinstance(found, dict) else None


def rewrite(directory: Path, file: File, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Write a file's rows again after `change`, as a tamperer would who leaves the manifest alone."""
    path = directory / file.path
    table = pq.read_table(path)
    rows = change(table.to_pylist())
    with archive_writer.writer(path, file.topic) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema), row_group_size=SMALL.group_records)


def rows(archive: ArchiveOrigin) -> Iterator[tuple[File, int]]:
    """Every row of an archive: its file, and its position there."""
    for file in archive.manifest.files:
        for at in range(file.records):
            yield file, at


def set_manifest(directory: Path, manifest: Manifest) -> None:
    """Put another manifest there."""
    (directory / MANIFEST).write_bytes(manifest.raw)


def cut(origin: MemoryOrigin, share: float, start: float = 0.0) -> MemoryOrigin:
    """What there was of a log when this share of it had been written, and what retention had left then."""
    return MemoryOrigin(
        {
            place: records[int(len(records) * start) : int(len(records) * share)]
            for place, records in origin.records.items()
        },
        origin.partitions, origin.batch,
    )  # fmt: skip
