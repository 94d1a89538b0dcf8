"""The play: the fleet sends, callers call, somebody watches the router, and the script kills the processor once."""

import asyncio
from collections.abc import Callable
from typing import Any

from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.demo.callers import calls
from b3iq_streams.demo.outage import Outage
from b3iq_streams.demo.parts import Parts, becomes
from b3iq_streams.demo.summary import Plan
from b3iq_streams.errors import UserError
from b3iq_streams.fleet import Fleet

FEED_S = 0.1
CALL_S = 0.05
LOOK_S = 0.05
LOOKS_PER_FRAME = 5
START_S = 60.0
CLOSE_S = 15.0
REOPEN_S = 60.0
CALM_S = 1.0
LEAD_S_MAX = 15.0
LEAD_DIVISOR = 4
"""The processor is killed so long after the first allowed call: this part of the demo's length, at most LEAD_S_MAX."""


async def play(parts: Parts, plan: Plan, stop: asyncio.Event) -> bool:
    """Run until the script is over, or until somebody stops it: True in the second case. Raises what breaks."""
    fleet = Fleet(parts.world, nodes=plan.nodes, start_ms=now_ms(), seed=plan.seed)
    script, stopped = asyncio.create_task(_script(parts, plan)), asyncio.create_task(stop.wait())
    senders = [asyncio.create_task(_feed(parts, fleet)), asyncio.create_task(_call(parts, fleet, plan.seed))]
    look = asyncio.create_task(_look(parts))
    try:
        everybody: set[asyncio.Future[Any]] = {script, stopped, look, *senders, parts.following, parts.serving, parts.worker.died}
        done, _ = await asyncio.wait(everybody, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        parts.calm.set()
        await asyncio.wait(senders, timeout=CALM_S)
        return script not in done
    finally:
        mine = (script, stopped, look, *senders)
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)


async def _feed(parts: Parts, fleet: Fleet) -> None:
    """What the fleet sends."""
    parts.tally.sent += len(await parts.publisher.publish(fleet.bootstrap(now_ms())))
    while not parts.calm.is_set():
        parts.tally.sent += len(await parts.publisher.publish(fleet.tick(now_ms())))
        await asyncio.sleep(FEED_S)


async def _call(parts: Parts, fleet: Fleet, seed: int) -> None:
    """Paid calls, one after the other."""
    models = sorted({profile["model_id"] for node in fleet.nodes for profile in node.profiles})
    for request in calls(models, seed):
        if parts.calm.is_set():
            return
        choice = await parts.client.pick(request)
        parts.tally.answered(choice.code, parts.elapsed_ms)
        await asyncio.sleep(CALL_S)


async def _look(parts: Parts) -> None:
    """Watch the router's view, and show it now and then."""
    looks = 0
    while True:
        if parts.outage is not None:
            at_ms = now_ms()
            parts.outage.observe(parts.client.view.states(at_ms, monotonic_ms()), at_ms)
        if looks % LOOKS_PER_FRAME == 0:
            parts.tally.look(parts.entries())
            parts.display.show(parts.picture())
        looks += 1
        await asyncio.sleep(LOOK_S)


async def _script(parts: Parts, plan: Plan) -> None:
    """What happens when: first calls, the outage, the rest of the time."""
    parts.say("the processor starts; until it has spoken, the router refuses every call")
    await _until(lambda: parts.tally.allowed > 0, START_S, "no call was allowed")
    lead_s = LEAD_S_MAX if plan.seconds is None else min(LEAD_S_MAX, plan.seconds / LEAD_DIVISOR)
    parts.say(f"paid calls are served; in {lead_s:.0f} s the processor is killed")
    await asyncio.sleep(lead_s)
    await parts.worker.kill()
    parts.outage = outage = Outage(now_ms())
    parts.say("the processor is killed (SIGKILL): the view grows old, and the router closes by itself")
    await _until(lambda: outage.closed, CLOSE_S, "the router did not close although there was no processor")
    await parts.worker.start()
    parts.say(f"closed ({outage.code}); a new processor starts, and recovers from checkpoint and log")
    await _until(lambda: outage.over, REOPEN_S, "the router did not open again")
    assert outage.reopened_at_ms is not None
    parts.say(f"open again, {(outage.reopened_at_ms - outage.killed_at_ms) / 1_000:.1f} s after the kill")
    if plan.seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(max(1.0, plan.seconds - parts.elapsed_ms / 1_000))


async def _until(true: Callable[[], bool], patience_s: float, otherwise: str) -> None:
    if not await becomes(true, patience_s):
        raise UserError(f"{otherwise} within {patience_s:g} s")
