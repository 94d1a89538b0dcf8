"""A whole network for one test: its topics, its keys and policy, and its workers as processes.

Topic names are fixed, so each network begins by taking away what the last one left: only for brokers that the tests own.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import CHECKPOINT, DEAD_LETTERS, ELIGIBILITY_CHANGES, INPUTS, TOPICS
from b3iq_streams import kafka, keys, topics_admin
from b3iq_streams.clock import now_ms
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.chain import ChainId
from b3iq_streams.kafka import Layout, Place
from b3iq_streams.policy_log import publish_revision
from b3iq_streams.processor.names import GROUP, changelog
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import TRUST_FILE, World, demo_policy, sign_policy
from tests.kafka.crashing_worker import environment
from tests.kafka.secured import Cluster
from tests.kafka.support import admin_client, create_topic

ROOT = Path(__file__).parents[2]
PATIENCE_S = 45.0
SECOND = "processor-2"
TIMES: dict[str, Any] = {"heartbeat_ttl_ms": 3_000, "refresh_period_ms": 5_000, "equivocation_block_ms": 5_000}


async def until(true: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds; say what it was when it does not in time."""
    try:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110  conditions over logs and processes, which signal nothing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


@dataclass
class Network:
    """One network on one broker."""

    settings: KafkaSettings
    world: World
    directory: Path
    partitions: int
    group: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")
    workers: list["Worker"] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """What its workers are told beside their arguments: who they are, on a secured cluster."""

    @classmethod
    async def create(cls, bootstrap: str, directory: Path, partitions: int, **policy: Any) -> "Network":
        """Fresh topics, fresh keys, and a policy with times that pass within a test."""
        made = cls(KafkaSettings(bootstrap=bootstrap), World.generate(f"net-{secrets.token_hex(4)}"), directory, partitions)
        await made._begin(1, **policy)
        return made

    @classmethod
    async def on_secured(cls, cluster: Cluster, directory: Path, partitions: int) -> "Network":
        """The same on three brokers, under the names that the access rules are about; workers are the processor."""
        world = World.generate(f"net-{secrets.token_hex(4)}")
        environment = cluster.environment("processor")
        made = cls(cluster.settings(), world, directory, partitions, group=GROUP, environment=environment)
        await made._begin(3)
        await cluster.allow()
        return made

    async def _begin(self, replicas: int, **policy: Any) -> None:
        await _empty(self.settings)
        async with kafka.admin(self.settings) as admin:
            await topics_admin.apply(admin, Layout(self.partitions, replicas))
        config = {name.replace(".", "_"): value for name, value in TOPICS[CHECKPOINT].config.items()}
        if changelog(self.group) != CHECKPOINT:
            await create_topic(self.settings.bootstrap, changelog(self.group), partitions=self.partitions, **config)
        self.world.save(self.directory / "world")
        keys.save(self.world.node_key(SECOND), self.directory / "world" / f"{SECOND}.json")
        await self.publish_policy(1, **policy)

    @property
    def trust(self) -> RootTrust:
        """What everybody is configured with."""
        return self.world.trust

    @property
    def places(self) -> list[Place]:
        """Every partition of the inputs, the chain, and the dead letters."""
        names = (*INPUTS, ELIGIBILITY_CHANGES, DEAD_LETTERS)
        return [Place(topic, partition) for topic in names for partition in range(self.partitions)]

    async def publish_policy(self, revision: int, **changes: Any) -> None:
        """Publish a revision on every partition; it lists two processor keys, so that a mark tells who wrote it."""
        policy = demo_policy(self.world, now_ms(), revision, **(TIMES | changes))
        second = keys.public_hex(self.world.node_key(SECOND))
        roles = policy.roles.model_copy(update={"processor": (*policy.roles.processor, second)})
        signed = sign_policy(self.world, policy.model_copy(update={"roles": roles}))
        await publish_revision(signed, self.trust, self.settings)

    def keyid(self, name: str) -> str:
        """Which key a worker signs with that was given this one."""
        key = self.world.node_key(SECOND) if name == SECOND else self.world.roles[name]
        return keyid(bytes(key.verify_key))

    def worker(self, name: str = "worker", **options: Any) -> "Worker":
        """Start a worker; `name` is its static membership and its directory."""
        started = Worker(self, name, **options)
        self.workers.append(started)
        return started

    @asynccontextmanager
    async def supervised(self, *starts: Callable[[], "Worker"]) -> AsyncIterator[list["Worker"]]:
        """Keep these workers running for the length of a block: whenever one ends, another takes its place in the list."""
        running = [start() for start in starts]

        async def supervise() -> None:
            while True:
                running[:] = [worker if worker.running else start() for worker, start in zip(running, starts, strict=True)]
                await asyncio.sleep(0.2)

        task = asyncio.create_task(supervise())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def scope(self, partition: int) -> Scope:
        """What a partition's records are admitted against."""
        return Scope(self.trust, partition, self.partitions)

    def chain(self, partition: int) -> ChainId:
        """Which chain a partition has."""
        return ChainId(self.trust, partition, self.partitions, self.trust.skew_ms)


async def _empty(settings: KafkaSettings) -> None:
    async with admin_client(settings) as client:
        present = [name for name in await client.list_topics() if not name.startswith("__")]
        if present:
            await client.delete_topics(present)
        async with asyncio.timeout(PATIENCE_S):
            while any(not name.startswith("__") for name in await client.list_topics()):  # noqa: ASYNC110  a remote condition
                await asyncio.sleep(0.02)


class Worker:
    """A `b3iq-streams processor` as a process of its own, logging to a file."""

    def __init__(
        self, network: Network, name: str, *, key: str = "processor", static: bool = True, arguments: tuple[str, ...] = (),
        crash: tuple[str, int] | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        """`crash` and `settings` are `crashing_worker`'s; without them it is the plain command."""
        self.name, self.log_path = name, network.directory / f"{name}.log"
        world, told = network.directory / "world", bool(crash or settings)
        command = [sys.executable, "-m", "tests.kafka.crashing_worker" if told else "b3iq_streams.cli", "processor"]
        command += ["--bootstrap", network.settings.bootstrap, "--trust", str(world / TRUST_FILE), "--group", network.group]
        command += ["--key", str(world / f"{key}.json"), "--datadir", str(network.directory / name)]
        command += [*(("--instance", name) if static else ()), "--checkpoint-every-ms", "500", *arguments]
        with self.log_path.open("ab") as log:
            self._began_at = log.tell()
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=os.environ | network.environment | environment(crash=crash, **settings),
            )

    @property
    def log(self) -> str:
        """What this process has said."""
        return self.log_path.read_bytes()[self._began_at :].decode(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ends(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        await until(lambda: not self.running, f"the end of {self.name}: {self.log[-1_500:]}", within_s)
        return int(self.process.returncode)

    async def stop(self) -> None:
        """Have it finish properly."""
        self.signal(signal.SIGTERM)
        assert await self.ends() == 0, self.log[-3_000:]

    def remove(self) -> None:
        """Take it away, however it is."""
        if self.running:
            self.process.kill()
        self.process.wait()
