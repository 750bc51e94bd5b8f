"""What real stations send: clocks that wander, coarse messages, garbled ones. Ordinary ships do not jump there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multitaskais.config import Region, TrackRules
from multitaskais.evaluation.inject import jump
from multitaskais.model.samples import load_reports
from multitaskais.tracks.quality import screen
from multitaskais.tracks.tracker import Accepted, IdentityConflict, Jump, VesselTracker

RULES = TrackRules()


def told(reports):
    """(tracks, tracks with a jump, tracks with two ships) of reports in any order."""
    reports = reports[screen(reports, None, RULES) == 0]
    reports = reports[np.lexsort((reports["t"], reports["mmsi"]))]
    trackers: dict[int, VesselTracker] = {}
    events = [(r[0], e) for r in reports.tolist() for e in trackers.setdefault(r[0], VesselTracker()).offer(r, RULES)]
    events += [(mmsi, e) for mmsi, tracker in trackers.items() for e in tracker.flush(RULES, math.inf)]
    track_of: dict[tuple[int, int], str] = {}
    tracks, jumped, two = set(), set(), set()
    for mmsi, e in events:
        if isinstance(e, Accepted):
            track_of[mmsi, e.target] = e.track_id
            tracks.add(e.track_id)
        elif isinstance(e, Jump):
            jumped.add(track_of[mmsi, e.target])
        elif isinstance(e, IdentityConflict):
            two.add(track_of[mmsi, e.main_target])
    return tracks, jumped, two


def test_five_days_of_a_station_whose_clock_wanders_show_hardly_a_jump(shared):
    reports, _ = load_reports(shared / "data/multiday/sbarc_2018-06-01_05.parquet", None)
    tracks, jumped, two = told(reports)
    assert len(tracks) > 2000
    assert len(jumped | two) <= 12  # of 778 judged tracks; single garbled ships and one pair on one MMSI remain


@pytest.mark.parametrize(
    ("file", "share"), [("dma-aislib/stream_example.txt", 0.0), ("amsa-risky/exact-earth-augmented.txt", 0.01)]
)
def test_a_stream_with_jitter_and_a_satellites_archive_show_no_jump(shared, file, share):
    reports, _ = load_reports(shared / "data/nmea" / file, None)
    tracks, jumped, two = told(reports)
    assert len(tracks) > 500
    assert len(jumped | two) <= share * len(tracks)


class Ship:
    """What ``inject.jump`` needs of a track."""

    def __init__(self, reports, start):
        for name in ("t", "lat", "lon", "sog", "cog", "heading"):
            setattr(self, name, reports[name])
        self._window = (start, start + 7200.0)

    def window(self, rng):
        return self._window


def test_a_stretch_that_stands_10_to_30_km_away_is_found_in_99_of_100(shared):
    box = Region("gulf", 28.0, 30.0, -92.0, -88.0)
    reports, _ = load_reports(shared / "data/noaa/ais_2020-01-01.parquet", box)
    reports = reports[screen(reports, None, RULES) == 0]
    rng = np.random.default_rng(7)
    tried = found = 0
    for mmsi in np.unique(reports["mmsi"]).tolist():
        mine = reports[reports["mmsi"] == mmsi]
        mine = mine[np.argsort(mine["t"], kind="stable")]
        if len(mine) < 120 or np.median(mine["sog"]) < 3.0 or told(mine)[1]:
            continue
        altered = jump(Ship(mine, float(mine["t"][rng.integers(10, len(mine) - 90)]) + 1.0), rng)
        if altered is None:
            continue
        mine["lat"], mine["lon"] = altered.lat, altered.lon
        tried += 1
        found += bool(told(mine)[1] | told(mine)[2])
    assert tried >= 90
    assert found >= 0.99 * tried - 1
