"""The images as people run them: built by the documented commands, run for real, without privilege, on a read-only root.

Minutes, so they are among the slow tests: ``pytest -m slow tests/docker -s`` prints versions, sizes and users.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition

from multitaskais import __version__
from stream_operator import devbroker
from stream_operator.kafka import client as kafka
from stream_operator.settings import Settings
from stream_operator.worker import checkpoint
from tests.docker.conftest import NAMES, ROOT, Images, Start, docker, inspect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# As a careful platform runs it. Docker mounts a tmpfs `noexec`.
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
STOP_S = 10.0
SOME_UID = "12345:0"  # stands in no /etc/passwd


def sh(image: str, script: str, *options: str) -> str:
    return docker("run", "--rm", *options, "--entrypoint", "sh", image, "-c", script).stdout.strip()


def wait_until(what, within: float):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(0.3)
    raise AssertionError(f"not within {within} s")


@pytest.fixture(scope="module")
def archive(images: Images, tmp_path_factory) -> Path:
    """A day of simulated traffic, made by the base image as the user that runs the tests."""
    folder = tmp_path_factory.mktemp("archive")
    user = f"{os.getuid()}:{os.getgid()}"
    docker("run", "--rm", *HARDENED, "--user", user, "-v", f"{folder}:/data", images["base"], "simulate",
           "--vessels", "80", "--abnormal", "16", "--seed", "5", "--out", "/data")  # fmt: skip
    return folder / "archive"


# ---------------------------------------------------------------- what is in an image


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_labels_a_health_check_and_no_root(images, name):
    image = images[name]
    labels = json.loads(inspect(image, "{{json .Config.Labels}}"))
    uid = sh(image, "id -u")
    print(f"{image}: version {labels['org.opencontainers.image.version']}, uid {uid}, user {inspect(image, '{{.Config.User}}')}, "
          f"{int(inspect(image, '{{.Size}}')) / 1e6:.0f} MB")  # fmt: skip
    assert int(uid) != 0
    assert inspect(image, "{{.Config.User}}") == uid  # a number: Kubernetes' runAsNonRoot asks for one
    kafka = (
        (ROOT / "stream_operator" / "devbroker" / "pom.xml")
        .read_text()
        .split("kafka_2.13")[1]
        .split("<version>")[1]
        .split("<")[0]
    )
    assert labels["org.opencontainers.image.version"] == (kafka if name == "broker" else __version__)
    if name in ("stream", "tracks"):
        assert labels["org.opencontainers.image.revision"] == images.ref
    assert inspect(image, "{{json .Config.Healthcheck.Test}}") not in ("null", '["NONE"]')


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_no_compiler_cache_or_test(images, name):
    search = (
        "for c in cc gcc g++ clang make pip pip3 javac mvn; do command -v $c; done; "
        "ls /root/.cache /root/.m2 /var/cache/apt /var/lib/apt/lists 2>/dev/null | grep -v ':$' | grep .; "
        "find / -xdev -type d \\( -name tests -o -name test \\) -not -path '/proc/*' 2>/dev/null; true"
    )
    assert sh(images[name], search, "--user", "0") == ""


def packages(image: str) -> set[str]:
    code = "import importlib.metadata as m; print(*{d.name.lower() for d in m.distributions()})"
    return set(sh(image, f"python -c '{code}'").split())


def test_an_image_carries_its_own_engine_and_no_other(images):
    base, stream, tracks = (packages(images[n]) for n in ("base", "stream", "tracks"))
    engines = {"faust-streaming", "confluent-kafka", "pyspark", "tensorflow-cpu", "tensorflow_cpu", "pip", "pytest"}
    assert base & engines == set()
    assert stream & engines == {"faust-streaming", "confluent-kafka"}
    assert tracks & engines == {"pyspark"}


@pytest.mark.parametrize("name", ["base", "stream", "tracks"])
def test_an_image_tells_the_commit_and_loads_its_model(images, name):
    code = "from multitaskais.model import folder; print(folder.load('brittany').region.name)"
    commit, region = sh(images[name], f'cat /opt/multitaskais/commit; python -c "{code}"', *HARDENED).split()
    assert region == "brittany"
    known = (
        subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True).returncode == 0
    )
    assert known or not (ROOT / ".git" / "HEAD").is_file()


@pytest.mark.skipif(os.environ.get("IMAGES_BUILT") == "1", reason="IMAGES_BUILT=1: nothing is built")
def test_the_user_is_a_build_argument_and_another_stage_leaves_it_open(images):
    arguments = ["--build-arg", f"NAMESPACE={images.namespace}", "--build-arg", f"TARGET_REF={images.ref}"]
    for name in ("stream", "tracks"):
        tag = f"{images[name]}-uid"
        recipe = ["-f", f"docker/{name}/Dockerfile", "."]
        docker("build", *arguments, "--build-arg", "UID=4711", *recipe, "-t", tag, cwd=ROOT, timeout=900)
        assert sh(tag, "id -u; id -un").split() == ["4711", "multitaskais"]
        docker("build", *arguments, "--target", "any-user", *recipe, "-t", tag, cwd=ROOT, timeout=900)
        assert inspect(tag, "{{.Config.User}}") == "root"  # no user of ours: the platform's counts
        docker("rmi", tag)


@pytest.mark.skipif(os.environ.get("IMAGES_BUILT") == "1", reason="IMAGES_BUILT=1: nothing is built")
def test_the_extra_train_adds_a_tensorflow_that_trains(images, archive, tmp_path):
    tag = f"{images['base']}-train"
    docker("build", *images.own_base, "--build-arg", "EXTRAS=train", "-f", "docker/base/Dockerfile", ".", "-t", tag, cwd=ROOT, timeout=1500)  # fmt: skip
    print(f"{tag}: {int(inspect(tag, '{{.Size}}')) / 1e6:.0f} MB")
    tmp_path.chmod(0o777)
    done = docker("run", "--rm", *HARDENED, "-v", f"{archive}:/data:ro", "-v", f"{tmp_path}:/out", tag,
                  "train", "/data", "--region", "brittany", "--out", "/out/model", "--steps", "3", "--val-every", "3")  # fmt: skip
    assert (tmp_path / "model" / "detectors" / "vrnn" / "weights.npz").is_file(), done.stdout
    docker("rmi", tag)


# ---------------------------------------------------------------- tracks


def build_tracks(images: Images, archive: Path, out: Path, *options: str) -> tuple[dict, pa.Table]:
    out.mkdir()
    out.chmod(0o777)
    done = docker("run", "--rm", *options, "-v", f"{archive}:/data", "-v", f"{out}:/tmp/trajectories", images["tracks"],
                  "--master", "local[2]", "main.py", "/data/*/*/*.cdv", "brittany")  # fmt: skip
    assert "tracks are in /tmp/trajectories" in done.stdout
    assert " INFO " not in done.stdout
    table = pq.read_table(out)
    return json.loads((out / "_summary.json").read_text()), table.sort_by([("mmsi", "ascending"), ("t", "ascending")])


def test_tracks_are_built_by_the_documented_command_and_the_same_by_any_user_on_a_read_only_root(
    images, archive, tmp_path
):
    summary, tracks = build_tracks(images, archive, tmp_path / "plain")
    assert summary["in"] == summary["kept"] + sum(summary["rejected"].values())
    assert summary["tracks"] >= 40
    assert len(set(tracks["track_id"].to_pylist()) - {None}) == summary["tracks"]
    _, again = build_tracks(images, archive, tmp_path / "hardened", *HARDENED, "--user", SOME_UID)
    assert again.equals(tracks)


def test_spark_on_kubernetes_finds_its_driver_in_the_image(images, archive, tmp_path):
    """The words and files that Spark gives a driver's pod; the master alone is one that is here."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "spark.properties").write_text("spark.master=local[2]\nspark.submit.deployMode=cluster\n")
    out = tmp_path / "out"
    out.mkdir()
    for folder, mode in ((tmp_path, 0o755), (out, 0o777)):
        folder.chmod(mode)
    words = ["driver", "--properties-file", "/opt/spark/conf/spark.properties", "--class", "org.apache.spark.deploy.PythonRunner",
             "local:///app/tracks_builder/main.py", "/data/*/*/*.cdv", "brittany"]  # fmt: skip
    done = docker("run", "--rm", *HARDENED, "-e", "SPARK_DRIVER_BIND_ADDRESS=127.0.0.1", "-e", "SPARK_CONF_DIR=/opt/spark/conf",
                  "-v", f"{tmp_path}/conf:/opt/spark/conf:ro", "-v", f"{archive}:/data", "-v", f"{out}:/tmp/trajectories",
                  images["tracks"], *words)  # fmt: skip
    assert "tracks are in /tmp/trajectories" in done.stdout
    assert json.loads((out / "_summary.json").read_text())["tracks"] >= 40


