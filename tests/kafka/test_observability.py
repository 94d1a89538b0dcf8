"""A real worker serves what the table says, and logs what correlates."""

import json
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from b3iq_streams.observability.metrics import PROCESSOR
from tests.kafka.load import Load
from tests.kafka.network import Network, until
from tests.kafka.support import free_port
from tests.kafka.witness import Witness
from tests.observability.promtool import run


def scraped(port: int) -> bytes:
    """What Prometheus would get; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


@pytest.mark.parametrize("network", [2], indirect=True)
async def test_a_worker_serves_every_metric_of_the_table(network: Network) -> None:
    """Each family is there, promtool accepts the text, live partitions have samples, and every log line is JSON."""
    port = free_port()
    async with Witness(network).watching() as witness, Load(network).running():
        worker = network.worker("a", arguments=("--web-port", str(port), "--log-level", "debug"))
        await witness.progress()
        await until(lambda: scraped(port).count(b"\nb3iq_resolved_lag_seconds{") == 2, f"metrics; {worker.log[-1_500:]}")
        text = scraped(port)
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert {metric.name for metric in PROCESSOR} == set(families)
    assert (0, "") == run("check", "metrics", given=text)
    for name in ("b3iq_lag_records", "b3iq_policy_revision", "b3iq_profiles_eligible", "b3iq_recovery_seconds"):
        assert {"0", "1"} == {sample.labels["partition"] for sample in families[name].samples}
    lines = [json.loads(line) for line in worker.log.splitlines()]
    accepted = [line for line in lines if line["event"] == "epoch accepted"]
    assert {0, 1} == {line["partition"] for line in accepted}
    assert {(head.epoch, head.digest) for head in witness.heads} & {(line["epoch"], line["digest"]) for line in accepted}
