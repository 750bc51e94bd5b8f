"""Which model speaks of which sample, when one takes over from another (ADR 0011).

A successor is announced with the moment from which it speaks, a time of the reports. It takes a line over with the line's first
sample at or after that moment, so who speaks is a function of the vessel's own time: the same in every partition, in every
order of arrival, in batch. For ``WARM_UP_S`` before it steps beside the old model and says nothing, so that its recurrent states
and windows are warm. A row that has not seen the line's sample before begins as that of a new line, and is not judged before
the model's own warm-up.

An alert belongs to the watch officer and not to the model: those that stand go over to the successor with id, revision and
segment, and live on by what it says. So nothing is closed or raised by the change itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, TrackRules
from ..detection.panel import Panel, StepResult
from ..errors import ModelError, WrongRegion
from ..model.folder import Model
from .state import Reign, StoredLine, StoredRow, layout, read_row

WARM_UP_S = 24 * STEP_S  # the longest of the panel's windows (METHOD 7: 4 h)
_CHALLENGER = "challenger "  # its row is stored under its version, so prefixed: the same model may speak, too
_MOORED_RULES = ("moored_sog_knots", "moored_made_m")  # the samples themselves rest on these

Find = Callable[[str, str], Model]
"""(version, name or folder where it was) -> the model; raises ``ModelError``."""


class Judge:
    """One model's rows, one a line, and what it says of them."""

    def __init__(self, model: Model, capacity: int, *, place: str = "", challenger: bool = False) -> None:
        self.model = model
        self.place = place
        self.life = model.alert_life(challenger=challenger)
        self.fresh = model.panel.initial(1)[0]
        self.rows = model.panel.initial(capacity)

    def grow(self, capacity: int) -> None:
        # Zeros that nobody touches take no memory; a line writes its first row when it gets the slot.
        rows = np.zeros(capacity, self.rows.dtype)
        rows[: len(self.rows)] = self.rows
        self.rows = rows

    def step(self, slots: NDArray[np.intp], samples: NDArray[np.void]) -> tuple[NDArray[np.void], StepResult]:
        """The panel's step. A row that began in the midst of its line counts its samples from there until its ring is full."""
        rows = self.rows[slots]
        began_later = np.isnan(rows["t"][:, 0]) & (samples["n"] >= rows["t"].shape[1])
        if began_later.any():
            samples = samples.copy()
            samples["n"][began_later] = (~np.isnan(rows["t"][began_later])).sum(1)
        return self.model.panel.step(rows, samples)


class Turn(NamedTuple):
    """Samples of a batch that one model steps on."""

    judge: Judge
    at: NDArray[np.intp] | slice  # of the batch
    speaks: bool  # the verdict is its
    tells: bool  # and its alerts are told; of a challenger they are, marked


