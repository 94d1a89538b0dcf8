"""What the public pages say, in detail: pages and filters, blockers with what to do next, counts, the policy and its history."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES
from b3iq_schemas.envelope import keyid
from b3iq_streams.catalog.live import LiveSettings
from tests.catalog.lab import CatalogLab, ask_all, get, ready
from tests.chainlab import EVIDENCE, MODEL, NO, SKEW_MS, decision
from tests.factory import T0, policy_event, public
from tests.shells.router_lab import BOUND_MS

STAKE: dict[str, Any] = {
    "code": "protocol_stake_unsatisfied",
    "gate": "protocol",
    "since_ms": T0,
    "observed": "1 wei",
    "required": "1000 wei",
}
GATES = dict.fromkeys(("node", "route", "protocol", "runtime", "policy"), "pass")
NODES = ("a", "a-b", "a.b", "ab", "B")
READINESS = "/v1/public/nodes/node-1/route-readiness"


def blocked(name: str, *failing: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A decision that says no for these reasons."""
    gates = GATES | {one["gate"]: "fail" for one in failing}
    return decision(name, False, failing=list(failing), gates=gates, **changes)


def test_a_profile_says_everything_there_is_to_know() -> None:
    """Every field of the contract, with the next action and condition of each code, and each evidence's partition."""
    lab = ready()
    lab.epoch(blocked("node-1/p0", NO, STAKE, decided_at_ms=T0 - 5))
    leaf = LEAVES[STAKE["code"]]
    (profile,) = get(lab, "/v1/public/profiles").json["items"]
    assert profile["blockers"][1] == STAKE | {"next_action": leaf.next_action, "condition": leaf.condition}
    assert profile["evidence"] == [EVIDENCE | {"partition": 0}]
    assert profile["gates"] == GATES | {"node": "fail", "protocol": "fail"}
    rest = {name: value for name, value in profile.items() if name not in ("blockers", "evidence", "gates")}
    assert rest == {
        "node_id": "node-1", "profile_id": "p0", "model_id": MODEL, "route_tier": "network_beta", "runtime_kind": "vllm",
        "eligible": False, "throughput_mtok_per_s": 90_000, "benchmarked_at_ms": T0, "valid_until_ms": 0,
        "decided_at_ms": T0 - 5, "policy_revision": 1,
    }  # fmt: skip


def test_a_code_of_a_newer_processor_still_blocks_and_is_explained() -> None:
    """A code that is not in the table is shown with the gate that the decision names."""
    lab = ready()
    lab.epoch(blocked("node-1/p0", STAKE | {"code": "a_code_of_next_year"}))
    (profile,) = get(lab, "/v1/public/profiles").json["items"]
    assert ("a_code_of_next_year", "protocol") == (profile["blockers"][0]["code"], profile["blockers"][0]["gate"])
    assert profile["blockers"][0]["next_action"]
    (blocker,) = get(lab, "/v1/public/overview").json["blockers"]
    assert blocker == {"code": "a_code_of_next_year", "gate": "protocol", "profiles": 1}


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({"valid_until_ms": T0 + SKEW_MS}, "grant_expired"),
        ({"eligible": False, "failing": []}, "decision_contradictory"),
        ({"gates": GATES | {"route": "unknown"}}, "decision_contradictory"),
    ],
)
def test_every_no_has_a_reason(bent: dict[str, Any], code: str) -> None:
    """A decision that the router takes as a "no" without any failing check is explained as well."""
    lab = ready()
    lab.epoch(decision(**bent))
    (profile,) = get(lab, "/v1/public/profiles").json["items"]
    assert (False, [code]) == (profile["eligible"], [blocker["code"] for blocker in profile["blockers"]])


def test_readiness_of_one_node() -> None:
    """Its profiles, those of one model if asked so, the table of reasons, and its past, newest first."""
    lab = ready()
    lab.epoch(decision("node-1/p0"), decision("node-1/p1", model_id="other"), decision("node-10/p0"))
    lab.now_ms += 1
    lab.epoch(blocked("node-1/p0", NO))
    answer = get(lab, READINESS).json
    assert (True, ["p0", "p1"]) == (answer["known"], [profile["profile_id"] for profile in answer["profiles"]])
    assert list(LEAVES) == [leaf["code"] for leaf in answer["leaves"]]
    assert {"code", "gate", "group", "condition", "next_action"} == answer["leaves"][0].keys()
    past = {"at_ms": T0 + 1, "profile_id": "p0", "what": "closed", "codes": ["heartbeat_stale"], "epoch": 3}
    assert (past, 3) == (answer["history"][0], len(answer["history"]))
    assert ["p1"] == [profile["profile_id"] for profile in get(lab, READINESS + "?model=other").json["profiles"]]


def test_of_an_unknown_node_nothing_is_known() -> None:
    """That is an answer, not an error."""
    answer = get(ready(), "/v1/public/nodes/nobody/route-readiness").json
    assert (False, [], []) == (answer["known"], answer["profiles"], answer["history"])


