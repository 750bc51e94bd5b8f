"""The main path: a run of reports in, what follows from them out.

    report -> clock -> tracker -> sampler -> panel -> alert life

``Fleet`` is a deterministic fold over one partition's log. It knows no Kafka, no wall clock and no randomness: the same log
gives the same events however it is cut into runs, also when it was written to bytes and read back between two of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .detection.lifecycle import LineInfo
from .detection.panel import StepResult
from .modelfolder import Model
from .records import REPORT_DTYPE, Alert, Counts, NotJudged, Reason, Verdict
from .state import StoredLine, StoredRow, layout, read_clock, read_row, read_vessel, write_clock, write_vessel
from .tracks.clock import PartitionClock
from .tracks.resample import LINE_DTYPE, complete, interpolate
from .tracks.sampler import Due, SlotSampler
from .tracks.screen import REASONS, screen
from .tracks.tracker import Accepted, IdentityConflict, Jump, Rejected, TrackEnded, TrackEvent, VesselTracker

_SHIP_TYPE = REPORT_DTYPE.names.index("ship_type")  # type: ignore[union-attr]
_SHIP_NAME = REPORT_DTYPE.names.index("ship_name")  # type: ignore[union-attr]


@dataclass(slots=True)
class Events:
    """What one run of reports led to, in the order of the log."""

    alerts: list[Alert] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)  # the last of each line that was looked at
    rejected: list[tuple[int, Reason]] = field(default_factory=list)  # (index in the run, why), decided on arrival
    counts: Counts = field(default_factory=Counts)
    seen: list[Seen] = field(default_factory=list)  # when a trace is asked for
    steps: list[ModelStep] = field(default_factory=list)  # when a timer is given


class Seen(NamedTuple):
    """What the first model saw in one step of n lines; for evaluation and pictures."""

    track_ids: list[str]
    samples: NDArray[np.void]
    result: StepResult


class ModelStep(NamedTuple):
    """One step of one model over n lines at once; for the operator's figures."""

    lines: int
    seconds: float


class LineState(msgspec.Struct):
    """One ship as we see it: a vessel has one line, or two when two ships share its MMSI."""

    mmsi: int
    number: int
    track_id: str
    sampler: SlotSampler
    slot: int  # its row in the tables
    ship_type: int = -1
    ship_name: bytes = b""
    reason: int = NotJudged.TOO_SHORT  # why its last sample has no judgement; 0 when it has one


class VesselState(msgspec.Struct):
    """All that is known of one MMSI, but for the rows of its lines."""

    tracker: VesselTracker
    lines: dict[int, LineState]


class _Step(NamedTuple):
    """A sample that is due, or something that happened to a line."""

    order: int  # index of the report that brought it
    line: LineState
    info: LineInfo
    what: Due | Jump | IdentityConflict | TrackEnded


class _Judge:
    """One model's rows, one a line, and what it says of them."""

    def __init__(self, model: Model, capacity: int, *, challenger: bool) -> None:
        self.model = model
        self.life = model.alert_life(challenger=challenger)
        self.fresh = model.panel.initial(1)[0]
        self.rows = model.panel.initial(capacity)

    def grow(self, capacity: int) -> None:
        # Zeros that nobody touches take no memory; a line writes its first row when it gets the slot.
        rows = np.zeros(capacity, self.rows.dtype)
        rows[: len(self.rows)] = self.rows
        self.rows = rows


