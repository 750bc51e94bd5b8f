"""The panel: all detectors of a model side by side, calibrated alike, joined to one verdict a line and sample (docs/method.md#one-panel).

    sample -> each detector's score -> z in its cell -> mean over its window -> tail_score -> largest of each alert type / threshold

A row of ``row_dtype`` is all that a line's past leaves behind: the detectors' states, rings of the last 12 samples, the
a-contrario masks and the alerts that stand. A step is pure and vectorised over lines; a line's numbers are bit-identical
whatever other lines are in the batch and in what order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, DetectionRules, TrackRules
from ..errors import ConfigError
from ..exact import functions
from ..records import AlertType, NotJudged
from ..types import Rows, Samples
from . import acontrario, rings
from .calibration import Calibration
from .grid import CellGrid
from .memory import BlockMemory, Memory
from .protocol import Detector, Traits, steps, traits_of
from .ship_classes import vessel_class
from .threshold import N_TYPES, TYPE_INDEX, TYPES, TailScores, Thresholds, over_limit

LITTLE_KNOWN_VESSELS = 10  # docs/method.md#low-coverage: with fewer other vessels around, a place is little known
PARTS_STEPS = 12.0  # the parts' running mean has the weight of one window
_RING_FIELDS = ("t", "lat", "lon", "sog", "cog")


class StepResult(NamedTuple):
    """Of one step of n lines with D detectors and ``TYPES`` alert types; NaN where there is no number."""

    judged: NDArray[np.bool_]  # (n,) the sample has a judgement
    reason: NDArray[np.uint8]  # (n,) NotJudged; 0 where judged
    z: NDArray[np.float64]  # (n, D) windowed z: what each detector says now
    tail_score: NDArray[np.float64]  # (n, D) the same as -ln(share of normal tracks that reach it)
    type_score: NDArray[np.float64]  # (n, N_TYPES) score of each alert type / its threshold
    score: NDArray[np.float64]  # (n,) the largest of them
    log10_nfa: NDArray[np.float64]  # (n,) best segment that ends now
    parts: NDArray[np.float64]  # (n, 4) shares of lat, lon, sog, cog; sum to 1

    def of_rows(self, rows: slice) -> StepResult:
        """Of some of the lines or samples."""
        columns: list[Any] = [column[rows] for column in self]
        return StepResult(*columns)


class _Norms(NamedTuple):
    """What the calibrations of D detectors say of cells and classes, side by side, so that a line's are looked up at once."""

    mean: NDArray[np.float64]  # (class rows * cells, D)
    sd: NDArray[np.float64]
    limit: NDArray[np.float64]  # (D,)
    unknown: NDArray[np.bool_]  # (cells, D) the detector rests on place, and too few vessels were seen around
    uncovered: NDArray[np.bool_]  # (cells of coverage, D) no normal is known there, and the detector needs one
    low: NDArray[np.float64] | None  # (cells,) of the detector with the a-contrario rule

    @classmethod
    def of(cls, calibrations: Sequence[Calibration], traits: Sequence[Traits], parts: int) -> _Norms:
        return cls(
            np.stack([c.mean.ravel() for c in calibrations], axis=1),
            np.stack([c.sd.ravel() for c in calibrations], axis=1),
            np.array([c.limit for c in calibrations]),
            np.stack(
                [
                    (c.vessels < LITTLE_KNOWN_VESSELS) & t.location_based
                    for c, t in zip(calibrations, traits, strict=True)
                ],
                axis=1,
            ),
            np.stack(
                [~c.covered_in(parts) & t.covered_only for c, t in zip(calibrations, traits, strict=True)],
                axis=1,
            ),
            next(
                (c.low for c, t in zip(calibrations, traits, strict=True) if t.a_contrario and c.low is not None), None
            ),
        )


