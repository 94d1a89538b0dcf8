"""Whether an archive is what was exported: every file, every record, every column, and who vouches for the manifest.

What is found depends on what a tamperer could rewrite:

* files only, or records and their hashes, the manifest left alone: everything; with the record's coordinates unless its
  file does not parse, or its own `record_sha256` was made to fit (then the file is named that holds it);
* the manifest as well, consistently: everything, if the manifest is signed and `signer` is given;
* the same without a signature: what is signed or folded in itself. `audit verify` sees whatever the chain folded or holds,
  this module a routing decision or a dead letter that was changed. Not seen: a log cut short at its end (the last routing
  decisions, dead letters, inputs that no epoch had folded yet, whole epochs), and dead letters left out.

Judges the archive, not the network: whether its epochs are right is `audit verify`'s. Findings show no content that is not
public; where such content differs they show hashes.
"""

from collections.abc import Iterator
from pathlib import Path

from b3iq_schemas import envelope, topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.archive.finding import Finding
from b3iq_streams.audit.archive.inspection_chain import ChainCheck
from b3iq_streams.audit.archive.inspection_contents import DecisionCheck, LetterCheck
from b3iq_streams.audit.archive.inspection_rows import Content, check_file
from b3iq_streams.audit.archive.manifest import MANIFEST, SIGNATURE, File, Log, columns_path, signed_by
from b3iq_streams.audit.archive.origin import ArchiveOrigin, ArchiveSource
from b3iq_streams.audit.archive.writer import file_sha256
from b3iq_streams.audit.source import AUDITED
from b3iq_streams.core.admit import Verify
from b3iq_streams.kafka.connection import Place

__all__ = ["Finding", "check", "check_manifest", "check_partition"]


def check(
    origin: ArchiveOrigin, trust: RootTrust, partition: int | None = None, signer: bytes | None = None,
    verify: Verify = envelope.verify,
) -> Iterator[Finding]:  # fmt: skip
    """What is wrong with one partition number, of every topic; with None: with the manifest and all of them.

    `signer` = the raw public key that must have signed the manifest. Raises nothing for what it finds, however broken.
    """
    if partition is not None:
        yield from check_partition(origin, trust, partition, verify)
        return
    yield from check_manifest(origin, trust, signer)
    for number in partition_numbers(origin):
        yield from check_partition(origin, trust, number, verify)


def partition_numbers(origin: ArchiveOrigin) -> range:
    """Every partition number that any topic has: the chain has `origin.partitions`, routing decisions may have more."""
    return range(max([origin.partitions, *(place.partition + 1 for place in origin.bounds)]))


def check_partition(
    origin: ArchiveOrigin, trust: RootTrust, partition: int, verify: Verify = envelope.verify
) -> Iterator[Finding]:
    """What is wrong with the files of one partition number, and with the records in them."""
    source, files = ArchiveSource(origin.directory, origin.manifest), origin.manifest.by_place
    for topic in sorted(AUDITED):
        place = Place(topic, partition)
        if place not in origin.bounds:
            continue
        chain = ChainCheck(origin, source, trust, partition, verify) if topic == topics.ELIGIBILITY_CHANGES else None
        content: Content | None = None
        if topic == topics.DEAD_LETTERS:
            content = LetterCheck(origin, source)
        elif topic == topics.ROUTING_DECISIONS:
            content = DecisionCheck(origin, source, trust, verify)
        for file in files[place]:
            yield from check_file(origin.directory, file, chain, content)
        if chain is not None:
            yield from chain.finish()


def check_manifest(origin: ArchiveOrigin, trust: RootTrust, signer: bytes | None = None) -> Iterator[Finding]:
    """What is wrong with the manifest: its signature, what it says of itself, files that it does not name."""
    manifest, files = origin.manifest, origin.manifest.by_place
    yield from _signature(origin, signer)
    for name in ("network", "generation"):
        if (held := getattr(manifest, name)) != (trusted := getattr(trust, name)):
            yield _of_manifest(f"{name} is not the one that is trusted", str(held), str(trusted))
    for topic in AUDITED:
        for partition in range(origin.partitions if topic in (topics.ELIGIBILITY_CHANGES, *topics.INPUTS) else 0):
            if Place(topic, partition) not in origin.bounds:
                yield Finding(topic, partition, None, "partition is not in the manifest", "", "")
    for log in manifest.logs:
        yield from _log(log, files[log.place])
    for place in sorted(files.keys() - origin.bounds.keys()):
        yield Finding(*place, None, "files of a partition that the manifest does not list", "", "")
    times = [(file.oldest_ms, file.newest_ms) for file in manifest.files]
    oldest_ms, newest_ms = min((low for low, _ in times), default=None), max((high for _, high in times), default=None)
    if (manifest.oldest_ms, manifest.newest_ms) != (oldest_ms, newest_ms):
        yield _of_manifest("range of log times", f"{manifest.oldest_ms} to {manifest.newest_ms}", f"{oldest_ms} to {newest_ms}")
    yield from _columns(origin)
    yield from _unnamed(origin)


def _of_manifest(what: str, recorded: str, found: str) -> Finding:
    return Finding(MANIFEST, None, None, what, recorded, found)


def _signature(origin: ArchiveOrigin, signer: bytes | None) -> Iterator[Finding]:
    if signer is None:
        return
    try:
        raw = (origin.directory / SIGNATURE).read_bytes()
    except OSError:
        yield _of_manifest("signature is missing", SIGNATURE, "")
        return
    payload = signed_by(raw, signer)
    if payload is None:
        yield _of_manifest("signature is not this key's", envelope.keyid(signer), "")
    elif payload != origin.manifest.raw:
        yield _of_manifest("signature is of another manifest", "", "")


def _log(log: Log, files: tuple[File, ...]) -> Iterator[Finding]:
    """A partition's files must follow each other from its beginning to its end."""
    expected = log.start
    for file in files:
        if file.first != expected:
            yield Finding(*log.place, expected, "files do not follow each other", str(file.first), str(expected))
        if file.records != file.next - file.first:
            yield Finding(
                *log.place, file.first, "number of records in the manifest", str(file.records), str(file.next - file.first)
            )
        expected = file.next
    if log.next != expected:
        yield Finding(*log.place, expected, "end of the partition in the manifest", str(log.next), str(expected))


def _columns(origin: ArchiveOrigin) -> Iterator[Finding]:
    for topic in sorted(AUDITED):
        path, recorded = columns_path(topic), origin.manifest.columns.get(topic, "")
        if not (origin.directory / path).is_file():
            yield Finding(topic, None, None, "file is missing", str(path), "")
        elif (found := file_sha256(origin.directory / path)) != recorded:
            yield Finding(topic, None, None, "SHA-256 of the empty file", recorded, found)


def _unnamed(origin: ArchiveOrigin) -> Iterator[Finding]:
    """Files that the manifest does not name: SQL would read them."""
    named = {Path(MANIFEST), Path(SIGNATURE), *map(columns_path, AUDITED), *(file.path for file in origin.manifest.files)}
    for path in sorted(origin.directory.rglob("*")):
        relative = path.relative_to(origin.directory)
        if relative not in named and (path.is_symlink() or not path.is_dir()):
            yield Finding(MANIFEST, None, None, "file is not in the manifest", "", str(relative))
