"""Airflow for real: API server, scheduler and DAG processor, in the environment that `make airflow` made, as docker/airflow/run.sh starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .s3proxy import ROOT, free_port

STOP_S = 60.0
NONE = "no environment of Airflow: `make airflow` makes one, or set AIRFLOW_PYTHON"


def python() -> str | None:
    """Python of Airflow's own environment: AIRFLOW_PYTHON, or what `make airflow` made."""
    found = os.environ.get("AIRFLOW_PYTHON") or str(ROOT / ".airflow" / "venv" / "bin" / "python")
    return found if os.path.exists(found) else None


def environment(folder: Path) -> dict[str, str]:
    """Of a process of Airflow whose home, outputs and DAGs are below ``folder``."""
    env = {k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "STORE_URL", "PIPELINE_OUT"))}
    home = folder / "home"
    return env | {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "PIPELINE_OUT": str(folder / "outputs"), "MULTITASKAIS_PYTHON": sys.executable, "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(str(python())).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip


@dataclass(frozen=True)
class Server:
    """One that runs."""

    url: str
    user: str
    password: str
    token: str
    env: Mapping[str, str]

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, answer) of the REST API, below /api/v2; with a body it is a POST."""
        return _ask(f"{self.url}/api/v2{path}", body, {"Authorization": f"Bearer {self.token}"})

    def trigger(self, dag: str, run: str, conf: Mapping[str, Any]) -> None:
        """By the command line."""
        words = ["airflow", "dags", "trigger", dag, "--run-id", run, "--conf", json.dumps(conf)]
        subprocess.run(words, env=dict(self.env), check=True, capture_output=True)

    def states(self, dag: str, run: str, within_s: float = 500.0) -> dict[str, list[str]]:
        """Task -> the states of its instances, when the run has ended."""
        until = time.monotonic() + within_s
        while self.ask(f"/dags/{dag}/dagRuns/{run}")[1]["state"] not in ("success", "failed"):
            if time.monotonic() > until:
                raise TimeoutError(f"{dag} {run} has not ended")
            time.sleep(1.0)
        found: dict[str, list[str]] = {}
        for task in self.ask(f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=100")[1]["task_instances"]:
            found.setdefault(task["task_id"], []).append(str(task["state"]))
        return found


def _ask(url: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that has read the DAG files; it ends with the block."""
    env = environment(folder) | {"AIRFLOW_PORT": str(free_port())}
    log = folder / "run.log"
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        server = subprocess.Popen(["sh", ROOT / "docker" / "airflow" / "run.sh"], env=env, stdout=out, stderr=out, start_new_session=True)  # fmt: skip
    try:
        found: Server | None = None
        while found is None or found.ask("/dags/multitaskais_experiments")[0] != 200:
            if server.poll() is not None:
                raise RuntimeError(f"Airflow ended: {log.read_text()}")
            time.sleep(1.0)
            said = [line for line in log.read_text().splitlines() if line.startswith("users and passwords: ")]
            if found is None and said:
                ((user, password),) = json.loads(said[0].partition(": ")[2]).items()
                url = f"http://127.0.0.1:{env['AIRFLOW_PORT']}"
                token = _ask(f"{url}/auth/token", {"username": user, "password": password}, {})[1]["access_token"]
                found = Server(url, user, password, token, env)
        yield found
    finally:
        server.terminate()
        try:
            server.wait(STOP_S)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, 9)
                server.wait()
