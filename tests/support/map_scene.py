"""A day off Brittany for the map: simulated ships, with verdicts and alerts written by hand from the simulation's labels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from confluent_kafka import Producer

from multitaskais.config import REGIONS
from multitaskais.detection.ship_classes import class_name
from multitaskais.records import Alert, AlertType, Cause, DetectorScore, Place, Shares, Status, Verdict, alert_id
from multitaskais.simulate import SimulationSettings, simulate
from stream_operator.kafka import client as kafka
from stream_operator.kafka import codec as wire
from stream_operator.settings import Settings

DAY_S = 86400.0
STEP_S = 600.0
CAUSES = {
    "shift": (AlertType.ABNORMAL, Cause.OUT_OF_PLACE, "is where ships do not usually sail"),
    "detour": (AlertType.ABNORMAL, Cause.OUT_OF_PLACE, "is where ships do not usually sail"),
    "reversed": (AlertType.ABNORMAL, Cause.COURSE, "steers an unusual course"),
    "drift": (AlertType.DRIFT, Cause.DRIFT, "drifts: very slow and not moored"),
    "loiter": (AlertType.LOITERING, Cause.LOITERING, "loiters: it turns back and forth in one area"),
    "fast": (AlertType.SPEED, Cause.SPEED, "sails at an unusual speed"),
    "spoof": (
        AlertType.CONTRADICTION,
        Cause.CONTRADICTION,
        "contradicts itself: it reports another velocity than it makes",
    ),
    "jump": (AlertType.JUMP, Cause.JUMP, "jumped: two reports need an impossible speed"),
}


class Scene(NamedTuple):
    reports: np.ndarray  # REPORT_DTYPE, by t
    alerts: list[Alert]  # all revisions, by decided_at
    verdicts: list[Verdict]
    now: float


def scene(now: float, vessels: int = 120, abnormal: int = 16, seed: int = 3, hours: float = 20.0) -> Scene:
    """What the topics hold at ``now`` (Unix s) when the day began ``hours`` before."""
    rng = np.random.default_rng(seed)
    start = now - hours * 3600.0
    traffic = simulate(REGIONS["brittany"], SimulationSettings(start=start, vessels=vessels, abnormal=abnormal), rng)
    reports = traffic.reports[traffic.reports["t"] <= now]
    names = {int(s["mmsi"]): (bytes(s["ship_name"]), int(s["ship_type"])) for s in traffic.statics}
    reports["ship_name"] = [names[m][0] for m in reports["mmsi"].tolist()]
    reports["ship_type"] = [names[m][1] for m in reports["mmsi"].tolist()]
    labels = {label.mmsi: label for label in traffic.labels if label.t_start + 3600 < now}
    alerts: list[Alert] = []
    verdicts: list[Verdict] = []
    for mmsi in np.unique(reports["mmsi"]).tolist():
        mine = reports[reports["mmsi"] == mmsi]
        track_id = f"{mmsi:09d}-x"
        label = labels.get(mmsi)
        peak = 1.4 + 3 * rng.random() if label else 0.0
        for t in np.arange(mine["t"][0], mine["t"][-1], STEP_S).tolist():
            age = t - mine["t"][0]
            strange = label is not None and label.t_start + 600 < t < label.t_end
            score = abs(0.35 + 0.16 * rng.standard_normal())
            if strange:
                score = min(peak, 0.5 + (t - label.t_start) / 3600 * peak) * (1 + 0.1 * rng.standard_normal())
            if age < 7200 or (label is None and mmsi % 9 == 0):
                verdicts.append(
                    Verdict(
                        mmsi, track_id, t, "not_judged", "too_short" if age < 7200 else "moored", None, "brittany-1"
                    )
                )
            else:
                word = "abnormal" if strange and score >= 1 else "normal"
                verdicts.append(Verdict(mmsi, track_id, t, word, None, float(score), "brittany-1"))
        if (
            label is not None
            and len(part := mine[(mine["t"] >= label.t_start) & (mine["t"] <= min(label.t_end, now))]) > 10
        ):
            alerts += _life(mmsi, names[mmsi], label, part, now, track_id, peak, rng)
    verdicts.sort(key=lambda v: v.t)
    alerts.sort(key=lambda a: a.decided_at)
    return Scene(reports, alerts, verdicts, now)


def _life(mmsi, about, label, part, now, track_id, peak, rng) -> list[Alert]:
    alert_type, cause, what = CAUSES[label.kind]
    name, ship_type = about[0].decode(), about[1]

    def place(t: float) -> Place:
        i = min(int(np.searchsorted(part["t"], t)), len(part) - 1)
        return Place(float(part["t"][i]), float(part["lat"][i]), float(part["lon"][i]))

    first = float(part["t"][0]) + 3000.0
    share = rng.dirichlet([2, 2, 1, 1])
    a = Alert(
        alert_id=alert_id(mmsi, first, alert_type), revision=1, status=Status.RAISED, mmsi=mmsi, ship_name=name or None,
        ship_type=ship_type, alert_type=alert_type, cause=cause,
        detectors=(DetectorScore("vrnn", float(4 + 3 * rng.random())), DetectorScore("place", 3.1), DetectorScore("cells", 1.2)),
        track_id=track_id, segment_start=place(first - 3000), segment_end=place(first), decided_at=first + 120, score=1.1,
        log10_nfa=-1.4 - 3 * float(rng.random()) if alert_type is AlertType.ABNORMAL else None, share=Shares(*share.tolist()),
        message=f"{name or 'Vessel'} ({class_name(ship_type) or 'other'}, MMSI {mmsi}) {what}, near 48°30.5'N 005°12.0'W; 9.8 kn on 032°. "
        "Ships here usually make 11 to 16 kn on 045° or 225°. Of normal tracks about 1 in 240 looks like this.",
        model_version="brittany-1",
    )  # fmt: skip
    life = [a]
    t_end = float(part["t"][-1])
    for n, t in enumerate(np.arange(first + 3600, t_end, 3600).tolist()):
        life.append(
            replace(
                a,
                revision=n + 2,
                status=Status.UPDATED,
                segment_end=place(t),
                decided_at=t + 120,
                score=min(peak, 1.2 + 0.5 * n),
            )
        )
    if t_end + 3600 < now:
        life.append(
            replace(
                life[-1],
                revision=len(life) + 1,
                status=Status.CLOSED,
                segment_end=place(t_end),
                decided_at=t_end + 3600,
            )
        )
    return [x for x in life if x.decided_at <= now]


def producer(settings: Settings) -> Producer:
    return Producer(
        kafka.client(settings, partitioner=kafka.PARTITIONER, linger_ms=20, queue_buffering_max_messages=1_000_000)
    )


def publish(settings: Settings, s: Scene) -> None:
    """All of the scene into the topics, in order, and delivered."""
    p = producer(settings)
    send_reports(p, settings, s.reports)
    for alert in s.alerts:
        p.produce(settings.alert_topic, *_swap(wire.encode_alert(alert)))
    for verdict in s.verdicts:
        p.produce(settings.verdict_topic, *_swap(wire.encode_verdict(verdict)))
    assert p.flush(60) == 0


def send_reports(p: Producer, settings: Settings, reports: np.ndarray) -> None:
    for i, row in enumerate(reports.tolist()):
        p.produce(settings.topic, *_swap(wire.encode_report(row)))
        if i % 10_000 == 0:
            p.poll(0)


def send_json(settings: Settings, topic: str, key: str, value: object) -> None:
    """One record of any shape."""
    p = producer(settings)
    p.produce(topic, value if isinstance(value, bytes) else json.dumps(value).encode(), key.encode())
    assert p.flush(30) == 0


def _swap(key_value: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    return key_value[1], key_value[0]
