"""`audit decisions`: every kind of lie a router can tell is named with its code, and honest decisions are never violations."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.decisions import ROUTING_DECISION_V1
from b3iq_schemas.envelope import sign
from b3iq_streams import cli
from b3iq_streams.audit.cli_decisions import as_lines, exit_code
from b3iq_streams.audit.routing.codes import MEANING, Code, Limits, Verdict, meaning
from b3iq_streams.audit.routing.decisions import Finding, Summary, audit
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place
from tests import factory
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.chainlab import ChainLab, Parent, decision
from tests.factory import T0, TRUST, key
from tests.sim.crypto import verify

LIMITS = Limits(TRUST.skew_ms)
HERE, THERE = "node-1", "node-2"
"""Two nodes on the two partitions of a lab."""


def lab_of(*nodes: str, **policy: Any) -> Lab:
    """A network in which these nodes have been eligible for three seconds."""
    lab = Lab(**policy)
    lab.ready(*(nodes or (HERE, THERE)))
    lab.epochs(3)
    return lab


def settle(lab: Lab) -> None:
    """Time passes: what happened until now is folded."""
    lab.beat(HERE, THERE)
    lab.epochs(3)


def findings(lab: Lab, limits: Limits = LIMITS, **origin: Any) -> list[Finding]:
    """What an audit in this process says."""
    return list(audit(MemoryOrigin(lab.records, len(lab.parts), **origin), TRUST, limits, 1, verify))


def last(lab: Lab) -> Finding:
    """What an audit says of the last decision, once everything has settled."""
    settle(lab)
    return findings(lab)[-1]


def position(lab: Lab, partition: int, **changes: Any) -> list[dict[str, Any]]:
    """The lab's view with one partition's position bent."""
    view = lab.view()
    view[partition] |= changes
    return view


def whole(lab: Lab, processes: int = 1, batch: int = 100, operator: bool = False, as_json: bool = True) -> str:
    """All of the output."""
    summary = Summary()

    def counted() -> Iterator[Finding]:
        for found in audit(MemoryOrigin(lab.records, len(lab.parts), batch), TRUST, LIMITS, processes):
            summary.add(found)
            yield found

    return "\n".join(as_lines(counted(), summary, as_json, operator))


# --- lies -------------------------------------------------------------------------------------------------------------


def held_node(lab: Lab) -> None:
    lab.put(topics.HOLDS, HERE)
    lab.epochs(1)
    lab.allow(HERE)


def stranger(lab: Lab) -> None:
    lab.allow("node-nobody-knows")


def unknown_profile(lab: Lab) -> None:
    lab.allow(HERE, "p9")


def old_position(lab: Lab) -> None:
    view = lab.view()
    lab.epochs(4)
    lab.allow(HERE, view=view)


def old_position_called_new(lab: Lab) -> None:
    view = lab.view()
    lab.epochs(4)
    view[0]["resolved_at_ms"] = lab.now_ms
    lab.allow(HERE, view=view)


def invented_digest(lab: Lab) -> None:
    lab.allow(HERE, view=position(lab, 0, digest="ab" * 32))


def epoch_to_come(lab: Lab) -> None:
    lab.allow(HERE, view=position(lab, 0, epoch=99, digest="ab" * 32))
    lab.epochs(120)


def position_of_another_partition(lab: Lab) -> None:
    other = lab.view()[1]
    lab.allow(HERE, view=position(lab, 0, digest=other["digest"], epoch=other["epoch"]))


def position_twice(lab: Lab) -> None:
    lab.allow(HERE, view=[*lab.view(), lab.view()[0]])


def position_left_out(lab: Lab) -> None:
    lab.allow(HERE, view=lab.view()[1:])


def position_left_out_of_a_refusal(lab: Lab) -> None:
    lab.refuse(view=lab.view()[:1])


def invented_digest_in_a_refusal(lab: Lab) -> None:
    lab.refuse("gateway_spend_cap_exceeded", view=position(lab, 1, digest="ab" * 32))


def invented_lag(lab: Lab) -> None:
    lab.refuse("processor_lag", view=position(lab, 1, digest="ab" * 32, resolved_at_ms=T0))


def misstated_lag(lab: Lab) -> None:
    lab.refuse("processor_lag", view=position(lab, 1, resolved_at_ms=T0))


def position_of_later(lab: Lab) -> None:
    lab.epochs(2)
    lab.allow(HERE, decided_at_ms=lab.now_ms - 800)


def backdated(lab: Lab) -> None:
    lab.allow(HERE, delay_ms=30_501)


def postdated(lab: Lab) -> None:
    lab.allow(HERE, delay_ms=-501)


def wrong_key(lab: Lab) -> None:
    lab.allow(HERE, signer="processor")


def wrong_model(lab: Lab) -> None:
    lab.allow(HERE, model="another-model")


def wrong_network(lab: Lab) -> None:
    lab.allow(HERE, network="othernet")


def allowed_nobody(lab: Lab) -> None:
    lab.log_decision(allowed=True, code="allowed", view=lab.view())


def refused_somebody(lab: Lab) -> None:
    lab.refuse(node_id=HERE, profile_id="p0")


def allowed_with_a_refusal(lab: Lab) -> None:
    lab.allow(HERE, code="processor_lag")


def unheard_of_code(lab: Lab) -> None:
    lab.refuse("not_today")


def id_used_twice(lab: Lab) -> None:
    lab.allow(HERE, decision_id="ab" * 16)
    lab.allow(HERE, decision_id="ab" * 16, decided_at_ms=lab.now_ms + 1, partition=0)


def no_although_supply(lab: Lab) -> None:
    lab.put(topics.HOLDS, HERE)
    lab.epochs(1)
    lab.refuse()  # THERE could have served


def no_for_lag(lab: Lab) -> None:
    """The view lagged: then `processor_lag` was the answer, whatever it showed."""
    for node in (HERE, THERE):
        lab.put(topics.HOLDS, node)
    lab.epochs(1)
    view = lab.view()
    lab.epochs(4)
    lab.refuse(view=view)


def expired_although_fresh(lab: Lab) -> None:
    lab.refuse("grant_expired")


def expired_although_none(lab: Lab) -> None:
    lab.refuse("grant_expired", model="a-model-that-nobody-serves")


def lag_although_fresh(lab: Lab) -> None:
    lab.refuse("processor_lag")


def policy_lag_without_a_revision(lab: Lab) -> None:
    lab.refuse("policy_lag")


def key_revoked_although_listed(lab: Lab) -> None:
    lab.refuse("processor_key_revoked")


def too_dear_although_nobody_serves(lab: Lab) -> None:
    lab.refuse("price_above_max", model="a-model-that-nobody-serves")


def too_dear_although_half_blind(lab: Lab) -> None:
    view = lab.view()
    lab.epochs(4)
    lab.refuse("price_above_max", view=[view[0], lab.view()[1]])


def policy_ignored(lab: Lab) -> None:
    """A revision reached only the other partition, and its grace is over."""
    event = factory.policy_event(revision=2, sent_at_ms=lab.now_ms)
    lab.parts[1].inputs.put(topics.POLICIES, event, lab.now_ms)
    for _ in range(4):
        settle(lab)
    lab.allow(HERE)


def policy_lag_although_lagging(lab: Lab) -> None:
    """The revision is out, but the view lags as well, and that is what a router says first."""
    event = factory.policy_event(revision=2, sent_at_ms=lab.now_ms)
    lab.parts[1].inputs.put(topics.POLICIES, event, lab.now_ms)
    for _ in range(4):
        settle(lab)
    view = lab.view()
    lab.epochs(4)
    lab.refuse("policy_lag", view=view)


def dropped_key_ignored(lab: Lab) -> None:
    """A revision that drops the processor's key reached only the other partition; its grace is not over."""
    roles = {role: [factory.public(role)] for role in factory.ROLES} | {"processor": [factory.public("spare")]}
    event = factory.policy_event(revision=2, sent_at_ms=lab.now_ms, roles=roles)
    lab.parts[1].inputs.put(topics.POLICIES, event, lab.now_ms)
    view = lab.view()
    lab.parts[0].drive(lab.parts[0].owner(), 5, stop=True)
    lab.parts[1].now_ms = lab.now_ms
    head = lab.parts[0].confirmed[-1].head
    view[0] |= {"epoch": head.epoch, "digest": head.digest, "resolved_at_ms": head.resolved_at_ms}
    lab.allow(HERE, view=view)


