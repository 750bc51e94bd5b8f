"""An archive on disk gives to learners what all of it in memory gives, to the last bit; of more than fits a seeded subset, fair to vessels."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.config import REGIONS, STEP_S, DetectionRules, TrackRules
from multitaskais.detection import offline
from multitaskais.detectors import place, reference
from multitaskais.encounters import patterns
from multitaskais.model import dealt
from multitaskais.model import folder as modelfolder
from multitaskais.model.dealt import Dealt, deal, events_of_dealt
from multitaskais.model.samples import Extent, Split, load_reports, samples_of, samples_of_dealt, split_of
from multitaskais.model.subset import fair_lines
from multitaskais.model.training_tracks import training_tracks
from multitaskais.networks.dataset import Dataset, training_batch
from multitaskais.records import REPORT_DTYPE, SAMPLE_DTYPE, Counts
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from multitaskais.tracks import fourhot, shuffle
from multitaskais.tracks.line_file import LineFile
from multitaskais.tracks.segmentation import rule_events
from multitaskais.tracks.shuffle import Shuffle
from tests.support import small_model
from tests.support.builders import T0, merged, moved, sail

BRITTANY = REGIONS["brittany"]
CUTS = st.tuples(st.integers(300, 30_000), st.integers(500, 40_000), st.integers(1, 7))


def ships():
    """Two days of 14 vessels: gaps, a cut at 24 h, displaced reports, two ships on one MMSI, some that lie, a vessel outside."""
    parts = [sail(400, 180.0, mmsi=227_000_001 + i, t=T0 + 977.0 * i, lat=47.7 + 0.05 * i, sog=4.0) for i in range(8)]
    parts += [sail(200, 120.0, mmsi=227_000_003, t=T0 + 100_000.0, lat=48.0, lon=-6.0, ship_type=30)]
    parts += [sail(900, 180.0, mmsi=227_000_020, lat=47.8, sog=2.5, second=7)]
    parts[1][200:203] = moved(parts[1][200:203], north_m=20_000.0)
    parts += [moved(sail(300, 60.0, mmsi=227_000_005, t=T0 + 30.0, lat=48.6), east_m=9000.0)]
    parts += [
        sail(300, 300.0, mmsi=227_000_030 + i, t=T0 + 31.0 * i, lat=48.2, sog=0.1, nav_status=1) for i in range(4)
    ]
    parts += [sail(50, 60.0, mmsi=227_000_040, lat=20.0)]
    reports = merged(*parts)
    return reports[np.random.default_rng(3).permutation(len(reports))]


SHIPS = ships()
IN_MEMORY = {every: samples_of(SHIPS, BRITTANY, all_tracks=every) for every in (False, True)}


@contextmanager
def on_disk(reports, cuts):
    """``reports`` dealt out, with so many of whole vessels, of waiting and of bins."""
    vessel_rows, waiting, bins = cuts
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "VESSEL_ROWS", vessel_rows)
        patch.setattr(shuffle, "BUFFERED_ROWS", waiting)
        patch.setattr(shuffle, "DAY_ROWS", waiting)
        made = Shuffle.create(Path(name) / "reports", bins)
        for start in range(0, len(reports), waiting):
            made.add(reports[start : start + waiting])
        made.finish()
        yield Dealt(made, Counts(len(reports), len(reports)), len(reports)), Path(name)


@settings(max_examples=6, deadline=None)
@given(CUTS)
def test_samples_of_an_archive_on_disk_are_those_of_all_reports_in_memory_however_it_is_cut(cuts):
    with on_disk(SHIPS, cuts) as (archive, folder):
        for every, got in zip(
            (False, True), samples_of_dealt(archive, BRITTANY, folder, all_tracks=(False, True)), strict=True
        ):
            samples, line, by_choice = IN_MEMORY[every]
            assert got.samples.tobytes() == samples.tobytes()
            assert got.line.tolist() == line.tolist()
            assert got.tracks == by_choice
            assert got.extent() == Extent.of(samples)


@settings(max_examples=6, deadline=None)
@given(CUTS, st.integers(50, 800), st.integers(0, 2))
def test_of_more_samples_than_are_wanted_the_same_fair_lines_are_taken_however_the_archive_is_cut(cuts, most, seed):
    samples, line, _ = IN_MEMORY[True]
    first = np.flatnonzero(np.concatenate([[True], np.diff(line) != 0]))
    keep = fair_lines(samples["mmsi"][first], np.bincount(line), most, seed)[line]
    with on_disk(SHIPS, cuts) as (archive, folder):
        got = next(samples_of_dealt(archive, BRITTANY, folder, all_tracks=(True,), most=most, seed=seed))
    assert got.samples.tobytes() == samples[keep].tobytes()
    assert set(got.samples["mmsi"]) == set(samples["mmsi"])
    assert got.extent() == Extent.of(samples)


@settings(max_examples=4, deadline=None)
@given(CUTS)
def test_jumps_and_conflicts_of_an_archive_on_disk_are_those_of_all_reports_in_memory(cuts):
    mine = split_of(SHIPS["mmsi"]) != Split.TEST
    want = rule_events(SHIPS[mine], TrackRules(), BRITTANY)
    assert len(want)
    with on_disk(SHIPS, cuts) as (archive, _):
        got = events_of_dealt(archive, TrackRules(), BRITTANY, lambda mmsi: split_of(mmsi) != Split.TEST)
    assert got.tobytes() == want.tobytes()


def busy():
    """Ships that sail, four that lie side by side in one harbour, and two that meet at sea."""
    sailing = simulate(BRITTANY, SimulationSettings(T0, 1, 5, 1), np.random.default_rng(4)).reports
    lying = [sail(40, 600.0, mmsi=227_100_000 + i, t=T0, lat=48.3, lon=-4.6, sog=0.0) for i in range(4)]
    meeting = [sail(120, 60.0, mmsi=227_200_000 + i, t=T0 + 7200.0, lat=48.9, lon=-6.0, sog=0.3) for i in range(2)]
    return merged(sailing, *lying, *meeting)


BUSY = busy()


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, len(BUSY)), max_size=12))
def test_what_is_usual_among_ships_does_not_depend_on_how_the_archive_is_cut(cuts):
    in_time = BUSY[np.argsort(BUSY["t"], kind="stable")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "HEARD_ROWS", 1 + 50 * len(cuts))
        got = patterns.learn_runs(lambda: np.split(in_time, sorted(cuts)))
    want = patterns.learn(BUSY)
    assert want.vessel_days == got.vessel_days > 0
    assert want.days == got.days
    assert len(want.stops)
    for ours, theirs in zip(arrays(got), arrays(want), strict=True):
        assert ours.tobytes() == theirs.tobytes()


def arrays(known):
    return [
        known.met,
        known.met_at,
        known.met_merchant,
        *known.stops.to_arrays().values(),
        *known.coverage.to_arrays().values(),
    ]


def in_memory_dataset(reports, phases, seed):
    """The oracle: all grids of all reports at once."""
    grids = []
    for phase in range(phases):
        samples, line, _ = samples_of(reports, BRITTANY, phase_s=phase * STEP_S / phases)
        bins, grid, seen = fourhot.bins(samples, BRITTANY), {}, defaultdict(int)
        for number in np.unique(line).tolist():
            mmsi = int(samples["mmsi"][line == number][0])
            grid[mmsi, seen[mmsi]] = bins[line == number]
            seen[mmsi] += 1
        grids.append(grid)
    split = {of: [] for of in Split}
    for key in grids[0]:
        split[Split(int(split_of(key[0], seed)[0]))].append([g[key] for g in grids if key in g])
    return Dataset.of(split[Split.TRAIN], split[Split.DEV])


@settings(max_examples=4, deadline=None)
@given(CUTS, st.integers(1, 3))
def test_batches_drawn_from_disk_are_those_of_all_tracks_in_memory(cuts, phases):
    want = in_memory_dataset(SHIPS, phases, 0)
    with on_disk(SHIPS, cuts) as (archive, folder):
        got = training_tracks(archive, BRITTANY, folder / "bins", TrackRules(), DetectionRules(), phases, 0)
        assert got.dataset.digest() == want.digest()
        assert got.extent == Extent.of(IN_MEMORY[False][0])
        for step in (0, 5):
            for ours, theirs in zip(
                training_batch(got.dataset.train, 4, 60, 1, step),
                training_batch(want.train, 4, 60, 1, step),
                strict=True,
            ):
                assert ours.tobytes() == theirs.tobytes()
        few = training_tracks(archive, BRITTANY, folder / "few", TrackRules(), DetectionRules(), phases, 0, 20)
        assert 0 < len(few.dataset.validation) <= len(got.dataset.validation)
        assert few.dataset.train[0][0].tobytes() == want.train[0][0].tobytes()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 6), min_size=1, max_size=5)), max_size=12), st.data()
)
def test_lines_on_disk_come_back_by_vessel_and_as_they_were_added(groups, data):
    """Each group is some lines of one vessel."""
    with tempfile.TemporaryDirectory() as folder:
        file = LineFile(Path(folder) / "x", SAMPLE_DTYPE)
        lines = []
        for mmsi, sizes in groups:
            rows = np.zeros(sum(sizes), SAMPLE_DTYPE)
            rows["mmsi"], rows["t"] = mmsi, len(lines) + np.arange(len(rows)) / 100
            file.add(np.full(len(sizes), mmsi), np.array(sizes), rows)
            lines += [(mmsi, part) for part in np.split(rows, np.cumsum(sizes)[:-1])]
        file.finish()
        lines.sort(key=lambda line: line[0])
        assert [int(m) for m in file.mmsi] == [m for m, _ in lines]
        assert [file.read(i).tobytes() for i in range(len(file))] == [rows.tobytes() for _, rows in lines]
        keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines))), bool)
        rows, number = file.some(keep)
        kept = [r for (_, r), k in zip(lines, keep, strict=True) if k]
        assert rows.tobytes() == b"".join(r.tobytes() for r in kept)
        assert number.tolist() == [i for i, r in enumerate(kept) for _ in r]
        file.close()


def test_a_dealt_archive_has_the_reports_and_the_counts_of_one_in_memory(tmp_path):
    copies = SHIPS[SHIPS["mmsi"] == 227_000_020][5:25:3].copy()  # the same transmissions again, an hour later
    copies["t"] += 3600.0
    table = np.concatenate([SHIPS, copies])
    table["second"][table["mmsi"] == 227_000_020] = 7
    write_parquet(table[: len(table) // 2], tmp_path / "a.parquet")
    write_parquet(table[len(table) // 2 :], tmp_path / "b.parquet")
    names = [n for n in REPORT_DTYPE.names if n not in ("ship_name", "station")]
    assert "second" in pq.read_schema(tmp_path / "a.parquet").names
    want, counts = load_reports([tmp_path / "a.parquet", tmp_path / "b.parquet"], BRITTANY)
    got = deal([tmp_path / "a.parquet", tmp_path / "b.parquet"], BRITTANY, tmp_path / "dealt")
    assert got.inside == len(want) == len(got.shuffle)
    assert (got.counts.received, got.counts.accepted, got.counts.rejected) == (
        counts.received,
        counts.accepted,
        counts.rejected,
    )
    rows = np.concatenate(list(got.whole_vessels()))
    for reports in (want, rows):
        reports.sort(order=("mmsi", "t", "lat"))
    assert all(rows[n].tobytes() == want[n].tobytes() for n in names)
    assert dealt.BINS > 1


def test_a_model_is_the_same_whichever_lines_and_vessels_are_looked_at_together(tmp_path, monkeypatch):
    """What is held while it is learnt does not grow with the samples; the version is a hash of all files of a model."""
    want = modelfolder.save(small_model.model(), tmp_path / "a").version
    monkeypatch.setattr(offline, "TOGETHER", 7)
    monkeypatch.setattr(reference, "SAMPLES_AT_ONCE", 150)
    monkeypatch.setattr(place, "TERMS_AT_ONCE", 97)
    small_model.model.cache_clear()
    try:
        assert modelfolder.save(small_model.model(), tmp_path / "b").version == want
    finally:
        small_model.model.cache_clear()
