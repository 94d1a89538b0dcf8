"""The end: what was sent is folded, the processor stops, the log is read to its end and recounted."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, INPUTS
from b3iq_streams.demo import tail, verdict
from b3iq_streams.demo.parts import Parts, becomes
from b3iq_streams.demo.verdict import Live, Verdict
from b3iq_streams.kafka import Place

PATIENCE_S = 10.0
PATIENCE_STOPPED_S = 2.0
"""For each step of the end, once a person waits for it."""


async def end(parts: Parts, stopped: bool, hurry: asyncio.Event) -> Verdict:
    """Whether the log, recounted, gives what the live parts said. `stopped`: a person waits; `hurry`: leave the recount."""
    patience_s = PATIENCE_STOPPED_S if stopped else PATIENCE_S
    _, ends = await tail.bounds(parts.gauge)
    if parts.worker.running:
        parts.say("ending: what was sent is folded, then the processor stops")
        await becomes(lambda: _folded(parts, ends), patience_s)
        await parts.worker.stop()
        _, ends = await tail.bounds(parts.gauge)
    followed = await becomes(lambda: parts.tail.reached(ends) and _reached(parts, ends), patience_s)
    parts.tally.look(parts.entries())
    if not followed:
        parts.tail.forget("the log was not read to its end")
    parts.say(f"recounting {parts.tail.events} facts from the log alone (Ctrl-C skips it)")
    view, live = parts.client.view, _live(parts)
    with suppress(verdict.Abandoned):
        found = await asyncio.to_thread(
            verdict.judge, parts.tail, parts.world.trust, len(view.parts), live,
            stamped=parts.on.stamped, stopped=hurry.is_set,
        )  # fmt: skip
        parts.say(_words(found))
        return found
    return Verdict(None, ("not recounted: it was skipped",))


def _words(found: Verdict) -> str:
    if found.equal is None:
        return found.differences[0]
    if not found.equal:
        return "the recount DIFFERS from what the live parts said"
    return f"replay equal: {found.epochs} epochs, folded again from nothing, give the same bytes"


def _folded(parts: Parts, ends: Mapping[Place, int]) -> bool:
    """Whether an accepted epoch of each partition covers its inputs up to these ends."""
    heads = parts.client.view.heads()
    return all(heads[place.partition].cut.get(place.topic, 0) >= end for place, end in ends.items() if place.topic in INPUTS)


def _reached(parts: Parts, ends: Mapping[Place, int]) -> bool:
    """Whether the router read the chain up to these ends."""
    positions = parts.client.view.positions()
    return all(positions.get(place.partition, 0) >= end for place, end in ends.items() if place.topic == ELIGIBILITY_CHANGES)


def _live(parts: Parts) -> Live:
    view = parts.client.view.parts
    return Live(
        heads={part.chain.partition: (part.head.epoch, part.head.digest) for part in view},
        eligible={part.chain.partition: sum(entry.eligible for entry in part.entries.values()) for part in view},
        sent=parts.tally.sent,
        answered=parts.tally.calls.total(),
    )
