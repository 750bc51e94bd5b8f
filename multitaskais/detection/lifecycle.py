"""The life of an alert: raised, updated, closed (docs/contract.md#alerts).

Per line and alert type at most one alert stands. It is raised at the first sample whose score / threshold reaches 1; updated when
its score grows by ``update_growth``, or its segment grows and ``update_every_s`` of event time have passed; closed after
``close_after_steps`` samples below the threshold, or when the track ends. Samples that are not judged (moored, values missing)
count as below: silence keeps no alert alive. Whoever rises again later is a new alert with an id of its own. A conflict of identity
closes the jump that it explains, and is itself closed by the end of the track alone.

All that an alert needs is in the line's row, so a restart goes on with the same ids and revisions. ``judge`` and the ``on_`` methods
change the alerts of the rows they are given, in place, and nothing else of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..exact import scalars
from ..records import Alert, AlertType, Cause, NotJudged, Place, Shares, Status, Verdict, VerdictKind, alert_id
from ..types import Rows, Samples
from . import explain
from .memory import BlockMemory, Memory, standing
from .panel import Panel, StepResult
from .suppression import NO_SUPPRESSIONS, Suppressions
from .threshold import TYPE_INDEX, TYPES, over_limit
from .traffic_patterns import CellStatistics

if TYPE_CHECKING:
    from ..tracks.tracker import IdentityConflict, Jump

_JUMP = TYPE_INDEX[AlertType.JUMP]
_IDENTITY = TYPE_INDEX[AlertType.IDENTITY_CONFLICT]
MAX_SCORE = 1e6  # a displacement within one second needs any speed; JSON has no infinity
REASON_TEXT = tuple(r.text for r in NotJudged)
_REASONS = (*REASON_TEXT, None)
_KINDS = (VerdictKind.NORMAL, VerdictKind.ABNORMAL, VerdictKind.NOT_JUDGED)


class TargetInfo(NamedTuple):
    """What is known of a line beside its row."""

    mmsi: int
    ship_name: bytes  # empty when not heard
    ship_type: int  # -1 unknown
    track_id: str
    decided_at: float  # event time at which the sample or event at hand was decided


class AlertLife:
    """Turns what a panel says into alerts of one model.

    Args:
        panel: whose rows these are.
        model_version: written into each alert.
        usual: what ships do where; None leaves it out of the message.
        track_rules: for the threshold of a jump.
        challenger: marks the alerts of a second model that runs beside the first.
    """

    def __init__(
        self,
        panel: Panel,
        model_version: str,
        usual: CellStatistics | None = None,
        track_rules: TrackRules | None = None,
        *,
        challenger: bool = False,
    ) -> None:
        self.panel = panel
        self.model_version = model_version
        self.usual = usual
        self.challenger = challenger
        self._rules = panel.rules
        self._jump_knots = (track_rules or TrackRules()).jump_excess_knots
        limits = panel.thresholds
        self._least_jump_knots = 0.0 if limits is None else limits.rule_limit(AlertType.JUMP, 0.0)
        self._identity_off = limits is not None and math.isinf(limits.rule_limit(AlertType.IDENTITY_CONFLICT, 0.0))

    # ---------------------------------------------------------------- samples

    def judge(
        self,
        rows: Rows,
        samples: Samples,
        result: StepResult,
        infos: Sequence[TargetInfo],
        suppressions: Suppressions = NO_SUPPRESSIONS,
    ) -> list[tuple[int, Alert]]:
        """After ``rows, result = panel.step(...)``: (index in the batch, alert) of all that has changed, by index then type.

        A score that a suppression asks more of counts as below the threshold.
        """
        hot = result.type_score >= 1.0  # False where NaN
        if len(suppressions) and hot.any():
            self._suppress(hot, rows, samples, result, infos, suppressions)
        stands = rows["alert"]["open"].copy()
        stands[:, _IDENTITY] = False  # two ships stay two ships: only the end of the track closes it
        changing: NDArray[np.bool_] = hot | stands
        if not changing.any():
            return []
        told: list[tuple[int, Alert]] = []
        for i, k in zip(*(a.tolist() for a in np.nonzero(changing)), strict=True):
            row = rows[i]
            alert = self._next(row, k, bool(hot[i, k]), samples[i], _one(result, i), infos[i])
            if alert is not None:
                told.append((i, alert))
        return told

    def judge_block(
        self,
        rows: Rows,
        memory: Memory,
        samples: Samples,
        result: StepResult,
        infos: Sequence[TargetInfo],
        suppressions: Suppressions = NO_SUPPRESSIONS,
    ) -> list[tuple[int, Alert]]:
        """``judge`` after ``rows, memory, result = panel.steps(...)`` of several steps of n lines, step by step where an alert changes.

        Which alerts stand after each step goes into ``memory``, the alerts after the last into ``rows``. Told by step, line and type.
        """
        n = len(rows)
        if not isinstance(memory, BlockMemory):
            return self.judge(rows, samples, result, infos, suppressions)
        hot = (result.type_score >= 1.0).any(axis=1).reshape(-1, n)
        open_: NDArray[np.bool_] = np.logical_or.reduce(rows["alert"]["open"], axis=1)
        told: list[tuple[int, Alert]] = []
        for line in np.flatnonzero(hot.any(axis=0) | open_).tolist():
            alerts, stands = rows["alert"][line].copy(), bool(open_[line])
            for k in range(len(hot)):
                at = slice(k * n + line, k * n + line + 1)
                if stands or hot[k, line]:
                    here = memory.row(at.start, alerts)
                    one = result.of_rows(at)
                    told += ((at.start, a) for _, a in self.judge(here, samples[at], one, infos[at], suppressions))
                    alerts = here["alert"][0]
                    stands = bool(alerts["open"].any())
                memory.open[at] = alerts["open"]
            rows["alert"][line] = alerts
        told.sort(key=lambda x: x[0])  # stable: by type within a sample
        return told

    def verdicts(
        self, memory: Memory, samples: Samples, result: StepResult, infos: Sequence[TargetInfo]
    ) -> list[Verdict]:
        """The verdict of each sample after ``judge``: abnormal while an alert stands."""
        abnormal: NDArray[np.bool_] = np.logical_or.reduce(standing(memory), axis=1)
        # Place in ``_KINDS``; a reason counts where that is NOT_JUDGED alone.
        kind = np.where(abnormal, 1, np.where(result.judged, 0, 2))
        reason = np.where(kind == 2, result.reason, len(REASON_TEXT))
        score = result.score.tolist()
        columns = zip(infos, samples["t"].tolist(), kind.tolist(), reason.tolist(), score, strict=True)
        version = self.model_version
        return [
            Verdict(info.mmsi, info.track_id, t, _KINDS[k], _REASONS[why], None if x != x else x, version)
            for info, t, k, why, x in columns
        ]

    def _suppress(
        self,
        hot: NDArray[np.bool_],
        rows: Rows,
        samples: Samples,
        result: StepResult,
        infos: Sequence[TargetInfo],
        suppressions: Suppressions,
    ) -> None:
        for i, k in zip(*(a.tolist() for a in np.nonzero(hot)), strict=True):
            if not suppressions.concern(TYPES[k]):
                continue
            one, sample = _one(result, i), samples[i]
            cause = self._cause(rows[i], k, one)
            t, lat, lon = float(sample["t"]), float(sample["lat"]), float(sample["lon"])
            hot[i, k] = one.type_score[k] >= suppressions.least_score(infos[i].mmsi, TYPES[k], cause, t, lat, lon)

    def _cause(self, row: Any, k: int, result: StepResult) -> Cause:
        top_contributor = self._loudest(k, result)
        named = None if top_contributor is None else self.panel.traits[top_contributor].cause
        return explain.cause(TYPES[k], explain.Window.of(row), result.type_score, self.usual, named)

    def _next(self, row: Any, k: int, hot: bool, sample: Any, result: StepResult, info: TargetInfo) -> Alert | None:
        a = row["alert"][k]
        if not hot:
            a["quiet"] += 1
            return self._close(a, k, info) if a["quiet"] >= self._rules.close_after_steps else None
        t, score = float(sample["t"]), min(float(result.type_score[k]), MAX_SCORE)
        here = (t, float(sample["lat"]), float(sample["lon"]))
        if fresh := not a["open"]:
            _open(a, info, t, self._start(row, k, result, here))
        a["quiet"] = 0
        a["end"] = here
        if fresh or score > a["score"]:
            window = explain.Window.of(row)
            a["score"] = score
            a["cause"] = explain.CAUSES.index(self._cause(row, k, result))
            a["log10_nfa"], a["parts"], a["z"] = result.log10_nfa, result.parts, result.z
            a["peak"] = (*here, window.median_sog, window.mean_course)
        if fresh:
            return self._tell(a, k, Status.RAISED, t, info)
        grown = a["score"] >= a["told_score"] * self._rules.update_growth
        return (
            self._tell(a, k, Status.UPDATED, t, info)
            if grown or t - a["told_t"] >= self._rules.update_every_s
            else None
        )

    def _start(
        self, row: Any, k: int, result: StepResult, here: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        """The first sample that the loudest detector of this type rests its judgement on."""
        top_contributor = self._loudest(k, result)
        if top_contributor is None:  # decided by the a-contrario rule
            back = self.panel.start_of_segment(row)
        else:
            steps = int(self.panel.smoothing_steps[top_contributor])
            if steps > 1:
                back = _since(row["z"][top_contributor][-steps:].tolist())
            else:
                back = self.panel.traits[top_contributor].support_samples - 1
        ring = row["t"]
        back = min(back, int((~np.isnan(ring)).sum()) - 1, len(ring) - 1)
        return (
            (float(ring[-1 - back]), float(row["lat"][-1 - back]), float(row["lon"][-1 - back])) if back > 0 else here
        )

    def _loudest(self, k: int, result: StepResult) -> int | None:
        """The detector that says most for an alert type, with its weight, as in the fusion; None where none has a number."""
        mine = np.flatnonzero((self.panel.types == k) & ~np.isnan(result.z))
        return int(mine[np.argmax((result.tail_score + self.panel.log_weight)[mine])]) if len(mine) else None

    # ---------------------------------------------------------------- events between reports

    def on_jump(
        self, row: Any, jump: Jump, info: TargetInfo, suppressions: Suppressions = NO_SUPPRESSIONS
    ) -> list[Alert]:
        """A report that needs an impossible speed. One alert for a displaced stretch; later ones of it update it."""
        a = row["alert"][_JUMP]
        if jump.excess_knots < self._least_jump_knots and not a["open"]:
            return []  # left out of the track all the same; too common among normal tracks for an alert
        before, after = jump.before, jump.after
        t = after[1]
        score = max(float(over_limit(jump.excess_knots, self._jump_knots)), 1.0)
        if score < suppressions.least_score(info.mmsi, AlertType.JUMP, Cause.JUMP, t, after[2], after[3]):
            return []
        if fresh := not a["open"]:
            _open(a, info, t, before[1:4])
        a["quiet"] = 0
        a["end"] = after[1:4]
        if fresh or score > a["score"]:
            a["score"] = score
            a["cause"] = explain.CAUSES.index(Cause.JUMP)
            a["peak"] = (*after[1:4], after[4], after[5])
        if fresh:
            return [self._tell(a, _JUMP, Status.RAISED, t, info)]
        grown = a["score"] >= a["told_score"] * self._rules.update_growth
        again = grown or t - a["told_t"] >= self._rules.update_every_s
        return [self._tell(a, _JUMP, Status.UPDATED, t, info)] if again else []

    def on_identity(self, row: Any, conflict: IdentityConflict, info: TargetInfo) -> list[Alert]:
        """Two ships on one MMSI: closes the jumps that it explains, and stands until the track ends."""
        told = []
        if row["alert"][_JUMP]["open"]:
            told.append(self._close(row["alert"][_JUMP], _JUMP, info))
        if self._identity_off:
            return told
        a, report = row["alert"][_IDENTITY], conflict.report
        fresh = not a["open"]
        if fresh:
            start = row["alert"][_JUMP]["start"].tolist() if told else list(report[1:4])
            _open(a, info, report[1], (conflict.since_t, start[1], start[2]))
            a["score"] = 1.0
            a["cause"] = explain.CAUSES.index(Cause.IDENTITY_CONFLICT)
        a["end"] = report[1:4]
        a["peak"] = (*report[1:4], report[4], report[5])
        return [*told, self._tell(a, _IDENTITY, Status.RAISED if fresh else Status.UPDATED, report[1], info)]

    def on_end(self, row: Any, info: TargetInfo) -> list[Alert]:
        """The track has ended by a gap; ``info.decided_at`` is its last report + the gap, so no clock but the vessel's counts."""
        alerts = row["alert"]
        return [self._close(alerts[k], k, info) for k in np.flatnonzero(alerts["open"]).tolist()]

    # ---------------------------------------------------------------- revisions

    def _close(self, a: Any, k: int, info: TargetInfo) -> Alert:
        alert = self._tell(a, k, Status.CLOSED, float(a["told_t"]), info)
        a["open"] = False
        return alert

    def _tell(self, a: Any, k: int, status: Status, t: float, info: TargetInfo) -> Alert:
        a["revision"] += 1
        a["told_t"], a["told_score"] = t, a["score"]
        what = explain.CAUSES[a["cause"]]
        name = info.ship_name.decode("ascii", "replace").strip() or None
        start, end, peak = a["start"].tolist(), a["end"].tolist(), a["peak"].tolist()
        score = float(a["score"])
        one_in, most = self._odds(k, score)
        _, lat, lon, sog, cog = peak
        facts = explain.Facts(info.mmsi, name, info.ship_type, what, start[0], end[0], lat, lon, sog, cog, one_in, most)
        parts, nfa, z = a["parts"], float(a["log10_nfa"]), a["z"]
        return Alert(
            alert_id=alert_id(info.mmsi, float(a["t_first"]), TYPES[k]),
            revision=int(a["revision"]),
            status=status,
            mmsi=info.mmsi,
            ship_name=name,
            ship_type=None if info.ship_type < 0 else info.ship_type,
            alert_type=TYPES[k],
            cause=what,
            detectors=explain.top_contributor(self.panel.names, z, self.panel.tail_score(z)),
            track_id=a["track_id"].decode(),
            segment_start=Place(*start),
            segment_end=Place(*end),
            decided_at=info.decided_at,
            score=score,
            log10_nfa=None if math.isnan(nfa) else nfa,
            share=None if np.isnan(parts).all() else Shares(*parts.tolist()),
            message=explain.message(facts, self.usual),
            model_version=self.model_version,
            challenger=self.challenger,
        )

    def _odds(self, k: int, score: float) -> tuple[float, float]:
        """One normal track in how many reaches this score, and the most that the development tracks can tell."""
        thresholds = self.panel.thresholds
        decided_by_nfa = self.panel.decision == "a_contrario" and TYPES[k] is AlertType.ABNORMAL
        if thresholds is None or decided_by_nfa or not math.isfinite(thresholds.by_type[k]):
            return math.nan, math.nan
        tail_score = score * thresholds.common - thresholds.threshold_offset[k]
        return scalars.exp(min(tail_score, 50.0)), float(max(thresholds.n_tracks, 10))


def _open(a: Any, info: TargetInfo, t: float, start: Sequence[float]) -> None:
    """A fresh alert: nothing of an earlier one of this type remains."""
    a["open"] = True
    a["quiet"] = a["revision"] = 0
    a["track_id"] = info.track_id.encode()
    a["t_first"] = t
    a["start"] = tuple(start)
    a["score"] = 0.0
    a["log10_nfa"], a["parts"], a["z"] = np.nan, np.nan, np.nan


def _since(z: list[float]) -> int:
    """Steps back to where z rose: the start for which the sum of (z - 1) up to now is greatest (Page's CUSUM, 1954)."""
    best = total = 0.0
    back = 0
    for k, value in enumerate(reversed(z)):
        total += 0.0 if math.isnan(value) else value - 1.0
        if total > best:
            best, back = total, k
    return back


def _one(result: StepResult, i: int) -> StepResult:
    return StepResult(*(column[i] for column in result))


__all__ = ["AlertLife", "TargetInfo"]
