"""The reports of one vessel into lines and tracks: order, duplicates, gaps, cuts, jumps, two ships on one MMSI.

A ``VesselTracker`` is a value: it holds all that is known of the vessel's reports, goes to bytes and back by ``msgspec.msgpack``,
and moves by ``offer`` and ``flush``. Both are pure folds: the same reports give the same events however the log is cut.

**Order.** A report is held until the vessel's own newest time is more than the lateness past it, then *released*: so released
reports come in event-time order, and equal times in the order of their content, whatever the order of arrival. A report that
comes later than that is ``late``. Bounds are by number as well as by time: of one minute ``RATE_MAX`` reports are held, those that come
after them are ``too_many``; and ``BUFFERED_MAX`` in all, of more the oldest are released early.

**Duplicates.** A released report equal in position, sog, cog, heading, status and type to one that was counted within the last
``duplicate_s`` is a duplicate; of a ship that moves within ``copy_s``.

**Lines.** A report continues the nearest line from whose last report it needs no jump: with dt > 2 s no more than ``jump_excess_knots``
above its own speed, else no more than ``jump_min_m``. One that continues no line is *displaced*: always a ``Jump`` event, and it
goes to a *side*, a run of displaced reports that follow from each other. Then one of three things happens:

- the side goes on for ``side_reports`` reports with none of its line's between: the ship is there now, the line goes on there;
- side and line go on in turns, ``side_reports`` of each and ``side_switches`` changes within ``side_window_s``: two ships, the side
  becomes a line of its own (``IdentityConflict``);
- neither, within ``side_window_s``: its reports are ``displaced``.

Departures from docs/method.md#tracks: outliers are found from the report before alone, since a live rule does not know the report after.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from ..config import TrackRules
from ..records import CONTENT_FIELDS, Reason
from ..units import KNOT_MPS
from .displacement import is_copy, is_jump, is_station_clock, may_be_garbled
from .geometry import great_circle_m

BUFFERED_MAX = 4096
# Reports of one vessel in one minute of their own time that wait to be put in order: a transponder sends 30 at most, heard by many
# stations some hundred, a receiver of 10 Hz 600. More is a stuck multiplexer or an attack; with this many the state stays below 256 kB.
RATE_MAX = 640
RATE_S = 60.0
RECENT_MAX = 256  # released reports that a duplicate is looked for in
PENDING_MAX = 256  # displaced reports of one tentative track that are kept for the time it may become a target
TENTATIVE_MAX = 3  # displaced runs followed at a time; the stalest gives way
TARGETS_MAX = 4  # ships told apart on one MMSI; more stay displaced

# One report in the field order of REPORT_DTYPE. The engine offers the first CONTENT_FIELDS, what the report says, so that a state does not
# hold how it came; whoever offers more (the batch job numbers its reports) has it given back.
Report = tuple[Any, ...]


class Accepted(NamedTuple):
    """A report belongs to a line. Of one line these come in event-time order."""

    target: int
    new_target: bool
    track_id: str
    report: Report


class Rejected(NamedTuple):
    reason: Reason  # on arrival late or too_many; once that is certain duplicate, displaced or station_clock
    report: Report


class Jump(NamedTuple):
    """``after`` needs ``excess_knots`` more than it says from ``before``, the line's last report."""

    target: int
    before: Report
    after: Report
    excess_knots: float


class IdentityConflict(NamedTuple):
    """Two ships: what was displaced since ``since_t`` is a line of its own; ``report`` decided it."""

    main_target: int
    new_target: int
    since_t: float
    report: Report


class EndReason(StrEnum):
    """Why a track ended."""

    GAP = "gap"  # the target was silent: it ends too, ``t_end`` = last report + gap
    CUT = "cut"  # the track was too long: the target goes on, ``t_end`` = its next track's first report


class TrackEnded(NamedTuple):
    target: int
    track_id: str
    t_last: float
    t_end: float
    why: EndReason


TrackEvent = Accepted | Rejected | Jump | IdentityConflict | TrackEnded


class Target(msgspec.Struct, array_like=True):
    """One ship as we see it."""

    number: int
    track_id: str
    start: float  # of its present track
    last: Report


class TentativeTrack(msgspec.Struct, array_like=True):
    """A run of reports displaced from a line; see the module's text."""

    target: int  # number of the line it is displaced from
    last: Report
    pending: list[Report]  # not yet accepted nor rejected
    run: int  # how many of the last pending ones came with none of the line's between
    own: list[float]  # times of its last ``side_reports`` reports
    other: list[float]  # times of the line's, since the side began
    switches: list[float]  # times of the last ``side_switches`` changes between the two
    on: bool  # it came last of the two


