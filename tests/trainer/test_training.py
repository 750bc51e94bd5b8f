"""Real jobs from conf to store, by the command line and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from model_trainer.conf import checked, of
from model_trainer.database import Database
from model_trainer.jobs import Jobs
from model_trainer.work import verdict
from multitaskais.config import REGIONS
from multitaskais.errors import ConfigError
from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet
from tests.support.s3proxy import ROOT
from tests.support.serving import Serving

CONF = """
region = "brittany"
archive = ["{archive}"]
[train]
steps = {steps}
{train}
[calibrate]
detectors = [{detectors}]
[evaluate]
per_kind = 2
[accept]
auroc_min = {auroc}
[publish]
name = "small"
{publish}
"""
QUICK = '"residual", "contradiction", "drift", "loitering", "speed"'


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A day of 90 clean ships."""
    found = simulate(REGIONS["brittany"], SimulationSettings(vessels=90, abnormal=0), np.random.default_rng(3)).reports
    file = tmp_path_factory.mktemp("archive") / "day.parquet"
    write_parquet(found, file)
    return file


@pytest.fixture
def place(tmp_path):
    """An empty store and database, and a function that writes a conf and runs a command."""

    class Place:
        env: ClassVar[dict[str, str]] = {
            **os.environ,
            "DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}",
            "STORE_URL": str(tmp_path / "store"),
            "STORE_CACHE": str(tmp_path / "cache"),
            "WORK_DIR": str(tmp_path),
            "OMP_NUM_THREADS": "1",
        }
        store = ModelStore(StoreSettings(str(tmp_path / "store")), tmp_path / "cache")

        def conf(self, archive: Path, auroc=0.0, steps=0, detectors=QUICK, train="", publish="") -> Path:
            file = tmp_path / "conf.toml"
            file.write_text(CONF.format(archive=archive, auroc=auroc, steps=steps, detectors=detectors, train=train, publish=publish))  # fmt: skip
            return file

        def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
            return subprocess.run([sys.executable, "-m", "model_trainer", *map(str, words)], env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=300)  # fmt: skip

        def jobs(self) -> list[dict]:
            return [json.loads(line) for line in self.run("jobs", "--json").stdout.splitlines()]

        def start(self, *words: str) -> subprocess.Popen:
            with (tmp_path / "err").open("ab") as errors:
                return subprocess.Popen([sys.executable, "-m", "model_trainer", *words], env=self.env, cwd=ROOT, stderr=errors)  # fmt: skip

    return Place()


def test_a_job_becomes_a_model_with_its_card_and_the_next_one_is_measured_against_it(archive, place):
    day = archive
    assert place.run("submit", place.conf(day)).returncode == 0
    done = place.run("trainer", "--once")
    assert done.returncode == 0, done.stderr
    (first,) = place.jobs()
    assert first["state"] == "done", first["error"]
    assert first["result"]["figures_of_latest"] is None
    version = first["result"]["version"]
    assert place.store.latest("small").version == version
    assert "clean" in place.store.card("small", version)
    assert folder.load(place.store.fetch(Reference("small"))).panel.names == tuple(json.loads(f"[{QUICK}]"))
    # The same data and settings again: the same version, no better and no worse; proposed is not the latest.
    place.run("submit", place.conf(day, detectors='"drift", "speed"', publish='rollout = "propose"'))
    place.run("trainer", "--once")
    second = place.jobs()[0]
    assert second["state"] == "done", second["error"]
    assert second["result"]["figures_of_latest"] == first["result"]["figures"]
    assert second["result"]["proposed"] == f"store:small@{second['result']['version']}"
    days = second["result"]["comparison"]
    assert days["tracks"] > 0
    assert 0 <= days["agreement"] <= 1
    assert max(days["flagged"], days["flagged_by_latest"]) <= 1 - days["agreement"] + min(days["flagged"], days["flagged_by_latest"]) + 1e-9  # fmt: skip
    assert days["alerts_in_common"] <= days["alerts"]
    assert place.store.latest("small").version == version
    assert place.store.fetch(Reference("small", second["result"]["version"])).is_dir()


def test_a_model_below_its_limits_is_refused_with_the_figures_and_an_archive_that_is_not_there_fails_at_once(
    archive, place
):
    place.run("submit", place.conf(archive, auroc=1.0, detectors='"drift", "speed"'))
    place.run("trainer", "--once")
    (job,) = place.jobs()
    assert job["state"] == "refused"
    assert job["error"].startswith("not published: auroc 0.")
    assert 0 < job["result"]["figures"]["auroc"] < 1
    assert place.store.names() == []
    place.run("submit", place.conf(Path("/no/such/archive.parquet")))
    place.run("trainer", "--once")
    assert place.jobs()[0]["state"] == "failed"
    assert place.jobs()[0]["attempt"] == 1
    assert "/no/such/archive.parquet" in place.jobs()[0]["error"]


@pytest.mark.slow
def test_the_trainer_that_takes_a_training_over_goes_on_from_the_checkpoint_of_the_one_that_was_killed(archive, place):
    more = "latent = 4\nhidden = 8\nval_every = 20"
    conf = place.conf(archive, steps=4000, detectors='"vrnn", "speed"', train=more)
    place.run("submit", conf)
    first = place.start("trainer", "--lease", "2")
    deadline = time.monotonic() + 300
    while not (place.store.cache.parent / "store" / "training").is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    first.kill()
    first.wait()
    killed_at = place.jobs()[0]["note"]
    second = place.start("trainer", "--lease", "2", "--once")
    while place.jobs()[0]["attempt"] < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    while "step" not in str(place.jobs()[0]["note"]) and time.monotonic() < deadline:
        time.sleep(0.2)
    print(f"killed at {killed_at}; the next was seen at {place.jobs()[0]['note']}")
    assert "goes on from a checkpoint" in (place.store.cache.parent / "err").read_text()
    second.kill()
    second.wait()


