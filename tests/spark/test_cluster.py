"""A real master, two workers as processes of their own, one killed during the job: the tracks of ``local[2]``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.spark.conftest import tracks_in, write_archive
from tests.support.builders import fleet

ROOT = Path(__file__).resolve().parents[2]
SPLIT = "20000"  # bytes: some fifty tasks
START_S = 150.0  # some seconds on a quiet machine


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(what, condition, timeout_s=START_S):
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.05)
    return found


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture
def daemons(spark, tmp_path):
    """start(name, class, *arguments) -> process; each in a group of its own, all ended at the end."""
    import pyspark

    home = Path(pyspark.__file__).parent
    started = []

    def start(name, java_class, *arguments):
        env = os.environ | {
            "SPARK_HOME": str(home),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(tmp_path / name / "local"),
        }
        (tmp_path / name).mkdir()
        with (tmp_path / name / "log").open("wb") as log:
            command = [
                str(home / "bin" / "spark-class"),
                java_class,
                "--host",
                "127.0.0.1",
                "--webui-port",
                "0",
                *arguments,
            ]
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """With all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_cluster_that_loses_a_worker_gives_the_tracks_of_one_machine(build, daemons, tmp_path, monkeypatch):
    from tracks_builder import job

    pattern = write_archive(tmp_path / "in", fleet(7, vessels=12, hours=20))
    monkeypatch.setattr(job, "DEFAULTS", job.DEFAULTS | {"spark.sql.files.maxPartitionBytes": SPLIT})
    expected_summary, expected = build(pattern, output=tmp_path / "local", partitions=8)

    port = free_port()
    master = daemons("master", "org.apache.spark.deploy.master.Master", "--port", str(port))
    wait("the master", lambda: listens(port))
    url = f"spark://127.0.0.1:{port}"
    workers = [
        daemons(
            name,
            "org.apache.spark.deploy.worker.Worker",
            "--cores",
            "1",
            "--memory",
            "1g",
            "-d",
            str(tmp_path / name),
            url,
        )
        for name in ("one", "two")
    ]
    conf = {
        "spark.ui.enabled": "false",
        "spark.sql.files.maxPartitionBytes": SPLIT,
        "spark.executor.memory": "512m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    flags = " ".join(f"--conf {k}={v}" for k, v in conf.items())
    env = os.environ | {"PYSPARK_SUBMIT_ARGS": f"--master {url} --driver-memory 512m {flags} pyspark-shell"}
    command = [sys.executable, str(ROOT / "tracks_builder" / "main.py"), pattern, "brittany", "--json"]
    with (tmp_path / "errors").open("wb") as errors:
        running = subprocess.Popen(
            [*command, "--output", str(tmp_path / "cluster"), "--partitions", "8"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=tmp_path,
        )
        try:
            # Both take part, and the one that is killed has results that the other needs.
            for name in ("one", "two"):
                wait(
                    f"worker {name}: {(tmp_path / 'errors').read_text()}",
                    lambda name=name: running.poll() is not None or any((tmp_path / name).rglob("shuffle_*.data")),
                )
            assert running.poll() is None, "the job was over before a worker could be killed"
            kill(workers[0])
            out, _ = running.communicate(timeout=240)
        finally:
            running.kill()
    assert running.returncode == 0, (tmp_path / "errors").read_text()
    assert master.poll() is None
    assert workers[1].poll() is None
    summary = json.loads(out)
    assert tracks_in(tmp_path / "cluster").equals(expected)
    assert summary["in"] == expected_summary.lines_in
    assert summary["rejected"] == expected_summary.rejected  # tasks that ran twice count once
    assert summary["kept"] == expected_summary.kept
