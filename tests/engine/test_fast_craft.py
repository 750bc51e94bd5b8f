"""Above the limit of speed: counted, no part of any track, and judged beside the tracks by what needs no speed that was learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.config import TrackRules
from multitaskais.engine import batch
from multitaskais.engine.engine import PartitionEngine
from multitaskais.engine.events import FAST
from multitaskais.records import SAMPLE_DTYPE, NotJudged, Reason
from multitaskais.tracks.quality import CODE, of_fast_craft, screen
from multitaskais.tracks.watermark import WatermarkGenerator
from tests.support import small_model
from tests.support.builders import MMSI, T0, merged, moved, sail

RULES = TrackRules()


@pytest.fixture(scope="module")
def model():
    return small_model.model()


def eastward(n=150, **fields):
    """A craft that makes 31 kn along the lane of the model, for as long as the lane is."""
    return sail(n, 60.0, **({"lat": 48.0, "lon": -7.5, "sog": 31.0, "cog": 90.0} | fields))


def types(result):
    return {str(a.alert_type) for a in result.alerts}


def test_a_fast_craft_on_the_lane_has_a_track_that_is_judged_and_is_counted_as_too_fast(model):
    craft = eastward(150)
    result = batch.run(model, craft, trace=True)
    assert result.counts.accepted == 0
    assert result.counts.rejected == {Reason.TOO_FAST: 150}
    (track,) = batch.track_verdicts(result)
    assert track.mmsi == MMSI
    assert track.judged_samples > 0
    assert track.alerts == 0


def test_its_place_is_judged_by_where_and_which_way_not_by_how_fast(model):
    on_the_lane = batch.run(model, eastward(), trace=True).trace
    beside_it = batch.run(model, eastward(lat=48.06), trace=True).trace
    k = model.panel.names.index("place")
    assert np.nanmax(on_the_lane["z"][:, k]) < np.nanmin(beside_it["z"][:, k])
    heard = {name for name, z in zip(model.panel.names, beside_it["z"].T, strict=True) if np.isfinite(z).any()}
    assert heard == {"place", "contradiction"}


def test_its_jump_and_its_contradiction_are_found(model):
    craft = eastward(240)
    jumps = craft.copy()
    jumps["lat"][120:123] += 0.25
    assert "jump" in types(batch.run(model, jumps))
    contradicts = craft.copy()
    contradicts["cog"] = 180.0
    assert "contradiction" in types(batch.run(model, contradicts))


def test_tracks_that_begin_in_the_same_second_have_ids_of_their_own(model):
    slow, fast = eastward(sog=10.0), eastward()
    ids = {v.track_id for v in batch.track_verdicts(batch.run(model, merged(slow, fast), trace=True))}
    assert ids == {f"{MMSI}-20170714T024000Z", f"{MMSI}-20170714T024000Z-f"}


def test_a_garbled_report_above_the_limit_is_no_jump(model):
    craft = eastward()
    craft["lat"][70] += 0.25
    assert batch.run(model, craft).alerts == []
    garbled = eastward(30)[::10]  # no two of them are of one craft
    garbled["lat"] += [0.0, 0.6, -0.5]
    assert batch.run(model, garbled).alerts == []


def test_two_fast_craft_on_one_mmsi_are_told_apart(model):
    both = merged(eastward(120), eastward(120, lat=48.9, t=T0 + 30.0))
    assert "identity_conflict" in types(batch.run(model, both))


def test_what_a_ship_reports_above_the_limit_changes_nothing_of_its_other_tracks(model):
    slow = sail(400, 60.0, lat=48.2, lon=-7.5, sog=11.0, cog=90.0)
    slow["lat"][200:203] += 0.3
    spikes = moved(slow[::7], sog=45.0)
    spikes["t"] += 20.0
    alone = batch.run(model, slow, trace=True)
    together = batch.run(model, merged(slow, spikes), trace=True)
    assert {repr(a) for a in alone.alerts} <= {repr(a) for a in together.alerts}
    assert {repr(v) for v in batch.track_verdicts(alone)} <= {repr(v) for v in batch.track_verdicts(together)}
    assert together.counts.accepted == alone.counts.accepted
    assert together.counts.rejected == alone.counts.rejected | {Reason.TOO_FAST: len(spikes)}


def test_a_speed_of_102_knots_or_more_says_nothing_and_makes_no_track(model):
    result = batch.run(model, eastward(60, sog=102.2), trace=True)
    assert result.counts.rejected == {Reason.TOO_FAST: 60}
    assert batch.track_verdicts(result) == []


def test_where_no_detector_judges_at_that_speed_the_reason_says_so(model):
    samples = batch.run(model, eastward(), trace=True).trace
    panel = model.panel
    only = type(panel)(
        *([xs[panel.names.index("cells")]] for xs in (panel.detectors, panel.calibrations)), None, panel.rules
    )
    rows = only.initial(1)
    for n, sample in enumerate(samples):
        rows, said = only.step(rows, _sample(sample, n))
    assert said.reason.tolist() == [NotJudged.TOO_FAST]


def _sample(row, n):
    out = np.zeros(1, SAMPLE_DTYPE)
    for name in ("mmsi", "t", "lat", "lon", "sog", "cog", "mismatch", "made_30min", "ship_type", "moored"):
        out[name] = row[name]
    out["n"] = n
    return out


def log_of_many():
    slow = [
        sail(200, 60.0, mmsi=MMSI + 10 + i, t=T0 + 7.0 * i, lat=48.0 + 0.01 * i, lon=-7.5, sog=10.0, cog=90.0)
        for i in range(6)
    ]
    fast = [eastward(200, mmsi=MMSI + i, t=T0 + 11.0 * i, lat=48.0 + 0.05 * i) for i in range(4)]
    fast[1]["cog"] = 180.0
    fast[2]["lat"][100:104] += 0.3
    fast[3]["sog"][50:120] = 25.0
    return merged(*slow, *fast)


def fold(model, log, cuts, *, restore):
    """(alerts, verdicts, counts, states) of a log that is cut into runs; ``restore``: a new engine after each goes on from the bytes."""
    engine, vessels, alerts, verdicts, rejected = PartitionEngine(model), {}, [], [], 0
    for part in [*np.split(log, cuts), None]:
        events = engine.advance_watermark(math.inf) if part is None else engine.process(part)
        alerts += [repr(a) for a in events.alerts]
        verdicts += [repr(v) for v in events.verdicts]
        rejected += events.counts.rejected.get(Reason.TOO_FAST, 0)
        vessels |= engine.snapshot()
        if restore and part is not None:
            state = engine.partition_state()
            engine = PartitionEngine(model)
            engine.restore([(m, s) for m, s in vessels.items() if s is not None], state)
    return alerts, verdicts[-1:], rejected, vessels


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=5).map(sorted), st.booleans())
def test_any_cut_and_any_restart_give_the_same(model, cuts, restore):
    log = log_of_many()
    alerts, _, rejected, vessels = fold(model, log, [], restore=False)
    assert fold(model, log, cuts, restore=restore)[::2] == (alerts, rejected)
    assert {m for m in vessels if m >= FAST} == {FAST + MMSI + i for i in range(4)}


def test_the_stream_finds_what_the_archive_finds(model):
    log = log_of_many()
    stream = fold(model, log, [500, 900], restore=True)[0]
    archive = batch.run(model, log)
    assert {a.split("decided_at")[0] for a in stream} == {repr(a).split("decided_at")[0] for a in archive.alerts}
    assert {"jump", "contradiction"} <= {str(a.alert_type) for a in archive.alerts}


def test_one_stamp_from_the_future_does_not_end_the_judging_of_a_fast_craft(model):
    log = log_of_many()
    want = fold(model, log, [], restore=False)[0]
    wrong = log[log["mmsi"] == MMSI + 1][:2].copy()
    wrong["t"] += 40 * 86_400.0
    late = log[log["mmsi"] == MMSI + 1][:2].copy()
    late["t"] -= 40 * 86_400.0
    got = fold(model, np.concatenate([log[:400], wrong, late, log[400:]]), [], restore=False)[0]
    assert got == want


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_report_beside_the_log_is_dated_by_the_clock_and_moves_nothing_in_it(data):
    n = data.draw(st.integers(1, 60))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = sail(n, 60.0)
    rows["mmsi"] = MMSI + rng.integers(0, 6, n)
    rows["t"] += rng.choice([0.0, 0.0, 0.0, 700.0, -700.0, 90_000.0, -90_000.0], n)
    rows["sog"] = rng.choice([10.0, 40.0], n)
    codes = screen(rows, None, RULES)
    beside = of_fast_craft(rows, codes)
    whole, without, pieces = WatermarkGenerator(), WatermarkGenerator(), WatermarkGenerator()
    got, marks = whole.admit(rows, codes, RULES, beside)
    want, want_marks = without.admit(rows, codes, RULES)
    assert got[~beside].tolist() == want[~beside].tolist()
    assert marks.tolist() == want_marks.tolist()
    assert whole == without
    cut = data.draw(st.integers(0, n))
    parts = [pieces.admit(rows[s], codes[s], RULES, beside[s])[0] for s in (slice(cut), slice(cut, n))]
    assert np.concatenate(parts).tolist() == got.tolist()
    assert set(got[beside].tolist()) <= {CODE[r] for r in (Reason.TOO_FAST, Reason.FUTURE, Reason.BEHIND)}
