"""Peak memory of the processes that this one has started, by kind: the JVM, and all others (Spark's Python workers)."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

EVERY_S = 0.2
_PPID = 1  # field of /proc/PID/stat behind the name (proc(5): field 4)


class Memory(NamedTuple):
    """Bytes. ``jvm`` and ``python`` are sums in which a page that n processes share counts 1/n in each (proc(5): Pss)."""

    jvm: int = 0
    python: int = 0
    worker: int = 0  # the largest of the others, shared pages counted in full (Rss)


class PeakMemory:
    """``with PeakMemory() as peak: ...``; then ``peak.most``: the most of each that samples each 0.2 s saw."""

    def __init__(self) -> None:
        self.most = Memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = Memory(*map(max, self.most, of_descendants(os.getpid())))
            if self._done.wait(EVERY_S):
                return


def of_descendants(root: int) -> Memory:
    """Of all processes below ``root``, itself left out, now."""
    above: dict[int, int] = {}
    java: set[int] = set()
    for entry in Path("/proc").iterdir():
        # A process may end at any moment, here and below.
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                above[int(entry.name)] = int(rest.split()[_PPID])
                if name.endswith("(java"):
                    java.add(int(entry.name))
    jvm = python = worker = 0
    for pid in above:
        up = above[pid]
        while up != root and up in above:
            up = above[up]
        if up != root:
            continue
        with contextlib.suppress(OSError):
            pss, rss = _sizes(pid)
            if pid in java:
                jvm += pss
            else:
                python, worker = python + pss, max(worker, rss)
    return Memory(jvm, python, worker)


def _sizes(pid: int) -> tuple[int, int]:
    """Pss and Rss, bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return int(sizes["Pss"].split()[0]) * 1024, int(sizes["Rss"].split()[0]) * 1024
