"""The node's sequence: whatever instant a process dies in, and whatever of its writes reach the disk, no place is used twice."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from b3iq_schemas.ids import INT_MAX
from b3iq_streams.errors import UserError
from b3iq_streams.node import sequence as sequences
from b3iq_streams.node.sequence import UNSEEN_BOOTS, Place, Sequence
from b3iq_streams.policies import template

NOW_S = 1_795_000_000
STEPS = ("open", "write", "fsync", "replace", "sync_directory")
BLOCK = 3


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few numbers to a write of the file, so that many writes take few numbers."""
    monkeypatch.setattr(sequences, "BLOCK", BLOCK)


class Died(BaseException):
    """The machine loses power here."""


class Power:
    """A machine whose power fails at one step of the file's writing, or at the end; what was not synced is lost or kept."""

    def __init__(self, path: Path, dies_at: int | None, keeps: bool) -> None:
        self._path, self._left, self._keeps = path, dies_at, keeps
        self._before: bytes | None = None
        self._content_synced, self._name_pending = False, False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Stand between `sequence.py` and the system for the length of a block, and fail at the end of it."""
        patch, system = pytest.MonkeyPatch(), SimpleNamespace(**vars(os))
        for name in ("open", "write", "replace"):
            setattr(system, name, self._step(name, getattr(os, name)))
        system.fsync = self._step("fsync", lambda _: None)  # what is synced is kept by the model: the disk's own time is none
        patch.setattr(sequences, "os", system)
        patch.setattr(sequences, "sync_directory", self._step("sync_directory", lambda _: None))
        try:
            yield
        finally:
            patch.undo()
            self._fail()

    def _step(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            if self._left is not None:
                if self._left == 0:
                    raise Died
                self._left -= 1
            if name == "open":
                self._content_synced = False
            if name == "replace":
                self._before = self._path.read_bytes() if self._path.exists() else None
            done = call(*arguments)
            self._content_synced |= name == "fsync"
            self._name_pending = name == "replace" or (self._name_pending and name != "sync_directory")
            return done

        return step

    def _fail(self) -> None:
        """Until the directory is synced, the disk holds the old name's content; under the new, what was synced of it."""
        if self._name_pending and not self._keeps:
            if self._before is None:
                self._path.unlink()
            else:
                self._path.write_bytes(self._before)
        elif self._name_pending and not self._content_synced:
            self._path.write_bytes(b"")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 2 * BLOCK + 3), st.one_of(st.none(), st.integers(0, 3 * len(STEPS))), st.booleans()),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_no_place_is_used_twice(lives: list[tuple[int, int | None, bool]]) -> None:
    """Over processes that count to some number or die at any step of a write, every place is above all before it."""
    directory = Path(tempfile.mkdtemp())
    try:
        path, used = directory / "sequence.json", list[Place]()
        for count, dies_at, keeps in lives:
            taken: list[Place] = []
            try:
                sequence = Sequence(path, "net", "node-1")
                sequence.begin(used[-1].boot if used else None, NOW_S)
                with Power(path, dies_at, keeps).running():
                    for _ in range(count):
                        taken.append(sequence.next())
            except Died:
                pass
            used += taken
        assert sorted(set(used)) == used
    finally:
        shutil.rmtree(directory)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2 * BLOCK + 3), st.integers(0, 3 * len(STEPS)), st.booleans()), min_size=2, max_size=8))
def test_the_file_alone_is_enough(lives: list[tuple[int, int, bool]]) -> None:
    """The same when the log is never asked: a place is on disk, content and name, before it is given out."""
    directory = Path(tempfile.mkdtemp())
    try:
        path, used = directory / "sequence.json", list[Place]()
        for count, dies_at, keeps in lives:
            sequence = Sequence(path, "net", "node-1")
            sequence.begin(None, NOW_S)
            try:
                with Power(path, dies_at, keeps).running():
                    for _ in range(count):
                        used.append(sequence.next())
            except Died:
                pass
        assert sorted(set(used)) == used
    finally:
        shutil.rmtree(directory)


