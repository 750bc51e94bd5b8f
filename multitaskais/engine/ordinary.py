"""The ordinary vessels of a run of reports, all of them at once: the fold of ``PartitionEngine`` as array operations.

Nearly all vessels are ordinary in nearly every run: one line, no jump, no gap, no cut, nothing late. What the tracker, the sampler and the
engine do with their reports is known without looking at one after the other: which are duplicates, which are accepted, which complete a sample,
and with which report of the log that is decided. A vessel of which that is not certain is left alone, and the run moves it report
by report. Either way states and events are the same, bit for bit; the reference is the engine with ``one_by_one``.

Between runs an ordinary vessel keeps its reports as the memory of an array (``Tail``) in the place of the lists of its tracker and sampler. ``awake`` puts the
lists back, ``stored`` gives them for the bytes of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, TrackRules
from ..records import CONTENT_FIELDS, REPORT_DTYPE
from ..row_bytes import put, take
from ..tracks.chain import apart
from ..tracks.displacement import are_copies, is_jump, surely_follow
from ..tracks.resample import between, grid_steps, pair_mismatches
from ..tracks.sampler import PAIR_MIN_S, SlotSampler
from ..tracks.tracker import RATE_MAX, RECENT_MAX, Report, Target, VesselTracker
from ..types import Reports
from .events import Tail, TargetState, VesselState
from .judging import ReadySteps

# A run of fewer reports, or a vessel with fewer in the run, is moved sooner one by one; so is, from lists to arrays, one with few more.
RUN_MIN, VESSEL_MIN, FROM_LISTS_MIN = 256, 3, 6

_CONTENT = ("cog", "sog", "heading", "nav_status", "msg_type")  # what a duplicate has in common, beside its position
_TIED = ("lat", "lon", *_CONTENT, "ship_type", "ship_name")
_NOT_STORED: tuple[int, bytes] = (-1, b"")  # second and station
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Mask = NDArray[np.bool_]


class Moved(NamedTuple):
    """What was done of a run of n reports."""

    done: _Mask  # (n,) the reports of the vessels that were moved
    vessels: list[int]  # their MMSIs
    accepted: int
    steps: ReadySteps | None  # the samples that are due
    duplicates: list[tuple[int, int]]  # (index of the report that released it, MMSI), in the order of the log


def move(
    reports: Reports,
    codes: NDArray[np.uint8],
    watermarks: _Floats,
    vessels: Mapping[int, VesselState],
    rules: TrackRules,
) -> Moved:
    """Move the ordinary vessels of a run; ``codes`` and ``watermarks`` (n,) as the partition's clock gave them."""
    nothing = Moved(np.zeros(len(reports), bool), [], 0, None, [])
    if len(reports) < RUN_MIN:
        return nothing
    offered = np.flatnonzero(codes == 0)
    offered = offered[_by_vessel(reports["mmsi"][offered])]
    mmsi = reports["mmsi"][offered]
    first = np.flatnonzero(np.concatenate([[True], mmsi[1:] != mmsi[:-1]])) if len(mmsi) else np.zeros(0, np.int64)
    chosen, own = _candidates(mmsi[first], np.diff(np.append(first, len(mmsi))), vessels)
    if not len(own.vessels):
        return nothing
    run = _Run(reports, offered[np.repeat(chosen, np.diff(np.append(first, len(mmsi))))], own)
    ordinary, duplicate, accepted = run.look(watermarks, rules)
    if not ordinary.any():
        return nothing
    if not ordinary.all():
        rows = ordinary[run.vessel]
        duplicate, accepted = duplicate[rows], accepted[rows]
        run.leave(ordinary)
    nothing.done[run.log_index] = True
    steps = _sample(run, accepted, rules)
    duplicates = run.released_by(np.flatnonzero(duplicate), rules)[0]
    dropped = sorted(zip(duplicates.tolist(), run.mmsi[run.vessel[duplicate]].tolist(), strict=True))
    _store(run, duplicate, accepted, rules)
    return Moved(nothing.done, run.mmsi.tolist(), int(accepted.sum()), steps, dropped)


