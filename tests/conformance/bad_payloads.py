"""Records refused for what they say: canonical payloads that break their schema."""

from collections.abc import Mapping
from typing import Any

from b3iq_schemas import events, topics
from b3iq_schemas.codes import Refusal
from tests import factory
from tests.conformance.bad_canonical import PAYLOAD, put
from tests.conformance.cases import EVENTS, POLICY, Case, case, seal
from tests.factory import T0, node_key

BEAT, REG, POL, HOLD = topics.HEARTBEATS, topics.REGISTRATIONS, topics.POLICIES, topics.HOLDS
BENCH, ROUTE = topics.BENCHMARKS, topics.ROUTE_HEALTH
LEFT_OUT = object()
SCHEMA_CANNOT_SAY = frozenset({"seq_float_integral", "seq_minus_zero_float", "profile_twice", "profile_twice_differing"})
"""Refused by the processor, yet sound for JSON Schema: 1.0 is an integer there, and members of a list are compared whole."""


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    tables = {BEAT: _beats() | _profiles(), REG: _registrations(), POL: _policies(), HOLD: _holds()} | _others()
    made = {}
    for topic, table in tables.items():
        for name, (text, changes) in table.items():
            event = {**EVENTS[topic], **changes}
            value = seal(topic, {field: said for field, said in event.items() if said is not LEFT_OUT})
            made[f"schema_{topic}_{name}"] = case(topic, Refusal.PAYLOAD_INVALID.value, text, value)
    for name, (text, raw) in _shapes().items():
        made[f"schema_{BEAT}_{name}"] = case(BEAT, Refusal.PAYLOAD_INVALID.value, text, seal(BEAT, raw))
    return made


def _shapes() -> dict[str, tuple[str, bytes]]:
    """Payloads that are canonical JSON but not an event; `seq_*` are numbers that Python would not write that way."""
    return {
        "null": ("null instead of an event", b"null"),
        "array": ("a list with an event in it", b"[" + PAYLOAD + b"]"),
        "string": ("a string instead of an event", b'"heartbeat"'),
        "empty_object": ("no member at all", b"{}"),
        "seq_float_integral": ("1.0 is no integer", put(b'"seq":1', b'"seq":1.0')),
        "seq_minus_zero_float": ("-0.0 is no integer", put(b'"seq":1', b'"seq":-0.0')),
        "seq_fraction": ("0.5", put(b'"seq":1', b'"seq":0.5')),
        "seq_2_63": ("2^63", put(b'"seq":1', b'"seq":9223372036854775808')),
        "seq_2_64_less_1": ("2^64-1", put(b'"seq":1', b'"seq":18446744073709551615')),
        "nested_100": ("100 brackets", put(b'"seq":1', b'"seq":' + b"[" * 100 + b"]" * 100)),
    }


def _ids() -> dict[str, tuple[str, Mapping[str, Any]]]:
    bad = {
        "newline": ("a newline behind it", "node-1\n"),
        "space": ("a space in it", "node 1"),
        "slash": ("a slash in it", "node/1"),
        "non_ascii": ("a letter outside ASCII", "nöde-1"),
        "full_width": ("a digit that is not ASCII", "node-１"),
        "nul": ("a NUL in it", "node-1\0"),
        "leading_dot": ("a dot before it", ".node-1"),
        "leading_dash": ("a dash before it", "-node-1"),
        "tilde": ("as the keys of marks begin", "~mark"),
        "empty": ("no letter", ""),
        "too_long": ("65 characters", "n" * 65),
        "number": ("a number", 1),
        "null": ("null", None),
    }
    return {f"node_id_{name}": (f"node_id: {text}", {"node_id": value}) for name, (text, value) in bad.items()}


