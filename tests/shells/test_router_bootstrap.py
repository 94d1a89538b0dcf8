"""Starting in the middle of the log: from any sound anchor the view is the one since the beginning, or there is none yet."""

from collections.abc import Callable
from typing import Any

import pytest

from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.chain import changes_sha256
from b3iq_streams.router.bootstrap import WINDOW_RECORDS, Following, Start, find_start
from b3iq_streams.router.partition import PartitionView
from tests.chainlab import ChainLab, decision
from tests.factory import T0, VERIFY, policy_event, public
from tests.shells.router_lab import BOUND_MS, RouterLab, drive

KEYS = RouterLab().view.book.processors_of(0) or {}


def start_of(chain: ChainLab, first: int = 0, following: Following | None = None) -> Start | None:
    """What a search finds on the chain's log, of which records before `first` are gone."""
    return drive(find_start(chain.chain, KEYS, VERIFY, following), chain.records, first)


def eligible(part: PartitionView) -> dict[str, bool]:
    """The view of a partition, without keys that are a "no" anyway."""
    return {name: True for name, entry in part.entries.items() if entry.eligible}


def cycle(chain: ChainLab) -> list[int]:
    """Three keys, an anchor, a refresh of the live ones, and the anchor moved; the offsets of the anchors."""
    chain.epoch(decision("a/p"), decision("b/p"), decision("c/p"), at_ms=T0)
    candidate = chain.epoch(decision("c/p", False))
    here = chain.parent
    chain.epoch(decision("a/p"), refresh=True)
    chain.epoch(decision("b/p"), refresh=True)
    chain.anchor = {"offset": candidate[-1].offset, "epoch": here.epoch, "digest": here.digest}
    chain.epoch()
    chain.epoch(decision("b/p", False))
    return [-1, candidate[-1].offset]


def test_an_empty_log_starts_at_the_beginning() -> None:
    """No mark, nothing deleted: genesis, complete at the end offset."""
    chain = ChainLab()
    assert Start(chain.chain.genesis_head(), 0, True) == start_of(chain)


def test_the_newest_mark_names_the_start() -> None:
    """The anchor's record is read and believed; complete beyond the mark and the end that was seen."""
    chain = ChainLab()
    _, anchor = cycle(chain)
    chain.put(b"junk", b"junk", T0)
    found = start_of(chain)
    assert found is not None
    assert (anchor, len(chain.records), True) == (found.head.offset, found.target, found.fresh)


def test_the_view_from_an_anchor_is_the_view_since_the_beginning() -> None:
    """Also when everything up to the anchor's own record has been deleted."""
    lab = RouterLab()
    _, anchor = cycle(lab.chains[0])
    lab.boot()
    since_genesis = RouterLab()
    since_genesis.chains = lab.chains
    part = since_genesis.view.parts[0]
    part.start(part.search()[0], Start(part.chain.genesis_head(), 0, True), T0)
    since_genesis.feed()
    assert {"a/p": True} == eligible(lab.view.parts[0]) == eligible(part)
    assert part.head == lab.view.parts[0].head
    assert (start_of(lab.chains[0], first=anchor) or part).head.offset == anchor


def test_an_anchor_that_is_gone_is_no_start() -> None:
    """Records before the start of the log cannot vouch for anything; without a sound anchor there is no view yet."""
    chain = ChainLab()
    _, anchor = cycle(chain)
    assert start_of(chain, first=anchor + 1) is None


def test_a_mark_far_from_the_end_is_found() -> None:
    """The search goes back in windows until a mark turns up."""
    chain = ChainLab()
    chain.epoch(decision())
    for at in range(3 * WINDOW_RECORDS + 7):
        chain.put(b"junk", b"%d" % at, T0)
    found = start_of(chain)
    assert found == Start(chain.chain.genesis_head(), len(chain.records), True)


