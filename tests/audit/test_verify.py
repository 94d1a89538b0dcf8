"""`audit verify`: equal for an honest log, and the first difference named for any other; it can stop and go on."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.audit.cli_verify import run
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.audit.verify import Plan, Report, verify
from b3iq_streams.audit.verify_text import as_data, as_text, first_difference, verdict
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.factory import TRUST

PLAN = Plan(TRUST, 0, FAR_FUTURE_MS)
LAB = busy_lab(refresh_period_ms=30_000)


def bent(place: Place, records: Sequence[Record]) -> MemoryOrigin:
    """The lab's log with one partition replaced; offsets are made contiguous again, as a forger would."""
    renumbered = [record._replace(offset=offset) for offset, record in enumerate(records)]
    return MemoryOrigin(LAB.records | {place: renumbered}, len(LAB.parts))


def verified(origin: MemoryOrigin, plan: Plan = PLAN) -> list[Report]:
    """Verify in this process."""
    return run(origin, plan, processes=1)


def dumped(reports: list[Report]) -> bytes:
    """Everything a report says, as bytes."""
    return orjson.dumps(as_data(reports)) + as_text(reports).encode()


class _Quiet:
    """Nobody looks."""

    def put(self, item: tuple[int, int] | None, /) -> None:
        """Nothing."""


class _Impatient(threading.Event):
    """A user who presses Ctrl-C when it was asked so many times."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def is_set(self) -> bool:
        """Whether the patience is over."""
        self._left -= 1
        return self._left < 0


def test_an_honest_log_is_equal() -> None:
    """Every epoch of a busy network folds to the same bytes, anchors and state digests included."""
    reports = verified(LAB.origin)
    assert "equal" == verdict(reports)
    said = as_data(reports)
    assert said["totals"]["state_digests"] > 4
    assert said["totals"]["refreshed"] > 4
    assert {"equivocation": 1, "unauthorized": 1} == said["refused"]
    assert as_text(reports).startswith("equal: ")


@pytest.mark.parametrize("batch", [1, 13, 5_000])
def test_the_same_log_gives_the_same_bytes(batch: int) -> None:
    """Whatever the batches, and over two processes as over one."""
    origin = MemoryOrigin(LAB.records, len(LAB.parts), batch)
    assert dumped(verified(LAB.origin)) == dumped(run(origin, PLAN, processes=2 if batch == 13 else 1))


@given(st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=8, deadline=None)
def test_a_run_that_was_stopped_goes_on(tmp_path_factory: pytest.TempPathFactory, first: int, second: int) -> None:
    """Stopped twice at any epoch and taken up again, a run ends with the bytes of one that was never stopped."""
    directory = tmp_path_factory.mktemp("resume")
    plan = PLAN._replace(resume=directory)
    for patience in (first, second):
        for partition in range(len(LAB.parts)):
            verify(Desk(partition, _Impatient(patience), _Quiet()), LAB.origin, plan)
    assert dumped(verified(LAB.origin)) == dumped(verified(LAB.origin, plan))


def test_a_finished_run_goes_on_when_the_log_has_grown(tmp_path: Path) -> None:
    """What was verified before is not read again; the report is of the whole."""
    lab = Lab(1)
    lab.ready("node-1")
    lab.epochs(5)
    plan = PLAN._replace(resume=tmp_path)
    assert "equal" == verdict(verified(lab.origin, plan))
    lab.beat("node-1")
    lab.epochs(5)
    assert dumped(verified(lab.origin)) == dumped(verified(lab.origin, plan))


@pytest.mark.parametrize("damage", ["flip", "other log", "other range"])
def test_a_saved_fold_that_does_not_fit_is_refused(tmp_path: Path, damage: str) -> None:
    """A damaged file, one of another log or for another range is one clear line, never a wrong report."""
    verified(LAB.origin, PLAN._replace(resume=tmp_path))
    origin, plan = LAB.origin, PLAN._replace(resume=tmp_path)
    if damage == "flip":
        path = tmp_path / "p00000.fold"
        path.write_bytes(path.read_bytes().replace(b"node-1", b"node-9"))
    elif damage == "other log":
        other = Lab(2)
        other.epochs(400)
        origin = other.origin
    else:
        plan = plan._replace(from_ms=5)
    with pytest.raises(UserError, match=r"damaged|not in this log|another"):
        verified(origin, plan)


def _dropped(records: list[Record], at: int) -> list[Record]:
    return records[:at] + records[at + 1 :]


def _swapped(records: list[Record], at: int) -> list[Record]:
    return [*records[:at], *reversed(records[at : at + 2]), *records[at + 2 :]]


def _flipped(records: list[Record], at: int) -> list[Record]:
    value = bytearray(records[at].value or b"")
    value[len(value) // 2] ^= 1
    return [*records[:at], records[at]._replace(value=bytes(value)), *records[at + 1 :]]


def _doubled(records: list[Record], at: int) -> list[Record]:
    return [*records[: at + 1], *records[at:]]


@given(
    st.sampled_from([_dropped, _flipped, _doubled, _swapped]),
    st.sampled_from([topics.ELIGIBILITY_CHANGES, topics.REGISTRATIONS, topics.HEARTBEATS, topics.HOLDS, topics.DEAD_LETTERS]),
    st.floats(0, 0.99),
    st.sampled_from([0, 1]),
)
@settings(max_examples=60, deadline=None)
def test_a_forger_who_renumbers_is_found(bend: Any, topic: str, share: float, partition: int) -> None:
    """A record dropped, changed, repeated or moved, with all offsets made to fit again, makes a difference: in what was
    folded, in the chain's own links, or in what it cost the log."""
    place = Place(topic, partition)
    records = LAB.records[place]
    if not records or (bend is _swapped and len(records) < 2):
        return
    at = int(share * (len(records) - (bend is _swapped)))
    reports, honest = verified(bent(place, bend(records, at))), verified(LAB.origin)
    if topic == topics.DEAD_LETTERS and bend in (_doubled, _swapped):
        assert "equal" == verdict(reports)  # letters are written at least once, in any order
        return
    if verdict(reports) == "different":
        found = first_difference(reports)
        assert found is not None
        assert found.recorded != found.recomputed
        return
    if topic == topics.ELIGIBILITY_CHANGES and bend in (_doubled, _swapped):
        return  # by A2 a change repeated, or before another of its epoch, says nothing else
    # A torn epoch does not count, and then the chain ends before it did; a fact repeated at the end was not folded yet.
    assert topic == topics.ELIGIBILITY_CHANGES or (bend is _doubled and at == len(records) - 1)
    assert dumped(honest) != dumped(reports)


