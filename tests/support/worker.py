"""A worker with an engine of its own: ``python -m tests.support.worker ENGINE [options of the worker]``."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from stream_operator.__main__ import main
from stream_operator.settings import Settings
from stream_operator.worker.engines import engine_opener
from tests.support.standin_engine import CountingEngine

if TYPE_CHECKING:
    from stream_operator.worker.engines import OpenEngine


def counting(settings: Settings) -> Any:
    return CountingEngine


def silent(settings: Settings) -> Any:
    return partial(CountingEngine, silent=True)


def without_a_leader(settings: Settings) -> Any:
    """The worker's first question to Kafka inside a rebalance fails, as it does while the broker has no leader for a partition."""
    from confluent_kafka import TopicPartition

    from stream_operator.worker.source_log import SourceLog

    def ends(source_log, consumer, partition):
        return consumer.get_watermark_offsets(TopicPartition(partition.topic, 999), timeout=5)

    mock.patch.object(SourceLog, "_ends", ends).start()  # for as long as this process lives
    return CountingEngine


ENGINES = {"product": engine_opener, "counting": counting, "silent": silent, "without-a-leader": without_a_leader}


def opener(name: str, settings: Settings) -> OpenEngine:
    return ENGINES[name](settings)


if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[2:]], ENGINES[sys.argv[1]]))