def test_the_past_of_a_node_is_bounded() -> None:
    """The hundred newest changes."""
    lab = ready()
    for turn in range(120):
        lab.epoch(decision("node-1/p0", turn % 2 == 0))
    history = get(lab, READINESS).json["history"]
    assert (100, 121) == (len(history), history[0]["epoch"])


def test_overview_counts() -> None:
    """Per model and tier, per gate, and per code; the most frequent code first."""
    lab = ready()
    lab.epoch(
        decision("a/p"),
        decision("b/p", route_tier="portable_local"),
        blocked("c/p", NO, STAKE),
        blocked("d/p", STAKE),
        decision("e/p", model_id="other", valid_until_ms=1),
    )
    answer = get(lab, "/v1/public/overview").json
    assert [(MODEL, "network_beta", 3, 1), (MODEL, "portable_local", 1, 1), ("other", "network_beta", 1, 0)] == [
        (group["model_id"], group["route_tier"], group["total"], group["eligible"]) for group in answer["groups"]
    ]
    assert {"node": 1, "route": 0, "protocol": 2, "runtime": 0, "policy": 0} == {
        gate: one["blocked"] for gate, one in answer["gates"].items()
    }
    assert [(STAKE["code"], 2), ("heartbeat_stale", 1)] == [(one["code"], one["profiles"]) for one in answer["blockers"]]


def test_sparks_are_counts_of_the_past() -> None:
    """One point per step, sixty at most; none is added while nothing can be claimed, and those of before stay."""
    lab = ready(settings=LiveSettings(spark_step_ms=1_000))
    for turn in range(70):
        lab.epoch(decision("a/p"), decision("b/p", turn % 2 == 0))
        lab.pass_ms(1_000)
    spark = get(lab, "/v1/public/overview").json["groups"][0]["spark"]
    assert [2, 1] * 30 == spark
    lab.pass_ms(BOUND_MS + 1, idle=False)
    (group,) = get(lab, "/v1/public/overview").json["groups"]
    assert (None, spark) == (group["eligible"], group["spark"])


def test_a_node_in_the_list() -> None:
    """How many profiles, how many of them eligible, and every code once, in the order of explanation."""
    lab = ready()
    lab.epoch(decision("a/p"), blocked("a/q", STAKE, NO), blocked("a/r", NO))
    assert [{"node_id": "a", "profiles": 3, "eligible": 1, "codes": ["heartbeat_stale", STAKE["code"]]}] == get(
        lab, "/v1/public/nodes"
    ).json["items"]


# --- pages and filters ------------------------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.sampled_from(NODES),
        st.sampled_from(("p", "P-1", "p.2")),
        st.sampled_from(("m", "M/x")),
        st.sampled_from(("network_beta", "portable_local")),
        st.sampled_from(((), (NO,), (STAKE,), (NO, STAKE))),
    ),
    max_size=12,
    unique_by=lambda row: row[:2],
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(("m", "M/x", "none")),
        "tier": st.sampled_from(("network_beta", "future_tier")),
        "code": st.sampled_from((NO["code"], STAKE["code"], "never_seen")),
        "gate": st.sampled_from(("node", "protocol", "route")),
        "eligible": st.sampled_from(("true", "false")),
        "q": st.sampled_from(("a", "B", "m/X", "-1", "/", "zzz")),
    },
)


def wanted(row: Any, filters: dict[str, str]) -> bool:
    """Whether a row is to be shown, said once more."""
    node, profile, model, tier, failing = row
    tests: dict[str, Callable[[str], bool]] = {
        "model": lambda value: model == value,
        "tier": lambda value: tier == value,
        "code": lambda value: value in [one["code"] for one in failing],
        "gate": lambda value: value in [one["gate"] for one in failing],
        "eligible": lambda value: (not failing) is (value == "true"),
        "q": lambda value: value.lower() in f"{node}/{profile} {model}".lower().replace(" ", "\n"),
    }
    return all(tests[name](value) for name, value in filters.items())


