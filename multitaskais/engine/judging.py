"""Due samples of many targets -> the panel's steps -> alerts and verdicts.

Targets know nothing of each other, so the k-th due samples of all targets are judged together; what happens to a target between
two of its samples (a jump, an identity conflict, its end) waits for its turn among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..detection.lifecycle import TargetInfo
from ..detection.suppression import Suppressions
from ..records import Alert, Verdict
from ..tracks.resample import complete, interpolate
from ..tracks.sampler import Due
from ..tracks.tracker import IdentityConflict, Jump, TrackEnded
from ..types import Samples
from .events import Events, JudgedSamples, ModelStep, StepTrace, TargetState
from .rollout import ModelRollout
from .rows import RowTable


class Step(NamedTuple):
    """A sample that is due, or an event of a target."""

    report_index: int  # of the report that led to it, in its run
    target: TargetState
    info: TargetInfo
    what: Due | Jump | IdentityConflict | TrackEnded


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

    def judge(self, steps: list[Step], events: Events) -> None:
        """Judge all steps of a run, in the order of the log for each target; append to ``events``."""
        samples = interpolate([s.what for s in steps if isinstance(s.what, Due)])
        queues: dict[int, list[tuple[Step, int]]] = {}
        n = 0
        for step in steps:
            queues.setdefault(step.target.slot, []).append((step, n))
            n += isinstance(step.what, Due)
        emitted: list[tuple[int, Alert]] = []
        verdicts: dict[int, tuple[int, Verdict]] = {}  # of each target its last, with the number of its sample
        waiting = [iter(queue) for queue in queues.values()]
        while waiting:
            batch: list[tuple[Step, int]] = []
            unfinished = []
            for queue in waiting:
                for step, index in queue:
                    if isinstance(step.what, Due):
                        batch.append((step, index))
                        unfinished.append(queue)
                        break
                    emitted.extend((step.report_index, alert) for alert in self._on_track_event(step))
            if batch:
                self._step([s for s, _ in batch], [i for _, i in batch], samples, emitted, verdicts, events)
            waiting = unfinished
        emitted.sort(key=lambda x: x[0])  # stable: those of one report stay in the order in which they were decided
        events.alerts.extend(alert for _, alert in emitted)
        # In the order of the log: a vessel with two targets has the same present verdict however the log is cut into runs.
        events.verdicts.extend(verdict for _, verdict in sorted(verdicts.values(), key=lambda x: x[0]))

    def _step(
        self,
        steps: list[Step],
        numbers: list[int],
        all_samples: Samples,
        emitted: list[tuple[int, Alert]],
        verdicts: dict[int, tuple[int, Verdict]],
        events: Events,
    ) -> None:
        """One sample of each of n targets: the step of each model that has a part in it, then alerts and verdicts."""
        first = self._rollout.first.model
        slots = np.array([s.target.slot for s in steps])
        infos = [s.info for s in steps]
        samples = all_samples[numbers]
        samples["ship_type"] = [info.ship_type for info in infos]
        self._rows.data[slots], samples = complete(self._rows.data[slots], samples, first.detection_rules)
        assignments = self._rollout.assignments([s.target.model for s in steps], slots, samples["t"])
        for runner, at, active, emits in assignments:
            mine = steps if isinstance(at, slice) else [steps[i] for i in at]
            here, chosen, infos = slots[at], samples[at], [s.info for s in mine]
            start = self._timer() if self._timer else 0.0
            rows, result = runner.step(here, chosen)
            if self._timer:
                events.steps.append(ModelStep(len(mine), self._timer() - start))
            if emits:
                judged = runner.life.judge(rows, chosen, result, infos, self.suppressions)
                emitted.extend((mine[i].report_index, alert) for i, alert in judged)
            runner.rows[here] = rows
            if active:
                for step, reason in zip(mine, result.reason.tolist(), strict=True):
                    step.target.reason = reason
                    step.target.model = runner.model.version
                decided = runner.life.verdicts(rows, chosen, result, infos)
                which = numbers if isinstance(at, slice) else [numbers[i] for i in at]
                verdicts.update(zip(here.tolist(), zip(which, decided, strict=True), strict=True))
                if self._keep_samples:
                    names = runner.model.panel.names
                    events.samples.append(JudgedSamples(which, decided, chosen, result.z, names))
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
