"""What `audit decisions` is made of: rows on disk, versions of values, epochs on disk, ids that were used twice."""

import pickle
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.audit.routing.codes import Limits, Verdict
from b3iq_streams.audit.routing.decisions import audit
from b3iq_streams.audit.routing.ids import Repeat, repeats
from b3iq_streams.audit.routing.policies import Doubt, Revision, Revisions, Sight
from b3iq_streams.audit.routing.versions import EpochFile, Place, Versions
from b3iq_streams.audit.spool import PIECE_BYTES, Spool, rows, workplace
from b3iq_streams.audit.walk import Walk
from b3iq_streams.audit.whatif.supply_history import SupplyHistory
from tests.audit.lab import Lab
from tests.audit.test_whatif import Seen, rebuilt
from tests.factory import TRUST
from tests.sim.crypto import verify


class Value(NamedTuple):
    """A value about a profile of a model."""

    model_id: str
    number: int


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 7, 4_000])
def test_rows_come_back_in_order(count: int, tmp_path: Path) -> None:
    """However many pieces they fill, and whether or not there is anything at all."""
    spool = Spool(tmp_path / "rows")
    for number in range(count):
        spool.put((number, "é" * (number % 90), None, Value("m", number)))
    spool.close()
    spool.close()
    assert [[n, "é" * (n % 90), None, ["m", n]] for n in range(count)] == list(rows(tmp_path / "rows"))
    assert (count == 4_000) == ((tmp_path / "rows").exists() and (tmp_path / "rows").stat().st_size > 4 * PIECE_BYTES)


def test_a_row_longer_than_a_piece_is_one_row(tmp_path: Path) -> None:
    """And so are its neighbours."""
    spool = Spool(tmp_path / "rows")
    wide = ["x" * (3 * PIECE_BYTES)]
    for row in (["a"], wide, ["b"], wide):
        spool.put(row)
    spool.close()
    assert [["a"], wide, ["b"], wide] == list(rows(tmp_path / "rows"))


def test_a_workplace_is_private_and_leaves_nothing() -> None:
    """Only its owner may look in, and it is gone afterwards."""
    with workplace() as directory:
        assert 0o700 == directory.stat().st_mode & 0o777
        (directory / "rows").touch()
    assert not directory.exists()


@given(st.integers(0, 2**40), st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**53), st.booleans())))
@settings(max_examples=25, deadline=None)
def test_every_epoch_has_its_place(first: int, epochs: list[tuple[bytes, int, bool]]) -> None:
    """What was appended under a number is found under it, and nothing under any other."""
    places = [Place(digest.hex(), at_ms, at_ms % 7, "ab" if one else "") for digest, at_ms, one in epochs]
    with workplace() as directory:
        file = EpochFile(directory / "epochs")
        for number, place in enumerate(places):
            file.append(first + number, place)
            assert place == file.get(first + number)
        assert places == [file.get(first + number) for number in range(len(places))]
        assert [None] * 3 == [file.get(number) for number in (first - 1, -1, first + len(places))]
        file.close()


# --- in memory --------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([None, "m", "n"])), st.booleans())))
@settings(deadline=None)
def test_versions_are_what_a_copy_of_each_epoch_says(changes: list[tuple[dict[str, str | None], bool]]) -> None:
    """Every epoch that was not forgotten is remembered exactly, also which keys serve a model."""
    versions: Versions[Value] = Versions()
    copies: list[dict[str, Value | None]] = []
    floor = 0
    for epoch, (changed, forget) in enumerate(changes):
        put = {key: None if model is None else Value(model, epoch) for key, model in changed.items()}
        versions.put(epoch, put)
        copies.append((copies[-1] if copies else {}) | put)
        if forget:
            floor = epoch
            singles = dict(versions.forget(floor))
            assert {key: copies[floor][key] for key in singles} == singles
        for past in range(floor, epoch + 1):
            assert {key: versions.at(past, key) for key in "abcd"} == {key: copies[past].get(key) for key in "abcd"}
            for model in "mn":
                expected = {key: value for key, value in copies[past].items() if value is not None and value.model_id == model}
                assert expected == dict(versions.serving(past, model))


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """A profile that changes with every epoch, profiles that come and go: a window of them is held, however long it goes on."""
    lab = Lab(heartbeat_ttl_ms=1_500)
    lab.ready("node-1", "node-2")
    for turn in range(150):
        lab.beat("node-1", profiles=[{**PROFILE, "profile_id": f"p{turn % 3}", "price_wei_per_mtok": str(turn)}])
        lab.epochs(1)
    history = SupplyHistory(Walk(lab.origin, lab.origin, TRUST, 0, verify), tmp_path / "epochs")
    sizes: dict[int, int] = {}
    for second in range(0, 290, 10):
        moment_ms = lab.parts[0].confirmed[0].head.resolved_at_ms + second * 1_000
        history.forget(moment_ms - 20_000)
        history.advance(moment_ms)
        sizes[second] = len(pickle.dumps((history.recorded, history.folded)))
        assert history.head(max(0, history.last - 40)) is None or second < 40
        assert history.head(history.last) is not None
    history.close()
    assert min(sizes[second] for second in sizes if second > 50) * 1.25 > max(sizes.values())


