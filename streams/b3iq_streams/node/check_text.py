"""What `node check` says: how the node stands, and for each "no" its condition and the next action, in the contract's words."""

from collections.abc import Iterator

from b3iq_schemas.codes import LEAVES, REFUSAL_MEANING, ROUTE_REFUSAL_MEANING, Refusal, RouteRefusal
from b3iq_schemas.eligibility import Decision, Failing
from b3iq_streams.audit.story.explain_text import humane, span
from b3iq_streams.node.check import Findings

_HINTS = {
    Refusal.UNAUTHORIZED: "have the control plane register this key: `keys prove` prints the entry it needs",
    Refusal.SENT_AT_OUTSIDE_WINDOW: "set this machine's clock (NTP)",
    Refusal.SEQUENCE_REPLAYED: "if it goes on, another agent uses this identity, or an older state directory was put back",
    Refusal.EQUIVOCATION: "stop the second agent that uses this identity",
    Refusal.SEQUENCE_JUMP: "the sequence was lost: ask the operators to raise boot_jump_max for a while, or take a new node_id",
    Refusal.NETWORK_MISMATCH: "correct `network` in the inventory",
}
_OTHER_HINT = "upgrade the host agent, or report it"
_NEWER = ("a check that is not known here", "upgrade the host agent, or ask the operators what the code means")


def as_text(found: Findings) -> str:
    """The whole explanation, for a terminal."""
    lines = [f"{found.node_id} in {found.network}, partition {found.partition}"]
    lines += [*_registration(found), *_heartbeat(found), *_refusals(found)]
    if found.blind is not None:
        lines += _no(
            "view", found.blind, ROUTE_REFUSAL_MEANING[found.blind][1], "wait, or ask the operators: it is not about this node"
        )
    for profile_id, decision in found.decisions.items():
        lines += ["", *_profile(found, profile_id, decision)]
    return "\n".join(lines)


def _ago(found: Findings, at_ms: int) -> str:
    return f"{span(max(0, found.at_ms - at_ms))} ago"


def _registration(found: Findings) -> Iterator[str]:
    if found.known is None:
        yield from _no("registration", "enrolment_missing", *_words("enrolment_missing"))
        return
    keys = found.known.keys
    yield f"  {'registration':<14} logged {_ago(found, found.known.logged_at_ms)}, {len(keys)} key{'s' * (len(keys) != 1)}"
    if found.own_keyid is not None and found.own_keyid not in keys:
        hint = _HINTS[Refusal.UNAUTHORIZED]
        yield from _no("key", Refusal.UNAUTHORIZED, f"the registration does not list this key, {found.own_keyid[:16]}", hint)


def _heartbeat(found: Findings) -> Iterator[str]:
    if found.said is None:
        yield from _no("heartbeat", "heartbeat_missing", *_words("heartbeat_missing"))
        return
    beat = found.said.beat
    yield f"  {'heartbeat':<14} logged {_ago(found, found.said.logged_at_ms)}: boot {beat.boot}, seq {beat.seq}, {beat.state}"


def _refusals(found: Findings) -> Iterator[str]:
    """The last of each code, the newest first; anybody can write a record with this node's key, so they may be another's."""
    if found.refused is None:
        yield f"  {'refused':<14} not known: this user may not read dead-letters"
        return
    newest = {letter.code: letter for letter in found.refused}
    for code, letter in sorted(newest.items(), key=lambda item: -item[1].logged_at_ms):
        known = code in Refusal.__members__.values()
        meaning = REFUSAL_MEANING[Refusal(code)] if known else _NEWER[0]
        hint = _HINTS.get(Refusal(code), _OTHER_HINT) if known else _NEWER[1]
        yield from _no("refused", code, f"a heartbeat logged {_ago(found, letter.logged_at_ms)}: {meaning}", hint)


def _profile(found: Findings, profile_id: str, decision: Decision | None) -> Iterator[str]:
    if found.grants(decision):
        assert decision is not None
        yield f"✓ {profile_id}  eligible, decided {_ago(found, decision.decided_at_ms)}"
        return
    yield f"✗ {profile_id}  not eligible"
    if decision is None:
        missing = "profile_missing" if found.said else "heartbeat_missing"
        yield from _no(LEAVES[missing].gate, missing, "the processor has decided nothing about this profile", _words(missing)[1])
    elif decision.eligible and found.blind is None:
        meaning = ROUTE_REFUSAL_MEANING[RouteRefusal.GRANT_EXPIRED][1]
        yield from _no("policy", RouteRefusal.GRANT_EXPIRED, meaning, "have the registration or the observed benchmark renewed")
    for failing in decision.failing if decision else ():
        yield from _failing(found, failing)


def _failing(found: Findings, failing: Failing) -> Iterator[str]:
    condition, action = _words(failing.code)
    observed, required = humane(failing.observed, found.at_ms), humane(failing.required, found.at_ms)
    since = f", for {span(max(0, found.at_ms - failing.since_ms))}" if failing.since_ms else ""
    yield from _no(failing.gate, failing.code, f"{condition}{since} ({observed}; required: {required})", action)


def _no(what: str, code: str, condition: str, action: str) -> Iterator[str]:
    yield f"  {what:<14} {code}: {condition}"
    yield f"  {'':<14} next: {action}"


def _words(code: str) -> tuple[str, str]:
    leaf = LEAVES.get(code)
    return (leaf.condition, leaf.next_action) if leaf else _NEWER
