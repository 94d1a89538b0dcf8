"""Checks a bundle with nothing but the trust file: no Kafka, no archive, no clock.

Shown by a bundle that verifies: the roots signed its policies; their roles, and keys that the node proved to have, signed its
facts; processors of those policies signed its marks, which cover the decisions; the state it begins with is what its records
say; and the fold of the node alone, over these records at these cuts and moments, gives every decision on the node that the
bundle holds, byte for byte, and no other. The summary is what the decisions say.

Not shown, and said with every answer (`unshown`): that nothing else is on record. Offsets and log times are not signed by
whoever gave them; a record that is left out is missed only if a decision would have been another one without it. Where every
mark links to the one before it, no epoch is left out; but an epoch whose changes are not shown may have said something about
the node that the fold does not give. A mark that lost its race looks like one that counts until another one links to it.
"""

from typing import NamedTuple

from b3iq_schemas import envelope
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.bundle.chain import Frame, Mismatch, check_frame
from b3iq_streams.audit.bundle.contents import Bundle, Fact, Unshown, Withheld, digested, load
from b3iq_streams.audit.bundle.fold import Refold
from b3iq_streams.audit.bundle.start import opening_state
from b3iq_streams.audit.bundle.summary import Decided, standing, summarise
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.chain import ChainId
from b3iq_streams.errors import UserError

UNSHOWN = {
    "other_records": "that the node has no other records: one that is left out is missed only if a decision shows it",
    "coordinates": "offsets and log times, beyond those that a signed mark or decision names",
    "history": "what came before the range: since when a check failed, when that was decided, flips that held nothing down",
    "last_epochs": "that the last epoch counts: a mark that lost its race looks the same until another one extends it",
    "routing": "the counts of routing decisions",
    "gaps": "the epochs that are left out: that they said nothing about the node",
    "changes": "the changes of epochs in which the fold of these records gives no decision on the node",
    "holds": "holds, whose content is withheld: not checked, held or not is taken as claimed",
    "refused": "refused records that are not public: their codes are taken as claimed",
    "unstamped": "log times: this broker does not stamp records, so they are the senders'",
}
"""What a bundle cannot prove; the first five of any, the others where they apply."""
_ALWAYS = ("other_records", "coordinates", "history", "last_epochs", "routing")


class Result(NamedTuple):
    """What was found. `counts` = what was checked, `unshown` = what is not proven and how much of it (0: not counted)."""

    bundle: Bundle
    mismatch: Mismatch | None
    altered: bool
    counts: dict[str, int]
    unshown: dict[str, int]

    @property
    def verified(self) -> bool:
        """Whether nothing differs."""
        return self.mismatch is None


def check(raw: bytes, trust: RootTrust, verify: Verify = envelope.verify) -> Result:
    """Check the bundle in a file. Raises UserError if it is none, or of another network than the trust is for."""
    bundle = load(raw)
    if (bundle.network, bundle.generation) != (trust.network, trust.generation):
        raise UserError(
            f"the bundle is of network {bundle.network}, generation {bundle.generation}; "
            f"the trust file is for {trust.network}, generation {trust.generation}"
        )
    altered = digested(bundle)["sha256"] != bundle.sha256
    try:
        counts, unshown = _check(bundle, trust, verify)
    except Mismatch as mismatch:
        return Result(bundle, mismatch, altered, {}, {})
    return Result(bundle, None, altered, counts, unshown)


def _check(bundle: Bundle, trust: RootTrust, verify: Verify) -> tuple[dict[str, int], dict[str, int]]:
    partition = partition_for(bundle.node_id.encode(), bundle.partitions)
    if bundle.partition != partition:
        raise Mismatch("head", "partition", f"of {bundle.node_id}", bundle.partition, partition)
    _check_openness(bundle)
    chain = ChainId(trust, partition, bundle.partitions, trust.skew_ms)
    scope = Scope(trust, partition, bundle.partitions)
    frame = check_frame(bundle, chain, scope, verify)
    state = opening_state(bundle, frame, scope, verify)
    opening = standing(state.nodes.get(bundle.node_id))
    refold = Refold(bundle, frame, state, scope, verify)
    refold.run()
    _check_summary(bundle, frame, opening, refold.decided)
    _check_digests(bundle)
    return _counts(bundle, frame, refold), _unshown(bundle, frame)


def _check_openness(bundle: Bundle) -> None:
    """Holds are withheld in a public bundle, and only there."""
    for entry in (*(bundle.start.records if bundle.start else ()), *bundle.records):
        open_hold = isinstance(entry, Fact) and entry.topic == "holds"
        if open_hold and not bundle.operator:
            raise Mismatch("records", f"holds offset {entry.offset}", "public bundle", "an open hold", "withheld")
        if isinstance(entry, Withheld) and bundle.operator:
            raise Mismatch("records", f"holds offset {entry.offset}", "operator's bundle", "a withheld hold", "the record")


def _check_summary(bundle: Bundle, frame: Frame, opening: list[Decided], decided: list[Decided]) -> None:
    first, last = frame.epochs[0].head, frame.epochs[-1].head
    from_ms = bundle.range.from_ms if frame.start else first.resolved_at_ms
    expected = summarise(bundle.node_id, from_ms, last.resolved_at_ms, opening, decided, bundle.records)
    if bundle.summary == expected:
        return
    for name in type(expected).model_fields:
        said, found = getattr(bundle.summary, name), getattr(expected, name)
        if said != found:
            raise Mismatch("summary", name, "what the decisions say", said, found)


def _check_digests(bundle: Bundle) -> None:
    expected = digested(bundle)
    for part, digest in expected["digests"].items():
        if (said := getattr(bundle.digests, part)) != digest:
            raise Mismatch(part, "the whole part", "digest", said, digest)
    if bundle.sha256 != expected["sha256"]:
        raise Mismatch("head", "the whole bundle", "digest", bundle.sha256, expected["sha256"])


def _counts(bundle: Bundle, frame: Frame, refold: Refold) -> dict[str, int]:
    started = bundle.start.records if bundle.start else ()
    return {
        "policies": len(bundle.policies),
        "marks": len(frame.epochs) + (frame.start is not None),
        "linked": sum(checked.linked for checked in frame.epochs),
        "changes": sum(len(checked.changes or ()) for checked in frame.epochs),
        "facts": sum(isinstance(entry, Fact) and entry.refused is None for entry in (*started, *bundle.records)),
        "refused": sum(isinstance(entry, Fact) and entry.refused is not None for entry in bundle.records),
        "decisions": len(refold.decided),
        "refreshes": refold.refreshed,
    }


def _unshown(bundle: Bundle, frame: Frame) -> dict[str, int]:
    entries = (*(bundle.start.records if bundle.start else ()), *bundle.records)
    found = {
        "gaps": sum(not checked.linked for checked in frame.epochs),
        "changes": sum(checked.changes is None for checked in frame.epochs),
        "holds": sum(isinstance(entry, Withheld) for entry in entries),
        "refused": sum(isinstance(entry, Unshown) for entry in entries),
        "unstamped": 0 if bundle.stamped else len(entries),
    }
    return dict.fromkeys(_ALWAYS, 0) | {name: count for name, count in found.items() if count}
