"""What a trainer makes of a trained model: published, proposed, kept until the store is there, or failed with its figures."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_trainer.database import Database, DatabaseAway
from model_trainer.jobs import Claim, Jobs
from model_trainer.trainer import Trainer
from multitaskais.errors import OperatorError, StoreRefused, StoreUnavailable
from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore

CONF = {"publish": {"name": "small", "rollout": "latest"}}
RESULT = {"accepted": True, "better_than_latest": True, "figures": {"auroc": 0.9}, "doubts": []}
CHILD = "import shutil, sys; shutil.copytree(sys.argv[2], sys.argv[1] + '/model'); open(sys.argv[1] + '/result.json', 'w').write(sys.argv[3])"
HOW: dict[str, Any] = {"t": 1.0, "by": "somebody", "token": "0123abcd"}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """Three versions of one model."""
    base, out = folder.load("anywhere"), []
    for k in range(3):
        out.append(tmp_path_factory.mktemp("models") / "small")
        folder.save(replace(base, name="small", made_from={"k": k}), out[-1])
    return out


@pytest.fixture
def jobs(tmp_path) -> Jobs:
    return Jobs(Database(f"sqlite:///{tmp_path / 'jobs.db'}"), lease_s=0.6)


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(StoreSettings(str(tmp_path / "store")), tmp_path / "cache")


def done(jobs: Jobs, store: ModelStore, model: Path, result: dict[str, Any] = RESULT, meanwhile=lambda: None) -> dict:
    """The job, after one trainer took it; ``meanwhile`` is called when the job has begun."""
    id, _ = jobs.submit("small", CONF)

    def command(_: Claim, folder: Path) -> list[str]:
        meanwhile()
        return [sys.executable, "-S", "-c", CHILD, str(folder), str(model), json.dumps(result)]

    Trainer(jobs, store, owner="t", command=command).run(once=True)
    return jobs.get(id)


def version_of(model: Path) -> str:
    return folder.read_manifest(model)["version"]


def test_a_better_model_becomes_the_latest_and_one_that_leaves_doubts_is_proposed_with_them(jobs, store, models):
    assert done(jobs, store, models[0])["result"]["entry"] == 1
    job = done(jobs, store, models[1], RESULT | {"doubts": ["they hardly agree"]})
    assert job["state"] == "done"
    assert job["result"]["proposed"] == f"store:small@{version_of(models[1])}"
    assert job["result"]["doubts"] == ["they hardly agree"]
    assert store.latest("small").version == version_of(models[0])


def test_a_model_that_was_measured_against_another_version_than_the_latest_is_proposed(jobs, store, models):
    store.publish(models[0], **HOW)
    job = done(jobs, store, models[1], meanwhile=lambda: store.publish(models[2], **HOW))
    assert store.latest("small").version == version_of(models[2])
    assert version_of(models[2]) in job["result"]["doubts"][0]
    assert job["result"]["proposed"] == f"store:small@{version_of(models[1])}"
    # The same model again, measured against the one that is there now.
    assert done(jobs, store, models[1])["result"]["version"] == store.latest("small").version == version_of(models[1])


def test_a_model_that_could_not_be_measured_while_the_store_was_away_takes_over_from_none(
    jobs, store, models, monkeypatch
):
    store.publish(models[0], **HOW)
    with monkeypatch.context() as away:

        def unseen(*_: object) -> None:
            raise StoreUnavailable("away")

        away.setattr(store, "latest", unseen)
        job = done(jobs, store, models[1], meanwhile=away.undo)
    assert store.latest("small").version == version_of(models[0])
    assert "measured against" in job["result"]["doubts"][0]


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRefused])
def test_while_the_store_is_away_or_refuses_us_the_result_is_kept_and_then_published(
    jobs, store, models, monkeypatch, error
):
    publish, calls = store.publish, []

    def at_last(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) < 4:
            raise error("not now")
        return publish(*args, **more)

    monkeypatch.setattr(store, "publish", at_last)
    job = done(jobs, store, models[0])
    assert (job["state"], job["attempt"], len(calls)) == ("done", 1, 4)
    assert store.latest("small").version == version_of(models[0])


def test_a_store_that_holds_other_bytes_under_the_version_fails_the_job_with_its_figures_and_not_the_trainer(
    jobs, store, models, tmp_path
):
    store.put(models[0], token="0123abcd")
    (tmp_path / "store" / "small" / "versions" / version_of(models[0]) / "usual.npz").write_bytes(b"other")
    job = done(jobs, store, models[0])
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert "cannot be published" in job["error"]
    assert "other content" in job["error"]
    assert job["result"]["figures"] == {"auroc": 0.9}
    assert done(jobs, store, models[1])["state"] == "done"


def test_a_ledger_that_cannot_be_read_fails_the_job_and_not_the_trainer(jobs, store, models, tmp_path):
    store.publish(models[0], **HOW)
    (tmp_path / "store" / "small" / "ledger" / "000000001.json").write_text("{")
    job = done(jobs, store, models[1])
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert "entry 1" in job["error"]


def test_a_trainer_that_has_no_folder_to_work_in_gives_the_job_back_and_says_so(jobs, store, tmp_path):
    id, _ = jobs.submit("small", CONF)
    with pytest.raises(OperatorError, match="WORK_DIR"):
        Trainer(jobs, store, tmp_path / "absent", owner="t").run(once=True)
    assert (jobs.get(id)["state"], jobs.get(id)["attempt"]) == ("queued", 0)


def test_what_the_command_wrote_last_is_kept_without_what_a_terminal_or_a_database_would_obey(jobs, store):
    id, _ = jobs.submit("small", CONF)

    def command(_: Claim, folder: Path) -> list[str]:
        return [sys.executable, "-S", "-c", r"import sys; sys.stderr.write('bad\x00 \x1b[31m file'); sys.exit(2)"]

    Trainer(jobs, store, owner="t", command=command).run(once=True)
    assert (jobs.get(id)["state"], jobs.get(id)["error"]) == ("failed", "bad? ?[31m file")


def test_a_trainer_whose_database_is_away_for_a_lease_ends_its_child_and_leaves(jobs, store, tmp_path, monkeypatch):
    jobs.submit("small", CONF)
    pid_file = tmp_path / "pid"

    def away(*_: object) -> None:
        raise DatabaseAway("away")

    def command(_: Claim, __: Path) -> list[str]:
        for name in ("beat", "claim", "submit_due"):
            monkeypatch.setattr(jobs, name, away)
        return [sys.executable, "-S", "-c", "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)", str(pid_file)]  # fmt: skip

    with pytest.raises(DatabaseAway):
        Trainer(jobs, store, owner="t", command=command).run()
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