def test_spark_on_kubernetes_finds_its_executor_in_the_image(images):
    """It comes as far as its driver, which is not there, with Java's options in their order."""
    port = devbroker.free_port()
    env = {"SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@127.0.0.1:{port}", "SPARK_EXECUTOR_ID": "1",
           "SPARK_EXECUTOR_CORES": "2", "SPARK_EXECUTOR_MEMORY": "512m", "SPARK_APPLICATION_ID": "spark-1",
           "SPARK_EXECUTOR_POD_IP": "127.0.0.1", "SPARK_EXECUTOR_POD_NAME": "tracks-exec-1", "SPARK_RESOURCE_PROFILE_ID": "0",
           "SPARK_JAVA_OPT_0": "-Dfirst=a b", "SPARK_JAVA_OPT_1": "-XshowSettings:properties"}  # fmt: skip
    done = docker("run", "--rm", *HARDENED, *(x for k, v in env.items() for x in ("-e", f"{k}={v}")), images["tracks"], "executor",
                  check=False)  # fmt: skip
    assert done.returncode != 0
    assert "first = a b" in done.stdout
    assert "KubernetesExecutorBackend" in done.stdout
    assert f"Failed to connect to /127.0.0.1:{port}" in done.stdout


def test_a_glob_that_matches_nothing_is_told_in_one_line(images, tmp_path):
    tmp_path.chmod(0o755)
    done = docker("run", "--rm", "-v", f"{tmp_path}:/data", images["tracks"], "--master", "local[1]", "main.py", "/data/*.cdv",
                  "brittany", check=False)  # fmt: skip
    assert done.returncode != 0
    assert any("main.py: " in line and "/data/*.cdv" in line for line in done.stdout.splitlines())


