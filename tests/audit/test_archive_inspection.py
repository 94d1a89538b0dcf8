"""Whatever is changed in an archive is named, by the record's coordinates wherever its file still parses."""

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.decisions import ROUTING_DECISION_V1
from b3iq_schemas.envelope import parse, sign
from b3iq_streams.audit.archive import columns
from b3iq_streams.audit.archive.fates import Fate
from b3iq_streams.audit.archive.inspection import Finding, check
from b3iq_streams.audit.archive.manifest import MANIFEST, SIGNATURE, File, Mark
from b3iq_streams.audit.archive.origin import ArchiveOrigin, opened
from b3iq_streams.audit.archive.rows import RAW, read_records
from b3iq_streams.audit.archive.writer import file_sha256
from b3iq_streams.audit.source import AUDITED
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.archive_lab import CHANGES, archived, hostile, rewrite, rows, set_manifest, small
from tests.audit.lab import Lab, MemoryOrigin
from tests.factory import TRUST, key
from tests.sim.crypto import verify

SIGNER = key("archivist")
PUBLIC = bytes(SIGNER.verify_key)
Rows = list[dict[str, Any]]


@functools.cache
def archive() -> ArchiveOrigin:
    """A sound, signed archive; who spoils it restores it."""
    return archived(small(), Path(tempfile.mkdtemp()), key=SIGNER)


@contextmanager
def spoiled(*files: Path) -> Iterator[None]:
    """These files, from the archive's directory, may be changed; afterwards they are as they were."""
    paths = [archive().directory / path for path in files]
    before = [path.read_bytes() for path in paths]
    try:
        yield
    finally:
        for path, content in zip(paths, before, strict=True):
            path.write_bytes(content)


def inspect(found: ArchiveOrigin | None = None, signer: bytes | None = None) -> list[Finding]:
    """Everything that is wrong."""
    return list(check(found or archive(), TRUST, signer=signer, verify=verify))


def kind_of(file: File, row: dict[str, Any]) -> str:
    """The kind of a record: its topic, and on the chain whether it is a mark."""
    return f"{file.topic} {row.get('kind', '')}".strip()


@functools.cache
def by_kind() -> dict[str, list[tuple[File, int]]]:
    """Every row of the archive, by the kind of its record."""
    found: dict[str, list[tuple[File, int]]] = {}
    for file, at in rows(archive()):
        row = pq.read_table(archive().directory / file.path).slice(at, 1).to_pylist()[0]
        found.setdefault(kind_of(file, row), []).append((file, at))
    return found


KINDS = sorted({*AUDITED} - {CHANGES} | {f"{CHANGES} change", f"{CHANGES} mark"})


def test_all_kinds_of_records_are_spoiled() -> None:
    """The properties below range over every audited topic, and over marks and changes; unspoiled, there is nothing wrong."""
    assert KINDS == sorted(by_kind())
    assert [] == inspect(signer=PUBLIC)


def _flip(data: st.DataObject, raw: bytes | None) -> bytes | None:
    if not raw:
        return b"" if raw is None else None
    at = data.draw(st.integers(0, len(raw) - 1))
    return raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]


def _with(at: int, **cells: Any) -> Callable[[Rows], Rows]:
    return lambda found: [row | cells if number == at else row for number, row in enumerate(found)]


Spoil = Callable[[st.DataObject, Rows, int], Rows]


def _value(data: st.DataObject, found: Rows, at: int) -> Rows:
    return _with(at, value=_flip(data, found[at]["value"]))(found)


def _key(data: st.DataObject, found: Rows, at: int) -> Rows:
    return _with(at, key=_flip(data, found[at]["key"]))(found)


def _time(data: st.DataObject, found: Rows, at: int) -> Rows:
    from datetime import timedelta

    return _with(at, logged_at=found[at]["logged_at"] + timedelta(milliseconds=data.draw(st.sampled_from([-1, 1, 86_400_000]))))(
        found
    )


def _time_type(data: st.DataObject, found: Rows, at: int) -> Rows:
    return _with(at, timestamp_type=1 - found[at]["timestamp_type"])(found)


def _headers(data: st.DataObject, found: Rows, at: int) -> Rows:
    held = found[at]["headers"]
    other = data.draw(st.sampled_from([[], [*held, {"name": "x", "value": None}], [{"name": "trace", "value": b"other"}]]))
    return _with(at, headers=other)(found)


