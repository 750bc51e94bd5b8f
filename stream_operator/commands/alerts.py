"""``python -m stream_operator alerts``: reads alerts, committed ones only, without a group of its own.

--format table    one line an alert (default)
         json     one JSON object a line, as on the topic
         geojson  a FeatureCollection of the segments, last revision of each alert
         kepler   the same as trips for kepler.gl: LineStrings of [lon, lat, altitude, Unix s]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from multitaskais.command import CommandParser
from multitaskais.errors import ConfigError
from multitaskais.export import to_geojson
from multitaskais.times import LATEST

from ..kafka import client as kafka
from ..kafka import control
from ..kafka.errors import explain_reader, explained, is_access_denied
from ..kafka.topics import Admin
from ..plain_text import json_line, plain
from ..settings import Settings

CALL_S = 15.0
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read(
    settings: Settings,
    topic: str,
    since_s: float | None = None,
    follow: bool = False,
    now: Callable[[], float] = time.time,
) -> Iterator[Any]:
    """Committed messages of a topic from ``since_s`` ago (record time), to its end or for ever."""
    parts = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(Admin(settings).require(topic))]
    consumer = Consumer(kafka.reader(settings), logger=kafka.log)
    try:
        if since_s is not None:
            at = max(0, int((now() - since_s) * 1000))
            with explained(settings, "Read", f"topic {topic}"):
                parts = consumer.offsets_for_times(
                    [TopicPartition(topic, p.partition, at) for p in parts], timeout=CALL_S
                )
        consumer.assign(parts)
        ended: set[int] = set()
        while follow or len(ended) < len(parts):
            for message in consumer.consume(1000, 0.2):
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                elif is_access_denied(error):
                    raise explain_reader(settings, error, topic)
                else:
                    kafka.log.warning("%s", error.str())
    finally:
        consumer.close()


class _Place(msgspec.Struct):
    t: float
    lat: float
    lon: float


class _Alert(msgspec.Struct):
    """What the formats below take from a record; it may hold more."""

    alert_id: str
    revision: int
    status: str
    mmsi: str
    ship_name: str | None
    ship_type: int | None
    alert_type: str
    cause: str
    score: float
    message: str
    decided_at: float
    track_id: str
    model_version: str
    challenger: bool
    segment_start: _Place
    segment_end: _Place
    partner: dict[str, Any] | None = None
    zone: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Alert)


def alert_of(value: bytes | None) -> dict[str, Any] | None:
    """An alert of the topic; None for what is none: whoever may write there may write anything."""
    try:
        a = _decoder.decode(value or b"")
        found: dict[str, Any] = json.loads(value or b"")
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    times = (a.decided_at, a.segment_start.t, a.segment_end.t)
    in_time = all(0.0 < t < LATEST for t in times)
    return found if in_time and a.mmsi.isascii() and a.mmsi.isdigit() and len(a.mmsi) <= 9 else None


def seconds(text: str, option: str = "--since") -> float:
    """``90``, ``90s``, ``15m``, ``2h``, ``7d`` -> s."""
    number, unit = (text[:-1], UNITS_S[text[-1]]) if text[-1:] in UNITS_S else (text, 1)
    try:
        if 0.0 < (value := float(number) * unit) < math.inf:
            return value
    except ValueError:
        pass
    raise ConfigError(f"{option} {text}: give a time such as 90s, 15m, 2h or 7d")


def table_line(a: dict[str, Any]) -> str:
    mark = " (challenger)" if a["challenger"] else ""
    name = plain(f"{a['mmsi']} {a['ship_name'] or ''}")
    return f"{control.utc(a['decided_at'])}  {plain(a['status']):<9}  {plain(a['alert_type']):<17}  {name:<30.30}  {a['score']:7.2f}  {plain(a['message'])}{mark}"


def geojson(alerts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Each alert's latest revision as a line from the segment's start to its end; those of a challenger too."""
    return to_geojson(alerts, challengers=True)


KEPLER_PROPERTIES = (
    "alert_id", "revision", "status", "mmsi", "ship_name", "ship_type", "alert_type", "cause", "score",
    "track_id", "model_version", "challenger", "message",
)  # fmt: skip


def trip(revisions: Sequence[dict[str, Any]]) -> list[list[float]]:
    """``[lon, lat, 0, Unix s]`` of one alert, each time later than the one before; never fewer than two.

    An alert carries the two ends of its segment and no track between them. Its revisions carry more ends as the segment grows, so
    the trip goes from the start through every end that was told. An event of one moment stands where it was until it was decided.
    """
    last = revisions[-1]
    places = {round(p["t"]): p for p in (last["segment_start"], *(a["segment_end"] for a in revisions))}
    begin = round(last["segment_start"]["t"])
    line = [[p["lon"], p["lat"], 0.0, t] for t, p in sorted(places.items()) if t >= begin]
    if len(line) == 1:
        line.append([*line[0][:3], max(round(last["decided_at"]), line[0][3] + 1)])
    return line


def kepler(alerts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Trips as kepler.gl reads them: a FeatureCollection of LineStrings whose coordinates have a fourth number, the Unix time."""
    lives: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for a in alerts:
        lives.setdefault((a["alert_id"], a["challenger"]), []).append(a)
    features = []
    for life in lives.values():
        life.sort(key=lambda a: a["revision"])
        last = life[-1]
        partner, zone = last.get("partner") or {}, last.get("zone") or {}
        said = {k: last[k] for k in KEPLER_PROPERTIES} | {"decided_at": control.utc(last["decided_at"])}
        said |= {"partner_mmsi": partner.get("mmsi"), "partner_name": partner.get("ship_name")}
        said |= {"zone": zone.get("name"), "zone_rule": zone.get("rule")}
        line = {"type": "LineString", "coordinates": trip(life)}
        features.append({"type": "Feature", "geometry": line, "properties": said})
    return {"type": "FeatureCollection", "features": features}


COLLECTIONS = {"geojson": geojson, "kepler": kepler}


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator alerts",
        description=__doc__,
        epilog="example: python -m stream_operator alerts --since 2h --follow",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--follow", action="store_true", help="go on with new alerts until Ctrl-C")
    parser.add_argument("--since", metavar="2h", help="only alerts written in the last 90s, 15m, 2h, 7d ...")
    parser.add_argument("--format", choices=("table", "json", "geojson", "kepler"), default="table")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if args.follow and args.format in COLLECTIONS:
        raise ConfigError(f"--format {args.format} needs an end: leave --follow out, or take --format json")
    settings = Settings.load(file=args.settings)
    messages = read(settings, settings.alert_topic, None if args.since is None else seconds(args.since), args.follow)
    others = 0

    def alerts() -> Iterator[dict[str, Any]]:
        nonlocal others
        for m in messages:
            if (a := alert_of(m.value())) is not None:
                yield a
            elif m.value() is not None:
                others += 1

    if args.format in COLLECTIONS:
        print(json_line(COLLECTIONS[args.format](alerts())))
    else:
        for a in alerts():
            print(table_line(a) if args.format == "table" else json_line(a), flush=True)
    if others:
        print(f"{others} records of {settings.alert_topic} are no alerts and are left out", file=sys.stderr)
    return 0