def _beats() -> dict[str, tuple[str, Mapping[str, Any]]]:
    return _ids() | {
        "extra_field": ("a member that the schema does not know", {"note": "hi"}),
        "network_missing": ("no network", {"network": LEFT_OUT}),
        "boot_missing": ("no boot", {"boot": LEFT_OUT}),
        "profiles_missing": ("no profiles", {"profiles": LEFT_OUT}),
        "network_upper_case": ("a network in upper case", {"network": "TESTNET"}),
        "network_too_long": ("a network of 33 characters", {"network": "n" * 33}),
        "seq_negative": ("-1", {"seq": -1}),
        "seq_2_53": ("2^53", {"seq": 2**53}),
        "seq_bool": ("true is no integer", {"seq": True}),
        "seq_string": ("a number as a string", {"seq": "1"}),
        "seq_null": ("null", {"seq": None}),
        "boot_negative": ("-1 boots", {"boot": -1}),
        "sent_at_negative": ("before 1970", {"sent_at_ms": -1}),
        "sent_at_iso": ("a date instead of milliseconds", {"sent_at_ms": "2027-01-15T08:00:00Z"}),
        "state_upper_case": ("a word in upper case", {"state": "ONLINE"}),
        "state_empty": ("an empty word", {"state": ""}),
        "state_too_long": ("a word of 49 letters", {"state": "o" * 49}),
        "agent_version_space": ("a space in the version", {"agent_version": "1.0 beta"}),
        "agent_version_too_long": ("a version of 33 characters", {"agent_version": "1" * 33}),
    }


def _profiles() -> dict[str, tuple[str, Mapping[str, Any]]]:
    def one(text: str, **changes: Any) -> tuple[str, Mapping[str, Any]]:
        made = factory.profile() | changes
        return text, {"profiles": [{name: said for name, said in made.items() if said is not LEFT_OUT}]}

    many = [factory.profile(f"p{i}") for i in range(events.PROFILES_MAX + 1)]
    return {
        "profiles_65": ("one profile more than allowed", {"profiles": many}),
        "profiles_object": ("profiles by id instead of a list", {"profiles": {"p0": factory.profile()}}),
        "profile_twice": ("a profile is listed twice", {"profiles": [factory.profile()] * 2}),
        "profile_twice_differing": (
            "a profile is listed twice, and differs",
            {"profiles": [factory.profile(), factory.profile(status="x")]},
        ),
        "profile_null": ("a profile is null", {"profiles": [None]}),
        "profile_extra_field": one("a local address in a profile", endpoint="http://127.0.0.1"),
        "profile_status_missing": one("a profile without status", status=LEFT_OUT),
        "profile_id_slash": one("a slash in a profile's id", profile_id="a/b"),
        "profile_id_newline": one("a newline behind a profile's id", profile_id="p0\n"),
        "model_id_space": one("a space in a model's id", model_id="a model"),
        "model_id_too_long": one("a model's id of 129 characters", model_id="m" * 129),
        "runtime_reachable_string": one("a word instead of true", runtime_reachable="true"),
        "runtime_reachable_number": one("1 instead of true", runtime_reachable=1),
        "queue_health_space": one("a space in a word", queue_health="not well"),
        "price_number": one("money as a number", price_wei_per_mtok=1),
        "price_leading_zero": one("money with a leading zero", price_wei_per_mtok="01"),
        "price_negative": one("money with a minus", price_wei_per_mtok="-1"),
        "price_plus": one("money with a plus", price_wei_per_mtok="+1"),
        "price_fraction": one("money with a fraction", price_wei_per_mtok="1.5"),
        "price_exponent": one("money with an exponent", price_wei_per_mtok="1e18"),
        "price_hex": one("money in hex", price_wei_per_mtok="0x10"),
        "price_underscore": one("money with a separator", price_wei_per_mtok="1_000"),
        "price_arabic_digits": one("digits that are not ASCII", price_wei_per_mtok="١٢"),
        "price_newline": one("a newline behind money", price_wei_per_mtok="1\n"),
        "price_empty": one("no digit", price_wei_per_mtok=""),
        "price_79_digits": one("79 digits", price_wei_per_mtok="9" * 79),
        "context_negative": one("a negative context", context_tokens_max=-1),
    }


def _registrations() -> dict[str, tuple[str, Mapping[str, Any]]]:
    good = node_key("node-1")
    keys = {
        "key_upper_case": ("hex in upper case", good | {"public_key": good["public_key"].upper()}),
        "key_short": ("a key of 31 bytes", good | {"public_key": good["public_key"][2:]}),
        "key_base64": ("a key in base64", good | {"public_key": "A" * 43 + "="}),
        "proof_missing": ("a key without proof of possession", {"public_key": good["public_key"]}),
        "proof_short": ("a proof of 63 bytes", good | {"proof": good["proof"][2:]}),
        "proof_empty": ("an empty proof", good | {"proof": ""}),
        "key_extra_field": ("a member that the schema does not know", good | {"label": "x"}),
        "key_string": ("the key alone", good["public_key"]),
    }
    return {name: (f"keys: {text}", {"keys": [entry]}) for name, (text, entry) in keys.items()} | {
        "keys_five": ("five keys", {"keys": [node_key("node-1", f"k{i}") for i in range(events.NODE_KEYS_MAX + 1)]}),
        "keys_missing": ("no member keys", {"keys": LEFT_OUT}),
        "active_null": ("active is null", {"active": None}),
        "active_string": ("active is a word", {"active": "yes"}),
        "stake_number": ("the stake as a number", {"stake_wei": 5000}),
        "stake_leading_zero": ("the stake with a leading zero", {"stake_wei": "05000"}),
        "chain_height_negative": ("a negative height", {"chain_height": -1}),
    }


