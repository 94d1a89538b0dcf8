"""Registrations refused for the keys they list: unsafe points, and keys whose owner did not prove to have them."""

from typing import Any

from nacl.bindings import crypto_core_ed25519_add

from b3iq_schemas import events, topics
from b3iq_schemas.codes import Refusal
from b3iq_schemas.envelope import pae
from tests.conformance.cases import EVENTS, Case, case, past, seal
from tests.factory import NETWORK, key, node_key, public

REG = topics.REGISTRATIONS
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    return _unsafe_keys() | _unproven()


def _bad(code: Refusal, text: str, changes: dict[str, Any], **more: Any) -> Case:
    return case(REG, code.value, text, seal(REG, EVENTS[REG] | changes), **more)


def _unsafe_keys() -> dict[str, Case]:
    mixed = crypto_core_ed25519_add(bytes(key("node-1").verify_key), ORDER_8)
    points = {
        "zero": ("all zeros (a point of order 4)", bytes(32)),
        "identity": ("the identity", b"\x01" + bytes(31)),
        "order_2": ("a point of order 2", bytes.fromhex("ec" + "ff" * 30 + "7f")),
        "order_8": ("a point of order 8", ORDER_8),
        "mixed_order": ("a real key plus a point of order 8", mixed),
        "not_reduced": ("the identity spelled as p + 1", bytes.fromhex("ee" + "ff" * 30 + "7f")),
        "not_on_curve": ("no point at all", b"\x02" + bytes(31)),
        "ones": ("all ones", b"\xff" * 32),
    }
    made = {}
    for name, (text, raw) in points.items():
        keys = [{"public_key": raw.hex(), "proof": ("01" + "00" * 63)}]
        made[f"unsafe_key_{name}"] = _bad(Refusal.KEY_UNSAFE, text, {"keys": keys})
    second = [node_key("node-1"), {"public_key": "00" * 32, "proof": "00" * 64}]
    return made | {"unsafe_key_second": _bad(Refusal.KEY_UNSAFE, "the second of two keys", {"keys": second})}


def _unproven() -> dict[str, Case]:
    def proven(
        by: str = "node-1", node: str = "node-1", network: str = NETWORK, kind: str = events.POSSESSION_V1
    ) -> list[dict[str, str]]:
        claim = events.possession_payload(network, node, bytes(key("node-1").verify_key))
        message = pae(kind, claim) if kind else claim
        return [{"public_key": public("node-1"), "proof": key(by).sign(message).signature.hex()}]

    keys = {
        "other_key": ("by another key", proven(by="node-54")),
        "other_node": ("for another node id", proven(node="node-54")),
        "other_network": ("for another network", proven(network="mainnet")),
        "other_type": ("under another payload type", proven(kind=events.HEARTBEAT_V1)),
        "without_pae": ("over the claim without PAE", proven(kind="")),
        "zero": ("zeros", [{"public_key": public("node-1"), "proof": "00" * 64}]),
        "one_of_two": ("one key of two", [*proven(), {"public_key": public("node-1-next"), "proof": proven()[0]["proof"]}]),
    }
    made = {
        f"possession_{name}": _bad(Refusal.POSSESSION_UNPROVEN, f"proof of possession: {text}", {"keys": entries})
        for name, (text, entries) in keys.items()
    }
    taken = [node_key("node-54")]
    return made | {
        "possession_key_of_other_node": _bad(
            Refusal.POSSESSION_UNPROVEN,
            "another node's key and proof",
            {"keys": taken},
            state=(past(REG, node_id="node-54", keys=taken),),
        ),
    }
