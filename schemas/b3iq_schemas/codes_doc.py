"""Pages drawn from the contract's tables: `python -m b3iq_schemas.codes_doc > docs/codes.md`, `… topics > docs/topics.md`."""

import sys
from collections.abc import Iterable

from b3iq_schemas.codes import LEAVES, NETWORK_CODES, REFUSAL_MEANING, ROUTE_REFUSAL_MEANING, Gate, Refusal
from b3iq_schemas.topics import DAY_MS, FOREVER_MS, TOPICS, Topic

_CODES = """# Codes

Every code the product speaks; drawn from `b3iq_schemas/codes.py`. A code is never renamed and never reused.
Those marked * are the network's own, letter for letter.

## Why a profile is not eligible

All failing checks are named, in this order. *fail*: the check says no. *unknown*: it cannot tell, which never grants.
"""
_REFUSALS = """## Why a record is refused

In the order of the checks: the first that fails names the record's dead letter. `schemas/vectors/` shows each of them.
"""
_ROUTES = """## Why the router says no

First the view, then supply, then the caller; clients branch on the code.
"""
_TOPICS = """# Topics

Drawn from `b3iq_schemas/topics.py`; inputs stand in the order in which an epoch folds them.
Every topic has the network's P partitions, LogAppendTime, and values that the broker keeps as they were sent (`uncompressed`).
Records keyed by `node_id` are on the partition that Kafka's default partitioner (murmur2) finds; each policy revision is on all.
"""


def codes_page() -> str:
    """`docs/codes.md`: why a profile is not eligible, why a record is refused, why the router says no."""
    return "\n".join((_CODES, *(_gate(gate) for gate in Gate), _REFUSALS, _refusals(), _ROUTES, _routes())).rstrip() + "\n"


def topics_page() -> str:
    """`docs/topics.md`: every topic with its key, signer, payload type and settings."""
    rows = (
        (
            f"`{topic.name}`",
            topic.purpose,
            topic.key,
            topic.role or "–",
            f"`{topic.payload_type}`" if topic.payload_type else "–",
            _kept(topic),
            f"{topic.message_bytes_max // 1024} KiB",
            topic.writer,
            ", ".join(topic.readers),
        )
        for topic in TOPICS.values()
    )
    head = ("topic", "what for", "key", "signed by", "payload type", "kept", "largest value", "written by", "read by")
    return _TOPICS + "\n" + _table(head, rows)


def _gate(gate: Gate) -> str:
    rows = (
        (_code(leaf.code), leaf.state.value, leaf.condition, leaf.next_action, f"`{leaf.source}`" if leaf.source else "–")
        for leaf in LEAVES.values()
        if leaf.gate is gate
    )
    return f"### Gate `{gate.value}`\n\n" + _table(("code", "state", "when", "what to do", "evidence"), rows)


def _refusals() -> str:
    return _table(("code", "when"), ((_code(code.value), REFUSAL_MEANING[code]) for code in Refusal))


def _routes() -> str:
    rows = ((_code(code.value), str(status), meaning) for code, (status, meaning) in ROUTE_REFUSAL_MEANING.items())
    return _table(("code", "HTTP", "when"), rows)


def _code(code: str) -> str:
    return f"`{code}`" + (" *" if code in NETWORK_CODES else "")


def _kept(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "the last value of each key"
    return "for ever" if topic.retention_ms == FOREVER_MS else f"{topic.retention_ms // DAY_MS} days"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(topics_page() if sys.argv[1:] == ["topics"] else codes_page())
