"""The picture of the sea that all browsers share: a fold over the topics, a snapshot, and the changes since.

One thread folds (``follower``), another asks (``server``); a lock stands between them. Times are those of the messages; the
wall clock, an argument, only shows how old the data are.
"""

from __future__ import annotations

import heapq
import math
import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from multitaskais.config import TrackRules
from multitaskais.errors import InputError
from multitaskais.records import AlertType, Reason, VerdictKind
from multitaskais.tracks.quality import CODE, REASONS, screen
from multitaskais.tracks.watermark import WatermarkGenerator
from multitaskais.zones.zone import read_feature

from ..kafka import codec as wire
from ..kafka import control
from ..kafka.control import SuppressionRecord, Zone
from ..plain_text import plain
from . import history, untrusted
from .alert_store import AlertBook, Entry
from .ships import Limits, Ship, Ships

Record = TypeVar("Record")  # what is read of a topic

TAIL_S = 1800.0  # the wake that is drawn behind a ship
AROUND_S = 6 * 3600.0  # of the track before and after an alert's segment
ABNORMAL = untrusted.VERDICT_CODE[VerdictKind.ABNORMAL]
PATH_POINTS = 40  # of the abnormal part of a track on the map; the story has all of them
CLOCK_OFF_S = 120.0  # more than a record is under way: this machine's clock, or the broker's, is wrong
LIST_MAX = 2000  # alerts that a page gets
DELTAS_MAX = 120  # a page that was away for so many seconds is brought up to date, a longer absence starts again
FORGET_EVERY = 60  # deltas
ZONES_MAX = 1000
SUPPRESSIONS_MAX = 1000  # the latest
STATION_EVENTS_MAX = 20
# Their segment is all that is to be shown of them: no step of a track prolongs it.
OF_ITS_SEGMENT = frozenset({AlertType.MEETING, AlertType.SILENCE, AlertType.ZONE})
# Without these the judgement does better; a watch officer still wants to see the ship.
SHOWN_THOUGH_REJECTED = (CODE[Reason.TOO_FAST], CODE[Reason.SOG_NOT_AVAILABLE])


@dataclass(slots=True)
class Health:
    """What the page says about the data themselves."""

    broker: bool = False  # does the broker answer?
    caught_up: bool = False  # have all topics been read to their end once?
    records: int = 0
    arrived: float | None = None  # wall clock at the last record
    clock_ahead_s: float = 0.0  # of this machine's clock against the broker's, as the last record that came showed it
    missing_topics: list[str] = field(default_factory=list)
    not_shown: dict[str, int] = field(default_factory=dict)  # records that could not be used, by reason

    @property
    def clock_is_wrong(self) -> bool:
        return abs(self.clock_ahead_s) > CLOCK_OFF_S


