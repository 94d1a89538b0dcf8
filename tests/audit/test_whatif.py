"""`audit whatif`: what another policy would have changed is what it does change where it is in force."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.envelope import parse, sign
from b3iq_schemas.policy import POLICY_V1, Policy
from b3iq_streams import cli
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.whatif.text import as_data, as_text
from b3iq_streams.audit.whatif.whatif import Report, read_candidate, whatif
from b3iq_streams.core import actions
from b3iq_streams.core.actions import Action, Answer
from b3iq_streams.errors import UserError
from tests import factory
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.core.driver import Partition
from tests.factory import T0, TRUST, key
from tests.sim.crypto import verify

LIMITS = Limits(TRUST.skew_ms)
NODES = ("node-1", "node-2", "node-3", "node-4")
PROFILES = [
    factory.profile(),
    factory.profile("p1", model_id="model-b", route_tier="portable_local", runtime_kind="ollama"),
    factory.profile("p2", route_tier="local_convenience"),
]
STEADY = {"hold_down": {"flips_max": 16, "window_ms": 0, "hold_ms": 0}}
"""No hold-down: then a verdict depends on what is known, and not on what was decided before."""
TTLS = ("heartbeat_ttl_ms", "route_health_ttl_ms", "registration_ttl_ms", "benchmark_ttl_ms")


def policy(**changes: Any) -> Policy:
    """A candidate: the factory's policy, but for what is changed."""
    return Policy.model_validate_json(canonical(factory.policy_event(**changes)))


def told(lab: Lab, candidate: Policy, limits: Limits = LIMITS, processes: int = 1, batch: int = 100) -> Report:
    """What `whatif` says."""
    checked = verify if processes == 1 else factory.VERIFY
    return whatif(MemoryOrigin(lab.records, len(lab.parts), batch), TRUST, candidate, limits, processes, checked)


def history(seed: int, first: Mapping[str, Any], then: Mapping[str, Any] | None = None, at: int = 0) -> Lab:
    """A minute of a network under a policy, the same facts and the same epochs whatever the policy. With `then`, that is
    published as the second revision after so many turns."""
    rng = Random(seed)
    lab = Lab(**first)
    for node in NODES:
        lab.put(topics.BENCHMARKS, node, profile_id="p1", model_id="model-b")
        lab.put(topics.BENCHMARKS, node, profile_id="p2")
        lab.ready(node, profiles=PROFILES)
    lab.epochs(2)
    for turn in range(12):
        if then is not None and turn == at:
            lab.policy(2, **then)
        for node in NODES:
            chance = rng.random()
            if chance < 0.6:
                lab.beat(
                    node, profiles=PROFILES[: rng.choice((3, 3, 3, 1))], state="online" if rng.random() < 0.9 else "draining"
                )
            if chance > 0.9:
                lab.put(topics.HOLDS, node, held=rng.random() < 0.5)
            if 0.3 < chance < 0.6:
                lab.put(topics.ROUTE_HEALTH, node, signers=(rng.choice(("broker", "broker", "broker-2")),))
            if 0.5 < chance < 0.7:
                lab.put(topics.REGISTRATIONS, node, stake_wei=str(rng.choice((900, 5_000, 7_000))))
        lab.epochs(rng.randint(1, 4))
    lab.epochs(1)
    return lab


SHORT = {"heartbeat_ttl_ms": 9_000, "route_health_ttl_ms": 20_000, "registration_ttl_ms": 30_000, "benchmark_ttl_ms": 40_000}
CHANGES: tuple[dict[str, Any], ...] = (
    {}, {"heartbeat_ttl_ms": 4_000}, {"heartbeat_ttl_ms": 20_000}, {"registration_ttl_ms": 8_000}, {"stake_wei_min": "6000"},
    {"stake_wei_min": "0"}, {"benchmark_ttl_ms": 10_000}, {"benchmark_ttl_ms": 900_000}, {"queue_states_passing": []},
    {"hold_down": {"flips_max": 1, "window_ms": 10_000, "hold_ms": 15_000}}, {"sent_at_past_ms": 0, "sent_at_future_ms": 0},
    {"tiers": {"network_beta": {"paid": "allowed", "runtimes": ["ollama", "vllm"]},
               "local_convenience": {"paid": "allowed", "runtimes": ["vllm"]}}},
    {"roles": {role: [factory.public(role)] for role in factory.ROLES}
     | {"broker": [factory.public("broker"), factory.public("broker-2")]}},
    {"roles": {role: [factory.public(role)] for role in factory.ROLES} | {"observer": [factory.public("somebody")]}},
)  # fmt: skip


