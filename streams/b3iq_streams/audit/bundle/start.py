"""The node's state where a bundle begins, built again from the records that the state names.

What rests on records must be what they say: each is admitted and folded again by the real `step`, under the revisions then in
force, and what was last decided must be what the gates make of it. What no record says is taken as claimed: since when a
check fails, the flips that led to no hold-down, an equivocation's times; and of a withheld hold, whether it holds.
"""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import ValidationError

from b3iq_schemas import topics
from b3iq_schemas.eligibility import Decision
from b3iq_streams.audit.bundle.chain import Frame, Mismatch, check_order, rules_until
from b3iq_streams.audit.bundle.contents import Bundle, Fact, Withheld, decode
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.codec import decode_node, encode_node
from b3iq_streams.core.decide import compose, decide
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.core.values import EMPTY_NODE, Held, NodeState, Proof

FACTS = ("registration", "hold", "benchmarks", "route", "beat")


def held_of(entry: Withheld) -> Held:
    """What a state remembers of a hold whose content is withheld."""
    return Held(Proof(entry.offset, entry.payload_sha256, entry.keyid, entry.logged_at_ms), 0, entry.held, "", "")


def opening_state(bundle: Bundle, frame: Frame, scope: Scope, verify: Verify) -> PartitionState:
    """The state of the node, and of nothing else, after the epoch before the range. Raises Mismatch."""
    state = PartitionState()
    if bundle.start is None or frame.start is None:
        return state
    head = frame.start.head
    rules = rules_until(frame.policies, head.cut.get(topics.POLICIES, 0), scope, verify)
    revision = rules.policy.revision if rules else 0
    if revision != head.policy_revision:
        raise Mismatch("policies", f"up to epoch {head.epoch}", "revision in force", revision, head.policy_revision)
    claimed = _claimed(bundle, rules)
    told = _told(bundle, rules, head.cut, scope, verify)
    for name in FACTS:
        if getattr(claimed, name) != getattr(told, name):
            _fail(name, getattr(claimed, name), getattr(told, name))
    _, changes = decide(bundle.node_id, claimed, rules, head.resolved_at_ms)
    for change in changes:
        last = claimed.published.get(change.key.partition("/")[2])
        _fail(f"decision on {change.key}", last.body.decode() if last else "none", change.decision.decode())
    nodes = {bundle.node_id: claimed} if claimed != EMPTY_NODE else {}
    state.absorb(head.resolved_at_ms, nodes, rules)
    return state


def _claimed(bundle: Bundle, rules: Rules | None) -> NodeState:
    """The encoded state, if it is one."""
    assert bundle.start is not None
    raw = decode(bundle.start.state)
    try:
        node = decode_node(raw)
        sound = encode_node(node) == raw and _whole_numbers(node)
        for profile_id, last in node.published.items():
            decision = Decision.model_validate_json(compose(bundle.node_id, profile_id, node, last, rules).decision)
            sound &= decision.eligible is last.eligible
            sound &= (bundle.node_id, profile_id) == (decision.node_id, decision.profile_id)
    except (ValidationError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        sound = False
    if not sound:
        _fail("state", "not the state of the node", "one")
    return node


def _whole_numbers(node: NodeState) -> bool:
    """What no record says is at least of the right kind."""
    numbers = [node.equivocated_until_ms, node.equivocated_at_ms]
    for last in node.published.values():
        numbers += [last.held_down_until_ms, *last.flips_ms]
    return all(type(number) is int and number >= 0 for number in numbers)


def tell(node_id: str, node: NodeState, record: Record, rules: Rules | None, scope: Scope, verify: Verify) -> NodeState | str:
    """The node with one more fact, admitted under the newest revision that admits it; or the code of its refusal."""
    code = "no policy is in force"
    while rules is not None:
        state = PartitionState()
        state.absorb(0, {node_id: node} if node != EMPTY_NODE else {}, rules)
        outcome = step(state, Epoch(record.timestamp_ms, {record.topic: [record]}), scope, verify)
        if not outcome.refused and node_id in outcome.nodes:
            return outcome.nodes[node_id]
        code = outcome.refused[0].code.value if outcome.refused else "of another node"
        rules = rules.before
    return code


def _told(bundle: Bundle, rules: Rules | None, cut: Mapping[str, int], scope: Scope, verify: Verify) -> NodeState:
    """The facts of the node as its records tell them."""
    assert bundle.start is not None
    facts: dict[str, list[Fact]] = {topic: [] for topic in topics.INPUTS}
    node = EMPTY_NODE
    for entry in bundle.start.records:
        where = f"{entry.topic} offset {entry.offset}"
        if entry.offset >= cut.get(entry.topic, 0):
            raise Mismatch("start", where, "beyond its epoch", entry.offset, f"before {cut.get(entry.topic, 0)}")
        if isinstance(entry, Withheld):
            node = node._replace(hold=held_of(entry))
        elif isinstance(entry, Fact) and entry.refused is None:
            facts[entry.topic].append(entry)
        else:
            raise Mismatch("start", where, "admission", entry.refused, "an admitted record")
    for found in facts.values():
        check_order("start", found, bundle.partition)
    for record in _in_turn(facts):
        result = tell(bundle.node_id, node, record, rules, scope, verify)
        if isinstance(result, str):
            raise Mismatch("start", f"{record.topic} offset {record.offset}", "admission", "admitted", result)
        node = result
    return node


def _in_turn(facts: Mapping[str, Sequence[Fact]]) -> Iterator[Record]:
    """In fold order; but with two registrations, the heartbeats that the first one vouches for before the second."""
    registrations = [entry.record for entry in facts[topics.REGISTRATIONS]]
    beats = [entry.record for entry in facts[topics.HEARTBEATS]]
    yield from registrations[:-1]
    if len(registrations) > 1:
        yield from beats
    yield from registrations[-1:]
    for topic in (topics.HOLDS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.POLICIES):
        yield from (entry.record for entry in facts[topic])
    if len(registrations) <= 1:
        yield from beats


def _fail(what: str, claimed: object, found: object) -> None:
    raise Mismatch("start", "the node's state", what, claimed, found)
