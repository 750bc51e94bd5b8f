"""Which whole tracks a model learns from and is calibrated on. docs/method.md#tracks; live judgement never waits for these rules."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import MOORED_STATUS
from ..config import TrackRules
from ..types import LabelRows, Reports

MOVING_KNOTS = 1.0  # docs/method.md#tracks: SOG never reaches it -> moored


class Selection(IntEnum):
    """Why a track is not chosen; 0 = chosen. The first that holds, in this order."""

    CHOSEN = 0
    TOO_FEW = 1  # fewer than min_reports reports
    TOO_SHORT = 2  # shorter than min_duration_s
    MOORED = 3  # status 1 or 5 in more than moored_share of the reports, or SOG never reaches 1 kn
    SLOW = 4  # SOG below slow_knots in more than slow_share of the reports

    @property
    def text(self) -> str:
        return self.name.lower()


# One row a track.
TRACK_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("line", "i4"),
        ("track", "i4"),
        ("start", "f8"),  # Unix s of its first report
        ("end", "f8"),  # of its last
        ("suffix", "i4"),
        ("reports", "i8"),
        ("choice", "u1"),  # Selection
    ]
)


def choose(reports: Reports, labels: LabelRows, rules: TrackRules) -> tuple[LabelRows, NDArray[np.int64]]:
    """Tracks of labelled reports (``segment``), and what the whole-track rules say of each.

    Returns:
        tracks: (m,) of ``TRACK_DTYPE``, sorted by vessel and track.
        of: (n,) index of each report's track, -1 for a report in none.
    """
    of = np.full(len(reports), -1, np.int64)
    use = np.flatnonzero(labels["code"] == 0)
    if not len(use):
        return np.zeros(0, TRACK_DTYPE), of
    use = use[np.lexsort((reports["t"][use], labels["track"][use], reports["mmsi"][use]))]
    mmsi, track = reports["mmsi"][use], labels["track"][use]
    new = np.concatenate([[True], (np.diff(mmsi) != 0) | (np.diff(track) != 0)])
    number = np.cumsum(new) - 1
    of[use] = number
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(use)) - 1
    n = last - first + 1
    sog = reports["sog"][use]
    moored = np.bincount(number, np.isin(reports["nav_status"][use], MOORED_STATUS)) / n
    slow = np.bincount(number, sog < rules.slow_knots) / n
    tracks = np.zeros(len(first), TRACK_DTYPE)
    tracks["mmsi"], tracks["track"] = mmsi[first], track[first]
    for name in ("line", "start", "suffix"):
        tracks[name] = labels[name][use[first]]
    tracks["end"] = reports["t"][use[last]]
    tracks["reports"] = n
    tracks["choice"] = np.select(
        [
            n < rules.min_reports,
            tracks["end"] - tracks["start"] < rules.min_duration_s,
            (moored > rules.moored_share) | (np.maximum.reduceat(sog, first) < MOVING_KNOTS),
            slow > rules.slow_share,
        ],
        [Selection.TOO_FEW, Selection.TOO_SHORT, Selection.MOORED, Selection.SLOW],
        Selection.CHOSEN,
    )
    return tracks, of