class Seen(NamedTuple):
    """The chain, read naively: per partition and epoch the resolved time and what each key was last said to be."""

    epochs: list[list[tuple[int, dict[str, Any]]]]

    @classmethod
    def of(cls, lab: Lab) -> "Seen":
        """Of an honest lab, in which no epoch is lost."""
        found = []
        for part in lab.parts:
            view: dict[str, Any] = {}
            epochs = []
            for record in part.chain:
                if record.key == MARK_KEY:
                    mark = orjson.loads(parse(record.value or b"").payload)
                    epochs.append((mark["resolved_at_ms"], dict(view)))
                else:
                    view[(record.key or b"").decode()] = orjson.loads(record.value or b"")["decision"]
            found.append(epochs)
        return cls(found)

    def spans(self, from_ms: int) -> dict[tuple[str, str], int]:
        """Eligible time by model and tier."""
        found = Counter[tuple[str, str]]()
        for epochs in self.epochs:
            for (at_ms, view), (next_ms, _) in pairwise(epochs):
                for said in view.values():
                    if said["eligible"] and at_ms >= from_ms:
                        found[said["model_id"], said["route_tier"]] += next_ms - at_ms
        return dict(found)

    def flips(self, other: "Seen", from_ms: int) -> dict[str, int]:
        """Who differs from another network with the same epochs, and when for the first time."""
        found: dict[str, int] = {}
        for mine, theirs in zip(self.epochs, other.epochs, strict=True):
            for (at_ms, view), (same_ms, others) in zip(mine, theirs, strict=True):
                assert at_ms == same_ms
                for name in view.keys() | others.keys() if at_ms >= from_ms else ():
                    if view.get(name, {}).get("eligible", False) != others.get(name, {}).get("eligible", False):
                        found.setdefault(name, at_ms)
        return found


def agrees(recorded: Lab, actual: Lab, candidate: Policy, from_ms: int) -> bool:
    """Whether the replay of one network under a candidate is the other one; true if anybody flips."""
    report = told(recorded, candidate, LIMITS._replace(from_ms=from_ms))
    before, after = Seen.of(recorded), Seen.of(actual)
    assert before.spans(from_ms) == {name: span.recorded_ms for name, span in report.spans.items() if span.recorded_ms}
    assert after.spans(from_ms) == {name: span.candidate_ms for name, span in report.spans.items() if span.candidate_ms}
    assert before.flips(after, from_ms) == {flip.key: flip.first_ms for flip in report.flips}
    assert sum(flip.won_ms for flip in report.flips) == sum(span.won_ms for span in report.spans.values())
    assert sum(flip.lost_ms for flip in report.flips) == sum(span.lost_ms for span in report.spans.values())
    return report.flips != []


def published_ms(lab: Lab) -> int:
    """Just after a history's second revision was logged."""
    return lab.parts[0].inputs.records[topics.POLICIES][1].timestamp_ms + 1


@given(st.integers(0, 2**32), st.sampled_from(CHANGES), st.sampled_from(CHANGES), st.sampled_from([None, 0, 3, 9]))
@settings(max_examples=15, deadline=None)
def test_the_candidate_does_what_it_does_in_force(seed: int, first: dict[str, Any], then: dict[str, Any], at: int | None) -> None:
    """A network replayed under a candidate is, profile by profile and moment by moment, the network that had it in force."""
    recorded = history(seed, SHORT | first)
    if at is None:
        agrees(recorded, history(seed, SHORT | then), policy(**(SHORT | then)), 0)
    else:
        actual = history(seed, SHORT | first, SHORT | first | then, at)
        agrees(recorded, actual, policy(**(SHORT | first | then)), published_ms(actual))


def test_every_kind_of_change_comes_into_force() -> None:
    """In the middle of a history, instead of a revision that was published later; and most of them matter there."""
    recorded = history(5, SHORT, SHORT | {"stake_wei_min": "8000"}, 6)
    flipped = 0
    for then in CHANGES:
        actual = history(5, SHORT, SHORT | then, 3)
        flipped += agrees(recorded, actual, policy(**(SHORT | then)), published_ms(actual))
    assert flipped > len(CHANGES) // 2


def test_before_there_was_a_policy_there_is_no_candidate() -> None:
    """A network without any policy decides nothing, whatever is logged; so it would have under the candidate."""
    lab = Lab()
    for part in lab.parts:
        part.inputs.records[topics.POLICIES].clear()
    lab.ready("node-1")
    lab.epochs(2)
    lab.policy(1)
    lab.ready("node-2")
    lab.epochs(5)
    report = told(lab, policy())
    assert [] == report.flips
    assert [5_000] == [span.recorded_ms for span in report.spans.values()]


