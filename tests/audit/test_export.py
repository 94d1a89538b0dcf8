"""An export adds to an archive what it lacks, and nothing else; it can be cut off anywhere, repeated, and trusted again."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_streams import keys
from b3iq_streams.audit.archive import disk as archive_disk
from b3iq_streams.audit.archive.exporting import ArchiveGap, export
from b3iq_streams.audit.archive.inspection import check
from b3iq_streams.audit.archive.manifest import MANIFEST, SIGNATURE, signed_by
from b3iq_streams.audit.archive.origin import ArchiveOrigin
from b3iq_streams.audit.archive.writer import Sizes
from b3iq_streams.audit.source import AUDITED, Bounds, Origin
from b3iq_streams.cli import run
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.archive_lab import (
    CHANGES,
    SMALL,
    archived,
    contents,
    cut,
    exported,
    hostile,
    hostile_known,
    known,
    set_manifest,
    small,
)
from tests.audit.lab import MemoryOrigin, busy_lab
from tests.factory import TRUST, key
from tests.sim.crypto import verify

SOME = Sizes(group_records=40, file_records=120)


def tables(archive: ArchiveOrigin) -> dict[Place, Any]:
    """Every column of every row, whatever files they are in."""
    found = {
        place: [pq.read_table(archive.directory / file.path) for file in files]
        for place, files in archive.manifest.by_place.items()
    }
    return {place: pa.concat_tables(parts).combine_chunks() for place, parts in found.items() if parts}


def apart_from_files(archive: ArchiveOrigin) -> dict[str, Any]:
    """What a manifest says beside how records were cut into files."""
    return {name: value for name, value in archive.manifest.model_dump().items() if name != "files"}


@functools.cache
def whole_tables() -> tuple[dict[Place, Any], dict[str, Any]]:
    """The hostile log, exported at once."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        archive = archived(hostile(), Path(directory), SOME)
        return tables(archive), apart_from_files(archive)


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_many_exports_make_what_one_makes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Wherever a log stood when it was exported, in the middle of an epoch too: in the end, the same rows and columns."""
    directory = tmp_path_factory.mktemp("archive")
    origin, shares = hostile(), sorted(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=3)))
    for share in shares:
        then = cut(origin, share)
        held = contents(ArchiveOrigin(directory, exported(then, directory, SOME).after))
        assert {place: hostile_known()[place][: len(records)] for place, records in held.items()} == held
        assert [] == [place for place in held if place.topic != CHANGES and len(held[place]) != len(then.records[place])]
    exported(origin, directory, SOME)
    archive = ArchiveOrigin.load(directory)
    assert hostile_known() == contents(archive)
    assert whole_tables()[1] == apart_from_files(archive)
    found_tables = tables(archive)
    assert whole_tables()[0].keys() == found_tables.keys()
    assert [] == [place for place, table in whole_tables()[0].items() if not table.equals(found_tables[place])]


@pytest.mark.parametrize(("batch", "processes"), [(1, 1), (7, 1), (1_000, 2)])
def test_the_same_log_gives_the_same_archive(tmp_path: Path, batch: int, processes: int) -> None:
    """Whatever the batches in which records come, and however many processes write: the same bytes in the same files."""
    origin = small()
    first = exported(origin, tmp_path / "a").after
    again = export(
        MemoryOrigin(origin.records, 1, batch), TRUST, tmp_path / "b", processes=processes, sizes=SMALL, verify=verify
    ).after  # fmt: skip
    assert first.raw == again.raw
    assert [] == [
        file for file in first.files if (tmp_path / "a" / file.path).read_bytes() != (tmp_path / "b" / file.path).read_bytes()
    ]


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Two partitions by two processes, as by one."""
    one = exported(hostile(), tmp_path / "one").after
    two = export(hostile(), TRUST, tmp_path / "two", processes=2, sizes=SMALL, verify=verify).after
    assert one.raw == two.raw