def _by_vessel(mmsi: _Ints) -> _Ints:
    """A stable order: by the low and the high 16 bits of numbers of 9 digits, since so short ones are sorted by counting."""
    low = np.argsort((mmsi & 0xFFFF).astype(np.uint16), kind="stable")
    return low[np.argsort((mmsi[low] >> 16).astype(np.uint16), kind="stable")]


class _Own(NamedTuple):
    """The vessels that may be ordinary, and the reports that they hold."""

    vessels: list[VesselState]
    rows: list[bytes]  # of each: as in ``Tail``
    n_recent: list[int]


def _candidates(mmsi: _Ints, counts: _Ints, vessels: Mapping[int, VesselState]) -> tuple[_Mask, _Own]:
    """(vessels of the run,) whether each may be ordinary, and those that may."""
    chosen = np.zeros(len(mmsi), bool)
    own = _Own([], [], [])
    lists: list[tuple[int, int]] = []  # (place in ``own``, number of reports) of those that hold lists
    held: list[tuple[object, ...]] = []
    for i, (number, n) in enumerate(zip(mmsi.tolist(), counts.tolist(), strict=True)):
        if n < VESSEL_MIN or (vessel := vessels.get(number)) is None:
            continue
        if vessel.tail is not None:
            rows, n_recent = vessel.tail
        elif n >= FROM_LISTS_MIN and (kept := _lists(vessel)) is not None:
            lists.append((len(own.vessels), len(kept)))
            held += [(*row, *_NOT_STORED) for row in kept]
            rows, n_recent = b"", len(vessel.tracker.recent)
        else:
            continue
        chosen[i] = True
        own.vessels.append(vessel)
        own.rows.append(rows)
        own.n_recent.append(n_recent)
    table = np.array(held, REPORT_DTYPE)
    begin = 0
    for place, n in lists:
        own.rows[place] = table[begin : begin + n].tobytes()
        begin += n
    return chosen, own


def _lists(vessel: VesselState) -> list[Report] | None:
    """The reports that the lists of an ordinary vessel hold, as in ``Tail``; None where it is not one."""
    tracker = vessel.tracker
    if len(tracker.targets) != 1 or tracker.tentative_tracks or len(vessel.targets) != 1:
        return None
    line = tracker.targets[0]
    target = vessel.targets.get(line.number)
    if target is None or not tracker.recent or not tracker.buffered or tracker.newest != tracker.buffered[-1][1]:
        return None
    sampler = target.sampler
    last, anchor = tracker.recent[-1], sampler.anchor
    if anchor is None or sampler.last is None or sampler.stride != 1 or len(sampler.kept) != sampler.pairs:
        return None
    if not (_equal(last, line.last) and _equal(last, sampler.last)):
        return None
    rows = [anchor, *tracker.recent, *tracker.buffered]
    return rows if all(len(row) == CONTENT_FIELDS for row in rows) else None


def _equal(a: Report, b: Report) -> bool:
    return a is b or (len(a) == len(b) and all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True)))


# ---------------------------------------------------------------- what the vessels say


