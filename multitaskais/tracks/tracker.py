"""The reports of one vessel into lines and tracks: order, duplicates, gaps, cuts, jumps, two ships on one MMSI.

A ``VesselTracker`` is a value: it holds all that is known of the vessel's reports, goes to bytes and back by ``msgspec.msgpack``,
and moves by ``offer`` and ``flush``. Both are pure folds: the same reports give the same events however the log is cut.

**Order.** A report is held until the vessel's own newest time is more than the lateness past it, then *released*: so released
reports come in event-time order, and equal times in the order of their content, whatever the order of arrival. A report that
comes later than that is ``late``. Held reports are bounded by ``HELD_MAX``; a vessel that sends more within the lateness
(none does) has its oldest released early.

**Duplicates.** A released report equal in position, sog, cog, heading, status and type to one that was counted within the last
``duplicate_s`` is a duplicate.

**Lines.** A report continues the nearest line from whose last report it needs no jump: with dt > 2 s no more than ``jump_excess_knots``
above its own speed, else no more than ``jump_min_m``. One that continues no line is *displaced*: always a ``Jump`` event, and it
goes to a *side*, a run of displaced reports that follow from each other. Then one of three things happens:

- the side goes on for ``side_reports`` reports with none of its line's between: the ship is there now, the line goes on there;
- side and line go on in turns, ``side_reports`` of each and ``side_switches`` changes within ``side_window_s``: two ships, the side
  becomes a line of its own (``IdentityConflict``);
- neither, within ``side_window_s``: its reports are ``displaced``.

Departures from METHOD 2: outliers are found from the report before alone, since a live rule does not know the report after.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from typing import Any, NamedTuple

import msgspec

from ..config import KNOT_MPS, TrackRules
from ..records import Reason
from .displacement import is_jump, may_be_garbled
from .geometry import great_circle_m

HELD_MAX = 4096
SIDES_MAX = 3  # displaced runs followed at a time; the stalest gives way
LINES_MAX = 4  # ships told apart on one MMSI; more stay displaced

# One report as in REPORT_DTYPE: mmsi, t, lat, lon, sog, cog, heading, nav_status, msg_type, ship_type, ship_name.
Report = tuple[int, float, float, float, float, float, float, int, int, int, bytes]


class Accepted(NamedTuple):
    """A report belongs to a line. Of one line these come in event-time order."""

    line: int
    new_line: bool
    track_id: str
    report: tuple


class Rejected(NamedTuple):
    reason: Reason  # late (on arrival), duplicate or displaced (once that is certain)
    report: tuple


class Jump(NamedTuple):
    """``after`` needs ``excess_knots`` more than it says from ``before``, the line's last report."""

    line: int
    before: tuple
    after: tuple
    excess_knots: float


class IdentityConflict(NamedTuple):
    """Two ships: what was displaced since ``since_t`` is a line of its own; ``report`` decided it."""

    main_line: int
    new_line: int
    since_t: float
    report: tuple


class TrackEnded(NamedTuple):
    """``gap``: the line ends, ``t_end`` = last report + gap. ``cut``: the line goes on; ``t_end`` = its next track's first report."""

    line: int
    track_id: str
    t_last: float
    t_end: float
    why: str


TrackEvent = Accepted | Rejected | Jump | IdentityConflict | TrackEnded


class Line(msgspec.Struct, array_like=True):
    """One ship as we see it."""

    number: int
    track_id: str
    start: float  # of its present track
    last: Report


class Side(msgspec.Struct, array_like=True):
    """A run of reports displaced from a line; see the module's text."""

    line: int  # number of the line it is displaced from
    last: Report
    pending: list[Report]  # not yet accepted nor rejected
    run: int  # how many of the last pending ones came with none of the line's between
    own: list[float]  # times of its last ``side_reports`` reports
    other: list[float]  # times of the line's, since the side began
    switches: list[float]  # times of the last ``side_switches`` changes between the two
    on: bool  # it came last of the two


_new: Any = tuple.__new__  # an event without the detour of its own constructor; for the one of nearly every report


def same_content(a: tuple, b: tuple) -> bool:
    """Equal position, sog, cog, heading, nav_status and msg_type; NaN equals NaN."""
    for i in range(2, 9):
        x = a[i]
        y = b[i]
        if x != y and (x == x or y == y):
            return False
    return True


def content_key(report: tuple) -> tuple:
    """Total order of reports: time, then content; NaN first."""
    return tuple((x == x, x if x == x else 0.0) for x in report[1:])


def needed_knots(before: tuple, after: tuple, min_dt_s: float) -> float:
    """Speed made good from one report to the next, times closer than ``min_dt_s`` taken as that."""
    distance = great_circle_m(before[2], before[3], after[2], after[3])
    return distance / max(after[1] - before[1], min_dt_s) / KNOT_MPS


def track_name(mmsi: int, start: float, suffix: int = 1) -> str:
    """The id of a track: MMSI and UTC second of its first report; ``-2`` for the second that would have the same."""
    text = f"{mmsi:09d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(math.floor(start)))}"
    return text if suffix == 1 else f"{text}-{suffix}"


