"""The fold over all partitions: what needs more than one ship, or the time of all of them. Meetings, silences, zones.

    reports of each partition -> its clock -> spans of one minute, all partitions together -> zones, silences -> slots -> meetings

A span of one minute (tick) is decided when every partition's log is complete up to its end: its clock has come a lateness further, or
a watermark says so. Then the tick holds the same reports whatever the order in which the partitions were read, and all that follows
is a function of ticks. A report that comes after its own partition said so is late, which its partition's log alone decides.

``FleetEngine`` knows no Kafka, no wall clock and no randomness. It keeps no report in its state: a restart reads again from the
positions that ``restart_points`` gave, and drops what lies before the last decided tick.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..config import Region, TrackRules
from ..encounters.fleet import FRESH_S, VESSEL_DTYPE, FleetTable
from ..encounters.meeting import SLOT_S, MeetingFold, Pair
from ..encounters.patterns import Patterns
from ..encounters.shore import is_offshore
from ..encounters.silence import Outage, Silence, SilenceFold
from ..errors import StateError
from ..records import REPORT_DTYPE, Alert, Counts, Reason
from ..tracks.quality import CODE, REASONS, screen
from ..tracks.watermark import WatermarkGenerator
from ..types import Reports
from ..zones.fold import UNHEARD_S, Stay, Watch, ZoneFold
from ..zones.zone import Zone, read_feature
from .fleet_alerts import FleetAlerts, Ship, ship_in
from .state import layout

TICK_S = 60.0
MAX_KNOTS = 102.3  # a fast ship must be seen in a zone; the rules of tracks leave it out
# where no stopping places are known, ships lie at berths and anchorages nearer to the shore than this
OFFSHORE_M = 20_000.0
FORGET_S = 4 * 86400.0  # longer than a silence lives
FORGET_EVERY_S = 3600.0
N_BUCKETS = 64  # of vessels in the stored state
BUCKET = "vessels"  # and two digits: their names there
FLEET_STATE_VERSION = 1


@dataclass(slots=True)
class FleetEvents:
    """What some ticks led to, in their order."""

    alerts: list[Alert] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    ticks: int = 0

    def add(self, other: FleetEvents) -> None:
        self.alerts += other.alerts
        self.outages += other.outages
        self.counts.add(other.counts)
        self.ticks += other.ticks


class RestartPoint(NamedTuple):
    """From where a partition must be read again after a restart."""

    token: int  # as given to ``process``: the log's offset
    clock: bytes  # the partition's clock at that place


class _Clock(msgspec.Struct, array_like=True):
    clock: WatermarkGenerator
    complete: float = -math.inf  # all reports older than this have come; later ones that are older are late


class _Run(NamedTuple):
    """Reports that wait for their tick, and what must be known to read them again."""

    token: int
    clock: bytes
    last_t: float  # of its latest report; the run is done with when that is decided


class _Head(msgspec.Struct, array_like=True):
    version: int
    model: str
    decided: float


class FleetEngine:
    """All ships of all partitions.

    Args:
        model_version: written into the alerts.
        patterns: what is usual; None: nothing is known, so silences are not looked at, and meetings far from shore alone.
        region: for distances from shore.
        track_rules: lateness and the rules of the clock.
        partitions: numbers of the partitions; a tick waits for all of them.
        ordered: the reports come in order of time (an archive): each says that the log is complete up to itself.
        zones: what is watched from the beginning.
    """

    def __init__(
        self,
        model_version: str,
        patterns: Patterns | None,
        *,
        region: Region | None = None,
        track_rules: TrackRules | None = None,
        partitions: Iterable[int] = (0,),
        ordered: bool = False,
        zones: Iterable[Zone] = (),
    ) -> None:
        self.model_version = model_version
        self.rules = fleet_rules(track_rules or TrackRules())
        self.patterns = patterns or Patterns()
        self._region = region
        self._ordered = ordered
        self._clocks = {p: _Clock(WatermarkGenerator()) for p in partitions}
        self._runs: dict[int, deque[_Run]] = {p: deque() for p in self._clocks}
        self._pending: list[tuple[float, int, Reports]] = []  # (tick's end, order of arrival, reports)
        self._arrived = 0
        self.decided = -math.inf  # end of the last tick
        self.fleet = FleetTable()
        self._meetings = MeetingFold(self.patterns.stops)
        self._silences = SilenceFold(self.patterns.coverage, self.patterns.stops)
        self.zones = ZoneFold([Watch(z) for z in zones])
        self._alerts = FleetAlerts(model_version, self.patterns, region)
        self._counts = Counts()
        self._changed: set[int] = set()

    # ---------------------------------------------------------------- the logs

    def process(self, reports: Reports, partition: int = 0, token: int = 0) -> None:
        """Take (n,) reports of ``REPORT_DTYPE`` in the order of the partition's log; ``token`` is the place in the log where they begin."""
        clock = self._clocks[partition]
        before = msgspec.msgpack.encode(clock)
        self._counts.received += len(reports)
        codes = screen(reports, None, self.rules)
        codes[codes == CODE[Reason.SOG_NOT_AVAILABLE]] = 0  # a ship is somewhere, whatever its speed
        if self._ordered:
            if len(reports):
                clock.complete = max(clock.complete, float(reports["t"][-1]))
        else:
            codes = self._admit(clock, reports, codes)
        for code, n in zip(*np.unique(codes[codes > 0], return_counts=True), strict=True):
            self._counts.reject(REASONS[int(code)], int(n))
        accepted = reports[codes == 0]
        accepted = accepted[accepted["t"] >= self.decided]  # read again after a restart: already decided
        self._counts.accepted += len(accepted)
        last = float(accepted["t"].max()) if len(accepted) else -math.inf
        self._runs[partition].append(_Run(token, before, last))
        ends = (np.floor(accepted["t"] / TICK_S) + 1.0) * TICK_S
        for end in np.unique(ends).tolist():
            heapq.heappush(self._pending, (end, self._arrived, accepted[ends == end]))
            self._arrived += 1

    def _admit(self, clock: _Clock, reports: Reports, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The clock's own codes, and ``late`` for what is older than its partition was said to be complete to."""
        out = codes.copy()
        fine = np.flatnonzero(codes == 0)
        lateness = self.rules.lateness_s
        if clock.clock.is_established and not clock.clock.votes and len(fine):
            t = reports["t"][fine]
            before = np.maximum.accumulate(np.concatenate([[clock.clock.now], t]))[:-1]
            if not (t > before + self.rules.future_max_s).any():
                out[fine[t < np.maximum(clock.complete, before - lateness)]] = CODE[Reason.LATE]
                out, _ = clock.clock.admit(reports, out, self.rules)
                clock.complete = max(clock.complete, clock.clock.now - lateness)
                return out
        # One by one, so that what is late does not depend on how the log was cut into runs.
        for i in fine.tolist():
            if float(reports["t"][i]) < clock.complete:
                out[i] = CODE[Reason.LATE]
                continue
            out[i] = clock.clock.admit(reports[i : i + 1], codes[i : i + 1], self.rules)[0][0]
            complete = clock.clock.now - lateness if clock.clock.is_established else clock.clock.watermark
            clock.complete = max(clock.complete, complete)
        return out

    def heard_elsewhere(self, t: float, partition: int, token: int = 0) -> None:
        """Reports of other partitions have come as far as ``t``: one of this partition that is older by more than the lateness is late."""
        clock = self._clocks[partition]
        self._runs[partition].append(_Run(token, msgspec.msgpack.encode(clock), -math.inf))
        clock.complete = max(clock.complete, t - self.rules.lateness_s)

    def advance_watermark(self, t: float, partition: int = 0, token: int = 0) -> None:
        """It was said that no report of the partition older than ``t`` will come: an archive ended, or a person said so."""
        clock = self._clocks[partition]
        self._runs[partition].append(_Run(token, msgspec.msgpack.encode(clock), -math.inf))
        clock.clock.complete_until(t, self.rules)
        clock.complete = max(clock.complete, t)

    @property
    def complete(self) -> float:
        """All partitions' logs are complete up to here, Unix s."""
        return min(c.complete for c in self._clocks.values())

    @property
    def newest(self) -> float:
        """Time of the newest report that any partition believed; -inf before the first."""
        return max(max(c.clock.now, c.complete) for c in self._clocks.values())

    def complete_of(self, partition: int) -> float:
        """A partition's log is complete up to here, Unix s."""
        return self._clocks[partition].complete

    def open_counts(self) -> dict[str, int]:
        """Pairs that are near each other, ships that were reported silent, ships inside zones."""
        return {
            "pair": len(self._meetings.pairs),
            "silence": len(self._silences.silences),
            "stay": len(self.zones.stays),
        }

    def slowest(self) -> tuple[int, float]:
        """The partition that all others wait for, and how far its log is complete."""
        return min(((p, c.complete) for p, c in self._clocks.items()), key=lambda x: (x[1], x[0]))

    # ---------------------------------------------------------------- zones

    def put_zone(self, zone: Zone, since: float) -> float:
        """Watch a zone from ``since`` on, or from the last decided tick when that is later; returns which."""
        since = max(since, self.decided)
        self.zones.put(zone, since)
        return since

    def withdraw_zone(self, name: str, at: float) -> bool:
        """Watch it no more from ``at`` on, or from the last decided tick; False when there is none of that name."""
        return self.zones.withdraw(name, max(at, self.decided))

    # ---------------------------------------------------------------- ticks

    def decide(self) -> FleetEvents:
        """Decide all ticks that are complete."""
        events = FleetEvents()
        events.counts, self._counts = self._counts, events.counts
        complete = self.complete
        while math.isfinite(end := self._next_tick()) and end <= complete:
            self._tick(end, events)
        if math.isfinite(complete):
            self.decided = max(self.decided, math.floor(complete / TICK_S) * TICK_S)
        for runs in self._runs.values():
            while len(runs) > 1 and runs[0].last_t < self.decided:
                runs.popleft()
        return events

    def _next_tick(self) -> float:
        """End of the next tick at which something can happen; inf when nothing can without a further report."""
        times = [self._pending[0][0]] if self._pending else []
        if len(self.fleet):
            rows = self.fleet.rows
            times.append(_tick_after(float(rows["deadline"].min())))
            slot = (math.floor(self.decided / SLOT_S) + 1.0) * SLOT_S if math.isfinite(self.decided) else math.inf
            if self._meetings.pairs or float(rows["t"].max()) >= slot - FRESH_S:
                times.append(slot)
        silences = self._silences.silences.values()
        times += [
            _tick_after(s.heard_t + self._silences.rules.watch_after_s) for s in silences if s.heard_t == s.heard_t
        ]
        times += [_tick_after(s.t + self._silences.rules.forget_after_s) for s in silences]
        times += [_tick_after(s.last[0] + UNHEARD_S) for s in self.zones.stays.values()]
        times += [_tick_after(w.until) for w in self.zones.watches.values() if math.isfinite(w.until)]
        at = min(times, default=math.inf)
        return max(at, self.decided + TICK_S) if math.isfinite(at) else math.inf

    def _tick(self, end: float, events: FleetEvents) -> None:
        parts = []
        while self._pending and self._pending[0][0] <= end:
            parts.append(heapq.heappop(self._pending)[2])
        reports = np.concatenate(parts) if parts else np.zeros(0, REPORT_DTYPE)
        heard = self.fleet.absorb(reports)
        self._changed.update(np.unique(reports["mmsi"] % N_BUCKETS).tolist())
        for change in self.zones.step(self._with_ship(heard), end):
            events.alerts.append(self._alerts.zone(change))
        due = self.fleet.rows["mmsi"][self.fleet.rows["deadline"] <= end]
        self._changed.update((due % N_BUCKETS).tolist())
        changes, outages = self._silences.step(self.fleet, heard, end)
        events.outages += outages
        for s in changes:
            self._changed.add(s.silence.mmsi % N_BUCKETS)
            events.alerts.append(self._alerts.silence(s, ship_in(self.fleet, s.silence.mmsi)))
        if end % SLOT_S == 0.0:
            self._slot(end, events)
        if end % FORGET_EVERY_S == 0.0:
            gone = self.fleet.rows["t"] < end - FORGET_S
            self._changed.update((self.fleet.rows["mmsi"][gone] % N_BUCKETS).tolist())
            self.fleet.forget(end - FORGET_S)
        self.decided = end
        events.ticks += 1

    def _slot(self, end: float, events: FleetEvents) -> None:
        def score(pair: Pair) -> float:
            a, b = (ship_in(self.fleet, m).ship_type for m in (pair.first, pair.second))
            if not self.patterns.days and not is_offshore(pair.lat, pair.lon, OFFSHORE_M, self._region):
                return 0.0
            return self.patterns.score(pair.kind, a, b)

        for change in self._meetings.step(end, self.fleet.at(end), score):
            ships: list[Ship] = [ship_in(self.fleet, m) for m in (change.pair.first, change.pair.second)]
            events.alerts.append(self._alerts.meeting(change, end, *ships))

    def _with_ship(self, heard: Reports) -> Reports:
        """Reports with the vessel's type and name where they do not bring their own."""
        if not self.zones.watches or not len(heard):
            return heard
        heard = heard.copy()
        rows = self.fleet.rows[self.fleet.find(heard["mmsi"])]
        heard["ship_type"] = np.where(heard["ship_type"] < 0, rows["ship_type"], heard["ship_type"])
        heard["ship_name"] = np.where(heard["ship_name"] == b"", rows["ship_name"], heard["ship_name"])
        return heard

    # ---------------------------------------------------------------- state as bytes

    def restart_points(self) -> dict[int, RestartPoint]:
        """From where each partition must be read again; partitions that were not read are left out."""
        return {p: RestartPoint(runs[0].token, runs[0].clock) for p, runs in self._runs.items() if runs}

    def snapshot(self) -> dict[str, bytes]:
        """The parts of the state that may have changed since the last snapshot, by name."""
        out = {"head": msgspec.msgpack.encode(_Head(FLEET_STATE_VERSION, self.model_version, self.decided))}
        bucket = self.fleet.rows["mmsi"] % N_BUCKETS
        for k in sorted(self._changed):
            out[f"{BUCKET}{k:02d}"] = msgspec.msgpack.encode(
                (layout(VESSEL_DTYPE), self.fleet.rows[bucket == k].tobytes())
            )
        self._changed.clear()
        out["pairs"] = msgspec.msgpack.encode(list(self._meetings.pairs.values()))
        out["silences"] = msgspec.msgpack.encode(list(self._silences.silences.values()))
        out["stays"] = msgspec.msgpack.encode(list(self.zones.stays.values()))
        watches = [(w.zone.to_feature(), w.since, w.until) for w in self.zones.watches.values()]
        out["zones"] = msgspec.msgpack.encode(watches)
        return out

    def restore(self, parts: Mapping[str, bytes], clocks: Mapping[int, bytes]) -> None:
        """Take what ``snapshot`` and ``restart_points`` gave. Raises ``StateError`` when it cannot be read."""
        try:
            head = msgspec.msgpack.decode(parts["head"], type=_Head)
            if head.version != FLEET_STATE_VERSION:
                raise StateError(
                    f"the stored state of the ships together has version {head.version}, this program reads {FLEET_STATE_VERSION}: run the program that wrote it, or start under another APP_ID"
                )
            self.decided = head.decided
            rows = []
            for name, blob in sorted(parts.items()):
                if name.startswith(BUCKET):
                    digest, raw = msgspec.msgpack.decode(blob, type=tuple[bytes, bytes])
                    if digest != layout(VESSEL_DTYPE):
                        raise StateError(
                            "the stored state of the ships together was written by another version: run the program that wrote it, or start under another APP_ID"
                        )
                    rows.append(np.frombuffer(raw, VESSEL_DTYPE))
            if rows:
                table = np.concatenate(rows)
                self.fleet = FleetTable(table[np.argsort(table["mmsi"], kind="stable")])
            self._meetings = MeetingFold(
                self.patterns.stops, pairs=msgspec.msgpack.decode(parts["pairs"], type=list[Pair])
            )
            self._silences = SilenceFold(
                self.patterns.coverage,
                self.patterns.stops,
                silences=msgspec.msgpack.decode(parts["silences"], type=list[Silence]),
            )
            watches = msgspec.msgpack.decode(parts["zones"], type=list[tuple[dict[str, Any], float, float]])
            self.zones = ZoneFold(
                [Watch(read_feature(f), since, until) for f, since, until in watches],
                msgspec.msgpack.decode(parts["stays"], type=list[Stay]),
            )
            for p, blob in clocks.items():
                self._clocks[p] = msgspec.msgpack.decode(blob, type=_Clock)
        except (KeyError, msgspec.DecodeError, ValueError) as e:
            raise StateError(
                f"the stored state of the ships together cannot be read ({type(e).__name__}: {e}): replay the log under another APP_ID"
            ) from None


def fleet_rules(track_rules: TrackRules) -> TrackRules:
    """What is asked of a report of a ship among ships: as for tracks, but for the speed."""
    return replace(track_rules, speed_max_knots=MAX_KNOTS)


def _tick_after(t: float) -> float:
    """End of the first tick that does not end before ``t``."""
    return math.ceil(t / TICK_S) * TICK_S if math.isfinite(t) else math.inf