def test_an_archive_that_cannot_be_read_is_told_in_one_line(images, tmp_path):
    secret = tmp_path / "secret.cdv"
    secret.write_bytes(b"nothing for everybody")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    done = docker("run", "--rm", "--user", SOME_UID, "-v", f"{tmp_path}:/data", images["tracks"], "--master", "local[1]", "main.py",
                  "/data/*.cdv", "brittany", check=False)  # fmt: skip
    assert done.returncode == 2
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("tracks_builder/main.py: ")]
    assert "secret.cdv" in line
    assert "Permission denied" in line
    assert "\tat " not in done.stdout


def test_an_output_that_cannot_be_written_is_told_in_one_line(images, archive, tmp_path):
    tmp_path.chmod(0o555)
    done = docker("run", "--rm", "--user", SOME_UID, "-v", f"{archive}:/data", "-v", f"{tmp_path}:/tmp/trajectories",
                  images["tracks"], "--master", "local[1]", "main.py", "/data", "brittany", check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        "/tmp/trajectories cannot be written by user 12345: chown the folder that is mounted there, run with --user, or give --output"
    ]


# ---------------------------------------------------------------- stream


@dataclass(frozen=True)
class Operator:
    """One operator on its own topics of a broker: containers on the host's network."""

    images: Images
    settings: Settings

    def options(self, **more: str) -> list[str]:
        s = self.settings
        env = {"BOOTSTRAP_SERVERS": s.bootstrap_servers, "APP_ID": s.app_id, "ALERT_TOPIC": s.alert_topic,
               "VERDICT_TOPIC": s.verdict_topic, "DEAD_TOPIC": s.dead_topic, "CONTROL_TOPIC": s.control_topic, "HEALTH_PORT": str(s.health_port), **more}  # fmt: skip
        return ["--network", "host", *HARDENED, *(x for k, v in env.items() for x in ("-e", f"{k}={v}"))]

    def call(self, *command: str, options: tuple[str, ...] = ()) -> str:
        return docker("run", "--rm", *self.options(), *options, self.images["stream"], *command).stdout

    def worker(self, start: Start) -> str:
        """The container's own command: none is given."""
        return start(self.images["stream"], options=self.options())

    def alerts(self) -> list[dict]:
        lines = self.call("alerts", "--format", "json").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def durable(self) -> list[int]:
        """How far each partition was read, as the last checkpoint says."""
        return [checkpoint.restore(self.settings, p).offset or 0 for p in range(self.settings.partitions)]

    def ends(self) -> list[int]:
        consumer = Consumer(kafka.reader(self.settings))
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(self.settings.topic, p), 10)[1]
                for p in range(self.settings.partitions)
            ]
        finally:
            consumer.close()

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.health_port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[devbroker.DevBroker]:
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    os.environ.setdefault("KAFKA_CACHE", str(ROOT / ".cache" / "kafka"))
    with devbroker.DevBroker(tmp_path_factory.mktemp("kafka")) as b:
        yield b


def operator(images: Images, broker: devbroker.DevBroker, app: str) -> Operator:
    own = {f"{t}_topic": f"{app}.{t}" for t in ("alert", "verdict", "dead")}
    port = devbroker.free_port()
    o = Operator(images, Settings(app_id=app, bootstrap_servers=broker.bootstrap, health_port=port, **own))
    o.call("topics")
    return o


def stop(container: str) -> float:
    """SIGTERM; seconds until it had left by itself, in order."""
    begun = time.monotonic()
    docker("stop", "-t", "30", container)
    took = time.monotonic() - begun
    assert inspect(container, "{{.State.ExitCode}}") == "0", docker("logs", container).stdout[-3000:]
    return took


