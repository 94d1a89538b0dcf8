"""What is in an archive is what was in the log, byte for byte; and which rows of a chain count is the chain's own word."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.audit.archive.fates import Fate, Fates
from b3iq_streams.audit.archive.manifest import MANIFEST
from b3iq_streams.audit.archive.origin import ArchiveOrigin
from b3iq_streams.audit.archive.rows import RAW, raw_columns, read_records, record_sha256
from b3iq_streams.audit.source import AUDITED
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.chain import ChainReader
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.archive_lab import CHANGES, accepted, archived, contents, hostile, hostile_known, small
from tests.audit.lab import MemoryOrigin
from tests.chainlab import ChainLab, decision
from tests.factory import TRUST
from tests.sim.crypto import verify

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
STAMPS = st.integers(-1, 2**53)
RECORDS = st.builds(
    Record, st.just("heartbeats"), st.integers(0, 3), st.integers(0, 2**53), st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=200), STAMPS, st.sampled_from([0, 1]),
    st.lists(st.tuples(TEXT, st.none() | st.binary(max_size=20)), max_size=3).map(tuple),
)  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ArchiveOrigin:
    """The hostile log, archived in small files."""
    return archived(hostile(), tmp_path_factory.mktemp("archive"))


def test_an_archive_gives_back_every_record_exactly(archive: ArchiveOrigin) -> None:
    """Keys, values, headers, times and their types, absent and empty ones too; junk at a chain's end waits."""
    expected = hostile_known()
    assert expected == contents(archive)
    assert any(file.first > 0 for file in archive.manifest.files)
    assert [] == expected[Place(topics.HOLDS, 0)]
    assert {place.topic for place, found in expected.items() if any(record.headers for record in found)} >= {CHANGES, "holds"}


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=8))
def test_any_records_survive_as_columns(found: list[Record]) -> None:
    """Nothing that Kafka can hold is lost or confused on the way."""
    import pyarrow as pa

    place = Place("heartbeats", 2)
    records = [record._replace(partition=2) for record in found]
    assert records == read_records(pa.table(raw_columns(records), schema=pa.schema(RAW.items())), place)


@given(RECORDS, RECORDS)
def test_a_record_hash_tells_any_two_records_apart(one: Record, other: Record) -> None:
    """The framing is unambiguous: bytes cannot move from one member to the next."""
    assert (one == other) == (record_sha256(one) == record_sha256(other))


AMBIGUOUS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"key": b"ab", "value": b"c"}, {"key": b"a", "value": b"bc"}),
    ({"key": None}, {"key": b""}),
    ({"value": None}, {"value": b""}),
    ({"headers": (("a", None),)}, {"headers": (("a", b""),)}),
    ({"headers": (("a", b"b"), ("c", b""))}, {"headers": (("a", b"bc"), ("", b""))}),
    ({"headers": (("a", b""),)}, {"headers": ()}),
    ({"topic": "heartbeats", "key": b"x"}, {"topic": "heartbeat", "key": b"sx"}),
    ({"timestamp_type": 0}, {"timestamp_type": 1}),
    ({"offset": 1, "timestamp_ms": 2}, {"offset": 2, "timestamp_ms": 1}),
    ({"partition": 1}, {"partition": 0}),
]