class _Run:
    """The reports of V vessels: those that each held, then those that came, in the order in which the tracker releases them.

    Attributes:
        rows: (m,) of each vessel: the sampler's anchor, ``recent``, then ``buffered`` with those that came, by time.
        vessel: (m,) 0 .. V - 1. ``begin``: (V + 1,) where each begins.
        log_index: (n,) of those that came, by vessel, in the order of the log: index in the run. ``log_row``: where each is among ``rows``;
            ``log_newest``: where the vessel's newest is then, ``log_before``: where it was before.
    """

    def __init__(self, reports: Reports, log_index: _Ints, own: _Own) -> None:
        came = take(reports, log_index)
        mmsi = came["mmsi"]
        new = np.concatenate([[True], mmsi[1:] != mmsi[:-1]])
        self.vessels = own.vessels
        self.mmsi = mmsi[new]
        self.log_index = log_index
        self.log_vessel = np.cumsum(new) - 1
        counts = np.bincount(self.log_vessel)
        held = np.array([len(rows) for rows in own.rows]) // REPORT_DTYPE.itemsize
        self.n_recent = np.array(own.n_recent)
        self.begin = np.concatenate([[0], np.cumsum(held + counts)])
        self.log_begin = np.concatenate([[0], np.cumsum(counts)])
        held_begin = np.cumsum(held) - held
        m = int(self.begin[-1])
        at_held = np.arange(int(held.sum())) + np.repeat(self.begin[:-1] - held_begin, held)
        self.log_row = np.arange(len(came)) + np.repeat(self.begin[:-1] + held - self.log_begin[:-1], counts)
        self.rows = np.empty(m, REPORT_DTYPE)
        put(self.rows, at_held, np.frombuffer(b"".join(own.rows), REPORT_DTYPE))
        put(self.rows, self.log_row, came)
        self.vessel = np.repeat(np.arange(len(held)), held + counts)
        self.came = np.zeros(m, bool)
        self.came[self.log_row] = True
        self.place = np.arange(m) - self.begin[self.vessel]  # within its vessel
        newest_held = self.begin[:-1] + held - 1
        t = np.ascontiguousarray(self.rows["t"])
        if (self.came[1:] & (t[1:] < t[:-1]) & (self.place[1:] > 0)).any():
            # Those of equal times stay in the order in which they came.
            order = np.lexsort((t, self.place > 0, self.vessel))
            self.rows, self.came, t = take(self.rows, order), self.came[order], t[order]
            row_of = np.empty(m, np.int64)
            row_of[order] = np.arange(m)
            self.log_row, newest_held = row_of[self.log_row], row_of[newest_held]
        self.anchor = self.begin[:-1]  # (V,) row of the sampler's anchor
        self.t = t
        self.lat, self.lon, self.sog = (np.ascontiguousarray(self.rows[f]) for f in ("lat", "lon", "sog"))
        first = self.log_begin[:-1]
        newest = self.log_row.copy()
        newest[first] = np.maximum(newest[first], newest_held)
        self.log_newest = np.maximum.accumulate(newest)  # a later vessel's rows come after
        self.log_before = np.concatenate([[0], self.log_newest[:-1]])
        self.log_before[first] = newest_held

    def leave(self, keep: _Mask) -> None:
        """Go on with some of the vessels alone."""
        rows, log = keep[self.vessel], keep[self.log_vessel]
        number, row = np.cumsum(keep) - 1, np.cumsum(rows) - 1
        self.rows, self.came, self.place = take(self.rows, rows), self.came[rows], self.place[rows]
        self.t, self.lat, self.lon, self.sog = (column[rows] for column in (self.t, self.lat, self.lon, self.sog))
        self.vessel = number[self.vessel[rows]]
        self.log_index, self.log_vessel = self.log_index[log], number[self.log_vessel[log]]
        self.log_row, self.log_newest, self.log_before = (
            row[at[log]] for at in (self.log_row, self.log_newest, self.log_before)
        )
        self.vessels = [v for v, k in zip(self.vessels, keep.tolist(), strict=True) if k]
        self.mmsi, self.n_recent = self.mmsi[keep], self.n_recent[keep]
        self.begin = np.concatenate([[0], np.cumsum(np.bincount(self.vessel))])
        self.log_begin = np.concatenate([[0], np.cumsum(np.bincount(self.log_vessel))])
        self.anchor = self.begin[:-1]

    @property
    def is_pending(self) -> _Mask:
        """(m,) buffered or just come."""
        pending: _Mask = self.place > self.n_recent[self.vessel]
        return pending

    @property
    def newest_t(self) -> _Floats:
        """(V,) time of each vessel's newest report."""
        newest: _Floats = self.t[self.begin[1:] - 1]
        return newest

    # ------------------------------------------------------------ is it ordinary?

    def look(self, watermarks: _Floats, rules: TrackRules) -> tuple[_Mask, _Mask, _Mask]:
        """(V,) whether a vessel is ordinary in this run, and (m,) which reports are released as duplicates, and as accepted ones.

        The last two are certain for ordinary vessels alone.
        """
        n = len(self.vessels)
        special = np.zeros(n, bool)
        trackers = [v.tracker for v in self.vessels]
        floor = np.array([tracker.floor for tracker in trackers])
        start = np.array([tracker.targets[0].start for tracker in trackers])
        # So many that they may be too many, or more than are remembered to look for duplicates.
        for n_reports, within_s in ((RATE_MAX - 1, rules.lateness_s), (RECENT_MAX, rules.copy_s)):
            later, earlier = self.vessel[n_reports:], self.vessel[:-n_reports]
            close = (later == earlier) & (self.t[n_reports:] - self.t[:-n_reports] <= within_s + 1.0)
            special[later[close]] = True
        self._look_on_arrival(watermarks, floor, rules, special)
        released = self.is_pending & (self.t < np.maximum(floor, self.newest_t - rules.lateness_s)[self.vessel])
        matched = self._duplicates(released & ~special[self.vessel], rules)
        accepted = released & ~matched
        # Each accepted one after the line's last, which is the last of the recent ones.
        is_last = self.place == self.n_recent[self.vessel]
        chain = np.flatnonzero(accepted | is_last)
        a, b = chain[:-1], chain[1:]
        follows = ~is_last[b]
        a, b = a[follows], b[follows]
        special[self.vessel[b[self.t[b] > self.t[a] + rules.gap_max_s]]] = True
        special[self.vessel[b[self.t[b] >= (start + rules.cut_s)[self.vessel[b]]]]] = True
        self._jumps(a, b, rules, special)
        return ~special, matched, accepted

    def _look_on_arrival(self, watermarks: _Floats, floor: _Floats, rules: TrackRules, special: _Mask) -> None:
        """What the engine and the tracker ask of each report when it comes."""
        log_t, before_t = self.t[self.log_row], self.t[self.log_before]
        late = (log_t <= before_t) & (log_t < np.maximum(floor[self.log_vessel], before_t - rules.lateness_s))
        silent = before_t + rules.gap_max_s < watermarks[self.log_index]
        special[self.log_vessel[late | silent | (log_t - before_t > rules.gap_max_s)]] = True
        special |= self.newest_t + rules.gap_max_s < watermarks[-1]
        # Of equal times the order is by content; where all of it is equal there is nothing to order. An anchor has no part in it.
        tied = (self.t[1:] == self.t[:-1]) & (self.place[1:] > 1)
        ties = np.flatnonzero(tied & (self.came[1:] | self.came[:-1]))
        special[self.vessel[ties[~self._same(ties, ties + 1, _TIED)]]] = True
        # The station's watch compares each with the newest before it, the earlier of the two first.
        a, b = np.minimum(self.log_row, self.log_before), np.maximum(self.log_row, self.log_before)
        self._jumps(a, b, rules, special)

    def _same(self, a: _Ints, b: _Ints, names: tuple[str, ...]) -> _Mask:
        same = np.ones(len(a), bool)
        if len(a):
            for name in names:
                x, y = self.rows[name][a], self.rows[name][b]
                same &= (x == y) | ((x != x) & (y != y)) if x.dtype.kind == "f" else x == y
        return same

    def _jumps(self, a: _Ints, b: _Ints, rules: TrackRules, special: _Mask) -> None:
        """Note the vessels of which a report ``b`` cannot follow ``a``."""
        fine = surely_follow(
            np.stack([self.t[a], self.lat[a], self.lon[a], self.sog[a]]),
            np.stack([self.t[b], self.lat[b], self.lon[b], self.sog[b]]),
            rules,
        )
        for i in np.flatnonzero(~fine & ~special[self.vessel[b]]).tolist():
            if is_jump(self.rows[a[i]].item(), self.rows[b[i]].item(), rules):
                special[self.vessel[b[i]]] = True

    def _duplicates(self, released: _Mask, rules: TrackRules) -> _Mask:
        """(m,) released reports that are equal to one that counts."""
        matched = np.zeros(len(self.t), bool)
        pairs = []
        counted = self.place > 0  # the anchor may stand among the recent ones once more
        for k in range(1, len(self.t)):
            close = (self.vessel[k:] == self.vessel[:-k]) & (self.t[k:] - self.t[:-k] <= rules.copy_s)
            close &= counted[:-k] & released[k:]
            if not close.any():
                break
            a = np.flatnonzero(close & (self.lat[k:] == self.lat[:-k]) & (self.lon[k:] == self.lon[:-k]))
            b = a + k
            near = (self.t[b] - self.t[a] <= rules.duplicate_s) | are_copies(self.lat[b], self.lon[b], self.sog[b])
            a, b = a[near], b[near]
            same = self._same(a, b, _CONTENT)
            matched[b[same]] = True
            pairs.append((a[same], b[same]))
        certain = np.zeros(len(self.t), bool)
        for a, b in pairs:
            certain[b[~matched[a]]] = True
        if not (doubtful := matched & ~certain).any():
            return matched
        # Equal to one that does not count itself: of those vessels one after the other, a report that counts first.
        doubted = np.zeros(len(self.vessels), bool)
        doubted[self.vessel[doubtful]] = True
        equals: dict[int, list[int]] = {}
        for a, b in pairs:
            mine = doubted[self.vessel[b]]
            for i, j in zip(a[mine].tolist(), b[mine].tolist(), strict=True):
                equals.setdefault(j, []).append(i)
        for j in sorted(equals):
            matched[j] = not all(matched[i] for i in equals[j])
        return matched

    # ------------------------------------------------------------ what follows

    def released_by(self, at: _Ints, rules: TrackRules) -> tuple[_Ints, _Floats]:
        """Of (k,) released reports: the index in the run of the one that released it, and when that decides (Unix s)."""
        vessel = self.vessel[at]
        low, high = self.log_begin[vessel], self.log_begin[vessel + 1]
        newest_t = self.t[self.log_newest] - rules.lateness_s
        # By halves: the first with which the vessel's newest is so much newer.
        while (open_ := low < high).any():
            middle = np.minimum((low + high) >> 1, len(newest_t) - 1)
            after = newest_t[middle] > self.t[at]
            high = np.where(open_ & after, middle, high)
            low = np.where(open_ & ~after, middle + 1, low)
        before_t = self.t[self.log_before[low]]
        return self.log_index[low], np.minimum(self.t[self.log_row[low]], before_t + rules.gap_max_s)


