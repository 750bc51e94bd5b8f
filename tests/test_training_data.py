"""From reports to training samples, and the split by vessel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import Region
from multitaskais.errors import InputError
from multitaskais.model.samples import Split, TrainingSamples, load_samples, samples_of, split_of
from multitaskais.records import REPORT_DTYPE

REGION = Region("toy", 48.0, 50.0, -6.0, -4.0)
T0 = 1_500_000_000.0


def voyage(mmsi=227_000_001, start=T0, hours=6.0, sog=10.0, every_s=60.0, lat=48.2):
    """Due north at one speed."""
    n = int(hours * 3600 / every_s) + 1
    out = np.zeros(n, REPORT_DTYPE)
    out["mmsi"], out["t"] = mmsi, start + every_s * np.arange(n)
    out["lat"] = lat + sog * (out["t"] - start) / 3600 / 60
    out["lon"], out["sog"], out["heading"] = -5.0, sog, np.nan
    out["nav_status"] = out["msg_type"] = out["ship_type"] = -1
    return out


@given(seed=st.integers(0, 1000), mmsi=st.lists(st.integers(200_000_000, 799_999_999), min_size=1, max_size=50))
def test_a_vessels_split_hangs_on_its_mmsi_and_the_seed_alone(seed, mmsi):
    together = split_of(np.array(mmsi), seed)
    assert together.tolist() == [int(split_of(m, seed)[0]) for m in mmsi]


def test_the_split_has_the_shares_asked_for_and_another_seed_makes_another():
    mmsi = np.arange(227_000_000, 227_030_000)
    of = split_of(mmsi)
    assert [float((of == s).mean()) for s in Split] == pytest.approx([0.6, 0.2, 0.2], abs=0.01)
    assert (split_of(mmsi, seed=1) != of).mean() > 0.4


def test_the_split_stays_what_it_was():
    """A vessel held out when a model was published must be held out for ever."""
    assert split_of(np.array([227006760, 366998510, 303321000, 211000000, 538005123])).tolist() == [1, 1, 2, 2, 0]


def test_a_chosen_track_becomes_samples_each_ten_minutes_from_its_first_report():
    samples, line, tracks = samples_of(voyage(), REGION)
    assert tracks["chosen"] == 1
    np.testing.assert_array_equal(np.diff(samples["t"]), 600.0)
    assert samples["t"][0] == T0
    assert samples["n"].tolist() == list(range(len(samples)))
    assert (line == 0).all()


def test_tracks_that_teach_nothing_are_left_out_and_counted():
    reports = np.concatenate(
        [voyage(), voyage(227_000_002, hours=2.0), voyage(227_000_003, sog=0.1), voyage(227_000_004, sog=1.5)]
    )
    samples, _, tracks = samples_of(reports, REGION)
    assert tracks == {"chosen": 1, "too_few": 0, "too_short": 1, "moored": 1, "slow": 1}
    assert np.unique(samples["mmsi"]).tolist() == [227_000_001]
    every, _, _ = samples_of(reports, REGION, all_tracks=True)
    assert len(np.unique(every["mmsi"])) == 4


def test_a_gap_begins_a_new_line_and_a_cut_at_24_h_does_not():
    after_gap = np.concatenate([voyage(hours=5.0), voyage(start=T0 + 8 * 3600, hours=5.0)])
    samples, line, _ = samples_of(after_gap, REGION)
    assert np.unique(line).tolist() == [0, 1]
    assert samples["n"][line == 1][0] == 0
    long = voyage(hours=30.0, sog=3.0)
    samples, line, tracks = samples_of(long, REGION)
    assert tracks["chosen"] == 2
    assert (line == 0).all()
    assert samples["n"].tolist() == list(range(len(samples)))


@pytest.mark.parametrize("lat", [48.2, 10.0], ids=["too fast", "of other waters"])
def test_reports_of_which_none_is_in_a_track_give_no_samples(lat):
    samples, line, tracks = samples_of(voyage(sog=90.0 if lat == 48.2 else 10.0, lat=lat), REGION)
    assert (len(samples), len(line), sum(tracks.values())) == (0, 0, 0)


def test_the_order_of_the_reports_does_not_matter():
    reports = np.concatenate([voyage(), voyage(227_000_009, start=T0 + 100)])
    mixed = np.random.default_rng(0).permutation(reports)
    assert samples_of(reports, REGION)[0].tobytes() == samples_of(mixed, REGION)[0].tobytes()


def test_a_phase_shifts_the_grid():
    samples, _, _ = samples_of(voyage(), REGION, phase_s=150.0)
    assert samples["t"][0] == T0 + 180.0  # the first report from there


def test_splits_and_lines_of_loaded_samples_belong_together(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    reports = np.concatenate([voyage(227_000_000 + i, start=T0 + 7 * i) for i in range(20)])
    columns = {name: reports[name] for name in ("mmsi", "t", "lat", "lon", "sog", "cog")}
    pq.write_table(pa.table(columns), tmp_path / "tracks.parquet")
    loaded = load_samples(tmp_path, REGION)
    assert isinstance(loaded, TrainingSamples)
    assert loaded.counts.received == len(reports)
    parts = [loaded.of(s) for s in Split]
    assert sum(len(p.samples) for p in parts) == len(loaded.samples)
    assert sum(len(p.lines()) for p in parts) == len(loaded.lines()) == 20
    with pytest.raises(InputError, match="no track to learn from"):
        load_samples(tmp_path, Region("elsewhere", 10.0, 11.0, 10.0, 11.0))
