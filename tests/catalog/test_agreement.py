"""The catalog says what the router would do, at every moment of every history: never more, and while in doubt nothing.

The oracle is the router's own view, asked the slow way: every candidate of every model, one by one.
"""

from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.envelope import parse
from b3iq_streams.catalog.standing import anybody
from tests.catalog.lab import Answer, CatalogLab, application, ask_all, ready
from tests.chainlab import SKEW_MS, decision
from tests.factory import T0, policy_event, public
from tests.shells.router_lab import BOUND_MS

PARTITIONS = 2
MODELS = ("m/1", "m/2", "m:3")
PATHS = ("/v1/models", "/v1/public/profiles?limit=500", "/v1/public/overview", "/v1/public/nodes?limit=500", "/v1/public/status")
ORDER = list(RouteRefusal)

Op = tuple[Any, ...]
DECISIONS = st.lists(
    st.tuples(
        st.sampled_from(("a/p", "a/q", "b/p", "c/p")),
        st.booleans(),
        st.sampled_from(MODELS),
        st.sampled_from((T0, T0 - 500, T0 + 700, T0 - 86_400_000)),
        st.sampled_from((-1_000, 0, 1, 1_000, 2_000, 20_000)),
    ),
    max_size=4,
)
PART = st.integers(0, PARTITIONS - 1)
OPS: st.SearchStrategy[list[Op]] = st.lists(
    st.one_of(
        st.tuples(st.just("epoch"), PART, DECISIONS),
        st.tuples(st.just("epoch"), PART, DECISIONS),
        st.tuples(st.just("pass"), st.sampled_from((1, 999, 1_000)), st.booleans()),
        st.tuples(st.just("pass"), st.sampled_from((BOUND_MS, BOUND_MS + 1, 2 * BOUND_MS)), st.booleans()),
        st.tuples(st.just("restart"), PART),
        st.tuples(st.just("lost")),
        st.tuples(st.just("boot")),
        st.tuples(st.just("anchor"), PART),
        st.tuples(st.just("unreadable"), PART, st.sampled_from(("a/p", "b/p"))),
        st.tuples(st.just("policy"), st.integers(2, 5), st.booleans(), st.integers(-15_000, 0)),
        st.tuples(st.just("follow"), PART),
    ),
    max_size=12,
)


def act(lab: CatalogLab, op: Op) -> None:
    """One thing that happens to a network or to its catalog."""
    match op:
        case ("epoch", partition, decisions):
            lab.epoch(*(made(lab, partition, *one) for one in decisions), partition=partition)
        case ("pass", passed_ms, idle):
            lab.pass_ms(passed_ms, idle)
        case ("restart", partition):
            lab.restart(partition)
        case ("lost",):
            lab.view.lost()
        case ("boot",):
            lab.boot()
        case ("anchor", partition):
            chain = lab.chains[partition]
            before = chain.epoch(at_ms=lab.now_ms)
            entries = lab.view.parts[partition].entries.values()
            chain.epoch(*(again(entry) for entry in entries if entry.eligible), at_ms=lab.now_ms, refresh=True)
            chain.move_anchor(before)
            chain.anchor["epoch"], chain.anchor["digest"] = chain.parent.epoch - 1, _digest_before(lab, partition)
            lab.feed()
        case ("unreadable", partition, key):
            lab.epoch(decision(f"{partition}{key}") | {"model_id": 7}, partition=partition)
        case ("policy", revision, dropped, logged_ms):
            roles = policy_event()["roles"] | ({"processor": [public("next")]} if dropped else {})
            lab.policy(revision, lab.now_ms + logged_ms, roles=roles)
        case ("follow", partition):
            lab.chains[partition].policy_revision = lab.view.book.newest.policy.revision if lab.view.book.newest else 0
            lab.epoch(partition=partition)


def _digest_before(lab: CatalogLab, partition: int) -> str:
    marks = [record for record in lab.chains[partition].records if record.key == MARK_KEY]
    return sha256_hex(parse(marks[-2].value or b"").payload)


def made(lab: CatalogLab, partition: int, key: str, eligible: bool, model: str, seen_ms: int, left_ms: int) -> dict[str, Any]:
    """A decision whose key lives on its partition."""
    until_ms = lab.now_ms + SKEW_MS + left_ms if eligible else 0
    return decision(f"{partition}{key}", eligible, model_id=model, benchmarked_at_ms=seen_ms, valid_until_ms=until_ms)


def again(entry: Any) -> dict[str, Any]:
    """The decision that a candidate came from, as far as anything here depends on it."""
    return decision(
        entry.key, model_id=entry.model_id, benchmarked_at_ms=entry.benchmarked_at_ms, valid_until_ms=entry.valid_until_ms
    )


