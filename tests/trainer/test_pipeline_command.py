"""The command, as a new user types it: one file, one archive, a published model; and every way to get the file wrong."""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_trainer.pipeline import conf, keys
from multitaskais.cli import main
from multitaskais.config import REGIONS
from multitaskais.errors import MultitaskAISError
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from tests.support.own_package import installed

TEN_LINES = """
region = "brittany"
archive = ["archive"]
[train]
steps = 0
[calibrate]
detectors = ["contradiction", "drift", "loitering", "speed"]
[evaluate]
per_kind = 2
[publish]
name = "small"
store = "models"
"""
STEPS = ["tracks", "samples", "train", "calibrate", "inject", "evaluate", "accept", "publish"]


def write_day(folder: Path) -> None:
    """A day of 60 clean ships."""
    found = simulate(REGIONS["brittany"], SimulationSettings(vessels=60, abnormal=0), np.random.default_rng(3)).reports
    folder.mkdir()
    write_parquet(found, folder / "day.parquet")


def test_one_file_of_ten_lines_makes_an_archive_into_a_published_model_and_then_there_is_nothing_to_do(tmp_path):
    write_day(tmp_path / "archive")
    (tmp_path / "conf.toml").write_text(TEN_LINES)
    env = {k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "STORE_URL"))} | {
        "OMP_NUM_THREADS": "1"
    }

    def pipeline(*words: str, code: int = 0) -> str:
        done = subprocess.run([sys.executable, "-m", "multitaskais", "pipeline", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    first = json.loads(pipeline("run", "conf.toml", "--json"))
    assert [(s["step"], s["state"]) for s in first["steps"]] == [(s, "done") for s in STEPS]
    store = ModelStore(StoreSettings(str(tmp_path / "models")), tmp_path / "cache")
    published = store.latest("small")
    assert published is not None
    assert "AUROC" in store.card("small", published.version)

    again = json.loads(pipeline("run", "conf.toml", "--json"))
    assert {s["state"] for s in again["steps"]} == {"skipped"}
    assert "other parameter budget: unset -> 0.02" in pipeline(
        "run", "conf.toml", "--set", "calibrate.budget=0.02", "--dry-run"
    )
    assert "nothing" not in pipeline("step", "evaluate", "--conf", "conf.toml", code=99)

    refused = pipeline("run", "conf.toml", "--set", "accept.auroc_min=1", code=1)
    assert "refused" in refused
    assert "publish" not in refused
    assert store.latest_number("small") == 1

    runs = [json.loads(line) for line in pipeline("runs", "--json").splitlines()]
    assert {r["run"]: r["state"] for r in runs}[first["run"]] == "done"
    assert sorted(r["state"] for r in runs) == ["done", "refused"]
    shown = json.loads(pipeline("show", first["run"][:8], "--json"))
    assert [s["step"] for s in shown["steps"]] == STEPS
    assert all(Path(s["output"]).is_dir() and s["seconds"] >= 0 for s in shown["steps"])
    pipeline("graph", first["run"], "--to", "run.svg")
    picture = ET.parse(tmp_path / "run.svg").getroot()
    assert {t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")} >= {*STEPS, "skipped"}
    assert ET.fromstring(pipeline("graph", first["run"])).tag == picture.tag
    drawn = json.loads(pipeline("graph", first["run"], "--json"))
    assert [s["step"] for s in drawn["steps"]] == STEPS
    assert drawn["steps"][-1]["after"] == ["evaluate", "accept"]
    pipeline("graph", first["run"], "--to", "run.html")
    page = (tmp_path / "run.html").read_text()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert all(f"<td>{s}</td>" in page for s in STEPS)

    for folder in (tmp_path / "models").rglob("manifest.json"):
        folder.unlink()  # the store was emptied
    assert "output gone: what it made outside of its folder" in pipeline("run", "conf.toml", "--dry-run")


EXPERIMENTS = """
pipeline = "experiments"
region = "brittany"
archive = ["archive"]
[experiments]
sets = {quick = ["drift", "speed"]}
baselines = ["isolation_forest"]
[evaluate]
per_kind = 1
seeds = [1]
"""


def test_one_more_seed_of_an_experiment_computes_that_seed_alone(tmp_path, monkeypatch):
    write_day(tmp_path / "archive")
    (tmp_path / "experiments.toml").write_text(EXPERIMENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def ran(*words: str) -> dict:
        command = [sys.executable, "-m", "multitaskais", "pipeline", "run", "experiments.toml", "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return {s["step"]: s for s in json.loads(done.stdout)["steps"]}

    first = ran()
    assert {s["state"] for s in first.values()} == {"done"}
    second = ran("--set", "evaluate.seeds=[1, 2]")
    assert {n for n, s in second.items() if s["state"] == "done"} == {
        "inject-2", "evaluate-quick-2", "baseline-isolation_forest-2", "experiments"}  # fmt: skip
    folder = Path(second["experiments"]["output"])
    bytes_before = (folder / "table.json").read_bytes()
    measured_again = ran("--set", "evaluate.seeds=[1, 2]", "--force", "cost-quick")
    assert {n for n, s in measured_again.items() if s["state"] == "done"} == {"cost-quick"}
    assert (folder / "table.json").read_bytes() == bytes_before
    table = json.loads((folder / "table.json").read_text())
    assert {(r["set"], r["detector"]): r["seeds"] for r in table} == {
        ("quick", ""): 2, ("quick", "drift"): 2, ("quick", "speed"): 2, ("quick", "jump"): 2, ("isolation_forest", ""): 2}  # fmt: skip
    for row in table:
        assert 0 <= row["mean"]["auroc"] <= 1
        assert sum(k["tracks"] for k in row["per_kind"].values()) == 2 * 11 or row["detector"]
    page = (folder / "report.html").read_text()
    assert "isolation_forest" in page
    assert "http" not in page
    assert "µs a sample" in page
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert len(rows) == len(table)
    cost = {(r["set"], r["detector"]): r["cost_us_per_sample"] for r in rows}
    assert cost.pop(("quick", "jump")) == ""  # a rule of the reports, which no detector judges
    assert all(float(c) > 0 for c in cost.values())


WRONG = [
    ({}, "archive"),
    ({"archive": []}, "archive"),
    ({"archive": "a"}, "archive"),
    ({"archive": ["a"]}, "region"),
    ({"archive": ["a"], "region": "x; rm -rf"}, "x; rm -rf"),
    ({"archive": ["a"], "region": "gulf", "pipeline": "sail"}, "sail"),
    ({"archive": ["a"], "region": "gulf", "trian": {}}, "trian"),
    ({"archive": ["a"], "region": "gulf", "train": 3}, "train"),
    ({"archive": ["a"], "region": "gulf", "train": {"stpes": 3}}, "stpes"),
    ({"archive": ["a"], "region": "gulf", "train": {"steps": "3"}}, "train.steps"),
    ({"archive": ["a"], "region": "gulf", "train": {"steps": True}}, "train.steps"),
    ({"archive": ["a"], "region": "gulf", "train": {"steps": -1}}, "train.steps"),
    ({"archive": ["a"], "region": "gulf", "calibrate": {"budget": 0}}, "calibrate.budget"),
    ({"archive": ["a"], "region": "gulf", "calibrate": {"budget": float("nan")}}, "calibrate.budget"),
    ({"archive": ["a"], "region": "gulf", "calibrate": {"detectors": ["sonar"]}}, "sonar"),
    ({"archive": ["a"], "region": "gulf", "evaluate": {"seeds": []}}, "evaluate.seeds"),
    ({"archive": ["a"], "region": "gulf", "evaluate": {"model": "gulf"}}, "evaluate.model"),
    ({"archive": ["a"], "region": "gulf", "publish": {"name": "../x", "store": "s"}}, "publish.name"),
    ({"archive": ["a"], "region": "gulf", "publish": {"name": "x"}}, "publish.store"),
    ({"archive": ["a"], "region": "gulf", "pipeline": "test"}, "[evaluate] model"),
    ({"archive": ["a\0b"], "region": "gulf"}, "archive"),
    ({"archive": ["a"], "pipeline": "detect"}, "detect.model"),
    (
        {"archive": ["a"], "region": "gulf", "pipeline": "experiments", "experiments": {"sets": {"x": ["sonar"]}}},
        "sonar",
    ),
    ({"archive": ["a"], "region": "gulf", "pipeline": "experiments", "experiments": {"sets": {"../x": []}}}, "sets"),
    (
        {"archive": ["a"], "region": "gulf", "pipeline": "experiments", "experiments": {"baselines": ["tea"]}},
        "baselines",
    ),
    (
        {
            "archive": ["a"],
            "region": "gulf",
            "pipeline": "experiments",
            "experiments": {"baselines": ["published_vrnn"]},
        },
        "train.steps",
    ),
    (
        {
            "archive": ["a"],
            "region": "gulf",
            "pipeline": "experiments",
            "experiments": {"sets": {"hdbscan": []}, "baselines": ["hdbscan"]},
        },
        "hdbscan",
    ),
    ({"archive": ["a"], "region": "gulf", "format": "tea"}, "format"),
    ({"archive": ["a"], "region": "gulf", "columns": {"tea": "Tea"}}, "columns"),
    ({"archive": ["a"], "region": "gulf", "columns": {"sog": "a,b"}}, "columns"),
    ({"archive": ["a"], "region": "gulf", "last_days": 3, "tracks": {"builder": "spark"}}, "last_days"),
    ([1], "table of values"),
]


@pytest.mark.parametrize(("values", "named"), WRONG, ids=str)
def test_a_configuration_that_cannot_be_right_is_one_line_that_names_the_place(monkeypatch, values, named):
    for name in ("STORE_URL", "MULTITASKAIS_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MultitaskAISError) as e:
        conf.of(values, "conf.toml")
    assert named.split(".")[-1] in str(e.value)
    assert "\n" not in str(e.value)


def test_an_archive_with_columns_of_its_own_is_read_as_the_configuration_says(tmp_path):
    from model_trainer.database import Database
    from model_trainer.pipeline.results import Results
    from model_trainer.pipeline.runner import Runner

    write_day(tmp_path / "archive")
    table = pq.read_table(tmp_path / "archive" / "day.parquet")
    other = pa.table({"Schnelle" if n == "sog" else n: table[n] for n in table.column_names})
    pq.write_table(other, tmp_path / "archive" / "day.parquet")

    def sog(**more) -> np.ndarray:
        checked, steps = conf.of({"region": "brittany", "archive": [str(tmp_path / "archive")], **more}, "conf")
        of = Runner(
            checked, steps, Results(Database(f"sqlite:///{tmp_path / 'db'}")), tmp_path / "out", keys.FileDigests()
        )
        return pq.read_table(of.step("tracks")[1].folder)["sog"].to_numpy()

    assert np.isfinite(sog(columns={"sog": "Schnelle"})).mean() > 0.9


def broken(kind: str, where: str) -> str:
    lines = {w: "{}" for w in ("provide", "run", "refusal")} | {where: "{}['sail']"}
    return (
        "from model_trainer.pipeline.step import Given, Step\n"
        f"class Own(Step):\n    kind = {kind!r}\n"
        f"    def provide(self, conf, results):\n        {lines['provide']}\n        return Given({{}})\n"
        f"    def run(self, work):\n        {lines['run']}\n"
        f"    def refusal(self, folder):\n        {lines['refusal']}\n"
    )


@pytest.mark.parametrize("where", ["provide", "run", "refusal"])
def test_an_error_in_the_code_of_a_step_is_one_line_that_names_the_place(tmp_path, where):
    from model_trainer.database import Database
    from model_trainer.pipeline.results import Results
    from model_trainer.pipeline.runner import Runner

    kind = f"own_{where}"
    with installed(
        tmp_path, f"pack_{where}", {"m": broken(kind, where)}, f"[multitaskais.steps]\n{kind} = pack_{where}.m:Own\n"
    ):
        checked, steps = conf.of({"region": "brittany", "archive": ["a"], kind: {}}, "conf")
        of = Runner(checked, [s for s in steps if s.name == kind], Results(Database("sqlite://")), tmp_path / "out", keys.FileDigests())  # fmt: skip
        _, ended = of.run()
        with pytest.raises(MultitaskAISError, match="publish"):  # experiments do no steps of one's own
            conf.of({"pipeline": "experiments", "region": "brittany", "archive": ["a"], "publish": {}}, "conf")
        with pytest.raises(MultitaskAISError, match=kind):
            conf.of({"pipeline": "experiments", "region": "brittany", "archive": ["a"], kind: {}}, "conf")
    assert ended[-1].state == "failed"
    assert "KeyError" in ended[-1].why
    assert "m.py, line" in ended[-1].why
    assert "\n" not in ended[-1].why
    if where == "run":
        assert "Traceback" in next((tmp_path / "out" / kind).glob("*.log")).read_text()


def test_a_place_for_outputs_or_a_database_that_cannot_be_is_one_line(tmp_path, capsys):
    write_day(tmp_path / "archive")
    (tmp_path / "conf.toml").write_text(TEN_LINES)
    (tmp_path / "file").write_text("no folder, and no database either " * 100)
    for words, named in (
        (["--out", str(tmp_path / "file")], "--out"),
        (["--out", str(tmp_path / "file" / "below")], "--out"),
        (["--database", f"sqlite:///{tmp_path / 'file'}"], "DATABASE_URL"),
        (["--database", "oracle://x"], "DATABASE_URL"),
        (["--database", "nothing"], "DATABASE_URL"),
    ):
        assert main(["pipeline", "run", str(tmp_path / "conf.toml"), *words]) == 2
        said = capsys.readouterr().err.strip()
        assert named in said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("lease", ["x", "-1", "0", "nan", "inf"])
def test_a_lease_that_is_no_time_is_one_line(tmp_path, capsys, monkeypatch, lease):
    monkeypatch.setenv("LEASE_S", lease)
    assert main(["pipeline", "runs", "--out", str(tmp_path)]) == 2
    assert f"LEASE_S={lease}" in capsys.readouterr().err


def test_the_steps_of_a_configuration_are_listed_as_a_scheduler_needs_them(tmp_path, capsys):
    (tmp_path / "conf.toml").write_text(TEN_LINES)
    assert main(["pipeline", "steps", str(tmp_path / "conf.toml"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [s["step"] for s in said["steps"]] == STEPS
    assert said["conf"]["archive"] == ["archive"]
    assert list(tmp_path.iterdir()) == [tmp_path / "conf.toml"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["steps", "region", "archive", "seeds", "name", "train"]), x, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {}, optional={k: JSON for k in ("pipeline", "region", "archive", "last_days", *STEPS, "detect", "x")}
    )
)
@settings(max_examples=80)
def test_whatever_the_configuration_is_it_is_taken_or_refused_in_one_line(values):
    said = ""
    try:
        conf.of({"archive": ["a"], "region": "gulf"} | values, "conf.toml")
    except MultitaskAISError as e:
        said = str(e)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[", "", "{'a': 1}", "[" * 100_000, "[1, 2]", "3", "null", '"text"']
)
def test_json_that_is_none_is_refused(text):
    with pytest.raises(MultitaskAISError, match="CONF: not JSON"):
        conf.parse_json(text, "CONF")


@pytest.mark.parametrize(
    ("change", "at", "value"),
    [
        ("calibrate.budget=0.02", ("calibrate", "budget"), 0.02),
        ("train.steps=60", ("train", "steps"), 60),
        ("region=brittany", ("region",), "brittany"),
        ('archive=["a b", "c"]', ("archive",), ["a b", "c"]),
        ("publish.store=s3://a/b=c", ("publish", "store"), "s3://a/b=c"),
        ("x=1\ny=2", ("x",), "1\ny=2"),
    ],
)
def test_a_value_given_on_the_command_line_takes_the_place_of_that_of_the_file(change, at, value):
    found = conf.changed({"calibrate": {"budget": 0.5}, "region": "gulf"}, [change])
    for name in at:
        found = found[name]
    assert found == value


@pytest.mark.parametrize("change", ["budget", "=1", "a..b=1", ".a=1", "region.name=x"])
def test_a_change_that_names_nothing_is_refused(change):
    with pytest.raises(MultitaskAISError, match="--set"):
        conf.changed({"region": "gulf"}, [change])


def test_the_example_step_is_found_by_its_entry_point_and_done_once(tmp_path):
    from model_trainer.database import Database
    from model_trainer.pipeline.results import Results
    from model_trainer.pipeline.runner import Runner
    from tests.support.pages import ROOT, blocks

    (example,) = blocks(ROOT / "docs" / "pipeline.md", "python")
    assert 'hours = "my_package.hours:Hours"' in blocks(ROOT / "docs" / "pipeline.md", "toml")[1]
    assert len([line for line in example.splitlines() if line.strip()]) <= 30
    write_day(tmp_path / "archive")

    def hours(**table: int):
        checked, steps = conf.of({"region": "brittany", "archive": [str(tmp_path / "archive")], "hours": table}, "conf")
        of = Runner(
            checked, steps, Results(Database(f"sqlite:///{tmp_path / 'db'}")), tmp_path / "out", keys.FileDigests()
        )
        of.step("tracks")
        return of.step("hours")[1]

    with installed(
        tmp_path, "my_package", {"hours": example}, "[multitaskais.steps]\nhours = my_package.hours:Hours\n"
    ) as package:
        first = hours()
        counts = [int(line.split(",")[1]) for line in (first.folder / "hours.csv").read_text().splitlines()]
        assert (first.state, len(counts)) == ("done", 24)
        assert max(counts) > 10
        assert hours().state == "skipped"
        assert hours(least=4).why == "other parameter least: 1 -> 4"
        (package / "hours.py").write_text(example + "\n# changed\n")
        assert hours().why == "other code in my_package/hours.py"
        with pytest.raises(MultitaskAISError, match=r"hours\.least"):
            hours(least="many")


def test_a_package_of_the_same_name_that_was_loaded_before_is_not_in_the_way_of_the_next(tmp_path):
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        with installed(tmp_path / str(k), "my_package", {f"m{k}": f"value = {k}"}, "") as package:
            assert importlib.import_module(f"my_package.m{k}").value == k
            assert keys.package_folder("my_package") == package