def _offset(data: st.DataObject, found: Rows, at: int) -> Rows:
    return _with(at, offset=found[at]["offset"] + data.draw(st.sampled_from([-1, 1, 2, 1_000])))(found)


def _drop(data: st.DataObject, found: Rows, at: int) -> Rows:
    return found[:at] + found[at + 1 :]


def _duplicate(data: st.DataObject, found: Rows, at: int) -> Rows:
    to = data.draw(st.integers(0, len(found)))
    return [*found[:to], found[at], *found[to:]]


def _insert(data: st.DataObject, found: Rows, at: int) -> Rows:
    made = found[at] | {"value": _flip(data, found[at]["value"])}
    return [*found[: at + 1], made, *found[at + 1 :]]


def _reorder(data: st.DataObject, found: Rows, at: int) -> Rows:
    left = found[:at] + found[at + 1 :]
    to = data.draw(st.integers(0, len(left)).filter(lambda to: to != at)) if left else 0
    return [*left[:to], found[at], *left[to:]]


SPOILS: list[Spoil] = [_value, _key, _time, _time_type, _headers, _offset, _drop, _duplicate, _insert, _reorder]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__.strip("_"))
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_a_record_that_was_touched_is_named(spoil: Spoil, data: st.DataObject) -> None:
    """Flip any byte of a value or key, change its time, offset or headers, drop, duplicate, insert or reorder it."""
    kind = data.draw(st.sampled_from(KINDS))
    file, at = data.draw(st.sampled_from(by_kind()[kind]))
    with spoiled(file.path):
        before = pq.read_table(archive().directory / file.path).to_pylist()
        after = spoil(data, before, at)
        if after == before:
            return
        rewrite(archive().directory, file, lambda _: after)
        found = inspect()
    named = {(finding.topic, finding.partition, finding.offset) for finding in found if "SHA-256 of the file" != finding.what}
    moved = {after[number]["offset"] for number in range(1, len(after)) if after[number]["offset"] < after[number - 1]["offset"]}
    wanted = moved if spoil is _reorder else {before[at]["offset"]}
    assert {(*file.place, offset) for offset in wanted} <= named
    assert (*file.place, file.first, "SHA-256 of the file", file.sha256) in {finding[:5] for finding in found}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_was_added_is_named(kind: str) -> None:
    """With an offset of its own, after a file's last or before its first, and hashes that fit."""
    file, _ = by_kind()[kind][-1]
    table = pq.read_table(archive().directory / file.path)
    records = read_records(table, file.place)
    fates = (
        [Fate(epoch, 0) if epoch else None for epoch in table.column("accepted_epoch").to_pylist()]
        if file.topic == CHANGES
        else []
    )
    for offset in (file.next, file.next + 5, file.first - 1):
        added = columns.table(file.topic, [*records, records[-1]._replace(offset=offset)], [*fates, None])
        with spoiled(file.path):
            pq.write_table(added, archive().directory / file.path)
            found = [finding[:4] for finding in inspect()]
        assert (*file.place, offset, "record does not belong here") in found


@pytest.mark.parametrize("topic", AUDITED)
def test_a_column_that_the_value_does_not_give_is_named(topic: str) -> None:
    """Each derived column of each topic, one at a time: made null, or something else where it was null."""
    for file in [file for file in archive().manifest.files if file.topic == topic][:2]:
        table = pq.read_table(archive().directory / file.path)
        offsets = table.column("offset").to_pylist()
        for name in [name for name in columns.schema(topic).names if name not in RAW]:
            cells = table.column(name).to_pylist()
            for at in {0, len(cells) - 1}:
                other = [
                    cell if number != at else _another(table.schema.field(name).type, cell) for number, cell in enumerate(cells)
                ]
                with spoiled(file.path):
                    place = table.column_names.index(name)
                    bent = table.set_column(place, table.schema.field(name), pa.array(other, table.schema.field(name).type))
                    pq.write_table(bent, archive().directory / file.path)
                    found = list(check(archive(), TRUST, 0, verify=verify))
                what = name if name == "record_sha256" else f"column {name}"
                assert [(topic, 0, offsets[at], what)] == [
                    finding[:4] for finding in found if finding.what != "SHA-256 of the file"
                ]