# ---------------------------------------------------------------- samples


def _sample(run: _Run, accepted: _Mask, rules: TrackRules) -> ReadySteps | None:
    """``SlotSampler.feed`` and ``PartitionEngine._ingest`` of all accepted reports; moves the samplers, but for their reports."""
    at = np.flatnonzero(accepted)
    if not len(at):
        return None
    vessel, t = run.vessel[at], run.t[at]
    targets = [next(iter(v.targets.values())) for v in run.vessels]
    samplers = [target.sampler for target in targets]
    origin = np.array([s.origin for s in samplers])
    k0 = np.array([s.k for s in samplers])
    n0 = np.array([s.n for s in samplers])
    k = np.maximum(grid_steps(t, origin[vessel]), k0[vessel])
    new_vessel = np.concatenate([[True], vessel[1:] != vessel[:-1]])
    before_k = np.where(new_vessel, k0[vessel], np.concatenate([[0], k[:-1]]))
    before = np.where(new_vessel, run.begin[vessel] + run.n_recent[vessel], np.concatenate([[0], at[:-1]]))
    due = k - before_k
    values, value_slot = _pairs(run, accepted, at, k)
    slots, kept = _kept(samplers, k0, values, value_slot)
    told = _Told(run, at, new_vessel, targets)
    # The samples that are due, in the order of the log.
    which = np.repeat(np.arange(len(at)), due)
    number = before_k[which] + np.arange(len(which)) - np.repeat(np.cumsum(due) - due, due)
    by, decided = run.released_by(at[which], rules)
    order = np.argsort(by, kind="stable")
    which, number, by, decided = which[order], number[order], by[order], decided[order]
    mine = vessel[which]
    samples = between(
        take(run.rows, before[which]),
        take(run.rows, at[which]),
        origin[mine] + number * STEP_S,
        n0[mine] + (number - k0[mine]),
        _medians(slots, kept, _slot_key(mine, number)),
    )
    samples["ship_type"] = told.ship_type(which)
    steps = ReadySteps(by, targets, mine, samples, told.ship_name(which), decided) if len(which) else None
    # What the lines remember.
    last = np.flatnonzero(np.append(new_vessel[1:], True))
    moved = vessel[last]
    slot = _slot_key(moved, k[last])
    begin, end = np.searchsorted(slots, slot, "left").tolist(), np.searchsorted(slots, slot, "right").tolist()
    in_order = kept.tolist()
    known = told.ship_type(last).tolist(), told.ship_name(last).tolist()
    for v, kind, name, a, b, k_now in zip(moved.tolist(), *known, begin, end, k[last].tolist(), strict=True):
        target, sampler = targets[v], samplers[v]
        target.ship_type, target.ship_name = kind, name
        sampler.n += k_now - sampler.k
        sampler.k = k_now
        sampler.kept = in_order[a:b]
        sampler.pairs = b - a
    return steps


