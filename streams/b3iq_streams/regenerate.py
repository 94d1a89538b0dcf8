"""Gives a network more partitions: a new generation, step by step on Kafka. What may be done is decided in `generation.py`.

Holds and policies never leave their topics: both grow in place, then every revision is published to the new partitions and
every hold in force is signed again where it now belongs. Only when a fold of the whole topics proves that, the other topics
are deleted and made anew, the chain last; only when it is proven once more, the new trust file is written. Each step first
looks whether it is done, so the whole can be run again after an end at any point.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
from nacl.signing import SigningKey

from b3iq_schemas import envelope
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import CHECKPOINT, DEAD_LETTERS, ELIGIBILITY_CHANGES, HOLDS, POLICIES, ROUTING_DECISIONS, TOPICS
from b3iq_streams import generation, kafka, topics_admin
from b3iq_streams.cli_options import write
from b3iq_streams.clock import now_ms
from b3iq_streams.core.carry import uncarried
from b3iq_streams.core.records import Record
from b3iq_streams.core.values import Held
from b3iq_streams.emit import from_event
from b3iq_streams.errors import UserError
from b3iq_streams.generation import ANEW, KEPT, Plan
from b3iq_streams.kafka import Admin, Layout, Place, Source
from b3iq_streams.settings import KafkaSettings, TrustSettings

ARCHIVED = (ELIGIBILITY_CHANGES, DEAD_LETTERS, ROUTING_DECISIONS)
"""An archive that has these to their ends has every input that a decision rests on."""
QUIET_MS = 5_000
"""How long the chain must have been silent: more than a router's bound and the clocks' difference."""
ROUNDS = 3
PATIENCE_S = 30
Archived = Callable[[], Mapping[Place, int]]
"""What an archive holds: the next offset after the last one, by partition; raises UserError if it is not this network's."""


@dataclass(frozen=True)
class Change:
    """What was asked for. `archived` None: the old generation's history may be thrown away."""

    trust: RootTrust
    out_trust: Path
    partitions: int
    group_changelog: tuple[str, str]
    operator: SigningKey
    archived: Archived | None

    @property
    def plan_file(self) -> Path:
        """Where it is noted what is under way."""
        return self.out_trust.with_name(self.out_trust.name + ".plan")


async def regenerate(change: Change, settings: KafkaSettings, say: Callable[[str], None], dry_run: bool = False) -> None:
    """Do what is left to do, saying each thing before it is done; raises UserError where it may not go on."""
    async with kafka.admin(settings) as admin, kafka.source(settings) as source:
        await _Steps(change, settings, admin, source, say, dry_run).run()


