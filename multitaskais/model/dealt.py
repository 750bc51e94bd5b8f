"""An archive of any size as what learns needs it: its reports on disk, to be read by whole vessels or in order of time.

    archive = deal(paths, region, folder)
    for reports in archive.whole_vessels(): ...
    for reports in archive.runs(region, rules): ...

The reports are those of ``model.samples.load_reports``, which holds them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ais.archives import read_reports
from ..config import Region, TrackRules
from ..records import Counts, Reason
from ..stamps import require_plausible_span
from ..tracks.copies import late_copies
from ..tracks.quality import TIME_RANGE_S, screen
from ..tracks.segmentation import RULE_EVENT_DTYPE, rule_events
from ..tracks.shuffle import Shuffle
from ..types import Reports, RuleEvents

BINS = 128
DAY_S = 86_400.0
TIMES_KEPT = 1_000_000  # of the archive's first reports: whether their stamps can be times


class Dealt(NamedTuple):
    """Reports on disk.

    Attributes:
        counts: of all rows of the archive.
        inside: reports inside the region, late copies not among them.
        after: Unix s; earlier reports, and those of this moment, are passed over.
    """

    shuffle: Shuffle
    counts: Counts
    inside: int
    after: float = -math.inf

    def whole_vessels(self) -> Iterator[Reports]:
        """All reports, each array with all of its vessels."""
        for reports in self.shuffle.whole_vessels():
            if self.after > -math.inf:
                reports = reports[reports["t"] > self.after]
            if len(reports):
                yield reports

    def runs(self, region: Region | None, rules: TrackRules) -> Iterator[Reports]:
        """Those in which nothing is wrong, in order of time, some hours at a time."""
        for reports in self.shuffle.runs(None, (self.after, math.inf)):
            yield reports[(screen(reports, region, rules) == 0) & (reports["t"] > self.after)]

    def last_t(self) -> float:
        """Unix s of the newest report; -inf where there is none."""
        day = max((day for _, day in self.shuffle.rows), default=0)
        newest = self.shuffle.runs(None, (day * DAY_S, math.inf))
        return max((float(run["t"].max()) for run in newest), default=-math.inf)


def deal(
    paths: str | Path | Iterable[str | Path],
    region: Region | None,
    folder: Path,
    archive_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    wanted: Callable[[Reports], NDArray[np.bool_]] | None = None,
    late_copies_too: bool = False,
) -> Dealt:
    """The reports of ``load_reports``, on disk in ``folder``; what stood there is removed.

    Args:
        wanted: which of some reports to keep (a mask); all when None.
        late_copies_too: keep transmissions that the archive holds again later (``tracks.copies``).

    Raises ``InputError`` where the archive or the folder cannot be used, or the times cannot be times.
    """
    names = [str(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    counts, shuffle = Counts(), Shuffle.create(folder, BINS)
    inside, kept = 0, 0
    times: list[NDArray[np.float64]] = []
    may_repeat = False  # only reports with their own second can be late copies
    for reports, of in read_reports(names, archive_format, columns=columns):
        counts.add(of)
        if region is not None:
            reports = reports[region.contains(reports["lat"], reports["lon"])]
        if wanted is not None:
            reports = reports[wanted(reports)]
        inside += len(reports)
        if kept < TIMES_KEPT:
            times.append(reports["t"].copy())
            kept += len(reports)
        t = reports["t"]
        dated = (t >= TIME_RANGE_S[0]) & (t < TIME_RANGE_S[1])  # no track has the others
        shuffle.add(reports if dated.all() else reports[dated])
        may_repeat |= bool((reports["second"] >= 0).any())
    shuffle.finish()
    late = 0
    if may_repeat and not late_copies_too:
        late = shuffle.drop(lambda mine: late_copies(mine, TrackRules()))
    if late:
        counts.accepted -= late
        counts.reject(Reason.DUPLICATE, late)
    if times:
        require_plausible_span(np.concatenate(times), ", ".join(names))
    return Dealt(shuffle, counts, inside - late)


def events_of_dealt(
    archive: Dealt, rules: TrackRules, region: Region | None, wanted: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> RuleEvents:
    """``tracks.segmentation.rule_events`` of the vessels that are ``wanted`` (MMSIs -> a mask), by vessel and time."""
    found = [np.zeros(0, RULE_EVENT_DTYPE)]
    for reports in archive.whole_vessels():
        found.append(rule_events(reports[wanted(reports["mmsi"])], rules, region))
    events = np.concatenate(found)
    return events[np.argsort(events["mmsi"], kind="stable")]