def _another(kind: Any, cell: Any) -> Any:
    if cell is not None:
        return None
    if pa.types.is_list(kind):
        return []
    return "x" if pa.types.is_string(kind) else False if pa.types.is_boolean(kind) else 0


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_any_flipped_byte_of_any_file_is_named(data: st.DataObject) -> None:
    """With the file; and with each record that is read otherwise than it was, if the file still parses."""
    paths = sorted(path.relative_to(archive().directory) for path in archive().directory.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(paths))
    raw = (archive().directory / path).read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    file = next((file for file in archive().manifest.files if file.path == path), None)
    with spoiled(path):
        (archive().directory / path).write_bytes(raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :])
        try:
            found = inspect(ArchiveOrigin.load(archive().directory), PUBLIC)
        except UserError:
            assert Path(MANIFEST) == path
            return
        read = _parsed(file) if file else None
    if file is None:
        wanted = {MANIFEST} if path.name in (MANIFEST, SIGNATURE) else {path.parent.name}
        assert wanted <= {finding.topic for finding in found}
        return
    assert file.place in {(finding.topic, finding.partition) for finding in found}
    if read is not None:
        expected = {record.offset: record for record in small().records[file.place]}
        changed = {record.offset for record in read if expected.get(record.offset) != record}
        assert changed <= {finding.offset for finding in found}


def _parsed(file: File) -> list[Record] | None:
    """The records of a file, if it parses whole."""
    try:
        with opened(archive().directory / file.path, checked=False) as parquet:
            return read_records(parquet.read(columns=list(RAW)), file.place)
    except (UserError, ValueError):
        return None


def _consistent(file: File, records: Sequence[Record], fates: Sequence[Fate | None]) -> None:
    """What an adversary writes: new rows with fitting hashes and columns, and a manifest that fits them."""
    path = archive().directory / file.path
    table = columns.table(file.topic, records, fates)
    pq.write_table(table, path)
    digest = sha256_hex(b"".join(table.column("record_sha256").to_pylist()))
    stamps = [record.timestamp_ms for record in records]
    made = file.model_copy(
        update={
            "sha256": file_sha256(path), "records_sha256": digest, "records": len(records), "next": file.first + len(records),
            "oldest_ms": min(stamps), "newest_ms": max(stamps),
        }
    )  # fmt: skip
    manifest = archive().manifest
    files = tuple(made if found == file else found for found in manifest.files)
    logs = tuple(
        log.model_copy(update={"next": log.next - file.records + len(records)}) if log.place == file.place else log
        for log in manifest.logs
    )
    times = {"oldest_ms": min(found.oldest_ms for found in files), "newest_ms": max(found.newest_ms for found in files)}
    set_manifest(archive().directory, manifest.model_copy(update={"files": files, "logs": logs, **times}))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_consistent_forgery_is_named_by_the_signature(data: st.DataObject) -> None:
    """Every hash, column and count made to fit again: who checks the manifest's signature sees it."""
    kind = data.draw(st.sampled_from(KINDS))
    file, at = data.draw(st.sampled_from(by_kind()[kind]))
    with spoiled(file.path, Path(MANIFEST)):
        table = pq.read_table(archive().directory / file.path)
        records = read_records(table, file.place)
        fates = (
            [Fate(epoch, 0) if epoch else None for epoch in table.column("accepted_epoch").to_pylist()]
            if file.topic == CHANGES
            else []
        )
        last = file.next == archive().bounds[file.place].end and len(records) > 1
        if last and data.draw(st.booleans()):
            records, fates = records[:-1], fates[:-1]  # a log that was cut short at its end
        else:
            records[at] = records[at]._replace(value=_flip(data, records[at].value))
        _consistent(file, records, fates)
        forged = ArchiveOrigin.load(archive().directory)
        signed = [finding for finding in inspect(forged, PUBLIC) if finding.topic == MANIFEST]
    assert [(MANIFEST, None, None, "signature is of another manifest", "", "")] == signed


def test_without_a_signature_a_cut_routing_log_is_not_seen(tmp_path: Path) -> None:
    """What the docstring says cannot be seen: a consistent archive without its last routing decision."""
    file = [file for file in archive().manifest.files if file.topic == topics.ROUTING_DECISIONS][-1]
    with spoiled(file.path, Path(MANIFEST)):
        records = read_records(pq.read_table(archive().directory / file.path), file.place)
        _consistent(file, records[:-1], [])
        forged = ArchiveOrigin.load(archive().directory)
        assert [] == inspect(forged)
        assert ["signature is of another manifest"] == [finding.what for finding in inspect(forged, PUBLIC)]