class _Steps:
    """One run of the command."""

    def __init__(
        self, change: Change, settings: KafkaSettings, admin: Admin, source: Source, say: Callable[[str], None], dry_run: bool
    ) -> None:
        self.change, self.settings, self.say, self.dry_run = change, settings, say, dry_run
        self.admin, self.source = admin, source
        self.group, self.changelog = change.group_changelog
        self.anew = tuple(dict.fromkeys((self.changelog, *ANEW)))

    async def run(self) -> None:
        change = self.change
        layouts = await self._layouts()
        if change.out_trust.exists():
            self._finished(layouts)
            return
        plan = generation.plan(layouts, change.trust, change.partitions, Plan.load(change.plan_file))
        await self._stopped()
        records = await self._records()
        policy = generation.newest(records, change.trust).policy
        generation.require_operator(change.operator, policy)
        doomed = [name for name in self.anew if name in layouts and layouts[name].partitions != plan.partitions]
        await self._archived(doomed)
        self.say(
            f"{plan.network}: generation {plan.generation} of {plan.partitions_before} partitions becomes "
            f"generation {plan.generation + 1} of {plan.partitions}"
        )
        if not self.dry_run:
            plan.save(change.plan_file)
        await self._grow(layouts, plan)
        await self._carry(records, plan)
        await self._replace(doomed, layouts[HOLDS].replication_factor, plan)
        if self.dry_run:
            self.say(f"write {change.out_trust}; so far nothing was changed")
            return
        await self._stopped()
        records = await self._carry(await self._records(), plan)  # and what was said meanwhile, not knowing of the change
        made = generation.next_trust(change.trust, generation.newest(records, change.trust).policy).model_dump(mode="json")
        self.say(f"write {change.out_trust}: give it to every processor, router and catalog, then start them")
        write(change.out_trust, orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        change.plan_file.unlink()

    def _finished(self, layouts: Mapping[str, Layout]) -> None:
        """The trust file is written last: where it is, all is done, if it is the one that was to be made."""
        change = self.change
        made = TrustSettings(trust=change.out_trust).load()
        short = [name for name in TOPICS if name not in layouts or layouts[name].partitions != change.partitions]
        if (made.network, made.generation) != (change.trust.network, change.trust.generation + 1) or short:
            raise UserError(f"{change.out_trust} exists and is not what would be made: name a file that does not exist")
        if not self.dry_run:
            change.plan_file.unlink(missing_ok=True)
        self.say(f"{change.out_trust}: generation {made.generation} is made already; nothing to do")

    async def _layouts(self) -> dict[str, Layout]:
        return await self.admin.layouts(tuple(dict.fromkeys((*TOPICS, self.changelog))))

    async def _stopped(self) -> None:
        """Raise UserError while a processor could still write."""
        if members := await self.admin.members(self.group):
            raise UserError(
                f"group {self.group} has {members} members: stop every processor, and wait until their sessions have ended"
            )
        if (age_ms := now_ms() - await self._chain_grew_at_ms()) < QUIET_MS:
            raise UserError(f"the chain grew {max(age_ms, 0)} ms ago: stop every processor, and try again after {QUIET_MS} ms")

    async def _chain_grew_at_ms(self) -> int:
        """When the last record of any partition was logged, 0 if there is none."""
        places = await self.source.partitions(ELIGIBILITY_CHANGES)
        starts, ends = await self.source.start_offsets(places), await self.source.end_offsets(places)
        left = {place: ends[place] - 1 for place in places if starts[place] < ends[place]}
        newest_ms = 0
        if not left:
            return newest_ms
        async for batch in self.source.follow(dict(left)):
            for record in batch:
                newest_ms = max(newest_ms, record.timestamp_ms)
                left.pop(Place(record.topic, record.partition), None)
            if not left:
                break
        return newest_ms

    async def _records(self) -> list[Record]:
        """All that was ever said on the topics that are kept, and the proof that it is all."""
        found: list[Record] = []
        for topic in KEPT:
            ends = await self.source.end_offsets(await self.source.partitions(topic))
            records = await self.source.read(topic)
            found += generation.whole(topic, records, {place.partition: end for place, end in ends.items()})
        return found

    async def _archived(self, doomed: list[str]) -> None:
        if self.change.archived is None or not doomed:
            return
        held = self.change.archived()
        for topic in ARCHIVED:
            if topic in doomed:
                for place, end in (await self.source.end_offsets(await self.source.partitions(topic))).items():
                    if held.get(place, 0) < end:
                        raise UserError(
                            f"the archive has {topic}/{place.partition} up to offset {held.get(place, 0)} of {end}: "
                            "run `audit export` again, with routers stopped"
                        )

    async def _grow(self, layouts: Mapping[str, Layout], plan: Plan) -> None:
        for name in KEPT:
            if layouts[name].partitions != plan.partitions:
                self.say(f"add partitions to {name}: {layouts[name].partitions} to {plan.partitions}")
                if not self.dry_run:
                    await self.admin.grow(name, plan.partitions)
        if not self.dry_run:
            await self._until(lambda found: all(found[name].partitions == plan.partitions for name in KEPT), "growing")

    async def _carry(self, records: list[Record], plan: Plan) -> list[Record]:
        """Publish and sign again what the new partitions lack; returns the records that prove that nothing is lacking."""
        trust = self.change.trust
        for _ in range(ROUNDS):
            lacking = list(generation.lacking_policies(records, plan.partitions, trust))
            lost, seqs = uncarried(records, plan.partitions_before, plan.partitions, trust, envelope.verify)
            if not (lacking or lost):
                return records
            async with kafka.publisher(self.settings) as publisher:
                for partition, revision, value in lacking:
                    self.say(f"publish policy revision {revision} on partition {partition}")
                    if not self.dry_run:
                        await (await publisher.send(POLICIES, str(revision).encode(), value, partition))
                for node_id, hold in sorted(lost.items()):
                    self.say(f"sign again that {node_id} is held: {hold.reason} ({hold.actor})")
                    if not self.dry_run:
                        await publisher.publish([self._hold(node_id, hold, seqs[node_id])])
            if self.dry_run:
                return records
            records = await self._records()
        raise UserError(f"not everything could be carried over, such as {min(lost, default='a policy')}: this goes no further")

    def _hold(self, node_id: str, hold: Held, seq: int) -> tuple[str, bytes, bytes]:
        at_ms = now_ms()
        event = {"network": self.change.trust.network, "node_id": node_id, "seq": max(at_ms, seq + 1), "sent_at_ms": at_ms,
                 "held": True, "reason": hold.reason, "actor": hold.actor}  # fmt: skip
        return from_event(HOLDS, event, self.change.operator)

    async def _replace(self, doomed: list[str], replication_factor: int, plan: Plan) -> None:
        for name in doomed:
            self.say(f"delete {name}")
            if not self.dry_run:
                await self.admin.delete(name)
                await self._until(lambda found, name=name: name not in found, f"deleting {name}")  # type: ignore[misc]  # bound now
        if self.dry_run or set(self.anew) - set(await self._layouts()):
            self.say(f"make them anew with {plan.partitions} partitions")
        if self.dry_run:
            return
        layout = Layout(plan.partitions, replication_factor)
        if self.changelog not in await self._layouts():
            await self.admin.create(self.changelog, layout, topics_admin.wanted_config(CHECKPOINT, replication_factor))
        await topics_admin.apply(self.admin, layout)

    async def _until(self, true: Callable[[dict[str, Layout]], bool], doing: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true(await self._layouts()):  # noqa: ASYNC110  a remote condition
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise UserError(f"{doing}: the brokers have not done it after {PATIENCE_S} s; run this again") from None
