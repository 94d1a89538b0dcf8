"""The manifest of an archive: what it holds, file by file, with digests; signed if its exporter has a key.

Deterministic: the same log gives the same bytes, so it carries no clock, no names of machines and no paths (the place and
the first offset of a file say where it lies). Does not read the files it speaks of.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import orjson
from nacl.signing import SigningKey
from pydantic import Field, ValidationError, model_validator

from b3iq_schemas import envelope
from b3iq_schemas.ids import Contract, Count, NetworkId, Positive, Sha256Hex
from b3iq_streams.audit.archive.disk import replace
from b3iq_streams.audit.source import AUDITED, Bounds
from b3iq_streams.cli_options import read
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.kafka.connection import Place

MANIFEST_V1 = "application/vnd.b3iq.archive-manifest.v1+json"
MANIFEST, SIGNATURE = "manifest.json", "manifest.dsse"
Stamp = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""A record's own time in milliseconds: whatever the log says."""
PARTITIONS_MAX = 100_000
Partition = Annotated[int, Field(ge=0, lt=PARTITIONS_MAX)]
Topic = Annotated[str, Field(pattern=f"^({'|'.join(map(re.escape, AUDITED))})$")]


class File(Contract):
    """One file: records `first` ≤ offset < `next` of one partition. `records_sha256` is over their `record_sha256` in order."""

    topic: Topic
    partition: Partition
    first: Count
    next: Count
    records: Positive
    oldest_ms: Stamp
    newest_ms: Stamp
    sha256: Sha256Hex
    records_sha256: Sha256Hex

    @property
    def place(self) -> Place:
        """The partition it is of."""
        return Place(self.topic, self.partition)

    @property
    def path(self) -> Path:
        """Where it lies, from the archive's directory."""
        return file_path(self.place, self.first)


class Log(Contract):
    """What there is of one partition: the first offset, and the next one to be added."""

    topic: Topic
    partition: Partition
    start: Count
    next: Count

    @property
    def place(self) -> Place:
        """The partition it is of."""
        return Place(self.topic, self.partition)


class Mark(Contract):
    """An accepted epoch by its mark. Offset -1, epoch 0 = the beginning."""

    offset: Annotated[int, Field(ge=-1, le=2**53 - 1)]
    epoch: Count
    digest: Sha256Hex


class Chain(Contract):
    """A partition's chain: it is known which records count after `since`, up to `head`, the last accepted epoch."""

    partition: Partition
    since: Mark
    head: Mark
    resolved_at_ms: Count


class Manifest(Contract):
    """What an archive holds. `logs`, `files` and `chains` are sorted by topic, partition, offset.

    A chain is missing while nothing is known of it: its log began late and no usable anchor has come yet.
    """

    version: Literal[1] = 1
    network: NetworkId
    generation: Count
    partitions: Annotated[int, Field(ge=1, le=PARTITIONS_MAX)]
    stamped: bool
    oldest_ms: Stamp | None = None
    newest_ms: Stamp | None = None
    columns: dict[Topic, Sha256Hex] = Field(default_factory=dict)
    """SHA-256 of each topic's empty file, which holds its columns."""
    logs: tuple[Log, ...] = ()
    files: tuple[File, ...] = ()
    chains: tuple[Chain, ...] = ()

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        logs = [(log.topic, log.partition, 0) for log in self.logs]
        files = [(file.topic, file.partition, file.first) for file in self.files]
        chains = [("", chain.partition, 0) for chain in self.chains]
        if any(found != sorted(set(found)) for found in (logs, files, chains)):
            raise ValueError("entries are not sorted, or stand there twice")
        return self

    @property
    def raw(self) -> bytes:
        """The exact bytes of the file: canonical JSON with sorted names."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @property
    def bounds(self) -> dict[Place, Bounds]:
        """What there is of each partition."""
        return {log.place: Bounds(log.start, log.next) for log in self.logs}

    @property
    def by_place(self) -> dict[Place, tuple[File, ...]]:
        """The files of each partition, in order."""
        found: dict[Place, list[File]] = {log.place: [] for log in self.logs}
        for file in self.files:
            found.setdefault(file.place, []).append(file)
        return {place: tuple(files) for place, files in found.items()}

    def chain(self, partition: int) -> Chain | None:
        """What is known of a partition's chain."""
        return next((chain for chain in self.chains if chain.partition == partition), None)


def folder(place: Place) -> Path:
    """Where the files of a partition lie, from the archive's directory."""
    return Path(place.topic) / f"p{place.partition:05d}"


def file_path(place: Place, first: int) -> Path:
    """Where the file of a partition that begins at an offset lies, from the archive's directory."""
    return folder(place) / f"{first:020d}.parquet"


def columns_path(topic: str) -> Path:
    """Where a topic's empty file lies: it makes a topic without records readable for whoever queries it."""
    return Path(topic) / "columns.parquet"


def parse(raw: bytes, what: object) -> Manifest:
    """The manifest in the exact bytes of one. Raises UserError, naming `what` was read."""
    try:
        found = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{what} is not the manifest of an archive: {first_problem(error)}") from None
    if found.raw != raw:
        raise UserError(f"{what} is not the manifest of an archive: not canonical JSON with sorted names")
    return found


def load(directory: Path) -> Manifest:
    """The manifest of an archive. Raises UserError when there is none."""
    return parse(read(directory / MANIFEST, "archive"), directory / MANIFEST)


def save(directory: Path, manifest: Manifest, key: SigningKey | None) -> None:
    """Replace the manifest and, with a key, its signature; each in one step, the signature first.

    After a crash in between the signed one is the newer one, and says all that is needed to go on (`recovered`).
    """
    if key is not None:
        replace(directory / SIGNATURE, envelope.sign(MANIFEST_V1, manifest.raw, [key]))
    replace(directory / MANIFEST, manifest.raw)


def signed_by(raw: bytes, public_key: bytes) -> bytes | None:
    """The manifest's bytes that the key signed in an envelope; None unless it is one by that key."""
    try:
        sealed = envelope.parse(raw)
    except envelope.EnvelopeError:
        return None
    if sealed.payload_type != MANIFEST_V1:
        return None
    signatures = [signature.sig for signature in sealed.signatures if signature.keyid == envelope.keyid(public_key)]
    return sealed.payload if any(envelope.verify(public_key, sealed.signed_bytes, sig) for sig in signatures) else None


def recovered(directory: Path, manifest: Manifest, key: SigningKey | None) -> Manifest:
    """The manifest to go on from, which a new signature would vouch for: never one that the old signature does not cover.

    Raises UserError for an archive that is signed if there is no key, another key, or the signature is of another manifest.
    """
    try:
        raw = (directory / SIGNATURE).read_bytes()
    except FileNotFoundError:
        return manifest
    if key is None:
        raise UserError(f"{directory} is signed: give --key, or its signature would be of an older state")
    payload = signed_by(raw, bytes(key.verify_key))
    if payload is None:
        raise UserError(f"{directory / SIGNATURE} is not signed by this key; nothing was written")
    if payload == manifest.raw:
        return manifest
    newer = parse(payload, directory / SIGNATURE)
    if not set(manifest.files) <= set(newer.files):
        raise UserError(f"{directory / MANIFEST} is not the one that was signed; nothing was written (see `audit verify`)")
    return newer
