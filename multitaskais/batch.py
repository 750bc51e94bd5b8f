"""The main path over a whole archive: the same fold as live, over all reports in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .detection.threshold import TYPES
from .modelfolder import Model
from .online import Events, Fleet, Seen
from .records import Alert, Counts, Verdict

RUN_REPORTS = 50_000  # long runs judge many samples at once; any other number gives the same alerts


@dataclass
class BatchResult:
    """What an archive led to.

    Attributes:
        alerts: every revision, in the order in which live would have told them.
        verdicts: the last of each track.
        trace: one row a sample (``trace_dtype``), sorted as judged; empty unless asked for.
    """

    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    trace: NDArray[np.void] = field(default_factory=lambda: np.zeros(0))
    detector_names: tuple[str, ...] = ()
    alert_type_names: tuple[str, ...] = tuple(str(t) for t in TYPES)


def trace_dtype(n_detectors: int) -> np.dtype:
    """``score`` and ``type_score`` are over their thresholds, ``z`` is what each detector says; NaN where nothing is said."""
    return np.dtype(
        [
            ("mmsi", "i8"),
            ("track_id", "U34"),
            ("t", "f8"),
            ("n", "i4"),
            ("lat", "f8"),
            ("lon", "f8"),
            ("sog", "f8"),
            ("cog", "f8"),
            ("judged", "?"),
            ("reason", "u1"),
            ("score", "f8"),
            ("type_score", "f8", (len(TYPES),)),
            ("z", "f8", (n_detectors,)),
            ("surprise", "f8", (n_detectors,)),
        ]
    )


def run(
    model: Model,
    reports: NDArray[np.void],
    *,
    trace: bool = False,
    finish: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """(n,) reports of ``REPORT_DTYPE`` in any order -> alerts and verdicts.

    Args:
        finish: nothing comes after the archive: judge what is held back for the lateness and close what is open. False stands
            where a live operator would stand after the same reports.
        progress: called with (reports done, of all).
    """
    reports = reports[np.lexsort((reports["mmsi"], reports["t"]))]
    fleet = Fleet(model, ordered=True, trace=trace)
    result = BatchResult(detector_names=model.panel.names)
    last: dict[str, Verdict] = {}
    seen: list[Seen] = []

    def take(events: Events) -> None:
        result.alerts += events.alerts
        result.counts.add(events.counts)
        last.update((v.track_id, v) for v in events.verdicts)
        seen.extend(events.seen)

    for start in range(0, len(reports), RUN_REPORTS):
        take(fleet.advance(reports[start : start + RUN_REPORTS]))
        if progress:
            progress(min(start + RUN_REPORTS, len(reports)), len(reports))
    if finish:
        take(fleet.advance_watermark(math.inf))
    result.verdicts = list(last.values())
    result.trace = _trace(seen, len(model.panel.names))
    return result


def _trace(seen: list[Seen], n_detectors: int) -> NDArray[np.void]:
    parts = []
    for track_ids, samples, result in seen:
        part = np.zeros(len(samples), trace_dtype(n_detectors))
        part["track_id"] = track_ids
        for name in ("mmsi", "t", "n", "lat", "lon", "sog", "cog"):
            part[name] = samples[name]
        for name in ("judged", "reason", "score", "type_score", "z", "surprise"):
            part[name] = getattr(result, name)
        parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0, trace_dtype(n_detectors))
