"""The DAG files: they know airflow and the standard library alone, refuse wrong JSON, and let nothing of it reach a shell; and Airflow runs them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import types
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest

from model_trainer.pipeline import conf, dags
from multitaskais.errors import MultitaskAISError
from tests.support import airflow
from tests.trainer.test_pipeline_command import WRONG, write_day

ROOT = Path(__file__).resolve().parents[2]


class Recorded:
    """In the place of Airflow's classes: what they were given."""

    made: ClassVar[list[Recorded]] = []

    def __init__(self, *args: Any, **more: Any) -> None:
        self.args, self.more, self.after = args, more, set[str]()
        Recorded.made.append(self)

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __rshift__(self, other: Recorded) -> None:
        other.after.add(self.more["task_id"])


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Name of the DAG -> (its parameters, its tasks), from the files, with a stand-in for Airflow."""
    for name in ("airflow", "airflow.sdk", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators", "airflow.providers.standard.operators.bash"):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for module, name in (("sdk", "DAG"), ("sdk", "Param"), ("providers.standard.operators.bash", "BashOperator")):
        setattr(sys.modules[f"airflow.{module}"], name, type(name, (Recorded,), {}))
    found = {}
    for file in dags.write(tmp_path / "dags", tmp_path / "outputs"):
        Recorded.made.clear()
        exec(compile(file.read_text(), str(file), "exec"), {"__name__": "dag"})
        (dag,) = [m for m in Recorded.made if type(m).__name__ == "DAG"]
        tasks = [m for m in Recorded.made if type(m).__name__ == "BashOperator"]
        found[dag.args[0]] = ({n: p.more for n, p in dag.more["params"].items()}, {t.more["task_id"]: t for t in tasks})
    return found


def test_each_file_imports_airflow_and_the_standard_library_alone_and_starts_no_process(tmp_path):
    files = dags.write(tmp_path, tmp_path / "outputs")
    assert [f.stem for f in files] == ["multitaskais_train", "multitaskais_test", "multitaskais_experiments"]
    assert {p.name for p in tmp_path.iterdir()} == {f.name for f in files}
    for file in files:
        tree = ast.parse(file.read_text())
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imports}
        assert names == {"os", "airflow.sdk", "airflow.providers.standard.operators.bash"}


def test_the_tasks_are_the_steps_in_their_order_and_what_had_nothing_to_do_is_skipped(loaded):
    _, tasks = loaded["multitaskais_train"]
    steps = conf.of({"archive": ["a"], "region": "gulf", "publish": {"name": "x", "store": "s"}}, "x")[1]
    assert set(tasks) == {s.name for s in steps}
    for step in steps:
        assert tasks[step.name].after == {a for a in step.after if a in tasks}
    for _, of in loaded.values():
        for task in of.values():
            assert (task.more["skip_on_exit_code"], task.more["trigger_rule"]) == (99, "none_failed")


def test_nothing_of_the_configuration_reaches_a_shell(loaded):
    for _, tasks in loaded.values():
        for name, task in tasks.items():
            command = task.more["bash_command"]
            assert "{{" not in command
            assert command.split()[:5] == ["exec", '"$MULTITASKAIS_PYTHON"', "-m", "multitaskais", "pipeline"]
            assert set(command) <= set('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"$ ')
            assert task.more["env"]["MULTITASKAIS_CONF"] == "{{ params | tojson }}"
            assert name in command or name == "experiments"


def refused_by_schema(params: dict[str, dict[str, Any]], values: Any) -> bool:
    """As Airflow does it: each parameter against its own schema, after its default."""
    for name, schema in params.items():
        rules = {k: v for k, v in schema.items() if k != "default"}
        if name not in values and "default" not in schema:
            return True
        try:
            jsonschema.validate(values.get(name, schema.get("default")), rules)
        except jsonschema.ValidationError:
            return True
    return False


def test_wrong_values_are_refused_by_the_schema_or_by_the_first_step_and_right_ones_by_neither(loaded, monkeypatch):
    params, _ = loaded["multitaskais_train"]
    monkeypatch.setenv("STORE_URL", "models")
    right = {"archive": ["a"], "region": "gulf", "train": {"steps": 60}, "calibrate": {"budget": 0.02}, "evaluate": {"per_kind": 3, "seeds": [1, 2]}}  # fmt: skip
    assert not refused_by_schema(params, right)
    assert conf.of(right, "x")
    assert not refused_by_schema(params, right | {"publish": {"name": "x"}})
    by_schema = 0
    for values, _ in WRONG:
        if isinstance(values, dict) and "pipeline" not in values and values.get("publish") != {"name": "x"}:
            early = refused_by_schema(params, values)
            by_schema += early
            if not early:
                defaults = {n: p["default"] for n, p in params.items() if "default" in p}
                with pytest.raises(MultitaskAISError):
                    conf.of(defaults | values, "x")
    assert by_schema >= 10


def test_what_a_form_leaves_empty_is_not_there(loaded):
    params, _ = loaded["multitaskais_train"]
    defaults = {n: p["default"] for n, p in params.items() if "default" in p}
    given = {"archive": ["a"], "region": "gulf"}
    assert conf.of(defaults | given, "x")[0].values == conf.of(given, "x")[0].values


def test_a_step_that_is_not_asked_for_has_nothing_to_do(tmp_path):
    env = {**os.environ, "MULTITASKAIS_CONF": json.dumps({"archive": ["a"], "region": "gulf", "publish": None})}
    words = [sys.executable, "-m", "multitaskais", "pipeline", "step", "publish", "--conf-env", "MULTITASKAIS_CONF"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (99, "")
    assert list(tmp_path.iterdir()) == []


needs_airflow = pytest.mark.skipif(airflow.python() is None, reason=airflow.NONE)
EARLY = ("tracks", "samples", "train", "inject")  # that another budget does not change


def given(archive: Path, **calibrate: float) -> dict[str, Any]:
    return {"region": "brittany", "archive": [str(archive)], "train": {"steps": 0}, "evaluate": {"per_kind": 1},
            "calibrate": {"detectors": ["drift", "speed"], **calibrate}}  # fmt: skip


@pytest.mark.slow
@needs_airflow
def test_airflow_runs_the_steps_and_shows_those_that_are_done_as_skipped(tmp_path):
    env = airflow.environment(tmp_path)
    folder = Path(env["AIRFLOW__CORE__DAGS_FOLDER"])
    dags.write(folder, tmp_path / "outputs")
    write_day(tmp_path / "archive")
    python = str(airflow.python())
    subprocess.run([python, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    script = (
        "import json, runpy, sys\n"
        "dag = runpy.run_path(sys.argv[1])['dag']\n"
        "for conf in json.loads(sys.argv[2]):\n"
        "    run = dag.test(run_conf=conf)\n"
        "    found = {}\n"
        "    for t in run.get_task_instances():\n"
        "        found.setdefault(t.task_id, []).append(str(t.state))\n"
        "    print('STATES', json.dumps(found))\n"
    )

    def states(dag: str, *confs: dict[str, Any]) -> list[dict[str, list[str]]]:
        words = [python, "-c", script, str(folder / f"{dag}.py"), json.dumps(confs)]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=550)
        found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("STATES")]
        assert len(found) == len(confs), done.stdout + done.stderr
        return found

    archive = tmp_path / "archive"
    first, second = states("multitaskais_train", given(archive), given(archive, budget=0.02))
    steps = ("tracks", "samples", "train", "calibrate", "inject", "evaluate", "accept")
    assert [first[t] for t in steps] == [["success"]] * len(steps)
    assert [second[t] for t in EARLY] == [["skipped"]] * len(EARLY)
    assert second["calibrate"] == second["evaluate"] == ["success"]
    assert first["publish"] == second["publish"] == ["skipped"]
    cells = given(archive) | {"experiments": {"sets": {"quick": ["drift", "speed"]}}}
    del cells["calibrate"]
    (table,) = states("multitaskais_experiments", cells)
    assert table == {"experiments": ["success"]}


@pytest.mark.slow
@needs_airflow
def test_of_a_run_by_rest_with_another_budget_airflow_itself_shows_the_earlier_steps_as_skipped(tmp_path):
    write_day(tmp_path / "archive")
    with airflow.running(tmp_path) as server:
        server.trigger("multitaskais_train", "first", given(tmp_path / "archive"))
        first = server.states("multitaskais_train", "first")
        body = {"dag_run_id": "second", "logical_date": None, "conf": given(tmp_path / "archive", budget=0.02)}
        assert server.ask("/dags/multitaskais_train/dagRuns", body)[0] == 200
        assert server.ask("/dags/multitaskais_train/dagRuns", body)[0] == 409
        second = server.states("multitaskais_train", "second")
        wrong = body | {"dag_run_id": "wrong", "conf": given(tmp_path / "archive", budget=2.0)}
        status, said = server.ask("/dags/multitaskais_train/dagRuns", wrong)
        no_token = urllib.request.Request(f"{server.url}/api/v2/dags/multitaskais_train/dagRuns")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(no_token, timeout=60)
    assert first["tracks"] == first["calibrate"] == first["accept"] == ["success"]
    assert [second[t] for t in EARLY] == [["skipped"]] * len(EARLY)
    assert second["calibrate"] == second["evaluate"] == second["accept"] == ["success"]
    assert status == 400
    assert "budget" in said or "2.0" in said
