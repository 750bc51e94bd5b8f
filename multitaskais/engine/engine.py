"""The main path: a run of reports in, what follows from them out.

    report -> clock -> tracker -> sampler -> panel -> alert life

``Fleet`` is a deterministic fold over one partition's log. It knows no Kafka, no wall clock and no randomness: the same log
gives the same events however it is cut into runs, also when it was written to bytes and read back between two of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sized
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..detection.lifecycle import LineInfo
from ..errors import ModelNotFound
from ..model.folder import Model
from ..records import REPORT_DTYPE, Alert, NotJudged, Reason, Verdict
from ..tracks.quality import REASONS, screen
from ..tracks.resample import LINE_DTYPE, complete, interpolate
from ..tracks.sampler import Due, SlotSampler
from ..tracks.tracker import Accepted, IdentityConflict, Jump, Rejected, TrackEnded, TrackEvent, VesselTracker
from ..tracks.watermark import PartitionClock
from .events import Events, LineState, ModelStep, Seen, VesselState
from .rollout import Find, Succession
from .state import (
    StoredLine,
    StoredPartition,
    StoredRow,
    layout,
    read_partition,
    read_row,
    read_vessel,
    write_partition,
    write_vessel,
)

_SHIP_TYPE = REPORT_DTYPE.names.index("ship_type")  # type: ignore[union-attr]
_SHIP_NAME = REPORT_DTYPE.names.index("ship_name")  # type: ignore[union-attr]


class _Step(NamedTuple):
    """A sample that is due, or something that happened to a line."""

    order: int  # index of the report that brought it
    line: LineState
    info: LineInfo
    what: Due | Jump | IdentityConflict | TrackEnded


class Fleet:
    """All vessels of one partition: state, and the fold that moves it.

    Args:
        model: region, rules and panel; its alerts are the product's.
        challenger: a second model of the same region that runs silently beside it; its alerts are marked.
        ordered: the reports come in order of time (an archive that was read whole and sorted), so none can be ahead of its time or
            behind, and each says that the log is complete up to itself.
        trace: keep what was seen of each sample (grows with the input).
        timer: seconds, to measure the models' steps with; nothing that is decided rests on it.
        place: name or folder of the model; kept in the state beside its version.
        find: loads the models that are announced in the log, or that a stored state names.
    """

    def __init__(
        self,
        model: Model,
        *,
        challenger: Model | None = None,
        ordered: bool = False,
        trace: bool = False,
        timer: Callable[[], float] | None = None,
        place: str = "",
        find: Find | None = None,
    ) -> None:
        self.model = model  # of those that speak, the first: its region and track rules are those of all
        self._find = find or _nowhere
        self._timer = timer
        self._ordered = ordered
        self.clock = PartitionClock()
        self._trace = trace
        self._vessels: dict[int, VesselState] = {}
        self._capacity = 64
        self._line_rows = np.zeros(self._capacity, LINE_DTYPE)
        self._free = list(range(self._capacity - 1, -1, -1))
        self._ended: list[int] = []  # slots of lines that ended in this run: free once it has been judged
        self._succession = Succession(model, place, challenger, self._capacity)
        # (not later than the vessel's next deadline, mmsi), one entry a vessel: who is silent is found without a search.
        self._deadlines: list[tuple[float, int]] = []
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Vessels in the state."""
        return len(self._vessels)

    def census(self) -> dict[tuple[str, str], int]:
        """Open tracks by what was last said of them: (verdict, reason or empty) -> how many. For the operator's figures."""
        found: dict[tuple[str, str], int] = {}
        standing: dict[str, list[bool]] = {
            version: np.any(judge.rows["alert"]["open"], axis=1).tolist()
            for version, judge in self._succession.judges.items()
        }
        for vessel in self._vessels.values():
            for line in vessel.lines.values():
                said = "abnormal" if standing[line.model][line.slot] else "not_judged" if line.reason else "normal"
                key = said, NotJudged(line.reason).text if said == "not_judged" else ""
                found[key] = found.get(key, 0) + 1
        return found

    # ---------------------------------------------------------------- the fold

    def advance(self, reports: NDArray[np.void]) -> Events:
        """Take (n,) reports of ``REPORT_DTYPE`` in log order; return what follows from them."""
        rules = self.model.track_rules
        events = Events()
        events.counts.received = len(reports)
        codes = screen(reports, self.model.region, rules)
        if self._ordered:
            watermarks = np.maximum.accumulate(reports["t"])
        else:
            codes, watermarks = self.clock.admit(reports, codes, rules)
        steps: list[_Step] = []
        deadlines, vessels, changed = self._deadlines, self._vessels, self._changed
        for i, (report, code, watermark) in enumerate(
            zip(reports.tolist(), codes.tolist(), watermarks.tolist(), strict=True)
        ):
            if deadlines and deadlines[0][0] < watermark:
                self._flush_silent(i, watermark, steps, events)
            if code:
                events.counts.reject(REASONS[code])
                events.rejected.append((i, REASONS[code]))
                continue
            mmsi = report[0]
            vessel = vessels.get(mmsi) or self._open(mmsi, report[1])
            changed.add(mmsi)
            tracker = vessel.tracker
            newest = tracker.newest
            for event in tracker.offer(report, rules):
                # What was held is decided now, or was already by the vessel's silence: by its own clock alone, so that it does not
                # matter how far its partition has come.
                self._take(vessel, event, i, min(report[1], newest + rules.gap_max_s), steps, events)
        self._judge(steps, events)
        if len(watermarks):
            self._settle(float(watermarks[-1]))
        return events

    def advance_watermark(self, t: float) -> Events:
        """It was said that no report older than ``t`` will come: release and close what waited for that."""
        events = Events()
        steps: list[_Step] = []
        self.clock.complete_until(t, self.model.track_rules)
        self._flush_silent(0, t, steps, events)
        self._judge(steps, events)
        self._settle(t)
        return events

    def announce(self, version: str, place: str, since: float) -> bool:
        """It was said that model ``version`` speaks from ``since`` on (Unix s). False when it would without that; raises ``ModelError`` when
        it cannot be found or cannot go on with these tracks: all stays as it was then."""
        known = self._succession.judges.get(version)
        new = self._succession.announce(known.model if known else self._find(version, place), place, since)
        self._settle(-math.inf)
        return new

    def models(self) -> list[tuple[Model, str]]:
        """The models in use, each with its role at the present time of the log: ``before``, ``speaks``, ``next`` or ``challenger``."""
        return self._succession.roles(self.clock.now)

    def _settle(self, watermark: float) -> None:
        def owners() -> set[str]:
            return {line.model for vessel in self._vessels.values() for line in vessel.lines.values()}

        self._succession.settle(watermark, self.model.track_rules, owners)
        self.model = self._succession.first.model

    def _open(self, mmsi: int, t: float) -> VesselState:
        vessel = self._vessels[mmsi] = VesselState(VesselTracker(), {})
        heapq.heappush(self._deadlines, (t, mmsi))
        return vessel

    def _flush_silent(self, order: int, watermark: float, steps: list[_Step], events: Events) -> None:
        rules = self.model.track_rules
        while self._deadlines and self._deadlines[0][0] < watermark:
            _, mmsi = heapq.heappop(self._deadlines)
            vessel = self._vessels[mmsi]
            silent_at = vessel.tracker.silent_at(rules)
            if flushed := vessel.tracker.flush(rules, watermark):
                self._changed.add(mmsi)
                for event in flushed:
                    self._take(vessel, event, order, silent_at, steps, events)
            if vessel.tracker.forgettable(rules, watermark):
                del self._vessels[mmsi]
                self._changed.add(mmsi)
            else:
                heapq.heappush(self._deadlines, (vessel.tracker.next_deadline(rules), mmsi))

    def _take(
        self, vessel: VesselState, event: TrackEvent, order: int, decided_at: float, steps: list[_Step], events: Events
    ) -> None:
        """One event of a tracker: reports go on to the line's sampler, the rest waits its turn between the samples."""
        if isinstance(event, Accepted):
            events.counts.accepted += 1
            report = event.report
            line = vessel.lines.get(event.line) or self._open_line(vessel, event)
            if new_track := line.track_id != event.track_id:
                line.track_id = event.track_id
            if report[_SHIP_TYPE] >= 0:
                line.ship_type = report[_SHIP_TYPE]
            if report[_SHIP_NAME]:
                line.ship_name = report[_SHIP_NAME]
            for due in line.sampler.feed(report, new_track):
                steps.append(_Step(order, line, _info(line, decided_at), due))
        elif isinstance(event, Rejected):
            events.counts.reject(event.reason)
            if event.reason is Reason.LATE:
                events.rejected.append((order, event.reason))
        elif isinstance(event, TrackEnded):
            if event.why == "gap":
                line = vessel.lines.pop(event.line)
                steps.append(_Step(order, line, _info(line, event.t_end), event))
                self._ended.append(line.slot)
        else:
            line = vessel.lines[event.line if isinstance(event, Jump) else event.main_line]
            steps.append(_Step(order, line, _info(line, decided_at), event))

    # ---------------------------------------------------------------- judgement

    def _judge(self, steps: list[_Step], events: Events) -> None:
        """All steps of a run. Lines know nothing of each other, so the k-th samples of all lines are judged together."""
        samples = interpolate([s.what for s in steps if isinstance(s.what, Due)])
        queues: dict[int, list[tuple[_Step, int]]] = {}
        n = 0
        for step in steps:
            queues.setdefault(step.line.slot, []).append((step, n))
            n += isinstance(step.what, Due)
        told: list[tuple[int, Alert]] = []
        verdicts: dict[int, tuple[int, Verdict]] = {}  # of each line its last, with the number of its sample
        waiting = [iter(queue) for queue in queues.values()]
        while waiting:
            batch: list[tuple[_Step, int]] = []
            unfinished = []
            for queue in waiting:
                for step, index in queue:
                    if isinstance(step.what, Due):
                        batch.append((step, index))
                        unfinished.append(queue)
                        break
                    told.extend((step.order, alert) for alert in self._happened(step))
            if batch:
                self._step([s for s, _ in batch], [i for _, i in batch], samples, told, verdicts, events)
            waiting = unfinished
        told.sort(key=lambda x: x[0])  # stable: those of one report stay in the order in which they were decided
        events.alerts.extend(alert for _, alert in told)
        # In the order of the log: a vessel with two lines has the same present verdict however the log is cut into runs.
        events.verdicts.extend(verdict for _, verdict in sorted(verdicts.values(), key=lambda x: x[0]))
        self._free.extend(reversed(self._ended))
        self._ended.clear()

    def _step(
        self,
        steps: list[_Step],
        numbers: list[int],
        all_samples: NDArray[np.void],
        told: list[tuple[int, Alert]],
        verdicts: dict[int, tuple[int, Verdict]],
        events: Events,
    ) -> None:
        """One sample of each of n lines: the panel's step, then what is told of it."""
        slots = np.array([s.line.slot for s in steps])
        infos = [s.info for s in steps]
        samples = all_samples[numbers]
        samples["ship_type"] = [info.ship_type for info in infos]
        self._line_rows[slots], samples = complete(self._line_rows[slots], samples, self.model.detection_rules)
        turns = self._succession.turns([s.line.model for s in steps], slots, samples["t"])
        for judge, at, speaks, tells in turns:
            mine = steps if isinstance(at, slice) else [steps[i] for i in at]
            here, seen, infos = slots[at], samples[at], [s.info for s in mine]
            start = self._timer() if self._timer else 0.0
            rows, result = judge.step(here, seen)
            if self._timer:
                events.steps.append(ModelStep(len(mine), self._timer() - start))
            if tells:
                told.extend((mine[i].order, alert) for i, alert in judge.life.judge(rows, seen, result, infos))
            judge.rows[here] = rows
            if speaks:
                for step, reason in zip(mine, result.reason.tolist(), strict=True):
                    step.line.reason = reason
                    step.line.model = judge.model.version
                said = judge.life.verdicts(rows, seen, result, infos)
                which = numbers if isinstance(at, slice) else [numbers[i] for i in at]
                verdicts.update(zip(here.tolist(), zip(which, said, strict=True), strict=True))
                if self._trace and judge.model.panel.names == self.model.panel.names:
                    events.seen.append(Seen([info.track_id for info in infos], seen, result))

    def _happened(self, step: _Step) -> list[Alert]:
        """A jump, a conflict of identities or the end of a line."""
        alerts: list[Alert] = []
        for judge in self._succession.tellers(step.line.model):
            row = judge.rows[step.line.slot]
            if isinstance(step.what, Jump):
                alerts += judge.life.on_jump(row, step.what, step.info)
            elif isinstance(step.what, IdentityConflict):
                alerts += judge.life.on_identity(row, step.what, step.info)
            else:
                alerts += judge.life.on_end(row, step.info)
        return alerts

    # ---------------------------------------------------------------- lines and their rows

    def _open_line(self, vessel: VesselState, event: Accepted) -> LineState:
        slot = self._new_slot()
        model = self._succession.speaker(event.report[1])
        line = LineState(event.report[0], event.line, event.track_id, SlotSampler(), slot, model)
        vessel.lines[event.line] = line
        return line

    def _new_slot(self) -> int:
        if not self._free:
            self._grow(2 * self._capacity)
        slot = self._free.pop()
        self._line_rows[slot] = np.zeros((), LINE_DTYPE)
        self._succession.begin(slot)
        return slot

    def _grow(self, capacity: int) -> None:
        old, self._capacity = self._capacity, capacity
        self._line_rows = np.concatenate([self._line_rows, np.zeros(capacity - old, LINE_DTYPE)])
        self._succession.grow(capacity)
        self._free[:0] = range(capacity - 1, old - 1, -1)

    # ---------------------------------------------------------------- state as bytes

    def snapshot(self) -> dict[int, bytes | None]:
        """The states of the vessels that changed since the last snapshot; None for one that was forgotten."""
        changed = {mmsi: self._to_bytes(self._vessels.get(mmsi)) for mmsi in sorted(self._changed)}
        self._changed.clear()
        return changed

    def partition_state(self) -> bytes:
        """What belongs to the partition and to no vessel: its clock, and which models speak from when."""
        return write_partition(StoredPartition(self.clock, self._succession.reigns))

    def restore(self, vessels: Iterable[tuple[int, bytes]], partition: bytes | None, find: Find | None = None) -> None:
        """Take the states that ``snapshot`` and ``partition_state`` gave, also of older versions.

        The models that speak are those of the state; ``find`` loads them (default: as those that are announced). Raises ``StateError``
        when the state cannot be read, ``ModelError`` when one of them cannot be found.
        """
        replaced: dict[str, str] = {}
        if partition is not None:
            self.clock, reigns = read_partition(partition)
            replaced = self._succession.restore(reigns, find or self._find)
            self.model = self._succession.first.model
        if isinstance(vessels, Sized) and len(vessels) > self._capacity:
            self._grow(1 << (len(vessels) - 1).bit_length())  # once, and not by doubling
        for mmsi, blob in vessels:
            stored = read_vessel(mmsi, blob)
            vessel = self._vessels[mmsi] = VesselState(stored.tracker, {})
            for s in stored.lines:
                slot, owner = self._new_slot(), replaced.get(s.model, s.model) or self.model.version
                line = LineState(mmsi, s.number, s.track_id, s.sampler, slot, owner, s.ship_type, s.ship_name, s.reason)
                vessel.lines[s.number] = line
                self._line_rows[slot] = read_row(s.row, LINE_DTYPE, f"vessel {mmsi}")
                self._succession.take(slot, s, f"vessel {mmsi}")
            self._deadlines.append((stored.tracker.next_deadline(self.model.track_rules), mmsi))
        heapq.heapify(self._deadlines)

    def _to_bytes(self, vessel: VesselState | None) -> bytes | None:
        if vessel is None:
            return None
        lines = [
            StoredLine(
                line.number,
                line.track_id,
                line.sampler,
                line.ship_type,
                line.ship_name,
                StoredRow(layout(LINE_DTYPE), self._line_rows[line.slot].tobytes()),
                self._succession.stored(line.model, line.slot),
                line.reason,
                line.model,
            )
            for line in vessel.lines.values()
        ]
        return write_vessel(vessel.tracker, lines)


def _nowhere(version: str, place: str) -> Model:
    raise ModelNotFound(f"model {version} ({place}) is asked for by the log or its state: start with that model")


def _info(line: LineState, decided_at: float) -> LineInfo:
    return LineInfo(line.mmsi, line.ship_name, line.ship_type, line.track_id, decided_at)