def _slot_key(vessel: _Ints, k: _Ints) -> _Ints:
    return (vessel << 32) + k


def _pairs(run: _Run, accepted: _Mask, at: _Ints, k: _Ints) -> tuple[_Floats, _Ints]:
    """Mismatch of each pair that counts, in order, and its slot; sets where each vessel's anchor is now."""
    node = np.flatnonzero(accepted | (run.place == 0))
    vessel, t = run.vessel[node], run.t[node]
    chain = node[apart(t, np.searchsorted(vessel, np.arange(len(run.vessels) + 1)), PAIR_MIN_S)]
    owner = run.vessel[chain]
    run.anchor = chain[np.flatnonzero(np.append(owner[1:] != owner[:-1], True))]
    columns = np.stack([run.t[chain], run.lat[chain], run.lon[chain], run.sog[chain], run.rows["cog"][chain]])
    if len(chain) < 2:
        return np.zeros(0), np.zeros(0, np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):  # from one vessel to the next
        values, use = pair_mismatches(columns)
    use &= owner[1:] == owner[:-1]
    second = chain[1:][use]
    return values[use], _slot_key(run.vessel[second], k[np.searchsorted(at, second)])


def _kept(samplers: list[SlotSampler], k0: _Ints, values: _Floats, slot: _Ints) -> tuple[_Ints, _Floats]:
    """The mismatches that the samplers held and those of this run, by slot, in the order in which they came.

    Pairs are more than 50 s apart: a slot of 10 minutes never has so many that they are thinned.
    """
    held = [x for s in samplers for x in s.kept]
    counts = np.array([len(s.kept) for s in samplers])
    held_slot = np.repeat(_slot_key(np.arange(len(samplers)), k0), counts)
    slots = np.concatenate([held_slot, slot])
    order = np.argsort(slots, kind="stable")
    return slots[order], np.concatenate([np.array(held, np.float64), values])[order]