class MapState:
    """All that the page shows: ships, alerts, zones, health of the data. ``clock``: Unix s, wall clock. Any thread may call it."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = lambda: math.nan) -> None:
        self.limits = limits or Limits()
        self.health = Health()
        self._clock = clock
        self._lock = threading.Lock()
        self._ships = Ships(self.limits)
        self._book = AlertBook(self.limits.alerts_max)
        self._clocks: dict[int, WatermarkGenerator] = {}
        self._rules = TrackRules()
        self._epoch = uuid.uuid4().hex[:8]  # of this process: numbers of deltas mean nothing to another
        self._seq = 0
        self._deltas: deque[tuple[int, bytes]] = deque(maxlen=DELTAS_MAX)
        self._gone_alerts: list[str] = []
        self._zones: dict[str, dict[str, Any]] = {}
        self._suppressions: dict[int, dict[str, Any]] = {}  # by the number of their control record
        self._stations: deque[untrusted.StationEvent] = deque(maxlen=STATION_EVENTS_MAX)
        self._told_marks = b""  # zones and station events as pages have them

    # ---------------------------------------------------------------- the fold

    def positions(self, partition: int, records: Sequence[wire.ConsumerRecord]) -> None:
        """A run of raw records of one partition of the source topic, in log order."""
        decoded = wire.decode(records)
        reports = decoded.reports
        codes = screen(reports, None, self._rules)
        codes[np.isin(codes, SHOWN_THOUGH_REJECTED)] = 0
        with self._lock:
            self._count([reason for _, reason in decoded.bad])
            clock = self._clocks.setdefault(partition, WatermarkGenerator())
            codes, _ = clock.admit(reports, codes, self._rules)
            self._ships.take(reports[codes == 0])
            bad, counts = np.unique(codes[codes > 0], return_counts=True)
            for code, n in zip(bad.tolist(), counts.tolist(), strict=True):
                name = str(REASONS[code])
                self.health.not_shown[name] = self.health.not_shown.get(name, 0) + n
            self._arrived(len(records))

    def control(self, value: bytes | None, number: int = 0) -> None:
        """A control record and its offset: where an archive has ended, the next one may be of any time; zones and suppressions are drawn."""
        record = control.decode(value)
        if isinstance(record, control.Watermark) and record.final:
            # The topic is read from its beginning, for its zones; the reports are not.
            if record.sent and record.sent < self._clock() - 3600.0 * self.limits.hours:
                return
            with self._lock:
                for clock in self._clocks.values():
                    clock.hear(record.t, self._rules, reopen=True)
        elif isinstance(record, Zone):
            with self._lock:
                self._take_zone(record)
        elif isinstance(record, SuppressionRecord):
            with self._lock:
                self._take_suppression(record, number)
        elif isinstance(record, control.Withdrawal):
            with self._lock:
                self._suppressions.pop(record.number, None)

    def _take_suppression(self, record: SuppressionRecord, number: int) -> None:
        if record.problem() is not None:
            self._count([Reason.BAD_VALUE])
            return
        lat_a, lon_a, lat_b, lon_b = (round(x, 5) for x in record.stretch)
        self._suppressions[number] = {
            "number": number, "alert_type": plain(record.alert_type, untrusted.NAME_CHARS), "cause": plain(record.cause, untrusted.NAME_CHARS),
            "mmsi": record.mmsi, "why": plain(record.why), "from": record.since, "to": record.until, "ends": [[lon_a, lat_a], [lon_b, lat_b]],
        }  # fmt: skip
        while len(self._suppressions) > SUPPRESSIONS_MAX:
            self._suppressions.pop(min(self._suppressions))

    def _take_zone(self, record: Zone) -> None:
        if record.zone is None:
            if record.name in self._zones:
                self._zones[record.name]["to"] = record.since
            return
        try:
            feature = read_feature(record.zone).to_feature()
        except InputError:
            self._count([Reason.BAD_VALUE])
            return
        if record.name not in self._zones and len(self._zones) >= ZONES_MAX:
            return
        said, shape = feature["properties"], feature["geometry"]
        polygons = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
        rings = [[[round(x, 5), round(y, 5)] for x, y in ring] for polygon in polygons for ring in polygon]
        name = plain(record.name, untrusted.ZONE_CHARS)
        self._zones[record.name] = {
            "name": name, "rule": said["rule"], "severity": said["severity"], "from": record.since, "to": None, "rings": rings,
        }  # fmt: skip

    def station(self, kind: str, value: bytes | None) -> None:
        """An event of a station, from the dead letters."""
        self._one(value, lambda v: untrusted.station(v, kind), self._stations.append)

    def alert(self, value: bytes | None) -> None:
        self._one(value, untrusted.alert, lambda a: self._gone_alerts.extend(self._book.take(a)))

    def verdict(self, value: bytes | None) -> None:
        def take(v: untrusted.VerdictRecord) -> None:
            self._ships.judge(v)
            if v.verdict is VerdictKind.ABNORMAL:
                self._book.goes_on(int(v.mmsi))

        self._one(value, untrusted.verdict, take)

    def sample(self, value: bytes | None) -> None:
        """A judged sample: one more step of the vessel's chart. The fields of a verdict are all that is kept of it."""
        self._one(value, untrusted.verdict, self._ships.remember_step)

    def answer(self, value: bytes | None) -> None:
        self._one(value, untrusted.answer, self._book.answer)

    def _one(self, value: bytes | None, decode: Callable[[bytes], Record], take: Callable[[Record], object]) -> None:
        with self._lock:
            self._arrived(1)
            if value is None:  # a tombstone of a compacted topic
                return
            try:
                record = decode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._count([Reason.BAD_VALUE])
                return
            take(record)

    def _arrived(self, n: int) -> None:
        self.health.records += n
        self.health.arrived = self._clock()

    def _count(self, reasons: Sequence[Reason]) -> None:
        for reason in reasons:
            self.health.not_shown[str(reason)] = self.health.not_shown.get(str(reason), 0) + 1

    # ---------------------------------------------------------------- what pages get

    @property
    def now(self) -> float | None:
        """The time of the data: how far its partitions' clocks have come; None without data."""
        known = [c.now for c in self._clocks.values() if c.now > -math.inf]
        if known:
            return max(known)
        # Too few ships to set a clock. The second greatest: a single ship may have any time.
        last = heapq.nlargest(2, (s.t for s in self._ships if s.t > -math.inf))
        return last[-1] if last else None

    def tick(self) -> tuple[str, bytes]:
        """(id, all that has changed since the last tick, as JSON); it is kept for pages that were away for a moment."""
        with self._lock:
            self._seq += 1
            gone = []
            if self._seq % FORGET_EVERY == 0 and (now := self.now) is not None:
                gone = self._ships.forget(now)
            ships = [self._ships.get(mmsi) for mmsi in self._ships.changed]
            alerts = [self._book.get(i) for i in self._book.changed]
            delta = {
                **self._head(),
                "ships": [_row(s) for s in ships if s is not None and s.t > -math.inf],
                "gone": gone,
                "alerts": [self._told(e) for e in alerts if e is not None],
                "gone_alerts": self._gone_alerts,
            }
            marks = self._marks()
            if (encoded_marks := orjson.dumps(marks)) != self._told_marks:
                self._told_marks = encoded_marks
                delta |= marks
            self._ships.changed.clear()
            self._book.changed.clear()
            self._gone_alerts = []
            encoded = orjson.dumps(delta)
            self._deltas.append((self._seq, encoded))
            return self.event_id, encoded

    def since(self, event_id: str) -> list[tuple[str, bytes]] | None:
        """(id, delta) of all deltas after the one of that id; None when too many have passed or another process gave the id."""
        epoch, _, number = event_id.partition("-")
        with self._lock:
            if epoch != self._epoch or not number.isdigit() or int(number) > self._seq:
                return None
            missed = [(f"{epoch}-{n}", d) for n, d in self._deltas if n > int(number)]
            return missed if len(missed) == self._seq - int(number) else None

    @property
    def event_id(self) -> str:
        return f"{self._epoch}-{self._seq}"

    def state(self) -> bytes:
        """The whole picture, as JSON. Changes that it has and the next delta repeats do no harm."""
        with self._lock:
            ships = [s for s in self._ships if s.t > -math.inf]
            return orjson.dumps(
                {
                    **self._head(),
                    "hours": self.limits.hours,
                    "ships": [_row(s) for s in ships],
                    "tails": {str(s.mmsi): _tail(s) for s in ships},
                    "alerts": [self._told(e) for e in self._book.newest(LIST_MAX)],
                    **self._marks(),
                }
            )

    def _marks(self) -> dict[str, Any]:
        return {
            "zones": list(self._zones.values()),
            "suppressions": list(self._suppressions.values()),
            "stations": [msgspec.to_builtins(e) for e in self._stations],
        }

    def story(self, alert_id: str) -> bytes | None:
        """All about one alert: its revisions and answers, the track around it, the score of each step."""
        with self._lock:
            entry = self._book.get(alert_id)
            if entry is None:
                return None
            a = entry.alert
            t0, t1 = a.segment_start.t - AROUND_S, max(a.segment_end.t, a.decided_at) + AROUND_S
            ship = self._ships.get(int(a.mmsi))
            partner = None if a.partner is None else self._ships.get(int(a.partner.mmsi))
            return orjson.dumps(
                {
                    "partner_track": _around(partner, t0, t1, "")["track"],
                    "alert": self._told(entry),
                    "revisions": list(entry.revisions),
                    "answers": [msgspec.to_builtins(x) for x in entry.answers],
                    "ship": None if ship is None or ship.t == -math.inf else _row(ship),
                    **_around(ship, t0, t1, _track_suffix(a.track_id)),
                }
            )

    def vessel(self, mmsi: int) -> bytes | None:
        """One ship's last day."""
        with self._lock:
            ship = self._ships.get(mmsi)
            if ship is None or ship.t == -math.inf:
                return None
            entries = sorted(self._book.of_vessel(mmsi), key=lambda e: -e.first_decided_at)
            return orjson.dumps(
                {
                    "ship": _row(ship),
                    **_around(ship, -math.inf, math.inf, None),
                    "alerts": [e.alert.alert_id for e in entries],
                }
            )

    def replay(self, t0: float, t1: float) -> bytes:
        """Where all ships were from ``t0`` to ``t1``; the format is that of ``history.pack``."""
        with self._lock:
            return history.pack(self._ships, t0, t1)

    def mmsi_and_revision(self, alert_id: str) -> tuple[str, int] | None:
        """(mmsi, revision) of a known alert."""
        with self._lock:
            entry = self._book.get(alert_id)
            return None if entry is None else (entry.alert.mmsi, entry.alert.revision)

    def healthy(self) -> dict[str, Any]:
        with self._lock:
            return self._head()

    def _told(self, entry: Entry) -> dict[str, Any]:
        """An alert as pages get it: with the abnormal part of the track, as far as it is held.

        Revisions are rare (once an hour); an open alert's part goes on to the vessel's last abnormal step.
        """
        a = entry.alert
        ship = self._ships.get(int(a.mmsi))
        until = a.segment_end.t
        if ship is not None and a.is_open and a.alert_type not in OF_ITS_SEGMENT:
            side = _track_suffix(a.track_id)
            until = max([until, *(s.t for s in ship.steps if s.code == ABNORMAL and _track_suffix(s.track_id) == side)])
        ends = [
            (p.t, p.lat, p.lon) for p in (a.segment_start, a.segment_end) if p.lat is not None and p.lon is not None
        ]
        points = ends
        if ship is not None and len(ends) == 2 and a.alert_type != AlertType.SILENCE:
            rows = ship.past.between(ends[0][0], until)
            if until > ends[1][0] and len(rows):
                ends[1] = rows[["t", "lat", "lon"]][-1].tolist()
            rows = rows[:: max(1, math.ceil(len(rows) / PATH_POINTS))]
            points = [ends[0], *rows[["t", "lat", "lon"]].tolist(), ends[1]]
        return {**entry.as_dict(), "abnormal_until": until, "path": _steps(np.array(points, float).reshape(-1, 3))}

    def _head(self) -> dict[str, Any]:
        now, wall = self.now, self._clock()
        health = asdict(self.health)
        arrived = health.pop("arrived")
        health["clock_ahead_s"] = health["clock_ahead_s"] if self.health.clock_is_wrong else None
        health["quiet_s"] = None if arrived is None else max(0.0, wall - arrived)
        health["age_s"] = (
            None if now is None else wall - now - (self.health.clock_ahead_s if self.health.clock_is_wrong else 0.0)
        )
        return {"id": self.event_id, "now": now, "health": health}


