"""Due samples of many targets -> the panel's steps -> alerts and verdicts.

Targets know nothing of each other, so the due samples of many targets are judged together, several of each where it has several; what
happens to a target between two of its samples (a jump, an identity conflict, its end) waits for its turn among them. What is
told is in the order in which one sample of each target after another would have told it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..detection.lifecycle import TargetInfo
from ..detection.rings import block_steps
from ..detection.suppression import Suppressions
from ..records import Alert, Verdict
from ..tracks.resample import complete, interpolate
from ..tracks.sampler import Due
from ..tracks.tracker import IdentityConflict, Jump, TrackEnded
from ..types import Samples
from .events import Events, JudgedSamples, ModelStep, StepTrace, TargetState
from .rollout import ModelRollout
from .rows import RowTable


class Ready(NamedTuple):
    """A sample that is due and interpolated already."""

    row: int  # among the samples that are given with the steps


class Step(NamedTuple):
    """A sample that is due, or an event of a target."""

    report_index: int  # of the report that led to it, in its run
    target: TargetState
    info: TargetInfo
    what: Due | Ready | Jump | IdentityConflict | TrackEnded


class _Order(NamedTuple):
    """Where something that is told stands among all that a run emits."""

    report_index: int
    step: int  # of its target: how many of its samples were judged before
    of_sample: bool  # what happened to the target before the sample comes first
    model: int
    target: int


class _Queue:
    """The due samples of one target, and what happens to it between them."""

    def __init__(self, place: int) -> None:
        self.place = place  # among the targets, by the first step of each
        self.steps: list[Step] = []
        self.numbers: list[int] = []  # of each due sample, its place among all samples of the run
        self.events: list[tuple[int, Step]] = []  # (how many samples come before it, what happens)
        self.done = 0  # samples that were judged
        self._events_done = 0

    def due(self, step: Step, number: int) -> None:
        self.steps.append(step)
        self.numbers.append(number)

    def events_now(self) -> Iterator[Step]:
        """What happens before the next sample."""
        while self._events_done < len(self.events) and self.events[self._events_done][0] <= self.done:
            self._events_done += 1
            yield self.events[self._events_done - 1][1]

    @property
    def run(self) -> int:
        """Samples that are due before anything else happens."""
        until = self.events[self._events_done][0] if self._events_done < len(self.events) else len(self.steps)
        return until - self.done


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

    def judge(self, steps: list[Step], events: Events, ready: Samples | None = None) -> None:
        """Judge all steps of a run, in the order of the log for each target; append to ``events``.

        ``ready``: the samples of the steps that are ``Ready``, but for what ``complete`` adds.
        """
        samples = interpolate([s.what for s in steps if isinstance(s.what, Due)])
        if ready is not None and len(ready):
            rows = itertools.count(len(ready))
            due = (s.what for s in steps if isinstance(s.what, Due | Ready))
            samples = np.concatenate([ready, samples])[[w.row if isinstance(w, Ready) else next(rows) for w in due]]
        queues: dict[int, _Queue] = {}
        n = 0
        for step in steps:
            slot = step.target.slot
            queue = queues.get(slot)
            if queue is None:
                queue = queues[slot] = _Queue(len(queues))
            if isinstance(step.what, Due | Ready):
                queue.due(step, n)
                n += 1
            else:
                queue.events.append((len(queue.steps), step))
        told: list[tuple[_Order, Alert]] = []
        verdicts: dict[int, tuple[int, Verdict]] = {}  # of each target its last, with the number of its sample
        waiting = list(queues.values())
        while waiting:
            for queue in waiting:
                for step in queue.events_now():
                    order = _Order(step.report_index, queue.done, False, 0, queue.place)
                    told.extend((order, alert) for alert in self._on_track_event(step))
            waiting = [queue for queue in waiting if queue.run]
            if not waiting:
                break
            n_steps = block_steps(max(q.run for q in waiting), len(waiting)) if self._rollout.takes_blocks else 1
            block = [queue for queue in waiting if queue.run >= n_steps]
            self._steps(block, n_steps, samples, told, verdicts, events)
            for queue in block:
                queue.done += n_steps
        told.sort(
            key=lambda x: x[0]
        )  # stable: those of one step of one target stay in the order in which they were decided
        events.alerts.extend(alert for _, alert in told)
        # In the order of the log: a vessel with two targets has the same present verdict however the log is cut into runs.
        events.verdicts.extend(verdict for _, verdict in sorted(verdicts.values(), key=lambda x: x[0]))

    def _steps(
        self,
        queues: list[_Queue],
        n_steps: int,
        all_samples: Samples,
        told: list[tuple[_Order, Alert]],
        verdicts: dict[int, tuple[int, Verdict]],
        events: Events,
    ) -> None:
        """The next samples of each of n targets: the steps of each model that has a part in them, then alerts and verdicts."""
        first = self._rollout.first.model
        # The first sample of every target before the second of any.
        steps = [q.steps[q.done + k] for k in range(n_steps) for q in queues]
        numbers = [q.numbers[q.done + k] for k in range(n_steps) for q in queues]
        slots = np.array([q.steps[q.done].target.slot for q in queues])
        infos = [s.info for s in steps]
        samples = all_samples[numbers]
        samples["ship_type"] = [info.ship_type for info in infos]
        self._rows.data[slots], samples = complete(self._rows.data[slots], samples, first.detection_rules)
        assignments = self._rollout.assignments(
            [s.target.model for s in steps[: len(queues)]], slots, samples["t"][: len(queues)]
        )
        for number, (runner, at, active, emits) in enumerate(assignments):
            # Several steps of each are taken by one model alone, which has them all.
            mine = steps if isinstance(at, slice) else [steps[i] for i in at]
            here, chosen, infos = slots[at], samples[at], [s.info for s in mine]
            start = self._timer() if self._timer else 0.0
            rows, memory, result = runner.steps(here, chosen)
            if self._timer:
                events.steps.append(ModelStep(len(mine), self._timer() - start))
            if emits:
                for i, alert in runner.life.judge_block(rows, memory, chosen, result, infos, self.suppressions):
                    queue = queues[i % len(here)] if isinstance(at, slice) else queues[at[i]]
                    order = _Order(mine[i].report_index, queue.done + i // len(here), True, number, queue.place)
                    told.append((order, alert))
            runner.rows[here] = rows
            if active:
                last = slice(len(mine) - len(here), None)
                for step, reason in zip(mine[last], result.reason[last].tolist(), strict=True):
                    step.target.reason = reason
                    step.target.model = runner.model.version
                which = numbers if isinstance(at, slice) else [numbers[i] for i in at]
                if self._keep_samples:
                    decided = runner.life.verdicts(memory, chosen, result, infos)
                    names = runner.model.panel.names
                    events.samples.append(JudgedSamples(which, decided, chosen, result.z, names))
                    decided = decided[last]
                else:
                    newest = result.of_rows(last)
                    decided = runner.life.verdicts(rows, chosen[last], newest, infos[last])
                verdicts.update(zip(here.tolist(), zip(which[last], decided, strict=True), strict=True))
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
