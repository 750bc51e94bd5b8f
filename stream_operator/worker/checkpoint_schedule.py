"""When each partition is made durable: a checkpoint every interval, and a watchdog over calls that hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from multitaskais.errors import MultitaskAISError

from .. import exit_codes as exits
from ..settings import Settings
from .metrics import Metrics
from .partition import Partition


class CheckpointSchedule:
    """A thread that hands checkpoints to ``pool``, one partition after the other, spread over the interval.

    All at once, each would wait for the others' writes, and its alerts with it.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Callable[[], list[Partition]],
        pool: ThreadPoolExecutor,
        stopping: threading.Event,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._partitions = partitions
        self._pool = pool
        self._stopping = stopping
        self._metrics = metrics
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        running: dict[int, Future[None]] = {}  # by id() of the partition
        limit_s = 3 * self._settings.outage_max_s
        turn = 0
        while not self._stopping.wait(self._settings.checkpoint_interval_s / max(1, len(self._partitions()))):
            partitions = self._partitions()
            if partitions:
                turn = (turn + 1) % len(partitions)
                p = partitions[turn]
                job = running.get(id(p))
                if job is None or job.done():
                    running[id(p)] = self._pool.submit(checkpoint, p)
            for p in partitions:
                if (since := p.checkpointer.busy_since) is not None and time.monotonic() - since > limit_s:
                    exits.end_now(
                        exits.TEMPFAIL, f"partition {p.number}: a checkpoint has hung for more than {limit_s:.0f} s"
                    )
            running = {id(p): running[id(p)] for p in partitions if id(p) in running}
            self._metrics.waiting.set(max((p.waiting_s for p in partitions), default=0.0))


def checkpoint(partition: Partition) -> None:
    """Make a partition durable; ends the process when that fails."""
    try:
        partition.checkpoint()
    except MultitaskAISError as e:
        exits.end_now(exits.of(e), str(e))
    except BaseException as e:
        exits.end_now(exits.SOFTWARE, f"a checkpoint of partition {partition.number} failed: {e!r}", e)
