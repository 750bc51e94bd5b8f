"""The panel: pure, bit-identical, and silent where it cannot judge."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from multitaskais.config import DetectionRules
from multitaskais.detection import offline, rings
from multitaskais.detection.panel import Panel
from multitaskais.detection.protocol import steps
from multitaskais.errors import ConfigError
from multitaskais.records import AlertType, NotJudged
from tests.support.lane_traffic import sail
from tests.support.small_model import fleet, model

PANEL = model().panel


def run(panel: Panel, *lines: np.ndarray):
    return offline.run_panel(panel, np.concatenate(lines))


def same(a, b, where: slice) -> None:
    for name, x, y in zip(a._fields, a, b, strict=True):
        np.testing.assert_array_equal(x[where], y, err_msg=name)


def test_a_line_has_the_same_bits_alone_and_among_any_others():
    lines = np.split(fleet(9, 5, 300), 9)
    together = run(PANEL, *lines)
    for k in (0, 4, 8):
        same(together, run(PANEL, lines[k]), slice(40 * k, 40 * (k + 1)))
    backward = run(PANEL, *lines[::-1])
    same(backward, run(PANEL, lines[0]), slice(40 * 8, 40 * 9))


def test_rows_written_to_bytes_go_on_with_the_same_bits_and_are_not_changed_by_a_step():
    line = fleet(1, 6, 400)
    rows = PANEL.initial(1)
    whole = run(PANEL, line)
    for k in range(len(line)):
        given = np.frombuffer(rows.tobytes(), PANEL.row_dtype).copy()
        new, result = PANEL.step(given, line[k : k + 1])
        assert given.tobytes() == rows.tobytes()
        same(whole, result, slice(k, k + 1))
        rows = new


def test_several_steps_of_lines_of_any_lengths_give_the_bits_of_one_after_another():
    lines = [line[: 40 - 7 * k] for k, line in enumerate(np.split(fleet(5, 5, 300), 5))]
    lines[1]["moored"][5:9] = True
    lines[2]["sog"][3:20:4] = np.nan
    together = run(PANEL, *lines)
    first = 0
    for line in lines:
        rows, after = PANEL.initial(1), []
        for k in range(len(line)):
            rows, result = PANEL.step(rows, line[k : k + 1])
            after.append(rows)
            for name, x, y in zip(together._fields, together, result, strict=True):
                np.testing.assert_array_equal(x[first + k], y[0], err_msg=name)
        new, memory, _ = PANEL.steps(PANEL.initial(1), line)
        assert new.tobytes() == rows.tobytes()
        for k, one in enumerate(after):
            row = memory.row(k, one["alert"][0])
            for name in row.dtype.names:
                assert row[name].tobytes() == one[name].tobytes(), name
        first += len(line)


def test_a_detector_that_changes_step_alone_is_asked_step_by_step():
    class Doubled(type(PANEL.detectors[0])):
        def step(self, state, samples):
            new, scores = super().step(state, samples)
            return new, scores._replace(score=2.0 * scores.score)

    detector = Doubled.__new__(Doubled)
    detector.__dict__.update(vars(PANEL.detectors[0]))
    line = fleet(1, 6, 400)
    for a, b in zip(
        steps(detector, detector.initial(1), line)[1].score,
        steps(PANEL.detectors[0], detector.initial(1), line)[1].score,
        strict=True,
    ):
        assert a == 2.0 * b or (np.isnan(a) and np.isnan(b))


def test_nothing_is_judged_before_twelve_samples_or_the_least_timespan():
    line = fleet(1, 7, 500)
    result = run(PANEL, line)
    assert not result.judged[:12].any()
    assert (result.reason[:12] == NotJudged.TOO_SHORT).all()
    assert result.judged[12:].all()
    later = Panel(PANEL.detectors, PANEL.calibrations, PANEL.thresholds, DetectionRules(min_timespan_s=4 * 3600.0))
    assert not run(later, line).judged[:24].any()
    assert run(later, line).judged[24:].all()


def test_moored_samples_are_not_judged():
    line = fleet(1, 8, 600)
    line["moored"][20:30] = True
    result = run(PANEL, line)
    assert not result.judged[20:30].any()
    assert (result.reason[20:30] == NotJudged.MOORED).all()
    assert np.isnan(result.score[20:30]).all()


def test_a_place_without_ten_vessels_is_little_known_to_what_rests_on_place():
    far = sail(1, 40, lat=47.05, lon=-5.0, sog=1.0, cog=90.0)
    result = run(PANEL, far)
    place = PANEL.names.index("place")
    assert np.isnan(result.z[:, place]).all()
    assert result.judged[12:].all(), "drift and loitering need no place"
    few_were_there = replace(PANEL.calibrations[place], covered=np.ones(PANEL.grid.n_cells, bool), parts=1)
    only = Panel([PANEL.detectors[place]], [few_were_there], None, PANEL.rules)
    assert (run(only, far).reason[12:] == NotJudged.LITTLE_KNOWN).all()
    nobody_was = Panel([PANEL.detectors[place]], [PANEL.calibrations[place]], None, PANEL.rules)
    assert (run(nobody_was, far).reason[12:] == NotJudged.NO_COVERAGE).all()


def test_a_ship_off_the_lane_is_strange_and_those_on_it_are_not():
    normal = run(PANEL, fleet(20, 9, 700))
    assert np.nanmean(normal.score >= 1) < 0.05
    off = run(PANEL, sail(1, 40, lat=48.12, lon=-7.4, sog=11.0))
    assert np.nanmax(off.score) > 1


def test_a_contradiction_of_more_than_2_5_knots_in_five_of_six_slots_raises_at_once():
    line = fleet(1, 10, 800)
    line["mismatch"] = 0.1
    line["mismatch"][3:8] = 2.6
    k = list(AlertType).index(AlertType.CONTRADICTION)
    score = run(PANEL, line).type_score[:, k]
    assert np.isnan(score[:4]).all()
    assert not (score[4:7] >= 1).any()
    assert score[7] == pytest.approx(1 + math.log(2.6 / 2.5) / 2)


def test_the_window_is_the_mean_of_what_is_there():
    rng = np.random.default_rng(0)
    ring = np.full((1, 2, 12), np.nan, np.float32)
    steps = np.array([12, 6])
    values = np.where(rng.random((50, 2)) < 0.3, np.nan, rng.normal(size=(50, 2))).astype(np.float32)
    for k in range(50):
        ring = rings.push(ring, values[k][None])
        got = rings.window_mean(ring, steps)[0]
        for d, w in enumerate(steps):
            last = values[max(0, k - w + 1) : k + 1, d].astype(float)
            there = last[~np.isnan(last)]
            if len(there) >= max(1, w * 10 // 12) and not np.isnan(last[-1]):
                assert got[d] == pytest.approx(there.mean())
            else:
                assert np.isnan(got[d])


def test_a_panel_that_cannot_be_says_why():
    with pytest.raises(ConfigError, match="at least one detector"):
        Panel([], [], None, PANEL.rules)
    with pytest.raises(ConfigError, match="same name"):
        Panel(PANEL.detectors[:1] * 2, PANEL.calibrations[:1] * 2, None, PANEL.rules)
    with pytest.raises(ConfigError, match="decision rule"):
        Panel(PANEL.detectors, PANEL.calibrations, None, PANEL.rules, decision="vote")