def test_a_worker_leaves_on_sigterm_within_10_s_and_its_successor_goes_on_without_a_gap_or_an_alert_twice(
    images, archive, broker, start
):
    stopped, through = (operator(images, broker, app) for app in ("stopped", "through"))
    first = stopped.worker(start)
    wait_until(lambda: stopped.get("/ready") == 200, 60)
    files = ("-v", f"{archive}:/data:ro")
    feed = ("feed", "/data", "--quiet")
    stopped.call(*feed, options=files)  # all but the end is known; results wait in the worker for their checkpoint
    took = stop(first)
    print(f"SIGTERM: left in {took:.1f} s at offsets {stopped.durable()} of {stopped.ends()}")
    assert took < STOP_S
    assert 0 < sum(stopped.durable()) <= sum(stopped.ends())
    before = {(a["alert_id"], a["revision"]) for a in stopped.alerts()}

    stopped.call(*feed, "--limit", "0", "--finish", options=files)
    second = stopped.worker(start)
    other = through.worker(start)
    for o in (stopped, through):
        wait_until(lambda o=o: o.durable() == o.ends(), 120)
    wait_until(lambda: inspect(second, "{{.State.Health.Status}}") == "healthy", 60)
    assert stop(second) < STOP_S
    assert stop(other) < STOP_S

    alerts = stopped.alerts()
    keys = [(a["alert_id"], a["revision"]) for a in alerts]
    assert len(alerts) > 10
    assert len(set(keys)) == len(keys)
    assert before <= set(keys)
    order = lambda a: (a["alert_id"], a["revision"])  # noqa: E731
    assert sorted(alerts, key=order) == sorted(through.alerts(), key=order)


def test_the_map_runs_and_docker_sees_that_it_is_well(images, broker, start):
    o = operator(images, broker, "map")
    port = devbroker.free_port()
    container = start(images["stream"], "map", options=[*o.options(MAP_PORT=str(port)), "--user", SOME_UID])
    wait_until(lambda: inspect(container, "{{.State.Health.Status}}") == "healthy", 60)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
        assert page.status == 200
        assert b"<html" in page.read().lower()
    assert stop(container) < STOP_S


@pytest.mark.parametrize("command", [["alerts", "--follow"], ["feed", "--tcp", "127.0.0.1:1"]])
def test_a_reader_or_feeder_that_runs_for_ever_hears_sigterm(images, broker, start, command):
    container = start(images["stream"], *command, options=operator(images, broker, "readers").options())
    time.sleep(3)
    assert inspect(container, "{{.State.Running}}") == "true", docker("logs", container).stdout
    begun = time.monotonic()
    docker("stop", "-t", "30", container)
    assert time.monotonic() - begun < STOP_S


def test_a_worker_without_a_broker_says_in_one_line_what_is_wrong(images):
    options = ["--network", "host", "-e", f"BOOTSTRAP_SERVERS=127.0.0.1:{devbroker.free_port()}"]
    done = docker("run", "--rm", *options, images["stream"], check=False)
    assert done.returncode == 75
    assert "is BOOTSTRAP_SERVERS right?" in done.stdout.splitlines()[-1]


# ---------------------------------------------------------------- all together


def compose_command() -> list[str] | None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_compose_brings_up_broker_workers_feed_and_map_and_alerts_come(images):
    if (compose := compose_command()) is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    port = devbroker.free_port()
    env = {**os.environ, "NAMESPACE": images.namespace, "TARGET_REF": images.ref, "MAP_TOKEN": "0123456789abcdef",
           "SPEED": "max", "MAP_PORT": str(port), "BASE_IMAGE": os.environ.get("BASE_IMAGE", "debian:bookworm-slim")}  # fmt: skip
    command = [*compose, "-p", f"multitaskais-test-{os.getpid()}", "-f", str(ROOT / "docker" / "compose.yml")]

    def call(*words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*command, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def alerts() -> list[str]:
        lines = call("run", "--rm", "-T", "alerts", "alerts", "--format", "json").splitlines()
        return [line for line in lines if line.startswith("{") and '"status"' in line]

    try:
        call("up", "-d", "--no-build", "--scale", "worker=2")
        wait_until(lambda: len(alerts()) > 20, 240)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as page:
            assert page.status == 200
        workers = [line for line in call("ps", "-q", "worker").splitlines() if line]
        assert len(workers) == 2
        assert all(inspect(w, "{{.State.Running}}") == "true" for w in workers)
    except BaseException:
        print(call("logs", "--tail", "50", check=False)[-8000:])
        raise
    finally:
        call("down", "--volumes", "--timeout", "15", check=False)
