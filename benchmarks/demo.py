"""``make demo``: a day of traffic from archive to alerts, with real parts only, and a look at what was found.

Each step is one of the product's own commands, run as a user would run it; this file only holds them together, waits,
counts, and makes sure that nothing is left running.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from multitaskais.ais.archives import read_reports
from multitaskais.ais.encode import statics_of, write_cdv
from multitaskais.config import Region, TrackRules
from multitaskais.errors import MultitaskAISError, OperatorError
from multitaskais.evaluation import live
from multitaskais.evaluation.altered import clean_tracks
from multitaskais.evaluation.inject import KINDS, InjectionSource, alter
from multitaskais.export import to_geojson
from multitaskais.model import folder as modelfolder
from multitaskais.model.samples import Split, load_reports, split_of
from multitaskais.records import REPORT_DTYPE, Status
from multitaskais.simulate.settings import TOGETHER_KINDS
from multitaskais.types import Reports
from stream_operator.devbroker import DevBroker, free_port, missing
from stream_operator.kafka import client as kafka
from stream_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
RECALL_FLOOR = 0.6  # contract, `out/demo/summary.json`: below it the demo has failed ...
CLEAN_FLAGGED_MAX = 0.05  # ... and so it has when more clean tracks than this are flagged
# Not a seed of the training, and its lanes lie beside those of the training: models/brittany/card/card.md.
DEMO_SEED = 20260101
LANE_SHIFT_M = 400.0
REAL_PER_KIND = 2
TOGETHER = 2  # meetings, silences and ships in a forbidden zone each, and look-alikes of them
PARTITIONS = 4
STALLED_S = 90.0  # give up when the worker has made no progress for so long


@dataclass
class Steps:
    """What is going on, said before it begins, and how long it took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, saying: str) -> Iterator[None]:
        print(f"\n[{len(self.seconds) + 1}] {saying}", flush=True)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)
        print(f"    {name}: {self.seconds[name]:.1f} s", flush=True)


def call(*args: str | Path, **env: str) -> None:
    """One of the product's commands, to its end; what it prints is for the user."""
    done = subprocess.run([str(a) for a in args], env={**os.environ, **env}, check=False)
    if done.returncode:
        raise OperatorError(f"`{' '.join(map(str, args))}` ended with exit code {done.returncode}; it says above why")


@contextmanager
def running(*args: str | Path, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in the background: SIGTERM when the block is left, however it is left, and SIGKILL 15 s later."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(a) for a in args], env={**os.environ, **env}, stdout=out, stderr=out, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


class TopicReader(threading.Thread):
    """Reads a topic from its beginning, committed records alone; ``rows`` grows as they come."""

    def __init__(self, settings: Settings, topic: str, tell: bool = False) -> None:
        super().__init__(daemon=True)
        self.rows: list[dict[str, Any]] = []
        self._settings, self._topic, self._tell = settings, topic, tell
        self._ended = threading.Event()

    def run(self) -> None:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(kafka.reader(self._settings))
        partitions = consumer.list_topics(self._topic, 10).topics[self._topic].partitions
        consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in partitions])
        try:
            while not self._ended.is_set():
                for message in consumer.consume(500, 0.2):
                    if message.error() is None and message.value() is not None:
                        self._take(orjson.loads(message.value()))
        finally:
            consumer.close()

    def _take(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if self._tell and row["status"] == Status.RAISED:
            at = time.strftime("%H:%M", time.gmtime(row["decided_at"]))
            print(f"    {at}  {row['alert_type']:<13} {row['message']}", flush=True)

    def end(self) -> None:
        self._ended.set()
        self.join(10)


def lag(settings: Settings) -> int:
    """Records of the source topic that no checkpoint holds yet, as the worker's own health page and the broker tell it."""
    from confluent_kafka import Consumer, TopicPartition

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.health_port}/ready", timeout=5) as answer:
            body = answer.read()
    except urllib.error.HTTPError as e:  # 503: not ready; it says where it stands all the same
        body = e.read()
    durable = {int(p): at["durable"] for p, at in json.loads(body)["partitions"].items()}
    consumer = Consumer(kafka.reader(settings))
    try:
        ends = {p: consumer.get_watermark_offsets(TopicPartition(settings.topic, p), 10)[1] for p in range(PARTITIONS)}
    finally:
        consumer.close()
    return sum(end - (durable.get(p) or 0) for p, end in ends.items())