LIES: tuple[tuple[Callable[[Lab], None], tuple[str, ...]], ...] = (
    (held_node, (Code.NOT_ELIGIBLE,)),
    (stranger, (Code.NOT_ELIGIBLE,)),
    (unknown_profile, (Code.NOT_ELIGIBLE,)),
    (old_position, (RouteRefusal.PROCESSOR_LAG,)),
    (old_position_called_new, (Code.POSITION_MISSTATED,)),
    (invented_digest, (Code.POSITION_UNKNOWN,)),
    (epoch_to_come, (Code.POSITION_UNKNOWN,)),
    (position_of_another_partition, (Code.POSITION_UNKNOWN,)),
    (position_twice, (Code.POSITION_UNKNOWN,)),
    (position_left_out, (Code.POSITION_MISSING,)),
    (position_left_out_of_a_refusal, (Code.POSITION_MISSING,)),
    (invented_digest_in_a_refusal, (Code.POSITION_UNKNOWN,)),
    (invented_lag, (Code.POSITION_UNKNOWN,)),
    (misstated_lag, (Code.POSITION_MISSTATED,)),
    (position_of_later, (Code.POSITION_NOT_YET_LOGGED, RouteRefusal.CLOCK_BEHIND)),
    (backdated, (Code.BACKDATED,)),
    (postdated, (Code.FROM_THE_FUTURE,)),
    (wrong_key, ("unauthorized",)),
    (wrong_model, (Code.MODEL_NOT_SERVED,)),
    (wrong_network, ("network_mismatch",)),
    (allowed_nobody, (Code.DECISION_INCONSISTENT,)),
    (refused_somebody, (Code.DECISION_INCONSISTENT,)),
    (allowed_with_a_refusal, (Code.DECISION_INCONSISTENT,)),
    (unheard_of_code, (Code.CODE_UNKNOWN,)),
    (id_used_twice, (Code.DECISION_ID_REUSED,)),
    (no_although_supply, (Code.SUPPLY_EXISTED,)),
    (no_for_lag, (Code.REFUSAL_UNFOUNDED,)),
    (expired_although_fresh, (Code.SUPPLY_EXISTED,)),
    (expired_although_none, (Code.REFUSAL_UNFOUNDED,)),
    (lag_although_fresh, (Code.REFUSAL_UNFOUNDED,)),
    (policy_lag_without_a_revision, (Code.REFUSAL_UNFOUNDED,)),
    (key_revoked_although_listed, (Code.REFUSAL_UNFOUNDED,)),
    (too_dear_although_nobody_serves, (Code.REFUSAL_UNFOUNDED,)),
    (too_dear_although_half_blind, (Code.REFUSAL_UNFOUNDED,)),
    (policy_lag_although_lagging, (Code.REFUSAL_UNFOUNDED,)),
    (policy_ignored, (RouteRefusal.POLICY_LAG,)),
    (dropped_key_ignored, (RouteRefusal.PROCESSOR_KEY_REVOKED,)),
)