@given(st.integers(0, 2**32), st.sampled_from(CHANGES), st.integers(0, 60_000))
@settings(max_examples=12, deadline=None)
def test_the_policy_in_force_changes_nothing(seed: int, changes: dict[str, Any], from_ms: int) -> None:
    """Replayed under the very revision on record, from any moment on, nobody flips and no time is won or lost."""
    lab = history(seed, SHORT | changes)
    report = told(lab, policy(**(SHORT | changes)), LIMITS._replace(from_ms=T0 + from_ms))
    assert [] == report.flips
    assert all(span.won_ms == span.lost_ms == 0 and span.recorded_ms == span.candidate_ms for span in report.spans.values())


@given(st.integers(0, 2**32), st.sampled_from(TTLS), st.integers(1, 60_000))
@settings(max_examples=16, deadline=None)
def test_a_shorter_time_to_live_only_loses(seed: int, name: str, ttl_ms: int) -> None:
    """And a longer one only wins, hold-down aside."""
    lab = history(seed, SHORT | STEADY)
    report = told(lab, policy(**(SHORT | STEADY | {name: ttl_ms})))
    shorter, longer = ttl_ms <= SHORT[name], ttl_ms >= SHORT[name]
    assert not (shorter and any(flip.won_ms for flip in report.flips))
    assert not (longer and any(flip.lost_ms for flip in report.flips))


# --- paid requests ----------------------------------------------------------------------------------------------------


def asked() -> Lab:
    """Two nodes, one of which falls silent; requests before and after; a model that nobody can serve for want of a tier."""
    lab = Lab(heartbeat_ttl_ms=10_000)
    lab.ready("node-1", "node-2")
    lab.put(topics.BENCHMARKS, "node-1", profile_id="p2", model_id="model-l")
    lab.beat("node-1", profiles=[factory.profile(), factory.profile("p2", model_id="model-l", route_tier="local_convenience")])
    lab.epochs(3)
    lab.allow("node-1")
    lab.allow("node-2")
    lab.refuse(model="model-l")
    lab.epochs(3)
    lab.beat("node-1")
    lab.epochs(0)
    lab.allow("node-2")  # its last heartbeat is 8 s old
    lab.epochs(3)
    return lab


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, ({}, {}, {})),
    ({"heartbeat_ttl_ms": 7_000}, ({}, {"network_beta": 1}, {})),
    ({"heartbeat_ttl_ms": 2_000}, ({"network_beta": 2}, {"network_beta": 1}, {})),
    ({"stake_wei_min": "9000"}, ({"network_beta": 3}, {}, {})),
    ({"tiers": {"local_convenience": {"paid": "allowed", "runtimes": ["vllm"]}}},
     ({"network_beta": 3}, {}, {"local_convenience": 1})),
])  # fmt: skip
def test_requests_are_lost_moved_and_won(changes: dict[str, Any], expected: tuple[dict[str, int], ...]) -> None:
    """Lost: nobody serves the model any more. Moved: another one does. Won: refused, and somebody would have served."""
    report = told(asked(), policy(**({"heartbeat_ttl_ms": 10_000} | changes)))
    requests = report.requests
    assert 4 == requests.considered
    assert expected == tuple(
        {tier: count for (_, tier), count in found.items()} for found in (requests.lost, requests.moved, requests.won)
    )


def test_what_a_router_did_late_is_not_put_down_to_the_policy() -> None:
    """A refusal while there was supply, and a grant to a node that was closed: the policy in force neither wins nor loses."""
    lab = busy_lab()
    report = told(lab, policy(), LIMITS._replace(to_ms=T0 + 120_000))
    assert (0, 0, 0) == tuple(found.total() for found in (report.requests.lost, report.requests.moved, report.requests.won))
    assert report.requests.considered > 10


def test_only_decisions_that_somebody_vouches_for_count() -> None:
    """A stranger's record, a backdated one and a copy change nothing."""
    lab = asked()
    expected = told(lab, policy(heartbeat_ttl_ms=2_000)).requests
    lab.allow("node-1", signer="somebody")
    lab.allow("node-1", decided_at_ms=T0 + 4_000, delay_ms=60_000)
    first, log = lab.decisions[0][0], lab.decisions[1]
    log.append(first._replace(partition=1, offset=len(log)))
    assert expected == told(lab, policy(heartbeat_ttl_ms=2_000)).requests


