"""Faults of the process that looks at ships together: ``python -m tests.faults.together [--faults N] [--seed S] [--kinds NAME ...]``.

A log with meetings, silences and zone entries is sent in pieces through a real broker while one ``meetings`` works and a second waits; one
fault a piece. At the end every revision is compared with ``multitaskais.engine.batch.run_fleet`` over the same reports: none may be missing,
false or twice, however the faults fell.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.zones.zone import read_zones
from stream_operator import devbroker
from stream_operator.kafka import codec, control
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from tests.stream.conftest import ROOT, finish, own_settings, producer
from tests.support import small_model
from tests.support.builders import T0, merged, sail
from tests.support.encounter_scenes import bystanders, patterns, rendezvous
from tests.support.topic_reading import drain

SESSION_S = 3.0
POINTS = {"begun": 1, "results": 1, "produced": 1, "committed": 1, "cut": 1, "fenced": 1, "restored": 1}
LIMIT_S = 180.0
ZONE = {
    "type": "Feature",
    "properties": {"name": "Reserve", "rule": "enter", "severity": "high"},
    "geometry": {"type": "Polygon", "coordinates": [[[-5.7, 47.9], [-5.3, 47.9], [-5.3, 48.1], [-5.7, 48.1], [-5.7, 47.9]]]},
}  # fmt: skip


def scene(hours: float = 24.0) -> np.ndarray:
    """Meetings of three pairs, ships that fall silent and are heard again, ships in the zone, and others all the time."""
    parts = [bystanders(9, hours=hours)]
    for k in range(3):
        parts.append(rendezvous(227000001 + 2 * k, 227000002 + 2 * k, lat=48.0 + 0.15 * k, t=T0 + 6 * 3600.0 * k))
        ship = sail(
            660, 60.0, mmsi=227000050 + k, lat=48.2 + 0.1 * k, lon=-5.9, sog=9.0, cog=90.0, t=T0 + 5 * 3600.0 * k
        )
        at = (ship["t"] - ship["t"][0]) / 3600.0
        parts.append(ship[(at <= 3) | (at >= 6)])
    return merged(*parts)


class TogetherBed:
    """The broker, and the two processes."""

    def __init__(self, folder: Path, rng: random.Random, partitions: int) -> None:
        self.rng = rng
        self.folder = folder
        self.broker = devbroker.DevBroker(folder / "kafka")
        self.broker.__enter__()
        model = replace(small_model.model(), name="together", patterns=patterns())
        self.model = modelfolder.save(model, folder / "together")
        self.settings = replace(
            own_settings(self.broker.bootstrap), model=str(folder / "together"), partitions=partitions, session_timeout_s=SESSION_S
        )  # fmt: skip
        Admin(self.settings).create()
        self.log = folder / "meetings.log"
        self.processes: list[subprocess.Popen] = []

    def start(self, **env: str) -> subprocess.Popen:
        variables = {
            name.upper(): str(value)
            for name in Settings.__dataclass_fields__
            if (value := getattr(self.settings, name)) not in (None, "")
        }
        variables["MEETINGS_PORT"] = str(devbroker.free_port())
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "stream_operator", "meetings"],
                env={**os.environ, **variables, "OMP_NUM_THREADS": "1", **env}, stdout=out, stderr=out, cwd=ROOT,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def keep_two(self) -> None:
        self.processes = [p for p in self.processes if p.poll() is None]
        while len(self.processes) < 2:
            self.start()

    def kill_all(self) -> None:
        for p in self.processes:
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGCONT)
                p.kill()
            p.wait()
        self.processes = []

    def close(self) -> None:
        self.kill_all()
        self.broker.__exit__(None, None, None)


# ---------------------------------------------------------------- kinds of faults


def kill_the_first(bed: TogetherBed) -> None:
    bed.processes[0].kill()


def kill_both(bed: TogetherBed) -> None:
    bed.kill_all()


def sigterm_the_first(bed: TogetherBed) -> None:
    bed.processes[0].terminate()


def sigterm_both(bed: TogetherBed) -> None:
    for p in bed.processes:
        p.terminate()


def third_joins_and_leaves(bed: TogetherBed) -> None:
    third = bed.start()
    time.sleep(bed.rng.uniform(1.0, 4.0))
    third.terminate()


def stop_past_the_session(bed: TogetherBed) -> None:
    """A zombie: another takes over meanwhile, then it wakes up."""
    zombie = bed.processes[0]
    zombie.send_signal(signal.SIGSTOP)
    time.sleep(2.5 * SESSION_S)
    zombie.send_signal(signal.SIGCONT)


def stop_for_a_moment(bed: TogetherBed) -> None:
    zombie = bed.processes[0]
    zombie.send_signal(signal.SIGSTOP)
    time.sleep(0.5 * SESSION_S)
    zombie.send_signal(signal.SIGCONT)


def restart_the_broker(bed: TogetherBed) -> None:
    bed.broker.stop()
    time.sleep(1.0)
    bed.broker.start()


def kill_the_broker(bed: TogetherBed) -> None:
    bed.broker.kill()
    time.sleep(1.0)
    bed.broker.start()


def kill_while_the_broker_is_away(bed: TogetherBed) -> None:
    bed.broker.stop()
    bed.kill_all()
    bed.broker.start()


def kill_inside_a_checkpoint(bed: TogetherBed) -> None:
    """Both are replaced by ones that end at a point of their next checkpoint, or while they open."""
    bed.kill_all()
    bed.start(FAULT_POINT=f"{bed.rng.choice(list(POINTS))}:{bed.rng.randint(1, 2)}")
    bed.start()


def zone_is_put_again(bed: TogetherBed) -> None:
    """The same zone from a time that is long decided: it changes nothing of what is told."""
    ControlWriter(bed.settings).send(control.Zone(name="Elsewhere", since=T0 - 86400.0))


KINDS: tuple[Callable[[TogetherBed], None], ...] = (
    kill_the_first, kill_both, sigterm_the_first, sigterm_both, third_joins_and_leaves, stop_past_the_session, stop_for_a_moment,
    restart_the_broker, kill_the_broker, kill_while_the_broker_is_away, kill_inside_a_checkpoint, zone_is_put_again,
)  # fmt: skip


# ---------------------------------------------------------------- a run


def run(
    folder: Path, rng: random.Random, faults: list[Callable[[TogetherBed], None]], partitions: int
) -> tuple[Counter, Counter]:
    """(alerts missing, alerts false or twice) after the faults, as counters of canonical JSON."""
    reports = scene()
    end = float(reports["t"].max()) + 7321.0
    bed = TogetherBed(folder, rng, partitions)
    try:
        zones = read_zones(json.dumps(ZONE))
        ControlWriter(bed.settings).send(control.Zone(name="Reserve", since=T0 - 86400.0, zone=zones[0].to_feature()))
        want = Counter(
            _canonical(a.as_dict()) for a in batch.run_fleet(bed.model, reports, zones, complete_until=end).alerts
        )
        bed.keep_two()
        pieces = np.array_split(reports, len(faults) + 1)
        for piece, fault in zip(pieces, [*faults, None], strict=True):
            p = producer(bed.settings)
            for row in piece.tolist():
                key, value = codec.encode_report(row)
                p.produce(bed.settings.topic, value, key)
                p.poll(0)
            if p.flush(60):
                raise RuntimeError("the broker took not all reports")
            time.sleep(rng.uniform(0.5, 2.0))
            if fault is not None:
                print(f"  {fault.__name__}", flush=True)
                fault(bed)
                bed.keep_two()
        finish(bed.settings, end)
        give_up_at = time.monotonic() + LIMIT_S
        found: Counter = Counter()
        while time.monotonic() < give_up_at and sum(found.values()) < sum(want.values()):
            bed.keep_two()
            time.sleep(1.0)
            found = Counter(_canonical(a) for a in drain(bed.settings, bed.settings.alert_topic))
        if want - found:
            print(bed.log.read_text(errors="replace")[-3000:])
        return want - found, found - want
    finally:
        bed.close()


def _canonical(alert: dict) -> str:
    return json.dumps(json.loads(json.dumps(alert)), sort_keys=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.faults.together", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--kinds", nargs="*", choices=[k.__name__ for k in KINDS], help="only these kinds")
    args = parser.parse_args()
    if (reason := devbroker.missing()) is not None:
        print(reason)
        return 2
    rng = random.Random(args.seed)
    kinds = [k for k in KINDS if not args.kinds or k.__name__ in args.kinds]
    faults = [kinds[i % len(kinds)] for i in range(args.faults)]
    rng.shuffle(faults)
    with tempfile.TemporaryDirectory(prefix="faults-together-") as name:
        missing, extra = run(Path(name), rng, faults, args.partitions)
    print(
        f"{len(faults)} faults of {len(set(faults))} kinds, {args.partitions} partitions: {sum(missing.values())} missing, {sum(extra.values())} false or twice"
    )
    for alert in [*missing, *extra][:5]:
        print("  ", alert[:300])
    return 1 if missing or extra else 0


if __name__ == "__main__":
    sys.exit(main())
