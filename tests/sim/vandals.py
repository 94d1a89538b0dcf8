"""What somebody with produce rights, but without a key, does to the chain; and what time does to the checkpoint."""

import orjson

from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import pae, parse, seal
from b3iq_streams.core.records import Outgoing
from tests.sim import crypto
from tests.sim.loop import Process
from tests.sim.world import World


def forge_change(world: World, change: Outgoing) -> None:
    """A change of an attempt under way, with other content or under another number."""
    outer = orjson.loads(change.value or b"{}")
    outer["decision"]["eligible"] = True
    outer["decision"]["valid_until_ms"] = 2**50
    outer["i"] = world.rng.choice((outer["i"], 0, 10**6, -1))
    world.say(f"forged change i={outer['i']} of attempt {outer['attempt'][:6]}")
    world.chain.append(change.key, orjson.dumps(outer))


def rampage(world: World) -> Process:
    """Junk, copies of genuine records, and marks that nobody signed, until the faults end."""
    rng, log = world.rng, world.chain
    while True:
        yield rng.randint(50, 500)
        if not world.chance(2 * world.faults.vandal):
            continue
        what = rng.choice(("junk", "copy", "stretch", "unsigned"))
        if what == "junk" or not log.records:
            log.append(rng.choice((None, MARK_KEY, b"node-0/p0")), rng.choice((None, b"", b"{}", b'{"attempt":3,"i":"x"}')))
        elif what == "copy":
            old = rng.choice(log.records)
            log.append(old.key, old.value)
        elif what == "stretch":
            first = rng.randrange(log.end)
            for old in log.records[first : first + 5]:
                log.append(old.key, old.value)
        else:
            unsigned_mark(world)


def unsigned_mark(world: World) -> None:
    """A mark that extends the newest one, by a key that no policy lists, under its own name or a processor's."""
    for record in reversed(world.chain.records):
        try:
            last = parse(record.value or b"").payload
            break
        except ValueError:
            continue
    else:
        return
    payload = orjson.loads(last)
    payload |= {"prev": sha256_hex(last), "epoch": payload["epoch"] + 1, "attempt": f"{world.rng.getrandbits(128):032x}"}
    payload |= {"n": 0, "changes_sha256": sha256_hex(b"")}
    stranger, raw = crypto.key("stranger"), orjson.dumps(payload)
    name = world.rng.choice(("stranger", "processor"))
    sig = stranger.sign(pae(MARK_V1, raw)).signature
    world.chain.append(MARK_KEY, seal(MARK_V1, raw, {bytes(crypto.key(name).verify_key): sig}))


def rot(world: World) -> None:
    """A record of the checkpoint table loses a byte, or everything."""
    if not world.table:
        return
    key = world.rng.choice(sorted(world.table))
    value = bytearray(world.table[key])
    if not value or world.rng.random() < 0.2:
        del world.table[key]
        return
    value[world.rng.randrange(len(value))] ^= 1 << world.rng.randrange(7)
    world.table[key] = bytes(value)
