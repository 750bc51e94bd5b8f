"""The baselines of the experiments: the published chain against SciPy and arithmetic step by step, HDBSCAN on embeddings, and what each leaves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.reference import published_chain as oracle
from model_trainer.pipeline import conf
from model_trainer.pipeline.keys import FileDigests
from model_trainer.pipeline.step import Contents, Files, Given, Measured, Work, newest_line
from model_trainer.pipeline.steps import published_vrnn
from model_trainer.pipeline.steps.baseline import COST_FILE, embedded, few_of, highest
from multitaskais.config import REGIONS, DetectionRules
from multitaskais.detection.grid import CellGrid
from multitaskais.detection.offline import lines_of
from multitaskais.detectors.vrnn import VrnnDetector
from multitaskais.errors import InputError
from multitaskais.networks.scorer import NumpyScorer
from multitaskais.networks.weights import Sizes, VrnnWeights
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from multitaskais.tracks import fourhot
from tests.support.lane_traffic import REGION
from tests.support.small_model import fleet

RULES = DetectionRules()


def scorer(samples: int = 2) -> NumpyScorer:
    sizes = Sizes.of(REGION, 4, 8)
    return NumpyScorer(VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed=1), sizes, samples, 0)


def one_at_a_time(of: NumpyScorer, samples: np.ndarray) -> np.ndarray:
    """l_t of each sample, line by line and step by step."""
    start, _ = lines_of(samples)
    found = []
    for line in np.split(samples, start[1:]):
        state = of.initial(1)
        for k in range(len(line)):
            state, said = of.step(state, fourhot.bins(line[k : k + 1], REGION))
            found.append(float(said.log_weight[0]))
    return np.array(found)


def test_the_chain_says_of_each_track_what_scipys_kde_and_binomial_say_step_by_step():
    dev, judged = fleet(12, 1, length=60), fleet(6, 2, 100, length=50)
    judged["lat"][200:230] += 0.05  # where no development vessel was: in other cells, or low
    grid, of = CellGrid.of(REGION), scorer()
    at, step = grid.index(dev["lat"], dev["lon"]), np.concatenate([np.arange(60)] * 12)
    use = (step >= 12) & (at >= 0)
    limit = oracle.quantiles(one_at_a_time(of, dev)[use], at[use])
    likelihood, cell = one_at_a_time(of, judged), grid.index(judged["lat"], judged["lon"])
    score = published_vrnn.chain(of, dev, REGION, RULES)(judged)
    ships = np.unique(judged["mmsi"])
    ours = highest(score, judged["mmsi"], ships)
    for ship, found in zip(ships, ours, strict=True):
        mine = judged["mmsi"] == ship
        want = oracle.score(likelihood[mine], cell[mine], np.arange(mine.sum()), limit, empty_is_low=False)
        assert found == pytest.approx(want, abs=1e-6)
    assert np.isfinite(ours).any()


def test_a_cell_with_fewer_than_two_different_values_does_not_judge():
    limit = published_vrnn.low_limits(np.array([-1.0, -2.0, -3.0, -4.0, -4.0]), np.array([0, 0, 1, 2, 2]), 4, 0.1)
    assert np.isfinite(limit).tolist() == [True, False, False, False]
    nowhere = fleet(1, 1, length=13)
    with pytest.raises(InputError, match="longer period"):
        published_vrnn.chain(scorer(), nowhere, REGION, RULES)


def test_of_more_development_samples_whole_lines_are_taken(monkeypatch):
    monkeypatch.setattr(published_vrnn, "MOST_SAMPLES", 100)
    few = published_vrnn.some_lines(fleet(10, 1, length=40))
    assert len(few) == 80
    assert (np.bincount(lines_of(few)[1]) == 40).all()


def test_a_ship_beside_all_clusters_is_farther_and_a_moored_one_is_not_judged():
    judged = fleet(6, 3, 200, length=40)
    judged["lat"][-40:] += 0.3  # 33 km off the lane
    judged["moored"][:40] = True
    score = embedded(fleet(40, 1, length=40), REGION)(judged)
    of = highest(score, judged["mmsi"], np.unique(judged["mmsi"]))
    assert of[0] == -np.inf
    assert of[-1] > 2 * np.max(of[1:-1])
    assert few_of(np.arange(9000.0)).shape == (8000,)


def test_the_chain_is_a_baseline_like_the_others_with_the_network_that_was_trained(tmp_path):
    region = REGIONS["brittany"]
    day = tmp_path / "tracks"
    day.mkdir()
    reports = simulate(region, SimulationSettings(vessels=40, abnormal=0), np.random.default_rng(5)).reports
    write_parquet(reports, day / "day.parquet")
    (tmp_path / "inject").mkdir()
    seen = np.unique(reports["mmsi"])[:6]
    rows = [
        (f"track{k}", int(m), "clean" if k < 3 else "drift", reports[reports["mmsi"] == m]) for k, m in enumerate(seen)
    ]
    write(rows, tmp_path / "inject" / "labelled-1.parquet")
    sizes = Sizes.of(region, 4, 8)
    weights = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed=1)
    VrnnDetector(weights, region, RULES, 4, 8).save(tmp_path / "train" / "model" / "detectors" / "vrnn")
    checked, steps = conf.of({"pipeline": "experiments", "archive": ["a"], "region": "brittany", "train": {"steps": 5},
                              "experiments": {"baselines": ["published_vrnn"]}}, "x")  # fmt: skip
    step = next(s for s in steps if s.name == "baseline-published_vrnn-1")
    assert set(step.after) == {"tracks", "inject-1", "train-published_vrnn"}
    folders = {n: tmp_path / n.split("-")[0] for n in step.after}
    given = step.provide(checked, folders)
    assert {type(i) for i in given.inputs.values()} == {Contents, Files}
    out = tmp_path / "out"
    out.mkdir()
    work = Work(given, out, tmp_path / "log", print)
    step.run(work)
    said = json.loads((out / "figures.json").read_text())
    assert set(said["per_kind"]) == {"drift"}
    assert 0 <= said["auroc"] <= 1
    cost = json.loads((out / COST_FILE).read_text())[""]
    assert cost["samples"] > 100
    assert cost["cpu_seconds"] > 0


def write(rows, file) -> None:
    """A labelled table of these tracks: (name, MMSI, kind, reports)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict = {n: [] for n in ("track_id", "mmsi", "t", "lat", "lon", "sog", "cog", "kind", "abnormal")}
    for name, mmsi, kind, of in rows:
        n = len(of)
        for column, values in {"track_id": [name] * n, "mmsi": [mmsi] * n, "kind": [kind] * n, "abnormal": [kind != "clean"] * n,
                               **{c: of[c].tolist() for c in ("t", "lat", "lon", "sog", "cog")}}.items():  # fmt: skip
            columns[column] += values
    pq.write_table(pa.table(columns), file)


