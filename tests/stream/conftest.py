"""A real broker for the session, workers as real processes, and readers of what they wrote."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Consumer, Producer, TopicPartition
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.kafka.control import Watermark
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from tests.support.topic_reading import drain

ROOT = Path(__file__).resolve().parent.parent.parent
_numbers = itertools.count()


USER, PASSWORD = "watch", "right-one"  # of the TLS listener


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> tuple[Path, Path]:
    """(the broker's key and certificate, the certificate of who signed it), PEM files."""
    folder = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    store, signer = folder / "broker.pem", folder / "ca.pem"
    store.write_bytes(pem + b"".join(c.bytes() for c in certificate.cert_chain_pems))
    ca.cert_pem.write_to_path(str(signer))
    return store, signer


@pytest.fixture(scope="session")
def broker(tmp_path_factory, authority):
    """A real Kafka of one node, with a plain listener and one with TLS and SASL/SCRAM."""
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    os.environ.setdefault("KAFKA_CACHE", str(ROOT / ".cache" / "kafka"))
    security = devbroker.Security(USER, PASSWORD, *authority)
    # Whoever comes by the plain listener may do anything, and so may USER; others need rights (test_rights.py).
    rights = (
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        f"super.users=User:ANONYMOUS;User:{USER}",
        # Under KIP-848 the broker has the timeouts: tests do not wait its usual 45 s for the end of a worker they kill.
        "group.consumer.min.session.timeout.ms=3000",
        "group.consumer.session.timeout.ms=3000",
        "group.consumer.min.heartbeat.interval.ms=500",
        "group.consumer.heartbeat.interval.ms=500",
    )
    with devbroker.DevBroker(tmp_path_factory.mktemp("kafka"), security=security, more=rights) as b:
        yield b


@pytest.fixture
def settings(broker) -> Settings:
    """Settings with topics of their own, created."""
    s = own_settings(broker.bootstrap)
    Admin(s).create()
    return s


def own_settings(bootstrap: str, **more) -> Settings:
    n = f"{os.getpid()}-{next(_numbers)}"
    return Settings(
        app_id=f"test-{n}",
        bootstrap_servers=bootstrap,
        topic=f"dynamic-{n}",
        alert_topic=f"alerts-{n}",
        verdict_topic=f"verdicts-{n}",
        sample_topic=f"samples-{n}",
        dead_topic=f"dead-{n}",
        feedback_topic=f"feedback-{n}",
        control_topic=f"control-{n}",
        partitions=4,
        checkpoint_interval_s=0.3,
        session_timeout_s=3.0,
        **more,
    )


class Worker:
    """A worker as a process of its own, with one of the engines of ``tests.support.worker``."""

    def __init__(self, settings: Settings, log: Path, engine: str = "product", **env: str) -> None:
        self.settings = replace(settings, health_port=devbroker.free_port())
        self.log = log
        variables = {
            name.upper(): str(value)
            for name in Settings.__dataclass_fields__
            if (value := getattr(self.settings, name)) not in (None, "")
        }

        def no_files() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

        blind = env.pop("NO_FILES", None) is not None
        with open(os.devnull if blind else log, "ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(["stream_operator", "worker"] if engine == "product" else ["tests.support.worker", engine])],
                env={**os.environ, **variables, "OMP_NUM_THREADS": "1", **env}, stdout=out, stderr=out, cwd=ROOT,
            )  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.health_port}"

    def end(self, number: int = signal.SIGTERM, within: float = 15.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                within = 5
        return self.process.wait(within)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture
def engine() -> str:
    """The engine of the workers that ``start_worker`` starts; a module that tests the product's says ``product``."""
    return "counting"


@pytest.fixture
def start_worker(tmp_path, engine):
    """Starts workers; ends all of them after the test."""
    started: list[Worker] = []

    def start(settings: Settings, engine: str = engine, **env: str) -> Worker:
        started.append(Worker(settings, tmp_path / f"worker-{len(started)}.log", engine, **env))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


def producer(settings: Settings) -> Producer:
    """Idempotent, as every feeder must be: without that a batch that is sent again comes after its successors, or twice."""
    return Producer(kafka.client(settings, partitioner=kafka.PARTITIONER, linger_ms=5, enable_idempotence=True))


def finish(settings: Settings, t: float) -> int:
    """As a feed at the end of its archive: the number of the control record that says so."""
    consumer = Consumer(kafka.reader(settings))
    after = {
        n: consumer.get_watermark_offsets(TopicPartition(settings.topic, n), timeout=10)[1]
        for n in range(settings.partitions)
    }
    consumer.close()
    return ControlWriter(settings).send(Watermark(t=t, final=True, after=after))


def wait_until(what, within: float, every: float = 0.2):
    """Poll until ``what()`` is true; returns its value."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {within} s")


def wait_for_closed(settings: Settings, vessels: int, within: float) -> list[dict]:
    """All alerts, once every vessel was closed by the watermark."""

    def look():
        alerts = drain(settings, settings.alert_topic)
        return alerts if len({a["mmsi"] for a in alerts if a["status"] == "closed"}) >= vessels else None

    return wait_until(look, within, every=0.5)
