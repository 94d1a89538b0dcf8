"""The table of topics against what a cluster has: what differs, and making it so. Never deletes, never repartitions."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from b3iq_schemas.topics import HEARTBEATS, TOPICS
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Admin, Layout

_AT_LEAST = frozenset({"retention.ms", "retention.bytes", "min.insync.replicas"})
"""Settings of which more is fine; -1 is more than any number."""
SETTLE_S = 10
Configs = Mapping[str, Mapping[str, tuple[str, bool]]]


class Difference(NamedTuple):
    """One thing that is not as the table says. `setting` is `exists`, `partitions` or the name of a Kafka setting."""

    topic: str
    setting: str
    found: str
    wanted: str

    def __str__(self) -> str:
        if self.setting == "exists":
            return f"{self.topic}: the topic is missing, or this user may not see it"
        note = ": compaction destroys history" if (self.setting, self.wanted) == ("cleanup.policy", "delete") else ""
        return f"{self.topic}: {self.setting} is {self.found}, should be {self.wanted}{note}"


def wanted_config(name: str, replication_factor: int) -> dict[str, str]:
    """A topic's settings, with those that follow from how often it is replicated."""
    in_sync = 2 if replication_factor >= 3 else 1
    return TOPICS[name].config | {"min.insync.replicas": str(in_sync), "unclean.leader.election.enable": "false"}


def compare(layouts: Mapping[str, Layout], configs: Configs, partitions: int | None = None) -> list[Difference]:
    """What differs, topic by topic; `partitions` None: as many as `heartbeats` has. Topics without configs are not judged
    by them."""
    wanted = partitions or (layouts[HEARTBEATS].partitions if HEARTBEATS in layouts else None)
    found: list[Difference] = []
    for name in TOPICS:
        if name not in layouts:
            found.append(Difference(name, "exists", "no", "yes"))
            continue
        layout = layouts[name]
        if wanted is not None and layout.partitions != wanted:
            found.append(Difference(name, "partitions", str(layout.partitions), str(wanted)))
        for setting, value in wanted_config(name, layout.replication_factor).items():
            actual = configs.get(name, {}).get(setting, (value, True))[0]
            if not _satisfies(setting, actual, value):
                found.append(Difference(name, setting, actual, value))
    return found


def _satisfies(setting: str, actual: str, wanted: str) -> bool:
    if setting in _AT_LEAST and actual.lstrip("-").isdigit():
        return wanted == actual or actual == "-1" or (wanted != "-1" and int(actual) >= int(wanted))
    return sorted(actual.split(",")) == sorted(wanted.split(","))


async def differences(admin: Admin, *, partitions: int | None = None, relaxed: bool = False) -> list[Difference]:
    """What differs on a cluster. `relaxed` is for a broker that cannot describe settings: then only existence and
    partitions are looked at, and asking creates what is missing if the broker does so."""
    layouts = await admin.layouts(tuple(TOPICS), ask_by_name=relaxed)
    configs = {} if relaxed else await admin.configs(layouts)
    return compare(layouts, configs, partitions)


async def require(admin: Admin, *, relaxed: bool = False) -> None:
    """Raise UserError, one line that names the first difference, unless the topics are as the table says."""
    if found := await differences(admin, relaxed=relaxed):
        more = f" (and {len(found) - 1} more)" if found[1:] else ""
        raise UserError(f"the topics are not as they must be: {found[0]}{more}; see `b3iq-streams topics check`")


async def apply(admin: Admin, layout: Layout) -> list[str]:
    """Create what is missing and correct the settings that differ; returns what was done, in words.

    Refuses, before it touches anything, if a topic exists with another number of partitions.
    """
    layouts = await admin.layouts(tuple(TOPICS))
    configs = await admin.configs(layouts)
    differing = compare(layouts, configs, layout.partitions)
    if wrong := next((item for item in differing if item.setting == "partitions"), None):
        raise UserError(f"{wrong}; a topic is never repartitioned, because every key would move")
    done = []
    for name in dict.fromkeys(item.topic for item in differing):
        changes = [item for item in differing if item.topic == name]
        if changes[0].setting == "exists":
            await admin.create(name, layout, wanted_config(name, layout.replication_factor))
            done.append(f"created {name}: {layout.partitions} partitions, {layout.replication_factor} replicas")
            continue
        kept = {setting: value for setting, (value, own) in configs[name].items() if own}
        await admin.replace_configs(name, kept | {item.setting: item.wanted for item in changes})
        done += [f"changed {name}: {item.setting} from {item.found} to {item.wanted}" for item in changes]
    if done:
        await _settled(admin, layout.partitions)
    return done


async def _settled(admin: Admin, partitions: int) -> None:
    """Wait until the brokers answer as the table says: what was acknowledged reaches each of them a little later."""
    for _ in range(SETTLE_S * 10):
        layouts = await admin.layouts(tuple(TOPICS))
        if len(layouts) == len(TOPICS) and not compare(layouts, await admin.configs(layouts), partitions):
            return
        await asyncio.sleep(0.1)
    raise UserError(
        f"the brokers took the changes, but do not show all of them after {SETTLE_S} s: run `b3iq-streams topics check`"
    )