@pytest.mark.parametrize(("lie", "codes"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_every_lie_is_named(lie: Callable[[Lab], None], codes: tuple[str, ...]) -> None:
    """A planted lie is a violation with exactly the codes of the rules it broke."""
    lab = lab_of()
    lie(lab)
    found = last(lab)
    assert (Verdict.VIOLATION, codes) == (found.verdict, found.codes)


def test_each_lie_has_its_honest_twin() -> None:
    """The same decisions without the lie are justified: the catalogue above does not catch by accident."""
    lab = lab_of()
    lab.allow(HERE)
    lab.allow(THERE)
    lab.refuse(model="a-model-that-nobody-serves")
    lab.refuse("gateway_spend_cap_exceeded")
    lab.refuse("price_above_max")
    settle(lab)
    assert [(Verdict.JUSTIFIED, code) for code in (
        "allowed", "allowed", "no_healthy_candidates", "gateway_spend_cap_exceeded", "price_above_max",
    )] == [(found.verdict, found.codes[0]) for found in findings(lab)]  # fmt: skip


def test_a_record_that_nobody_vouches_for_is_named() -> None:
    """Each way to be no decision has the contract's code."""
    lab = lab_of()
    payload = {"network": TRUST.network}
    signed = sign(ROUTING_DECISION_V1, canonical(payload), [key("router")])
    spaced = sign(ROUTING_DECISION_V1, canonical(payload) + b" ", [key("router")])
    typed = sign("application/json", canonical(payload), [key("router")])
    log = lab.decisions[0]
    lab.allow(HERE)
    torn = orjson.loads(log[0].value or b"") | {"payload": orjson.loads(signed)["payload"]}
    for value in (None, b"{}", typed, orjson.dumps(torn), spaced, signed, log[0].value):
        log.append(log[0]._replace(offset=len(log), value=value, key=b"another"))
    log.append(log[0]._replace(offset=len(log), timestamp_type=0))
    settle(lab)
    assert [
        "allowed", "record_empty", "envelope_malformed", "payload_type_unexpected", "invalid_signature",
        "payload_not_canonical", "payload_invalid", "key_mismatch", "timestamp_type_wrong",
    ] == [found.codes[0] for found in findings(lab)]  # fmt: skip


def test_a_copy_is_no_second_decision() -> None:
    """A record that came twice is judged once; whoever repeats it later accuses nobody."""
    lab = lab_of()
    first = lab.allow(HERE)
    for partition, at_ms in ((0, first.timestamp_ms), (1, first.timestamp_ms + 999_999)):
        log = lab.decisions[partition]
        log.append(first._replace(partition=partition, offset=len(log), timestamp_ms=at_ms))
    settle(lab)
    assert [Verdict.JUSTIFIED, None, None] == [found.verdict for found in findings(lab)]


def test_of_two_decisions_with_one_id_the_first_counts() -> None:
    """The one that was logged first is judged as it is, wherever the other one stands."""
    lab = lab_of()
    lab.allow(HERE, decision_id="ab" * 16, partition=1)
    lab.allow(HERE, decision_id="ab" * 16, decided_at_ms=lab.now_ms + 1)
    settle(lab)
    assert [(0, Code.DECISION_ID_REUSED), (1, "allowed")] == [(found.partition, found.codes[0]) for found in findings(lab)]


# --- the other verdicts -----------------------------------------------------------------------------------------------


def test_a_grant_that_the_world_overtook_is_stale_but_in_bound() -> None:
    """A hold that was logged before the decision, and folded after it: the router could not know, and it says by how much."""
    lab = lab_of()
    lab.put(topics.HOLDS, HERE)
    lab.allow(HERE, decided_at_ms=lab.now_ms + 700)
    found = last(lab)
    assert (Verdict.STALE, ("allowed",), 700) == (found.verdict, found.codes, found.because["stale_ms"])
    assert ["operator_hold"] == found.because["truth"]["codes"]
    assert found.because["view"]["eligible"]


def test_a_hold_after_the_decision_is_not_its_business() -> None:
    """The epoch that closes a profile closes it since the fact was logged, not since the epoch before."""
    lab = lab_of()
    lab.allow(HERE, decided_at_ms=lab.now_ms + 700)
    for part in lab.parts:
        part.now_ms += 800
    lab.put(topics.HOLDS, HERE)
    assert Verdict.JUSTIFIED == last(lab).verdict


def test_a_router_whose_clock_is_behind_may_name_later_epochs() -> None:
    """Several epochs may lie between its clock and σ after it."""
    lab = lab_of()
    early_ms = lab.now_ms + 100
    for _ in range(2):
        for part in lab.parts:
            part.now_ms -= 800
            part.drive(part.owner(), 1)
    assert early_ms + 300 == lab.now_ms
    lab.allow(HERE, decided_at_ms=early_ms)
    lab.refuse(model="a-model-that-nobody-serves", decided_at_ms=early_ms)
    settle(lab)
    assert [Verdict.JUSTIFIED] * 2 == [found.verdict for found in findings(lab)]


def test_a_refusal_that_the_world_overtook_is_stale_but_in_bound() -> None:
    """Supply that opened after the position named and before the decision."""
    lab = lab_of()
    lab.put(topics.HOLDS, HERE)
    lab.put(topics.HOLDS, THERE)
    lab.epochs(1)
    view = lab.view()
    lab.put(topics.HOLDS, HERE, held=False)
    lab.epochs(2)
    lab.refuse(view=view)
    found = last(lab)
    assert (Verdict.STALE, ("no_healthy_candidates",)) == (found.verdict, found.codes)
    (part,) = found.because["partitions"]
    assert (f"{HERE}/p0", 2_000) == (part["supply"]["key"], part["supply"]["stale_ms"])


def test_supply_that_came_and_went_again_is_no_supply() -> None:
    """It was closed by a fact that was logged before the decision, though folded after it."""
    lab = lab_of()
    lab.put(topics.HOLDS, HERE)
    lab.put(topics.HOLDS, THERE)
    lab.epochs(1)
    view = lab.view()
    lab.put(topics.HOLDS, HERE, held=False)
    lab.epochs(0)
    lab.put(topics.HOLDS, HERE)
    lab.refuse(view=view, decided_at_ms=lab.now_ms - 1)  # still before the epoch that opened it
    lab.refuse(view=view, decided_at_ms=lab.now_ms + 600)
    for part in lab.parts:
        part.now_ms += 700
    settle(lab)
    assert [Verdict.JUSTIFIED] * 2 == [found.verdict for found in findings(lab)]


@pytest.mark.parametrize("code", ["view_not_synced", "clock_behind", "router_dispatch_failed"])
def test_what_only_the_router_knew_is_unverifiable(code: str) -> None:
    """Neither true nor false, whatever the positions; and no reason to fail."""
    lab = lab_of()
    lab.refuse(code, view=[])
    found = last(lab)
    assert (Verdict.UNVERIFIABLE, (Code.ONLY_ROUTER_KNEW,)) == (found.verdict, found.codes)
    assert 0 == exit_code(summary_of([found]))


def test_a_decision_beyond_the_end_of_the_chain_is_not_settled() -> None:
    """A router may name an epoch that was logged after the audit asked how far the chain goes."""
    lab = lab_of()
    lab.allow(HERE)
    lab.allow(HERE, decided_at_ms=lab.now_ms + 900)
    chains = {topics.ELIGIBILITY_CHANGES: -1}
    records = {place: found[: chains.get(place.topic)] for place, found in lab.records.items()}
    found = list(audit(MemoryOrigin(records, 2), TRUST, LIMITS, 1, verify))
    assert [(Verdict.UNVERIFIABLE, (Code.NOT_SETTLED,))] * 2 == [(one.verdict, one.codes) for one in found]


def test_honest_refusals_by_the_view_are_justified() -> None:
    """A dead processor, a view that is stuck, and an evidence that ran out."""
    lab = lab_of(registration_ttl_ms=20_000)
    view = lab.view()
    lab.epochs(5)
    lab.refuse("processor_lag", view=view)  # stuck: others read on
    lab.beat(HERE, THERE)
    lab.epochs(8)
    lab.refuse("grant_expired", decided_at_ms=T0 + 19_600)  # valid until 20 s
    for part in lab.parts:
        part.now_ms += 600_000  # nobody processes for ten minutes
    lab.refuse("processor_lag")
    lab.epochs(1)
    lab.epochs(1)
    assert [("processor_lag", Verdict.JUSTIFIED), ("grant_expired", Verdict.JUSTIFIED), ("processor_lag", Verdict.JUSTIFIED)] == [
        (found.codes[0], found.verdict) for found in findings(lab)
    ]


def test_a_router_that_is_stuck_knows_no_later_policy() -> None:
    """It stopped reading after a revision dropped the processor's key; that the next one lists it again it cannot know."""
    lab = lab_of()
    view, roles = lab.view(), {role: [factory.public(role)] for role in factory.ROLES}
    for revision, processor in ((2, "spare"), (3, "processor")):
        lab.policy(revision, roles=roles | {"processor": [factory.public(processor)]})
        for part in lab.parts:
            part.now_ms += 1_000
    lab.epochs(6)
    lab.refuse("processor_key_revoked", view=view)
    lab.refuse("processor_key_revoked")
    settle(lab)
    assert ["processor_key_revoked", Code.REFUSAL_UNFOUNDED] == [found.codes[0] for found in findings(lab)]


def test_a_grant_whose_evidence_is_about_to_expire_is_a_violation() -> None:
    """D2: the router must subtract σ."""
    lab = lab_of(registration_ttl_ms=5_000)
    lab.allow(HERE, decided_at_ms=T0 + 4_499)
    lab.allow(HERE, decided_at_ms=T0 + 4_500)
    settle(lab)
    assert [("allowed",), (RouteRefusal.GRANT_EXPIRED,)] == [found.codes for found in findings(lab)]


def test_a_key_rotation_leaves_nobody_out() -> None:
    """The old router key counts for the grace of a revision and σ, the new one from σ before it; neither for longer."""
    lab = lab_of(grace_ms=2_000)
    roles = {role: [factory.public(role)] for role in factory.ROLES} | {"router": [factory.public("router-2")]}
    out_ms = lab.now_ms + 2_000
    for signer in ("router", "router-2"):
        for at_ms in (out_ms - 501, out_ms - 500, out_ms + 2_499, out_ms + 2_500):
            lab.refuse("view_not_synced", view=[], signer=signer, decided_at_ms=at_ms, delay_ms=0)
    lab.epochs(1)
    assert out_ms == lab.now_ms
    lab.policy(2, roles=roles)
    settle(lab)
    told, bad = Code.ONLY_ROUTER_KNEW, "unauthorized"
    assert [told, told, told, bad, bad, told, told, told] == [found.codes[0] for found in findings(lab)]


class Lying(NamedTuple):
    """A lab whose processor lied in its last epoch, and the view of a router that read it."""

    lab: Lab
    view: list[dict[str, Any]]


def lying(held: bool) -> Lying:
    """A processor's lie about a node: well signed, complete, and not what the inputs fold to."""
    lab = lab_of()
    lab.put(topics.HOLDS, THERE)
    lab.put(topics.HOLDS, HERE, held=held)
    lab.epochs(2)
    part = lab.part(HERE)
    head = part.confirmed[-1].head
    forger = ChainLab(part.partition, 2)
    forger.anchor, forger.policy_revision = dict(head.anchor._asdict()), head.policy_revision
    parent = Parent(head.epoch, head.digest, head.resolved_at_ms)
    lie = forger.propose(decision(f"{HERE}/p0", eligible=held), parent=parent, cut=dict(head.cut))
    for part_of in lab.parts:
        part_of.now_ms += 1_000
    for kafka_key, value in lie.outgoing:
        place = len(part.chain)
        part.chain.append(Record(topics.ELIGIBILITY_CHANGES, part.partition, place, kafka_key, value, part.now_ms))
    view = lab.view()
    view[part.partition] = {
        "partition": part.partition, "epoch": head.epoch + 1, "digest": lie.digest, "resolved_at_ms": part.now_ms,
    }  # fmt: skip
    return Lying(lab, view)


def test_a_grant_on_a_lying_processor_is_a_violation_of_the_processor() -> None:
    """The router kept every rule; what it was told is not what the inputs say."""
    lab, view = lying(held=True)
    lab.allow(HERE, view=view)
    (found,) = findings(lab)
    assert (Verdict.VIOLATION, (Code.PROCESSOR_DIFFERS,)) == (found.verdict, found.codes)
    assert (True, False) == (found.because["view"]["eligible"], found.because["truth"]["eligible"])


def test_a_refusal_on_a_lying_processor_is_a_violation_of_the_processor() -> None:
    """A "no" that the inputs do not give."""
    lab, view = lying(held=False)
    lab.refuse(view=view)
    (found,) = findings(lab)
    assert (Verdict.VIOLATION, (Code.PROCESSOR_DIFFERS,)) == (found.verdict, found.codes)
    assert f"{HERE}/p0" == found.because["partitions"][0]["supply"]["key"]


# --- retention --------------------------------------------------------------------------------------------------------


def test_beyond_retention_evidence_is_expired() -> None:
    """What the logs no longer show is unverifiable with exit code 3; a lie by a record's own words is still one."""
    lab = Lab()
    lab.ready(HERE, THERE)
    for turn in range(40):
        lab.beat(HERE, THERE)
        if turn % 5 == 0:
            lab.put(topics.ROUTE_HEALTH, HERE)
            lab.put(topics.ROUTE_HEALTH, THERE)
        lab.epochs(2)
        lab.allow(HERE, delay_ms=99_999 if turn == 1 else 5)
    settle(lab)
    gone = {topics.HEARTBEATS: 30, topics.ELIGIBILITY_CHANGES: 20}
    records = {place: found[gone.get(place.topic, 0) :] for place, found in lab.records.items()}
    found = list(audit(MemoryOrigin(records, 2), TRUST, LIMITS, 1, verify))
    codes = [one.codes[0] for one in found]
    assert {Code.EVIDENCE_EXPIRED, Code.BACKDATED} == set(codes[:20])
    assert ["allowed"] * 5 == codes[-5:]
    assert 3 == exit_code(summary_of(one for one in found if one.verdict is not Verdict.VIOLATION))
    assert 1 == exit_code(summary_of(found))


@functools.cache
def anchored() -> tuple[Lab, list[Finding]]:
    """A busy network whose anchors move, and what an audit of all of it says."""
    lab = busy_lab(refresh_period_ms=20_000)
    return lab, findings(lab)


GONE = (topics.ELIGIBILITY_CHANGES, topics.REGISTRATIONS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.HEARTBEATS)


@given(st.fixed_dictionaries({topic: st.floats(0, 0.9) for topic in GONE}))
@settings(max_examples=20, deadline=None)
def test_retention_changes_no_verdict(share: dict[str, float]) -> None:
    """Whatever is gone, a decision is judged as by the whole log, or not at all, because evidence expired."""
    lab, whole_log = anchored()
    records = {place: found[int(share.get(place.topic, 0) * len(found)) :] for place, found in lab.records.items()}
    left = list(audit(MemoryOrigin(records, 2), TRUST, LIMITS, 1, verify))
    for expected, found in zip(whole_log, left, strict=True):
        assert (found.verdict, found.codes) in (
            (expected.verdict, expected.codes),
            (Verdict.UNVERIFIABLE, (Code.EVIDENCE_EXPIRED,)),
        )


def test_what_rests_on_evidence_that_is_gone_is_not_judged() -> None:
    """A node whose registration is gone can be neither right nor wrong, until it is registered again; its neighbour can."""
    lab = Lab(refresh_period_ms=10_000, route_health_ttl_ms=600_000)
    lab.ready(HERE)
    lab.ready(neighbour := next(f"node-{n}" for n in range(3, 99) if lab.part(f"node-{n}") is lab.part(HERE)))
    for turn in range(16):
        if turn == 10:
            lab.put(topics.REGISTRATIONS, HERE)
        lab.beat(HERE, neighbour)
        lab.epochs(3)
        lab.allow(HERE)
        lab.allow(neighbour)
        lab.refuse(model="a-model-that-nobody-serves")
    settle(lab)
    records = {place: found[int(place.topic == topics.REGISTRATIONS) :] for place, found in lab.records.items()}
    found = list(audit(MemoryOrigin(records, 2), TRUST, LIMITS, 1, verify))
    codes = {node: [one.codes[0] for one in found if one.said and one.said.node_id == node] for node in (HERE, neighbour, None)}
    assert [Code.EVIDENCE_EXPIRED] * 10 == codes[HERE][:10]
    assert ["allowed"] * 5 == codes[HERE][11:]
    assert ["allowed"] * 10 == codes[neighbour][-10:]
    assert ["no_healthy_candidates"] * 10 == codes[None][-10:]


def test_without_any_chain_everything_is_expired() -> None:
    """An empty chain with decisions that name it."""
    lab = lab_of()
    lab.allow(HERE)
    lab.refuse()
    records = {place: found for place, found in lab.records.items() if place.topic == topics.ROUTING_DECISIONS}
    records |= {place: found for place, found in lab.records.items() if place.topic == topics.POLICIES}
    records[Place(topics.ELIGIBILITY_CHANGES, 0)] = lab.records[Place(topics.ELIGIBILITY_CHANGES, 0)][-1:]
    records[Place(topics.ELIGIBILITY_CHANGES, 1)] = lab.records[Place(topics.ELIGIBILITY_CHANGES, 1)][-1:]
    found = list(audit(MemoryOrigin(records, 2), TRUST, LIMITS, 1, verify))
    assert [(Code.EVIDENCE_EXPIRED,)] * 2 == [one.codes for one in found]


# --- the output -------------------------------------------------------------------------------------------------------


def summary_of(found: Any) -> Summary:
    """The counts of findings."""
    summary = Summary()
    for one in found:
        summary.add(one)
    return summary


def test_the_busy_network_is_counted() -> None:
    """Verdicts and codes of a quarter of an hour, and the exit code that follows."""
    summary = summary_of(findings(busy_lab()))
    assert {"allowed": 21, "no_healthy_candidates": 1} == summary.codes[Verdict.JUSTIFIED]
    assert {"supply_existed": 11, "not_eligible": 3} == summary.codes[Verdict.VIOLATION]
    assert (36, 1) == (summary.decisions, exit_code(summary))


def test_the_same_log_gives_the_same_bytes() -> None:
    """Whatever the batches and over however many processes."""
    lab = busy_lab()
    expected = whole(lab)
    assert orjson.loads(expected)["decisions"] == 36
    assert expected == whole(lab, batch=3)
    assert expected == whole(lab, processes=2, batch=1_000)
    assert expected == whole(lab, processes=3, batch=1)


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_not_public_needs_an_operator(as_json: bool) -> None:
    """Decision ids, callers and what was planted in holds never appear by default; ids and callers do for operators."""
    lab = busy_lab()
    records = [orjson.loads(record.value or b"") for record in lab.decisions[0]]
    assert records
    ids = [f"{number:032x}" for number in range(1, 37)]
    caller = orjson.loads(whole(lab, operator=True))["findings"][0]["said"]["caller_hash"]
    public, private = whole(lab, as_json=as_json), whole(lab, operator=True, as_json=as_json)
    assert [] == [secret for secret in (*ids, caller, "planted") if secret in public]
    assert [] == [secret for secret in (*ids, caller) if secret not in private]
    assert "planted" not in private


def test_only_what_was_logged_in_the_range_is_judged() -> None:
    """Both ends count, by the broker's time."""
    lab = busy_lab()
    times = [found.logged_at_ms for found in findings(lab)]
    found = findings(lab, LIMITS._replace(from_ms=times[3], to_ms=times[8]))
    assert list(range(3, 9)) == [one.offset for one in found]


def test_every_code_has_a_meaning() -> None:
    """No finding explains itself with a bare word."""
    assert {*Code} <= MEANING.keys()
    assert all(meaning(code) != code for code in (*Code, *RouteRefusal, "invalid_signature"))


def test_the_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Violations and counts as text, one document as JSON, and the exit code says what was found."""
    lab = lab_of()
    lab.allow(HERE)
    held_node(lab)
    settle(lab)
    (tmp_path / "trust.json").write_text(TRUST.model_dump_json())
    monkeypatch.setattr("b3iq_streams.audit.options._origin", lambda *_: lab.origin)
    told = ["audit", "decisions", "--trust", str(tmp_path / "trust.json"), "--processes", "1"]
    assert 1 == cli.run(told)
    out = capsys.readouterr().out
    assert 1 == out.count("violation  routing-decisions/0/1 ")
    assert "2 decisions: 1 justified, 0 stale but in bound, 1 violation, 0 unverifiable" in out
    assert 1 == cli.run([*told, "--json", "--all"])
    document = orjson.loads(capsys.readouterr().out)
    assert ["justified", "violation"] == [found["verdict"] for found in document["findings"]]
    assert 0 == cli.run([*told, "--json", "--to", str(lab.decisions[0][0].timestamp_ms)])
    assert [] == orjson.loads(capsys.readouterr().out)["findings"]


@pytest.mark.parametrize("flags", ["--bound 0", "--bound x", "--log-delay-max -1", "--processes 0", "--from soon", "--frob"])
def test_a_wrong_flag_is_one_line(flags: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line, no traceback."""
    assert 2 == cli.run(["audit", "decisions", *flags.split()])
    assert 1 == capsys.readouterr().err.count("\n")