def _row(s: Ship) -> list[Any]:
    """mmsi, t, lat, lon, sog, cog, heading, verdict code, reason, name, type; null where unknown."""
    return [
        s.mmsi, s.t, round(s.lat, 5), round(s.lon, 5), _tenth(s.sog), _tenth(s.cog), _tenth(s.heading),
        s.code, s.reason, s.name, s.ship_type,
    ]  # fmt: skip


def _tenth(x: float) -> float | None:
    return None if math.isnan(x) else round(x, 1)


def _tail(s: Ship) -> list[int]:
    """The last half hour, oldest first, as ``_steps``."""
    rows = s.past.between(s.t - TAIL_S, math.inf)
    return _steps(np.stack([rows["t"], rows["lat"].astype(float), rows["lon"].astype(float)], axis=1))


def _steps(points: NDArray[np.float64]) -> list[int]:
    """(n, 3) of t, lat, lon -> whole numbers of s and 1e-5 deg, each point but the first as the difference to the one before."""
    table = np.round(points * [1.0, 1e5, 1e5]).astype(np.int64)
    table[1:] -= table[:-1].copy()
    return table.ravel().tolist()


def _around(ship: Ship | None, t0: float, t1: float, side: str | None) -> dict[str, Any]:
    if ship is None:
        return {"track": [], "steps": []}
    rows = ship.past.between(t0, t1).tolist()
    track = [[round(t), round(lat, 5), round(lon, 5), _tenth(sog), _tenth(cog)] for t, lat, lon, sog, cog in rows]
    if ship.past.rows["t"][-1:].sum() < ship.t <= t1:
        track.append([round(ship.t), round(ship.lat, 5), round(ship.lon, 5), _tenth(ship.sog), _tenth(ship.cog)])
    steps = [
        [s.t, s.code, s.score]
        for s in ship.steps
        if t0 <= s.t <= t1 and (side is None or _track_suffix(s.track_id) == side)
    ]
    return {"track": track, "steps": steps}


def _track_suffix(track_id: str) -> str:
    """Which of the ships on one MMSI: the suffix of a track id after its time, empty or ``-2`` and so on."""
    return track_id.partition("Z")[2]
