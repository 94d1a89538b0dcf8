"""The chain read and folded again, naively, with everything known: what the checkers compare the history with.

Acceptance is written out from the protocol's rules and shares no code with `core.chain`; the fold is `core.step` on a
state that nobody ever restored, corrected or refreshed.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_schemas.envelope import pae
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from tests.factory import NETWORK, SCOPE, public
from tests.sim import crypto
from tests.sim.history import History
from tests.sim.knobs import SKEW_MS
from tests.sim.worker import CHAIN

MARK_TYPE = "application/vnd.b3iq.mark.v1+json"
INDEPENDENT = ("policy_revision", "decided_at_ms", "evidence")


class Sealed(NamedTuple):
    """A mark as it stands in the log, and whether a processor key signed it."""

    offset: int
    mark: Mapping[str, Any]
    payload: bytes
    keyid: str
    sig: bytes


@dataclass
class Told:
    """One accepted epoch: as recorded, and as folded again."""

    offset: int
    real_ms: int
    mark: Mapping[str, Any]
    digest: str
    keyid: str
    changes: tuple[bytes, ...]
    view: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a reader since the beginning holds after it."""
    outcome: Outcome | None = None
    state_sha256: str = ""
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the state says was last decided, by key."""


class Reference:
    """All marks, the accepted ones folded again, and where each accepted digest stands."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.world = history.world
        self.policies = {fact.event["revision"]: fact for fact in self.world.facts[topics.POLICIES]}
        self.marks: list[Sealed] = []
        self.told: list[Told] = []
        self._accept()
        self._fold()
        self.by_digest = {told.digest: i for i, told in enumerate(self.told)}

    def signers(self, revision: int) -> dict[str, bytes]:
        """Processor keys by key id under a revision."""
        names = [public("processor")] if revision == 0 else self.policies[revision].event["roles"]["processor"]
        keys = [bytes.fromhex(name) for name in names]
        return {hashlib.sha256(key).hexdigest(): key for key in keys}

    def _accept(self) -> None:
        """Rules A1–A5 in one loop."""
        chain = self.world.chain
        digest, epoch, revision = CHAIN.genesis, 0, 0
        seen: dict[tuple[str, int], set[bytes]] = {}
        for record in chain.records:
            if record.key != b"~mark":
                outer = _json(record.value)
                if isinstance(outer.get("attempt"), str) and type(outer.get("i")) is int:
                    seen.setdefault((outer["attempt"], outer["i"]), set()).add(record.value or b"")
                continue
            if (sealed := _open(record.offset, record.value)) is None:
                continue
            self.marks.append(sealed)
            mark = sealed.mark
            mine = {i: values for (attempt, i), values in seen.items() if attempt == mark["attempt"]}
            whole = sorted(mine) == list(range(mark["n"])) and all(len(values) == 1 for values in mine.values())
            changes = tuple(next(iter(mine[i])) for i in range(mark["n"])) if whole else ()
            key = self.signers(revision).get(sealed.keyid)
            if (
                (mark["network"], mark["generation"], mark["partition"]) == (NETWORK, 1, 0)
                and mark["prev"] == digest
                and mark["epoch"] == epoch + 1
                and whole
                and hashlib.sha256(b"".join(changes)).hexdigest() == mark["changes_sha256"]
                and mark["resolved_at_ms"] <= record.timestamp_ms + SKEW_MS
                and key is not None
                and crypto.verify(key, pae(MARK_TYPE, sealed.payload), sealed.sig)
            ):
                digest, epoch, revision = hashlib.sha256(sealed.payload).hexdigest(), mark["epoch"], mark["policy_revision"]
                seen = {}
                self.told.append(Told(record.offset, chain.real_ms[record.offset], mark, digest, sealed.keyid, changes))

    def _fold(self) -> None:
        """From nothing, epoch by epoch, with the recorded cuts and resolved times."""
        state, cut = PartitionState(), dict.fromkeys(topics.INPUTS, 0)
        view: dict[str, Mapping[str, Any]] = {}
        for told in self.told:
            upto = told.mark["cut"]
            if "rebuilt" in told.mark:
                state = self._rebuilt(cut, state.resolved_at_ms)
            records = {name: self.world.inputs[name].records[cut[name] : upto[name]] for name in topics.INPUTS}
            told.outcome = step(state, Epoch(told.mark["resolved_at_ms"], records), SCOPE, crypto.verify)
            state.absorb(told.outcome.resolved_at_ms, told.outcome.nodes, told.outcome.rules)
            told.state_sha256, cut = state.digest({}, state.rules), upto
            view = view | {_key(decision): decision for decision in (_json(value)["decision"] for value in told.changes)}
            told.view = view
            told.published = {
                f"{node_id}/{name}": orjson.loads(last.body)
                for node_id, node in state.nodes.items()
                for name, last in node.published.items()
            }

    def _rebuilt(self, cut: Mapping[str, int], resolved_at_ms: int) -> PartitionState:
        """The state of somebody who had only the inputs: all of them, topic by topic, at the moment of the last mark."""
        state = PartitionState()
        for name in topics.INPUTS:
            epoch = Epoch(resolved_at_ms, {name: self.world.inputs[name].records[: cut[name]]})
            outcome = step(state, epoch, SCOPE, crypto.verify)
            state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        return state

    def anchors(self) -> dict[tuple[int, int, str], int]:
        """Every anchor that a mark signed by a processor names, accepted or not, and the first offset that names it."""
        everyone = {keyid: key for revision in (0, *self.policies) for keyid, key in self.signers(revision).items()}
        found: dict[tuple[int, int, str], int] = {}
        for sealed in self.marks:
            key, anchor = everyone.get(sealed.keyid), sealed.mark["anchor"]
            place = (anchor["offset"], anchor["epoch"], anchor["digest"])
            if place not in found and key and crypto.verify(key, pae(MARK_TYPE, sealed.payload), sealed.sig):
                found[place] = sealed.offset
        return found

    def head_before(self, position: int) -> Told | None:
        """The last epoch accepted below an offset."""
        return next((told for told in reversed(self.told) if told.offset < position), None)


def content(decision: Mapping[str, Any]) -> dict[str, Any]:
    """A decision without what it was decided under."""
    return {name: value for name, value in decision.items() if name not in INDEPENDENT}


def eligible(view: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The keys of a view that are a yes, and their content; absent is a no."""
    return {key: content(decision) for key, decision in view.items() if decision["eligible"]}


def _key(decision: Mapping[str, Any]) -> str:
    return f"{decision['node_id']}/{decision['profile_id']}"


def _json(value: bytes | None) -> dict[str, Any]:
    try:
        outer = orjson.loads(value or b"")
    except ValueError:
        return {}
    return outer if isinstance(outer, dict) else {}


def _open(offset: int, value: bytes | None) -> Sealed | None:
    outer = _json(value)
    if outer.get("payloadType") != MARK_TYPE:
        return None
    payload, signature = base64.b64decode(outer["payload"]), outer["signatures"][0]
    return Sealed(offset, orjson.loads(payload), payload, signature["keyid"], base64.b64decode(signature["sig"]))
