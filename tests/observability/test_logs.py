"""Logs carry what correlates them, and never a key or a payload."""

import asyncio
import json
import logging
from collections.abc import Generator, Iterator, Mapping
from io import StringIO
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from b3iq_streams.core.actions import Action, Answer, Confirmed, Notice
from b3iq_streams.core.chain import Anchor, Head
from b3iq_streams.observability import logs
from b3iq_streams.processor.engine import Engine, Ports
from b3iq_streams.processor.observer import Observer
from tests.factory import key
from tests.kafka.support import raised

SEED = bytes(key("processor")).hex()
PAYLOAD = orjson.dumps({"node_id": "n-1", "prompt": "what nobody may read"}).decode()
PLANTED = (SEED, "what nobody may read", "n-1")
HEAD = Head(3, 42, "ab" * 32, 1_000, 1, {}, Anchor(-1, 0, ""))


@pytest.fixture(params=["json", "console"])
def said(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    """What is logged from here on, in either form."""
    stream, root = StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter(request.param))
    level, before = root.level, root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: StringIO) -> list[dict[str, Any]]:
    """JSON lines as data; of the console nothing but its text."""
    return [json.loads(line) if line.startswith("{") else {"text": line} for line in stream.getvalue().splitlines()]


class Talkative:
    """An owner that confirms an epoch, and then has something to say."""

    def run(self) -> Generator[Action, Answer, None]:
        yield Confirmed(HEAD, True, {}, {}, 0, 0, {}, 0, 0)
        yield Notice("alarm", "fold_differs", f"epoch 42: {PAYLOAD} {SEED}")

    def keys_for(self, topic: str, key: bytes | None) -> Mapping[str, bytes]:
        return {}


async def talk(partition: int) -> None:
    """Let it talk to its end."""
    unused: Any = SimpleNamespace()
    await Engine(partition, Talkative(), Ports(unused, unused, unused, unused, Observer())).advance(None)


async def test_a_notice_carries_partition_epoch_and_digest_and_no_secret(said: StringIO) -> None:
    """Two partitions at once are not mixed up; nothing of a planted key or payload is there."""
    await asyncio.gather(talk(3), talk(5))
    text = said.getvalue()
    assert [] == [secret for secret in PLANTED if secret in text]
    for line in (line for line in lines(said) if line.get("level") == "error"):
        assert ("fold_differs", 42, HEAD.digest) == (line["code"], line["epoch"], line["digest"])
    assert {3, 5} == {line["partition"] for line in lines(said) if "partition" in line} or "partition=3" in text
    assert HEAD.digest in text


def test_nothing_planted_comes_out(said: StringIO) -> None:
    """Neither in a message, an argument, a field that is not allowed or allowed, nor in an error's message."""
    log = logging.getLogger("planted")
    log.warning("a record %s and %r of %s", PAYLOAD, PAYLOAD.encode(), SEED)
    log.warning("fields", extra={"payload": PAYLOAD, "key": SEED, "code": SEED, "digest": PAYLOAD, "partition": PAYLOAD})
    try:
        raise ValueError(PAYLOAD, SEED)
    except ValueError as error:
        log.exception("broken")
        log.critical("broken: %r", error, exc_info=error)
    text = said.getvalue()
    assert [] == [secret for secret in PLANTED if secret in text]
    assert "ValueError" in text
    assert "test_nothing_planted_comes_out" in text
    assert 2 == len(raised(text))  # what other tests look for, so that they see an error in either form


def test_what_people_need_stays(said: StringIO) -> None:
    """Addresses, topics, offsets and codes are readable."""
    message = "no Kafka broker at 127.0.0.1:9092 yet; eligibility-changes starts at 17, read up to 12"
    logging.getLogger("b3iq_streams.router.feed").warning(message)
    assert message in said.getvalue()


def test_fields_are_those_of_the_table(said: StringIO) -> None:
    """Nobody adds a field in passing."""
    logging.getLogger("x").error("y", extra={"anything": 1, "code": "z"})
    assert set() == {field for line in lines(said) for field in line} - {*logs.FIELDS, "text"}