BAD_MARKS: list[tuple[str, Callable[[ChainLab], dict[str, Any]]]] = [
    ("digest of another epoch", lambda c: {"anchor": c.anchor | {"digest": "0" * 64}}),
    ("epoch number of another", lambda c: {"anchor": c.anchor | {"epoch": 9}}),
    ("a change instead of a mark", lambda c: {"anchor": c.anchor | {"offset": 0}}),
    ("an offset of the future", lambda c: {"anchor": c.anchor | {"offset": 10_000}}),
    ("another genesis", lambda c: {"anchor": {"offset": -1, "epoch": 0, "digest": "0" * 64}}),
    ("another partition's mark", lambda c: {"partition": 1}),
    ("another generation's mark", lambda c: {"generation": 2}),
    ("another network's mark", lambda c: {"network": "othernet"}),
    ("a mark of a stranger", lambda c: {"signers": ("stranger",)}),
    ("a mark of another role", lambda c: {"signers": ("router",)}),
]


@pytest.mark.parametrize("bend", [bend for _, bend in BAD_MARKS], ids=[name for name, _ in BAD_MARKS])
def test_a_mark_that_cannot_be_believed_is_passed_over(bend: Callable[[ChainLab], dict[str, Any]]) -> None:
    """An older mark with a sound anchor is found instead."""
    chain = ChainLab()
    _, anchor = cycle(chain)
    chain.append(chain.propose(**bend(chain)))
    found = start_of(chain)
    assert found is not None
    assert found.head.offset == anchor


def test_a_lost_race_is_as_good_a_start() -> None:
    """Whether the mark was accepted does not matter: its anchor is a statement about epochs that were."""
    chain = ChainLab()
    cycle(chain)
    parent = chain.parent
    chain.append(chain.propose(decision("a/p")))
    loser = chain.propose(decision("a/p", False), parent=parent)
    chain.append(loser)
    found = start_of(chain)
    assert found is not None
    assert (loser.mark["anchor"]["offset"], len(chain.records)) == (found.head.offset, found.target)


def test_keys_are_those_of_the_newest_policy() -> None:
    """A mark by a key that the newest revision dropped starts nothing."""
    lab = RouterLab()
    lab.policy(roles=policy_event()["roles"] | {"processor": [public("next")]})
    chain = lab.chains[0]
    chain.epoch(decision(), at_ms=T0)
    chain.move_anchor(chain.epoch())
    chain.epoch()
    found = drive(lab.view.search(0)[1], chain.records)
    assert found == Start(chain.chain.genesis_head(), len(chain.records), True)


# --- under way --------------------------------------------------------------------------------------------------------


def live() -> RouterLab:
    """A synced view whose head is resolved at T0."""
    lab = RouterLab()
    lab.chains[0].epoch(decision("a/p"), at_ms=T0)
    lab.boot()
    lab.view.tick(T0, T0)
    return lab


def test_lagging_for_b_wants_another_look() -> None:
    """Not while the view may be acted on, not at the first lag, but when that has lasted for B."""
    lab = live()
    wants = []
    for now_ms in (T0 + BOUND_MS + 1, T0 + 2 * BOUND_MS, T0 + 2 * BOUND_MS + 1):
        lab.view.tick(now_ms, now_ms)
        wants.append(lab.view.wants_bootstrap(0))
    assert [False, False, True] == wants


