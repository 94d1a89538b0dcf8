"""Lines of JSON become signed records that admission accepts, or are refused with what is wrong with them."""

import random

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from nacl.signing import SigningKey

from b3iq_schemas.envelope import parse
from b3iq_schemas.events import PROFILES_MAX
from b3iq_schemas.ids import INT_MAX
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HEARTBEATS, INPUT_BYTES_MAX
from b3iq_streams.emit import KINDS, from_line, signed
from b3iq_streams.errors import UserError
from tests.factory import T0, benchmark_event, heartbeat_event, hold_event, profile, registration_event, route_event

KEY = SigningKey(bytes(32))
EVENTS = {
    "heartbeat": heartbeat_event(),
    "registration": registration_event(),
    "benchmark": benchmark_event(),
    "route-health": route_event(),
    "hold": hold_event(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_line_is_signed(kind: str) -> None:
    """The record goes to the kind's topic under the node's id, canonical, with what was given left as it is."""
    spaced = orjson.dumps(EVENTS[kind], option=orjson.OPT_INDENT_2)
    emission = from_line(kind, spaced, KEY, now_ms=5, seq=6)
    assert (emission.topic, emission.key) == (KINDS[kind][0], b"node-1")
    payload = parse(emission.value).payload
    assert (orjson.loads(payload), orjson.dumps(orjson.loads(payload))) == (EVENTS[kind], payload)


def test_absent_counters_are_filled_in() -> None:
    """`seq` and `sent_at_ms` come from the clock when they are absent."""
    line = {name: value for name, value in hold_event().items() if name not in ("seq", "sent_at_ms")}
    event = orjson.loads(parse(from_line("hold", orjson.dumps(line), KEY, now_ms=5, seq=6).value).payload)
    assert (event["seq"], event["sent_at_ms"]) == (6, 5)


def test_a_heartbeat_brings_its_own_counters() -> None:
    """A heartbeat's `seq` counts within its boot: one made up here would run far ahead of the host agent's."""
    line = {name: value for name, value in heartbeat_event().items() if name not in ("seq", "sent_at_ms")}
    with pytest.raises(UserError, match="seq: Field required"):
        from_line("heartbeat", orjson.dumps(line), KEY, now_ms=T0, seq=6)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "Field required"),
        (orjson.dumps(hold_event(held="yes")), "held: "),
        (orjson.dumps(hold_event(extra=1)), "extra: "),
        (orjson.dumps(hold_event(seq=-1)), "seq: "),
        (b"\xff", "not JSON"),
    ],
)
def test_a_bad_line_says_why(line: bytes, said: str) -> None:
    """What is wrong is said in a few words, never with the whole input."""
    with pytest.raises(UserError, match=said) as refused:
        from_line("hold", line, KEY, now_ms=5, seq=6)
    assert len(str(refused.value)) < 200


def test_nothing_is_sent_that_the_broker_would_refuse() -> None:
    """The largest heartbeat there can be fits its topic; what does not is refused here, before it voids a whole batch."""
    words = dict.fromkeys(("status", "runtime_kind", "route_tier", "queue_health"), "w" * 48)
    limits = {"model_id": "m" * 128, "price_wei_per_mtok": "9" * 78, "context_tokens_max": INT_MAX, **words}
    largest = heartbeat_event(profiles=[profile(f"{i:064}", **limits) for i in range(PROFILES_MAX)])
    assert len(from_line("heartbeat", orjson.dumps(largest), KEY, T0, 1).value) < INPUT_BYTES_MAX
    with pytest.raises(UserError, match="too large"):
        signed(HEARTBEATS, "node-1", bytes(INPUT_BYTES_MAX * 3 // 4), KEY)


def test_the_client_partitions_as_the_contract_does() -> None:
    """aiokafka's default partitioner and the contract's murmur2 agree on every key."""
    rng = random.Random(1)
    for _ in range(2_000):
        key, count = rng.randbytes(rng.randint(0, 70)), rng.randint(1, 40)
        assert partition_for(key, count) == DefaultPartitioner()(key, list(range(count)), [])
