"""Whole vessels as arrays: what ``PartitionEngine`` finds in them, without moving one report at a time.

Nearly all vessels are ordinary: in the whole of what they said there is no jump, no doubtful duplicate and no flood of reports
(``tracks.segmentation.look``). Of those all is known before anything is judged: their lines and tracks, their samples
(``tracks.resample``), and when each sample is decided. What is left is the panel, which takes the next samples of many lines at
once. All other vessels are told apart and left to the engine, report by report. Either way the alerts are the engine's, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..detection.lifecycle import TargetInfo
from ..detection.offline import blocks
from ..model.folder import Model
from ..records import Alert, Counts, Reason
from ..row_bytes import put, take
from ..tracks.geometry import great_circles_m
from ..tracks.quality import REASONS, of_fast_craft, screen
from ..tracks.resample import resample_lines
from ..tracks.segmentation import in_tracker_order, lines_and_tracks, look
from ..tracks.tracker import track_name
from ..types import Reports, Samples
from ..units import KNOT_MPS
from .events import FAST_TRACK
from .track_tally import TrackTally

TOGETHER = 1024  # lines that step together: 7 MB of rows


class _Line(NamedTuple):
    """One line of an ordinary vessel that has samples. Of its m samples: rows of the vessels' reports."""

    samples: Samples  # (m,)
    after: NDArray[np.int64]  # (m,) the report that completed each sample
    last: int  # the line's last report


class _Infos(Sequence[TargetInfo]):
    """What is known of each line of a batch, made for those that are asked for."""

    def __init__(self, told: _Told, at: NDArray[np.int64]) -> None:
        self._told, self._at = told, at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, i: int) -> TargetInfo: ...
    @overload
    def __getitem__(self, i: slice) -> list[TargetInfo]: ...
    def __getitem__(self, i: int | slice) -> TargetInfo | list[TargetInfo]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        return self._told.info(int(self._at[i]))


class _Told:
    """Of the accepted reports of ordinary vessels, by vessel and time: what is known of the vessel at each, and its track.

    Args:
        reports: (n,) the accepted ones.
        offered: these and the duplicates among them.
        new_line, new_track: (n,) where lines and tracks begin.
    """

    def __init__(
        self,
        reports: Reports,
        offered: Reports,
        new_line: NDArray[np.bool_],
        new_track: NDArray[np.bool_],
        rules: TrackRules,
    ) -> None:
        n = len(reports)
        self.reports = reports
        self._speed_max_knots = rules.speed_max_knots
        line_start = np.maximum.accumulate(np.where(new_line, np.arange(n), 0))
        self.ship_type = _last_known(reports["ship_type"], reports["ship_type"] >= 0, line_start, -1)
        self._line_start = line_start
        self.track = np.cumsum(new_track) - 1
        self.track_start = np.flatnonzero(new_track)
        self._rules = rules
        self._mmsi, self._t = (np.ascontiguousarray(offered[name]) for name in ("mmsi", "t"))
        self._names: dict[int, str] = {}

    @cached_property
    def ship_name(self) -> NDArray[np.bytes_]:
        """(n,) as it is known at each; asked for where there are alerts."""
        name = self.reports["ship_name"]
        found: NDArray[np.bytes_] = _last_known(name, name != b"", self._line_start, b"")
        return found

    def decided(self, i: int) -> float:
        """When an accepted report is released: by the first that is newer by more than the lateness, or by the vessel's silence.

        ``VesselTracker.offer`` and ``PartitionEngine.process`` in one: a report that comes after a gap decides at the gap's end.
        """
        mmsi = self.reports["mmsi"][i]
        t = self._t[np.searchsorted(self._mmsi, mmsi, "left") : np.searchsorted(self._mmsi, mmsi, "right")]
        by = int(np.searchsorted(t - self._rules.lateness_s, self.reports["t"][i], side="right"))
        silent = float(t[by - 1]) + self._rules.gap_max_s
        return min(float(t[by]), silent) if by < len(t) else silent

    def track_id(self, track: int) -> str:
        name = self._names.get(track)
        if name is None:
            first = self.reports[self.track_start[track]]
            name = track_name(int(first["mmsi"]), float(first["t"]))
            if first["sog"] > self._speed_max_knots:
                name += FAST_TRACK
            self._names[track] = name
        return name

    def info(self, i: int, decided_at: float | None = None) -> TargetInfo:
        return TargetInfo(
            int(self.reports["mmsi"][i]),
            bytes(self.ship_name[i]),
            int(self.ship_type[i]),
            self.track_id(int(self.track[i])),
            self.decided(i) if decided_at is None else decided_at,
        )


