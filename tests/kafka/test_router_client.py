"""The router's client on a real broker: it follows the chain at once, fails closed when it cannot, and loses no decision."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.decisions import RoutingDecision
from b3iq_schemas.envelope import parse, sign, verify
from b3iq_schemas.policy import POLICY_V1
from b3iq_streams import keys
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import publisher
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.router.view import Choice
from b3iq_streams.settings import KafkaSettings
from tests.chainlab import ChainLab, decision
from tests.factory import TRUST, key, policy_event
from tests.kafka.shell_support import PARTITIONS, create_topics
from tests.kafka.support import Endpoint, create_topic, unique_network
from tests.shells.router_lab import request

NODE = "node-1/p0"
PATIENT = ViewSettings(bound_ms=60_000)
SECRET = b"keyed hash of callers"


class Writer:
    """An honest processor of every partition of a network of its own, on the machine's clock."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.trust = TRUST.model_copy(update={"network": unique_network()})
        self.chains = [ChainLab(partition, PARTITIONS, self.trust) for partition in range(PARTITIONS)]

    async def policy(self) -> None:
        """Revision 1 on every partition."""
        event = policy_event(network=self.trust.network, sent_at_ms=now_ms())
        value = sign(POLICY_V1, canonical(event), [key("root0"), key("root1")])
        for partition in range(PARTITIONS):
            await self._producer.send_and_wait(topics.POLICIES, value, b"1", partition=partition)

    async def epoch(self, partition: int, *decisions: Mapping[str, Any]) -> None:
        """One epoch, resolved now."""
        chain = self.chains[partition]
        chain.policy_revision = 1
        for record in chain.epoch(*decisions, at_ms=now_ms()):
            await self._producer.send_and_wait(record.topic, record.value, record.key, partition=partition)

    async def idle(self) -> None:
        """An empty epoch everywhere."""
        for partition in range(PARTITIONS):
            await self.epoch(partition)


def yes(**changes: Any) -> dict[str, Any]:
    """A decision that holds for an hour of the machine's clock."""
    return decision(NODE, valid_until_ms=now_ms() + 3_600_000, **changes)


def no() -> dict[str, Any]:
    """The end of it."""
    return decision(NODE, False)


@asynccontextmanager
async def network(bootstrap: str) -> AsyncIterator[Writer]:
    """Topics, a policy, and an epoch on each partition."""
    await create_topics(bootstrap)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all") as producer:
        writer = Writer(producer)
        await writer.policy()
        await writer.idle()
        yield writer


async def becomes(client: RouterClient, allowed: bool) -> Choice:
    """Ask until the answer is this one."""
    for _ in range(20_000):
        if (choice := await client.pick(request())).allowed is allowed:
            return choice
        await asyncio.sleep(0.001)
    raise AssertionError(f"still {choice.code}")


async def test_the_view_follows_the_log(private_kafka: LocalKafka) -> None:
    """What is accepted opens and closes at once, from a start in the middle as from the beginning, and over a restart."""
    settings = KafkaSettings(bootstrap=private_kafka.bootstrap)
    async with network(private_kafka.bootstrap) as writer:
        await writer.epoch(2, yes())
        async with RouterClient(settings, writer.trust, PATIENT) as client:
            assert await client.synced(20)
            chosen = (await client.pick(request())).candidate
            assert chosen is not None
            assert (chosen.node_id, chosen.partition) == ("node-1", 2)
            await writer.epoch(2, no())
            assert (await becomes(client, False)).refusal is RouteRefusal.NO_HEALTHY_CANDIDATES
            private_kafka.restart()
            await writer.epoch(2, yes())
            await becomes(client, True)
        assert (await client.pick(request())).refusal is RouteRefusal.VIEW_NOT_SYNCED


async def test_latency(kafka: Endpoint, record_property: Any) -> None:
    """From the acknowledgement of an epoch to the answer it changes: a few milliseconds (measured, bounded loosely)."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    async with network(kafka.bootstrap) as writer, RouterClient(settings, writer.trust, PATIENT) as client:
        assert await client.synced(20)
        taken_ms = []
        for turn in range(60):
            made = no() if turn % 2 else yes()
            await writer.epoch(1, made)
            acknowledged = time.perf_counter()
            for _ in range(200_000):
                if client.view.pick(request(), now_ms(), monotonic_ms()).allowed is not bool(turn % 2):
                    break
                await asyncio.sleep(0)
            taken_ms.append((time.perf_counter() - acknowledged) * 1_000)
        taken_ms.sort()
        record_property("acknowledged_to_answer_ms", {"p50": taken_ms[30], "p99": taken_ms[-1]})
        print(f"acknowledged to answer: p50 {taken_ms[30]:.1f} ms, max {taken_ms[-1]:.1f} ms")
        assert taken_ms[30] < 250


async def test_without_marks_the_answer_is_no(kafka: Endpoint) -> None:
    """A silent processor closes everything within the bound, and its return opens it again."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    async with (
        network(kafka.bootstrap) as writer,
        RouterClient(settings, writer.trust, ViewSettings(bound_ms=1_000)) as client,
    ):
        assert await client.synced(20)
        await writer.epoch(0, yes())
        await becomes(client, True)
        assert (await becomes(client, False)).refusal is RouteRefusal.PROCESSOR_LAG
        await writer.idle()
        await becomes(client, True)


