"""Laws of the lease table, on each of the three databases: whatever happens to trainers, a job ends once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from model_trainer.database import Database, DatabaseAway, schema_version
from model_trainer.jobs import Jobs
from multitaskais.errors import ConfigError, InputError
from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from tests.support import databases
from tests.support.s3proxy import ROOT, free_port

CONF = {"publish": {"name": "small", "rollout": "latest"}, "seconds": 0.0, "n": 0}


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgresql"])
def url(request, tmp_path_factory):
    if (reason := databases.missing(request.param)) is not None:
        pytest.skip(reason)
    with databases.running(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture
def jobs(url) -> Jobs:
    database = Database(url)
    with database.transaction() as c:
        for table in ("job", "schedule"):
            c.execute(sa.text(f"delete from {table}"))
    return Jobs(database, lease_s=30.0)


def test_a_job_goes_through_its_states_and_an_old_attempt_changes_nothing(jobs):
    id, new = jobs.submit("small", CONF)
    assert new
    assert jobs.submit("small", CONF) == (id, False)
    first = jobs.claim("a")
    assert (first.id, first.attempt, first.conf) == (id, 1, CONF)
    assert jobs.claim("b") is None
    assert jobs.beat(first, 0.5, "half")
    shown = jobs.get(id)
    assert (shown["state"], shown["progress"], shown["note"], shown["owner"]) == ("running", 0.5, "half", "a")
    assert shown["left_s"] is not None
    impatient = Jobs(jobs.database, lease_s=0.05)
    assert impatient.beat(first)
    time.sleep(0.2)
    second = impatient.claim("b")
    assert (second.id, second.attempt) == (id, 2)
    assert not jobs.beat(first)
    assert not jobs.finish(first, "done", {"late": True})
    assert not jobs.release(first)
    assert jobs.finish(second, "done", {"by": "b"})
    assert not jobs.finish(second, "failed", error="twice")
    assert (jobs.get(id)["state"], jobs.get(id)["result"]) == ("done", {"by": "b"})
    assert jobs.submit("small", CONF)[1]  # it has ended: the same conf is a new job


def test_a_job_whose_trainers_died_three_times_is_given_up_with_a_reason(jobs):
    id, _ = jobs.submit("small", CONF, attempts_max=3)
    hasty = Jobs(jobs.database, lease_s=0.02)
    for _ in range(3):
        assert hasty.claim("dies") is not None
        time.sleep(0.1)
    assert hasty.claim("d") is None
    assert jobs.get(id)["state"] == "failed"
    assert "given up after 3 attempts" in jobs.get(id)["error"]


def test_a_job_given_back_costs_no_attempt_and_one_cancelled_is_lost_to_its_trainer(jobs):
    id, _ = jobs.submit("small", CONF)
    assert jobs.release(jobs.claim("a"))
    again = jobs.claim("b")
    assert again.attempt == 1
    assert jobs.cancel(id)
    assert not jobs.beat(again)
    assert not jobs.finish(again, "done")
    assert not jobs.cancel(id)
    with pytest.raises(InputError, match="no job"):
        jobs.cancel("nothing")


def test_claims_and_submissions_at_once_give_each_job_to_one(jobs, url):
    ids = [jobs.submit("small", CONF | {"n": n})[0] for n in range(24)]
    others = [Jobs(Database(url), 30.0) for _ in range(4)]

    def take(mine: Jobs) -> list[str]:
        got = []
        while (claim := mine.claim("x")) is not None:
            got.append(claim.id)
        return got

    with ThreadPoolExecutor(4) as pool:
        taken = [id for part in pool.map(take, others) for id in part]
        assert sorted(taken) == sorted(ids)
        same = list(pool.map(lambda j: j.submit("small", CONF | {"n": -1}), others))
    assert len({id for id, _ in same}) == 1
    assert sum(new for _, new in same) == 1


def test_what_is_scheduled_is_submitted_once_when_it_is_due_and_what_was_missed_is_not_made_up_for(jobs, url):
    jobs.submit_every("small", CONF, 3600.0)
    others = [Jobs(Database(url), 30.0) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(len(s) for s in pool.map(Jobs.submit_due, others)) == 1
    assert jobs.submit_due() == []
    with jobs.database.transaction() as c:
        c.execute(sa.text("update schedule set next_at = next_at - 36000"))
    assert len(jobs.submit_due()) == 1
    (one,) = jobs.schedules()
    with jobs.database.transaction() as c:
        assert 0 < one["next_at"] - jobs.database.now(c) <= 3600.0
    assert jobs.unschedule(one["id"])
    assert jobs.schedules() == []


def test_tables_of_a_later_version_are_refused_with_one_line(jobs, url):
    with jobs.database.transaction() as c:
        c.execute(schema_version.update().values(version=99))
    try:
        with pytest.raises(ConfigError, match="newer program"):
            Database(url)
    finally:
        with jobs.database.transaction() as c:
            c.execute(schema_version.update().values(version=1))


ODD_IDS = ["", "nothing", "\0", "a\0b", "\N{SNOWMAN}", "x" * 100_000, "' or 1=1 --", "A" * 32, "a" * 31 + "\n"]


@pytest.mark.parametrize("id", ODD_IDS, ids=range(len(ODD_IDS)))
def test_an_id_that_no_job_can_have_is_no_job_on_any_database(jobs, id):
    assert jobs.get(id) is None
    with pytest.raises(InputError, match="no job"):
        jobs.cancel(id)


def test_what_a_job_ended_with_is_kept_in_any_letters_on_any_database(jobs):
    id, _ = jobs.submit("small", CONF | {"archive": ["/données/\N{CJK UNIFIED IDEOGRAPH-6D77}\N{GRINNING FACE}\0"]})
    why = "no file /données/\N{CJK UNIFIED IDEOGRAPH-6D77}\N{GRINNING FACE} – nothing"
    assert jobs.finish(jobs.claim("a"), "failed", {"x": why}, why)
    shown = jobs.get(id)
    assert (shown["error"], shown["result"]["x"], shown["conf"]["archive"][0][-1]) == (why, why, "\0")


def test_a_conf_longer_than_a_column_of_text_is_one_line_on_every_database(jobs):
    names = [f"/data/{k:050d}.parquet" for k in range(2000)]
    with pytest.raises(InputError, match="folders or globs"):
        jobs.submit("small", CONF | {"archive": names})
    with pytest.raises(InputError, match="folders or globs"):
        jobs.submit_every("small", CONF | {"archive": names}, 3600.0)
    id, _ = jobs.submit("small", CONF | {"archive": names[:800]})
    assert jobs.get(id)["conf"]["archive"] == names[:800]


def test_a_database_that_refuses_us_is_told_from_one_that_is_away(url, tmp_path):
    if url.startswith("sqlite"):
        (tmp_path / "notes.txt").write_text("no database, but a text of more than a hundred bytes\n" * 20)
        wrong = [f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}", f"sqlite:///{tmp_path / 'notes.txt'}"]
    else:
        wrong = [url.rpartition("/")[0] + "/absent", url.replace("://root@", "://nobody:secret@").replace("://postgres@", "://nobody:secret@")]  # fmt: skip
    for one in wrong:
        with pytest.raises(ConfigError, match="DATABASE_URL") as e:
            Database(one)
        assert "secret" not in str(e.value)
        assert "\n" not in str(e.value)


def test_a_database_that_is_away_or_of_no_known_kind_is_told_apart():
    with pytest.raises(DatabaseAway, match="does not answer"):
        Database(f"mysql+pymysql://root:secret@127.0.0.1:{free_port()}/jobs")
    for url in ("nonsense", "oracle://x", "mysql+nothing://x"):
        with pytest.raises(ConfigError) as e:
            Database(url)
        assert "secret" not in str(e.value)


# ---------------------------------------------------------------- trainers as processes


class Trainers:
    """Processes of ``tests.support.job_worker`` on one database."""

    def __init__(self, url: str, where: Path, lease_s: float) -> None:
        self.url, self.where, self.lease_s = url, where, lease_s
        self.all: list[subprocess.Popen] = []

    def start(self, owner: str, model: Path | None = None) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.support.job_worker", self.url, str(self.where / "store"),
                   str(self.lease_s), owner, str(self.where / "ends"), *([str(model)] if model else [])]  # fmt: skip
        with (self.where / f"{owner}.err").open("ab") as errors:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        self.all.append(process)
        return process

    def end(self) -> None:
        for p in self.all:
            with p:  # closes its pipe and waits
                p.kill()


@pytest.fixture
def trainers(url, jobs, tmp_path):
    made = Trainers(url, tmp_path, 1.5)
    yield made
    made.end()


def live(jobs: Jobs) -> int:
    with jobs.database.transaction() as c:
        return c.execute(sa.text("select count(*) from job where state in ('queued', 'running')")).scalar_one()


def kill_and_stop_trainers(jobs: Jobs, trainers: Trainers, n: int, hits: int, within: float) -> None:
    """n jobs by three trainers; ``hits`` times one is killed, or stopped for longer than its lease."""
    ids = [jobs.submit("small", CONF | {"n": k, "seconds": 0.3}, attempts_max=99)[0] for k in range(n)]
    running = [trainers.start(f"w{i}") for i in range(3)]
    for p in running:
        p.stdout.readline()
    rng, asleep = random.Random(7), []
    deadline, number = time.monotonic() + within, 3
    while live(jobs) and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.2, 0.6))
        for wake_at, p in list(asleep):
            if time.monotonic() > wake_at:
                os.kill(p.pid, signal.SIGCONT)
                asleep.remove((wake_at, p))
        if hits:
            hits -= 1
            i = rng.randrange(3)
            if rng.random() < 0.3:
                os.kill(running[i].pid, signal.SIGSTOP)
                asleep.append((time.monotonic() + 2 * trainers.lease_s, running[i]))
            else:
                running[i].kill()
            running[i] = trainers.start(f"w{number}")
            number += 1
    for _, p in asleep:
        os.kill(p.pid, signal.SIGCONT)
    time.sleep(1.0)
    assert {jobs.get(id)["state"] for id in ids} == {"done"}
    ends = [line.split() for line in (trainers.where / "ends").read_text().splitlines()]
    won = Counter(n for n, _, state, how in ends if how == "won")
    assert set(won) | {str(k) for k in range(n)} == {str(k) for k in range(n)}
    assert all(count == 1 for count in won.values())


def test_under_kills_and_stops_of_trainers_every_job_ends_once(jobs, trainers):
    kill_and_stop_trainers(jobs, trainers, n=12, hits=4, within=90)


@pytest.mark.slow
def test_under_many_kills_and_stops_of_trainers_200_jobs_end_once_each(jobs, trainers):
    kill_and_stop_trainers(jobs, trainers, n=200, hits=25, within=500)


def test_a_trainer_that_was_stopped_for_longer_than_its_lease_publishes_nothing(jobs, trainers, tmp_path):
    base, models = folder.load("anywhere"), []
    for who in ("early", "late"):
        models.append(tmp_path / who / "small")
        models[-1].parent.mkdir()
        folder.save(replace(base, name="small", made_from={"who": who}), models[-1])
    id, _ = jobs.submit("small", CONF | {"seconds": 2.0})
    stopped = trainers.start("stopped", models[1])
    deadline = time.monotonic() + 60
    while jobs.get(id)["state"] != "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(stopped.pid, signal.SIGSTOP)
    began = time.monotonic()
    trainers.start("next", models[0])
    while jobs.get(id)["attempt"] < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    print(f"taken over after {time.monotonic() - began:.1f} s, lease {trainers.lease_s} s")
    while jobs.get(id)["state"] != "done" and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(stopped.pid, signal.SIGCONT)
    time.sleep(2.0)
    assert "no longer ours" in (tmp_path / "stopped.err").read_text()
    store = ModelStore(StoreSettings(str(tmp_path / "store")), tmp_path / "cache")
    (entry,) = store.ledger("small")
    assert entry.by == "next"
    assert jobs.get(id)["result"]["version"] == entry.version == folder.read_manifest(models[0])["version"]


def test_a_trainer_that_is_told_to_stop_gives_its_job_back(jobs, trainers):
    id, _ = jobs.submit("small", CONF | {"seconds": 30.0})
    process = trainers.start("a")
    deadline = time.monotonic() + 60
    while jobs.get(id)["state"] != "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 0
    shown = jobs.get(id)
    assert (shown["state"], shown["attempt"], shown["owner"]) == ("queued", 0, None)