def test_without_a_signature_a_consistent_forgery_of_the_chain_is_seen() -> None:
    """The chain vouches for itself: a mark of which one byte differs counts no more, nor does what follows it."""
    file, at = by_kind()[f"{CHANGES} mark"][1]
    with spoiled(file.path, Path(MANIFEST)):
        table = pq.read_table(archive().directory / file.path)
        records = read_records(table, file.place)
        sealed = parse(records[at].value or b"")
        payload = canonical(orjson.loads(sealed.payload) | {"resolved_at_ms": 1})
        records[at] = records[at]._replace(value=sign(sealed.payload_type, payload, [key("somebody")]))
        _consistent(file, records, [Fate(epoch, 1_800_000_001_000) for epoch in table.column("accepted_epoch").to_pylist()])
        found = inspect(ArchiveOrigin.load(archive().directory))
    counted = [finding.offset for finding in found if finding.what.startswith("column accepted_epoch")]
    assert records[at - 1].offset == min(offset for offset in counted if offset is not None)  # the epoch's change
    assert "last accepted epoch" in {finding.what for finding in found}


def test_signatures_are_asked_for(tmp_path: Path) -> None:
    """A signature that is missing, another's, or of another manifest is named, if a signer is expected; else it is not read."""
    directory = tmp_path / "copy"
    shutil.copytree(archive().directory, directory)
    found = ArchiveOrigin.load(directory)
    assert [] == inspect(found, PUBLIC)
    assert ["signature is not this key's"] == [finding.what for finding in inspect(found, bytes(key("somebody").verify_key))]
    raw = (directory / SIGNATURE).read_bytes()
    for content in (b"", b"{}", sign("text/plain", found.manifest.raw, [SIGNER])):
        (directory / SIGNATURE).write_bytes(content)
        assert ["signature is not this key's"] == [finding.what for finding in inspect(found, PUBLIC)]
    (directory / SIGNATURE).write_bytes(raw)
    other = found.manifest.model_copy(update={"oldest_ms": 5})
    assert ["signature is of another manifest", "range of log times"] == [
        finding.what for finding in inspect(ArchiveOrigin(directory, other), PUBLIC)
    ]
    (directory / SIGNATURE).unlink()
    assert ["signature is missing"] == [finding.what for finding in inspect(found, PUBLIC)]
    assert [] == inspect(found)


def test_files_are_counted(tmp_path: Path) -> None:
    """A file that is gone, one too many, and a topic without its columns are named."""
    directory = tmp_path / "copy"
    shutil.copytree(archive().directory, directory)
    found = ArchiveOrigin.load(directory)
    file = next(file for file in found.manifest.files if file.topic == topics.HEARTBEATS)
    (directory / file.path).rename(directory / "heartbeats/p00000/00000000000000000077.parquet")
    (directory / "holds/columns.parquet").unlink()
    (directory / "benchmarks/columns.parquet").write_bytes((directory / "heartbeats/columns.parquet").read_bytes())
    (directory / "benchmarks/link.parquet").symlink_to(directory / "heartbeats")
    what = [(finding.topic, finding.what) for finding in inspect(found)]
    assert [
        ("benchmarks", "SHA-256 of the empty file"),
        ("holds", "file is missing"),
        (MANIFEST, "file is not in the manifest"),
        (MANIFEST, "file is not in the manifest"),
        ("heartbeats", "file is missing"),
    ] == what


def _manifest(**changes: Any) -> ArchiveOrigin:
    return ArchiveOrigin(archive().directory, archive().manifest.model_copy(update=changes))