def test_a_lie_of_the_processor_is_named() -> None:
    """A well signed decision that the inputs do not give is named with both values."""
    lab = Lab(1)
    lab.ready("node-1")
    lab.epochs(3)
    records = lab.records
    place = Place(topics.HEARTBEATS, 0)
    records[place] = [record._replace(value=b"{}") for record in records[place]]
    reports = verified(MemoryOrigin(records, 1))
    found = first_difference(reports)
    assert found is not None
    assert "decision on node-1/p0" == found.what
    assert orjson.loads(found.recorded)["decision"]["eligible"]
    assert not orjson.loads(found.recomputed)["eligible"]
    assert "DIFFERENT" in as_text(reports)


def test_a_range_counts_its_own_epochs_only() -> None:
    """Epochs before the range are folded and not counted, those after it are not folded."""
    middle_ms = LAB.now_ms - 60_000
    before, after = (
        verified(LAB.origin, PLAN._replace(to_ms=middle_ms)),
        verified(LAB.origin, PLAN._replace(from_ms=middle_ms + 1)),
    )
    whole = as_data(verified(LAB.origin))["totals"]
    counted = [as_data(reports)["totals"] for reports in (before, after)]
    assert whole["epochs"] == sum(part["epochs"] for part in counted)
    assert whole["changes"] == sum(part["changes"] for part in counted)
    assert all(report.resolved_at_ms <= middle_ms for report in before)
