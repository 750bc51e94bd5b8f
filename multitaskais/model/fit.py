"""From samples of normal tracks to a model: detectors, calibrations, thresholds (docs/method.md#calibration and #measured-decisions).

Vessels stand in three groups that never mix: *train* teaches the detectors, *dev* says what their scores are like on ships they
have not seen and sets the thresholds, *test* is looked at once, by ``evaluate``. A detector that can leave a vessel's own data out
(``SupportsLeaveOut``) learns from all tracks of train and dev and is calibrated on both: more vessels, and each as if it had not been
seen. Where the tracks are of several days, what it says of a block of days is asked of one that learned from the other days alone:
tomorrow's traffic is of another day too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, DetectionRules, Region, TrackRules
from ..detection import calibration
from ..detection import offline as replay
from ..detection.calibration import Calibration
from ..detection.grid import LEVELS, CellGrid, distinct_vessels, vessels_received
from ..detection.panel import LITTLE_KNOWN_VESSELS, Panel
from ..detection.promise import CONFIDENCE
from ..detection.protocol import Detector, excluding_own, leave_out, traits_of
from ..detection.rings import window_mean
from ..detection.ship_classes import vessel_class
from ..detection.threshold import (
    N_TYPES,
    SCORE_LEVELS,
    TYPE_INDEX,
    Budget,
    DevelopmentScores,
    TailScore,
    Thresholds,
    as_left_out,
    choose,
    type_tails,
)
from ..detection.traffic_patterns import CellStatistics
from ..errors import ConfigError
from ..records import AlertType
from ..types import Samples
from .folder import ENTRY_POINTS, Model, detector_class

MIN_DEV_VESSELS = 5  # fewer tell nothing of a share of 5 %
DAY_BLOCKS = 5  # blocks of days that are left out in turn
DAY_S = 86400.0
CUT_SAMPLES = 144  # a track is cut at 24 h (docs/method.md#tracks): so it is counted
PARTS = 10  # of the vessels that are left out in turn where scores are made comparable
RULES_SHARE = 0.5  # of the budget that fixed rules may take; more, and a rule fires on ordinary traffic

Say = Callable[[str], None]


def installed() -> tuple[str, ...]:
    """Names of all detectors of the entry point group."""
    return tuple(sorted({e.name for e in entry_points(group=ENTRY_POINTS)}))


def fit_model(
    train: NDArray[np.void],
    dev: NDArray[np.void],
    region: Region,
    *,
    name: str,
    memory: NDArray[np.void] | None = None,
    track_rules: TrackRules | None = None,
    rules: DetectionRules | None = None,
    detectors: Sequence[str] | None = None,
    trained: Mapping[str, Detector | Path] | None = None,
    budget: Budget | None = None,
    decision: str = "fused",
    made_from: Mapping[str, Any] | None = None,
    credits: Sequence[str] = (),
    rule_events: NDArray[np.void] | None = None,
    say: Say | None = None,
) -> Model:
    """Learn a model.

    Args:
        train: ``SAMPLE_DTYPE`` of normal tracks, sorted by target (``mmsi``, ``n``).
        dev: the same, of other vessels than those of ``train``.
        memory: samples of all tracks of these vessels, short ones too: what detectors that can leave a vessel out learn from
            (more vessels help steadily, docs/method.md#low-coverage); train and dev when None.
        detectors: names of entry points, in the panel's order; all installed ones that need no training of their own, and those of
            ``trained``, when None.
        trained: detectors that took hours to train, ready or as the folder they were saved in; they are not fitted again.
        budget: of false alarms; ``Budget()`` when None.
        rule_events: (e,) of ``tracks.segmentation.RULE_EVENT_DTYPE``: jumps and identity conflicts on these tracks; they use up their part of the budget.
        say: is told each step done.

    Raises:
        ConfigError: too few vessels, or a vessel in both groups.
    """
    rules, track_rules, budget = rules or DetectionRules(), track_rules or TrackRules(), budget or Budget()
    trained = dict(trained or {})
    tell = say or (lambda _: None)
    _check(train, dev)
    names = tuple(detectors) if detectors is not None else tuple(n for n in installed() if n in trained or _quick(n))
    grid = CellGrid.of(region)

    both = np.concatenate([train, dev])
    memory = both if memory is None else memory
    panel_detectors: list[Detector] = []
    calibrations: list[Calibration] = []
    z = np.full((len(both), len(names)), np.nan)
    for k, wanted in enumerate(names):
        detector = _detector(wanted, trained.get(wanted), train, memory, region, rules)
        tell(f"{wanted}: learnt")
        refit = None if wanted in trained else partial(type(detector).fit, region=region, rules=rules)
        cal, z[:, k] = _calibrate(detector, both, len(train), memory, grid, rules, refit)
        panel_detectors.append(detector)
        calibrations.append(cal)
        tell(f"{wanted}: calibrated")

    panel = Panel(panel_detectors, calibrations, None, rules)
    # A detector that cannot leave a vessel out (a trained network) is too calm on the train tracks: its share rests on dev alone,
    # and what it says of train tracks counts for its type as the little that it is.
    first = [0 if leave_out(d) else len(train) for d in panel_detectors]
    thresholds = _choose(panel, both, _windowed(panel, both, z), budget, first, rule_events)
    for rule, limit in sorted(thresholds.rule_limits.items()):
        tell(
            f"rule {rule}: fires on too many normal tracks; its limit is {limit:.3g} knots now"
            if np.isfinite(limit)
            else f"rule {rule}: fires on too many normal tracks and is off"
        )
    assert thresholds.promise is not None
    for line in thresholds.promise.lines(budget.allowed, alerts=budget.alerts_per_vessel_day is not None):
        tell(line)
    facts = {
        "train_vessels": len(np.unique(train["mmsi"])),
        "dev_vessels": len(np.unique(dev["mmsi"])),
        "train_tracks": len(replay.lines_of(train)[0]),
        "dev_tracks": len(replay.lines_of(dev)[0]),
        "first_t": float(min(train["t"].min(), dev["t"].min())),
        "last_t": float(max(train["t"].max(), dev["t"].max())),
    }
    panel = Panel(panel_detectors, calibrations, thresholds, rules, decision=decision)
    usual = CellStatistics.fit(both, grid)
    return Model(
        name,
        region,
        track_rules,
        rules,
        panel,
        usual,
        budget,
        made_from={**facts, **(made_from or {})},
        credits=tuple(credits),
    )


def with_budget(
    model: Model,
    dev: NDArray[np.void],
    budget: Budget,
    rule_events: NDArray[np.void] | None = None,
    suppressed: NDArray[np.bool_] | None = None,
) -> Model:
    """The same detectors and calibrations under another budget; no vessel is left out of its cells here.

    suppressed: (m, N_TYPES) samples that raise no alert of a type, since officers have called it normal there (``detection.answers``).
    """
    panel = model.panel
    z = replay.run_panel(Panel(panel.detectors, panel.calibrations, None, panel.rules), dev).z
    thresholds = _choose(panel, dev, z, budget, [0] * len(panel.detectors), rule_events, suppressed)
    new = Panel(panel.detectors, panel.calibrations, thresholds, panel.rules, decision=panel.decision)
    return replace(model, panel=new, budget=budget, version="unsaved")


def _check(train: NDArray[np.void], dev: NDArray[np.void]) -> None:
    vessels = np.unique(dev["mmsi"])
    if len(vessels) < MIN_DEV_VESSELS or not len(train):
        raise ConfigError(
            f"{len(np.unique(train['mmsi']))} vessels to learn from and {len(vessels)} to set thresholds on are too few: give tracks of more vessels (hundreds are better)"
        )
    if both := np.intersect1d(train["mmsi"], vessels).size:
        raise ConfigError(f"{both} vessels are both in train and in dev: split by vessel")


def _quick(name: str) -> bool:
    """False for a detector that must be trained before (``Traits.training``), or asked for (``by_default``)."""
    traits = traits_of(detector_class(name))
    return traits.training != "required" and traits.by_default


def _detector(
    name: str,
    ready: Detector | Path | None,
    train: NDArray[np.void],
    memory: NDArray[np.void],
    region: Region,
    rules: DetectionRules,
) -> Detector:
    """Ready, or learnt from the train tracks; from all there is when it can leave a vessel out while it is calibrated."""
    cls = detector_class(name)
    if ready is None:
        fitted: Detector = cls.fit(memory if leave_out(cls) else train, region, rules)
        return fitted
    return cls.load(ready, region, rules) if isinstance(ready, Path) else ready


def _calibrate(
    detector: Detector,
    both: NDArray[np.void],
    n_train: int,
    memory: NDArray[np.void],
    grid: CellGrid,
    rules: DetectionRules,
    fit: Callable[[NDArray[np.void]], Detector] | None = None,
) -> tuple[Calibration, NDArray[np.float64]]:
    """The calibration, and (len(both),) z of the samples, train then dev, with each vessel's own data left out of its cells.

    ``fit``: learns one like ``detector`` from other samples, so that days can be left out in turn; None when it cannot.

    A detector that cannot leave a vessel out is calibrated on dev alone; its z of the train vessels are too calm, by what it has
    overfitted.
    """
    traits, cross_fitted = traits_of(detector), leave_out(detector)
    score = scores_of_other_days(detector, both, memory, fit if cross_fitted else None)
    score[both["moored"]] = np.nan
    low = rules.low_quantile if traits.a_contrario else None
    first = 0 if cross_fitted else n_train
    cal, part = calibration.fit(
        score[first:], both[first:], grid, cell_calibrated=traits.calibration == "per_cell", low_quantile=low
    )
    cell = grid.index(both["lat"], both["lon"])
    z = cal.z(np.where(cell >= 0, score, np.nan), np.maximum(cell, 0), vessel_class(both["ship_type"]) + 1)
    z[first:] = part
    if traits.location_based:
        # Vessels around are counted on what the detector remembers.
        cal = replace(cal, vessels=_around(memory if cross_fitted else both[:n_train], grid))
        z[cal.vessels[np.maximum(cell, 0)] < LITTLE_KNOWN_VESSELS] = np.nan
    if traits.covered_only:
        received = memory if cross_fitted else np.concatenate([memory, both])
        covered, by_others = _coverage(received, grid, both)
        cal = replace(cal, covered=covered)
        z[~by_others] = np.nan
    return cal, z


def day_blocks(samples: Samples) -> NDArray[np.int64]:
    """(m,) block of days of each sample, 0 for all where there is one day; a line stands in the block of its first sample."""
    start, line = replay.lines_of(samples)
    day = np.floor(samples["t"][start] / DAY_S).astype(np.int64)
    days, at = np.unique(day, return_inverse=True)
    return (at.ravel() * min(DAY_BLOCKS, len(days)) // max(len(days), 1))[line]


def scores_of_other_days(
    detector: Detector,
    samples: Samples,
    memory: NDArray[np.void],
    fit: Callable[[NDArray[np.void]], Detector] | None,
) -> NDArray[np.float64]:
    """(m,) scores of samples, of each block of days by one that has learned from the other blocks' lines and no line that touches them."""
    block = day_blocks(samples)
    score = np.full(len(samples), np.nan)
    n_blocks = int(block.max(initial=0)) + 1
    for b in range(n_blocks):
        mine = block == b
        judge = detector
        if fit is not None and n_blocks > 1:
            first, last = samples["t"][mine].min(), samples["t"][mine].max()
            start, line = replay.lines_of(memory)
            end = np.append(start[1:], len(memory)) - 1
            apart = (memory["t"][end] < first) | (memory["t"][start] > last)
            if not apart.any():
                apart = memory["t"][start] != memory["t"][start].min()  # one long line: no other days
            others = memory[apart[line]]
            judge = fit(others) if len(np.unique(others["mmsi"])) > 1 else detector
        with excluding_own(judge):
            score[mine] = replay.run_detector(judge, samples[mine])[0]
    return score


def _coverage(
    received: NDArray[np.void], grid: CellGrid, samples: Samples
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n_cells,) where anything was received around, and (m,) samples around which another vessel than their own was."""
    cell = grid.index(received["lat"], received["lon"])
    received, cell = received[cell >= 0], cell[cell >= 0]
    vessels, keys = vessels_received(grid, cell, received["mmsi"])
    names = np.unique(received["mmsi"])
    at = np.searchsorted(names, samples["mmsi"])
    known = (at < len(names)) & (names[np.minimum(at, len(names) - 1)] == samples["mmsi"])
    here = grid.index(samples["lat"], samples["lon"])
    own = known & np.isin(at * grid.n_cells + here, keys)
    return vessels > 0, (here >= 0) & (vessels[np.maximum(here, 0)] > own)


def _around(samples: Samples, grid: CellGrid) -> NDArray[np.int32]:
    cell = grid.index(samples["lat"], samples["lon"])
    inside = cell >= 0
    return distinct_vessels(grid, len(LEVELS) - 1, cell[inside], samples["mmsi"][inside])


def _windowed(panel: Panel, samples: Samples, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, D) z of samples -> (m, D) windowed, by the panel's own rule."""
    out = np.full(z.shape, np.nan)
    rows = panel.initial(len(replay.lines_of(samples)[0]))["z"]
    for lines, at in replay.batches(samples):
        rows[lines, :, :-1] = rows[lines, :, 1:]
        rows[lines, :, -1] = z[at]
        out[at] = panel.gate(window_mean(rows[lines], panel.smoothing_steps), samples["n"][at])
    return out


def _nfa(panel: Panel, samples: Samples) -> NDArray[np.float64]:
    """(m,) log10 NFA; NaN without a detector for it."""
    for detector, calibration_, traits in zip(panel.detectors, panel.calibrations, panel.traits, strict=True):
        if traits.a_contrario:
            return replay.run_panel(Panel([detector], [calibration_], None, panel.rules), samples).log10_nfa
    return np.full(len(samples), np.nan)


def tracks_of(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample of each track, and (m,) each sample's track: lines, cut at 24 h."""
    start, line = replay.lines_of(samples)
    piece = (samples["n"] - samples["n"][start][line]) // CUT_SAMPLES if len(samples) else np.zeros(0, np.int64)
    fresh = np.append(True, (np.diff(line) != 0) | (np.diff(piece) != 0))[: len(samples)]
    return np.flatnonzero(fresh), np.cumsum(fresh) - 1


def _choose(
    panel: Panel,
    samples: Samples,
    windowed: NDArray[np.float64],
    budget: Budget,
    first: Sequence[int],
    rule_events: NDArray[np.void] | None = None,
    suppressed: NDArray[np.bool_] | None = None,
) -> Thresholds:
    """``first``: of each detector, the first sample (of a line) from which on its scores are to be believed."""
    start, track = tracks_of(samples)
    n_tracks, hours = len(start), len(samples) * STEP_S / 3600.0
    if suppressed is not None:
        windowed = np.where(suppressed[:, panel.types], np.nan, windowed)
    plain = DevelopmentScores(windowed, track, n_tracks, hours)
    best = plain.track_max(windowed)
    # Of each detector, the first track that it does not know.
    known_from = np.array([track[f] if f else 0 for f in first])
    typed = _TypeScores(panel, best, known_from)
    everybody = np.ones(n_tracks, bool)
    tail_score = typed.tails(everybody)
    fitted = typed.of_tracks(tail_score)
    by_type, cross_fitted = np.full((2, len(samples), N_TYPES), np.nan)
    part = vessel_parts(samples["mmsi"][start])
    for p in range(int(part.max(initial=0)) + 1):
        here, others = part == p, part != p
        if not others.any():
            others = here
        tails = typed.tails(others)
        shares = type_tails(typed.of_tracks(tails)[others])
        mine = here[track]
        for out, scored in zip((by_type, cross_fitted), typed.of_samples(tails, windowed[mine]), strict=True):
            out[mine] = as_left_out(scored, shares, type_tails(fitted))
    last = np.append(start[1:], len(samples)) - 1
    rule_limits, rule_alerts = _rules_within(_rule_knots(panel, samples, windowed, start, last, rule_events), budget)
    scores = DevelopmentScores(
        by_type,
        track,
        n_tracks,
        hours,
        cross_fitted=cross_fitted if any(first) else None,
        unseen=np.arange(n_tracks) >= track[max(first)] if any(first) else None,
        vessel=samples["mmsi"][start],
        day=np.floor(samples["t"][start] / DAY_S).astype(np.int64),
        rule_alerts=rule_alerts,
    )
    limits = choose(scores, budget, fitted)

    # eps of the a-contrario rule: the share of tracks that `abnormal` itself is given.
    abnormal = TYPE_INDEX[AlertType.ABNORMAL]
    only = np.full(N_TYPES, np.inf)
    only[abnormal] = limits[abnormal]
    least = -plain.track_max(-_nfa(panel, samples))[track[max(first)] if max(first) else 0 :]
    known = least[np.isfinite(least)]
    share = min(replace(scores, rule_alerts=None).flagged(only), 1.0)
    log10_eps = min(float(np.quantile(known, share, method="lower")), -1e-3) if len(known) else np.nan
    promise = scores.promise(limits, budget.confidence or CONFIDENCE)
    chosen = Thresholds(
        tail_score,
        limits,
        log10_eps,
        n_tracks,
        promise.flagged,
        promise.alerts_per_vessel_day,
        rule_limits=rule_limits,
        promise=promise,
    )
    fused = np.fmax.reduce(scores.best + chosen.threshold_offset, axis=1) / chosen.common
    return replace(
        chosen,
        score_at_5pct=float(np.nanquantile(np.nan_to_num(fused, nan=0.0), 0.95)),
        samples_above=_samples_above(panel, chosen, windowed[max(first) :]),
    )


class _TypeScores:
    """From windowed scores of detectors to scores of alert types, by tails that were fitted on some of the tracks.

    best: (n_tracks, D) greatest windowed score of each track. known_from: (D,) the first track whose vessel a detector has not learned
    from: what it says of those before is not believed.
    """

    def __init__(self, panel: Panel, best: NDArray[np.float64], known_from: NDArray[np.int64]) -> None:
        self._panel, self._best, self._known_from = panel, best, known_from
        self._unseen = np.arange(len(best)) >= known_from.max(initial=0)

    def tails(self, tracks: NDArray[np.bool_]) -> tuple[TailScore, ...]:
        """One a detector, of the tracks of a mask."""
        return tuple(
            TailScore.fit(self._best[int(f) :, k][tracks[int(f) :]]) for k, f in enumerate(self._known_from.tolist())
        )

    def of_samples(
        self, tails: Sequence[TailScore], windowed: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(m, D) -> (m, N_TYPES) of all detectors, and of those that know none of these vessels."""
        by_type, cross_fitted = np.full((2, len(windowed), N_TYPES), np.nan)
        for k, (t, traits) in enumerate(zip(self._panel.types, self._panel.traits, strict=True)):
            if traits.fixed_threshold is None:
                said = tails[k](windowed[:, k]) + self._panel.log_weight[k]
                by_type[:, t] = np.fmax(by_type[:, t], said)
                if not self._known_from[k]:
                    cross_fitted[:, t] = np.fmax(cross_fitted[:, t], said)
        return by_type, cross_fitted

    def of_tracks(self, tails: Sequence[TailScore]) -> NDArray[np.float64]:
        """(n_tracks, N_TYPES) greatest of each track: of all detectors where none knows its vessel, else of those that do not."""
        # A tail score grows with its score, so that the greatest of a track is that of its greatest.
        by_type, cross_fitted = self.of_samples(tails, self._best)
        return np.where(self._unseen[:, None], by_type, cross_fitted)


def vessel_parts(mmsi: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_tracks,) part of each track, 0..``PARTS`` - 1; a vessel's tracks are in one part."""
    vessels, at = np.unique(mmsi, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(vessels))  # MMSIs of one country or company are not kept together
    return np.asarray(order[at.ravel()] % min(PARTS, max(len(vessels), 1)), np.int64)


def _samples_above(panel: Panel, thresholds: Thresholds, windowed: NDArray[np.float64]) -> dict[float, float]:
    """Share of the samples with a score whose score / threshold exceeds each level, as the live operator sees them."""
    score = Panel(panel.detectors, panel.calibrations, thresholds, panel.rules).score_of(windowed)
    score = score[np.isfinite(score)]
    return {level: float((score > level).mean()) for level in SCORE_LEVELS} if len(score) else {}


def _rule_knots(
    panel: Panel,
    samples: Samples,
    windowed: NDArray[np.float64],
    start: NDArray[np.int64],
    last: NDArray[np.int64],
    events: NDArray[np.void] | None,
) -> dict[str, NDArray[np.float64]]:
    """By alert type of a fixed rule, (n_tracks,) the greatest value at which it raises an alert; NaN on tracks where it is silent."""
    out: dict[str, NDArray[np.float64]] = {}
    for k, (calibration_, traits) in enumerate(zip(panel.calibrations, panel.traits, strict=True)):
        if traits.fixed_threshold is not None:
            said = calibration_.score_of_region(windowed[:, k])
            best = np.fmax.reduceat(said, start)
            out[str(traits.alert_type)] = np.where(best >= traits.fixed_threshold, best, np.nan)
    if events is None:
        return out
    order = np.lexsort((samples["t"][start], samples["mmsi"][start]))
    mmsi, since, until = samples["mmsi"][start][order], samples["t"][start][order], samples["t"][last][order]
    for event in events:
        mine = (mmsi == event["mmsi"]) & (since - STEP_S <= event["t"]) & (event["t"] <= until + STEP_S)
        values = out.setdefault(str(event["alert_type"]), np.full(len(start), np.nan))
        at = order[mine]
        values[at] = np.fmax(values[at], event["knots"])
    return out


def _rules_within(
    knots: Mapping[str, NDArray[np.float64]], budget: Budget
) -> tuple[dict[str, float], NDArray[np.int64] | None]:
    """Limits of the rules that would use up more than their part of the budget, and (n_tracks,) alerts of all rules under them.

    The rule that flags most tracks gives way first: its limit rises above the least of the tracks that it flags.
    """
    limits: dict[str, float] = {}
    if not knots:
        return limits, None
    fires = {name: np.isfinite(v) | (v == np.inf) for name, v in knots.items()}
    # A share of which less than one track could be meant is not measured here: one track may be.
    n_tracks = len(next(iter(knots.values())))
    allowed = max(RULES_SHARE * budget.track_share * n_tracks, 1.0)
    while int(np.any(list(fires.values()), axis=0).sum()) > allowed:
        name = max(sorted(fires), key=lambda k: int(fires[k].sum()))
        least = float(knots[name][fires[name]].min())
        rest = knots[name][fires[name] & (knots[name] > least)]
        # Halfway to the next, so that the same track rounded otherwise stays below; off when all are alike.
        limits[name] = 0.5 * (least + float(rest.min())) if len(rest) and np.isfinite(rest.min()) else np.inf
        fires[name] = fires[name] & (knots[name] >= limits[name]) & bool(np.isfinite(limits[name]))
    return limits, np.sum(list(fires.values()), axis=0, dtype=np.int64)
