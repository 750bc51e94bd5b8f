"""The fold over all partitions gives the same alerts however the partitions are read, cut, and interrupted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.engine.fleet import FleetEngine
from multitaskais.zones.zone import read_feature

from ..support.builders import T0, merged, sail
from ..support.encounter_scenes import bystanders, patterns, rendezvous

RING = [[-5.7, 47.9], [-5.3, 47.9], [-5.3, 48.1], [-5.7, 48.1], [-5.7, 47.9]]
ZONE = {
    "type": "Feature",
    "properties": {"name": "Reserve", "rule": "enter", "severity": "high"},
    "geometry": {"type": "Polygon", "coordinates": [RING]},
}


def scene():
    silent = sail(600, 60.0, mmsi=227000050, lat=48.2, lon=-5.9, sog=9.0, cog=90.0)
    hours = (silent["t"] - T0) / 3600
    return merged(rendezvous(), bystanders(9, hours=10), silent[(hours < 3) | (hours > 6)])


def engine(partitions=1, ordered=False):
    return FleetEngine("m", patterns(), partitions=range(partitions), ordered=ordered, zones=[read_feature(ZONE)])


def told(alerts):
    return sorted((a.as_dict() for a in alerts), key=lambda a: (a["decided_at"], a["alert_id"], a["revision"]))


def batch():
    e = engine(ordered=True)
    e.process(scene())
    e.advance_watermark(float("inf"))
    return told(e.decide().alerts)


BATCH = batch()


def test_the_scene_has_alerts_of_all_three_types():
    assert {a["alert_type"] for a in BATCH} == {"meeting", "silence", "zone"}


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 16]), st.integers(0, 6))
def test_any_partitions_interleaving_cuts_delays_and_kills_give_the_alerts_of_batch(seed, n, kills):
    rng = np.random.default_rng(seed)
    reports = scene()
    # Out of order within the lateness, as a log has it.
    reports = reports[np.argsort(reports["t"] + rng.uniform(0, 100, len(reports)), kind="stable")]
    logs = [reports[reports["mmsi"] % n == p] for p in range(n)]
    e = engine(n)
    alerts = []
    at = [0] * n
    # A watermark each ten minutes in each partition, as the feed writes it: partitions without ships do not hold the rest.
    marks = [np.arange(T0, T0 + 11 * 3600, 600.0).tolist() for _ in range(n)]
    stored = None
    while any(at[p] < len(logs[p]) or marks[p] for p in range(n)):
        p = int(rng.integers(n))
        size = int(rng.integers(1, 1200))
        run = logs[p][at[p] : at[p] + size]
        if marks[p] and (not len(run) or run["t"][0] > marks[p][0] + 130):
            e.advance_watermark(marks[p].pop(0), p, at[p])
        elif len(run):
            ahead = np.flatnonzero(run["t"] > marks[p][0] + 130) if marks[p] else []
            run = run[: ahead[0]] if len(ahead) else run
            e.process(run, p, at[p])
            at[p] += len(run)
        if rng.random() < 0.1:
            alerts += e.decide().alerts
            if kills and rng.random() < 0.3:
                kills -= 1
                # What lies between two checkpoints is lost with the process; the state and the log are not.
                stored = stored or {}
                stored |= e.snapshot()
                points = e.restart_points()
                e = engine(n)
                e.restore(stored, {p: point.clock for p, point in points.items()})
                for p, point in points.items():
                    at[p] = point.token
                    complete = e._clocks[p].complete
                    marks[p] = [t for t in np.arange(T0, T0 + 11 * 3600, 600.0).tolist() if t > complete]
            else:
                stored = (stored or {}) | e.snapshot()
    for p in range(n):
        e.advance_watermark(float("inf"), p)
    alerts += e.decide().alerts
    assert told(alerts) == BATCH


def test_a_quiet_partition_holds_the_ticks_back_until_a_watermark_speaks_for_it():
    e = engine(2)
    e.process(scene(), 0)
    assert e.decide().ticks == 0
    assert e.slowest()[0] == 1
    e.advance_watermark(T0 + 3600, 1)
    assert e.decide().ticks > 0
    assert e.decided <= T0 + 3600
