"""Due samples of many targets -> the panel's steps -> alerts and verdicts.

Targets know nothing of each other, so the due samples of many targets are judged together, several of each where it has several; what
happens to a target between two of its samples (a jump, an identity conflict, its end) waits for its turn among them. What is
told is in the order in which one sample of each target after another would have told it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..detection.lifecycle import TargetInfo
from ..detection.rings import block_steps
from ..detection.suppression import Suppressions
from ..records import Alert, Verdict
from ..row_bytes import put, take
from ..tracks.resample import complete, interpolate
from ..tracks.sampler import Due
from ..tracks.tracker import IdentityConflict, Jump, TrackEnded
from ..types import Samples
from .events import Events, JudgedSamples, ModelStep, StepTrace, TargetState
from .rollout import ModelRollout
from .rows import RowTable

_Ints = NDArray[np.int64]


class Step(NamedTuple):
    """A sample that is due, or an event of a target."""

    report_index: int  # of the report that led to it, in its run
    target: TargetState
    info: TargetInfo
    what: Due | Jump | IdentityConflict | TrackEnded


class ReadySteps(NamedTuple):
    """m samples that are due and interpolated already, in the order of the log, of targets to which nothing else happens in the run."""

    report_index: _Ints  # (m,) of the report that led to each, in its run
    targets: list[TargetState]
    target: _Ints  # (m,) index into ``targets``
    samples: Samples  # (m,) but for what ``complete`` adds; with the ship's type as it was known
    ship_name: NDArray[np.bytes_]  # (m,) as it was known
    decided: NDArray[np.float64]  # (m,) when each was decided, Unix s


class _Order(NamedTuple):
    """Where something that is told stands among all that a run emits."""

    report_index: int
    step: int  # of its target: how many of its samples were judged before
    of_sample: bool  # what happened to the target before the sample comes first
    model: int
    target: int


class _Queues:
    """All that is due in one run: n samples of Q targets, in the order of the log, and what happens between them.

    Attributes:
        targets: Q, by the first step of each.
        samples: (n,) in the order of the log; the place of one there is its number.
        report_index: (n,) of the report that led to each.
        done: (Q,) samples that were judged.
    """

    def __init__(self, steps: Sequence[Step], ready: ReadySteps | None) -> None:
        self._steps, self._ready = steps, ready
        is_sample = np.array([isinstance(s.what, Due) for s in steps], bool)
        own = interpolate([s.what for s in steps if isinstance(s.what, Due)])
        own["ship_type"] = [s.info.ship_type for s in steps if isinstance(s.what, Due)]
        report_index = np.array([s.report_index for s in steps], np.int64)
        slot = np.array([s.target.slot for s in steps], np.int64)
        of_slot = {s.target.slot: s.target for s in steps}
        if ready is not None:
            # Stable, in the order of the log: what follows at a report from the silence of others comes first.
            report_index = np.concatenate([report_index, ready.report_index])
            slot = np.concatenate([slot, np.array([t.slot for t in ready.targets], np.int64)[ready.target]])
            of_slot |= {t.slot: t for t in ready.targets}
            is_sample = np.concatenate([is_sample, np.ones(len(ready.report_index), bool)])
            order = np.argsort(report_index, kind="stable")
            own = np.concatenate([own, ready.samples])
        else:
            order = np.arange(len(steps))
        slots, first, which = np.unique(slot[order], return_index=True, return_inverse=True)
        by_first = np.argsort(first)
        place_of = np.empty(len(slots), np.int64)
        place_of[by_first] = np.arange(len(slots))
        self.slots = slots[by_first]
        self.targets = [of_slot[s] for s in self.slots.tolist()]
        place = place_of[which]  # of the step's target, in the order of the log

        due = is_sample[order]
        self._step = order[due]  # (n,) place among the steps, then the ready ones
        self.samples = take(own, (np.cumsum(is_sample) - 1)[self._step])
        self.report_index = report_index[self._step]
        of_sample = place[due]
        self._numbers = np.argsort(of_sample, kind="stable")  # target by target
        length = np.bincount(of_sample, minlength=len(slots))
        self._begin = np.cumsum(length) - length
        self.done = np.zeros(len(slots), np.int64)
        # Samples before whatever happens next to each target; what happens: (samples before it, step), in order.
        self._until = length
        self._length = length.copy()
        self._between: dict[int, list[tuple[int, Step]]] = {}
        before = np.cumsum(due)
        for at in np.flatnonzero(~due).tolist():
            q = int(place[at])
            mine = self._numbers[self._begin[q] : self._begin[q] + length[q]]
            self._between.setdefault(q, []).append((int(np.searchsorted(mine, before[at])), steps[order[at]]))
        for q, between in self._between.items():
            self._until[q] = between[0][0]

    def events_now(self) -> Iterator[tuple[int, Step]]:
        """(target, what happens to it) before its next sample; they count as done."""
        for q, between in list(self._between.items()):
            while between and between[0][0] <= self.done[q]:
                yield q, between.pop(0)[1]
            self._until[q] = between[0][0] if between else self._length[q]
            if not between:
                del self._between[q]

    @property
    def run(self) -> _Ints:
        """(Q,) samples that are due before anything else happens."""
        run: _Ints = self._until - self.done
        return run

    def next_numbers(self, targets: _Ints, n_steps: int) -> _Ints:
        """(n_steps * len(targets),) numbers of their next samples, the first of every target before the second of any."""
        first = self._begin[targets] + self.done[targets]
        numbers: _Ints = self._numbers[(first + np.arange(n_steps)[:, None]).reshape(-1)]
        return numbers

    def infos(self, numbers: _Ints) -> Iterator[TargetInfo]:
        """What was known of the target with each of these samples."""
        step = self._step[numbers]
        if self._ready is None:
            yield from (self._steps[at].info for at in step.tolist())
            return
        at, ready = np.maximum(step - len(self._steps), 0), self._ready
        columns = (ready.target[at], ready.ship_name[at], ready.samples["ship_type"][at], ready.decided[at])
        for k, which, name, kind, decided in zip(step.tolist(), *(c.tolist() for c in columns), strict=True):
            if k < len(self._steps):
                yield self._steps[k].info
            else:
                target = ready.targets[which]
                yield TargetInfo(target.mmsi, name, kind, target.track_id, decided)


class _Infos(Sequence[TargetInfo]):
    """What is known of the targets of some samples, made for those that are asked for."""

    def __init__(self, queues: _Queues, numbers: _Ints) -> None:
        self._queues, self._numbers = queues, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, i: int) -> TargetInfo: ...
    @overload
    def __getitem__(self, i: slice) -> _Infos: ...
    def __getitem__(self, i: int | slice) -> TargetInfo | _Infos:
        if isinstance(i, slice):
            return _Infos(self._queues, self._numbers[i])
        return next(self._queues.infos(self._numbers[i : i + 1]))

    def __iter__(self) -> Iterator[TargetInfo]:
        return self._queues.infos(self._numbers)


class Judging:
    """The panels of a rollout over the rows of all open targets.

    Args:
        rollout: the models in use, with their rows.
        rows: what resampling keeps of each target.
        trace: keep what the first model saw of each sample (grows with the input).
        keep_samples: give each sample with its judgement, too.
        timer: seconds, to measure the models' steps; no result rests on it.
    """

    def __init__(
        self,
        rollout: ModelRollout,
        rows: RowTable,
        *,
        trace: bool = False,
        keep_samples: bool = False,
        timer: Callable[[], float] | None = None,
    ) -> None:
        self._rollout = rollout
        self._rows = rows
        self._trace = trace
        self._keep_samples = keep_samples
        self._timer = timer
        self.suppressions = Suppressions()  # of officers' answers; they hold for every model

    def judge(self, steps: list[Step], events: Events, ready: ReadySteps | None = None) -> None:
        """Judge all steps of a run, in the order of the log for each target; append to ``events``."""
        if not steps and ready is None:
            return
        queues = _Queues(steps, ready)
        told: list[tuple[_Order, Alert]] = []
        verdicts: dict[int, tuple[int, Verdict]] = {}  # of each target its last, with the number of its sample
        while True:
            for q, step in queues.events_now():
                order = _Order(step.report_index, int(queues.done[q]), False, 0, q)
                told.extend((order, alert) for alert in self._on_track_event(step))
            run = queues.run
            waiting = np.flatnonzero(run)
            if not len(waiting):
                break
            n_steps = block_steps(int(run.max()), len(waiting)) if self._rollout.takes_blocks else 1
            block = waiting[run[waiting] >= n_steps]
            self._steps(queues, block, n_steps, told, verdicts, events)
            queues.done[block] += n_steps
        told.sort(
            key=lambda x: x[0]
        )  # stable: those of one step of one target stay in the order in which they were decided
        events.alerts.extend(alert for _, alert in told)
        # In the order of the log: a vessel with two targets has the same present verdict however the log is cut into runs.
        events.verdicts.extend(verdict for _, verdict in sorted(verdicts.values(), key=lambda x: x[0]))

    def _steps(
        self,
        queues: _Queues,
        block: _Ints,
        n_steps: int,
        told: list[tuple[_Order, Alert]],
        verdicts: dict[int, tuple[int, Verdict]],
        events: Events,
    ) -> None:
        """The next samples of n targets: the steps of each model that has a part in them, then alerts and verdicts."""
        first = self._rollout.first.model
        numbers = queues.next_numbers(block, n_steps)
        slots = queues.slots[block]
        rows, samples = complete(take(self._rows.data, slots), take(queues.samples, numbers), first.detection_rules)
        put(self._rows.data, slots, rows)
        targets = [queues.targets[q] for q in block.tolist()]
        assignments = self._rollout.assignments(lambda: [t.model for t in targets], slots, samples["t"][: len(block)])
        for number, (runner, at, active, emits) in enumerate(assignments):
            # Several steps of each are taken by one model alone, which has them all.
            mine, here, chosen = (
                (numbers, slots, samples) if isinstance(at, slice) else (numbers[at], slots[at], take(samples, at))
            )
            places = block[at]
            infos = _Infos(queues, mine)
            start = self._timer() if self._timer else 0.0
            rows, memory, result = runner.steps(here, chosen)
            if self._timer:
                events.steps.append(ModelStep(len(mine), self._timer() - start))
            if emits:
                for i, alert in runner.life.judge_block(rows, memory, chosen, result, infos, self.suppressions):
                    k, i_line = divmod(i, len(here))
                    q = int(places[i_line])
                    order = _Order(int(queues.report_index[mine[i]]), int(queues.done[q]) + k, True, number, q)
                    told.append((order, alert))
            put(runner.rows, here, rows)
            if not active:
                continue
            last = slice(len(mine) - len(here), None)
            for q, reason in zip(places.tolist(), result.reason[last].tolist(), strict=True):
                target = queues.targets[q]
                target.reason = reason
                target.model = runner.model.version
            if self._keep_samples:
                decided = runner.life.verdicts(memory, chosen, result, infos)
                names = runner.model.panel.names
                events.samples.append(JudgedSamples(mine.tolist(), decided, chosen, result.z, names))
                decided = decided[last]
            else:
                decided = runner.life.verdicts(rows, chosen[last], result.of_rows(last), infos[last])
            verdicts.update(zip(places.tolist(), zip(mine[last].tolist(), decided, strict=True), strict=True))
            if self._trace and runner.model.panel.names == first.panel.names:
                events.traces.append(StepTrace([info.track_id for info in infos], chosen, result))

    def _on_track_event(self, step: Step) -> list[Alert]:
        """A jump, an identity conflict or the end of a target."""
        alerts: list[Alert] = []
        for runner in self._rollout.emitters(step.target.model):
            row = runner.rows[step.target.slot]
            if isinstance(step.what, Jump):
                alerts += runner.life.on_jump(row, step.what, step.info, self.suppressions)
            elif isinstance(step.what, IdentityConflict):
                alerts += runner.life.on_identity(row, step.what, step.info)
            else:
                alerts += runner.life.on_end(row, step.info)
        return alerts