def test_a_silent_processor_is_no_reason_to_read_again() -> None:
    """The newest mark is the head: the view stays, and the next look takes longer and longer to come."""
    lab = live()
    gaps, asked_ms = [], T0
    for now_ms in range(T0, T0 + 200_000, 100):
        lab.view.tick(now_ms, now_ms)
        if lab.view.wants_bootstrap(0):
            gaps.append((now_ms - asked_ms) // BOUND_MS)
            asked_ms = now_ms
            number, search = lab.view.search(0)
            found = drive(search, lab.chains[0].records)
            assert found is not None
            assert not found.fresh
            assert lab.view.start(0, number, found) == len(lab.chains[0].records)
    assert {"a/p": True} == eligible(lab.view.parts[0])
    assert gaps[1:] == sorted(gaps[1:])
    assert gaps[-1] == 16


def test_a_gap_is_healed() -> None:
    """A reader that missed an epoch refuses all later ones; it lags, looks, and starts again from the anchor."""
    lab = live()
    chain = lab.chains[0]
    written = chain.epoch(decision("a/p", False))
    part = lab.view.parts[0]
    part.position = written[-1].offset + 1
    chain.epoch(at_ms=T0 + 2 * BOUND_MS + 1)
    lab.feed()
    now_ms = T0 + 2 * BOUND_MS + 1
    assert lab.refusal(now_ms) is RouteRefusal.PROCESSOR_LAG
    assert lab.view.wants_bootstrap(0)
    lab.boot()
    assert lab.refusal(now_ms) is RouteRefusal.NO_HEALTHY_CANDIDATES


def test_a_log_that_was_cut_is_read_again() -> None:
    """A position beyond the end means that this is not the log it was."""
    chain = ChainLab()
    chain.epoch(decision())
    found = start_of(chain, following=Following(chain.chain.genesis_head()._replace(offset=9), 10))
    assert found is not None
    assert found.fresh


def test_a_reader_left_behind_by_retention_starts_again() -> None:
    """What it would read next has been deleted, so going on is no choice."""
    chain = ChainLab()
    _, anchor = cycle(chain)
    found = start_of(chain, first=anchor, following=Following(chain.chain.genesis_head(), 0))
    assert found is not None
    assert (anchor, True) == (found.head.offset, found.fresh)


def test_synced_only_beyond_what_the_search_saw() -> None:
    """One record short of the end offset is not synced."""
    lab = RouterLab()
    lab.chains[0].epoch(decision("a/p"), at_ms=T0)
    lab.view.policies_known()
    number, search = lab.view.search(0)
    lab.view.start(0, number, drive(search, lab.chains[0].records))
    first, mark = lab.chains[0].records
    lab.view.apply(first)
    assert lab.refusal(T0) is RouteRefusal.VIEW_NOT_SYNCED
    lab.view.apply(mark)
    assert lab.refusal(T0) is None


def test_records_that_were_fed_before_are_not_fed_again() -> None:
    """A client may fetch a stretch twice."""
    lab = live()
    head = lab.view.heads()
    for record in lab.chains[0].records * 2:
        assert [] == lab.view.apply(record)
    assert head == lab.view.heads()


def test_a_record_waits_for_its_policy() -> None:
    """An epoch whose parent names a revision not known yet is held back, and counts as soon as that arrives."""
    lab = live()
    chain = lab.chains[0]
    chain.policy_revision = 1
    chain.epoch(decision("b/p"))
    chain.epoch(decision("c/p"))
    chain.epoch(decision("a/p", False))
    lab.feed()
    assert {"a/p", "b/p"} == set(eligible(lab.view.parts[0]))
    lab.policy(at_ms=T0)
    assert {"b/p", "c/p"} == set(eligible(lab.view.parts[0]))
    assert lab.refusal(T0 + 3_000) is None


def test_what_waits_is_bounded() -> None:
    """When too much is held back the partition gives up what it has and starts again."""
    lab = live()
    chain, part = lab.chains[0], lab.view.parts[0]
    chain.policy_revision = 1
    chain.epoch()
    chain.epoch()
    lab.feed()
    part.take(chain.put(b"big", bytes(part.settings.held_bytes_max), T0))
    assert lab.refusal(T0) is RouteRefusal.VIEW_NOT_SYNCED
    assert lab.view.wants_bootstrap(0)


def test_what_cannot_be_read_is_a_no() -> None:
    """A decision that is not the contract's closes its key; one whose key cannot be read closes every key."""
    lab = live()
    chain = lab.chains[0]
    chain.epoch(decision("b/p"), decision("c/p") | {"new_field": 1}, decision("a/p") | {"model_id": 7})
    lab.feed()
    assert {"b/p": True} == eligible(lab.view.parts[0])
    chain.epoch(decision("d/p"), decision("b/p") | {"gates": 7, "price_wei_per_mtok": "free"}, decision("e/p"))
    lab.feed()
    assert {"d/p", "e/p"} == set(eligible(lab.view.parts[0]))
    broken = chain.propose(decision("f/p"))
    no_key = b'{"attempt":"%b","i":0,"refresh":false,"decision":[]}' % broken.mark["attempt"].encode()
    sealed = chain.propose(attempt=broken.mark["attempt"], n=1, changes_sha256=changes_sha256((no_key,)))
    chain.put(b"f/p", no_key, T0)
    chain.put(MARK_KEY, sealed.sealed, sealed.mark["resolved_at_ms"])
    lab.feed()
    assert {} == eligible(lab.view.parts[0])
    assert lab.view.heads()[0].digest == sealed.digest
    assert list(lab.view.models()) == []
