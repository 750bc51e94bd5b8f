"""Where a record belongs by its key: the partitioner of Java clients and aiokafka (``murmur2_random`` of librdkafka).

Two feeders with different partitioners split a vessel over two partitions, and each half looks like a ship with gaps. So the worker
counts the records whose key belongs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

KEYS_MAX = 200_000  # that are remembered; then all are forgotten and asked again


def murmur2(data: bytes) -> int:
    """The 32-bit hash of ``org.apache.kafka.common.utils.Utils.murmur2``, as a number from 0 on."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class KeyPlacement:
    """Which keys do not belong in one partition."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._partition, self._partitions = partition, partitions
        self._known: dict[bytes, bool] = {}  # key -> whether it is in the right place

    def misplaced(self, keys: Iterable[bytes | None]) -> list[bytes]:
        """Those of ``keys`` (repeated ones as often) that belong elsewhere; a record without a key belongs anywhere."""
        known, found = self._known, []
        for key in keys:
            if key is None:
                continue
            right = known.get(key)
            if right is None:
                if len(known) >= KEYS_MAX:
                    known.clear()
                right = known[key] = partition_of(key, self._partitions) == self._partition
            if not right:
                found.append(key)
        return found
