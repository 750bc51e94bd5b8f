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

from ..config import DetectionRules, Region, TrackRules
from ..detection import calibration, offline
from ..detection.calibration import Calibration
from ..detection.grid import LEVELS, CellGrid, distinct_vessels
from ..detection.panel import LITTLE_KNOWN_VESSELS, Panel
from ..detection.protocol import Detector, excluding_own, leave_out, traits_of
from ..detection.received import Reception
from ..detection.rings import window_mean
from ..detection.ship_classes import vessel_class
from ..detection.threshold import (
    Budget,
)
from ..detection.traffic_patterns import CellStatistics
from ..errors import ConfigError
from ..types import RuleEvents, Samples
from .folder import ENTRY_POINTS, Model, detector_class
from .thresholds import DAY_S, choose_thresholds

MIN_DEV_VESSELS = 5  # fewer tell nothing of a share of 5 %
DAY_BLOCKS = 5  # blocks of days that are left out in turn

Say = Callable[[str], None]


def installed() -> tuple[str, ...]:
    """Names of all detectors of the entry point group."""
    return tuple(sorted({e.name for e in entry_points(group=ENTRY_POINTS)}))


def fit_model(
    train: Samples,
    dev: Samples,
    region: Region,
    *,
    name: str,
    memory: Samples | None = None,
    track_rules: TrackRules | None = None,
    rules: DetectionRules | None = None,
    detectors: Sequence[str] | None = None,
    trained: Mapping[str, Detector | Path] | None = None,
    budget: Budget | None = None,
    decision: str = "fused",
    made_from: Mapping[str, Any] | None = None,
    credits: Sequence[str] = (),
    rule_events: RuleEvents | None = None,
    say: Say | None = None,
) -> Model:
    """Learn a model.

    Args:
        train: ``SAMPLE_DTYPE`` of normal tracks, sorted by target (``mmsi``, ``n``).
        dev: the same, of other vessels than those of ``train``.
        memory: samples of all tracks of these vessels, short ones too: what detectors that can leave a vessel out learn from
            (more vessels help steadily, docs/method.md#low-coverage), and what shows where ships are received; train and dev when None.
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
    reception = Reception(memory, grid)
    for k, wanted in enumerate(names):
        detector = _detector(wanted, trained.get(wanted), train, memory, region, rules)
        tell(f"{wanted}: learnt")
        refit = None if wanted in trained else partial(type(detector).fit, region=region, rules=rules)
        cal, z[:, k] = _calibrate(detector, both, len(train), memory, grid, rules, reception, refit)
        panel_detectors.append(detector)
        calibrations.append(cal)
        tell(f"{wanted}: calibrated")

    panel = Panel(panel_detectors, calibrations, None, rules)
    # A detector that cannot leave a vessel out (a trained network) is too calm on the train tracks: its share rests on dev alone,
    # and what it says of train tracks counts for its type as the little that it is.
    first = [0 if leave_out(d) else len(train) for d in panel_detectors]
    thresholds = choose_thresholds(panel, both, _windowed(panel, both, z), budget, first, rule_events)
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
        "train_tracks": len(offline.lines_of(train)[0]),
        "dev_tracks": len(offline.lines_of(dev)[0]),
        "first_t": float(min(train["t"].min(), dev["t"].min())),
        "last_t": float(max(train["t"].max(), dev["t"].max())),
    }
    panel = Panel(
        panel_detectors,
        calibrations,
        thresholds,
        rules,
        decision=decision,
        speed_max_knots=track_rules.speed_max_knots,
    )
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
    dev: Samples,
    budget: Budget,
    rule_events: RuleEvents | None = None,
    suppressed: NDArray[np.bool_] | None = None,
) -> Model:
    """The same detectors and calibrations under another budget; no vessel is left out of its cells here.

    suppressed: (m, N_TYPES) samples that raise no alert of a type, since officers have called it normal there (``detection.answers``).
    """
    panel = model.panel
    z = offline.run_panel(Panel(panel.detectors, panel.calibrations, None, panel.rules), dev).z
    thresholds = choose_thresholds(panel, dev, z, budget, [0] * len(panel.detectors), rule_events, suppressed)
    new = Panel(
        panel.detectors,
        panel.calibrations,
        thresholds,
        panel.rules,
        decision=panel.decision,
        speed_max_knots=panel.speed_max_knots,
    )
    return replace(model, panel=new, budget=budget, version="unsaved")


def _check(train: Samples, dev: Samples) -> None:
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
    train: Samples,
    memory: Samples,
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
    both: Samples,
    n_train: int,
    memory: Samples,
    grid: CellGrid,
    rules: DetectionRules,
    reception: Reception,
    fit: Callable[[Samples], Detector] | None = None,
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
        cal = replace(cal, covered=reception.covered(), parts=reception.rules.parts)
        z[~reception.covered_by_others(both)] = np.nan
    return cal, z


def day_blocks(samples: Samples) -> NDArray[np.int64]:
    """(m,) block of days of each sample, 0 for all where there is one day; a line stands in the block of its first sample."""
    start, line = offline.lines_of(samples)
    day = np.floor(samples["t"][start] / DAY_S).astype(np.int64)
    days, at = np.unique(day, return_inverse=True)
    return (at.ravel() * min(DAY_BLOCKS, len(days)) // max(len(days), 1))[line]


def scores_of_other_days(
    detector: Detector,
    samples: Samples,
    memory: Samples,
    fit: Callable[[Samples], Detector] | None,
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
            start, line = offline.lines_of(memory)
            end = np.append(start[1:], len(memory)) - 1
            apart = (memory["t"][end] < first) | (memory["t"][start] > last)
            if not apart.any():
                apart = memory["t"][start] != memory["t"][start].min()  # one long line: no other days
            others = memory[apart[line]]
            judge = fit(others) if len(np.unique(others["mmsi"])) > 1 else detector
        with excluding_own(judge):
            score[mine] = offline.run_detector(judge, samples[mine])[0]
    return score


def _around(samples: Samples, grid: CellGrid) -> NDArray[np.int32]:
    cell = grid.index(samples["lat"], samples["lon"])
    inside = cell >= 0
    return distinct_vessels(grid, len(LEVELS) - 1, cell[inside], samples["mmsi"][inside])


def _windowed(panel: Panel, samples: Samples, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, D) z of samples -> (m, D) windowed, by the panel's own rule."""
    out = np.full(z.shape, np.nan)
    for group in offline.groups(samples):
        mine = samples[group]
        rows = panel.initial(len(offline.lines_of(mine)[0]))["z"]
        for lines, at in offline.batches(mine):
            rows[lines, :, :-1] = rows[lines, :, 1:]
            rows[lines, :, -1] = z[group][at]
            out[group][at] = panel.gate(window_mean(rows[lines], panel.smoothing_steps), mine["n"][at])
    return out
