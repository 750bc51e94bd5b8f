"""Another model takes over without a restart: the same on all workers, after kills, in batch and in replay; what is broken is refused."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from multitaskais.config import REGIONS
from multitaskais.engine import batch
from multitaskais.errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, WrongRegion
from multitaskais.model import folder as modelfolder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore
from multitaskais.simulate import SimulationSettings, simulate
from stream_operator.commands import replay
from stream_operator.commands import rollout as announcement
from stream_operator.kafka import codec as wire
from stream_operator.kafka.control import ModelAnnouncement
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from stream_operator.worker.engines import engine_opener
from stream_operator.worker.metrics import Metrics
from stream_operator.worker.registry import Models, source_of
from tests.stream.conftest import finish, own_settings, producer, wait_until
from tests.stream.test_feed import run
from tests.stream.test_stream_equals_batch import on_the_wire, revisions, wait_for_the_end
from tests.support import s3proxy
from tests.support.builders import another
from tests.support.topic_reading import drain, messages

START = 1_767_225_600.0  # 2026-01-01
SINCE = START + 43_200.0
SINCE_TEXT = "2026-01-01T12:00"


@pytest.fixture(scope="module")
def successor(tmp_path_factory):
    """The folder of a model of Brittany with one detector less, that raises more."""
    folder = tmp_path_factory.mktemp("models") / "second"
    modelfolder.save(another(modelfolder.load("brittany"), name="second"), folder)
    return folder


@pytest.fixture(scope="module")
def reports():
    """A day of 20 ships, 8 of them abnormal, in the order of time."""
    found = simulate(REGIONS["brittany"], SimulationSettings(START, 1, 20, 8), np.random.default_rng(21)).reports
    return found[np.argsort(found["t"], kind="stable")]


@pytest.fixture
def engine() -> str:
    return "product"


@pytest.fixture
def live(broker):
    s = replace(own_settings(broker.bootstrap), model="brittany", partitions=2)
    Admin(s).create()
    return s


def send(settings, reports, until: float | None = None) -> None:
    p = producer(settings)
    for row in reports.tolist():
        key, value = wire.encode_report(row)
        p.produce(settings.topic, value, key)
        p.poll(0)
    p.flush()
    if until is not None:
        finish(settings, until)


def metrics(worker) -> str:
    try:
        with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


@pytest.mark.broker
def test_a_swap_in_a_log_read_by_workers_that_are_killed_gives_every_revision_of_batch_and_so_does_its_replay(
    live, successor, reports, start_worker, tmp_path
):
    want = batch.run(modelfolder.load("brittany"), reports, then=[(modelfolder.load(successor), SINCE)])
    before = int(np.searchsorted(reports["t"], SINCE - 5 * 3600.0))
    send(live, reports[:before])
    done = run(live, "model", str(successor), "--from", SINCE_TEXT)
    assert done.returncode == 0, done.stderr
    assert b"control record 0 announces model" in done.stderr
    send(live, reports[before:], float(reports["t"].max()) + 7321.0)
    for point in ("produced:3", "committed:3"):
        worker = start_worker(live, FAULT_POINT=point, RUN_SIZE="300")
        assert worker.process.wait(90) == -signal.SIGKILL, worker.text()
    worker = start_worker(live)
    emitted, _ = wait_for_the_end(live, want)
    assert worker.end() == 0
    assert revisions(emitted) == revisions(on_the_wire(want))
    assert {a["model_version"] for a in emitted} == {
        m.version for m in (modelfolder.load("brittany"), modelfolder.load(successor))
    }
    out = tmp_path / "again.jsonl"
    everything = replay.Range(START, math.inf, math.inf)
    replay.replay(live, engine_opener(live), everything, sink := replay.FileSink(out))
    sink.close()
    assert revisions([json.loads(line) for line in out.read_text().splitlines()]) == revisions(emitted)


@pytest.mark.broker
def test_a_broken_or_strange_model_is_refused_once_in_the_log_and_the_old_one_goes_on(
    live, successor, reports, start_worker, tmp_path
):
    gulf, old = modelfolder.load("gulf").version, modelfolder.load("brittany").version
    broken = tmp_path / "broken"
    version = modelfolder.save(another(modelfolder.load("brittany"), name="third"), broken).version
    (broken / "usual.npz").write_bytes(b"rubbish")
    first = reports[reports["t"] < SINCE]
    send(live, first[:2000])
    for place, said in (("gulf", gulf), (str(broken), version), ("/no/such/folder", "ghost-1")):
        ControlWriter(live).send(ModelAnnouncement(model=place, version=said, since=START + 1.0))
    send(live, first[2000:])
    worker = start_worker(replace(live, challenger=str(successor)))
    wait_until(lambda: "multitaskais_models_refused_total 6.0" in metrics(worker), within=60)
    last = max(first["t"])
    wait_until(lambda: any(v["t"] > last - 7200 for v in drain(live, live.verdict_topic)), within=60)
    assert f'multitaskais_model_partitions{{role="active",version="{old}"}} 2.0' in metrics(worker)
    assert worker.end() == 0
    refusals = [line for line in worker.text().splitlines() if "is refused" in line]
    assert len(refusals) == 3
    assert all(
        part in line for part, line in zip(("region 'gulf'", "checksum", "ghost-1 is not at"), refusals, strict=True)
    )
    assert {v["model_version"] for v in drain(live, live.verdict_topic)} == {old}
    emitted = drain(live, live.alert_topic)
    assert {a["model_version"] for a in emitted if a["challenger"]} == {modelfolder.load(successor).version}
    assert {a["model_version"] for a in emitted if not a["challenger"]} <= {old}


@pytest.mark.broker
def test_the_state_rules_over_the_setting_and_a_model_that_is_lost_stops_the_start_with_one_line(
    live, successor, reports, start_worker, tmp_path
):
    folder = tmp_path / "first"
    shutil.copytree(successor, folder)
    version = modelfolder.load(folder).version
    send(live, reports[:3000])
    worker = start_worker(replace(live, model=str(folder)))
    wait_until(lambda: drain(live, live.verdict_topic), within=60)
    assert worker.end() == 0
    other = start_worker(live)
    wait_until(
        lambda: f'multitaskais_model_partitions{{role="active",version="{version}"}} 2.0' in metrics(other), within=60
    )
    assert other.end() == 0
    assert f"the stored state goes on with model {version}, not with MODEL=brittany" in other.text()
    shutil.rmtree(folder)
    lost = start_worker(live)
    assert lost.process.wait(60) == 2
    assert "Traceback" not in lost.text()
    assert f"model {version} is not at {folder}" in lost.text().splitlines()[-1]
    assert "LOST_MODEL=replace" in lost.text().splitlines()[-1]
    replaced = start_worker(live, LOST_MODEL="replace")
    send(live, reports[3000:6000])
    new = modelfolder.load("brittany").version
    wait_until(lambda: new in {v["model_version"] for v in drain(live, live.verdict_topic)}, within=60)
    assert replaced.end() == 0


@pytest.mark.broker
def test_the_command_refuses_what_the_workers_would_and_writes_nothing(live, successor, tmp_path, monkeypatch):
    for name in ("bootstrap_servers", "app_id", "topic", "control_topic", "model"):
        monkeypatch.setenv(name.upper(), getattr(live, name))
    broken = tmp_path / "broken"
    shutil.copytree(successor, broken)
    (broken / "thresholds.json").write_text("{}")
    for place, kind in (("gulf", WrongRegion), (str(broken), ModelCorrupt), ("/no/such/folder", ModelNotFound)):
        with pytest.raises(kind):
            announcement.main([place, "--from", SINCE_TEXT])
    with pytest.raises(ConfigError, match="--from noon"):
        announcement.main([str(successor), "--from", "noon"])
    assert messages(live, live.control_topic) == []
    assert announcement.main([str(successor), "--from", SINCE_TEXT]) == 0
    assert [json.loads(m.value())["kind"] for m in messages(live, live.control_topic)] == ["model"]
    assert messages(live, live.topic) == []


def test_models_are_found_by_version_wherever_they_are_known_and_loaded_once(successor):
    models = Models(Settings(model=str(successor), min_timespan=9000.0))
    version = modelfolder.load("brittany").version
    found = models.find(version, "/moved/away")
    assert found.version == version
    assert found.detection_rules.min_timespan_s == 9000.0
    assert models.find(version, "") is found
    assert models.find(models.first.version, "/moved/away") is models.first
    assert models.source == source_of(str(successor), Settings()) == str(successor)
    assert source_of("brittany", Settings()) == "brittany"
    with pytest.raises(ModelNotFound, match=r"ghost-1 is not at gulf \(gulf-.* is there\)"):
        models.find("ghost-1", "gulf")


def published(model, where) -> str:
    """Put a model into the folder store ``where``; returns its version."""
    return ModelStore(StoreSettings(str(where)), where / "cache").publish(model, t=1.0, by="test", token="0f").version


def test_a_worker_takes_the_latest_of_the_store_at_its_start_and_finds_any_version_there_afterwards(
    successor, tmp_path
):
    store, old = tmp_path / "store", modelfolder.load("brittany").version
    published("brittany", store)
    settings = Settings(model="store:brittany", store_url=str(store), store_cache=str(tmp_path / "cache"))
    models = Models(settings)
    assert models.first.version == old
    assert models.source == f"store:brittany@{old}"
    new = published(successor, store)
    assert models.find(new, "/a/folder/that/is/nowhere").version == new
    assert models.find(new, f"store:second@{new}").version == new
    assert source_of("store:second", settings) == f"store:second@{new}"
    with pytest.raises(ModelNotFound, match="second-000000000000"):
        models.find("second-000000000000", "store:second@second-000000000000")


def test_a_poisoned_store_refuses_the_model_and_one_that_is_away_asks_for_another_start(successor, tmp_path, capfd):
    store = tmp_path / "store"
    version = published(successor, store)
    models = Models(Settings(store_url=str(store), store_cache=str(tmp_path / "cache")))
    (store / "second" / "versions" / version / "usual.npz").write_bytes(b"poison")
    with pytest.raises(ModelError, match="checksum"):
        models.find(version, f"store:second@{version}")
    code = (
        "from stream_operator.worker.registry import Models\nfrom stream_operator.settings import Settings\n"
        "Models(Settings(store_url='s3://models', store_key='k', store_secret='s', store_endpoint='http://127.0.0.1:9'))"
        f".find('{version}', 'store:second@{version}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 75
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.broker
def test_a_rollout_from_an_object_store_needs_no_folder_that_the_workers_share(
    live, successor, reports, start_worker, tmp_path, monkeypatch
):
    if (reason := s3proxy.missing()) is not None:
        pytest.skip(reason)
    with s3proxy.S3Proxy(tmp_path) as server:
        new = ModelStore(server.settings(), tmp_path / "own").publish(successor, t=1.0, by="test", token="0f").version
        there = replace(live, **{k.lower(): v for k, v in server.environment().items()})
        first = reports[reports["t"] < SINCE]
        send(live, first)
        for name in ("bootstrap_servers", "app_id", "topic", "control_topic", "model"):
            monkeypatch.setenv(name.upper(), getattr(live, name))
        for name, value in (server.environment() | {"STORE_CACHE": str(tmp_path / "command")}).items():
            monkeypatch.setenv(name, value)
        assert announcement.main(["store:second", "--from", SINCE_TEXT]) == 0
        send(live, reports[reports["t"] >= SINCE][:4000])
        workers = [start_worker(replace(there, store_cache=str(tmp_path / f"cache{i}"))) for i in (0, 1)]
        wait_until(lambda: new in {v["model_version"] for v in drain(live, live.verdict_topic)}, within=60)
        assert [w.end() for w in workers] == [0, 0]


def test_the_age_of_a_model_is_that_of_the_data_it_learnt_from():
    model = modelfolder.load("brittany")
    figures = Metrics()
    figures.models([(model, "active"), (model, "active")], model.made_from["last_t"] + 5.0)
    text = figures.text().decode()
    assert f'multitaskais_model_age_seconds{{role="active",version="{model.version}"}} 5.0' in text
    assert f'multitaskais_model_partitions{{role="active",version="{model.version}"}} 2.0' in text
    figures.control("model", True)
    figures.control("model", False)
    figures.control("watermark", True)
    assert "multitaskais_models_refused_total 1.0" in figures.text().decode()
