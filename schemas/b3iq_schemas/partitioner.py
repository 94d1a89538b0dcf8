"""Kafka's default partitioner (murmur2 of the key), so that every client in every language finds the same partition.

Formula: Apache Kafka `org.apache.kafka.common.utils.Utils.murmur2`, seed 0x9747b28c, then `& 0x7fffffff` mod P.
"""

from functools import lru_cache

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash of `data` as an unsigned integer."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ (k >> 24)) * _M & _MASK)
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_for(key: bytes, partitions: int) -> int:
    """The partition, of `partitions`, that a record with this key belongs on."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
