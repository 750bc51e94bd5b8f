"""Event-time rollout of models: which model scores which sample (ADR 0011).

A rollout names an activation time T in event time. Each target switches at its first sample with t >= T, so the choice of
model depends on that target's event time alone and is the same in every partition, arrival order and in batch. For
``WARM_UP_S`` before T the staged model runs without emitting, to fill its recurrent states and windows; a target that it has
not seen before starts with the model's own warm-up. Open alerts are handed over with id, revision and segment; activation
itself opens and closes none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, TrackRules
from ..detection.memory import Memory
from ..detection.panel import Panel, StepResult
from ..errors import ModelError, WrongRegion
from ..model.folder import Model
from ..row_bytes import take
from ..types import Rows, Samples
from .state import ModelActivation, StoredRow, StoredTarget, layout, read_row

WARM_UP_S = 24 * STEP_S  # the longest of the panel's windows (docs/method.md#a-contrario-decision: 4 h)
_CHALLENGER = "challenger "  # its row is stored under its version, so prefixed: the same model may be active, too
_MOORED_RULES = ("moored_sog_knots", "moored_made_m")  # the samples themselves rest on these

FindModel = Callable[[str, str], Model]
"""(version, name or folder where it was) -> the model; raises ``ModelError``."""


class ModelRunner:
    """One model's rows, one a line, and what it says of them."""

    def __init__(self, model: Model, capacity: int, *, source: str = "", challenger: bool = False) -> None:
        self.model = model
        self.source = source
        self.life = model.alert_life(challenger=challenger)
        self.fresh = model.panel.initial(1)[0]
        self.rows = model.panel.initial(capacity)

    def grow(self, capacity: int) -> None:
        # Zeros that nobody touches take no memory; a line writes its first row when it gets the slot.
        rows = np.zeros(capacity, self.rows.dtype)
        rows[: len(self.rows)] = self.rows
        self.rows = rows

    def steps(self, slots: NDArray[np.intp], samples: Samples) -> tuple[Rows, Memory, StepResult]:
        """The panel's steps. A row that began in the midst of its line counts its samples from there until its ring is full."""
        rows = take(self.rows, slots)
        width = rows["t"].shape[1]
        seen = (~np.isnan(rows["t"])).sum(1) + np.arange(len(samples) // max(len(rows), 1))[:, None]
        began_later = (seen < width).reshape(-1) & (samples["n"] >= width)
        if began_later.any():
            samples = samples.copy()
            samples["n"][began_later] = seen.reshape(-1)[began_later]
        return self.model.panel.steps(rows, samples)


class Assignment(NamedTuple):
    """Samples of a batch that one model steps on."""

    runner: ModelRunner
    at: NDArray[np.intp] | slice  # of the batch
    active: bool  # the verdict is its
    emits: bool  # and its alerts are told; of a challenger they are, marked


class ModelRollout:
    """The activations, in the order in which they were announced. Of those whose time has come, the last announced is active.

    Args:
        source: name or folder of ``model``; kept in the state beside its version.
        challenger: decides no sample; emits its own alerts, marked.
        capacity: rows.
    """

    def __init__(self, model: Model, source: str, challenger: Model | None, capacity: int) -> None:
        self._capacity = capacity
        self._challenger = ModelRunner(challenger, capacity, challenger=True) if challenger is not None else None
        self.activations = [ModelActivation(model.version, source, -math.inf)]
        self.runners = {model.version: ModelRunner(model, capacity, source=source)}

    @property
    def first(self) -> ModelRunner:
        return self.runners[self.activations[0].version]

    @property
    def _all(self) -> list[ModelRunner]:
        return [*self.runners.values(), *([self._challenger] if self._challenger else ())]

    def grow(self, capacity: int) -> None:
        if capacity == self._capacity:
            return
        self._capacity = capacity
        for runner in self._all:
            runner.grow(capacity)

    def begin(self, slot: int) -> None:
        """A new line gets the rows of this number."""
        for runner in self._all:
            runner.rows[slot] = runner.fresh

    def emitters(self, owner: str) -> list[ModelRunner]:
        """Who emits what happens between the samples of a line that model ``owner`` has."""
        return [self.runners[owner], *([self._challenger] if self._challenger else ())]

    def roles(self, now: float) -> list[tuple[Model, str]]:
        """The models in use: which is ``active`` at this time, which is ``staged``, which is ``retiring``, the ``challenger``."""
        versions = [r.version for r in self.activations]
        active = self.active_version(now)
        roles = {v: "retiring" if i < versions.index(active) else "staged" for i, v in enumerate(versions)} | {
            active: "active"
        }
        found = [(runner.model, roles[v]) for v, runner in self.runners.items()]
        return found + ([(self._challenger.model, "challenger")] if self._challenger else [])

    def active_version(self, t: float) -> str:
        """Version of the model that scores a sample of this time."""
        return self.activations[int(self._active_at(np.array([t]))[0])].version

    def _active_at(self, t: NDArray[np.float64]) -> NDArray[np.intp]:
        at = np.zeros(len(t), np.intp)
        for k, activation in enumerate(self.activations):
            at[t >= activation.since] = k
        return at

    # ---------------------------------------------------------------- who follows whom

    def announce(self, model: Model, source: str, since: float) -> bool:
        """``model`` is active from ``since`` on; False when it would be without that.

        Raises:
            WrongRegion, ModelError: it cannot go on with these tracks and samples.
        """
        check_compatible(self.first.model, model)
        last = self.activations[-1]
        if last.version == model.version and last.since <= since:
            return False
        self.activations.append(ModelActivation(model.version, source, since))
        if model.version not in self.runners:
            self.runners[model.version] = ModelRunner(model, self._capacity, source=source)
        return True

    def withdraw(self, version: str, since: float) -> bool:
        """Undo ``announce``: the model that would be active at ``since`` without it is announced from there. False when none is left."""
        others = [r for r in self.activations if (r.version, r.since) != (version, since)]
        before = [r for r in others if r.since <= since]
        if len(others) == len(self.activations) or not before:
            return False
        self.activations.append(before[-1]._replace(since=since))
        return True

    def settle(self, watermark: float, rules: TrackRules, owners: Callable[[], Collection[str]]) -> None:
        """Drop the models that will not be active again. ``owners`` gives the versions that have a line.

        A sample is due when the report after it comes, at most a gap later, and a report is held for the lateness: when the log is
        complete up to two of each past a change, no sample before it can come.
        """
        if len(self.activations) == 1:
            return
        past_s = 2 * (rules.gap_max_s + rules.lateness_s)
        kept: list[ModelActivation] = []
        has_targets: Collection[str] | None = None
        for k, activation in enumerate(self.activations):
            later = self.activations[k + 1 :]
            end = min((r.since for r in later), default=math.inf)
            if later and (end <= activation.since or watermark >= end + past_s):
                has_targets = owners() if has_targets is None else has_targets
                if activation.version not in has_targets or any(r.version == activation.version for r in later):
                    continue
            if not (kept and kept[-1].version == activation.version and kept[-1].since <= activation.since):
                kept.append(activation)
        self.activations = kept
        self.runners = {r.version: self.runners[r.version] for r in kept}

    def restore(self, activations: Sequence[ModelActivation], find: FindModel) -> dict[str, str]:
        """Restore the stored rollout; returns the versions that ``find`` replaced by others."""
        if not activations:
            return {}
        replaced: dict[str, str] = {}
        found: dict[str, ModelRunner] = {}
        self.activations = []
        for version, source, since in activations:
            if version not in replaced:
                runner = self.runners.get(version) or ModelRunner(find(version, source), self._capacity, source=source)
                replaced[version] = runner.model.version
                found[runner.model.version] = runner
            self.activations.append(ModelActivation(replaced[version], source, since))
        self.runners = found
        for runner in found.values():
            check_compatible(self.first.model, runner.model)
        return {old: new for old, new in replaced.items() if old != new}

    # ---------------------------------------------------------------- rows as bytes

    def stored(self, owner: str, slot: int) -> dict[str, StoredRow]:
        """The rows that have seen the last sample of the line at ``slot``, which model ``owner`` has."""
        last = self.runners[owner].rows["t"][slot, -1]
        rows = {
            version: runner.rows[slot]
            for version, runner in self.runners.items()
            if version == owner or runner.rows["t"][slot, -1] == last
        }
        if self._challenger:
            rows[_CHALLENGER + self._challenger.model.version] = self._challenger.rows[slot]
        return {name: StoredRow(layout(row.dtype), row.tobytes()) for name, row in rows.items()}

    def take(self, slot: int, stored: StoredTarget, what: str) -> None:
        """Rows as ``stored`` gave them. A model that they do not know begins with this line as with a new one."""
        found = {version: (runner, stored.judged.get(version)) for version, runner in self.runners.items()}
        if self._challenger:
            name = self._challenger.model.version
            # Before version 3 its row stood under the version alone.
            row = stored.judged.get(_CHALLENGER + name, None if stored.model else stored.judged.get(name))
            found[_CHALLENGER] = (self._challenger, row)
        for runner, row in found.values():
            if row is not None:
                runner.rows[slot] = read_row(row, runner.rows.dtype, what)

    # ---------------------------------------------------------------- one step

    @property
    def takes_blocks(self) -> bool:
        """Whether one model alone judges every sample, so that who does need not be asked step by step."""
        return len(self.activations) == 1 and self._challenger is None

    def assignments(
        self, owners: Callable[[], Sequence[str]], slots: NDArray[np.intp], t: NDArray[np.float64]
    ) -> list[Assignment]:
        """Which models step on the next samples of n lines (``slots``), of which ``owners()`` were active so far; lines are handed over here."""
        challenger = [Assignment(self._challenger, slice(None), active=False, emits=True)] if self._challenger else []
        if len(self.activations) == 1:
            return [Assignment(self.first, slice(None), active=True, emits=True), *challenger]
        active_at = self._active_at(t)
        were_active = owners()
        assignments = []
        for version, runner in self.runners.items():
            mine = [k for k, r in enumerate(self.activations) if r.version == version]
            active = np.isin(active_at, mine)
            warms_up = np.zeros(len(t), bool)
            for k in mine:
                warms_up |= (k > active_at) & (t >= self.activations[k].since - WARM_UP_S)
            for which, says in ((active, True), (warms_up & ~active, False)):
                if which.any():
                    at = np.flatnonzero(which)
                    assignments.append(Assignment(runner, at, active=says, emits=says))
                    self._prepare(runner, [were_active[i] for i in at.tolist()], slots[at], says)
        return assignments + challenger

    def _prepare(self, runner: ModelRunner, owners: list[str], slots: NDArray[np.intp], active: bool) -> None:
        for version in sorted(set(owners) - {runner.model.version}):
            owner = self.runners[version]
            mine = slots[[o == version for o in owners]]
            follows = runner.rows["t"][mine, -1] == owner.rows["t"][mine, -1]
            runner.rows[mine[~follows]] = runner.fresh
            if active:
                runner.rows["alert"][mine] = carried(
                    owner.rows["alert"][mine], owner.model.panel, runner.rows["alert"][mine], runner.model.panel
                )


def check_compatible(running: Model, candidate: Model) -> None:
    """Raise unless ``candidate`` can go on with the tracks and samples of ``running``."""
    if candidate.region.to_dict() != running.region.to_dict():
        raise WrongRegion(
            f"model {candidate.version} is of region {candidate.region.name!r}, the running one of {running.region.name!r}: give one of that box and its bins"
        )
    theirs, ours = candidate.track_rules.to_dict(), running.track_rules.to_dict()
    theirs |= {name: getattr(candidate.detection_rules, name) for name in _MOORED_RULES}
    ours |= {name: getattr(running.detection_rules, name) for name in _MOORED_RULES}
    for name, value in ours.items():
        if theirs[name] != value:
            raise ModelError(
                f"model {candidate.version} has {name}={theirs[name]:g}, the running one {value:g}: tracks would not go on; run it under another APP_ID"
            )


def carried(old: Rows, old_panel: Panel, new: Rows, new_panel: Panel) -> Rows:
    """(n, types) alerts of one panel's rows as those of another; what a detector said goes to the one of its name."""
    out = new.copy()
    for name in old.dtype.names or ():
        if name != "z":
            out[name] = old[name]
    out["z"] = np.nan
    for k, name in enumerate(new_panel.names):
        if name in old_panel.names:
            out["z"][..., k] = old["z"][..., old_panel.names.index(name)]
    return out
