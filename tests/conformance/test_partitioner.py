"""The partitioner is Kafka's default one: murmur2, as its own tests and the vectors know it."""

import json

import pytest

from b3iq_schemas.partitioner import murmur2, partition_for
from tests.conformance.make_vectors import FOLDER

# Apache Kafka, clients: UtilsTest.testMurmur2
KAFKA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("text", "expected"), KAFKA.items(), ids=KAFKA)
def test_murmur2(text: str, expected: int) -> None:
    """The hash is the one that Kafka's own test expects (Java prints it with a sign)."""
    assert murmur2(text.encode()) == expected & 0xFFFFFFFF


@pytest.mark.parametrize(("text", "expected"), KAFKA.items(), ids=KAFKA)
def test_partition(text: str, expected: int) -> None:
    """The sign bit is cleared, not negated, before the remainder (Java's `toPositive`)."""
    assert partition_for(text.encode(), 12) == (expected & 0x7FFFFFFF) % 12


def test_vectors() -> None:
    """The values published for other languages are ours."""
    for text, entry in json.loads((FOLDER / "partitioner.json").read_bytes()).items():
        assert murmur2(text.encode()) == entry["murmur2"]
        assert partition_for(text.encode(), entry["partitions"]) == entry["partition"]