def test_hash_seeds_change_nothing() -> None:
    """The order of sets and dictionaries of strings is no part of an archive."""
    program = (
        "import tempfile, pathlib; from tests.audit.archive_lab import exported, small;"
        "print(exported(small(), pathlib.Path(tempfile.mkdtemp())).after.raw.decode())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "4711")
    }  # fmt: skip
    assert 1 == len(told)


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    """A second export of the same log touches no file."""
    exported(small(), tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")}
    again = exported(small(), tmp_path)
    assert (0, again.before) == (again.new_records, again.after)
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")}


def test_files_and_groups_are_cut_by_records_and_by_bytes(tmp_path: Path) -> None:
    """No file and no group of rows holds more than it may, so that writing and reading take bounded memory."""
    archive = archived(hostile(), tmp_path / "records", Sizes(5, 1_000_000, 10, 1_000_000))
    assert {10} == {file.records for file in archive.manifest.files if file.next != archive.bounds[file.place].end}
    groups = [group for file in archive.manifest.files for group in _groups(archive, file.path)]
    assert 5 == max(groups)
    archive = archived(hostile(), tmp_path / "bytes", Sizes(1_000, 3_000, 1_000, 6_000))
    largest = max(len(record.value or b"") for records in hostile().records.values() for record in records)
    for place, records in contents(archive).items():
        sizes = {record.offset: len(record.value or b"") for record in records}
        for file in archive.manifest.by_place[place]:
            assert sum(sizes[offset] for offset in range(file.first, file.next)) <= 6_000 + 3_000 + largest
            assert max(_groups(archive, file.path)) < 1_000


def _groups(archive: ArchiveOrigin, path: Path) -> Iterator[int]:
    metadata = pq.read_metadata(archive.directory / path)
    for group in range(metadata.num_row_groups):
        yield metadata.row_group(group).num_rows


class Crash(BaseException):
    """The power goes."""


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_export_may_crash_at_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Before or after each file gets its name: what was there before is whole, and the next export makes it as if nothing
    had been."""
    signer = key("archivist")
    half, rename = cut(small(), 0.6), os.replace
    exported(half, tmp_path / "half", key=signer)
    exported(small(), tmp_path / "calm-start", key=signer)
    shutil.copytree(tmp_path / "half", tmp_path / "calm")
    exported(small(), tmp_path / "calm", key=signer)
    crashes = 0
    for start in ("half", None):
        wanted = (tmp_path / ("calm" if start else "calm-start") / MANIFEST).read_bytes()
        for number in range(100):
            directory = tmp_path / f"{start}-{number}"
            shutil.copytree(tmp_path / "half", directory) if start else directory.mkdir()
            with monkeypatch.context() as patched:
                patched.setattr(os, "replace", _crashing(rename, number, late))
                try:
                    exported(small(), directory, key=signer)
                    break
                except Crash:
                    crashes += 1
            if (directory / MANIFEST).exists():
                left = ArchiveOrigin.load(directory)
                assert contents(left) in ({}, known(half), known(small()))
            exported(small(), directory, key=signer)
            after = ArchiveOrigin.load(directory)
            assert wanted == after.manifest.raw
            assert [] == list(check(after, TRUST, signer=bytes(signer.verify_key), verify=verify))
    assert crashes > 30


def _crashing(rename: Any, number: int, late: bool) -> Any:
    left = [number]

    def replaced(*paths: Any) -> None:
        left[0] -= 1
        if left[0] < 0 and not late:
            raise Crash
        rename(*paths)
        if left[0] < 0:
            raise Crash

    return replaced


class Interrupted(MemoryOrigin):
    """A log during whose reading somebody presses Ctrl-C."""

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """The records, and a signal on the way."""
        for batch in super().read(place, first, last):
            if place.topic == topics.HEARTBEATS:
                signal.raise_signal(signal.SIGINT)
            yield batch


def test_an_export_may_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C leaves the archive as it was, and the next export goes on."""
    before = exported(cut(small(), 0.6), tmp_path / "a").after
    with pytest.raises(KeyboardInterrupt):
        exported(Interrupted(small().records, 1, batch=1), tmp_path / "a")
    assert before == ArchiveOrigin.load(tmp_path / "a").manifest
    exported(cut(small(), 0.6), tmp_path / "b")
    assert exported(small(), tmp_path / "b").after.raw == exported(small(), tmp_path / "a").after.raw


@dataclass(frozen=True)
class Endless:
    """A log of so many records, made as they are read."""

    count: int
    partitions: int = 1
    stamped: bool = True

    @property
    def bounds(self) -> dict[Place, Bounds]:
        """All of them are on one partition."""
        return {Place(topic, 0): Bounds(0, self.count if topic in (CHANGES, topics.HEARTBEATS) else 0) for topic in AUDITED}

    @contextmanager
    def open(self) -> Iterator["Endless"]:
        """Nothing to open."""
        yield self

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """Records of a kilobyte that are nothing, and say so with a different byte each."""
        for offset in range(first, last, 100):
            yield [Record(*place, at, b"k", b"%d" % at * 250, at) for at in range(offset, min(last, offset + 100))]


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Four times the records take no more memory than a file's: groups are written and read as they fill."""
    sizes, peaks = Sizes(group_records=200, file_records=1_000), []
    for count in (3_000, 12_000):
        tracemalloc.start()
        archive = archived(Endless(count), tmp_path / str(count), sizes)
        with archive.open() as source:
            assert count == sum(map(len, source.read(Place(topics.HEARTBEATS, 0), 0, count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_what_a_crash_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Unfinished files and files beyond the manifest go; what is no file of an archive is not touched."""
    exported(cut(small(), 0.5), tmp_path)
    folder = tmp_path / CHANGES / "p00000"
    for name in ("00000000000000000000.parquet.new", "00000000000000099999.parquet", "notes.txt"):
        (folder / name).write_bytes(b"x")
    exported(small(), tmp_path)
    assert ["notes.txt"] == [path.name for path in sorted(folder.iterdir()) if path.suffix != ".parquet"]
    extra = [(found.what, found.found) for found in check(ArchiveOrigin.load(tmp_path), TRUST, verify=verify)]
    assert [("file is not in the manifest", f"{CHANGES}/p00000/notes.txt")] == extra


def test_a_lost_manifest_does_not_cost_the_archive(tmp_path: Path) -> None:
    """Files without a manifest are not leftovers: they may be all that is left of years."""
    archive = archived(small(), tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"is not empty and has no manifest.json"):
        exported(small(), tmp_path)
    assert [] == [file for file in archive.manifest.files if not (tmp_path / file.path).exists()]


def test_a_gap_is_evidence_expired(tmp_path: Path) -> None:
    """When the log begins beyond the archive's end, the missing offsets are named and nothing is written."""
    exported(cut(small(), 0.3), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(ArchiveGap, match=r"evidence expired: benchmarks/0: offsets 0 to 0 are neither") as caught:
        exported(cut(small(), 1, start=0.5), tmp_path)
    assert (Place(topics.BENCHMARKS, 0), 0, 0) == (caught.value.place, caught.value.first, caught.value.last)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


def bent(origin: MemoryOrigin, place: Place, change: Any) -> MemoryOrigin:
    """The log with one partition's records changed."""
    return MemoryOrigin({**origin.records, place: change(origin.records[place])}, origin.partitions)


HEARTBEATS = Place(topics.HEARTBEATS, 0)


def _other_last(records: list[Record]) -> list[Record]:
    return [record._replace(timestamp_ms=1) for record in records]


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (bent(small(), HEARTBEATS, _other_last), "heartbeats/0: offset 2 is not the record that was archived"),
        (bent(small(), HEARTBEATS, lambda records: records[:1]), "heartbeats/0 ends at offset 1, the archive at 3"),
        (MemoryOrigin({place: found for place, found in small().records.items() if place != HEARTBEATS}, 1),
         "heartbeats/0 is in the archive but not in the log"),
        (MemoryOrigin(small().records, 3), "archive of another network: its partitions is 1, not 3"),
        (MemoryOrigin(small().records, 1, stamped=False), "archive of another network: its stamped is True, not False"),
        (bent(small(), HEARTBEATS, lambda records: records[:3] + records[4:]), "heartbeats/0: offset 3 is not in the log"),
    ],
)  # fmt: skip
def test_another_log_is_not_mixed_in(tmp_path: Path, origin: Origin, told: str) -> None:
    """A log that is not the one archived so far, or that lacks records, is refused before the manifest changes."""
    raw = exported(cut(small(), 0.6), tmp_path).after.raw
    with pytest.raises(UserError, match=told):
        exported(origin, tmp_path)
    assert raw == (tmp_path / MANIFEST).read_bytes()


@pytest.mark.parametrize(("name", "value"), [("network", "othernet"), ("generation", 2)])
def test_another_network_is_not_mixed_in(tmp_path: Path, name: str, value: Any) -> None:
    """An archive belongs to one network and one generation of it."""
    exported(small(), tmp_path)
    with pytest.raises(UserError, match=f"archive of another network: its {name} is .*, not {value}"):
        export(small(), TRUST.model_copy(update={name: value}), tmp_path, processes=1)


def test_one_export_at_a_time(tmp_path: Path) -> None:
    """A second one into the same directory is refused; when the first is gone, it is not."""
    with archive_disk.sole_writer(tmp_path), pytest.raises(UserError, match="another export is writing"):
        exported(small(), tmp_path)
    exported(small(), tmp_path)


def test_a_signed_archive_stays_signed(tmp_path: Path) -> None:
    """Extending it needs the key; a signature of it covers exactly the manifest's bytes."""
    signer = key("archivist")
    exported(cut(small(), 0.5), tmp_path, key=signer)
    with pytest.raises(UserError, match="is signed: give --key"):
        exported(small(), tmp_path)
    with pytest.raises(UserError, match="is not signed by this key; nothing was written"):
        exported(small(), tmp_path, key=key("somebody"))
    after = exported(small(), tmp_path, key=signer).after
    assert after.raw == signed_by((tmp_path / SIGNATURE).read_bytes(), bytes(signer.verify_key))
    assert [] == list(check(ArchiveOrigin.load(tmp_path), TRUST, signer=bytes(signer.verify_key), verify=verify))


def test_a_manifest_that_was_changed_is_not_signed_again(tmp_path: Path) -> None:
    """An export does not vouch for what somebody else wrote meanwhile; a manifest set back is set right."""
    signer = key("archivist")
    half = exported(cut(small(), 0.5), tmp_path, key=signer).after
    whole = exported(small(), tmp_path, key=signer).after
    file = whole.files[0]
    set_manifest(tmp_path, whole.model_copy(update={"files": (file.model_copy(update={"sha256": "0" * 64}), *whole.files[1:])}))
    with pytest.raises(UserError, match=r"manifest.json is not the one that was signed; nothing was written"):
        exported(small(), tmp_path, key=signer)
    set_manifest(tmp_path, half)
    assert whole.raw == exported(small(), tmp_path, key=signer).after.raw == (tmp_path / MANIFEST).read_bytes()


@functools.cache
def anchored() -> MemoryOrigin:
    """A log in which anchors move."""
    return busy_lab(refresh_period_ms=20_000).origin


def test_a_chain_that_begins_late_is_known_from_its_first_anchor(tmp_path: Path) -> None:
    """Rows up to the anchor have no accepted epoch, those after it the same as in an archive from the beginning."""
    late = cut(anchored(), 1, start=0.4)
    kept = {place: found for place, found in anchored().records.items() if place.topic == topics.POLICIES}
    late = MemoryOrigin({**late.records, **kept}, 2)
    whole, part = archived(anchored(), tmp_path / "whole"), archived(late, tmp_path / "late")
    assert [] == list(check(part, TRUST, verify=verify))
    for partition in range(2):
        place, chain = Place(CHANGES, partition), part.manifest.chain(partition)
        assert chain is not None
        assert chain.since.epoch > 0
        epochs = {row["offset"]: row["accepted_epoch"] for row in tables(whole)[place].to_pylist()}
        expected = {offset: epoch if offset > chain.since.offset else None for offset, epoch in epochs.items()}
        found = {row["offset"]: row["accepted_epoch"] for row in tables(part)[place].to_pylist()}
        assert {offset: expected[offset] for offset in found} == found
        assert {None} < set(found.values())
        head = whole.manifest.chain(partition)
        assert head is not None
        assert (head.head, head.resolved_at_ms) == (chain.head, chain.resolved_at_ms)


def test_a_late_chain_without_an_anchor_waits(tmp_path: Path) -> None:
    """Nothing of it is archived, for what counts cannot be known; once an anchor comes, all of it is."""
    place = Place(CHANGES, 0)
    late = [record for record in anchored().records[place] if record.offset >= 100]

    def origin(end: int) -> MemoryOrigin:
        return MemoryOrigin({**anchored().records, place: [record for record in late if record.offset < end]}, 2)

    found = exported(origin(105), tmp_path)
    assert {0: 5} == found.waiting
    assert (None, 100, 100) == (found.after.chain(0), *found.after.bounds[place])
    again = exported(origin(10_000), tmp_path)
    assert {} == again.waiting
    at_once = archived(origin(10_000), tmp_path / "at-once")
    assert at_once.manifest.chains == again.after.chains
    assert late == contents(ArchiveOrigin.load(tmp_path))[place]
    assert [] == list(check(ArchiveOrigin(tmp_path, again.after), TRUST, 0, verify=verify))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a trust file, a key, and the archives `half` and `whole`; no settings in the environment."""
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("trust.json").write_text(TRUST.model_dump_json())
    keys.save(key("archivist"), Path("key.json"))
    exported(cut(small(), 0.6), tmp_path / "half")
    exported(small(), tmp_path / "whole")
    return tmp_path


def audit(*words: str) -> int:
    """Run one `audit` command."""
    return run(["audit", *words, "--trust", "trust.json"])


def test_the_command_says_what_it_wrote(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line per topic and a total, first with what is new, then that nothing is."""
    assert 0 == audit("export", "new", "--archive", "whole", "--processes", "1")
    first = capsys.readouterr().out.splitlines()
    assert len(AUDITED) + 1 == len(first)
    total = sum(map(len, known(small()).values()))
    assert first[-1].split() == [
        "total",
        str(total),
        "records",
        "in",
        str(len(list(Path("new").glob("*/p*/*")))),
        "files;",
        str(total),
        "new",
    ]
    assert "heartbeats                    5 records in 1 partition: offsets 0–4" in first
    assert 0 == audit("export", "new", "--archive", "whole", "--processes", "1")
    assert capsys.readouterr().out.splitlines()[-1].endswith("; nothing new")


def test_the_command_says_it_in_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, the same in every run, signed if there is a key; of the log's content only counts, times and hashes."""
    assert 0 == audit("export", "half", "--archive", "whole", "--json", "--key", "key.json")
    raw = capsys.readouterr().out
    told = orjson.loads(raw)
    manifest = ArchiveOrigin.load(Path("half")).manifest
    assert (True, sha256_hex(manifest.raw), []) == (told["signed"], told["manifest_sha256"], told["waiting"])
    assert sum(log["new_records"] for log in told["logs"]) == told["new_records"] > 0
    assert sum(log["next"] - log["start"] for log in told["logs"]) == told["records"]
    assert [10] == [chain["last_epoch"] for chain in told["chains"]]
    assert [] == [word for word in ("planted", "node-", "half", str(workplace)) if word in raw]


def test_the_command_fails_in_one_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gap is exit code 3, anything told wrong 2; never a traceback."""
    late = cut(small(), 1, start=0.8)
    exported(MemoryOrigin({**late.records, Place("policies", 0): small().records[Place("policies", 0)]}, 1), workplace / "late")
    wrong = Path("wrong")
    wrong.mkdir()
    (wrong / "notes.txt").touch()
    for code, words, told in (
        (3, ("export", "half", "--archive", "late"), "evidence expired: "),
        (2, ("export", "wrong", "--archive", "whole"), "is not empty and has no manifest.json"),
        (2, ("export", "trust.json", "--archive", "whole"), "trust.json: File exists"),
        (2, ("export", "new", "--archive", "absent"), "absent/manifest.json: No such file"),
        (2, ("export", "new", "--archive", "whole", "--key", "absent.json"), "absent.json: No such file"),
        (2, ("export", "new", "--archive", "whole", "--processes", "0"), "--processes"),
        (2, ("export",), "Missing argument"),
    ):
        assert code == audit(*words), words
        shown = capsys.readouterr()
        assert "" == shown.out
        assert 1 == len(shown.err.splitlines())
        assert told in shown.err
