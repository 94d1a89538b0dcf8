"""An independent, naive reading of the rule: who may be eligible, from the whole history, judged afresh at every epoch.

Written from the network's documents and the signed-facts rules, not from the gates. It keeps everything ever said, has no
caches, no deadlines and no indexes, and answers only yes or no per gate; it shares no code with the core.
"""

from dataclasses import dataclass, field
from typing import Any

from b3iq_schemas.canonical import canonical
from tests import factory
from tests.core.histories import Entry, History, Moment, listed_key

ORDER = ("policies", "registrations", "holds", "benchmarks", "route-health", "heartbeats")
ROLE = {"registrations": "control_plane", "holds": "operator", "benchmarks": "observer", "route-health": "broker"}
ROOTS = {"root0", "root1", "root2"}
DISPATCHABLE = {"ollama", "openai", "vllm", "sglang"}


@dataclass
class Said:
    """An entry that counted, and the public key it counted by."""

    event: dict[str, Any]
    at_ms: int
    signer: str


@dataclass
class Oracle:
    """What a patient clerk would hold: everything said that counted, by subject, newest last."""

    policies: list[Said] = field(default_factory=list)
    said: dict[tuple[str, ...], list[Said]] = field(default_factory=dict)
    double: dict[str, list[int]] = field(default_factory=dict)
    """Until when a node is blocked for saying two things under one number."""
    lost: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """When a profile lost eligibility."""
    held_until: dict[tuple[str, str], int] = field(default_factory=dict)
    was: dict[tuple[str, str], bool] = field(default_factory=dict)

    @property
    def policy(self) -> dict[str, Any]:
        return self.policies[-1].event

    def policy_at(self, logged_at_ms: int) -> dict[str, Any]:
        """The newest revision that was out then; the first for what is older than all of them."""
        out = [said.event for said in self.policies if said.at_ms <= logged_at_ms]
        return out[-1] if out else self.policies[0].event

    def hear(self, entry: Entry) -> None:
        """Believe the entry, or not."""
        if entry.damage:
            return
        signer = self.believed(entry)
        if signer is None:
            return
        if entry.topic == "policies":
            self.policies.append(Said(entry.event, entry.at_ms, signer))
        elif self.numbered_well(entry) and self.timely(entry):
            self.said.setdefault(self.subject(entry), []).append(Said(entry.event, entry.at_ms, signer))

    def tell(self, moment: Moment) -> dict[tuple[str, str], dict[str, bool]]:
        """Hear everything that arrived, topic after topic, and judge."""
        for topic in ORDER:
            for entry in moment.arrived[topic]:
                self.hear(entry)
        return self.judge(moment.at_ms) if self.policies else {}

    def subject(self, entry: Entry) -> tuple[str, ...]:
        extra = (entry.event["profile_id"],) if entry.topic == "benchmarks" else ()
        return (entry.topic, entry.event["node_id"], *extra)

    def last(self, *subject: str) -> Said | None:
        return self.said[subject][-1] if self.said.get(subject) else None

    def believed(self, entry: Entry) -> str | None:
        """The public key under which the entry counts: one that is named now, or was when the entry was logged."""
        if entry.topic == "policies":
            newer = not self.policies or entry.event["revision"] > self.policy["revision"]
            return "roots" if len(ROOTS & set(entry.signers)) >= 2 and newer else None
        if not self.policies:
            return None
        if entry.topic == "heartbeats":
            registration = self.last("registrations", entry.event["node_id"])
            allowed = [key["public_key"] for key in registration.event["keys"]] if registration else []
        else:
            revisions = (self.policy, self.policy_at(entry.at_ms))
            allowed = [key for revision in revisions for key in revision["roles"][ROLE[entry.topic]]]
        return next((factory.public(name) for name in entry.signers if factory.public(name) in allowed), None)

    def numbered_well(self, entry: Entry) -> bool:
        event, last, policy = entry.event, self.last(*self.subject(entry)), self.policy_at(entry.at_ms)
        if entry.topic == "registrations" and not self.keys_proven(entry, last):
            return False
        if last is None:
            return True
        if entry.topic != "heartbeats":
            return bool(event["seq"] > last.event["seq"])
        mine, theirs = (event["boot"], event["seq"]), (last.event["boot"], last.event["seq"])
        if mine == theirs and canonical(event) != canonical(last.event):
            self.double.setdefault(event["node_id"], []).append(entry.at_ms + policy["equivocation_block_ms"])
        if mine <= theirs:
            return False
        boots = mine[0] - theirs[0]
        seqs = mine[1] if boots else mine[1] - theirs[1]
        return bool(boots <= policy["boot_jump_max"] and seqs <= policy["seq_jump_max"])

    def keys_proven(self, entry: Entry, last: Said | None) -> bool:
        """Every listed key signed for this node, now or when it was first listed."""
        known = {key["public_key"] for key in last.event["keys"]} if last else set()
        node_id = entry.event["node_id"]
        proven = [listed_key(node_id, name) for name in (node_id, f"{node_id}-2")]
        return all(key in proven or key["public_key"] in known for key in entry.event["keys"])

    def timely(self, entry: Entry) -> bool:
        """Sent inside the window; and a role numbers its facts no further ahead than it may send them."""
        sent, logged, policy = entry.event["sent_at_ms"], entry.at_ms, self.policy_at(entry.at_ms)
        if entry.topic != "heartbeats" and entry.event["seq"] > logged + policy["sent_at_future_ms"]:
            return False
        return bool(-policy["sent_at_past_ms"] <= sent - logged <= policy["sent_at_future_ms"])

    def fresh(self, said: Said, ttl: str, at_ms: int) -> bool:
        return bool(at_ms - said.at_ms < self.policy[ttl])

    def node_gate(self, node_id: str, at_ms: int) -> bool:
        registration, beat = self.last("registrations", node_id), self.last("heartbeats", node_id)
        if registration is None or beat is None or any(at_ms < until for until in self.double.get(node_id, [])):
            return False
        enrolled = registration.event["enrolled"] is True
        key_counts = beat.signer in [key["public_key"] for key in registration.event["keys"]]
        return enrolled and key_counts and beat.event["state"] == "online" and self.fresh(beat, "heartbeat_ttl_ms", at_ms)

    def route_gate(self, node_id: str, at_ms: int) -> bool:
        route = self.last("route-health", node_id)
        if route is None or route.signer not in self.policy["roles"]["broker"]:
            return False
        good = route.event["state"] == "healthy" and route.event["public_inference_allowed"] is True
        return good and self.fresh(route, "route_health_ttl_ms", at_ms)

    def protocol_gate(self, node_id: str, at_ms: int) -> bool:
        said = self.last("registrations", node_id)
        if said is None or said.signer not in self.policy["roles"]["control_plane"]:
            return False
        staked = int(said.event["stake_wei"]) >= int(self.policy["stake_wei_min"])
        good = said.event["registered"] is True and said.event["active"] is True and staked
        return good and self.fresh(said, "registration_ttl_ms", at_ms)

    def profile_claims(self, node_id: str, profile_id: str) -> dict[str, Any] | None:
        beat = self.last("heartbeats", node_id)
        listed = beat.event["profiles"] if beat else []
        return next((profile for profile in listed if profile["profile_id"] == profile_id), None)

    def runtime_gate(self, node_id: str, profile_id: str) -> bool:
        claims = self.profile_claims(node_id, profile_id)
        return claims is not None and claims["runtime_reachable"] is True and claims["status"] == "installed"

    def policy_gate(self, node_id: str, profile_id: str, at_ms: int) -> bool:
        """Without the hold-down, which is the clerk's own memory. A profile that is not listed claims nothing wrong here."""
        claims, hold = self.profile_claims(node_id, profile_id), self.last("holds", node_id)
        if hold is not None and hold.event["held"]:
            return False
        seen = self.last("benchmarks", node_id, profile_id)
        if seen is None or seen.event["outcome"] != "passed" or seen.signer not in self.policy["roles"]["observer"]:
            return False
        if not self.fresh(seen, "benchmark_ttl_ms", at_ms):
            return False
        return claims is None or self.claims_allowed(claims, seen.event["model_id"])

    def claims_allowed(self, claims: dict[str, Any], benchmarked_model: str) -> bool:
        tier = self.policy["tiers"].get(claims["route_tier"])
        if tier is None or tier["paid"] != "allowed" or claims["route_tier"] == "unknown":
            return False
        if claims["runtime_kind"] not in tier["runtimes"] or claims["runtime_kind"] not in DISPATCHABLE:
            return False
        if claims["queue_health"] not in {"healthy", "degraded"} & set(self.policy["queue_states_passing"]):
            return False
        said = claims["network_eligible"] is claims["benchmark_verified"] is claims["paid_route_eligible"] is True
        return said and claims["model_id"] == benchmarked_model

    def valid_until_ms(self, node_id: str, profile_id: str) -> int:
        registration, seen = self.last("registrations", node_id), self.last("benchmarks", node_id, profile_id)
        assert registration is not None
        assert seen is not None
        return int(min(registration.at_ms + self.policy["registration_ttl_ms"], seen.at_ms + self.policy["benchmark_ttl_ms"]))

    def subjects(self) -> list[tuple[str, str]]:
        """Every profile that anyone ever spoke of and that counted."""
        listed = {(said.event["node_id"], profile["profile_id"]) for topic, sayings in self.said.items()
                  if topic[0] == "heartbeats" for said in sayings for profile in said.event["profiles"]}  # fmt: skip
        return sorted(listed | {(topic[1], topic[2]) for topic in self.said if topic[0] == "benchmarks"})

    def judge(self, at_ms: int) -> dict[tuple[str, str], dict[str, bool]]:
        """Per profile: does each gate pass, and is it eligible."""
        verdicts = {}
        for node_id, profile_id in self.subjects():
            gates = {
                "node": self.node_gate(node_id, at_ms),
                "route": self.route_gate(node_id, at_ms),
                "protocol": self.protocol_gate(node_id, at_ms),
                "runtime": self.runtime_gate(node_id, profile_id),
                "policy": self.policy_gate(node_id, profile_id, at_ms),
            }
            self.hold_down((node_id, profile_id), all(gates.values()), at_ms)
            gates["policy"] = gates["policy"] and at_ms >= self.held_until.get((node_id, profile_id), 0)
            self.was[node_id, profile_id] = all(gates.values())
            verdicts[node_id, profile_id] = gates | {"eligible": all(gates.values())}
        return verdicts

    def hold_down(self, key: tuple[str, str], ready: bool, at_ms: int) -> None:
        """Too many losses within the window: no more for a while after the last one."""
        if ready or not self.was.get(key):
            return
        rule, lost = self.policy["hold_down"], self.lost.setdefault(key, [])
        lost.append(at_ms)
        recent = [moment for moment in lost if moment == at_ms or moment > at_ms - rule["window_ms"]]
        if len(recent) >= rule["flips_max"]:
            self.held_until[key] = at_ms + rule["hold_ms"]


def oracle_verdicts(history: History) -> list[dict[tuple[str, str], dict[str, bool]]]:
    """The clerk's verdicts after every epoch of the history."""
    clerk = Oracle()
    return [clerk.tell(moment) for moment in history]