# --- rebuilt segments and retention -----------------------------------------------------------------------------------


class Forgetful(Partition):
    """A partition whose owners find neither a checkpoint nor the oldest heartbeats, once it is told to forget."""

    forgotten = 0

    def perform(self, action: Action, stop: bool) -> Answer:
        """As Kafka would, after retention."""
        answer = super().perform(action, stop)
        if isinstance(action, actions.ReadInputs) and action.topic == topics.HEARTBEATS and self.forgotten:
            first = max(action.first, self.forgotten)
            records = self.inputs.records[topics.HEARTBEATS]
            return actions.InputBatch(tuple(records[first : action.last]), self.forgotten, len(records))
        return answer


def rebuilt() -> Lab:
    """A network whose states were rebuilt from the inputs in the middle, with flips that are forgotten thereby."""
    lab = Lab(heartbeat_ttl_ms=9_000, hold_down={"flips_max": 1, "window_ms": 600_000, "hold_ms": 600_000})
    lab.parts = [Forgetful(part.partition, 2) for part in lab.parts]
    lab.policy(1)
    lab.ready(*NODES)
    lab.epochs(2)
    for turn in range(8):
        lab.put(topics.HOLDS, "node-3", held=turn == 1)
        lab.beat(*NODES)
        if turn == 4:
            for part in lab.parts:
                part.table.clear()
                part.forgotten = 3  # type: ignore[attr-defined]  # they are Forgetful
        lab.epochs(1)
        for node in NODES:
            lab.allow(node)
        lab.epochs(4)
    return lab


def test_a_rebuilt_segment_is_rebuilt_on_both_sides() -> None:
    """What the state forgot when it was rebuilt, the candidate's forgets too: the policy in force still changes nothing."""
    lab = rebuilt()
    marks = [orjson.loads(parse(record.value or b"").payload) for record in lab.parts[1].chain if record.key == MARK_KEY]
    assert 1 == sum(mark.get("rebuilt") is not None for mark in marks)
    same = {"heartbeat_ttl_ms": 9_000, "hold_down": {"flips_max": 1, "window_ms": 600_000, "hold_ms": 600_000}}
    for from_ms in (0, T0 + 20_000, T0 + 45_000):
        assert [] == told(lab, policy(**same), LIMITS._replace(from_ms=from_ms)).flips
    assert [] != told(lab, policy(**(same | STEADY))).flips


def left(lab: Lab, gone: Mapping[str, int]) -> MemoryOrigin:
    """What is left of a lab's log when so many records of a topic's partitions were deleted; -1: all but the last."""
    records = {place: found[gone.get(place.topic, 0) :] for place, found in lab.records.items()}
    return MemoryOrigin(records, len(lab.parts))


def test_beyond_retention_the_answer_is_expired() -> None:
    """Without --from it begins where it can, and says which requests it cannot judge; with one that is too early it does not
    answer."""
    lab = busy_lab(refresh_period_ms=20_000)
    origin = left(lab, {topics.HEARTBEATS: 12})
    report = whatif(origin, TRUST, policy(stake_wei_min="6000"), LIMITS, 1, verify)
    assert report.first_ms is not None
    assert T0 + 20_000 < report.first_ms
    assert report.requests.unjudged > 0
    assert all(flip.first_ms >= report.first_ms for flip in report.flips)
    with pytest.raises(EvidenceExpired) as expired:
        whatif(origin, TRUST, policy(), LIMITS._replace(from_ms=T0 + 1), 1, verify)
    assert expired.value.earliest_ms is not None
    again = LIMITS._replace(from_ms=expired.value.earliest_ms)
    later = whatif(origin, TRUST, policy(stake_wei_min="6000"), again, 1, verify)
    assert () == later.late
    assert again.from_ms + 1_000 == max(first_ms for _, first_ms in report.late)  # an epoch a second
    assert {flip.key for flip in later.flips} <= {flip.key for flip in report.flips}
    with pytest.raises(EvidenceExpired):
        whatif(left(lab, {topics.ELIGIBILITY_CHANGES: -1}), TRUST, policy(), LIMITS, 1, verify)


def test_what_rests_on_evidence_that_is_gone_is_not_judged() -> None:
    """A node whose registration is gone can neither flip nor count."""
    lab = busy_lab(refresh_period_ms=20_000)
    report = whatif(left(lab, {topics.REGISTRATIONS: 1}), TRUST, policy(stake_wei_min="6000"), LIMITS, 1, verify)
    whole = told(lab, policy(stake_wei_min="6000"))
    assert report.unproven > 0
    assert {flip.key for flip in report.flips} < {flip.key for flip in whole.flips}


