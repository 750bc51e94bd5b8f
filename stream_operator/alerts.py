"""``python -m stream_operator alerts``: reads alerts, committed ones only, without a group of its own.

--format table    one line an alert (default)
         json     one JSON object a line, as on the topic
         geojson  a FeatureCollection of the segments, last revision of each alert
         kepler   CSV for kepler.gl: start and end of the segment, time, type
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from multitaskais.errors import ConfigError, OperatorError

from . import kafka
from .settings import Settings

CALL_S = 15.0
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read(
    settings: Settings, topic: str, since_s: float | None = None, follow: bool = False, now=time.time
) -> Iterator[Any]:
    """Committed messages of a topic from ``since_s`` ago (record time), to its end or for ever."""
    consumer = Consumer(kafka.reader(settings), logger=kafka.log)
    try:
        try:
            found = consumer.list_topics(topic, timeout=CALL_S).topics[topic]
        except KafkaException as e:
            raise OperatorError(f"no answer from {settings.bootstrap_servers}: {e.args[0].str()}") from None
        if found.error is not None or not found.partitions:
            raise OperatorError(f"topic {topic} is missing; to mend it: python -m stream_operator topics")
        parts = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in found.partitions]
        if since_s is not None:
            at = int((now() - since_s) * 1000)
            parts = consumer.offsets_for_times([TopicPartition(topic, p.partition, at) for p in parts], timeout=CALL_S)
        consumer.assign(parts)
        ended: set[int] = set()
        while follow or len(ended) < len(parts):
            for message in consumer.consume(1000, 0.2):
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    kafka.log.warning("%s", error.str())
    finally:
        consumer.close()


def seconds(text: str, option: str = "--since") -> float:
    """``90``, ``90s``, ``15m``, ``2h``, ``7d`` -> s."""
    number, unit = (text[:-1], UNITS_S[text[-1]]) if text[-1:] in UNITS_S else (text, 1)
    try:
        if (value := float(number) * unit) > 0:
            return value
    except ValueError:
        pass
    raise ConfigError(f"{option} {text}: give a time such as 90s, 15m, 2h or 7d")


def iso(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def table_line(a: dict[str, Any]) -> str:
    mark = " (challenger)" if a["challenger"] else ""
    name = f"{a['mmsi']} {a['ship_name'] or ''}".strip()
    return f"{iso(a['decided_at'])}  {a['status']:<9}  {a['alert_type']:<17}  {name:<30.30}  {a['score']:7.2f}  {a['message']}{mark}"


def last_revisions(alerts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    last: dict[tuple[str, bool], dict[str, Any]] = {}
    for a in alerts:
        key = a["alert_id"], a["challenger"]
        if key not in last or a["revision"] >= last[key]["revision"]:
            last[key] = a
    return list(last.values())


def geojson(alerts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Each alert's last revision as a line from the segment's start to its end (RFC 7946; a point when both are one place)."""
    features = []
    for a in last_revisions(alerts):
        ends = [[a[k]["lon"], a[k]["lat"]] for k in ("segment_start", "segment_end")]
        line = (
            {"type": "LineString", "coordinates": ends}
            if ends[0] != ends[1]
            else {"type": "Point", "coordinates": ends[0]}
        )
        features.append({"type": "Feature", "id": a["alert_id"], "geometry": line, "properties": a})
    return {"type": "FeatureCollection", "features": features}


KEPLER_COLUMNS = (
    "alert_id", "revision", "status", "mmsi", "ship_name", "alert_type", "cause", "score", "decided_at",
    "start_time", "start_lat", "start_lon", "end_time", "end_lat", "end_lon", "message",
)  # fmt: skip


def kepler_row(a: dict[str, Any]) -> dict[str, Any]:
    start, end = a["segment_start"], a["segment_end"]
    return {**{k: a.get(k) for k in KEPLER_COLUMNS}, "decided_at": iso(a["decided_at"])} | {
        "start_time": iso(start["t"]), "start_lat": start["lat"], "start_lon": start["lon"],
        "end_time": iso(end["t"]), "end_lat": end["lat"], "end_lon": end["lon"],
    }  # fmt: skip


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m stream_operator alerts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--follow", action="store_true", help="go on with new alerts until Ctrl-C")
    parser.add_argument("--since", metavar="2h", help="only alerts written in the last 90s, 15m, 2h, 7d ...")
    parser.add_argument("--format", choices=("table", "json", "geojson", "kepler"), default="table")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if args.follow and args.format == "geojson":
        raise ConfigError("--format geojson needs an end: leave --follow out")
    settings = Settings.load(file=args.settings)
    messages = read(settings, settings.alert_topic, seconds(args.since) if args.since else None, args.follow)
    alerts = (json.loads(m.value()) for m in messages if m.value() is not None)
    if args.format == "geojson":
        print(json.dumps(geojson(alerts), ensure_ascii=False))
    elif args.format == "kepler":
        out = csv.DictWriter(sys.stdout, KEPLER_COLUMNS)
        out.writeheader()
        for a in alerts:
            out.writerow(kepler_row(a))
            sys.stdout.flush()
    else:
        for a in alerts:
            print(table_line(a) if args.format == "table" else json.dumps(a, ensure_ascii=False), flush=True)
    return 0