def begin(path: Path, logged: int | None, now_s: int = NOW_S) -> int:
    """A process's boot, after one heartbeat."""
    sequence = Sequence(path, "net", "node-1")
    boot = sequence.begin(logged, now_s)
    assert Place(boot, 1) == sequence.next()
    return boot


def test_boots_go_up_by_one(tmp_path: Path) -> None:
    """From the time in seconds for a new node, then one by one, so that no jump is ever refused."""
    path = tmp_path / "s.json"
    first = begin(path, None)
    assert [NOW_S, NOW_S + 1, NOW_S + 2] == [first, begin(path, first, NOW_S + 10**6), begin(path, first + 1, NOW_S + 2 * 10**6)]


def test_a_file_that_nothing_vouches_for_leaves_boots_out(tmp_path: Path) -> None:
    """When the log, as far as it was read, has nothing of the node, the file may be an old copy: it jumps, but within policy."""
    path, backup = tmp_path / "s.json", tmp_path / "backup"
    first = begin(path, None)
    shutil.copy(path, backup)
    last = first
    for _ in range(UNSEEN_BOOTS - 1):
        last = begin(path, last)
    shutil.copy(backup, path)
    assert last < begin(path, None) == first + UNSEEN_BOOTS
    assert 10 * UNSEEN_BOOTS < template("net", 1, {}, 0).boot_jump_max


def test_a_lost_file_goes_on_after_the_log(tmp_path: Path) -> None:
    """Without its file the node goes on one above the log; without both, with the time."""
    path = tmp_path / "s.json"
    begin(path, None)
    path.unlink()
    assert NOW_S + 8 == begin(path, NOW_S + 7, NOW_S + 10**6)
    path.unlink()
    assert NOW_S + 10**6 == begin(path, None, NOW_S + 10**6)


def test_an_old_backup_is_not_believed(tmp_path: Path) -> None:
    """A file put back from a backup does not take the node back: the log knows better."""
    path, backup = tmp_path / "s.json", tmp_path / "backup"
    begin(path, None)
    shutil.copy(path, backup)
    last = [begin(path, NOW_S) for _ in range(3)][-1]
    shutil.copy(backup, path)
    assert last + 1 == begin(path, last)
    shutil.copy(backup, path)
    assert last + 1 == begin(path, last)


def test_a_sequence_that_is_used_up_stops_the_agent(tmp_path: Path) -> None:
    """There is no number above the highest, so none is taken."""
    with pytest.raises(UserError, match="new node_id"):
        Sequence(tmp_path / "s.json", "net", "node-1").begin(INT_MAX, NOW_S)


def test_a_boot_that_sent_nothing_costs_none(tmp_path: Path) -> None:
    """A process that never got to its first heartbeat leaves no trace: restarts in an outage use no boots up."""
    path = tmp_path / "s.json"
    first = begin(path, None)
    for _ in range(5):
        Sequence(path, "net", "node-1").begin(first, NOW_S)
    assert first + 1 == begin(path, first)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot":1}', bytes(range(256))])
def test_a_damaged_file_stops_the_agent(content: bytes, tmp_path: Path) -> None:
    """Nothing is guessed from half a file; the message says what to do."""
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="remove it"):
        Sequence(path, "net", "node-1")


def test_another_nodes_file_is_refused(tmp_path: Path) -> None:
    """A sequence belongs to one node of one network."""
    path = tmp_path / "s.json"
    begin(path, None)
    with pytest.raises(UserError, match="is the sequence of node-1 in net"):
        Sequence(path, "net", "node-2")


def test_a_file_that_changes_underneath_stops_the_agent(tmp_path: Path) -> None:
    """Where locks do not work, the second process that reserves numbers notices the first."""
    path = tmp_path / "s.json"
    one, two = Sequence(path, "net", "node-1"), Sequence(path, "net", "node-1")
    one.begin(None, NOW_S)
    two.begin(None, NOW_S)
    one.next()
    with pytest.raises(UserError, match="changed by somebody else"):
        two.next()


def test_a_disk_that_takes_nothing_stops_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is given out that could not be written down first."""
    sequence = Sequence(tmp_path / "s.json", "net", "node-1")
    sequence.begin(None, NOW_S)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        sequence.next()
