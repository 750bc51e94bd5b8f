"""The main path: a run of reports in, what follows from them out.

    report -> watermark -> tracker -> sampler -> panel (``judging``) -> alert life

Reports above the limit of speed count as ``too_fast`` and are no part of a vessel's tracks. They go the same way beside them, as if they were
another vessel's (``events.FAST``): the tracker's rules look at them, and of the panel what needs no speed that it has learned.

``PartitionEngine`` is a deterministic fold over the log of one partition. It knows no Kafka, no wall clock and no randomness: the
same log gives the same events however it is cut into runs, also when the state was written to bytes and read back in between.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sized

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, TrackRules
from ..detection.lifecycle import TargetInfo
from ..detection.suppression import Suppression
from ..errors import ModelNotFound
from ..model.folder import Model
from ..records import CONTENT_FIELDS, REPORT_DTYPE, NotJudged, Reason, VerdictKind
from ..row_bytes import take
from ..tracks.displacement import is_jump
from ..tracks.quality import CODE, REASONS, of_fast_craft, screen
from ..tracks.resample import TARGET_DTYPE
from ..tracks.sampler import SlotSampler
from ..tracks.station_clock import StationWatch
from ..tracks.tracker import Accepted, EndReason, Jump, Rejected, Report, TrackEnded, TrackEvent, VesselTracker
from ..tracks.watermark import WatermarkGenerator
from ..types import Reports
from . import ordinary
from .events import FAST, FAST_TRACK, Events, TargetState, VesselState
from .judging import Judging, ReadySteps, Step
from .rollout import FindModel, ModelRollout
from .rows import RowTable
from .state import (
    StoredPartition,
    StoredRow,
    StoredTarget,
    layout,
    read_partition,
    read_row,
    read_vessel,
    write_partition,
    write_vessel,
)

_SHIP_TYPE = REPORT_DTYPE.names.index("ship_type")  # type: ignore[union-attr]
_STATION = REPORT_DTYPE.names.index("station")  # type: ignore[union-attr]
_SHIP_NAME = REPORT_DTYPE.names.index("ship_name")  # type: ignore[union-attr]


class PartitionEngine:
    """All vessels of one partition: their state, and the fold that moves it.

    Args:
        model: region, rules and panel; its alerts are the product's.
        challenger: a second model of the same region that runs beside it (a shadow model); its alerts are marked.
        ordered: the reports come in order of time (an archive that was read whole and sorted), so none can be ahead of its time or
            behind, and each implies that the log is complete up to itself.
        trace: keep what the model saw of each sample (grows with the input).
        keep_samples: give each sample with its judgement beside the alerts and verdicts (``Events.samples``).
        timer: seconds, to measure the models' steps; no result rests on it.
        source: name or folder of the model; kept in the state beside its version.
        find: loads the models that are announced in the log, or that a stored state names.
        elsewhere: (t, mmsi) of a report -> ships under observation then that are judged elsewhere, where the log is not whole.
        one_by_one: move each report on its own, also where all of a run could be moved at once (``ordinary``). The result is the same; this
            is the reference of tests and benchmarks.
    """

    def __init__(
        self,
        model: Model,
        *,
        challenger: Model | None = None,
        ordered: bool = False,
        trace: bool = False,
        keep_samples: bool = False,
        timer: Callable[[], float] | None = None,
        source: str = "",
        find: FindModel | None = None,
        elsewhere: Callable[[float, int], int] | None = None,
        one_by_one: bool = False,
    ) -> None:
        self._elsewhere = elsewhere
        self._one_by_one = one_by_one
        self.model = model  # the first of the rollout: its region and track rules are those of all
        self.clock = WatermarkGenerator()
        self._stations = StationWatch()
        self._find = find or _nowhere
        self._ordered = ordered
        self._vessels: dict[int, VesselState] = {}
        self._rows = RowTable(TARGET_DTYPE)
        self._ended: list[int] = []  # rows of targets that ended in this run: free once it has been judged
        self._rollout = ModelRollout(model, source, challenger, len(self._rows))
        self._judging = Judging(self._rollout, self._rows, trace=trace, keep_samples=keep_samples, timer=timer)
        # (not later than the vessel's next deadline, mmsi): who is silent is found without a search. Of each vessel the entry counts that
        # its state names (``VesselState.deadline``); an older one stays until its time comes and is then passed over.
        self._deadlines: list[tuple[float, int]] = []
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Vessels in the state."""
        return len(self._vessels)

    def open_track_counts(self) -> dict[tuple[str, str], int]:
        """Open tracks by their present verdict: (verdict, reason or empty) -> how many. For the operator's metrics."""
        found: dict[tuple[str, str], int] = {}
        alerted: dict[str, list[bool]] = {
            version: np.any(runner.rows["alert"]["open"], axis=1).tolist()
            for version, runner in self._rollout.runners.items()
        }
        for vessel in self._vessels.values():
            for target in vessel.targets.values():
                abnormal = alerted[target.model][target.slot]
                verdict = VerdictKind.of(abnormal=abnormal, judged=not target.reason)
                why = NotJudged(target.reason).text if verdict is VerdictKind.NOT_JUDGED else ""
                key = str(verdict), why
                found[key] = found.get(key, 0) + 1
        return found

    # ---------------------------------------------------------------- the fold

    def process(self, reports: Reports) -> Events:
        """Move the state over (n,) reports of ``REPORT_DTYPE`` in log order; return what follows from them."""
        rules = self.model.track_rules
        events = Events()
        events.counts.received = len(reports)
        codes = screen(reports, self.model.region, rules)
        fast = of_fast_craft(reports, codes)
        if self._ordered:
            watermarks = np.fmax.accumulate(reports["t"])
        else:
            codes, watermarks = self.clock.admit(reports, codes, rules, fast)
            dated = codes == CODE[Reason.TOO_FAST]
            codes[fast] = CODE[Reason.TOO_FAST]
            fast &= dated
        steps: list[Step] = []
        at = np.arange(len(reports))
        ready: ReadySteps | None = None
        duplicates: list[tuple[int, int]] = []
        if not self._one_by_one and len(reports) >= ordinary.RUN_MIN:
            moved = ordinary.move(reports, codes, watermarks, self._vessels, rules)
            events.counts.accepted += moved.accepted
            self._changed.update(moved.vessels)
            at, ready, duplicates = np.flatnonzero(~moved.done), moved.steps, moved.duplicates
        self._one_after_the_other(reports, codes, fast, watermarks.tolist(), at, steps, events)
        if duplicates:
            self._drop_duplicates(duplicates, events)
        self._judge(steps, events, ready)
        if len(watermarks):
            self._settle(float(watermarks[-1]))
        return events

    def _one_after_the_other(
        self,
        reports: Reports,
        codes: NDArray[np.uint8],
        fast: NDArray[np.bool_],
        watermarks: list[float],
        at: NDArray[np.int64],
        steps: list[Step],
        events: Events,
    ) -> None:
        """Move the reports at ``at``, and end who is silent at any report of the run."""
        rules = self.model.track_rules
        deadlines = self._deadlines
        seen = 0  # reports of the run up to which silence was looked for
        at = at[(codes[at] == 0) | fast[at]]
        for i, report, is_fast in zip(at.tolist(), take(reports, at).tolist(), fast[at].tolist(), strict=True):
            if deadlines and deadlines[0][0] < watermarks[i]:
                self._flush_until(seen, i + 1, watermarks, steps, events)
            seen = i + 1
            self._offer(report[0] + FAST if is_fast else report[0], report, i, rules, steps, events)
        self._flush_until(seen, len(watermarks), watermarks, steps, events)
        bad = np.flatnonzero(codes)
        for code, n in enumerate(np.bincount(codes[bad]).tolist()):
            if n:
                events.counts.reject(REASONS[code], n)
        screened = [(i, REASONS[code]) for i, code in zip(bad.tolist(), codes[bad].tolist(), strict=True)]
        events.rejected = sorted([*screened, *events.rejected], key=lambda one: one[0])  # some were found late

    def _offer(
        self, key: int, report: Report, report_index: int, rules: TrackRules, steps: list[Step], events: Events
    ) -> None:
        """Give a report to the tracker of its vessel, or of what the vessel reports above the limit of speed."""
        vessel = self._vessels.get(key) or self._open(key)
        self._changed.add(key)
        if vessel.tail is not None:
            ordinary.awake(vessel)
        tracker = vessel.tracker
        if not (tracker.buffered or tracker.targets):
            # It begins, or was silent: what comes next is another silence, and not that it is forgotten.
            self._set_deadline(vessel, key, report[1])
        newest = tracker.newest
        if not vessel.is_fast:
            self._watch_station(tracker, report, rules, events)
        displaced = _displaced(vessel)
        for event in tracker.offer(report[:CONTENT_FIELDS], rules):
            if vessel.is_fast and not _is_sure(event, vessel, displaced, rules):
                continue
            # What was buffered is decided now, or was already by the vessel's silence: by its own clock alone, so that it does
            # not matter how far its partition has come.
            self._ingest(vessel, event, report_index, min(report[1], newest + rules.gap_max_s), steps, events)

    def _flush_until(self, seen: int, stop: int, watermarks: list[float], steps: list[Step], events: Events) -> None:
        """End who is silent, each at the first report of ``seen`` to ``stop`` whose watermark is past its deadline."""
        while self._deadlines and (i := bisect_right(watermarks, self._deadlines[0][0], seen, stop)) < stop:
            self._flush_silent(i, watermarks[i], steps, events)
            seen = i + 1

    def _drop_duplicates(self, duplicates: list[tuple[int, int]], events: Events) -> None:
        events.counts.reject(Reason.DUPLICATE, len(duplicates))
        dropped = [(i, one) for i, one in zip(events.dropped_at, events.dropped, strict=True)]
        dropped += [(i, (mmsi, Reason.DUPLICATE)) for i, mmsi in duplicates]
        dropped.sort(key=lambda x: x[0])  # stable: in the order of the log
        events.dropped = [one for _, one in dropped]
        events.dropped_at = [i for i, _ in dropped]

    def advance_watermark(self, t: float) -> Events:
        """A punctuation: no report older than ``t`` will come. Release and close what waited for that."""
        events = Events()
        steps: list[Step] = []
        self.clock.complete_until(t, self.model.track_rules)
        self._flush_silent(0, t, steps, events)
        self._judge(steps, events)
        self._settle(t)
        return events

    def end_silent(self, t: float, *, reopen: bool = False) -> Events:
        """The reports elsewhere have come as far as ``t``: whoever was last heard more than the gap before it is silent, and what
        waited for that is released and closed. Unlike ``advance_watermark`` this refuses nothing that comes later: a wrong ``t``
        ends tracks and does no more. ``reopen``: an archive ends here, the next report may be of any time."""
        events = Events()
        steps: list[Step] = []
        self.clock.hear(t, self.model.track_rules, reopen=reopen)
        self._flush_silent(0, max(t, self.clock.watermark), steps, events)
        self._judge(steps, events)
        self._settle(self.clock.watermark)
        return events

    @property
    def now(self) -> float:
        """Time (Unix s) of the newest report that was believed; -inf before the first."""
        return self.clock.latest

    @property
    def silence_s(self) -> float:
        """For how long (s) a time may lead ``now`` when nothing is wrong: the gap, the lateness, and what a clock may be ahead."""
        rules = self.model.track_rules
        return rules.gap_max_s + rules.lateness_s + rules.future_max_s

    def forget(self, mmsi: int) -> Events:
        """End a vessel's tracks and drop all that is known of it: its next report begins again. ``mmsi``: as in ``snapshot``."""
        events = Events()
        steps: list[Step] = []
        if (vessel := self._vessels.get(mmsi)) is not None:
            ordinary.awake(vessel)
            silent_at = vessel.tracker.silent_at(self.model.track_rules)
            for target in vessel.tracker.targets:
                ended = TrackEnded(target.number, target.track_id, target.last[1], silent_at, EndReason.GAP)
                self._ingest(vessel, ended, 0, silent_at, steps, events)
            self._judge(steps, events)
            del self._vessels[mmsi]
            self._deadlines = [entry for entry in self._deadlines if entry[1] != mmsi]
            heapq.heapify(self._deadlines)
            self._changed.add(mmsi)
        return events

    def withdraw(self, version: str, since: float) -> bool:
        """Model ``version`` does not speak from ``since`` on after all; False when that was never announced, or cannot be undone."""
        undone = self._rollout.withdraw(version, since)
        self._settle(-math.inf)
        return undone

    def suppress(self, number: int, rule: Suppression | None) -> bool:
        """From its event time on, alerts of a kind need a higher score around a place; None withdraws what ``number`` began.

        Not part of ``partition_state``: whoever restores the engine gives it the rules again, in any order.

        Returns:
            False when there was nothing to withdraw.
        """
        if rule is None:
            return self._judging.suppressions.withdraw(number)
        self._judging.suppressions.put(number, rule)
        return True

    def announce(self, version: str, source: str, since: float) -> bool:
        """Schedule a rollout: model ``version`` is active from event time ``since`` on (Unix s).

        Returns:
            False when it would be active from then on anyway.

        Raises:
            ModelError: it cannot be found or cannot go on with these tracks; the state is unchanged then.
        """
        known = self._rollout.runners.get(version)
        new = self._rollout.announce(known.model if known else self._find(version, source), source, since)
        self._settle(-math.inf)
        return new

    def models(self) -> list[tuple[Model, str]]:
        """The models in use, each with its role at the log's present time: ``retiring``, ``active``, ``staged``, ``challenger``."""
        return self._rollout.roles(self.clock.now)

    def _settle(self, watermark: float) -> None:
        def owners() -> set[str]:
            return {target.model for vessel in self._vessels.values() for target in vessel.targets.values()}

        self._rollout.settle(watermark, self.model.track_rules, owners)
        self.model = self._rollout.first.model

    def _watch_station(self, tracker: VesselTracker, report: Report, rules: TrackRules, events: Events) -> None:
        """Note a report that cannot follow the one of its vessel that arrived before it."""
        if tracker.buffered:
            before = tracker.buffered[-1]
        elif len(tracker.targets) == 1:
            before = tracker.targets[0].last
        else:
            return
        first, then = (before, report) if before[1] <= report[1] else (report, before)
        if then[1] - first[1] > rules.gap_max_s or not is_jump(first, then, rules):
            return
        more = self._elsewhere

        def observed() -> int:
            return self._observed() + (more(report[1], report[0]) if more else 0)

        began = self._stations.note(report[:CONTENT_FIELDS], before, report[_STATION], observed)
        if began is not None:
            events.station_clocks.append(began)

    def _observed(self) -> int:
        """Vessels with an open track."""
        return sum(
            1
            for vessel in self._vessels.values()
            if (vessel.tracker.targets or vessel.tracker.buffered) and not vessel.is_fast
        )

    def _open(self, key: int) -> VesselState:
        vessel = self._vessels[key] = VesselState(VesselTracker(), {}, math.inf, key >= FAST)
        return vessel

    def _set_deadline(self, vessel: VesselState, mmsi: int, t: float) -> None:
        """Look at the vessel when the watermark has passed ``t``, which is not later than its next deadline."""
        vessel.deadline = t
        heapq.heappush(self._deadlines, (t, mmsi))

    def _flush_silent(self, report_index: int, watermark: float, steps: list[Step], events: Events) -> None:
        """End who is silent, in the order of their deadlines."""
        rules = self.model.track_rules
        while self._deadlines and self._deadlines[0][0] < watermark:
            at, mmsi = heapq.heappop(self._deadlines)
            vessel = self._vessels.get(mmsi)
            if vessel is None or vessel.deadline != at:
                continue
            if (
                due := vessel.tracker.next_deadline(rules)
            ) > at:  # heard since then: in the order of the deadlines themselves
                self._set_deadline(vessel, mmsi, due)
                continue
            ordinary.awake(vessel)
            silent_at = vessel.tracker.silent_at(rules)
            displaced = _displaced(vessel)
            if flushed := vessel.tracker.flush(rules, watermark):
                self._changed.add(mmsi)
                for event in flushed:
                    if vessel.is_fast and not _is_sure(event, vessel, displaced, rules):
                        continue
                    self._ingest(vessel, event, report_index, silent_at, steps, events)
            if vessel.tracker.evictable(rules, watermark):
                del self._vessels[mmsi]
                self._changed.add(mmsi)
            else:
                self._set_deadline(vessel, mmsi, vessel.tracker.next_deadline(rules))

    def _ingest(
        self,
        vessel: VesselState,
        event: TrackEvent,
        report_index: int,
        decided_at: float,
        steps: list[Step],
        events: Events,
    ) -> None:
        """One event of a tracker: a report goes on to its target's sampler, the rest waits its turn between the samples."""
        if isinstance(event, Accepted):
            events.counts.accepted += not vessel.is_fast
            report = event.report
            target = vessel.targets.get(event.target) or self._open_target(vessel, event)
            track_id = event.track_id + FAST_TRACK if vessel.is_fast else event.track_id
            if new_track := target.track_id != track_id:
                target.track_id = track_id
            if report[_SHIP_TYPE] >= 0:
                target.ship_type = report[_SHIP_TYPE]
            if report[_SHIP_NAME]:
                target.ship_name = report[_SHIP_NAME]
            for due in target.sampler.feed(report, new_track):
                steps.append(Step(report_index, target, _info(target, decided_at), due))
        elif isinstance(event, Rejected):
            if vessel.is_fast:
                return  # it was counted as ``too_fast`` when it came
            reason = event.reason
            if reason is Reason.DISPLACED and self._stations.explains(event.report[0], event.report[1]):
                reason = Reason.STATION_CLOCK
            events.counts.reject(reason)
            events.dropped.append((event.report[0], reason))
            events.dropped_at.append(report_index)
            if event.reason is Reason.LATE:
                events.rejected.append((report_index, event.reason))
        elif isinstance(event, TrackEnded):
            if event.why is EndReason.GAP:
                target = vessel.targets.pop(event.target)
                steps.append(Step(report_index, target, _info(target, event.t_end), event))
                self._ended.append(target.slot)
        else:
            since = event.after[1] if isinstance(event, Jump) else event.since_t
            target = vessel.targets[event.target if isinstance(event, Jump) else event.main_target]
            if self._stations.explains(target.mmsi, since):
                return  # the ship is where it was: the clock of who received it is wrong
            steps.append(Step(report_index, target, _info(target, decided_at), event))

    def _judge(self, steps: list[Step], events: Events, ready: ReadySteps | None = None) -> None:
        self._judging.judge(steps, events, ready)
        self._rows.release(self._ended)
        self._ended.clear()

    def _open_target(self, vessel: VesselState, event: Accepted) -> TargetState:
        slot = self._new_slot()
        model = self._rollout.active_version(event.report[1])
        track_id = event.track_id + FAST_TRACK if vessel.is_fast else event.track_id
        target = TargetState(event.report[0], event.target, track_id, SlotSampler(), slot, model)
        vessel.targets[event.target] = target
        return target

    def _new_slot(self) -> int:
        slot = self._rows.allocate()
        self._rollout.grow(len(self._rows))
        self._rollout.begin(slot)
        return slot

    # ---------------------------------------------------------------- state as bytes

    def snapshot(self) -> dict[int, bytes | None]:
        """The states of the vessels that changed since the last snapshot; None for one that was evicted.

        A vessel's number is its MMSI; of what it reports above the limit of speed, that and ``events.FAST``.
        """
        changed = {mmsi: self._to_bytes(self._vessels.get(mmsi)) for mmsi in sorted(self._changed)}
        self._changed.clear()
        return changed

    def partition_state(self) -> bytes:
        """What belongs to the partition and to no vessel: its watermark, and which models are active from when."""
        return write_partition(StoredPartition(self.clock, self._rollout.activations, self._stations))

    def restore(
        self, vessels: Iterable[tuple[int, bytes]], partition: bytes | None, find: FindModel | None = None
    ) -> None:
        """Take the states that ``snapshot`` and ``partition_state`` gave, also of older versions.

        The active models are those of the state; ``find`` loads them (default: as those that are announced). Raises ``StateError``
        when the state cannot be read, ``ModelError`` when one of them cannot be found.
        """
        replaced: dict[str, str] = {}
        if partition is not None:
            self.clock, activations, self._stations = read_partition(partition)
            replaced = self._rollout.restore(activations, find or self._find)
            self.model = self._rollout.first.model
        if isinstance(vessels, Sized) and len(vessels) > len(self._rows):
            self._rows.reserve(1 << (len(vessels) - 1).bit_length())  # once, and not by doubling
            self._rollout.grow(len(self._rows))
        for mmsi, blob in vessels:
            stored = read_vessel(mmsi, blob)
            due = stored.tracker.next_deadline(self.model.track_rules)
            vessel = self._vessels[mmsi] = VesselState(stored.tracker, {}, due, mmsi >= FAST)
            for s in stored.targets:
                slot, owner = self._new_slot(), replaced.get(s.model, s.model) or self.model.version
                target = TargetState(
                    mmsi % FAST, s.number, s.track_id, s.sampler, slot, owner, s.ship_type, s.ship_name, s.reason
                )
                vessel.targets[s.number] = target
                self._rows.data[slot] = read_row(s.row, TARGET_DTYPE, f"vessel {mmsi}")
                self._rollout.take(slot, s, f"vessel {mmsi}")
            self._deadlines.append((due, mmsi))
        heapq.heapify(self._deadlines)

    def _to_bytes(self, vessel: VesselState | None) -> bytes | None:
        if vessel is None:
            return None
        tracker, sampler = ordinary.stored(vessel)
        targets = [
            StoredTarget(
                target.number,
                target.track_id,
                sampler or target.sampler,
                target.ship_type,
                target.ship_name,
                StoredRow(layout(TARGET_DTYPE), self._rows.data[target.slot].tobytes()),
                self._rollout.stored(target.model, target.slot),
                target.reason,
                target.model,
            )
            for target in vessel.targets.values()
        ]
        return write_vessel(tracker, targets)


def _displaced(vessel: VesselState) -> list[Report]:
    """The last report of each side of a fast craft."""
    return [side.last for side in vessel.tracker.tentative_tracks] if vessel.is_fast else []


def _is_sure(event: TrackEvent, vessel: VesselState, displaced: list[Report], rules: TrackRules) -> bool:
    """False for a jump of a fast craft that a garbled report explains; adds its report to ``displaced``.

    Of the reports above the limit of speed many are garbled in more than their speed. So a jump counts from the second displaced report on
    that follows from another within ten minutes, and of a line that was seen to go on for longer than a pair of reports.
    """
    if not isinstance(event, Jump):
        return True
    t = event.after[1]
    follows = any(t - STEP_S <= side[1] <= t and not is_jump(side, event.after, rules) for side in displaced)
    displaced.append(event.after)
    target = vessel.targets.get(event.target)
    return follows and target is not None and (target.sampler.n > 0 or target.sampler.pairs > 0)


def _nowhere(version: str, source: str) -> Model:
    raise ModelNotFound(f"model {version} ({source}) is named by the log or its state: start with that model")


def _info(target: TargetState, decided_at: float) -> TargetInfo:
    return TargetInfo(target.mmsi, target.ship_name, target.ship_type, target.track_id, decided_at)
