"""Both servers keep what their OpenAPI documents say, whatever is sent: schemathesis makes requests from the documents."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.serving import Serving

TOKEN = "0123456789abcdef"
# The documents cannot say which regions and detectors there are, nor where archives may lie: a conf of the right form may be refused.
LEFT_OUT = {"score_server": [], "model_trainer": ["--exclude-checks", "positive_data_acceptance"]}


@pytest.fixture(scope="module", params=["score_server", "model_trainer"])
def server(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    env = {"JUDGES": "1", "MODELS": "anywhere", "SERVE_TOKEN": TOKEN, "TRAIN_TOKEN": TOKEN}
    env |= {"DATABASE_URL": f"sqlite:///{place / 'jobs.db'}", "ARCHIVE_ROOTS": "/data"}
    running = Serving(request.param, place / "log", env)
    while running.get("/ready")[0] != 200:
        time.sleep(0.1)
    yield request.param, running
    running.end()


def check(server: tuple[str, Serving], examples: int, place) -> None:
    name, running = server
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/schema/openapi.json", "--checks", "all"]
    command += ["--max-examples", str(examples), "--generation-deterministic", "--no-color", *LEFT_OUT[name]]
    command += ["-H", f"Authorization: Bearer {TOKEN}", "--request-timeout", "60"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Traceback" not in running.text()


def test_no_request_made_from_the_document_finds_a_fault(server, tmp_path):
    check(server, 20, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_none_of_200_requests_an_operation_finds_a_fault(server, tmp_path):
    check(server, 200, tmp_path)
