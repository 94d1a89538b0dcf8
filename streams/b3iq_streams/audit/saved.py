"""A fold put aside and taken up again: one file per partition, whole or not there at all.

It is the auditor's own note to himself, with a checksum against accidents; it proves nothing to anybody else.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from b3iq_streams.cli_options import write
from b3iq_streams.core import codec
from b3iq_streams.core.chain import Anchor, Head
from b3iq_streams.core.held import Held, Holding
from b3iq_streams.core.refold import Refolding
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import FOLD
from b3iq_streams.errors import UserError

FORMAT = 1


class Saved(NamedTuple):
    """What a file holds: the head it stands on, how to go on from there, and what its owner wanted to keep beside it."""

    head: Head
    nodes: dict[str, bytes]
    rules: bytes | None
    held: Held
    partial: tuple[bool, list[str], int]
    notes: dict[str, Any]

    def restore(self, refolding: Refolding) -> None:
        """Put a refolding where this one stood."""
        state = PartitionState()
        rules = codec.decode_rules(self.rules) if self.rules else None
        state.restore(self.nodes, rules, self.head.resolved_at_ms)
        refolding.resume(self.head, state, self.held)
        refolding.partial, refolding.unproven, refolding.flips_known_ms = self.partial[0], set(self.partial[1]), self.partial[2]


def save(path: Path, refolding: Refolding, identity: str, notes: dict[str, Any]) -> None:
    """Write a refolding to a file, in one step. `identity` says what it is a fold of."""
    state, held = refolding.state, refolding.held
    header = {
        "format": FORMAT, "fold": FOLD, "identity": identity, "head": _head(refolding.head),
        "rules": codec.encode_rules(state.rules).decode() if state.rules else None,
        "anchor": list(held.anchor), "recent": [list(anchor) for anchor in held.recent],
        "keys": {key: [h.epoch, h.eligible, h.content.hex()] for key, h in held.keys.items()},
        "partial": [refolding.partial, sorted(refolding.unproven), refolding.flips_known_ms], "notes": notes,
    }  # fmt: skip
    lines = [orjson.dumps(header)]
    lines += [node_id.encode() + b" " + codec.encode_node(state.nodes[node_id]) for node_id in sorted(state.nodes)]
    body = b"\n".join(lines)
    write(path, sha256(body).hexdigest().encode() + b"\n" + body)


def load(path: Path, identity: str) -> Saved | None:
    """What a file holds; None if there is none. Raises UserError if it is damaged, or of something else."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    digest, _, body = raw.partition(b"\n")
    if sha256(body).hexdigest().encode() != digest:
        raise UserError(f"{path} is damaged: remove it to begin anew")
    first, *rest = body.split(b"\n")
    header = orjson.loads(first)
    if (header["format"], header["fold"]) != (FORMAT, FOLD):
        raise UserError(f"{path} was saved by another version: remove it to begin anew")
    if header["identity"] != identity:
        raise UserError(f"{path} was saved from another log or for another range: give another directory")
    return _read(header, rest)


def _read(header: dict[str, Any], rest: list[bytes]) -> Saved:
    head = _read_head(header["head"])
    held = Held(head)
    held.anchor = Anchor(*header["anchor"])
    held.recent.clear()
    held.recent.extend(Anchor(*row) for row in header["recent"])
    held.keys = {key: Holding(row[0], row[1], bytes.fromhex(row[2])) for key, row in header["keys"].items()}
    nodes = {node_id.decode(): raw for node_id, _, raw in (line.partition(b" ") for line in rest)}
    rules = header["rules"]
    partial, unproven, flips_known_ms = header["partial"]
    return Saved(head, nodes, rules.encode() if rules else None, held, (partial, unproven, flips_known_ms), header["notes"])


def _head(head: Head) -> list[Any]:
    return [*head[:5], dict(head.cut), list(head.anchor), *head[7:]]


def _read_head(row: list[Any]) -> Head:
    offset, epoch, digest, resolved_at_ms, revision, cut, anchor, logged_at_ms, keyid = row
    return Head(offset, epoch, digest, resolved_at_ms, revision, cut, Anchor(*anchor), logged_at_ms, keyid)