class Fleet:
    """All vessels of one partition: state, and the fold that moves it.

    Args:
        model: region, rules and panel; its alerts are the product's.
        challenger: a second model of the same region that runs silently beside it; its alerts are marked.
        ordered: the reports come in order of time (an archive that was read whole and sorted), so none can be ahead of its time or
            behind, and each says that the log is complete up to itself.
        trace: keep what was seen of each sample (grows with the input).
        timer: seconds, to measure the models' steps with; nothing that is decided rests on it.
    """

    def __init__(
        self,
        model: Model,
        *,
        challenger: Model | None = None,
        ordered: bool = False,
        trace: bool = False,
        timer: Callable[[], float] | None = None,
    ) -> None:
        self.model = model
        self._timer = timer
        self._ordered = ordered
        self.clock = PartitionClock()
        self._trace = trace
        self._vessels: dict[int, VesselState] = {}
        self._capacity = 64
        self._line_rows = np.zeros(self._capacity, LINE_DTYPE)
        self._free = list(range(self._capacity - 1, -1, -1))
        self._ended: list[int] = []  # slots of lines that ended in this run: free once it has been judged
        self._judges = [_Judge(model, self._capacity, challenger=False)]
        if challenger is not None:
            self._judges.append(_Judge(challenger, self._capacity, challenger=True))
        # (not later than the vessel's next deadline, mmsi), one entry a vessel: who is silent is found without a search.
        self._deadlines: list[tuple[float, int]] = []
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Vessels in the state."""
        return len(self._vessels)

    def census(self) -> dict[tuple[str, str], int]:
        """Open tracks by what was last said of them: (verdict, reason or empty) -> how many. For the operator's figures."""
        found: dict[tuple[str, str], int] = {}
        standing: list[bool] = np.any(self._judges[0].rows["alert"]["open"], axis=1).tolist()
        for vessel in self._vessels.values():
            for line in vessel.lines.values():
                said = "abnormal" if standing[line.slot] else "not_judged" if line.reason else "normal"
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
        for i, (report, code, watermark) in enumerate(
            zip(reports.tolist(), codes.tolist(), watermarks.tolist(), strict=True)
        ):
            if self._deadlines and self._deadlines[0][0] < watermark:
                self._flush_silent(i, watermark, steps, events)
            if code:
                events.counts.reject(REASONS[code])
                events.rejected.append((i, REASONS[code]))
                continue
            mmsi = report[0]
            vessel = self._vessels.get(mmsi) or self._open(mmsi, report[1])
            self._changed.add(mmsi)
            # What was held is decided now, or was already by the vessel's silence: by its own clock alone, so that it does not
            # matter how far its partition has come.
            decided_at = min(report[1], vessel.tracker.silent_at(rules))
            for event in vessel.tracker.offer(report, rules):
                self._take(vessel, event, i, decided_at, steps, events)
        self._judge(steps, events)
        return events

    def advance_watermark(self, t: float) -> Events:
        """It was said that no report older than ``t`` will come: release and close what waited for that."""
        events = Events()
        steps: list[_Step] = []
        self.clock.complete_until(t, self.model.track_rules)
        self._flush_silent(0, t, steps, events)
        self._judge(steps, events)
        return events

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
            new_track = line.track_id != event.track_id
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
        for judge in self._judges:
            start = self._timer() if self._timer else 0.0
            rows, result = judge.model.panel.step(judge.rows[slots], samples)
            if self._timer:
                events.steps.append(ModelStep(len(steps), self._timer() - start))
            told.extend((steps[i].order, alert) for i, alert in judge.life.judge(rows, samples, result, infos))
            judge.rows[slots] = rows
            if judge is self._judges[0]:
                for step, reason in zip(steps, result.reason.tolist(), strict=True):
                    step.line.reason = reason
                said = judge.life.verdicts(rows, samples, result, infos)
                verdicts.update(zip(slots.tolist(), zip(numbers, said, strict=True), strict=True))
                if self._trace:
                    events.seen.append(Seen([info.track_id for info in infos], samples, result))

    def _happened(self, step: _Step) -> list[Alert]:
        """A jump, a conflict of identities or the end of a line."""
        alerts: list[Alert] = []
        for judge in self._judges:
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
        line = LineState(event.report[0], event.line, event.track_id, SlotSampler(), slot)
        vessel.lines[event.line] = line
        return line

    def _new_slot(self) -> int:
        if not self._free:
            old, self._capacity = self._capacity, 2 * self._capacity
            self._line_rows = np.concatenate([self._line_rows, np.zeros(self._capacity - old, LINE_DTYPE)])
            for judge in self._judges:
                judge.grow(self._capacity)
            self._free = list(range(self._capacity - 1, old - 1, -1))
        slot = self._free.pop()
        self._line_rows[slot] = np.zeros((), LINE_DTYPE)
        for judge in self._judges:
            judge.rows[slot] = judge.fresh
        return slot

    # ---------------------------------------------------------------- state as bytes

    def snapshot(self) -> dict[int, bytes | None]:
        """The states of the vessels that changed since the last snapshot; None for one that was forgotten."""
        changed = {mmsi: self._to_bytes(self._vessels.get(mmsi)) for mmsi in sorted(self._changed)}
        self._changed.clear()
        return changed

    def partition_state(self) -> bytes:
        """What belongs to the partition and to no vessel: its clock."""
        return write_clock(self.clock)

    def restore(self, vessels: Iterable[tuple[int, bytes]], partition: bytes | None) -> None:
        """Take the states that ``snapshot`` and ``partition_state`` gave, also of older versions; raises ``StateError`` when they cannot be read."""
        if partition is not None:
            self.clock = read_clock(partition)
        for mmsi, blob in vessels:
            stored = read_vessel(mmsi, blob)
            vessel = self._vessels[mmsi] = VesselState(stored.tracker, {})
            for s in stored.lines:
                line = LineState(
                    mmsi, s.number, s.track_id, s.sampler, self._new_slot(), s.ship_type, s.ship_name, s.reason
                )
                vessel.lines[s.number] = line
                self._line_rows[line.slot] = read_row(s.row, LINE_DTYPE, f"vessel {mmsi}")
                for judge in self._judges:
                    # A model that the state does not know begins with this line as with a new one.
                    if (row := s.judged.get(judge.model.version)) is not None:
                        judge.rows[line.slot] = read_row(row, judge.model.panel.row_dtype, f"vessel {mmsi}")
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
                {
                    judge.model.version: StoredRow(layout(judge.rows.dtype), judge.rows[line.slot].tobytes())
                    for judge in self._judges
                },
                line.reason,
            )
            for line in vessel.lines.values()
        ]
        return write_vessel(vessel.tracker, lines)


def _info(line: LineState, decided_at: float) -> LineInfo:
    return LineInfo(line.mmsi, line.ship_name, line.ship_type, line.track_id, decided_at)