def test_what_a_manifest_says_of_itself_is_checked() -> None:
    """Network and generation, missing partitions, files that do not follow each other, ends, times, heads."""
    manifest = archive().manifest
    chain, files, logs = manifest.chains[0], manifest.files, manifest.logs
    first = files[0].model_copy(update={"next": files[0].next + 1})
    low, wrong = chain.head.model_copy(update={"epoch": 3}), Mark(offset=-1, epoch=0, digest="0" * 64)
    for changes, told in (
        ({"network": "othernet"}, "network is not the one that is trusted"),
        ({"generation": 9}, "generation is not the one that is trusted"),
        ({"logs": logs[1:]}, "partition is not in the manifest"),
        ({"logs": logs[1:]}, "files of a partition that the manifest does not list"),
        ({"files": (first, *files[1:])}, "number of records in the manifest"),
        ({"files": files[1:]}, "end of the partition in the manifest"),
        ({"files": (*files[:-1], files[-1].model_copy(update={"first": 1}))}, "files do not follow each other"),
        ({"newest_ms": 7}, "range of log times"),
        ({"chains": ()}, "chain is not in the manifest"),
        ({"chains": (chain.model_copy(update={"head": low}),)}, "last accepted epoch"),
        ({"chains": (chain.model_copy(update={"resolved_at_ms": 7}),)}, "last accepted epoch"),
        ({"chains": (chain.model_copy(update={"since": chain.head}),)}, "epoch since which the chain is known"),
        ({"chains": (chain.model_copy(update={"since": wrong}),)}, "epoch since which the chain is known"),
        ({"files": (files[0].model_copy(update={"oldest_ms": 1}), *files[1:])}, "oldest log time"),
        ({"files": (files[0].model_copy(update={"newest_ms": 1}), *files[1:])}, "newest log time"),
        ({"files": (files[0].model_copy(update={"records_sha256": "0" * 64}), *files[1:])}, "digest of the records"),
        ({"files": (files[0].model_copy(update={"records": 1}), *files[1:])}, "number of records"),
    ):  # fmt: skip
        assert told in {finding.what for finding in inspect(_manifest(**changes))}, changes


def _letter(**changes: Any) -> dict[str, Any]:
    letter = small().records[Place(topics.DEAD_LETTERS, 0)][0]
    return dict(orjson.loads(letter.value or b"") | changes)


def _spoiled_log(place: Place, offset: int, **cells: Any) -> MemoryOrigin:
    """The log as if this record had always been so."""
    records = [record._replace(**cells) if record.offset == offset else record for record in small().records[place]]
    return MemoryOrigin({**small().records, place: records}, 1)


LETTERS: list[tuple[dict[str, Any], str]] = [
    ({"value": b"junk"}, "dead letter"),
    ({"value": None}, "dead letter"),
    ({"value": canonical(_letter(extra=1))}, "dead letter"),
    ({"value": canonical(_letter(code="no_such_code"))}, "dead letter: code"),
    ({"value": canonical(_letter(topic="eligibility-changes"))}, "dead letter: topic is no input"),
    ({"value": canonical(_letter(value_sha256="0" * 64))}, "SHA-256 of the value"),
    ({"value": canonical(_letter(value_bytes=1))}, "length of the value"),
    ({"value": canonical(_letter(logged_at_ms=1))}, "log time"),
    ({"value": canonical(_letter(value="AAAA"))}, "first bytes of the value"),
    ({"value": canonical(_letter(key="AAAA"))}, "first bytes of the key"),
    ({"key": b"somebody"}, "Kafka key"),
    ({"value": canonical(_letter(offset=0))}, "SHA-256 of the value"),
]


@pytest.mark.parametrize(("cells", "told"), LETTERS)
def test_a_dead_letter_is_held_against_its_record(tmp_path: Path, cells: dict[str, Any], told: str) -> None:
    """Even one that came so from the log: its schema, its code, and everything it says of the record it names."""
    found = inspect(archived(_spoiled_log(Place(topics.DEAD_LETTERS, 0), 0, **cells), tmp_path))
    assert {(topics.DEAD_LETTERS, 0, 0)} == {finding[:3] for finding in found}
    assert told in {finding.what.rpartition(": ")[2] if " of " in finding.what else finding.what for finding in found}


def test_letters_of_records_that_are_not_there_pass(tmp_path: Path) -> None:
    """Of a record beyond the archive nothing can be said."""
    log = _spoiled_log(Place(topics.DEAD_LETTERS, 0), 0, value=canonical(_letter(offset=10_000)))
    assert [] == inspect(archived(log, tmp_path))


def _decision(signer: str = "router", kind: str = ROUTING_DECISION_V1, raw: bytes | None = None, **changes: Any) -> bytes:
    held = orjson.loads(parse(small().records[Place(topics.ROUTING_DECISIONS, 0)][0].value or b"").payload)
    return sign(kind, canonical(held | changes) if raw is None else raw, [key(signer)])


