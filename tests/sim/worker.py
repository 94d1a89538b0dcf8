"""A worker that owns, or believes to own, the partition: drives a real `PartitionOwner` through a world of faults.

Every action takes effect some time after it was asked for and is answered some time after that; in between, and before,
the worker may stall or die. What it dies of is no concern of its own: the supervisor starts another.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from b3iq_schemas.envelope import keyid
from b3iq_streams.core.actions import (
    Action,
    Answer,
    Append,
    Appended,
    ChainBatch,
    Checkpoint,
    Commit,
    Confirmed,
    Exit,
    InputBatch,
    Notice,
    ReadChain,
    ReadInputs,
    TakeIntake,
    WriteCheckpoint,
    WriteLetters,
)  # fmt: skip
from b3iq_streams.core.chain import ChainId
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.core.owner import PartitionOwner, Phase, Tools
from b3iq_streams.core.records import Outgoing, Record
from tests.factory import SCOPE, TRUST
from tests.sim import crypto, vandals
from tests.sim.history import Confirmation, Ending, History
from tests.sim.intake import Intakes
from tests.sim.knobs import CHECKPOINT_EVERY_MS, PROCESSORS, SKEW_MS
from tests.sim.loop import Process
from tests.sim.world import World

CHAIN = ChainId(TRUST, 0, 1, SKEW_MS)
_SIGNERS = {keyid(bytes(crypto.key(name).verify_key)): crypto.key(name) for name in PROCESSORS}
Doing = Generator[int, None, Answer]


class Crash(Exception):
    """The worker is gone, wherever it was."""


class Worker:
    """One tenure of the partition, from the table image it found to its end."""

    def __init__(self, world: World, history: History, number: int, make: Callable[..., PartitionOwner]) -> None:
        self.world, self.history, self.number = world, history, number
        self.generation = world.group.join()
        self.ahead_ms = world.clock()
        self.alive = True
        nodes = {key.decode(): value for key, value in world.table.items() if key != HEAD_KEY}
        tools = Tools(crypto.verify, _SIGNERS, lambda: f"{world.rng.getrandbits(128):032x}", CHECKPOINT_EVERY_MS)
        self.owner = make(CHAIN, SCOPE, Checkpoint(world.table.get(HEAD_KEY), nodes), tools)
        self.intakes = Intakes(world, self.owner, self.clock, self.hiccup)

    @property
    def deposed(self) -> bool:
        """Whether the group has handed the partition on; the worker does not know."""
        return self.generation != self.world.group.generation

    def clock(self) -> int:
        """The worker's clock; it may jump."""
        world = self.world
        if world.chance(world.faults.ahead):
            self.ahead_ms = SKEW_MS + world.rng.choice((100, 900, 30_000))
            self.history.honest_until_ms = min(self.history.honest_until_ms, world.now_ms)
        elif world.chance(world.faults.behind):
            self.ahead_ms = -world.rng.randint(1, 5_000)
        elif not 0 <= self.ahead_ms <= SKEW_MS and world.rng.random() < 0.3:
            self.ahead_ms = world.clock()
        return world.now_ms + self.ahead_ms

    def run(self) -> Process:
        """Drive the owner until it ends or dies."""
        ending = "stopped"
        try:
            yield from self._converse()
        except Crash:
            ending = "crash"
        except _Left as left:
            ending = str(left)
        except Exception as error:  # a bug of the owner: the checkers will say so
            ending = f"raised {type(error).__name__}: {error}"
        self.alive = False
        self.world.say(f"worker {self.number}: {ending}")
        self.history.endings.append(Ending(self.number, ending, self.owner.phase is Phase.LIVE, self.deposed))

    def _converse(self) -> Process:
        talk = self.owner.run()
        answer: Answer = None
        while True:
            try:
                action = talk.send(answer)
            except StopIteration:
                return
            answer = yield from self._perform(action)

    def _perform(self, action: Action) -> Doing:
        if isinstance(action, Confirmed):
            self._confirmed(action)
            return None
        if isinstance(action, Notice):
            self.world.say(f"worker {self.number}: {action.code} {action.detail}")
            self.history.notices.append((self.number, action))
            return None
        if isinstance(action, Exit):
            raise _Left(action.code)
        yield from self.hiccup()
        answer: Answer = yield from self._DOINGS[type(action)](self, action)
        yield from self.hiccup()
        return answer

    def hiccup(self) -> Process:
        """A moment passes, usually a short one; or the worker dies."""
        world = self.world
        if world.chance(world.faults.crash):
            raise Crash
        yield world.rng.randint(300, 6_000) if world.chance(world.faults.stall) else world.rng.randint(0, 8)

    def _confirmed(self, action: Confirmed) -> None:
        state = self.owner.memory.state
        self.world.say(f"worker {self.number}: epoch {action.head.epoch} {'own' if action.own else 'foreign'}"
                       f" r={action.head.resolved_at_ms - self.world.now_ms:+} {action.codes or ''}")  # fmt: skip
        digest = state.digest({}, state.rules)
        self.history.confirmations.append(
            Confirmation(self.number, action.own, self.owner.phase, self.deposed, action.head, digest)
        )

    def _read_chain(self, action: ReadChain) -> Doing:
        log, rng = self.world.chain, self.world.rng
        first, end = max(action.offset, log.start), log.stale_end(self.world.stale())
        last = max(first, end)
        if self.world.chance(self.world.faults.short):
            last = min(last, first + rng.randint(0, 4))
        start = log.start
        yield rng.randint(0, 3)
        return ChainBatch(tuple(log.records[first:last]), last, start, end)

    def _read_inputs(self, action: ReadInputs) -> Doing:
        yield self.world.rng.randint(0, 2)
        log = self.world.inputs[action.topic]
        return InputBatch(tuple(log.records[action.first : action.last]), 0, log.end)

    def _take(self, action: TakeIntake) -> Doing:
        return (yield from self.intakes.take(action))

    def _write_letters(self, action: WriteLetters) -> Doing:
        """One by one, so that a crash may leave some unwritten."""
        for letter in action.letters:
            if self.world.chance(self.world.faults.torn / 4):
                raise Crash
            self.world.letters.append((self.world.now_ms, letter.value or b""))
        yield self.world.rng.randint(0, 5)
        return None

    def _append(self, action: Append) -> Doing:
        """In one batch while it fits, else the mark only after all changes; whatever can happen to batches, does."""
        world, rng, faults = self.world, self.world.rng, self.world.faults
        outgoing = (*action.changes, action.mark)
        batches: list[Sequence[Outgoing]] = [outgoing]
        if action.changes and world.chance(faults.split):
            middle = rng.randint(1, len(action.changes))
            batches = [part for part in (outgoing[:middle], outgoing[middle:-1], outgoing[-1:]) if part]
        if action.changes and world.chance(faults.forge):
            vandals.forge_change(world, rng.choice(action.changes))
        landed: list[Record] = []
        for batch in batches:
            if landed:
                yield from self.hiccup()
            self._accident(batch)
            landed += world.chain.extend(batch)
            if world.chance(faults.duplicate):
                part = batch if rng.random() < 0.5 else batch[rng.randrange(len(batch)) :]
                world.chain.later(rng.choice((3, 300, 4_000)), part)
        return Appended(landed[0].offset, landed[-1].offset, landed[-1].timestamp_ms)

    def _accident(self, batch: Sequence[Outgoing]) -> None:
        """The worker dies, and the batch lands in part, or later, or not at all."""
        world, rng = self.world, self.world.rng
        if world.chance(world.faults.torn):
            world.chain.extend(batch[: rng.randrange(len(batch))])
            raise Crash
        if world.chance(world.faults.lost_ack):
            world.chain.later(rng.choice((0, 0, 200, 3_000)), batch)
            raise Crash

    def _write_checkpoint(self, action: WriteCheckpoint) -> Doing:
        """Node records in any order, then the head; old writes may land again, records may rot."""
        world, rng, faults = self.world, self.world.rng, self.world.faults
        self.history.stored_heads.append(action.head.value or b"")
        for out in (*rng.sample(action.nodes, len(action.nodes)), action.head):
            if world.chance(faults.torn):
                raise Crash
            world.store(out)
            if world.chance(faults.late_write):
                world.store_later(rng.randint(1, 6_000), out)
            if world.chance(0.2):
                yield from self.hiccup()
        if world.chance(faults.rot):
            vandals.rot(world)
        return None

    def _commit(self, action: Commit) -> Doing:
        yield self.world.rng.randint(0, 4)
        return self.world.group.commit(self.generation, action.cut, self.world.now_ms)

    _DOINGS: dict[type, Callable[..., Any]] = {  # noqa: RUF012
        ReadChain: _read_chain,
        ReadInputs: _read_inputs,
        TakeIntake: _take,
        WriteLetters: _write_letters,
        Append: _append,
        WriteCheckpoint: _write_checkpoint,
        Commit: _commit,
    }


class _Left(Exception):
    """The owner asked to end the process."""
