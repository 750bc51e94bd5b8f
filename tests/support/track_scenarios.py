"""Random lives of one MMSI, and the main path from reports to samples, for the property tests of this folder."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from multitaskais.config import DetectionRules, TrackRules
from multitaskais.records import PositionReport
from multitaskais.tracks.resample import TARGET_DTYPE, complete, interpolate
from multitaskais.tracks.sampler import SlotSampler
from multitaskais.tracks.tracker import Accepted, VesselTracker
from tests.support.builders import MMSI, NAN, T0, array

RULES = TrackRules()
DETECTION = DetectionRules()

# Steps of time that reach every rule: duplicates, close pairs, the side window, gaps, the cut.
STEPS = st.sampled_from(
    [0.0, 0.5, 1.0, 2.0, 3.0, 7.0, 20.0, 20.0, 60.0, 60.0, 60.0, 130.0, 400.0, 1900.0, 7300.0, 7190.0]
)
# Places 12 and 40 km apart, one across the date line's latitude from the others by little; enough for jumps, and for none.
PLACES = [(48.0, -5.0), (48.1, -5.05), (48.3, -5.4), (48.002, -5.0)]


@st.composite
def lives(draw, max_size=60):
    """A sorted list of reports of one MMSI, ships taking turns by random runs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, max_size))
    steps = draw(st.lists(STEPS, min_size=n, max_size=n))
    stay = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95]))
    calm = draw(st.booleans())
    t, place, rows = T0, 0, []
    for dt in steps:
        t += min(dt, 130.0) if calm and rng.random() < 0.97 else dt
        if rng.random() > stay:
            place = int(rng.integers(len(PLACES)))
        lat, lon = PLACES[place]
        lat += 1e-4 * int(rng.integers(4))
        sog = float(rng.choice([0.0, 0.3, 8.0, 25.0]))
        cog = NAN if rng.random() < 0.2 else float(rng.choice([0.0, 359.9, 90.0, 180.1]))
        rows.append(PositionReport(MMSI, t, lat, lon, sog, cog, NAN, int(rng.choice([0, 0, 0, 5])), 1, 70, b"A"))
        if rng.random() < 0.1:
            rows.append(rows[-1]._replace(t=t + float(rng.choice([0.0, 4.0, 9.0]))))
    # The order of equal times is by content, as the tracker has it.
    key = lambda r: (r.t, *((x == x, x if x == x else 0.0) for x in r[2:]))  # noqa: E731
    return sorted(rows, key=key)


def fold(reports, rules=RULES):
    """All events of reports in arrival order, to the end."""
    tracker = VesselTracker()
    events = [e for r in reports for e in tracker.offer(tuple(r), rules)]
    return events + tracker.flush(rules, math.inf)


def by_target(events):
    """Target number -> (accepted reports, marks of new tracks)."""
    out: dict[int, tuple[list, list]] = {}
    ids: dict[int, str] = {}
    for e in events:
        if isinstance(e, Accepted):
            reports, marks = out.setdefault(e.target, ([], []))
            reports.append(e.report)
            marks.append(ids.get(e.target) != e.track_id)
            ids[e.target] = e.track_id
    return out


def samples_one_by_one(reports, marks, rules=DETECTION):
    """The stream's path: feed, interpolate what is due, complete."""
    sampler, row, out = SlotSampler(), np.zeros(1, TARGET_DTYPE), []
    for r, new in zip(reports, marks, strict=True):
        for due in sampler.feed(tuple(r), new):
            row, sample = complete(row, interpolate([due]), rules)
            out.append(sample)
    return np.concatenate(out) if out else interpolate([])


def reports_of(rows):
    return array(rows)