DECISIONS: list[tuple[dict[str, Any], str]] = [
    ({"value": None}, "record_empty"),
    ({"value": b"{}"}, "envelope_malformed"),
    ({"value": _decision(kind="text/plain")}, "payload_type_unexpected"),
    ({"value": _decision(signer="processor")}, "unauthorized"),
    ({"value": _decision().replace(b'"sig":"', b'"sig":"AAAA').replace(b'=="}]', b'"}]')}, "envelope_malformed"),
    ({"value": _decision(raw=b'{"a": 1}')}, "payload_not_canonical"),
    ({"value": _decision(allowed="yes")}, "payload_invalid"),
    ({"value": _decision(network="othernet")}, "network_mismatch"),
    ({"key": b"0" * 32}, "key_mismatch"),
    ({"timestamp_ms": 1}, "unauthorized"),
]


@pytest.mark.parametrize(("cells", "told"), DECISIONS)
def test_a_routing_decision_is_held_against_the_routers_keys(tmp_path: Path, cells: dict[str, Any], told: str) -> None:
    """Even one that came so from the log: envelope, key under the policy of its log time, signature, schema, subject."""
    found = inspect(archived(_spoiled_log(Place(topics.ROUTING_DECISIONS, 0), 0, **cells), tmp_path))
    assert [(topics.ROUTING_DECISIONS, 0, 0, "routing decision", "", told)] == found


def test_a_forged_signature_of_a_routing_decision_is_named(tmp_path: Path) -> None:
    """The router's key id over other bytes."""
    honest, other = parse(_decision()), parse(_decision(considered_total=9))
    from b3iq_schemas.envelope import seal

    value = seal(ROUTING_DECISION_V1, other.payload, {bytes(key("router").verify_key): honest.signatures[0].sig})
    found = inspect(archived(_spoiled_log(Place(topics.ROUTING_DECISIONS, 0), 0, value=value), tmp_path))
    assert [(topics.ROUTING_DECISIONS, 0, 0, "routing decision", "", "invalid_signature")] == found


def test_decisions_are_judged_by_the_policy_of_their_moment(tmp_path: Path) -> None:
    """A router key that a revision drops counts for what was logged before it, and for nothing after."""
    lab = Lab(1)
    lab.ready("node-1")
    lab.epochs(2)
    lab.refuse()
    roles = {
        role: [bytes(key(role).verify_key).hex()] for role in ("control_plane", "observer", "broker", "operator", "processor")
    }
    lab.epochs(1)
    lab.policy(2, roles=roles | {"router": [bytes(key("router-2").verify_key).hex()]})
    lab.epochs(1)
    lab.refuse(signer="router-2")
    lab.refuse()
    found = inspect(archived(lab.origin, tmp_path))
    assert [(topics.ROUTING_DECISIONS, 0, 2, "routing decision", "", "unauthorized")] == found


def test_findings_show_nothing_private(tmp_path: Path) -> None:
    """Reasons, actors, callers and decision ids of a spoiled archive appear in no finding."""
    shown = ""
    for file in archive().manifest.files:
        if file.topic in (topics.HOLDS, topics.ROUTING_DECISIONS, topics.DEAD_LETTERS):
            with spoiled(file.path):
                rewrite(archive().directory, file, lambda found: [_emptied(row) for row in found])
                shown += repr(inspect())
    decision = orjson.loads(parse(small().records[Place(topics.ROUTING_DECISIONS, 0)][0].value or b"").payload)
    secrets = (
        "planted",
        decision["decision_id"],
        decision["caller_hash"],
        decision["request_policy_sha256"],
        str(archive().directory),
    )
    assert "column decision_id" in shown
    assert [] == [secret for secret in secrets if secret in shown]


def _emptied(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: None for name in row if name not in RAW and name not in ("partition", "record_sha256")} | {"key": b"x"}


def test_partitions_are_checked_apart(tmp_path: Path) -> None:
    """The manifest and each partition number on its own find together what the whole check finds, in its order."""
    found = archived(hostile(), tmp_path)
    file = next(file for file in found.manifest.files if file.topic == topics.HEARTBEATS and file.partition == 1)
    rewrite(tmp_path, file, lambda kept: kept[1:])
    whole = list(check(found, TRUST, verify=verify))
    parts = [finding for partition in range(2) for finding in check(found, TRUST, partition, verify=verify)]
    assert whole == parts
    assert {0, 1} == {finding.partition for finding in whole}