class Panel:
    """Detectors, their calibrations and thresholds under one set of rules.

    Args:
        detectors: in the order of the columns of ``StepResult.z``; names differ.
        calibrations: one each, of one grid.
        thresholds: of these detectors; None while they are being learnt (all scores / threshold are NaN then).
        decision: what decides ``abnormal``: "fused" (largest tail_score) or "a_contrario" (NFA < eps).
        speed_max_knots: the limit of speed of tracks; above it detectors abstain that do not judge at ``any_speed``.
    """

    def __init__(
        self,
        detectors: Sequence[Detector],
        calibrations: Sequence[Calibration],
        thresholds: Thresholds | None,
        rules: DetectionRules,
        *,
        decision: str = "fused",
        speed_max_knots: float = TrackRules().speed_max_knots,
    ) -> None:
        if not detectors or len(detectors) != len(calibrations):
            raise ConfigError("a panel needs at least one detector, and one calibration for each")
        names = [d.name for d in detectors]
        if len(set(names)) != len(names):
            raise ConfigError(f"two detectors of one panel have the same name: {', '.join(sorted(names))}")
        if decision not in ("fused", "a_contrario"):
            raise ConfigError(f"no decision rule {decision!r}: give 'fused' or 'a_contrario'")
        self.detectors = tuple(detectors)
        self.calibrations = tuple(calibrations)
        self.thresholds = thresholds
        self.rules = rules
        self.decision = decision
        self.speed_max_knots = speed_max_knots
        self.names = tuple(names)
        self.traits = tuple(traits_of(d) for d in detectors)
        self.types = np.array([TYPE_INDEX[t.alert_type] for t in self.traits])
        self.grid: CellGrid = calibrations[0].grid
        self.smoothing_steps = np.array([t.smoothing_samples for t in self.traits])
        self._warmup = np.array([t.warmup_samples for t in self.traits])
        self._report_level = np.array([t.report_level for t in self.traits])
        self._any_speed = np.array([t.any_speed for t in self.traits])
        self._rule = acontrario.of(rules)
        self._nfa_of = next(
            (k for k, t in enumerate(self.traits) if t.a_contrario and calibrations[k].low is not None), None
        )
        # Of several the finest; each other is a divisor of it.
        self._parts = math.lcm(*(c.parts for c in calibrations))
        self.coverage_grid = self.grid.divided(self._parts)
        self._norms = _Norms.of(calibrations, self.traits, self._parts)
        self._tail_scores = None if thresholds is None else TailScores(thresholds.tail_score)
        self.log_weight = functions.log([t.weight for t in self.traits])
        self._columns = [(k, np.flatnonzero(self.types == k).tolist()) for k in np.unique(self.types).tolist()]
        self.alert_dtype = _alert_dtype(len(names))
        width = rings.RING_STEPS
        self.row_dtype = np.dtype(
            [(f"state_{d.name}", d.state_dtype) for d in detectors if d.state_dtype.itemsize]
            + [("z", "f4", (len(names), width)), ("parts", "f4", (4,)), ("judged", "u4"), ("low", "u4")]
            + [(f, "f8", (width,)) for f in ("t", "lat", "lon")]
            + [(f, "f4", (width,)) for f in ("sog", "cog")]
            + [("alert", self.alert_dtype, (N_TYPES,))]
        )
        states = {f"state_{d.name}" for d in detectors}
        self.memory_dtype = np.dtype([(f, self.row_dtype[f]) for f in self.row_dtype.names or () if f not in states])

    @property
    def covered(self) -> NDArray[np.bool_] | None:
        """(cells of ``coverage_grid``,) where a normal is known; None when the model does not know."""
        known = [
            c.covered_in(self._parts)
            for c, t in zip(self.calibrations, self.traits, strict=True)
            if t.covered_only and c.covered is not None
        ]
        return np.logical_and.reduce(known) if known else None

    def initial(self, n: int) -> Rows:
        """(n,) rows of lines that have seen nothing."""
        rows = np.zeros(n, self.row_dtype)
        for d in self.detectors:
            if d.state_dtype.itemsize:
                rows[f"state_{d.name}"] = d.initial(n)
        for name in ("z", "parts", *_RING_FIELDS):
            rows[name] = np.nan
        return rows

    def step(self, rows: Rows, samples: Samples) -> tuple[Rows, StepResult]:
        """(n,) rows and each line's next sample (n,) of ``SAMPLE_DTYPE`` -> new rows, and what is to be said of the samples."""
        new, _, result = self.steps(rows, samples)
        return new, result

    def steps(self, rows: Rows, samples: Samples) -> tuple[Rows, Memory, StepResult]:
        """The next T steps of n lines: the same bits as T times ``step``.

        Args:
            rows: (n,) before them.
            samples: (T * n,), the first step of every line before the second of any.

        Returns:
            The (n,) rows after all steps, with the alerts of before: they are ``AlertLife``'s; what a row holds beside the detectors' states
            after each step; and what is to be said of the samples.
        """
        n = len(rows)
        # As bytes: NumPy copies fields one by one.
        new: Rows = rows.view(f"V{self.row_dtype.itemsize}").copy().view(self.row_dtype)
        value, reasons, parts = self._scores(rows, new, samples)
        cell = self.grid.index(samples["lat"], samples["lon"])
        class_row = vessel_class(samples["ship_type"]) + 1
        outside, moored = cell < 0, samples["moored"]
        here = np.where(outside, 0, cell)
        norms = self._norms
        unknown = norms.unknown[here]
        value[unknown] = np.nan
        value[moored | outside] = np.nan
        fast = samples["sog"] > self.speed_max_knots
        value[fast[:, None] & ~self._any_speed] = np.nan
        little_known = (reasons == NotJudged.LITTLE_KNOWN).any(axis=1) | unknown.any(axis=1)
        part = here if self._parts == 1 else np.maximum(self.coverage_grid.index(samples["lat"], samples["lon"]), 0)
        uncovered = norms.uncovered[part]
        value[uncovered] = np.nan
        no_coverage = uncovered.any(axis=1)
        at = class_row * self.grid.n_cells + here
        z = (value - norms.mean[at]) / norms.sd[at]
        np.maximum(z, -norms.limit, out=z)
        np.minimum(z, norms.limit, out=z)

        history = {name: rings.history(rows[name], samples[name]) for name in _RING_FIELDS}
        history["z"] = rings.history(rows["z"], z.astype(np.float32))
        for name, values_of in history.items():
            new[name] = rings.newest(values_of, rings.RING_STEPS)
        n_steps = len(samples) // max(n, 1)
        shown = rows["parts"]
        if parts is not None:
            shown = _running_means(shown, np.where(moored[:, None], np.nan, parts))
        elif n_steps > 1:
            shown = np.tile(shown, (n_steps, 1))

        said = self.gate(rings.window_means(history["z"], self.smoothing_steps), samples["n"])
        if self._nfa_of is not None and norms.low is not None:
            low, x = norms.low[here], value[:, self._nfa_of]
            is_judged = (x == x) & (low == low)
            marks = self._rule.push_all(rows["judged"], rows["low"], is_judged, x > low)
            nfa = np.where(is_judged, self._rule.least(*marks), np.nan)
        else:
            marks = np.tile(rows["judged"], n_steps), np.tile(rows["low"], n_steps)
            nfa = np.full(len(samples), np.nan)
        rest = {"parts": shown, "judged": marks[0], "low": marks[1]}
        for name, values_of in rest.items():
            new[name] = values_of[len(samples) - n :]
        memory: Memory = new
        if n_steps > 1:
            memory = BlockMemory(self.memory_dtype, history, rest, rows["alert"])
        tail_score, type_score = self._fuse(said, nfa)
        long_enough = (samples["n"] >= self.rules.warmup_samples) & (samples["n"] * STEP_S >= self.rules.min_timespan_s)
        judged = long_enough & ~np.isnan(said).all(1)
        reason = np.full(len(samples), NotJudged.NO_DATA, np.uint8)
        # The last that applies counts.
        reason[fast] = NotJudged.TOO_FAST
        reason[little_known] = NotJudged.LITTLE_KNOWN
        reason[no_coverage] = NotJudged.NO_COVERAGE
        reason[~long_enough] = NotJudged.TOO_SHORT
        reason[outside] = NotJudged.OUTSIDE_REGION
        reason[moored] = NotJudged.MOORED
        reason[judged] = NotJudged.JUDGED
        score = np.fmax.reduce(type_score, axis=1)
        return new, memory, StepResult(judged, reason, said, tail_score, type_score, score, nfa, _shares(shown))

    def _scores(
        self, rows: Rows, new: Rows, samples: Samples
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64] | None]:
        """(m, D) scores and reasons of all detectors, whose states after them go into ``new``; (m, 4) parts of the first that has any."""
        value = np.empty((len(samples), len(self.detectors)))
        reasons = np.empty(value.shape, np.uint8)
        parts: NDArray[np.float64] | None = None
        for k, detector in enumerate(self.detectors):
            if detector.state_dtype.itemsize:
                name = f"state_{detector.name}"
                # A copy: kernels may take another path for strided input, and its last bit may differ.
                new[name], scores = steps(detector, rows[name].copy(), samples)
            else:
                _, scores = steps(detector, detector.initial(len(rows)), samples)
            value[:, k], reasons[:, k] = scores.score, scores.reason
            if scores.parts is not None:
                parts = scores.parts if parts is None else _first_known(parts, scores.parts)
        return value, reasons, parts

    def tail_score(self, said: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., D) windowed z -> (..., D) tail_score; NaN while thresholds are being learnt."""
        return np.full_like(said, np.nan) if self._tail_scores is None else self._tail_scores(said)

    def score_of(self, said: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, D) windowed z -> (n,) score / threshold as ``step`` gives it by the fused decision; NaN where nothing is said."""
        score: NDArray[np.float64] = np.fmax.reduce(self._fuse(said, np.full(len(said), np.nan))[1], axis=1)
        return score

    def start_of_segment(self, row: np.void) -> int:
        """Steps from the newest sample back to the start of the most meaningful segment that ends there."""
        length = self._rule.best(np.atleast_1d(row["judged"]), np.atleast_1d(row["low"]))[1]
        return max(0, int(length[0]) - 1)

    def gate(self, said: NDArray[np.float64], n: NDArray[np.int32]) -> NDArray[np.float64]:
        """Nothing before a detector's warm-up, and none but report-level rules before MIN_TIMESPAN."""
        long_enough = (n * STEP_S >= self.rules.min_timespan_s)[:, None] | self._report_level
        return np.where((n[:, None] >= self._warmup) & long_enough, said, np.nan)

    def _fuse(
        self, said: NDArray[np.float64], nfa: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Windowed z -> tail_score of each detector, and each alert type's largest, weighted and with its handicap / the threshold."""
        type_score = np.full((len(said), N_TYPES), np.nan)
        tail_score = self.tail_score(said)
        if self.thresholds is None:
            return tail_score, type_score
        common, threshold_offset = self.thresholds.common, self.thresholds.threshold_offset
        ratio = np.maximum((tail_score + (self.log_weight + threshold_offset[self.types])) / common, 0.0)
        for k, traits in enumerate(self.traits):
            if traits.fixed_threshold is not None:
                limit = self.thresholds.rule_limit(traits.alert_type, traits.fixed_threshold)
                ratio[:, k] = over_limit(self.calibrations[k].score_of_region(said[:, k]), limit)
        for k, columns in self._columns:
            for column in columns:
                np.fmax(type_score[:, k], ratio[:, column], out=type_score[:, k])
        if self.decision == "a_contrario":
            type_score[:, TYPE_INDEX[AlertType.ABNORMAL]] = nfa / self.thresholds.log10_eps
        return tail_score, type_score


def _running_means(first: NDArray[np.float32], values: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, 4) before a block and its (T * n, 4) values -> (T * n, 4) after each step; a value that is missing changes nothing."""
    n, old = len(first), first
    out = np.empty(values.shape, np.float32)
    for at in range(0, len(values), max(n, 1)):
        value = values[at : at + n]
        moved = old + (value - old) / PARTS_STEPS
        out[at : at + n] = np.where(np.isnan(value), old, np.where(np.isnan(old), value, moved))
        old = out[at : at + n]
    return out


def _first_known(parts: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, 4) ``parts``, of samples for which they say nothing those of the next detector."""
    nothing: NDArray[np.bool_] = np.logical_and.reduce(np.isnan(parts), axis=1)
    return np.where(nothing[:, None], others, parts)


def _shares(parts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Parts -> shares that sum to 1; a part that is less strange than expected has none; NaN rows stay NaN."""
    known = ~np.isnan(parts)
    positive = np.where(known, np.maximum(parts, 0.0), 0.0).astype(np.float64)
    total = positive[:, 0] + positive[:, 1] + positive[:, 2] + positive[:, 3]
    ok = known.any(1) & (total > 0)
    return np.where(ok[:, None] & known, positive / np.where(ok, total, 1.0)[:, None], np.nan)


def _alert_dtype(n_detectors: int) -> np.dtype:
    """What a line remembers of one alert type; ``open``: whether an alert is open."""
    return np.dtype(
        [
            ("open", "?"),
            ("cause", "i1"),  # index into records.Cause
            ("quiet", "i2"),  # samples below the threshold since the last one above it
            ("revision", "i4"),
            ("track_id", "S32"),  # of the track in which it was raised
            ("t_first", "f8"),  # the sample that raised it; makes the alert's id
            ("start", "f8", (3,)),  # t, lat, lon
            ("end", "f8", (3,)),
            ("told_t", "f8"),  # time of the sample of the last revision
            ("told_score", "f8"),
            ("score", "f8"),  # greatest so far; the rest is of that sample
            ("log10_nfa", "f8"),
            ("parts", "f4", (4,)),  # told with six digits
            ("z", "f4", (n_detectors,)),
            ("peak", "f8", (5,)),  # t, lat, lon; mean sog and course of the window
        ]
    )


__all__ = ["TYPES", "Panel", "StepResult", "Traits"]
