"""From samples of normal tracks to a model: detectors, calibrations, thresholds (docs/method.md#calibration and #measured-decisions).

Vessels stand in three groups that never mix: *train* teaches the detectors, *dev* says what their scores are like on ships they
have not seen and sets the thresholds, *test* is looked at once, by ``evaluate``. A detector that can leave a vessel's own data out
(``SupportsLeaveOut``) learns from all tracks of train and dev and is calibrated on both: more vessels, and each as if it had not been
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S, DetectionRules, Region, TrackRules
from ..detection import calibration
from ..detection import offline as replay
from ..detection.calibration import Calibration
from ..detection.grid import LEVELS, CellGrid, distinct_vessels
from ..detection.panel import LITTLE_KNOWN_VESSELS, Panel
from ..detection.protocol import Detector, excluding_own, leave_out, traits_of
from ..detection.rings import window_mean
from ..detection.ship_classes import vessel_class
from ..detection.threshold import N_TYPES, TYPE_INDEX, Budget, DevelopmentScores, TailScore, Thresholds, choose
from ..detection.traffic_patterns import CellStatistics
from ..errors import ConfigError
from ..records import AlertType
from .folder import ENTRY_POINTS, Model, detector_class

MIN_DEV_VESSELS = 5  # fewer tell nothing of a share of 5 %

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
        cal, z[:, k] = _calibrate(detector, both, len(train), memory, grid, rules)
        panel_detectors.append(detector)
        calibrations.append(cal)
        tell(f"{wanted}: calibrated")

    panel = Panel(panel_detectors, calibrations, None, rules)
    # A detector that cannot leave a vessel out (a trained network) is too calm on the train tracks: its share rests on dev alone,
    # and what it says of train tracks counts for its type as the little that it is.
    first = [0 if leave_out(d) else len(train) for d in panel_detectors]
    thresholds = _choose(panel, both, _windowed(panel, both, z), budget, first)
    tell(f"thresholds: {thresholds.flagged:.1%} of {thresholds.n_tracks} normal tracks flagged")
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


def with_budget(model: Model, dev: NDArray[np.void], budget: Budget) -> Model:
    """The same detectors and calibrations under another budget; no vessel is left out of its cells here."""
    panel = model.panel
    z = replay.run_panel(Panel(panel.detectors, panel.calibrations, None, panel.rules), dev).z
    thresholds = _choose(panel, dev, z, budget, [0] * len(panel.detectors))
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
    """False for a detector that must be trained before (``Traits.training``)."""
    return traits_of(detector_class(name)).training != "required"


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
        return cls.fit(memory if leave_out(cls) else train, region, rules)
    return cls.load(ready, region, rules) if isinstance(ready, Path) else ready


def _calibrate(
    detector: Detector,
    both: NDArray[np.void],
    n_train: int,
    memory: NDArray[np.void],
    grid: CellGrid,
    rules: DetectionRules,
) -> tuple[Calibration, NDArray[np.float64]]:
    """The calibration, and (len(both),) z of the samples, train then dev, with each vessel's own data left out of its cells.

    A detector that cannot leave a vessel out is calibrated on dev alone; its z of the train vessels are too calm, by what it has
    overfitted.
    """
    traits, cross_fitted = traits_of(detector), leave_out(detector)
    with excluding_own(detector):
        score, _ = replay.run_detector(detector, both)
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
    return cal, z


def _around(samples: NDArray[np.void], grid: CellGrid) -> NDArray[np.int32]:
    cell = grid.index(samples["lat"], samples["lon"])
    inside = cell >= 0
    return distinct_vessels(grid, len(LEVELS) - 1, cell[inside], samples["mmsi"][inside])


def _windowed(panel: Panel, samples: NDArray[np.void], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, D) z of samples -> (m, D) windowed, by the panel's own rule."""
    out = np.full(z.shape, np.nan)
    rows = panel.initial(len(replay.lines_of(samples)[0]))["z"]
    for lines, at in replay.batches(samples):
        rows[lines, :, :-1] = rows[lines, :, 1:]
        rows[lines, :, -1] = z[at]
        out[at] = panel.gate(window_mean(rows[lines], panel.steps), samples["n"][at])
    return out


def _nfa(panel: Panel, samples: NDArray[np.void]) -> NDArray[np.float64]:
    """(m,) log10 NFA; NaN without a detector for it."""
    for detector, calibration_, traits in zip(panel.detectors, panel.calibrations, panel.traits, strict=True):
        if traits.a_contrario:
            return replay.run_panel(Panel([detector], [calibration_], None, panel.rules), samples).log10_nfa
    return np.full(len(samples), np.nan)


def _choose(
    panel: Panel, samples: NDArray[np.void], windowed: NDArray[np.float64], budget: Budget, first: Sequence[int]
) -> Thresholds:
    """``first``: of each detector, the first sample (of a line) from which on its scores are to be believed."""
    start, track = replay.lines_of(samples)
    n_tracks, hours = len(start), len(samples) * STEP_S / 3600.0
    plain = DevelopmentScores(windowed, track, n_tracks, hours)
    best = plain.track_max(windowed)
    tail_score = tuple(TailScore.fit(best[track[f] :, k] if f else best[:, k]) for k, f in enumerate(first))

    by_type = np.full((len(samples), N_TYPES), np.nan)
    for k, (t, traits) in enumerate(zip(panel.types, panel.traits, strict=True)):
        if traits.fixed_threshold is None:
            by_type[:, t] = np.fmax(by_type[:, t], tail_score[k](windowed[:, k]) + panel.log_weight[k])
    scores = DevelopmentScores(by_type, track, n_tracks, hours)
    limits = choose(scores, budget)

    # eps of the a-contrario rule: the share of tracks that `abnormal` itself is given.
    abnormal = TYPE_INDEX[AlertType.ABNORMAL]
    only = np.full(N_TYPES, np.inf)
    only[abnormal] = limits[abnormal]
    least = -plain.track_max(-_nfa(panel, samples))[track[max(first)] if max(first) else 0 :]
    known = least[np.isfinite(least)]
    share = scores.flagged(only)
    log10_eps = min(float(np.quantile(known, share, method="lower")), -1e-3) if len(known) else np.nan
    flagged, alerts = scores.flagged(limits), scores.alerts_per_vessel_day(limits)
    chosen = Thresholds(tail_score, limits, log10_eps, n_tracks, flagged, alerts)
    fused = np.fmax.reduce(scores.track_max(scores.tail_score) + chosen.threshold_offset, axis=1) / chosen.common
    return replace(chosen, score_at_5pct=float(np.nanquantile(np.nan_to_num(fused, nan=0.0), 0.95)))
