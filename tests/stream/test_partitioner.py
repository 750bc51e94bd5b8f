"""Records whose key belongs in another partition are counted: by the same hash as Java's clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_operator.kafka import partitioner
from stream_operator.kafka.partitioner import KeyPlacement, murmur2, partition_of
from tests.stream.conftest import producer, wait_until
from tests.stream.test_exactness import rows, send
from tests.stream.test_topic_identity import metric, ready
from tests.support.topic_reading import messages


@pytest.mark.parametrize(
    ("key", "java"),  # of Kafka's own unit test of ``Utils.murmur2``
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_java(key, java):
    assert murmur2(key) == java % 2**32


@given(st.lists(st.none() | st.binary(max_size=12)), st.integers(1, 64), st.data())
def test_a_key_is_misplaced_where_it_does_not_belong_also_when_all_are_forgotten_now_and_then(keys, partitions, data):
    number = data.draw(st.integers(0, partitions - 1))
    placement = KeyPlacement(number, partitions)
    wrong = [k for k in keys if k is not None and partition_of(k, partitions) != number]
    assert placement.misplaced(keys) == wrong
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioner, "KEYS_MAX", 2)
        assert placement.misplaced(keys) == wrong


@pytest.mark.broker
def test_records_under_a_key_of_another_partition_are_counted_and_told_once(settings, start_worker):
    worker = start_worker(settings)
    wait_until(lambda: ready(worker)[0] == 200, 60)
    send(settings, rows(200, 20), finish=False)
    placed = {m.key(): m.partition() for m in messages(settings, settings.topic)}
    assert all(partition_of(key, 4) == number for key, number in placed.items())
    p = producer(settings)
    for key, number in placed.items():
        p.produce(settings.topic, b"{}", key, (number + 1) % 4)
    p.flush()
    wait_until(lambda: metric(worker, "multitaskais_records_misplaced_total") == len(placed), 40)
    assert 1 <= worker.text().count("belong in another partition") <= 4
