"""A partition whose view begins anew is shown anew: of what was read before, nothing is left anywhere."""

from typing import Any

import orjson
import pytest

from b3iq_schemas.codes import RouteRefusal
from tests.catalog.lab import CatalogLab, get, ready
from tests.chainlab import ChainLab, decision
from tests.factory import T0
from tests.shells.router_lab import drive

PAGES = (
    "/v1/models",
    "/v1/public/overview",
    "/v1/public/profiles",
    "/v1/public/nodes",
    "/v1/public/nodes/gone/route-readiness",
    "/v1/public/status",
)


def another_log(lab: CatalogLab) -> None:
    """The topic was deleted and made again: another chain, in which the node never was."""
    chain = lab.chains[0] = ChainLab(0, len(lab.chains))
    chain.policy_revision = 1
    chain.epoch(decision("here/p", model_id="new-model"), at_ms=lab.now_ms)


def test_nothing_of_the_old_log_is_left() -> None:
    """No page names the old node or its model, not even its past."""
    lab = ready()
    lab.epoch(decision("gone/p", model_id="old-model"), decision("gone/q", False, model_id="old-model"))
    lab.epoch(decision("gone/p", False, model_id="old-model"))
    assert 3 == len(get(lab, "/v1/public/nodes/gone/route-readiness").json["history"])
    another_log(lab)
    lab.restart()
    answers = {path: get(lab, path) for path in PAGES}
    assert [] == [path for path, one in answers.items() if b"old-model" in one.content or b'"gone/' in one.content]
    assert ["here"] == [node["node_id"] for node in answers["/v1/public/nodes"].json["items"]]
    readiness = answers["/v1/public/nodes/gone/route-readiness"].json
    assert (False, [], []) == (readiness["known"], readiness["profiles"], readiness["history"])
    assert ["new-model"] == [model["id"] for model in answers["/v1/models"].json["data"]]


def test_the_past_of_the_old_log_is_not_told_of_a_node_that_is_in_the_new_one() -> None:
    """A node that is in both logs has the past that the new one tells, from its first epoch on."""
    lab = ready()
    lab.epoch(decision("here/p"))
    lab.epoch(decision("here/p", False))
    another_log(lab)
    lab.chains[0].epoch(decision("here/p", model_id="newer"), at_ms=T0)
    lab.restart()
    assert [("changed", 2), ("opened", 1)] == [(past["what"], past["epoch"]) for past in _past(lab, "here")]


def test_between_the_old_view_and_the_new_there_is_none() -> None:
    """While the log is being read again, rows are those the view has by then, and nothing is claimed."""
    lab = ready()
    lab.epoch(decision("gone/p"))
    another_log(lab)
    lab.view.parts[0].lost(RouteRefusal.VIEW_NOT_SYNCED, restart=True)
    number, search = lab.view.search(0)
    lab.view.start(0, number, drive(search, lab.chains[0].records))
    page = get(lab, "/v1/public/profiles").json
    assert (False, "view_not_synced", []) == (page["ready"], page["code"], page["items"])
    lab.feed()
    page = get(lab, "/v1/public/profiles").json
    assert (True, ["here"]) == (page["ready"], [one["node_id"] for one in page["items"]])


def test_other_partitions_are_left_alone() -> None:
    """What another partition said is still there, its past as well."""
    lab = ready(2)
    lab.epoch(decision("stays/p"), partition=1)
    lab.epoch(decision("stays/p", False), partition=1)
    lab.restart(0)
    assert ["closed", "opened"] == [past["what"] for past in _past(lab, "stays")]


def test_a_break_of_the_connection_is_no_new_beginning() -> None:
    """A view that goes on where it was keeps its rows, and what happened meanwhile is in the past of its nodes."""
    lab = ready()
    lab.epoch(decision("a/p"))
    lab.view.lost()
    lab.chains[0].epoch(decision("a/p", False), at_ms=T0 + 1)
    lab.boot()
    assert ["closed", "opened"] == [past["what"] for past in _past(lab, "a")]


def test_a_start_in_the_middle_tells_no_past_it_cannot_know() -> None:
    """From an anchor on, the first word on a key is not called a change: what was before is not known."""
    lab = CatalogLab()
    lab.policy()
    chain = lab.chains[0]
    chain.policy_revision = 1
    chain.epoch(decision("a/p"), at_ms=T0)
    anchor = chain.epoch(at_ms=T0)
    chain.move_anchor(anchor)
    chain.epoch(decision("a/p"), at_ms=T0, refresh=True)
    chain.epoch(decision("b/p", False), at_ms=T0)
    chain.epoch(decision("b/p"), at_ms=T0)
    lab.boot()
    lab.live.tick()
    lab.epoch(decision("c/p"))
    assert {"a": [], "b": ["opened"], "c": ["opened"]} == {node: [past["what"] for past in _past(lab, node)] for node in "abc"}


def test_a_decision_that_cannot_be_read_takes_its_row_away() -> None:
    """Nothing stale is shown of a key whose last decision is not the contract's; its past says that it closed."""
    lab = ready()
    lab.epoch(decision("a/p"))
    lab.epoch(decision("a/p") | {"model_id": 7})
    assert [] == get(lab, "/v1/public/profiles").json["items"]
    assert [] == get(lab, "/v1/models").json["data"]
    lab.epoch(decision("a/p"))
    assert ["opened", "closed", "opened"] == [past["what"] for past in _past(lab, "a")]
    assert ["decision_unreadable"] == _past(lab, "a")[1]["codes"]


def test_epochs_that_waited_for_their_policy_count_together() -> None:
    """Several epochs accepted at once leave the rows of the last one."""
    lab = CatalogLab()
    lab.boot()
    lab.epoch(decision("a/p"))
    lab.chains[0].policy_revision = 1
    lab.epoch(decision("a/p"), decision("b/p"))
    lab.epoch(decision("a/p", False), decision("c/p"))
    lab.epoch(decision("b/p") | {"model_id": 7})
    assert {"a": True, "b": True} == _eligible(lab)
    lab.policy()
    assert {"a": False, "c": True} == _eligible(lab)


def _past(lab: CatalogLab, node: str) -> list[Any]:
    return list(orjson.loads(get(lab, f"/v1/public/nodes/{node}/route-readiness").content)["history"])


def _eligible(lab: CatalogLab) -> dict[str, bool]:
    return {one["node_id"]: one["eligible"] for one in get(lab, "/v1/public/profiles").json["items"]}


def test_an_epoch_that_cannot_be_taken_is_not_half_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in what the catalog keeps never reaches the view: rows, and the models they serve, are gone until they come again."""
    lab = ready()
    lab.epoch(decision("a/p", model_id="old"))
    assert ["old"] == [model["id"] for model in get(lab, "/v1/models").json["data"]]

    def broken(*given: Any) -> Any:
        raise ValueError("planted")

    with monkeypatch.context() as patched:
        patched.setattr(lab.live.store.index, "replace", broken)
        lab.epoch(decision("a/p", model_id="new"))
    assert [[], []] == [get(lab, "/v1/models").json["data"], get(lab, "/v1/public/profiles").json["items"]]
    assert "planted" not in caplog.text
    lab.epoch(decision("a/p", model_id="new"), refresh=True)
    assert ["new"] == [model["id"] for model in get(lab, "/v1/models").json["data"]]
    assert {"a": True} == _eligible(lab)
