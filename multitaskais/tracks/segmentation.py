"""Whole archives into tracks: the tracker's rules on arrays, for training and for the batch job.

Nearly all vessels are ordinary: no jump, no doubtful duplicate. For those the rules are array operations. The others go through
``VesselTracker`` itself, report by report. Either way the answer is the tracker's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..config import Region, TrackRules
from ..records import AlertType, Reason
from ..row_bytes import take
from ..types import LabelRows, Reports, RuleEvents
from ..units import KNOT_MPS
from .displacement import are_copies
from .geometry import great_circles_m
from .quality import CODE, screen
from .tracker import RATE_MAX, RATE_S, Accepted, IdentityConflict, Jump, Rejected, VesselTracker, track_name

# One row a report, in the order of the reports.
LABEL_DTYPE = np.dtype(
    [
        ("code", "u1"),  # 0 accepted, else index into screen.REASONS
        ("line", "i4"),  # of the vessel, from 0; -1 when not accepted
        (
            "track",
            "i4",
        ),  # of the vessel, from 0, in the order in which its tracks begin in the event sequence; -1 when not accepted
        ("start", "f8"),  # Unix s of the track's first report; NaN when not accepted
        ("suffix", "i4"),  # 1, or 2 (3 ...) for a track whose id would otherwise be another's
    ]
)

# A jump or an identity conflict; ``knots``: the excess of a jump, infinite for a conflict, which has no size.
RULE_EVENT_DTYPE = np.dtype([("mmsi", "i8"), ("t", "f8"), ("alert_type", "U20"), ("knots", "f8")])

_CONTENT = ("lat", "lon", "sog", "cog", "heading", "nav_status", "msg_type")
_TIES = ("ship_name", "ship_type", "msg_type", "nav_status", "heading", "cog", "sog", "lon", "lat")


def segment(reports: Reports, rules: TrackRules, region: Region | None = None) -> LabelRows:
    """(n,) labels of ``LABEL_DTYPE`` of (n,) reports of ``REPORT_DTYPE``; of any number of vessels, in any order.

    Equal to ``VesselTracker`` fed with the same reports in time order; there is no late report in a whole archive. The reports
    are screened first.
    """
    labels = np.zeros(len(reports), LABEL_DTYPE)
    labels["code"] = screen(reports, region, rules)
    labels["line"] = labels["track"] = -1
    labels["start"] = np.nan
    labels["suffix"] = 1
    use = np.flatnonzero(labels["code"] == 0)
    if not len(use):
        return labels
    r = reports if len(use) == len(reports) else reports[use]
    if (order := _order(r)) is not None:
        use, r = use[order], r[order]
    ordinary, duplicate = look(r, rules)
    labels["code"][use[duplicate & ordinary]] = CODE[Reason.DUPLICATE]
    _segment_ordinary(r, use, ordinary & ~duplicate, rules, labels)
    special = np.flatnonzero(~ordinary)
    if len(special):
        edges = np.flatnonzero(np.diff(r["mmsi"][special])) + 1
        for rows in np.split(special, edges):
            _segment_special(r[rows], use[rows], rules, labels)
    return labels


def rule_events(reports: Reports, rules: TrackRules, region: Region | None = None) -> RuleEvents:
    """(e,) of ``RULE_EVENT_DTYPE``: what the tracker's fixed rules find in (n,) reports, in order of vessel and time."""
    use = np.flatnonzero(screen(reports, region, rules) == 0)
    found: list[tuple[int, float, str, float]] = []
    if len(use):
        r = reports[use]
        if (order := _order(r)) is not None:
            r = r[order]
        ordinary, _ = look(r, rules)
        special = r[~ordinary]
        for rows in np.split(special, np.flatnonzero(np.diff(special["mmsi"])) + 1):
            tracker = VesselTracker()
            events = [event for row in rows.tolist() for event in tracker.offer(row, rules)]
            for event in events + tracker.flush(rules, math.inf):
                if isinstance(event, Jump):
                    found.append((event.after[0], event.after[1], AlertType.JUMP, event.excess_knots))
                elif isinstance(event, IdentityConflict):
                    found.append((event.report[0], event.report[1], AlertType.IDENTITY_CONFLICT, math.inf))
    return np.array(found, RULE_EVENT_DTYPE)