class Succession:
    """The models that speak, in the order in which they were announced. Of those whose time has come, the last announced one speaks.

    Args:
        place: name or folder of ``model``; kept in the state beside its version.
        challenger: speaks of no sample; tells its own alerts, marked.
        capacity: rows.
    """

    def __init__(self, model: Model, place: str, challenger: Model | None, capacity: int) -> None:
        self._capacity = capacity
        self._challenger = Judge(challenger, capacity, challenger=True) if challenger is not None else None
        self.reigns = [Reign(model.version, place, -math.inf)]
        self.judges = {model.version: Judge(model, capacity, place=place)}

    @property
    def first(self) -> Judge:
        return self.judges[self.reigns[0].version]

    @property
    def _all(self) -> list[Judge]:
        return [*self.judges.values(), *([self._challenger] if self._challenger else ())]

    def grow(self, capacity: int) -> None:
        self._capacity = capacity
        for judge in self._all:
            judge.grow(capacity)

    def begin(self, slot: int) -> None:
        """A new line gets the rows of this number."""
        for judge in self._all:
            judge.rows[slot] = judge.fresh

    def tellers(self, owner: str) -> list[Judge]:
        """Who tells of what happens between the samples of a line that model ``owner`` has."""
        return [self.judges[owner], *([self._challenger] if self._challenger else ())]

    def roles(self, now: float) -> list[tuple[Model, str]]:
        """The models in use: which ``speaks`` at this time, which is ``next``, which was ``before``, the ``challenger``."""
        versions = [r.version for r in self.reigns]
        speaks = self.speaker(now)
        roles = {v: "before" if i < versions.index(speaks) else "next" for i, v in enumerate(versions)} | {
            speaks: "speaks"
        }
        found = [(judge.model, roles[v]) for v, judge in self.judges.items()]
        return found + ([(self._challenger.model, "challenger")] if self._challenger else [])

    def speaker(self, t: float) -> str:
        """Version of the model that speaks of a sample of this time."""
        return self.reigns[int(self._speaking(np.array([t]))[0])].version

    def _speaking(self, t: NDArray[np.float64]) -> NDArray[np.intp]:
        at = np.zeros(len(t), np.intp)
        for k, reign in enumerate(self.reigns):
            at[t >= reign.since] = k
        return at

    # ---------------------------------------------------------------- who follows whom

    def announce(self, model: Model, place: str, since: float) -> bool:
        """``model`` speaks from ``since`` on; False when it would without that.

        Raises:
            WrongRegion, ModelError: it cannot go on with these tracks and samples.
        """
        check_heir(self.first.model, model)
        last = self.reigns[-1]
        if last.version == model.version and last.since <= since:
            return False
        self.reigns.append(Reign(model.version, place, since))
        if model.version not in self.judges:
            self.judges[model.version] = Judge(model, self._capacity, place=place)
        return True

    def settle(self, watermark: float, rules: TrackRules, owners: Callable[[], Collection[str]]) -> None:
        """Forget who will not speak any more. ``owners`` gives the versions that have a line.

        A sample is due when the report after it comes, at most a gap later, and a report is held for the lateness: when the log is
        complete up to two of each past a change, no sample before it can come.
        """
        if len(self.reigns) == 1:
            return
        past_s = 2 * (rules.gap_max_s + rules.lateness_s)
        kept: list[Reign] = []
        has_lines: Collection[str] | None = None
        for k, reign in enumerate(self.reigns):
            later = self.reigns[k + 1 :]
            end = min((r.since for r in later), default=math.inf)
            if later and (end <= reign.since or watermark >= end + past_s):
                has_lines = owners() if has_lines is None else has_lines
                if reign.version not in has_lines or any(r.version == reign.version for r in later):
                    continue
            if not (kept and kept[-1].version == reign.version and kept[-1].since <= reign.since):
                kept.append(reign)
        self.reigns = kept
        self.judges = {r.version: self.judges[r.version] for r in kept}

    def restore(self, reigns: Sequence[Reign], find: Find) -> dict[str, str]:
        """Take the stored succession; returns the versions that ``find`` replaced by others."""
        if not reigns:
            return {}
        replaced: dict[str, str] = {}
        found: dict[str, Judge] = {}
        self.reigns = []
        for version, place, since in reigns:
            if version not in replaced:
                judge = self.judges.get(version) or Judge(find(version, place), self._capacity, place=place)
                replaced[version] = judge.model.version
                found[judge.model.version] = judge
            self.reigns.append(Reign(replaced[version], place, since))
        self.judges = found
        for judge in found.values():
            check_heir(self.first.model, judge.model)
        return {old: new for old, new in replaced.items() if old != new}

    # ---------------------------------------------------------------- rows as bytes

    def stored(self, owner: str, slot: int) -> dict[str, StoredRow]:
        """The rows that have seen the last sample of the line at ``slot``, which model ``owner`` has."""
        last = self.judges[owner].rows["t"][slot, -1]
        rows = {
            version: judge.rows[slot]
            for version, judge in self.judges.items()
            if version == owner or judge.rows["t"][slot, -1] == last
        }
        if self._challenger:
            rows[_CHALLENGER + self._challenger.model.version] = self._challenger.rows[slot]
        return {name: StoredRow(layout(row.dtype), row.tobytes()) for name, row in rows.items()}

    def take(self, slot: int, stored: StoredLine, what: str) -> None:
        """Rows as ``stored`` gave them. A model that they do not know begins with this line as with a new one."""
        found = {version: (judge, stored.judged.get(version)) for version, judge in self.judges.items()}
        if self._challenger:
            name = self._challenger.model.version
            # Before version 3 its row stood under the version alone.
            row = stored.judged.get(_CHALLENGER + name, None if stored.model else stored.judged.get(name))
            found[_CHALLENGER] = (self._challenger, row)
        for judge, row in found.values():
            if row is not None:
                judge.rows[slot] = read_row(row, judge.rows.dtype, what)

    # ---------------------------------------------------------------- one step

    def turns(self, owners: Sequence[str], slots: NDArray[np.intp], t: NDArray[np.float64]) -> list[Turn]:
        """Who steps on the next samples of n lines (``slots``), of which ``owners`` have spoken so far; lines go over here."""
        silent = [Turn(self._challenger, slice(None), speaks=False, tells=True)] if self._challenger else []
        if len(self.reigns) == 1:
            return [Turn(self.first, slice(None), speaks=True, tells=True), *silent]
        speaking = self._speaking(t)
        turns = []
        for version, judge in self.judges.items():
            mine = [k for k, r in enumerate(self.reigns) if r.version == version]
            speaks = np.isin(speaking, mine)
            warms_up = np.zeros(len(t), bool)
            for k in mine:
                warms_up |= (k > speaking) & (t >= self.reigns[k].since - WARM_UP_S)
            for which, says in ((speaks, True), (warms_up & ~speaks, False)):
                if which.any():
                    at = np.flatnonzero(which)
                    turns.append(Turn(judge, at, speaks=says, tells=says))
                    self._prepare(judge, [owners[i] for i in at.tolist()], slots[at], says)
        return turns + silent

    def _prepare(self, judge: Judge, owners: list[str], slots: NDArray[np.intp], speaks: bool) -> None:
        for version in sorted(set(owners) - {judge.model.version}):
            owner = self.judges[version]
            mine = slots[[o == version for o in owners]]
            follows = judge.rows["t"][mine, -1] == owner.rows["t"][mine, -1]
            judge.rows[mine[~follows]] = judge.fresh
            if speaks:
                judge.rows["alert"][mine] = carried(
                    owner.rows["alert"][mine], owner.model.panel, judge.rows["alert"][mine], judge.model.panel
                )


def check_heir(running: Model, heir: Model) -> None:
    """Raise unless ``heir`` can go on with the tracks and samples of ``running``."""
    if heir.region.to_dict() != running.region.to_dict():
        raise WrongRegion(
            f"model {heir.version} is of region {heir.region.name!r}, the running one of {running.region.name!r}: give one of that box and its bins"
        )
    theirs, ours = heir.track_rules.to_dict(), running.track_rules.to_dict()
    theirs |= {name: getattr(heir.detection_rules, name) for name in _MOORED_RULES}
    ours |= {name: getattr(running.detection_rules, name) for name in _MOORED_RULES}
    for name, value in ours.items():
        if theirs[name] != value:
            raise ModelError(
                f"model {heir.version} has {name}={theirs[name]:g}, the running one {value:g}: tracks would not go on; run it under another APP_ID"
            )


def carried(old: NDArray[np.void], old_panel: Panel, new: NDArray[np.void], new_panel: Panel) -> NDArray[np.void]:
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