PROFILE = {
    "model_id": "m", "status": "installed", "runtime_kind": "vllm", "runtime_reachable": True, "route_tier": "network_beta",
    "network_eligible": True, "benchmark_verified": True, "paid_route_eligible": True, "queue_health": "healthy",
    "context_tokens_max": 1,
}  # fmt: skip


# --- ids and policies -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from("xy")), max_size=12))
@settings(deadline=None)
def test_the_first_of_each_id_is_no_repeat(told: list[tuple[str, int, str]]) -> None:
    """All others are, and of each it is known whether it says the same as the first one logged."""
    listed = [[name, at_ms, at_ms % 2, offset, payload] for offset, (name, at_ms, payload) in enumerate(told)]
    expected = []
    for row in sorted(listed, key=lambda row: (row[2], row[3])):
        first = min((other for other in listed if other[0] == row[0]), key=lambda other: other[1:4])
        if row is not first:
            expected.append(Repeat(row[2], row[3], row[4] == first[4]))  # type: ignore[arg-type]  # a row is plain JSON
    with workplace() as directory:
        assert expected == list(repeats(directory / "ids", listed))


def revisions() -> Revisions:
    """The first revision lists an old key, the second one, out at 10 s with a grace of 1 s, a new one."""
    old = Revision(1, 1_000, 5_000, {"old": b""}, {"r1": b""})
    new = Revision(2, 10_000, 1_000, {"new": b""}, {"r2": b""})
    return Revisions({"genesis": b""}, [new, old], Limits(500))


@pytest.mark.parametrize(("view", "keyid", "expected"), [
    (Sight(0, 900), "genesis", Doubt(False, False)),
    (Sight(900, 1_000), "genesis", Doubt(False, True)),
    (Sight(1_000, 9_999), "genesis", Doubt(True, True)),
    (Sight(1_000, 9_999), "old", Doubt(False, False)),
    (Sight(9_999, 10_000), "old", Doubt(False, True)),
    (Sight(9_999, 10_000), "new", Doubt(False, True)),
    (Sight(10_000, 10_000), "old", Doubt(True, True)),
    (Sight(10_000, 10_000), "new", Doubt(False, False)),
])  # fmt: skip
def test_what_a_router_can_know_of_a_key(view: Sight, keyid: str, expected: Doubt) -> None:
    """What it must have read counts surely, what it may have read perhaps."""
    assert expected == revisions().key_dropped(keyid, view)


@pytest.mark.parametrize(("revision", "resolved_ms", "view", "expected"), [
    (2, 99_999, Sight(50_000, 60_000), Doubt(False, False)),
    (1, 11_001, Sight(10_001, 60_000), Doubt(True, True)),
    (1, 11_000, Sight(10_001, 60_000), Doubt(False, False)),
    (1, 14_000, Sight(10_000, 60_000), Doubt(False, True)),
    (1, 14_000, Sight(9_000, 9_500), Doubt(False, False)),
])  # fmt: skip
def test_what_a_router_can_know_of_a_newer_revision(revision: int, resolved_ms: int, view: Sight, expected: Doubt) -> None:
    """Within its grace it binds nobody, and neither does one that has not been read yet."""
    assert expected == revisions().lag(revision, resolved_ms, view)


# --- a state that was rebuilt -----------------------------------------------------------------------------------------


def test_a_rebuilt_state_accuses_nobody() -> None:
    """Where a state was rebuilt from what is left of the inputs, record and re-fold still agree about every profile."""
    lab = rebuilt()
    found = list(audit(lab.origin, TRUST, Limits(TRUST.skew_ms), 1, verify))
    views = [dict(epochs) for epochs in Seen.of(lab).epochs]
    for one in found:
        assert one.said is not None
        said = views[one.because["partition"]][one.because["resolved_at_ms"]].get(f"{one.said.node_id}/p0", {"eligible": False})
        assert (Verdict.JUSTIFIED if said["eligible"] else Verdict.VIOLATION) == one.verdict
    assert {"allowed", "not_eligible"} == Counter(one.codes[0] for one in found).keys()
    assert topics.ROUTING_DECISIONS in {place.topic for place in lab.records}