def track_ids(mmsi: NDArray[np.int64], labels: LabelRows) -> list[str]:
    """The ids of labelled reports; empty text where a report is in no track."""
    names: dict[tuple[int, float, int], str] = {}
    ids = []
    for row in zip(mmsi.tolist(), labels["start"].tolist(), labels["suffix"].tolist(), strict=True):
        if row[1] != row[1]:
            ids.append("")
            continue
        if row not in names:
            names[row] = track_name(*row)
        ids.append(names[row])
    return ids


def _order(reports: Reports) -> NDArray[np.int64] | None:
    """By vessel and time, equal times by content as in the tracker; None for an archive that is so sorted already."""
    mmsi, t = reports["mmsi"], reports["t"]
    step, dt = np.diff(mmsi), np.diff(t)
    if not ((step > 0) | ((step == 0) & (dt > 0))).all():
        ordered = np.lexsort((t, mmsi))
        m, s = mmsi[ordered], t[ordered]
        equal = (m[1:] == m[:-1]) & (s[1:] == s[:-1])
        if equal.any():
            # Only the runs of equal times need their content.
            tied = np.concatenate([[False], equal]) | np.concatenate([equal, [False]])
            part = ordered[tied]
            rows = reports[part]
            keys: list[NDArray[np.generic]] = []
            for name in _TIES:
                x = rows[name]
                if x.dtype.kind == "f":
                    keys += [np.where(np.isnan(x), 0.0, x), ~np.isnan(x)]  # NaN first
                else:
                    keys.append(x)
            ordered[tied] = part[np.lexsort((*keys, rows["t"], rows["mmsi"]))]
        return ordered
    return None


def in_tracker_order(reports: Reports) -> Reports:
    """(n,) reports by vessel and time, equal times by content: the order in which the tracker releases them."""
    order = _order(reports) if len(reports) else None
    return reports if order is None else take(reports, order)


