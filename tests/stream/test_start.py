"""What cannot be started says so in one line, before anything else has happened."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from multitaskais.errors import OperatorError
from stream_operator import devbroker
from stream_operator.settings import Settings
from stream_operator.worker import app
from tests.stream.conftest import ROOT, own_settings


@pytest.fixture
def taken():
    """A port of this machine on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_worker_whose_health_port_is_taken_leaves_with_two_and_one_line(taken, start_worker):
    worker = start_worker(own_settings("127.0.0.1:1"), HEALTH_PORT=str(taken))
    assert worker.process.wait(60) == 2
    last = worker.text().splitlines()[-1]
    assert last.startswith(f"error: HEALTH_PORT: 127.0.0.1:{taken} is taken by another program")
    assert "Traceback" not in worker.text()


def test_of_two_that_start_at_once_on_one_port_one_gets_it_and_the_other_is_told():
    settings = replace(Settings(), health_port=devbroker.free_port())

    def take(_) -> object:
        try:
            return app.listen(settings)
        except OperatorError as e:
            return e

    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            got = list(pool.map(take, range(2)))
        [listener] = [g for g in got if isinstance(g, socket.socket)]
        [error] = [g for g in got if isinstance(g, OperatorError)]
        listener.close()
        assert str(error).startswith(f"HEALTH_PORT: 127.0.0.1:{settings.health_port} is taken by another program")


@pytest.mark.timeout(120)
def test_a_worker_that_finds_no_broker_asks_to_be_started_again(start_worker):
    worker = start_worker(own_settings("127.0.0.1:1"))
    assert worker.process.wait(90) == 75
    assert worker.text().splitlines()[-1].startswith("error: no answer from the brokers 127.0.0.1:1 (PLAINTEXT)")


def test_an_address_that_is_not_this_machines_is_said_too():
    with pytest.raises(OperatorError, match=r"HEALTH_BIND, HEALTH_PORT: 192\.0\.2\.1:6066 cannot be listened on"):
        app.listen(replace(Settings(), health_bind="192.0.2.1"))


def test_a_development_broker_does_not_take_another_kafka_for_its_own(taken, tmp_path):
    command = [sys.executable, "-m", "stream_operator", "broker", "--port", str(taken), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: port {taken} of 127.0.0.1 is taken by another program")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
