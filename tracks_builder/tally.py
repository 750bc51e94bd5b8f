"""Counts that come back from the tasks exactly once, and a bounded sample of what was rejected.

A Spark accumulator counts a task again when its stage is computed again (a lost worker). Here every task reports under its own
key (step, partition; steps have different names, since Spark may run the parts of a union in one partition), and a second report replaces the first: equal partitions give equal counts, so nothing counts twice.
What reaches the driver is some numbers per task, as Spark's own bookkeeping of tasks is; samples are cut when they are joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pyspark.accumulators import AccumulatorParam

from multitaskais.stamps import Stamps

SAMPLES_PER_REASON = 20  # rejected lines that are shown for each reason
SAMPLE_TEXT_MAX = 200  # characters of such a line


class Sample(NamedTuple):
    """A rejected line: ``line`` counts from 1 within the block of ``file`` that begins at byte ``block``."""

    reason: str
    file: str
    block: int
    line: int
    text: str


class Block(NamedTuple):
    """A part of a file that one task read; ``start`` in bytes."""

    file: str
    start: int
    lines: int


@dataclass
class Tally:
    """What one task, or all, saw. ``counts`` by (what, name): ("line", "checksum"), ("track", "2017"), ..."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    stamps: Stamps = field(default_factory=Stamps)

    def sample(self, reason: str, file: str, block: int, line: int, text: bytes) -> None:
        if sum(s.reason == reason for s in self.samples) < SAMPLES_PER_REASON:
            shown = text[:SAMPLE_TEXT_MAX].decode("ascii", "backslashreplace")
            self.samples.append(Sample(reason, file, block, line, shown))

    def of(self, what: str) -> dict[str, int]:
        """All counts of one sort, the greatest first."""
        found = {name: n for (kind, name), n in self.counts.items() if kind == what and n}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


Tallies = dict[tuple[str, int], Tally]


class ByTask(AccumulatorParam[Tallies]):
    """Joins the tallies of tasks; the same task again replaces itself. Samples go to one bounded list under ``_KEPT``."""

    _KEPT = ("samples", -1)

    def zero(self, value: Tallies) -> Tallies:
        return {}

    def addInPlace(self, value1: Tallies, value2: Tallies) -> Tallies:
        for task, tally in value2.items():
            kept = value1.setdefault(self._KEPT, Tally())
            kept.samples = bounded(kept.samples + tally.samples)
            if task != self._KEPT:
                value1[task] = Tally(tally.counts, [], tally.blocks, tally.stamps)
        return value1


def bounded(samples: list[Sample]) -> list[Sample]:
    """The first of each reason in the order of file and line, without repetitions: the same whatever came first."""
    taken: Counter[str] = Counter()
    out = []
    for s in sorted(set(samples)):
        taken[s.reason] += 1
        if taken[s.reason] <= SAMPLES_PER_REASON:
            out.append(s)
    return out


def total(tallies: Tallies) -> Tally:
    """All tasks together."""
    out = Tally()
    for tally in tallies.values():
        out.counts.update(tally.counts)
        out.blocks += tally.blocks
        out.samples += tally.samples
        out.stamps.add(tally.stamps)
    out.samples = bounded(out.samples)
    return out


def numbered(tally: Tally) -> Iterator[tuple[str, int, str, str]]:
    """(file, line number from 1 in the whole file, reason, text) of the samples."""
    for s in tally.samples:
        before = sum(b.lines for b in tally.blocks if b.file == s.file and b.start < s.block)
        yield plain_path(s.file), before + s.line, s.reason, s.text


def plain_path(uri: str) -> str:
    """A file of this machine as its path; any other URI unchanged."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" and not parts.netloc else uri