def look(r: Reports, rules: TrackRules) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of (n,) screened reports ``in_tracker_order`` that are all of their vessels: (is its vessel ordinary?, duplicate?).

    Of an ordinary vessel the tracker says nothing but which reports are duplicates, where its lines end and where its tracks are cut.
    Duplicates are certain for ordinary vessels alone.
    """
    mmsi, t, lat, lon, sog = (np.ascontiguousarray(r[name]) for name in ("mmsi", "t", "lat", "lon", "sog"))
    n = len(r)
    vessel = np.cumsum(np.concatenate([[True], np.diff(mmsi) != 0])) - 1
    # More reports than ``RATE_MAX`` within the minute: which of them count the tracker decides, and no pairs of them are looked at here.
    special = np.zeros(vessel[-1] + 1, bool)
    special[vessel[RATE_MAX:][(vessel[RATE_MAX:] == vessel[:-RATE_MAX]) & (t[RATE_MAX:] - t[:-RATE_MAX] < RATE_S)]] = (
        True
    )
    flooded = special[vessel]
    matched = np.zeros(n, bool)  # equal to some report within the time
    certain = np.zeros(n, bool)  # equal to one that is itself counted
    pairs = []
    for k in range(1, n):
        dt = t[k:] - t[:-k]
        near = np.flatnonzero((mmsi[k:] == mmsi[:-k]) & (dt <= rules.copy_s) & ~flooded[k:])
        if not len(near):
            break
        near = near[(lat[near + k] == lat[near]) & (lon[near + k] == lon[near])]
        near = near[(dt[near] <= rules.duplicate_s) | are_copies(lat[near], lon[near], sog[near])]
        for name in _CONTENT[2:]:
            x, y = r[name][near + k], r[name][near]
            same = x == y
            if x.dtype.kind == "f":
                same |= np.isnan(x) & np.isnan(y)
            near = near[same]
        matched[near + k] = True
        pairs.append((near + k, near))
    for later, earlier in pairs:
        certain[later[~matched[earlier]]] = True
    doubtful = matched & ~certain
    kept = np.flatnonzero(~matched)
    before, after = kept[:-1], kept[1:]
    same_vessel = mmsi[before] == mmsi[after]
    dt = t[after] - t[before]
    # What stamps or the resolution of positions may explain beyond that (``displacement``), and a hair's breadth before the limit, the
    # tracker decides.
    reach_m = rules.jump_min_m + (sog[after] + rules.jump_excess_knots) * KNOT_MPS * dt
    made_m = great_circles_m(lat[before], lon[before], lat[after], lon[after])
    jumps = same_vessel & (dt <= rules.gap_max_s + 1.0) & (made_m > reach_m * (1.0 - 1e-6))
    doubtful[kept[1:][jumps]] = True
    special[vessel[doubtful]] = True
    return ~special[vessel], matched


def _segment_ordinary(
    r: Reports, index: NDArray[np.int64], use: NDArray[np.bool_], rules: TrackRules, labels: LabelRows
) -> None:
    """Gaps and cuts of reports without jumps."""
    rows = np.flatnonzero(use)
    if not len(rows):
        return
    mmsi, t = r["mmsi"][rows], r["t"][rows]
    new_vessel = np.concatenate([[True], np.diff(mmsi) != 0])
    new_line, new_track = lines_and_tracks(mmsi, t, rules)
    line = np.cumsum(new_line) - 1
    track = np.cumsum(new_track) - 1
    vessel_start = np.maximum.accumulate(np.where(new_vessel, np.arange(len(t)), 0))
    target = index[rows]
    labels["line"][target] = line - line[vessel_start]
    labels["track"][target] = track - track[vessel_start]
    labels["start"][target] = t[np.flatnonzero(new_track)[track]]


def lines_and_tracks(
    mmsi: NDArray[np.int64], t: NDArray[np.float64], rules: TrackRules
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(first of a line?, first of a track?) of (n,) accepted reports of ordinary vessels, by vessel and time; n > 0."""
    new_line = np.concatenate([[True], np.diff(mmsi) != 0])
    new_line[1:] |= t[1:] > t[:-1] + rules.gap_max_s
    new_track = new_line.copy()
    firsts = np.flatnonzero(new_line)
    ends = np.append(firsts[1:], len(t))
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        while t[end - 1] >= t[first] + rules.cut_s:
            first += int(np.searchsorted(t[first:end], t[first] + rules.cut_s))
            new_track[first] = True
    return new_line, new_track


def _segment_special(r: Reports, index: NDArray[np.int64], rules: TrackRules, labels: LabelRows) -> None:
    """One vessel through the tracker."""
    rows = r.tolist()
    place = {id(row): i for i, row in zip(index.tolist(), rows, strict=True)}
    tracker = VesselTracker()
    events = [event for row in rows for event in tracker.offer(row, rules)]
    events += tracker.flush(rules, math.inf)
    open_tracks: dict[int, tuple[str, int, float, int]] = {}  # by line: id, number, start, suffix
    tracks = 0
    for event in events:
        if isinstance(event, Rejected):
            labels["code"][place[id(event.report)]] = CODE[event.reason]
        elif isinstance(event, Accepted):
            track = open_tracks.get(event.target)
            if track is None or track[0] != event.track_id:
                suffix = int(event.track_id.rpartition("Z")[2].lstrip("-") or 1)
                track = open_tracks[event.target] = (event.track_id, tracks, event.report[1], suffix)
                tracks += 1
            i = place[id(event.report)]
            labels["line"][i] = event.target
            labels["track"][i] = track[1]
            labels["start"][i] = track[2]
            labels["suffix"][i] = track[3]