def wait_until_done(settings: Settings, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Until everything that was fed is judged and durable."""
    least, since = None, time.monotonic()
    while True:
        if worker.poll() is not None:
            raise OperatorError(f"the worker ended with exit code {worker.returncode}; see {log}")
        try:
            left = lag(settings)
        except (OSError, ValueError):
            left = -1  # not up yet
        if left == 0:
            return
        if least is None or 0 <= left < least:
            least, since = left if left >= 0 else None, time.monotonic()
        if time.monotonic() - since > STALLED_S:
            raise OperatorError(
                f"the worker has made no progress for {STALLED_S:.0f} s ({left} records left); see {log}"
            )
        time.sleep(0.3)


def wait_until_decided(settings: Settings, together: subprocess.Popen[bytes], log: Path) -> None:
    """Until meetings, silences and zones are decided to the end of the archive, too."""
    since = time.monotonic()
    while True:
        if together.poll() is not None:
            raise OperatorError(f"`meetings` ended with exit code {together.returncode}; see {log}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{settings.meetings_port}/ready", timeout=5) as answer:
                at = json.loads(answer.read())
        except (OSError, ValueError):
            at = {}
        if at.get("decided") and at["lag_records"] == 0 and at["newest"] - at["decided"] < 2 * 60.0:
            return
        if time.monotonic() - since > STALLED_S:
            raise OperatorError(f"`meetings` has not decided all within {STALLED_S:.0f} s ({at}); see {log}")
        time.sleep(0.3)


@dataclass(frozen=True)
class DemoTraffic:
    """What is shown: an archive of one region, and what is known of it."""

    archive: list[Path]
    labels: list[live.Truth]
    model: str
    zones: Path | None = None


def simulated(out: Path) -> DemoTraffic:
    """A day off Brittany, from a seed and lanes that the model has not seen."""
    multitaskais = Path(sys.executable).with_name("multitaskais")
    call(multitaskais, "simulate", "--region", "brittany", "--seed", str(DEMO_SEED), "--days", "1", "--vessels", "300",
         "--abnormal", "24", "--lane-shift", str(LANE_SHIFT_M), "--together", str(TOGETHER), "--station-outage",
         "--out", out)  # fmt: skip
    labels = live.truths(json.loads((out / "labels.json").read_text()))
    return DemoTraffic(sorted(out.glob("archive/*/*/*.cdv")), labels, "brittany", out / "zones.geojson")


def real(out: Path) -> DemoTraffic:
    """Vessels of the real Gulf day that no part of the model has seen, two anomalies of each kind put among them."""
    day = (
        Path(os.environ.get("MULTITASKAIS_SHARED", ROOT.parent / "shared")) / "data" / "noaa" / "ais_2020-01-01.parquet"
    )
    if not day.is_file():
        raise OperatorError(
            f"{day} is absent: `make demo-real` needs the real day of ../shared; `make demo` needs nothing"
        )
    region = Region.load("gulf")
    reports, _ = load_reports(day, region)
    reports = reports[split_of(reports["mmsi"]) == Split.TEST]
    rng = np.random.default_rng(DEMO_SEED)
    tracks = clean_tracks(reports, TrackRules(), region)
    tracks = [tracks[i] for i in rng.permutation(len(tracks))]
    labels = []
    for kind in list(KINDS) * REAL_PER_KIND:
        for i, track in enumerate(tracks):
            source = InjectionSource(*(track[f] for f in ("t", "lat", "lon", "sog", "cog", "heading")))
            if (altered := alter(source, kind, rng, region)) is None:
                continue
            # In the place of the track as it was: a ship is either clean or abnormal, not both.
            mmsi, (start, end) = int(track["mmsi"][0]), track["t"][[0, -1]]
            mine = (reports["mmsi"] == mmsi) & (reports["t"] >= start) & (reports["t"] <= end)
            instead = np.zeros(int(altered.keep.sum()), REPORT_DTYPE)
            for name in REPORT_DTYPE.names or ():
                instead[name] = track[name][altered.keep]
            for name in ("lat", "lon", "sog", "cog", "heading"):
                instead[name] = getattr(altered, name)
            reports = np.concatenate([reports[~mine], instead])
            when = instead["t"][altered.abnormal]
            labels.append(live.Truth(mmsi, kind, float(when[0]), float(when[-1])))
            del tracks[i]
            break
    reports = reports[np.argsort(reports["t"], kind="stable")]
    return DemoTraffic(write_cdv(out / "archive", reports, statics_of(reports)), labels, "gulf")


def tracks_of(folder: Path) -> list[tuple[str, int, float, float]]:
    """(track_id, mmsi, first time, last time) of the tracks that Spark built."""
    table = pq.read_table(folder, columns=["track_id", "mmsi", "t"])
    table = table.filter(table["track_id"].is_valid())
    rows = table.group_by(["track_id", "mmsi"]).aggregate([("t", "min"), ("t", "max")]).to_pylist()
    return [(r["track_id"], r["mmsi"], r["t_min"], r["t_max"]) for r in rows]


def show(traffic: DemoTraffic, out: Path, steps: Steps, keep: bool) -> dict[str, Any]:
    """Tracks, broker, worker, feed, alerts; returns the summary."""
    region = Region.load(modelfolder.load(traffic.model).region.name)
    tracks = out / "tracks"
    with steps.step("tracks", "spark-submit tracks_builder/main.py: the archive becomes tracks"):
        quiet = f"-Dlog4j2.configurationFile={ROOT / 'tracks_builder' / 'log4j2.properties'}"
        call(Path(sys.executable).with_name("spark-submit"), "--master", "local[2]", "--driver-memory", "2g", "--conf", "spark.ui.enabled=false",
             "--driver-java-options", quiet, ROOT / "tracks_builder" / "main.py", *traffic.archive, region.name, "--output", tracks,
             PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")  # fmt: skip
    with ExitStack() as stack:
        with steps.step("broker", "a real Kafka broker, from Maven"):
            broker = stack.enter_context(DevBroker(out / "kafka"))
            settings = Settings(
                bootstrap_servers=broker.bootstrap,
                model=traffic.model,
                partitions=PARTITIONS,
                health_port=free_port(),
                meetings_port=free_port(),
            )
            env = {
                "BOOTSTRAP_SERVERS": broker.bootstrap,
                "MODEL": traffic.model,
                "PARTITIONS": str(PARTITIONS),
                "HEALTH_PORT": str(settings.health_port),
                "MEETINGS_PORT": str(settings.meetings_port),
                "OMP_NUM_THREADS": "1",
            }
            operator = (sys.executable, "-m", "stream_operator")
            call(*operator, "topics", **env)
        with steps.step("worker", f"the worker with model {traffic.model!r}"):
            log = out / "worker.log"
            worker = stack.enter_context(running(*operator, "worker", log=log, **env))
            wait_until_done(settings, worker, log)
            together_log = out / "meetings.log"
            together = stack.enter_context(running(*operator, "meetings", log=together_log, **env))
            if traffic.zones is not None:
                call(*operator, "zones", "put", traffic.zones, "--from", "2026-01-01", **env)
        with steps.step("stream", "the archive goes through Kafka; alerts as they come:"):
            alerts = TopicReader(settings, settings.alert_topic, tell=True)
            verdicts = TopicReader(settings, settings.verdict_topic)
            for reader in (alerts, verdicts):
                reader.start()
                stack.callback(reader.end)
            call(*operator, "feed", *traffic.archive, "--finish", **env)
            wait_until_done(settings, worker, log)
            wait_until_decided(settings, together, together_log)
            time.sleep(2)  # the readers' own delay
        summary = figures(traffic, region, out, tracks, alerts.rows, verdicts.rows, steps)
        if keep:
            print(f"\nkept running: broker {broker.bootstrap}, worker log {log}; Ctrl-C ends it")
            print(
                f"to see it: BOOTSTRAP_SERVERS={broker.bootstrap} {sys.executable} -m stream_operator map", flush=True
            )
            while worker.poll() is None:
                time.sleep(0.5)
    return summary


def figures(
    traffic: DemoTraffic,
    region: Region,
    out: Path,
    tracks: Path,
    alerts: list[dict[str, Any]],
    verdicts: list[dict[str, Any]],
    steps: Steps,
) -> dict[str, Any]:
    """The table, ``summary.json``, ``alerts.geojson`` and the picture."""
    reports = all_reports(traffic.archive)
    seen = live.tracks_seen(tracks_of(tracks), verdicts)
    rate = len(reports) / steps.seconds["stream"]
    summary = live.summarise(traffic.labels, alerts, seen, len(reports), steps.seconds, rate)
    if traffic.zones is not None:
        summary["lookalikes"] = told_of_lookalikes(json.loads((out / "lookalikes.json").read_text()), alerts)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "alerts.geojson").write_text(
        json.dumps(to_geojson(alerts, reports, {x.mmsi: x.kind for x in traffic.labels}))
    )
    (out / "alerts.jsonl").write_text("".join(json.dumps(a) + "\n" for a in alerts))
    (out / "tracks.png").write_bytes(live.picture(reports, alerts, traffic.labels, region))
    print("\n" + live.table(summary))
    for kind, n in summary.get("lookalikes", {}).items():
        print(f"only looks alike      {kind.replace('_', ' ')}: told of {n['told']} of {n['ships']} ships")
    print(f"\n{out}/summary.json, alerts.geojson, alerts.jsonl, tracks.png", flush=True)
    return summary


def told_of_lookalikes(labels: list[dict[str, Any]], alerts: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Per kind the ships that only look as if they met, fell silent or broke a zone's rule, and those of which that was told from then on."""
    last = {a["alert_id"]: a for a in alerts if a["alert_type"] in TOGETHER_KINDS}
    standing = [a for a in last.values() if a["status"] != Status.RETRACTED]
    told: dict[int, float] = {}  # of each ship, when an alert of it was last decided
    for a in standing:
        for who in (a, a.get("partner")):
            if who:
                mmsi = int(who["mmsi"])
                told[mmsi] = max(told.get(mmsi, a["decided_at"]), a["decided_at"])
    found: dict[str, dict[str, int]] = {}
    for label in labels:
        entry = found.setdefault(label["kind"], {"ships": 0, "told": 0})
        entry["ships"] += 1
        entry["told"] += told.get(label["mmsi"], -np.inf) >= label["t_start"]
    return found


def all_reports(archive: list[Path]) -> Reports:
    return np.concatenate([batch.reports for batch in read_reports(archive)])


def verdict(summary: dict[str, Any]) -> str | None:
    """Why the demo has failed, or None."""
    if (summary["recall"] or 0) < RECALL_FLOOR:
        return f"recall {summary['recall']} is below {RECALL_FLOOR}"
    if (summary["clean_flagged"] or 0) > CLEAN_FLAGGED_MAX:
        return f"{summary['clean_flagged']:.1%} of the clean tracks are flagged, more than {CLEAN_FLAGGED_MAX:.0%}"
    return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument(
        "--real", action="store_true", help="the real NOAA day of ../shared instead of simulated traffic"
    )
    parser.add_argument("--keep", action="store_true", help="leave broker and worker running until Ctrl-C")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside: leave nothing running either
    steps = Steps()
    try:
        if (reason := missing()) is not None:
            raise OperatorError(reason)
        shutil.rmtree(args.out, ignore_errors=True)
        args.out.mkdir(parents=True)
        what = "a real day in the Gulf of Mexico" if args.real else "a day of traffic off Brittany"
        with steps.step("traffic", f"{what} as a .cdv archive, abnormal ships among it"):
            traffic = real(args.out) if args.real else simulated(args.out)
        summary = show(traffic, args.out, steps, args.keep)
    except MultitaskAISError as e:
        print(f"\ndemo: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 0 if args.keep else 130
    if not args.real and (why := verdict(summary)) is not None:
        print(f"\nthe demo has failed: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