@given(ROWS, FILTERS, st.integers(1, 5))
def test_pages_are_the_filtered_whole(rows: list[Any], filters: dict[str, str], limit: int) -> None:
    """Page by page: everything wanted, once, by node and profile id; the total on every page."""
    lab = ready(2)
    for number, (node, profile, model, tier, failing) in enumerate(rows):
        made = blocked if failing else decision
        lab.epoch(made(f"{node}/{profile}", *failing, model_id=model, route_tier=tier), partition=number % 2)
    expected = sorted((row[0], row[1]) for row in rows if wanted(row, filters))
    found, cursor = [], None
    while True:
        query = filters | {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        page = get(lab, f"/v1/public/profiles?{urlencode(query)}").json
        assert (len(expected), True) == (page["total"], len(page["items"]) <= limit)
        found += [(one["node_id"], one["profile_id"]) for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert expected == found


def test_pages_of_nodes() -> None:
    """By id, page by page, and by a part of the id in any case."""
    lab = ready()
    lab.epoch(*(decision(f"{node}/p") for node in NODES))
    found, cursor = [], ""
    while cursor is not None:
        page = get(lab, f"/v1/public/nodes?limit=2{cursor and f'&cursor={cursor}'}").json
        found += [node["node_id"] for node in page["items"]]
        cursor = page["next"]
    assert sorted(NODES) == found
    page = get(lab, "/v1/public/nodes?q=b").json
    assert (["B", "a-b", "a.b", "ab"], 4) == ([node["node_id"] for node in page["items"]], page["total"])


def test_a_cursor_stays_good_when_rows_come_and_go() -> None:
    """The next page goes on after the last row shown, whatever happened to it since."""
    lab = ready()
    lab.epoch(*(decision(f"{node}/p") for node in "abcd"))
    cursor = get(lab, "/v1/public/profiles?limit=2").json["next"]
    lab.epoch(decision("b/p") | {"model_id": 7}, decision("bb/p"))
    page = get(lab, f"/v1/public/profiles?limit=2&cursor={cursor}").json
    assert ["bb", "c"] == [one["node_id"] for one in page["items"]]


def test_a_withheld_claim_is_neither_yes_nor_no() -> None:
    """While nothing can be claimed, both filters by claim find nothing."""
    lab = ready()
    lab.epoch(decision("a/p"), decision("b/p", False))
    lab.pass_ms(BOUND_MS + 1, idle=False)
    totals = [get(lab, f"/v1/public/profiles?{query}").json["total"] for query in ("", "eligible=true", "eligible=false")]
    assert [2, 0, 0] == totals


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=x", "limit=1e2", "cursor=", "cursor=!", "cursor=" + "A" * 300, "cursor=W10", "cursor=e30",
        "cursor=WyJhIl0", "cursor=WyJhIiwicCIsLTFd", "cursor=WyJhIiwicCIsMS41XQ", "cursor=WyIuIiwicCIsMF0", "cursor=bnVsbA",
        "eligible=maybe", "gate=model", "tier=NOT", "code=%00", "model=%20", "q=", "q=" + "x" * 129,
    ],
)  # fmt: skip
def test_what_cannot_be_asked(query: str) -> None:
    """Whatever is wrong with a query is 400 in the native form, and the answer repeats nothing of it."""
    answer = get(ready(), f"/v1/public/profiles?{query}")
    assert (400, "invalid_request") == (answer.status, answer.code)
    assert query.partition("=")[0] in answer.json["error"]["detail"]


# --- policy -----------------------------------------------------------------------------------------------------------


def test_the_policy_in_force_and_what_changed() -> None:
    """The newest revision, and each one's differences to the one before, newest first; keys by their ids only."""
    lab = ready()
    roles = policy_event()["roles"] | {"router": [public("next")]}
    tiers = policy_event()["tiers"] | {"fleet_orchestrated": {"paid": "allowed", "runtimes": ["vllm"]}}
    lab.policy(2, T0 + 5, roles=roles)
    lab.policy(4, T0 + 9, tiers=tiers, heartbeat_ttl_ms=5, hold_down={"flips_max": 4, "window_ms": 1, "hold_ms": 2})
    answer = get(lab, "/v1/public/policy").json
    assert (4, T0 + 9, 5) == (answer["revision"], answer["published_at_ms"], answer["ttls"]["heartbeat_ttl_ms"])
    assert {"flips_max": 4, "window_ms": 1, "hold_ms": 2} == answer["hold_down"]
    assert {"paid": "allowed", "runtimes": ["vllm"]} == answer["tiers"]["fleet_orchestrated"]
    assert [4, 2, 1] == [change["revision"] for change in answer["changes"]]
    ids = [[keyid(bytes.fromhex(public(name)))] for name in ("router", "next")]
    assert [{"field": "roles.router", "from": ids[0], "to": ids[1]}] == answer["changes"][1]["changed"]
    fields = {changed["field"]: (changed["from"], changed["to"]) for changed in answer["changes"][0]["changed"]}
    assert (30_000, 5) == fields["heartbeat_ttl_ms"]
    assert ("future", "allowed") == fields["tiers.fleet_orchestrated.paid"]
    assert (3, 4) == fields["hold_down.flips_max"]
    assert [] == answer["changes"][2]["changed"]
    assert all(public(name).encode() not in orjson.dumps(answer) for name in ("router", "next", "processor", "root0"))


def test_before_any_policy() -> None:
    """Nothing is in force, and that is said."""
    lab = CatalogLab()
    lab.boot()
    answer, status = (one.json for one in ask_all(lab.app, [("GET", "/v1/public/policy", {}), ("GET", "/v1/public/status", {})]))
    assert (None, {}, []) == (answer["revision"], answer["tiers"], answer["changes"])
    assert (None, None, False) == (status["policy_revision"], status["resolved_at_ms"], status["ready"])


def test_a_forged_policy_is_no_revision() -> None:
    """What too few roots signed is not shown."""
    lab = ready()
    record = lab.policies.put(topics.POLICIES, policy_event(revision=9), T0, ("root0",))
    lab.view.apply(record)
    assert 1 == get(lab, "/v1/public/policy").json["revision"]
