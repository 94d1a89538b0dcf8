"""The form of a bundle: what is on record about one node in a range of time, in one JSON file that proves itself.

`prove.py` fills it from a log, `bundle_check.py` checks it with nothing but the roots. This module knows how it is written,
and judges nothing. One canonical line of JSON, so that one content has one spelling.

| part | what |
|---|---|
| (head) | format, network, generation, partition of how many, node, range asked for, whether it is public |
| `policies` | every revision in force up to the end of the range, as the roots signed it |
| `start` | the last epoch before the range, the node's state after it, the records that state rests on; null: from genesis |
| `epochs` | marks of the range in order. `changes` = the exact values of the epoch, null where they are not shown |
| `records` | the node's own input records that these epochs folded, by topic in fold order, then offset |
| `routing` | how often routers considered the node; counts only |
| `summary` | what the decisions say, per profile and in words |
| `digests`, `sha256` | of each part, and of everything before it: they show what was altered, and prove nothing else |

Public unless `operator` is set. A hold carries a reason and an actor, so a public bundle has only its coordinates, log time,
payload hash, key id, and whether it holds (`withheld`). A record that was refused before its signature and its schema had been
checked can carry anything, so a public bundle has its code and hash (`refused`); and of a record that carries more than the
payload and the signatures that count, only those. A mark's hash covers all changes of its epoch, so an epoch that says
something about the node is shown with the decisions on other nodes in it: their exact values, which every router reads, and
nothing more about them.
"""

from typing import Annotated, Any, Literal

import pybase64
from pydantic import AfterValidator, Field, ValidationError

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.ids import Contract, Count, NetworkId, NodeId, Positive, Sha256Hex, TimeMs, Token
from b3iq_streams.audit.bundle.parts import Routing, Summary
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError, first_problem

FORMAT: Literal["b3iq-bundle/1"] = "b3iq-bundle/1"
BUNDLE_BYTES_MAX = 256 * 1024 * 1024


def encode(raw: bytes) -> str:
    """Standard base64, padded."""
    return pybase64.b64encode_as_string(raw)


def decode(text: str) -> bytes:
    """The bytes; raises ValueError unless `text` is what `encode` would write for them."""
    raw = pybase64.b64decode(text, validate=True)
    if encode(raw) != text:
        raise ValueError("base64 with bits left over")
    return raw


def _base64(text: str) -> str:
    try:
        decode(text)
    except ValueError:
        raise ValueError("not standard base64") from None
    return text


Base64 = Annotated[str, AfterValidator(_base64)]
InputTopic = Annotated[str, Field(pattern=f"^({'|'.join(topics.INPUTS)})$")]


class Logged(Contract):
    """Where a record stands and when the broker logged it."""

    partition: Count
    offset: Count
    logged_at_ms: TimeMs


class Fact(Logged):
    """A record as it was logged. `refused` = the code with which it was not admitted; null: it was."""

    kind: Literal["fact"]
    topic: InputTopic
    key: Base64
    value: Base64
    refused: Token | None = None

    @property
    def record(self) -> Record:
        """As it was fetched."""
        return Record(self.topic, self.partition, self.offset, decode(self.key), decode(self.value), self.logged_at_ms)


class Withheld(Logged):
    """An admitted hold without its reason and actor; `held` is claimed, nothing here shows it."""

    kind: Literal["withheld"]
    topic: Literal["holds"]
    held: bool
    payload_sha256: Sha256Hex
    keyid: Sha256Hex


class Unshown(Logged):
    """A refused record without its content; the code is claimed."""

    kind: Literal["refused"]
    topic: InputTopic
    refused: Token
    value_sha256: Sha256Hex


Entry = Annotated[Fact | Withheld | Unshown, Field(discriminator="kind")]


class MarkEntry(Logged):
    """A mark as it was logged."""

    value: Base64


class EpochEntry(Contract):
    """An accepted epoch; `changes` = all its change values in order, null where they are not shown."""

    mark: MarkEntry
    changes: tuple[Base64, ...] | None


class Start(Contract):
    """Where the range begins: an epoch, the encoded state of the node after it, and the records that the state names."""

    mark: MarkEntry
    state: Base64
    records: tuple[Entry, ...]


class Range(Contract):
    """What was asked for: epochs resolved from `from_ms` to `to_ms`, both inclusive."""

    from_ms: TimeMs
    to_ms: TimeMs


class Content(Contract):
    """Everything but the digests."""

    format: Literal["b3iq-bundle/1"]
    network: NetworkId
    generation: Count
    partition: Count
    partitions: Positive
    stamped: bool
    """Whether the broker stamps records; False: log times are the senders'."""
    operator: bool
    node_id: NodeId
    range: Range
    policies: tuple[Fact, ...]
    start: Start | None
    epochs: Annotated[tuple[EpochEntry, ...], Field(min_length=1)]
    records: tuple[Entry, ...]
    routing: Routing
    summary: Summary


class Digests(Contract):
    """SHA-256 of the canonical JSON of each part."""

    policies: Sha256Hex
    start: Sha256Hex
    epochs: Sha256Hex
    records: Sha256Hex
    routing: Sha256Hex
    summary: Sha256Hex


class Bundle(Content):
    """A whole bundle; `sha256` is of the canonical JSON of everything before it."""

    digests: Digests
    sha256: Sha256Hex


PARTS = tuple(Digests.model_fields)


def digested(content: Content) -> dict[str, Any]:
    """The content as plain data, in the file's order, with the digests that belong to it."""
    plain: dict[str, Any] = content.model_dump(mode="json", exclude={"digests", "sha256"})
    plain["digests"] = {part: sha256_hex(canonical(plain[part])) for part in PARTS}
    plain["sha256"] = sha256_hex(canonical(plain))
    return plain


def seal(content: Content) -> bytes:
    """The file: canonical JSON and a newline, digests added."""
    return canonical(digested(content)) + b"\n"


def load(raw: bytes) -> Bundle:
    """The bundle in a file. Raises UserError for anything that `seal` could not have written (but for its digests)."""
    if len(raw) > BUNDLE_BYTES_MAX:
        raise UserError(f"not a bundle: larger than {BUNDLE_BYTES_MAX >> 20} MiB")
    try:
        bundle = Bundle.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"not a bundle: {first_problem(error)}") from None
    if canonical(bundle) + b"\n" != raw:
        raise UserError("not a bundle: not written as one (canonical JSON, members in their order, one newline)")
    return bundle