@pytest.mark.parametrize(("one", "other"), AMBIGUOUS)
def test_no_two_members_run_together(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What a naive concatenation would confuse has different hashes."""
    record = Record("heartbeats", 0, 0, b"k", b"v", 1)
    assert record_sha256(record._replace(**one)) != record_sha256(record._replace(**other))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_reading_gives_what_was_asked_for(archive: ArchiveOrigin, data: st.DataObject) -> None:
    """Any stretch of offsets, wherever files and groups of rows end; several readings may be under way."""
    place = data.draw(st.sampled_from(sorted(archive.bounds)))
    end = archive.bounds[place].end
    first, last = data.draw(st.integers(0, end + 2)), data.draw(st.integers(0, end + 2))
    expected = [record for record in hostile_known()[place] if first <= record.offset < last]
    with archive.open() as source:
        other = iter(source.read(place, 0, end))
        next(other, None)
        assert expected == [record for batch in source.read(place, first, last) for record in batch]


def test_a_walk_over_an_archive_is_a_walk_over_the_log(archive: ArchiveOrigin) -> None:
    """Every mark, verdict and re-folded epoch is the same as from memory."""
    origin = hostile()
    for partition in range(origin.partitions):
        seen = []
        for source in (archive, MemoryOrigin(hostile_known(), origin.partitions)):
            with source.open() as opened:
                walk = Walk(source, opened, TRUST, partition, verify)
                seen.append([(found.record, found.verdict) for found in walk])
        assert len(seen[0]) > 100
        assert seen[1] == seen[0]


def test_an_archive_is_handed_to_another_process(archive: ArchiveOrigin) -> None:
    """What opens it is small, and gives the same records."""
    packed = pickle.dumps(archive)
    assert contents(archive) == contents(pickle.loads(packed))
    assert len(packed) < 1_000 * len(archive.manifest.files)
    assert (archive.partitions, archive.stamped) == (2, True)


def test_which_rows_count_is_what_another_reader_says(archive: ArchiveOrigin) -> None:
    """Accepted epochs of changes and marks, and when they were resolved, against a reader that shares no code with ours."""
    import pyarrow.parquet as pq

    for partition in range(archive.partitions):
        place = Place(CHANGES, partition)
        expected = accepted(hostile_known()[place], hostile(), partition)
        files = archive.manifest.by_place[place]
        rows = [row for file in files for row in pq.read_table(archive.directory / file.path).to_pylist()]
        found = {row["offset"]: row["accepted_epoch"] for row in rows}
        assert expected == found
        assert None in found.values()
        resolved = {row["epoch"]: row["resolved_at"] for row in rows if row["kind"] == "mark" and row["accepted_epoch"]}
        told = {row["offset"]: row["effective_at"] for row in rows}
        assert {offset: epoch and resolved[epoch] for offset, epoch in found.items()} == told


def test_of_copies_of_a_change_the_first_counts() -> None:
    """Duplicates, other attempts and torn epochs between the changes of an epoch and its mark count for nothing."""
    lab = ChainLab()
    lab.epoch(decision("node-1/p0"))
    won = lab.propose(decision("node-1/p0", eligible=False), decision("node-2/p0"))
    lost = lab.propose(decision("node-3/p0"))
    torn = lab.propose(decision("node-4/p0"), decision("node-5/p0"))
    for kafka_key, value in (
        won.outgoing[1], lost.outgoing[0], won.outgoing[0], won.outgoing[1], torn.outgoing[0], won.outgoing[0], torn.outgoing[2],
        won.outgoing[2], lost.outgoing[1], won.outgoing[2],
    ):  # fmt: skip
        lab.put(kafka_key, value, won.mark["resolved_at_ms"])
    reader = ChainReader(lab.chain, lab.chain.genesis_head(), lambda revision: _genesis(), verify)
    fates = Fates(iter(lab.records), reader)
    first, second = (Fate(epoch, lab.parent.resolved_at_ms + 1_000 * (epoch - 1)) for epoch in (1, 2))
    expected = [first, first, second, None, second, None, None, None, None, second, None, None]
    assert expected == [fates.of(record) for record in lab.records]
    assert [True] * 10 + [False] * 2 == [fates.known(record.offset) for record in lab.records]


def _genesis() -> dict[str, bytes]:
    from b3iq_streams.core.rules import keys_by_id

    return dict(keys_by_id(TRUST.genesis_processors))


BAD_MANIFESTS = {
    b"": "Invalid JSON",
    b"{}": "network: Field required",
    b"[1]": "Input should be an object",
    b"\xff\xfe": "Invalid JSON",
}


@pytest.mark.parametrize("raw", BAD_MANIFESTS)
def test_what_is_no_manifest_is_one_line(tmp_path: Path, raw: bytes) -> None:
    """A manifest that is empty, torn or something else is a mistake that one line explains."""
    (tmp_path / MANIFEST).write_bytes(raw)
    with pytest.raises(UserError, match=r"is not the manifest of an archive: ") as caught:
        ArchiveOrigin.load(tmp_path)
    assert BAD_MANIFESTS[raw] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    """No directory, no manifest: said with its name."""
    with pytest.raises(UserError, match=r"nowhere/manifest.json: No such file or directory"):
        ArchiveOrigin.load(tmp_path / "nowhere")


def test_a_manifest_has_one_spelling(tmp_path: Path) -> None:
    """What is signed is bytes: another order or spacing of the same is refused, and so are entries out of order."""
    found = archived(small(), tmp_path)
    raw = found.manifest.raw
    assert raw == (tmp_path / MANIFEST).read_bytes()
    for other in (raw + b"\n", raw.replace(b'"stamped":true,"version":1', b'"version":1,"stamped":true')):
        assert other != raw
        (tmp_path / MANIFEST).write_bytes(other)
        with pytest.raises(UserError, match="is not the manifest of an archive"):
            ArchiveOrigin.load(tmp_path)
    swapped = found.manifest.model_copy(update={"files": found.manifest.files[::-1]})
    (tmp_path / MANIFEST).write_bytes(swapped.raw)
    with pytest.raises(UserError, match="entries are not sorted"):
        ArchiveOrigin.load(tmp_path)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    """Reading a file that is gone, cut, not Parquet, or damaged in a page is a UserError, never garbage."""
    found = archived(small(), tmp_path)
    file = next(file for file in found.manifest.files if file.topic == CHANGES)
    path = tmp_path / file.path
    raw = path.read_bytes()
    middle = raw.index(b"PAR1") + 400
    damaged = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
    for content in (b"", b"PAR1", raw[: len(raw) // 2], damaged, None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(
            UserError, match=rf"archive file .*/{file.first:020d}.parquet (cannot be read: |is missing)"
        ) as caught:
            contents(found)
        assert "\n" not in str(caught.value)


def test_every_audited_topic_can_be_queried_empty(tmp_path: Path) -> None:
    """A log without a record gives an archive with the columns of every topic."""
    nothing = MemoryOrigin({Place(topic, 0): [] for topic in AUDITED}, 1)
    found = archived(nothing, tmp_path)
    assert {place: [] for place in nothing.records} == contents(found)
    assert sorted(AUDITED) == sorted(path.parent.name for path in tmp_path.glob("*/columns.parquet"))