class VesselTracker(msgspec.Struct, array_like=True):
    """Report-level state of one MMSI. ``offer`` and ``flush`` return events in the order in which they follow."""

    newest: float = -math.inf  # greatest time offered
    floor: float = -math.inf  # reports before it are late
    held: list[Report] = []  # sorted; not yet released
    recent: list[Report] = []  # released within duplicate_s
    lines: list[Line] = []
    sides: list[Side] = []
    next_line: int = 0

    # ------------------------------------------------------------------ the fold

    def offer(self, report: tuple, rules: TrackRules) -> list[TrackEvent]:
        """Take one report that passed the screen (its time, position and speed are numbers)."""
        t = report[1]
        held: list[Any] = self.held
        if t > self.newest:
            held.append(report)
            self.newest = t
            floor = t - rules.lateness_s
            if floor > self.floor:
                self.floor = floor
        elif t < self.floor:
            return [Rejected(Reason.LATE, report)]
        else:
            _insert(held, report)
        if len(held) > HELD_MAX:
            self.floor = max(self.floor, held[len(held) - HELD_MAX - 1][1])
        elif held[0][1] >= self.floor:
            return []
        events: list[TrackEvent] = []
        while held and (held[0][1] < self.floor or len(held) > HELD_MAX):
            self._release(held.pop(0), rules, events)
        return events

    def flush(self, rules: TrackRules, watermark: float) -> list[TrackEvent]:
        """No report older than ``watermark`` will come. Acts when the vessel has been silent for longer than the gap: releases
        what is held and ends all lines. ``inf`` ends everything. The events carry vessel times alone."""
        events: list[TrackEvent] = []
        if not (self.held or self.lines) or not self.newest + rules.gap_max_s < watermark:
            return events
        held = self.held
        self.held = []
        for r in held:
            self._release(r, rules, events)
        self.floor = self.newest
        self._end_lines(math.inf, rules, events)
        self.recent = []
        return events

    def next_deadline(self, rules: TrackRules) -> float:
        """``flush`` acts, or ``forgettable`` turns true, for watermarks greater than this and for no others."""
        if self.held or self.lines:
            return self.newest + rules.gap_max_s
        return self.newest + rules.forget_after_s

    def silent_at(self, rules: TrackRules) -> float:
        """The vessel's own time at which its silence becomes a gap."""
        return self.newest + rules.gap_max_s

    def forgettable(self, rules: TrackRules, watermark: float) -> bool:
        """Whether the vessel may be dropped: all is ended, and nothing that can still come depends on it."""
        return not (self.held or self.lines) and self.newest + rules.forget_after_s < watermark

    # ------------------------------------------------------------------ one released report

    def _release(self, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        t = r[1]
        recent = self.recent
        if recent and t - recent[-1][1] <= rules.duplicate_s:
            for q in reversed(recent):
                if t - q[1] > rules.duplicate_s:
                    break
                if q[2] == r[2] and q[3] == r[3] and same_content(q, r):
                    events.append(Rejected(Reason.DUPLICATE, r))
                    return
            if t - recent[0][1] > rules.duplicate_s:
                self.recent = recent = [q for q in recent if t - q[1] <= rules.duplicate_s]
            recent.append(r)
        else:
            self.recent = [r]
        lines = self.lines
        if len(lines) == 1 and not self.sides:  # nearly always
            line = lines[0]
            if t <= line.last[1] + rules.gap_max_s and not is_jump(line.last, r, rules):
                if t >= line.start + rules.cut_s:
                    self._cut(line, r, events)
                line.last = r
                events.append(_new(Accepted, (line.number, False, line.track_id, r)))
                return
        self._end_lines(t, rules, events)
        if self.sides:
            self._forget_sides(t, rules, events)
        if not self.lines:
            self._open([r], events)
            return
        near: Line | None = None
        near_m = math.inf
        for line in self.lines:
            if not is_jump(line.last, r, rules):
                distance = great_circle_m(line.last[2], line.last[3], r[2], r[3])
                if distance < near_m:
                    near, near_m = line, distance
        if near is not None:
            self._accept(near, r, rules, events)
        else:
            self._displace(r, rules, events)

    def _accept(self, line: Line, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        if r[1] >= line.start + rules.cut_s:
            self._cut(line, r, events)
        line.last = r
        events.append(Accepted(line.number, False, line.track_id, r))
        for side in [s for s in self.sides if s.line == line.number]:
            side.run = 0
            _note(side.other, r[1], rules.side_reports)
            if side.on:
                side.on = False
                _note(side.switches, r[1], rules.side_switches)
                self._split_if_two(side, r, rules, events)

    def _displace(self, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        excess = [(needed_knots(line.last, r, rules.jump_min_dt_s) - r[4], line) for line in self.lines]
        least, line = min(excess, key=lambda pair: pair[0])
        side: Side | None = None
        side_m = math.inf
        for s in self.sides:
            if not is_jump(s.last, r, rules):
                distance = great_circle_m(s.last[2], s.last[3], r[2], r[3])
                if distance < side_m:
                    side, side_m = s, distance
        if side is None:
            side = Side(line.number, r, [], 0, [], [line.last[1]], [], False)
            if len(self.sides) == SIDES_MAX:
                stalest = min(self.sides, key=lambda s: s.last[1])
                self._drop_side(stalest, events)
            self.sides.append(side)
        else:
            owner = self._line(side.line)
            if owner is not line:  # the line it is displaced from stays the one where it began
                line, least = owner, needed_knots(owner.last, r, rules.jump_min_dt_s) - r[4]
        # A lone report that may have been received wrong proves nothing of the ship; a second one that follows from it does.
        if side.own or not may_be_garbled(line.last, r, rules):
            events.append(Jump(line.number, line.last, r, least))
        side.last = r
        side.pending.append(r)
        side.run += 1
        _note(side.own, r[1], rules.side_reports)
        if not side.on:
            side.on = True
            _note(side.switches, r[1], rules.side_switches)
        if not self._split_if_two(side, r, rules, events) and side.run >= rules.side_reports:
            self._follow(side, line, rules, events)

    def _follow(self, side: Side, line: Line, rules: TrackRules, events: list[TrackEvent]) -> None:
        """The ship is at the side now. The place it left becomes a side, so that two ships that report in bursts are found."""
        run = side.pending[-side.run :]
        del side.pending[-side.run :]
        self._drop_side(side, events)
        left = Side(line.number, line.last, [], 0, side.other, side.own, side.switches, False)
        for r in run:
            self._accept(line, r, rules, events)
        self.sides.append(left)

    def _split_if_two(self, side: Side, r: Any, rules: TrackRules, events: list[TrackEvent]) -> bool:
        since = r[1] - rules.side_window_s
        if (
            len(side.switches) < rules.side_switches
            or len(side.own) < rules.side_reports
            or len(side.other) < rules.side_reports
            or min(side.switches[0], side.own[0], side.other[0]) < since
            or len(self.lines) >= LINES_MAX
            or not side.pending
        ):
            return False
        self.sides.remove(side)
        events.append(IdentityConflict(side.line, self.next_line, side.pending[0][1], r))
        self._open(side.pending, events)
        return True

    # ------------------------------------------------------------------ lines and sides begin and end

    def _open(self, reports: list[Any], events: list[TrackEvent]) -> None:
        first = reports[0]
        line = Line(self.next_line, self._name(first, None), first[1], reports[-1])
        self.next_line += 1
        self.lines.append(line)
        events.extend(Accepted(line.number, i == 0, line.track_id, r) for i, r in enumerate(reports))

    def _cut(self, line: Line, r: Any, events: list[TrackEvent]) -> None:
        events.append(TrackEnded(line.number, line.track_id, line.last[1], r[1], "cut"))
        line.track_id = self._name(r, line)
        line.start = r[1]

    def _end_lines(self, t: float, rules: TrackRules, events: list[TrackEvent]) -> None:
        for line in [line for line in self.lines if t > line.last[1] + rules.gap_max_s]:
            self.lines.remove(line)
            for side in [s for s in self.sides if s.line == line.number]:
                self._drop_side(side, events)
            t_last = line.last[1]
            events.append(TrackEnded(line.number, line.track_id, t_last, t_last + rules.gap_max_s, "gap"))

    def _forget_sides(self, t: float, rules: TrackRules, events: list[TrackEvent]) -> None:
        """Reject what is older than the window, except the run that goes on alone: it may be the ship."""
        since = t - rules.side_window_s
        for side in list(self.sides):
            n = 0
            while n < len(side.pending) - side.run and side.pending[n][1] < since:
                events.append(Rejected(Reason.DISPLACED, side.pending[n]))
                n += 1
            del side.pending[:n]
            if not side.pending and side.last[1] < since:
                self.sides.remove(side)

    def _drop_side(self, side: Side, events: list[TrackEvent]) -> None:
        self.sides.remove(side)
        events.extend(Rejected(Reason.DISPLACED, r) for r in side.pending)

    def _line(self, number: int) -> Line:
        return next(line for line in self.lines if line.number == number)

    def _name(self, first: Any, line: Line | None) -> str:
        taken = {other.track_id for other in self.lines if other is not line}
        suffix = 1
        while (name := track_name(first[0], first[1], suffix)) in taken:
            suffix += 1
        return name


def _insert(held: list[Any], report: Any) -> None:
    """Into its place by time, and among equal times by content."""
    i = bisect_right(held, report[1], key=lambda r: r[1])
    if i and held[i - 1][1] == report[1]:
        key = content_key(report)
        while i and held[i - 1][1] == report[1] and content_key(held[i - 1]) > key:
            i -= 1
    held.insert(i, report)


def _note(times: list[float], t: float, n: int) -> None:
    """Append, and keep the last ``n``."""
    times.append(t)
    if len(times) > n:
        del times[0]