def _medians(slots: _Ints, kept: _Floats, wanted: _Ints) -> _Floats:
    """``sampler.median`` of the values of each wanted slot; NaN where it has none."""
    begin = np.searchsorted(slots, wanted, "left")
    count = np.searchsorted(slots, wanted, "right") - begin
    width = int(count.max(initial=0))
    if not width:
        return np.full(len(wanted), np.nan)
    column = np.arange(width)
    there = column < count[:, None]
    values = np.where(there, kept[np.where(there, begin[:, None] + column, 0)], np.inf)
    values.sort(axis=1)
    row, upper = np.arange(len(wanted)), count // 2
    high, low = values[row, np.minimum(upper, width - 1)], values[row, np.maximum(upper - 1, 0)]
    return np.where(count == 0, np.nan, np.where(count % 2 == 1, high, (low + high) * 0.5))


class _Told:
    """Of each accepted report: the ship's type and name as they are known with it."""

    def __init__(self, run: _Run, at: _Ints, new_vessel: _Mask, targets: list[TargetState]) -> None:
        self._vessel, self._targets = run.vessel[at], targets
        self._begin = np.maximum.accumulate(np.where(new_vessel, np.arange(len(at)), 0))
        self._kind, self._name = run.rows["ship_type"][at], run.rows["ship_name"][at]
        self._source = [
            np.maximum.accumulate(np.where(known, np.arange(len(at)), -1))
            for known in (self._kind >= 0, self._name != b"")
        ]

    def ship_type(self, which: _Ints) -> NDArray[np.int16]:
        before = np.array([target.ship_type for target in self._targets], np.int16)
        found: NDArray[np.int16] = self._known(self._source[0], self._kind, before, which)
        return found

    def ship_name(self, which: _Ints) -> NDArray[np.bytes_]:
        before = np.array([target.ship_name for target in self._targets], self._name.dtype)
        found: NDArray[np.bytes_] = self._known(self._source[1], self._name, before, which)
        return found

    def _known(self, source: _Ints, values: NDArray[Any], before: NDArray[Any], which: _Ints) -> NDArray[Any]:
        at = source[which]
        return np.where(at >= self._begin[which], values[np.maximum(at, 0)], before[self._vessel[which]])