def check(lab: CatalogLab, app: FastAPI) -> None:
    """Every page says what the view would grant."""
    models, profiles, overview, nodes, status = ask_all(app, [("GET", path, {}) for path in PATHS])
    moment = lab.clock()
    blind = [code for code in lab.view.states(*moment) if code]
    code = min(blind, key=ORDER.index, default=None)
    keys = {key: entry for part in range(PARTITIONS) for key, entry in lab.view.entries(part).items()}
    usable = {
        candidate.key: candidate
        for model in list(lab.view.models())
        for candidate, refusal in lab.view.candidates(anybody(model), *moment)
        if refusal is None
    }
    if code is None:
        listed(lab, models, usable)
    else:
        assert (503, code) == (models.status, models.code)
    claims = {key: key in usable if code is None else None for key in keys}
    assert claims == {f"{one['node_id']}/{one['profile_id']}": one["eligible"] for one in profiles.json["items"]}
    for page in (profiles, overview, nodes, status):
        assert (code is None, code) == (page.json["ready"], page.json["code"])
    counted = len(usable) if code is None else None
    assert (len(keys), counted) == (status.json["profiles"], status.json["eligible"])
    assert (
        len(keys) == sum(group["total"] for group in overview.json["groups"]) == sum(n["profiles"] for n in nodes.json["items"])
    )
    for page, rows in ((overview, "groups"), (nodes, "items")):
        claimed = [one["eligible"] for one in page.json[rows]]
        assert counted == sum(claimed) if code is None else set(claimed) <= {None}


def listed(lab: CatalogLab, models: Answer, usable: dict[str, Any]) -> None:
    """A model is listed if and only if anybody would be granted it, and is as fresh as its freshest usable benchmark."""
    assert models.status == 200
    asked = {model for model in list(lab.view.models()) if lab.view.pick(anybody(model), *lab.clock()).allowed}
    freshest = {model: max(c.benchmarked_at_ms for c in usable.values() if c.model_id == model) // 1_000 for model in asked}
    assert freshest == {one["id"]: one["created"] for one in models.json["data"]}
    assert sorted(freshest) == [one["id"] for one in models.json["data"]]


@given(OPS)
def test_the_catalog_claims_what_the_router_grants(ops: list[Op]) -> None:
    """After everything that can happen: listed = grantable, `eligible` = grantable, and nothing while a partition is in doubt."""
    lab = ready(PARTITIONS)
    app = application(lab)
    check(lab, app)
    for op in ops:
        act(lab, op)
        check(lab, app)


@pytest.mark.parametrize("left_ms", [1, 0])
def test_a_kept_list_ends_with_its_evidence(left_ms: int) -> None:
    """Without any news, a model disappears in the millisecond in which the router would refuse it."""
    lab = ready()
    lab.epoch(decision(valid_until_ms=T0 + SKEW_MS + 1_000))
    app = application(lab)
    (before,) = ask_all(app, [("GET", "/v1/models", {})])
    lab.now_ms = T0 + 1_000 - left_ms
    (after,) = ask_all(app, [("GET", "/v1/models", {})])
    assert (1, left_ms) == (len(before.json["data"]), len(after.json["data"]))


def test_a_kept_list_ends_with_the_bound() -> None:
    """One millisecond beyond the bound the answer is 503, whatever was answered before."""
    lab = ready()
    lab.epoch(decision())
    app = application(lab)
    statuses = []
    for now_ms in (T0, T0 + BOUND_MS, T0 + BOUND_MS + 1):
        lab.now_ms = now_ms
        statuses.append(ask_all(app, [("GET", "/v1/models", {})])[0].status)
    assert [200, 200, 503] == statuses


def test_the_list_is_composed_once_per_news() -> None:
    """Asking again costs no second composition; a refresh of what is known is no news."""
    lab = ready()
    lab.epoch(decision())
    app = application(lab)
    for _ in range(3):
        ask_all(app, [("GET", "/v1/models", {})] * 5)
        lab.epoch(decision(), refresh=True)
    assert 1 == lab.live.composed
    lab.epoch(decision("node-2/p0", model_id="other"))
    ask_all(app, [("GET", "/v1/models", {})] * 5)
    assert 2 == lab.live.composed


def test_a_fresher_benchmark_is_news() -> None:
    """`created` follows the benchmark even where nothing else of the decision changed."""
    lab = ready()
    app = application(lab)
    created = []
    for seen_ms in (T0, T0 + 5_000):
        lab.epoch(decision(benchmarked_at_ms=seen_ms, valid_until_ms=T0 + 60_000))
        created.append(ask_all(app, [("GET", "/v1/models", {})])[0].json["data"][0]["created"])
    assert [T0 // 1_000, T0 // 1_000 + 5] == created


def test_the_oldest_refusal_in_the_routers_order_is_named() -> None:
    """Of several partitions in doubt, the code is the one that the router would answer with."""
    lab = ready(2)
    lab.pass_ms(BOUND_MS + 1, idle=False)
    lab.view.parts[1].lost(RouteRefusal.VIEW_NOT_SYNCED)
    models, status = ask_all(application(lab), [("GET", "/v1/models", {}), ("GET", "/v1/public/status", {})])
    assert (503, "view_not_synced") == (models.status, models.code)
    assert ["processor_lag", "view_not_synced"] == [part["code"] for part in status.json["partitions"]]


def test_a_list_is_of_one_moment() -> None:
    """A clock that goes on while the list is composed, over the edge of the bound, leaves no empty list behind."""
    lab = ready()
    lab.epoch(decision())
    for edge_ms in range(6):
        lab.epoch(decision(benchmarked_at_ms=edge_ms))
        ticks = iter(range(lab.now_ms + BOUND_MS - edge_ms, lab.now_ms + BOUND_MS + 100))
        with lab.clock_of(ticks.__next__):
            first = ask_all(lab.app, [("GET", "/v1/models", {})])[0]
        assert first.status == 503 or len(first.json["data"]) == 1
        lab.now_ms += BOUND_MS + 100
        lab.epoch()
        (after,) = ask_all(lab.app, [("GET", "/v1/models", {})])
        assert 1 == len(after.json["data"])
