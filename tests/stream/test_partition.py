"""One partition without a broker: what it says of the runs that it folds."""

from __future__ import annotations

from stream_operator.kafka.codec import ConsumerRecord
from stream_operator.worker.partition import Partition, RecordBatch


def run_of(offsets: range, next_offset: int) -> RecordBatch:
    partition = Partition.__new__(Partition)
    partition.number = 3
    return RecordBatch(partition, [ConsumerRecord(o, b"1", b"{}") for o in offsets], next_offset)


def test_a_run_that_fails_is_named_by_its_offsets_also_where_it_has_no_records():
    assert run_of(range(5, 8), 9).where == "partition 3, offsets 5 to 8"
    assert run_of(range(0), 9).where == "partition 3, before offset 9, without records"