# ---------------------------------------------------------------- what the vessels hold


def _store(run: _Run, duplicate: _Mask, accepted: _Mask, rules: TrackRules) -> None:
    """Of each vessel: its newest time, and the reports that it holds from here on."""
    pending = run.is_pending & ~accepted & ~duplicate
    latest = np.full(len(run.vessels), -np.inf)
    at = np.flatnonzero(accepted)
    latest[run.vessel[at]] = run.t[at]  # the last of each vessel's stays
    recent = accepted | ((run.place > 0) & ~run.is_pending)
    recent &= latest[run.vessel] - run.t <= rules.copy_s
    kept = np.flatnonzero(recent | pending)
    counts = np.bincount(run.vessel[kept], minlength=len(run.vessels))
    n_recent = np.bincount(run.vessel[recent], minlength=len(run.vessels))
    begin = np.cumsum(counts + 1) - (counts + 1)
    which = np.empty(len(kept) + len(counts), np.int64)
    which[begin] = run.anchor
    which[np.arange(len(kept)) + 1 + run.vessel[kept]] = kept
    rows = take(run.rows, which)
    newest = run.newest_t
    floor = newest - rules.lateness_s
    bounds = zip(begin.tolist(), (begin + counts + 1).tolist(), n_recent.tolist(), strict=True)
    for vessel, t, low, (a, b, n) in zip(run.vessels, newest.tolist(), floor.tolist(), bounds, strict=True):
        tracker = vessel.tracker
        if vessel.tail is None:
            tracker.buffered, tracker.recent = [], []
        vessel.tail = Tail(rows[a:b].tobytes(), n)
        tracker.newest = t
        if low > tracker.floor:
            tracker.floor = low


def stored(vessel: VesselState) -> tuple[VesselTracker, SlotSampler | None]:
    """The vessel's tracker, and the sampler of its line when its reports are in an array, with the lists that belong to them."""
    tracker = vessel.tracker
    if vessel.tail is None:
        return tracker, None
    rows = [row[:CONTENT_FIELDS] for row in np.frombuffer(vessel.tail.rows, REPORT_DTYPE).tolist()]
    first = 1 + vessel.tail.n_recent
    recent, buffered = rows[1:first], rows[first:]
    line, last = tracker.targets[0], recent[-1]
    whole = VesselTracker(
        tracker.newest,
        tracker.floor,
        buffered,
        recent,
        [Target(line.number, line.track_id, line.start, last)],
        [],
        tracker.next_target,
    )
    s = vessel.targets[line.number].sampler
    return whole, SlotSampler(last, rows[0], s.origin, s.k, s.n, s.pairs, s.stride, s.kept)


def awake(vessel: VesselState) -> None:
    """The vessel is moved one by one from here on: its reports go back into the lists of its tracker and sampler."""
    tracker, sampler = stored(vessel)
    if sampler is not None:
        vessel.tracker, vessel.tail = tracker, None
        vessel.targets[tracker.targets[0].number].sampler = sampler


__all__ = ["Moved", "awake", "move", "stored"]