def test_what_was_measured_is_in_no_key(tmp_path):
    file = tmp_path / COST_FILE
    file.write_text("1")
    before = Measured(file).digest(FileDigests()), Files(tmp_path).digest(FileDigests())
    file.write_text("2")
    assert (Measured(file).digest(FileDigests()), Files(tmp_path).digest(FileDigests())) == before


def test_the_newest_line_of_a_log_is_its_last_whole_one(tmp_path):
    log = tmp_path / "log"
    for text, line in (
        ("", ""),
        ("one\n", "one"),
        ("one\ntwo", "one"),
        ("10 %\r20 %\r", "20 %"),
        ("x" * 9000 + "\nlast\n\n", "last"),
    ):
        log.write_text(text, newline="")
        assert newest_line(log) == line


def test_a_command_that_works_says_its_newest_line(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr("model_trainer.pipeline.step.PROGRESS_S", 0.05)
    said: list[str] = []
    log = tmp_path / "log"
    log.write_bytes(b"")
    work = Work(Given({}), tmp_path, log, said.append)
    program = "import time\nfor k in range(3):\n    print('step', k, flush=True)\n    time.sleep(0.4)"
    work.command([sys.executable, "-c", program], "count")
    assert "step 1" in said
    assert len(said) == len(set(said))
