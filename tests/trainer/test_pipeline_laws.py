"""Laws of the runner: a step is done once, every reason to do it again is said, and nothing half is ever left."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from model_trainer.database import Database
from model_trainer.pipeline.keys import FileDigests, Record, code_of
from model_trainer.pipeline.results import TABLES, Results, ddl, gone, owner
from model_trainer.pipeline.runner import Outcome, StepLost
from multitaskais.errors import ConfigError, InputError
from tests.support import databases
from tests.support.s3proxy import ROOT
from tests.support.toy_pipeline import COMMAND, Read, Toy, conf, runner, states

ALL = ("read", "double", "add")


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgresql"])
def url(request, tmp_path_factory):
    if (reason := databases.missing(request.param)) is not None:
        pytest.skip(reason)
    with databases.running(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture
def toy(tmp_path):
    """``toy(x)`` runs the pipeline on SQLite and gives its outcomes by name; ``toy.source`` is its input."""

    class Play:
        url = f"sqlite:///{tmp_path / 'toy.db'}"
        out, source = tmp_path / "out", tmp_path / "source"

        def __call__(self, x: int = 1, force=()) -> dict[str, Outcome]:
            return {o.step: o for o in runner(self.url, self.out, conf(self.source, x)).run(force)[1]}

        def plan(self, x: int = 1) -> dict[str, Outcome]:
            return {o.step: o for o in runner(self.url, self.out, conf(self.source, x)).plan()}

    Play.source.write_text("sea")
    return Play()


def ran(outcomes: dict[str, Outcome]) -> set[str]:
    return {name for name, o in outcomes.items() if o.state == "done"}


def test_what_is_done_is_done_once_and_its_output_is_found_again(toy):
    first, second = toy(), toy()
    assert {o.why for o in first.values()} == {"new"}
    assert {o.state for o in second.values()} == {"skipped"}
    assert [o.folder for o in first.values()] == [o.folder for o in second.values()]
    assert (second["add"].folder / "whole").read_text() == "sum 10"


def test_another_parameter_is_named_with_both_values_and_outputs_lie_side_by_side(toy):
    first, second = toy(x=1), toy(x=2)
    assert second["read"].why == "other parameter x: 1 -> 2"
    assert second["double"].why == "input changed: read"
    assert first["read"].folder != second["read"].folder
    assert (first["read"].folder / "whole").read_text() == "sea 1"
    assert not ran(toy(x=1))


def test_a_step_whose_input_comes_out_equal_is_skipped(toy):
    toy(x=1)
    again = toy(x=2)
    assert ran(again) == {"read", "double"}  # the text is as long as before, so double made the same: add need not


def test_an_input_that_changed_is_named(toy):
    toy()
    toy.source.write_text("sea and sky")
    again = toy()
    assert again["read"].why == "input changed: source"
    assert ran(again) == set(ALL)


def test_an_output_that_is_gone_is_made_again_and_no_other(toy):
    folder = toy()["double"].folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    again = toy()
    assert again["double"].why == f"output gone: {folder}"
    assert ran(again) == {"double"}


@pytest.mark.parametrize("how", ["other bytes", "other bytes under the old date", "one more file", "one file less"])
def test_an_output_that_was_tampered_with_is_named_and_made_again(toy, how):
    folder = toy()["double"].folder
    toy()  # the digests are kept now
    file = folder / "whole"
    before = file.stat()
    if how == "one more file":
        file = folder / "more"
    if how == "one file less":
        file.unlink()
    else:
        file.write_text("99")
    if how == "other bytes under the old date":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = toy()
    assert again["double"].why == f"output {'gone' if how == 'one file less' else 'tampered'}: {file.name} in {folder}"
    assert ran(again) == {"double"}
    assert (again["add"].folder / "whole").read_text() == "sum 10"


def test_a_forced_step_is_done_again_and_those_after_it_only_when_it_made_something_else(toy):
    toy()
    again = toy(force=["read"])
    assert (again["read"].why, ran(again)) == ("forced", {"read"})
    with pytest.raises(ConfigError, match=r"no step 'sail'.*read, double, add"):
        toy(force=["sail"])


def test_a_plan_says_the_same_and_does_nothing(toy):
    assert {o.state for o in toy.plan().values()} == {"planned"}
    assert not toy.out.exists()
    toy(x=1)
    planned = toy.plan(x=2)
    assert planned["read"].why == "other parameter x: 1 -> 2"
    assert {n: o.state for n, o in planned.items()} == {"read": "planned", "double": "planned", "add": "planned"}
    assert ran(toy(x=2)) == {"read", "double"}


def test_a_step_that_fails_leaves_nothing_and_is_not_finished_the_next_time(toy, monkeypatch):
    def fails(self, work):
        (work.folder / "first").write_text("half")
        raise InputError("the sea is too wide")

    with monkeypatch.context() as m:
        m.setattr(Read, "run", fails)
        ended = toy()
    assert [(o.state, o.why) for o in ended.values()] == [("failed", "the sea is too wide")]
    assert [p.name for p in (toy.out / "read").iterdir() if p.is_dir()] == []
    assert toy()["read"].why == "not finished"


def test_other_code_is_named_by_its_file_however_far_it_is_imported(tmp_path, monkeypatch):
    package = tmp_path / "far_steps"
    package.mkdir()
    for name, text in {"__init__": "", "step": "from .near import go", "near": "def go():\n    from . import far",
                       "far": "x = 1", "types_only": "x = 1", "other": "x = 1"}.items():  # fmt: skip
        (package / f"{name}.py").write_text(text + "\n")
    (package / "step.py").write_text(
        "from typing import TYPE_CHECKING\nfrom .near import go\nif TYPE_CHECKING:\n    from . import types_only\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def record() -> Record:
        return Record("far", {}, code_of(["far_steps.step"], FileDigests()), {}, {})

    first = record()
    assert set(first.code) == {f"far_steps/{n}.py" for n in ("__init__", "step", "near", "far")}
    for unseen in ("other", "types_only"):
        (package / f"{unseen}.py").write_text("x = 2\n")
    assert record().key == first.key
    (package / "far.py").write_text("x = 2\n")
    assert record().differences(first) == ["other code in far_steps/far.py"]
    with pytest.raises(ConfigError, match="no such module"):
        code_of(["far_steps.nothing"], FileDigests())
    (package / "far.py").write_text("x = (\n")
    with pytest.raises(ConfigError, match=r"far\.py"):
        record()


def test_the_code_of_each_step_of_the_product_is_found_and_holds_what_it_runs():
    from model_trainer.pipeline.steps.calibrate import Calibrate
    from model_trainer.pipeline.steps.inject import Inject
    from model_trainer.pipeline.steps.train import Train

    files = FileDigests()
    train, inject = (code_of((c.__module__, *c.modules), files) for c in (Train, Inject))
    assert "multitaskais/networks/train.py" in train
    assert "multitaskais/networks/train.py" not in inject
    assert "multitaskais/evaluation/inject.py" in inject
    assert "multitaskais/detection/calibration.py" in code_of((Calibrate.__module__, *Calibrate.modules), files)


CHANGES = st.sampled_from(["x=1", "x=2", "x=30", "sea", "sky", "ocean", "gone", "tampered", "nothing"])


@given(st.lists(st.tuples(CHANGES, st.sampled_from(ALL)), max_size=6))
@settings(max_examples=8)
def test_after_any_changes_exactly_those_steps_run_whose_key_is_new_or_whose_output_is_not_there(
    tmp_path_factory, changes
):
    folder = tmp_path_factory.mktemp("any")
    source, out, url = folder / "source", folder / "out", f"sqlite:///{folder / 'toy.db'}"
    text, x = "sea", 1
    known: dict[str, set] = {
        kind: set() for kind in ALL
    }  # the oracle: what was given to each kind, where the output is whole
    last: dict[str, object] = {}
    for change, at in [("nothing", "read"), *changes]:
        source.write_text(text)
        if change.startswith("x="):
            x = int(change[2:])
        elif change in ("sea", "sky", "ocean"):
            text = change
            source.write_text(text)
        elif change != "nothing":
            files = sorted((out / at).glob("*/whole"))
            for file in files:
                file.unlink() if change == "gone" else file.write_text("no")
            known[at].clear()
        read, length = f"{text} {x}", 2 * len(f"{text} {x}")
        last = {"read": read, "double": read, "add": length}
        expected = {kind for kind in ALL if last[kind] not in known[kind]}
        Toy.made.clear()
        ended = runner(url, out, conf(source, x)).run()[1]
        assert set(Toy.made) == expected
        assert {n for n, s in states(ended).items() if s == "done"} == expected
        assert (ended[-1].folder / "whole").read_text() == f"sum {length}"
        for kind in ALL:
            known[kind].add(last[kind])


# ---------------------------------------------------------------- on each database


def test_two_runs_of_one_key_at_once_make_it_once_and_both_have_it(url, tmp_path):
    source = tmp_path / "source"
    source.write_text("two runs")
    Toy.made.clear()
    said: list[str] = []
    four = [runner(url, tmp_path / "out", conf(source, 7, 0.15), said.append) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda r: r.run()[1], four))
    assert sorted(Toy.made) == sorted(ALL)
    assert all(e[-1].folder == ended[0][-1].folder for e in ended)
    assert sum(o.state == "done" for e in ended for o in e) == len(ALL)
    assert any("waits for process" in text for text in said)
    runs = four[0]._results.runs()
    assert [r["state"] for r in runs if r["parameters"]["x"] == 7] == ["done"]


def test_a_run_that_is_killed_at_any_moment_leaves_nothing_half_and_the_next_does_not_wait_for_its_lease(url, tmp_path):
    rng = random.Random(20)
    source = tmp_path / "source"
    for number, sign in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGKILL)):
        out = tmp_path / str(number)
        source.write_text(f"killed {number} {url}")
        words = [*COMMAND, url, str(out), str(source), "5", "0.2"]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("begins"):
                    break
            time.sleep(rng.uniform(0.02, 0.6))
            process.send_signal(sign)
        assert process.returncode in (-signal.SIGKILL, 130, 0)
        for kind in ALL:
            for folder in (out / kind).glob("[!.]*"):
                assert folder.suffix == ".log" or (folder / "whole").is_file(), folder
        again = runner(url, out, conf(source, 5, 0.2))
        state = {r["run"]: r["state"] for r in again._results.runs()}
        assert "running" not in state.values()
        began = time.monotonic()
        ended = again.run()[1]
        assert time.monotonic() - began < 15  # its lease is 30 s: nobody waits for the dead
        assert {o.why for o in ended if o.state == "done"} <= {"not finished", "new", "input changed: read", "input changed: double", "input changed: source"}  # fmt: skip
        assert (ended[-1].folder / "whole").read_text() == f"sum {2 * (len(source.read_text()) + 2)}"
        assert [p.name for kind in ALL for p in (out / kind).glob(".*")] == []


def test_a_step_that_was_taken_over_counts_for_the_one_that_took_it(url, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_text("taken over")
    slow = runner(url, tmp_path / "out", conf(source, 3, 0.0), lease_s=0.3)
    other = Results(Database(url))

    def taken(self, work):
        (work.folder / "first").write_text("late")
        with other.database.transaction() as c:
            table = TABLES[2]
            c.execute(sa.update(table).where(table.c.step == "read", table.c.owner == owner()).values(owner="elsewhere|x|1|1", attempts=table.c.attempts + 1))  # fmt: skip
        time.sleep(0.5)

    monkeypatch.setattr(Read, "run", taken)
    with pytest.raises(StepLost):
        slow.run()
    assert not list((tmp_path / "out" / "read").glob("[!.]*/first"))
    assert slow._results.runs()[0]["state"] == "interrupted"


def test_of_processes_that_find_an_empty_database_at_once_none_fails(url, tmp_path):
    if url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with sa.create_engine(url, isolation_level="AUTOCOMMIT").connect() as c:
            c.execute(sa.text("create database empty_one"))
        url = url.rpartition("/")[0] + "/empty_one"
    start = threading.Barrier(8)

    def make(_: int) -> int:
        start.wait()
        database = Database(url)
        try:
            return len(Results(database).runs())
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(8))) == [0] * 8


def test_a_run_is_kept_once_for_each_configuration_with_its_steps(url, tmp_path):
    source = tmp_path / "source"
    source.write_text("kept")
    of = runner(url, tmp_path / "out", conf(source, 11))
    id, _ = of.run()
    assert of.run()[0] == id
    (shown,) = of._results.run(id[:10])
    assert (shown["state"], shown["attempts"], shown["pipeline"]) == ("done", 2, "toy")
    assert [(s["step"], s["state"], s["after"]) for s in shown["steps"]] == [
        ("read", "skipped", []), ("double", "skipped", ["read"]), ("add", "skipped", ["read", "double"])]  # fmt: skip
    step = shown["steps"][0]
    assert step["attempts"] == 1
    assert step["made_started"] <= step["made_finished"] <= step["datetime_finished"]
    assert Path(step["output"]).is_dir()
    table = TABLES[0]
    with of._results.database.engine.connect() as c:
        row = dict(c.execute(sa.select(table).where(table.c.id == id)).mappings().one())
        with pytest.raises(sa.exc.IntegrityError):
            c.execute(table.insert().values(**row | {"id": "another"}))


# ---------------------------------------------------------------- without a database


def test_a_process_that_ended_is_gone_and_one_of_another_machine_is_not():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host, namespace, _, _ = owner().split("|")
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    name = f"{host}|{namespace}|{child.pid}|{started}"
    assert not gone(name)
    assert gone(f"{host}|{namespace}|{child.pid}|{int(started) + 1}")  # the same number, given to another
    child.kill()
    child.communicate()
    assert gone(name)
    assert not gone(f"elsewhere|{namespace}|{child.pid}|{started}")
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(owner()))
    thread.start()
    thread.join()
    assert seen == [owner()]


@pytest.mark.parametrize("dialect", ["sqlite", "mysql", "mariadb", "postgresql"])
def test_the_schema_is_printed_for_each_database(dialect):
    text = ddl(dialect)
    assert set(re.findall(r"CREATE TABLE (\w+)", text)) == {"pipeline_run", "pipeline_step", "pipeline_result", "job", "schedule", "schema_version"}  # fmt: skip
    if dialect in ("mysql", "mariadb"):
        assert text.count(" MEDIUMTEXT") == 8  # TEXT ends at 64 kB: a thousand inputs of one step are more
        assert "datetime_started DATETIME(6)" in text
    assert "UNIQUE (parameters_sha256)" in text
    for column in ("datetime_started", "datetime_finished", "output", "digest", "host", "attempts"):
        assert column in text
    if dialect == "sqlite":
        with sa.create_engine("sqlite://").begin() as c:
            for statement in text.split(";\n\n"):
                c.exec_driver_sql(statement)