class Observed:
    """When ordinary vessels were under observation: what the engine that has the others must know (``StationWatch``)."""

    def __init__(self) -> None:
        self.spans: list[NDArray[np.void]] = []  # of SPAN_DTYPE
        self._begin: NDArray[np.float64] | None = None

    def count(self, t: float, mmsi: int) -> int:
        """Ships under observation when the report of ``mmsi`` at ``t`` comes, in a log in order of time and MMSI."""
        if self._begin is None:
            spans = np.concatenate([np.zeros(0, SPAN_DTYPE), *self.spans])
            spans = spans[np.lexsort((spans["mmsi"], spans["begin"]))]
            self._begin, self._mmsi = np.ascontiguousarray(spans["begin"]), np.ascontiguousarray(spans["mmsi"])
            self._end = np.sort(spans["end"])
        first, beyond = np.searchsorted(self._begin, t, "left"), np.searchsorted(self._begin, t, "right")
        begun = first + np.searchsorted(self._mmsi[first:beyond], mmsi)
        return int(begun - np.searchsorted(self._end, t, "left"))


SPAN_DTYPE = np.dtype([("begin", "f8"), ("end", "f8"), ("mmsi", "i8")])  # first report; the gap's end after the last


def _spans(offered: Reports, gap_max_s: float) -> NDArray[np.void]:
    mmsi, t = offered["mmsi"], offered["t"]
    fresh = np.concatenate([[True], (mmsi[1:] != mmsi[:-1]) | (t[1:] > t[:-1] + gap_max_s)])
    first = np.flatnonzero(fresh)
    spans = np.zeros(len(first), SPAN_DTYPE)
    spans["begin"], spans["mmsi"] = t[first], mmsi[first]
    spans["end"] = t[np.append(first[1:], len(t)) - 1] + gap_max_s
    return spans


def _odd_neighbours(offered: Reports, model: Model) -> NDArray[np.bool_]:
    """(n,) whether some report of the vessel may not follow the one before it, duplicates too: the engine has to look at it."""
    rules = model.track_rules
    mmsi, t, lat, lon, sog = (np.ascontiguousarray(offered[name]) for name in ("mmsi", "t", "lat", "lon", "sog"))
    made_m = great_circles_m(lat[:-1], lon[:-1], lat[1:], lon[1:])
    reach_m = rules.jump_min_m + (sog[1:] + rules.jump_excess_knots) * KNOT_MPS * (t[1:] - t[:-1])
    odd = (mmsi[1:] == mmsi[:-1]) & (t[1:] - t[:-1] <= rules.gap_max_s + 1.0) & (made_m > reach_m * (1.0 - 1e-6))
    return np.isin(mmsi, mmsi[1:][odd])


def judge_whole(
    model: Model,
    reports: Reports,
    tally: TrackTally,
    counts: Counts,
    alerts: list[Alert],
    observed: Observed,
) -> NDArray[np.void]:
    """Judge the ordinary vessels among (n,) reports, which are all that each of their vessels said, in any order.

    Adds to ``tally``, ``counts`` (of these and of what is rejected on its own), ``alerts`` and ``observed``. Returns the reports that passed the
    screen of all other vessels, by vessel and time: the engine's.
    """
    codes = screen(reports, model.region, model.track_rules)
    fast = of_fast_craft(reports, codes)
    for code, n in zip(*np.unique(codes[(codes > 0) & ~fast], return_counts=True), strict=True):
        counts.received += int(n)
        counts.reject(REASONS[int(code)], int(n))
    special, offered, duplicate = _told_apart(model, take(reports, codes == 0))
    counts.received += len(offered)
    counts.accepted += int((~duplicate).sum())
    counts.reject(Reason.DUPLICATE, int(duplicate.sum()))
    if len(offered):
        observed.spans.append(_spans(offered, model.track_rules.gap_max_s))
    _judge(model, offered, duplicate, tally, alerts)
    if not fast.any():
        return special
    # What vessels report above the limit of speed is judged beside their tracks (``engine``).
    special_fast, offered, duplicate = _told_apart(model, take(reports, fast))
    counts.received += len(offered)
    counts.reject(Reason.TOO_FAST, len(offered))
    _judge(model, offered, duplicate, tally, alerts)
    return in_tracker_order(np.concatenate([special, special_fast])) if len(special_fast) else special