async def test_an_answer_comes_after_its_record(kafka: Endpoint) -> None:
    """Allowed or refused, the signed decision is in the log when the caller hears of it, without naming the caller."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    async with network(kafka.bootstrap) as writer, publisher(settings) as out:
        decisions = DecisionLog(out, key("router"), SECRET)
        await writer.epoch(3, yes())
        async with RouterClient(settings, writer.trust, PATIENT, decisions) as client:
            assert await client.synced(20)
            answers = [await client.pick(request(caller_id="alice")), await client.pick(request("none", caller_id="alice"))]
        by_code = {found.code: found for found in await logged(kafka.bootstrap, writer.trust.network)}
    assert {"allowed", "no_healthy_candidates"} == set(by_code) == {answer.code for answer in answers}
    allowed = by_code["allowed"]
    assert ("node-1", "p0", 1, PARTITIONS) == (
        allowed.node_id,
        allowed.profile_id,
        allowed.considered_total,
        len(allowed.view),
    )
    assert writer.chains[3].parent.digest == allowed.view[3].digest
    assert by_code["no_healthy_candidates"].caller_hash == allowed.caller_hash != "alice"


async def test_a_decision_that_cannot_be_logged_is_no_answer(private_kafka: LocalKafka) -> None:
    """When the record is not acknowledged, nobody is told that the call is allowed."""
    settings = KafkaSettings(bootstrap=private_kafka.bootstrap)
    async with network(private_kafka.bootstrap) as writer, publisher(settings) as out:
        await writer.epoch(0, yes())
        async with RouterClient(settings, writer.trust, PATIENT, DecisionLog(out, key("router"), SECRET)) as client:
            assert await client.synced(20)
            await client.pick(request())
            private_kafka.suspend()
            try:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.pick(request()), 1)
            finally:
                private_kafka.resume()


async def test_topics_must_fit_each_other(private_kafka: LocalKafka) -> None:
    """Missing topics, or ones with different numbers of partitions, are one line."""
    settings = KafkaSettings(bootstrap=private_kafka.bootstrap)
    with pytest.raises(UserError, match="eligibility-changes does not exist"):
        await RouterClient(settings, TRUST).start()
    await create_topic(private_kafka.bootstrap, topics.ELIGIBILITY_CHANGES, partitions=2)
    await create_topic(private_kafka.bootstrap, topics.POLICIES, partitions=3)
    await asyncio.sleep(1)  # until the broker tells of both
    with pytest.raises(UserError, match="same number of partitions"):
        await RouterClient(settings, TRUST).start()


async def test_the_command_answers_as_the_router_does(kafka: Endpoint, tmp_path: Path) -> None:
    """Exit code 0 for a grant, 1 for a refusal, 2 for a mistake; watch prints what opens and closes."""
    trust, router_key = tmp_path / "trust.json", tmp_path / "router.key"
    keys.save(key("router"), router_key)
    base = [sys.executable, "-m", "b3iq_streams.cli", "router"]
    at = ["--bootstrap", kafka.bootstrap, "--trust", str(trust), "--bound", "60000", "--json"]

    async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(
            subprocess.run, [*base, *arguments], capture_output=True, text=True, timeout=60, check=False,
            env=os.environ | environment,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    model = decision()["model_id"]
    async with network(kafka.bootstrap) as writer:
        trust.write_bytes(canonical(writer.trust))
        await writer.epoch(1, yes())
        code, said, _ = await run("pick", "--model", model, "--key", str(router_key), *at, B3IQ_CALLER_SECRET=SECRET.decode())
        assert (0, "node-1") == (code, orjson.loads(said)["node_id"])
        code, said, _ = await run("pick", "--model", model, "--tier", "portable_local", *at)
        assert (1, "route_tier_not_allowed") == (code, orjson.loads(said)["code"])
        code, said, complaint = await run("pick", "--model", model, "--key", str(router_key), *at)
        assert (2, "", 1) == (code, said, len(complaint.splitlines()))
        assert len(await logged(kafka.bootstrap, writer.trust.network)) == 1
        watching = await asyncio.create_subprocess_exec(
            *base, "watch", *at, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            async with asyncio.timeout(30):
                assert b"1 of 1 profiles eligible" in await watching.stderr.readline()
                await writer.epoch(1, no())
                line = json.loads(await watching.stdout.readline())
        finally:
            watching.kill()
            await watching.communicate()
    assert ("closed", NODE, ["heartbeat_stale"]) == (line["what"], line["key"], line["codes"])


async def logged(bootstrap: str, network: str) -> list[RoutingDecision]:
    """The decisions of one network, each signed by the router."""
    async with AIOKafkaConsumer(topics.ROUTING_DECISIONS, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as reader:
        records = [record for found in (await reader.getmany(timeout_ms=3_000)).values() for record in found]
    found = []
    for record in records:
        sealed = parse(record.value or b"")
        assert verify(bytes(key("router").verify_key), sealed.signed_bytes, sealed.signatures[0].sig)
        found.append(RoutingDecision.model_validate_json(sealed.payload))
    return [decided for decided in found if decided.network == network]