# --- the file and the output ------------------------------------------------------------------------------------------


def test_a_policy_file_may_be_plain_or_signed() -> None:
    """Both ways of writing it down are the same candidate, however few have signed."""
    event = factory.policy_event(revision=7)
    signed = sign(POLICY_V1, canonical(event), [key("root0")])
    pretty = orjson.dumps(event, option=orjson.OPT_INDENT_2)
    assert policy(revision=7) == read_candidate(signed, TRUST) == read_candidate(pretty, TRUST)


WRONG: tuple[tuple[bytes, str], ...] = (
    (b"", "not JSON"),
    (b"\xff", "not JSON"),
    (b"[]", "not a policy"),
    (b"{}", "not a policy"),
    (b'{"payload":"!"}', "not an envelope"),
    (sign("application/json", b"{}", [key("root0")]), "not a policy envelope"),
    (canonical(factory.policy_event(network="othernet")), "a policy of network othernet, not of testnet"),
    (canonical(factory.policy_event(queue_states_passing=["blocked"])), "fail closed and cannot pass"),
    (canonical(factory.policy_event(heartbeat_ttl_ms=-1)), "heartbeat_ttl_ms"),
    (canonical(factory.policy_event(roles={role: ["00" * 32] for role in factory.ROLES})), "not a safe Ed25519 point"),
)


@pytest.mark.parametrize(("content", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_file_is_a_mistake(content: bytes, said: str) -> None:
    """A file that could never come into force here is refused, and the reason said."""
    with pytest.raises(UserError, match=said):
        read_candidate(content, TRUST)


def test_the_same_log_gives_the_same_bytes() -> None:
    """Whatever the batches and over however many processes."""
    lab = busy_lab()
    candidate = policy(heartbeat_ttl_ms=20_000)
    expected = told(lab, candidate)
    assert expected.flips
    assert expected.requests.lost
    for processes, batch in ((1, 1), (2, 7), (3, 1_000)):
        found = told(lab, candidate, processes=processes, batch=batch)
        assert orjson.dumps(as_data(expected)) == orjson.dumps(as_data(found))
        assert as_text(expected) == as_text(found)


def test_nothing_private_is_told() -> None:
    """No decision id, no caller, nothing of why operators hold nodes."""
    lab = busy_lab()
    report = told(lab, policy(stake_wei_min="6000"))
    said = as_text(report) + orjson.dumps(as_data(report)).decode()
    caller = orjson.loads(parse(lab.decisions[0][0].value or b"").payload)["caller_hash"]
    assert [] == [secret for secret in ("planted", caller, f"{1:032x}") if secret in said]


def test_the_command_gates(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 exactly above --max-flips; mistakes are one line and 2; what is gone is 3."""
    lab = history(5, SHORT)
    (tmp_path / "trust.json").write_text(TRUST.model_dump_json())
    (tmp_path / "candidate.json").write_bytes(canonical(factory.policy_event(**(SHORT | {"stake_wei_min": "6000"}))))
    (tmp_path / "other.json").write_bytes(canonical(factory.policy_event(network="othernet")))
    monkeypatch.setattr("b3iq_streams.audit.options._origin", lambda *_: lab.origin)
    monkeypatch.chdir(tmp_path)
    command = ["audit", "whatif", "--trust", "trust.json", "--processes", "1"]
    assert 0 == cli.run([*command, "candidate.json", "--json"])
    flips = orjson.loads(capsys.readouterr().out)["flips"]
    assert flips > 0
    assert 0 == cli.run([*command, "candidate.json", "--max-flips", str(flips)])
    assert 1 == cli.run([*command, "candidate.json", "--max-flips", str(flips - 1)])
    assert f"{flips} profiles would flip under revision 1" in capsys.readouterr().out
    for wrong in (["absent.json"], ["other.json"], ["trust.json"], ["candidate.json", "--max-flips", "-1"], []):
        assert 2 == cli.run([*command, *wrong])
        assert 1 == capsys.readouterr().err.count("\n")
    nearly_nothing = left(lab, {topics.ELIGIBILITY_CHANGES: -1})
    monkeypatch.setattr("b3iq_streams.audit.options._origin", lambda *_: nearly_nothing)
    assert 3 == cli.run([*command, "candidate.json"])
    assert capsys.readouterr().err.startswith("evidence expired")