_new: Any = tuple.__new__  # an event without the detour of its own constructor; for the one of nearly every report


def same_content(a: Report, b: Report) -> bool:
    """Equal position, sog, cog, heading, nav_status and msg_type; NaN equals NaN."""
    for i in range(2, 9):
        x = a[i]
        y = b[i]
        if x != y and (x == x or y == y):
            return False
    return True


def content_key(report: Report) -> tuple[tuple[bool, float], ...]:
    """Total order of reports: time, then content; NaN first. How a report came is not asked."""
    return tuple((x == x, x if x == x else 0.0) for x in report[1:CONTENT_FIELDS])


def needed_knots(before: Report, after: Report, min_dt_s: float) -> float:
    """Speed made good from one report to the next, times closer than ``min_dt_s`` taken as that."""
    distance = great_circle_m(before[2], before[3], after[2], after[3])
    knots: float = distance / max(after[1] - before[1], min_dt_s) / KNOT_MPS
    return knots


def track_name(mmsi: int, start: float, suffix: int = 1) -> str:
    """The id of a track: MMSI and UTC second of its first report; ``-2`` for the second that would have the same."""
    text = f"{mmsi:09d}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(math.floor(start)))}"
    return text if suffix == 1 else f"{text}-{suffix}"


class VesselTracker(msgspec.Struct, array_like=True):
    """Report-level state of one MMSI. ``offer`` and ``flush`` return events in the order in which they follow."""

    newest: float = -math.inf  # greatest time offered
    floor: float = -math.inf  # reports before it are late
    buffered: list[Report] = []  # sorted; not yet released
    recent: list[Report] = []  # released within duplicate_s
    targets: list[Target] = []
    tentative_tracks: list[TentativeTrack] = []
    next_target: int = 0

    # ------------------------------------------------------------------ the fold

    def offer(self, report: Report, rules: TrackRules) -> list[TrackEvent]:
        """Take one report that passed the screen (its time, position and speed are numbers)."""
        t = report[1]
        buffered: list[Any] = self.buffered
        if t > self.newest:
            if len(buffered) >= RATE_MAX and self._minute_is_full(t):
                return [Rejected(Reason.TOO_MANY, report)]
            buffered.append(report)
            self.newest = t
            floor = t - rules.lateness_s
            if floor > self.floor:
                self.floor = floor
        elif t < self.floor:
            return [Rejected(Reason.LATE, report)]
        elif len(buffered) >= RATE_MAX and self._minute_is_full(t):
            return [Rejected(Reason.TOO_MANY, report)]
        else:
            _insert(buffered, report)
        if len(buffered) > BUFFERED_MAX:
            self.floor = max(self.floor, buffered[len(buffered) - BUFFERED_MAX - 1][1])
        elif buffered[0][1] >= self.floor:
            return []
        events: list[TrackEvent] = []
        while buffered and (buffered[0][1] < self.floor or len(buffered) > BUFFERED_MAX):
            self._release(buffered.pop(0), rules, events)
        return events

    def _minute_is_full(self, t: float) -> bool:
        """Whether ``RATE_MAX`` of the buffered reports are of the minute of ``t``."""
        begin = math.floor(t / RATE_S) * RATE_S
        first = bisect_left(self.buffered, begin, key=lambda r: r[1])
        return bisect_left(self.buffered, begin + RATE_S, first, key=lambda r: r[1]) - first >= RATE_MAX

    def flush(self, rules: TrackRules, watermark: float) -> list[TrackEvent]:
        """No report older than ``watermark`` will come. Acts when the vessel has been silent for longer than the gap: releases
        what is held and ends all lines. ``inf`` ends everything. The events carry vessel times alone."""
        events: list[TrackEvent] = []
        if not (self.buffered or self.targets) or not self.newest + rules.gap_max_s < watermark:
            return events
        buffered = self.buffered
        self.buffered = []
        for r in buffered:
            self._release(r, rules, events)
        self.floor = self.newest
        self._end_targets(math.inf, rules, events)
        self.recent = []
        return events

    def next_deadline(self, rules: TrackRules) -> float:
        """``flush`` acts, or ``evictable`` turns true, for watermarks greater than this and for no others."""
        if self.buffered or self.targets:
            return self.newest + rules.gap_max_s
        return self.newest + rules.forget_after_s

    def silent_at(self, rules: TrackRules) -> float:
        """The vessel's own time at which its silence becomes a gap."""
        return self.newest + rules.gap_max_s

    def evictable(self, rules: TrackRules, watermark: float) -> bool:
        """Whether the vessel may be dropped: all is ended, and nothing that can still come depends on it."""
        return not (self.buffered or self.targets) and self.newest + rules.forget_after_s < watermark

    # ------------------------------------------------------------------ one released report

    def _release(self, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        t = r[1]
        recent = self.recent
        if recent and t - recent[-1][1] <= rules.copy_s:
            for q in reversed(recent):
                if t - q[1] > rules.copy_s:
                    break
                if (
                    q[2] == r[2]
                    and q[3] == r[3]
                    and same_content(q, r)
                    and (t - q[1] <= rules.duplicate_s or is_copy(r))
                ):
                    events.append(Rejected(Reason.DUPLICATE, r))
                    return
            if t - recent[0][1] > rules.copy_s:
                self.recent = recent = [q for q in recent if t - q[1] <= rules.copy_s]
            recent.append(r)
            if len(recent) > RECENT_MAX:
                del recent[0]
        else:
            self.recent = [r]
        targets = self.targets
        if len(targets) == 1 and not self.tentative_tracks:  # nearly always
            target = targets[0]
            if t <= target.last[1] + rules.gap_max_s and not is_jump(target.last, r, rules):
                if t >= target.start + rules.cut_s:
                    self._cut(target, r, events)
                target.last = r
                events.append(_new(Accepted, (target.number, False, target.track_id, r)))
                return
        self._end_targets(t, rules, events)
        if self.tentative_tracks:
            self._evict_tentative(t, rules, events)
        if not self.targets:
            self._open([r], events)
            return
        near: Target | None = None
        near_m = math.inf
        for target in self.targets:
            if not is_jump(target.last, r, rules):
                distance = great_circle_m(target.last[2], target.last[3], r[2], r[3])
                if distance < near_m:
                    near, near_m = target, distance
        if near is not None:
            self._accept(near, r, rules, events)
        else:
            self._displace(r, rules, events)

    def _accept(self, target: Target, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        if r[1] >= target.start + rules.cut_s:
            self._cut(target, r, events)
        target.last = r
        events.append(Accepted(target.number, False, target.track_id, r))
        for tentative in [s for s in self.tentative_tracks if s.target == target.number]:
            tentative.run = 0
            _note(tentative.other, r[1], rules.side_reports)
            if tentative.on:
                tentative.on = False
                _note(tentative.switches, r[1], rules.side_switches)
                self._split_if_two(tentative, r, rules, events)

    def _displace(self, r: Any, rules: TrackRules, events: list[TrackEvent]) -> None:
        excess = [(needed_knots(target.last, r, rules.jump_min_dt_s) - r[4], target) for target in self.targets]
        least, target = min(excess, key=lambda pair: pair[0])
        if any(is_station_clock(other.last, r, rules) for other in self.targets):
            events.append(Rejected(Reason.STATION_CLOCK, r))
            return
        tentative: TentativeTrack | None = None
        side_m = math.inf
        for s in self.tentative_tracks:
            if not is_jump(s.last, r, rules):
                distance = great_circle_m(s.last[2], s.last[3], r[2], r[3])
                if distance < side_m:
                    tentative, side_m = s, distance
        if tentative is None:
            tentative = TentativeTrack(target.number, r, [], 0, [], [target.last[1]], [], False)
            if len(self.tentative_tracks) == TENTATIVE_MAX:
                stalest = min(self.tentative_tracks, key=lambda s: s.last[1])
                self._drop_tentative(stalest, events)
            self.tentative_tracks.append(tentative)
        else:
            owner = self._target(tentative.target)
            if owner is not target:  # the line it is displaced from stays the one where it began
                target, least = owner, needed_knots(owner.last, r, rules.jump_min_dt_s) - r[4]
        # A lone report that may have been received wrong proves nothing of the ship; a second one that follows from it does.
        if tentative.own or not may_be_garbled(target.last, r, rules):
            events.append(Jump(target.number, target.last, r, least))
        tentative.last = r
        tentative.pending.append(r)
        tentative.run += 1
        if len(tentative.pending) > PENDING_MAX:
            events.append(Rejected(Reason.DISPLACED, tentative.pending.pop(0)))
        _note(tentative.own, r[1], rules.side_reports)
        if not tentative.on:
            tentative.on = True
            _note(tentative.switches, r[1], rules.side_switches)
        if not self._split_if_two(tentative, r, rules, events) and tentative.run >= rules.side_reports:
            self._follow(tentative, target, rules, events)

    def _follow(self, tentative: TentativeTrack, target: Target, rules: TrackRules, events: list[TrackEvent]) -> None:
        """The ship is at the side now. The place it left becomes a side, so that two ships that report in bursts are found."""
        run = tentative.pending[-tentative.run :]
        del tentative.pending[-tentative.run :]
        self._drop_tentative(tentative, events)
        left = TentativeTrack(
            target.number, target.last, [], 0, tentative.other, tentative.own, tentative.switches, False
        )
        for r in run:
            self._accept(target, r, rules, events)
        self.tentative_tracks.append(left)

    def _split_if_two(self, tentative: TentativeTrack, r: Any, rules: TrackRules, events: list[TrackEvent]) -> bool:
        since = r[1] - rules.side_window_s
        if (
            len(tentative.switches) < rules.side_switches
            or len(tentative.own) < rules.side_reports
            or len(tentative.other) < rules.side_reports
            or min(tentative.switches[0], tentative.own[0], tentative.other[0]) < since
            or len(self.targets) >= TARGETS_MAX
            or not tentative.pending
        ):
            return False
        self.tentative_tracks.remove(tentative)
        events.append(IdentityConflict(tentative.target, self.next_target, tentative.pending[0][1], r))
        self._open(tentative.pending, events)
        return True

    # ------------------------------------------------------------------ lines and sides begin and end

    def _open(self, reports: list[Any], events: list[TrackEvent]) -> None:
        first = reports[0]
        target = Target(self.next_target, self._name(first, None), first[1], reports[-1])
        self.next_target += 1
        self.targets.append(target)
        events.extend(Accepted(target.number, i == 0, target.track_id, r) for i, r in enumerate(reports))

    def _cut(self, target: Target, r: Any, events: list[TrackEvent]) -> None:
        events.append(TrackEnded(target.number, target.track_id, target.last[1], r[1], EndReason.CUT))
        target.track_id = self._name(r, target)
        target.start = r[1]

    def _end_targets(self, t: float, rules: TrackRules, events: list[TrackEvent]) -> None:
        for target in [target for target in self.targets if t > target.last[1] + rules.gap_max_s]:
            self.targets.remove(target)
            for tentative in [s for s in self.tentative_tracks if s.target == target.number]:
                self._drop_tentative(tentative, events)
            t_last = target.last[1]
            events.append(TrackEnded(target.number, target.track_id, t_last, t_last + rules.gap_max_s, EndReason.GAP))

    def _evict_tentative(self, t: float, rules: TrackRules, events: list[TrackEvent]) -> None:
        """Reject what is older than the window, except the run that goes on alone: it may be the ship."""
        since = t - rules.side_window_s
        for tentative in list(self.tentative_tracks):
            n = 0
            while n < len(tentative.pending) - tentative.run and tentative.pending[n][1] < since:
                events.append(Rejected(Reason.DISPLACED, tentative.pending[n]))
                n += 1
            del tentative.pending[:n]
            if not tentative.pending and tentative.last[1] < since:
                self.tentative_tracks.remove(tentative)

    def _drop_tentative(self, tentative: TentativeTrack, events: list[TrackEvent]) -> None:
        self.tentative_tracks.remove(tentative)
        events.extend(Rejected(Reason.DISPLACED, r) for r in tentative.pending)

    def _target(self, number: int) -> Target:
        return next(target for target in self.targets if target.number == number)

    def _name(self, first: Any, target: Target | None) -> str:
        taken = {other.track_id for other in self.targets if other is not target}
        suffix = 1
        while (name := track_name(first[0], first[1], suffix)) in taken:
            suffix += 1
        return name


def _insert(buffered: list[Any], report: Any) -> None:
    """Into its place by time, and among equal times by content."""
    i = bisect_right(buffered, report[1], key=lambda r: r[1])
    if i and buffered[i - 1][1] == report[1]:
        key = content_key(report)
        while i and buffered[i - 1][1] == report[1] and content_key(buffered[i - 1]) > key:
            i -= 1
    buffered.insert(i, report)


def _note(times: list[float], t: float, n: int) -> None:
    """Append, and keep the last ``n``."""
    times.append(t)
    if len(times) > n:
        del times[0]