def _holds() -> dict[str, tuple[str, Mapping[str, Any]]]:
    return {
        "reason_missing": ("a hold without reason", {"reason": LEFT_OUT}),
        "reason_empty": ("an empty reason", {"reason": ""}),
        "reason_too_long": ("a reason of 257 characters", {"reason": "r" * 257}),
        "actor_missing": ("a hold without actor", {"actor": LEFT_OUT}),
        "actor_space": ("a space in the actor", {"actor": "the operator"}),
        "held_number": ("1 instead of true", {"held": 1}),
    }


def _others() -> dict[str, dict[str, tuple[str, Mapping[str, Any]]]]:
    return {
        BENCH: {
            "report_short": ("a digest of 31 bytes", {"report_sha256": "ab" * 31}),
            "report_prefix": ("a digest with a prefix", {"report_sha256": "sha256:" + "ab" * 32}),
            "throughput_fraction": ("a fraction", {"throughput_mtok_per_s": 90.5}),
            "outcome_bool": ("true instead of a word", {"outcome": True}),
            "profile_id_missing": ("no profile", {"profile_id": LEFT_OUT}),
        },
        ROUTE: {
            "route_leaks": ("where the route leads", {"url": "https://tunnel.example"}),
            "broker_id_missing": ("no broker", {"broker_id": LEFT_OUT}),
            "allowed_missing": ("no word on public inference", {"public_inference_allowed": LEFT_OUT}),
            "state_null": ("state is null", {"state": None}),
        },
    }


def _policies() -> dict[str, tuple[str, Mapping[str, Any]]]:
    roles, tiers = POLICY["roles"], POLICY["tiers"]
    rule = {"paid": "allowed", "runtimes": []}
    keys = [factory.public(f"k{i}") for i in range(17)]
    return {
        "queue_blocked_passes": ("queue state blocked can never pass", {"queue_states_passing": ["healthy", "blocked"]}),
        "queue_unhealthy_passes": ("queue state unhealthy can never pass", {"queue_states_passing": ["unhealthy"]}),
        "tier_unknown_allowed": ("tier unknown can never be allowed", {"tiers": tiers | {"unknown": rule}}),
        "tier_word_unknown": ("a rule for a tier that no reader knows", {"tiers": {"network_beta": rule | {"paid": "maybe"}}}),
        "tier_name_upper_case": ("a tier in upper case", {"tiers": {"Beta": rule}}),
        "tiers_33": ("33 tiers", {"tiers": {f"t{i}": rule for i in range(33)}}),
        "role_missing": ("a role is left out", {"roles": {name: roles[name] for name in roles if name != "operator"}}),
        "role_extra": ("a role that the schema does not know", {"roles": roles | {"admin": []}}),
        "role_17_keys": ("17 keys for a role", {"roles": roles | {"router": keys}}),
        "role_key_short": ("a role key of 31 bytes", {"roles": roles | {"router": ["ab" * 31]}}),
        "ttl_missing": ("no time to live for heartbeats", {"heartbeat_ttl_ms": LEFT_OUT}),
        "ttl_negative": ("a negative time to live", {"heartbeat_ttl_ms": -1}),
        "ttl_11_years": ("a time to live of eleven years", {"heartbeat_ttl_ms": 11 * 366 * 86_400_000}),
        "jump_zero": ("no boot may ever follow", {"boot_jump_max": 0}),
        "flips_zero": ("held down without a flip", {"hold_down": POLICY["hold_down"] | {"flips_max": 0}}),
        "revision_zero": ("revisions begin at 1", {"revision": 0}),
        "revision_string": ("the revision as a string", {"revision": "2"}),
        "extra_field": ("a member that the schema does not know", {"note": T0}),
    }
