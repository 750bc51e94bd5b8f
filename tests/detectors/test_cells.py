from __future__ import annotations

import numpy as np

from multitaskais.config import DetectionRules
from multitaskais.detectors import cells
from multitaskais.detectors.cells import CellsDetector
from multitaskais.detectors.reference import ReferenceSet
from tests.support.lane_traffic import REGION, lane, run, sail

RULES = DetectionRules()


def oracle(traffic: ReferenceSet, lat: float, lon: float, sog: float, cog: float, left_out: int = -1) -> float:
    """The module's formula with Python sets."""
    p = 1.0 / cells.N_BINS
    for factor in (None, *cells.FACTORS):
        size = 1e9 if factor is None else REGION.cell_deg * factor

        def cell(y: float, x: float, size: float = size) -> tuple[int, int]:
            return int((y - REGION.lat_min) // size), int((x - REGION.lon_min) // size)

        seen: dict[tuple[int, int], set[int]] = {}
        for (x, y), (u, v), vessel in zip(traffic.xy, traffic.uv, traffic.vessel, strict=True):
            place = cell(REGION.lat_min + y / traffic.plane.km_north, REGION.lon_min + x / traffic.plane.km_east)
            if place == cell(lat, lon) and vessel != left_out:
                bin_ = int(np.hypot(u, v)), int(np.degrees(np.arctan2(u, v)) % 360 // 15)
                seen.setdefault(bin_, set()).add(int(vessel))
        count = sum(
            w * len(seen.get((min(max(int(sog) + ds, 0), 29), (int(cog // 15) + dc) % 24), ()))
            for ds, dc, w in cells.SMEAR
        )
        total = sum(len(v) for v in seen.values())
        p = (count + cells.BACK_OFF * p) / (total + cells.BACK_OFF)
    return -float(np.log(p))


def test_the_score_is_the_histogram_with_back_off():
    fitted = CellsDetector.fit(lane(5), REGION, RULES, seed=0)
    traffic = fitted._traffic
    rng = np.random.default_rng(4)
    for _ in range(12):
        sample = sail(
            1,
            n=1,
            lat=48 + rng.normal(0, 0.05),
            lon=rng.uniform(-7, -6),
            sog=rng.uniform(1, 15),
            cog=rng.uniform(0, 359),
        )
        _, scores = fitted.step(fitted.initial(1), sample)
        s = sample[0]
        assert np.isclose(scores.score[0], oracle(traffic, s["lat"], s["lon"], s["sog"], s["cog"]))


def test_a_vessel_s_own_counts_can_be_left_out():
    samples = lane(5)
    fitted = CellsDetector.fit(samples, REGION, RULES, seed=0)
    sample = samples[40:41]
    number = int(fitted._traffic.numbers_of(sample["mmsi"])[0])
    with fitted.excluding_own():
        _, scores = fitted.step(fitted.initial(1), sample)
    s = sample[0]
    assert np.isclose(scores.score[0], oracle(fitted._traffic, s["lat"], s["lon"], s["sog"], s["cog"], number))


def test_the_usual_course_is_less_strange_than_any_other():
    fitted = CellsDetector.fit(lane(), REGION, RULES)
    assert np.mean(run(fitted, sail(1, lon=-6.9))[:5]) < np.mean(run(fitted, sail(1, lon=-6.9, cog=180.0))[:5])


def test_a_loaded_detector_says_the_same(tmp_path):
    fitted = CellsDetector.fit(lane(), REGION, RULES)
    fitted.save(tmp_path)
    track = sail(200_000_001, cog=80.0)
    assert np.array_equal(run(fitted, track), run(CellsDetector.load(tmp_path, REGION, RULES), track))