def _told_apart(model: Model, offered: Reports) -> tuple[Reports, Reports, NDArray[np.bool_]]:
    """By vessel and time: the reports of vessels that are not ordinary, those of ordinary ones, and which of these are duplicates."""
    offered = in_tracker_order(offered)
    if not len(offered):
        return offered, offered, np.zeros(0, bool)
    ordinary, duplicate = look(offered, model.track_rules)
    ordinary &= ~_odd_neighbours(offered, model)
    return take(offered, ~ordinary), take(offered, ordinary), duplicate[ordinary]


def _judge(
    model: Model, offered: Reports, duplicate: NDArray[np.bool_], tally: TrackTally, alerts: list[Alert]
) -> None:
    """Judge all reports of ordinary vessels."""
    accepted = take(offered, ~duplicate)
    if len(accepted):
        new_line, new_track = lines_and_tracks(accepted["mmsi"], accepted["t"], model.track_rules)
        told = _Told(accepted, offered, new_line, new_track, model.track_rules)
        lines = _sampled(told, new_line, new_track, model)
        lines.sort(key=lambda line: -len(line.samples))
        for start in range(0, len(lines), TOGETHER):
            _step(model, told, lines[start : start + TOGETHER], tally, alerts)


def _sampled(told: _Told, new_line: NDArray[np.bool_], new_track: NDArray[np.bool_], model: Model) -> list[_Line]:
    """The lines that have a sample, each sample with the vessel's type as it was known."""
    begin = np.append(np.flatnonzero(new_line), len(new_line))
    samples, before, own = resample_lines(told.reports, begin, model.detection_rules, new_track)
    after = before + 1
    samples["ship_type"] = told.ship_type[after]
    rows = zip(own.tolist(), own[1:].tolist(), (begin[1:] - 1).tolist(), strict=False)
    return [_Line(samples[a:b], after[a:b], last) for a, b, last in rows if b > a]


def _step(model: Model, told: _Told, lines: list[_Line], tally: TrackTally, alerts: list[Alert]) -> None:
    """Some lines through the panel, the next samples of many lines together."""
    panel, life = model.panel, model.alert_life()
    samples = np.concatenate([line.samples for line in lines])
    after = np.concatenate([line.after for line in lines])
    judged, reason = np.zeros(len(samples), bool), np.zeros(len(samples), np.uint8)
    score = np.full(len(samples), np.nan)
    rows = panel.initial(len(lines))
    for mine, at in blocks(samples):
        chosen = take(samples, at)
        new, memory, result = panel.steps(take(rows, mine), chosen)
        alerts.extend(alert for _, alert in life.judge_block(new, memory, chosen, result, _Infos(told, after[at])))
        put(rows, mine, new)
        judged[at], reason[at], score[at] = result.judged, result.reason, result.score
    for i in np.flatnonzero(rows["alert"]["open"].any(axis=1)).tolist():
        last = lines[i].last
        ended = float(told.reports["t"][last]) + model.track_rules.gap_max_s
        alerts.extend(life.on_end(rows[i], told.info(last, ended)))
    _tally(told, samples, after, judged, reason, score, tally)


def _tally(
    told: _Told,
    samples: Samples,
    after: NDArray[np.int64],
    judged: NDArray[np.bool_],
    reason: NDArray[np.uint8],
    score: NDArray[np.float64],
    tally: TrackTally,
) -> None:
    track = told.track[after]
    first = np.flatnonzero(np.concatenate([[True], track[1:] != track[:-1]]))
    last = np.append(first[1:], len(track)) - 1
    best = np.maximum.reduceat(np.where(np.isfinite(score), score, -np.inf), first)
    columns = (
        track[first],
        samples["mmsi"][first],
        samples["t"][first],
        samples["t"][last],
        last - first + 1,
        np.add.reduceat(judged.astype(np.int64), first),
        reason[last],
        best,
    )
    for number, *rest in zip(*(c.tolist() for c in columns), strict=True):
        tally.add_track(told.track_id(number), *rest)


def _last_known(
    values: NDArray[Any], known: NDArray[np.bool_], line_start: NDArray[np.int64], missing: int | bytes
) -> NDArray[Any]:
    """At each report the last value of its line that was known, or ``missing``."""
    source = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(source >= line_start, values[np.maximum(source, 0)], missing)


__all__ = ["judge_whole"]