LIMITS = {"accept": {"auroc_min": 0.8, "clean_flagged_max": 0.1}}


@pytest.mark.parametrize(
    ("now", "latest", "accepted", "better"),
    [
        ((0.85, 0.05), None, True, True),
        ((0.79, 0.05), None, False, True),
        ((0.85, 0.11), None, False, True),
        ((0.85, 0.05), (0.83, 0.02), True, True),  # finds more
        ((0.85, 0.05), (0.85, 0.05), True, True),
        ((0.85, 0.05), (0.855, 0.06), True, True),  # as good, fewer false alarms
        ((0.85, 0.05), (0.855, 0.04), True, False),
        ((0.85, 0.05), (0.87, 0.09), True, False),  # finds less
    ],
)
def test_a_model_takes_over_when_it_finds_more_or_as_much_with_no_more_false_alarms(now, latest, accepted, better):
    figures = [None if f is None else {"auroc": f[0], "clean_flagged": f[1]} for f in (now, latest)]
    said = verdict(LIMITS, *figures)
    assert (said["accepted"], said["better_than_latest"]) == (accepted, better)
    assert bool(said["why_not"]) is not accepted


# ---------------------------------------------------------------- bad input

GOOD = {"region": "brittany", "archive": ["/data/day.parquet"], "publish": {"name": "small"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"region": "x; rm -rf"}, "no region"),
        ({"regoin": "brittany"}, "regoin"),
        ({"archive": []}, "archive"),
        ({"archive": [3]}, "archive"),
        ({"archive": ["/etc/passwd"]}, "ARCHIVE_ROOTS"),
        ({"archive": ["/data/../etc/*"]}, "ARCHIVE_ROOTS"),
        ({"publish": {"name": "../x"}}, "name"),
        ({"publish": {"name": "small\n"}}, "name"),
        ({"publish": {"name": "small", "rollout": "latest\n"}}, "rollout"),
        ({"train": {"seed": 2**31}}, "seed"),
        ({"last_days": float("inf")}, "last_days"),
        ({"last_days": float("nan")}, "last_days"),
        ({"publish": {"name": "small", "rollout": "now"}}, "rollout"),
        ({"train": {"steps": "many"}}, "steps"),
        ({"train": {"steps": -1}}, "steps"),
        ({"accept": {"auroc_min": 2}}, "auroc_min"),
        ({"calibrate": {"detectors": ["$(reboot)"]}}, "no detector"),
        ({"last_days": 0}, "last_days"),
        ({"compare": {"agreement_min": 1.5}}, "agreement_min"),
        ({"compare": {"answers": "/data/answers.jsonl"}}, "give both"),
        ({"compare": {"answers": "/etc/passwd", "alerts": "/data/alerts.jsonl"}}, "compare.answers.*ARCHIVE_ROOTS"),
        ({"archive": ["/data/\0"]}, "archive"),
        ({"archive": ["/data/" + 5000 * "x"]}, "archive"),
        ({"region": 5000 * "x"}, "region"),
        ({"region": "/data/\0"}, "region"),
        ({"region": "/etc/passwd"}, "ARCHIVE_ROOTS"),
    ],
)
def test_a_conf_that_cannot_be_right_is_one_line_before_anything_is_queued(change, said):
    with pytest.raises(ConfigError, match=said) as e:
        checked(of(GOOD | change, "conf"), (Path("/data"),))
    assert "\n" not in str(e.value)


def test_jobs_over_http_are_submitted_once_looked_at_and_cancelled(tmp_path):
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'jobs.db'}", "ARCHIVE_ROOTS": "/data"}
    server = Serving("model_trainer", tmp_path / "log", env)
    try:
        status, answer = server.post("/v1/jobs", GOOD)
        assert (status, answer["new"]) == (202, True)
        assert server.post("/v1/jobs", GOOD)[1] == answer | {"new": False}
        job = answer["job"]
        assert server.get(f"/v1/jobs/{job}")[1]["state"] == "queued"
        assert [j["id"] for j in server.get("/v1/jobs")[1]] == [job]
        for wrong, named in (
            ({}, "region"),
            (GOOD | {"archive": ["/etc/passwd"]}, "ARCHIVE_ROOTS"),
            (GOOD | {"region": "atlantis"}, "atlantis"),
            (b"{", "JSON"),
        ):
            status, answer = server.post("/v1/jobs", wrong)
            assert (status, answer["status"]) == (400, "error")
            assert named in answer["msg"]
        assert server.get("/v1/jobs/nothing")[0] == 404
        assert server.ask("DELETE", f"/v1/jobs/{job}")[0] == 200
        assert server.ask("DELETE", f"/v1/jobs/{job}")[0] == 409
        assert server.get("/schema/openapi.json")[1]["openapi"].startswith("3.1")
        assert server.get("/ready")[0] == 200
        assert Jobs(Database(env["DATABASE_URL"])).get(job)["state"] == "cancelled"
        assert server.end() == 0
    finally:
        server.end()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "nothing.toml"], "nothing.toml"),
        (["cancel", "nothing"], "nothing"),
        (["trainer"], "STORE_URL"),
        (["submit", "conf.toml", "--every", "often"], "--every often"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(tmp_path, words, said):
    (tmp_path / "conf.toml").write_text('region = "brittany"\narchive = ["a"]\n[publish]\nname = "small"\n')
    env = {k: v for k, v in os.environ.items() if not k.startswith("STORE_")} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "model_trainer", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line
