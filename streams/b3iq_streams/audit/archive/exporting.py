"""Export: an origin's records into an archive, again and again, so that the archive outgrows what Kafka keeps.

Files are only ever added; what they hold counts once the manifest, replaced last, names them. What a crash left behind is
removed by the next export. Does not judge what it writes, but for one thing: which rows of the chain count.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from nacl.signing import SigningKey

from b3iq_schemas import envelope
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import parallel
from b3iq_streams.audit.archive import manifest as manifests
from b3iq_streams.audit.archive.append import Appended, Task, append, span
from b3iq_streams.audit.archive.disk import UNFINISHED, make_folder, sole_writer
from b3iq_streams.audit.archive.manifest import MANIFEST, Manifest
from b3iq_streams.audit.archive.origin import ArchiveOrigin
from b3iq_streams.audit.archive.writer import Sizes, write_columns
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import AUDITED, Origin
from b3iq_streams.core.admit import Verify
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place

_DATA = re.compile(r"(\d{20})\.parquet(" + re.escape(UNFINISHED) + ")?")


class ArchiveGap(EvidenceExpired):
    """Records between the archive's end and the log's beginning are gone; the archive cannot be continued."""

    def __init__(self, place: Place, first: int, last: int) -> None:
        Exception.__init__(
            self,
            f"evidence expired: {place.topic}/{place.partition}: offsets {first} to {last} are neither in the archive nor in "
            "the log any more; export into another directory to go on",
        )
        self.earliest_ms = None
        self.place, self.first, self.last = place, first, last


class Exported(NamedTuple):
    """The archive before and after. `waiting` = records of each partition's chain left for the next export."""

    before: Manifest
    after: Manifest
    waiting: Mapping[int, int]

    @property
    def new_records(self) -> int:
        """How many were added."""
        return sum(log.next - log.start for log in self.after.logs) - sum(log.next - log.start for log in self.before.logs)


def export(
    origin: Origin, trust: RootTrust, directory: Path, key: SigningKey | None = None, processes: int | None = None,
    show: Callable[[int, int], None] = lambda partition, records: None, verify: Verify = envelope.verify,
    sizes: Sizes = Sizes(),  # noqa: B008 (a frozen value)
) -> Exported:  # fmt: skip
    """Bring the archive in `directory` up to what `origin` has; make it if there is none.

    Raises ArchiveGap when records are missing in between, UserError when the archive is of another network, log or key.
    """
    try:
        make_folder(directory)
        with sole_writer(directory):
            before = _begin(origin, trust, directory, key)
            task = Task(origin, trust, ArchiveOrigin(directory, before), sizes, verify)
            _check(task)
            _sweep(task.archive)
            numbers = range(1 + max(place.partition for place in origin.bounds))
            parts = parallel.run(append, numbers, (task,), processes, show)
            after = _merged(before, parts, directory)
            if after != before or key is not None:
                manifests.save(directory, after, key)
            return Exported(before, after, {number: part.waiting for number, part in enumerate(parts) if part.waiting})
    except OSError as error:
        raise UserError(f"{error.filename or directory}: {error.strerror}") from None


def _begin(origin: Origin, trust: RootTrust, directory: Path, key: SigningKey | None) -> Manifest:
    """The manifest as it stands; a new archive gets one that names nothing before it gets anything else, so that files
    without a manifest are never mistaken for leftovers."""
    fresh = Manifest(
        network=trust.network, generation=trust.generation, partitions=origin.partitions, stamped=origin.stamped
    )  # fmt: skip
    if not (directory / MANIFEST).exists():
        if any(found.suffix != UNFINISHED for found in directory.iterdir()):
            raise UserError(f"{directory} is not empty and has no {MANIFEST}: give an archive or an empty directory")
        manifests.save(directory, fresh, None)
        return fresh
    found = manifests.recovered(directory, manifests.load(directory), key)
    for name in ("network", "generation", "partitions", "stamped"):
        held, given = getattr(found, name), getattr(fresh, name)
        if held != given:
            raise UserError(f"{directory} is an archive of another network: its {name} is {held}, not {given}")
    return found


def _check(task: Task) -> None:
    """The log must go on where the archive ends."""
    bounds = task.origin.bounds
    for place in sorted(bounds):
        found = span(task, place)
        if bounds[place].start > found.first:
            raise ArchiveGap(place, found.first, bounds[place].start - 1)
        if found.end < found.first:
            raise UserError(
                f"{place.topic}/{place.partition} ends at offset {found.end}, the archive at {found.first}: this is another log"
            )
    if gone := sorted(task.archive.bounds.keys() - bounds.keys()):
        raise UserError(f"{gone[0].topic}/{gone[0].partition} is in the archive but not in the log: this is another log")


def _sweep(archive: ArchiveOrigin) -> None:
    """Remove what a crashed export left: unfinished files, and files beyond what the manifest holds of their partition."""
    for topic in sorted(AUDITED):
        for path in sorted((archive.directory / topic).glob("p*/*")):
            partition = path.parent.name[1:]
            named = _DATA.fullmatch(path.name)
            if named is None or not partition.isdecimal():
                continue
            known = archive.bounds.get(Place(topic, int(partition)))
            if named[2] or known is None or int(named[1]) >= known.end:
                path.unlink()


def _merged(before: Manifest, parts: list[Appended], directory: Path) -> Manifest:
    logs = tuple(sorted((log for part in parts for log in part.logs), key=lambda log: log.place))
    added = [file for part in parts for file in part.files]
    files = tuple(sorted((*before.files, *added), key=lambda file: (file.place, file.first)))
    chains = tuple(part.chain for part in parts if part.chain is not None)
    columns = dict(before.columns) | {topic: write_columns(directory, topic) for topic in AUDITED if topic not in before.columns}
    return before.model_copy(
        update={
            "logs": logs, "files": files, "chains": chains, "columns": dict(sorted(columns.items())),
            "oldest_ms": min((file.oldest_ms for file in files), default=None),
            "newest_ms": max((file.newest_ms for file in files), default=None),
        }
    )  # fmt: skip
