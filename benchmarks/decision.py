"""Claim: calibration test and a-contrario decision of a 24 h track 20,000 times as fast as with scipy in loops, with identical verdicts.

Ours is what the panel does at each step: one threshold a cell, two bit masks a vessel, tables of the binomial; 1,024 tracks together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multitaskais.detection.acontrario import AContrario, tables
from multitaskais.detection.calibration import Calibration, fit
from multitaskais.detection.grid import CellGrid
from multitaskais.records import SAMPLE_DTYPE

from .harness import Result, compare, require
from .reference import decision as reference
from .workload import region

STEPS, TRACKS, ROUNDS, GOAL = 144, 1024, 5, 20_000.0
VALUES = 400  # log-likelihoods of a well-known cell
LOG10_EPS = -2.0


class Case(NamedTuple):
    """Tracks by step: (STEPS, n) log-likelihoods and cells."""

    log_likelihood: NDArray[np.float64]
    cell: NDArray[np.int64]


def calibrated(seed: int = 0) -> tuple[Calibration, dict[int, NDArray[np.float64]]]:
    """A calibration over two dozen cells, and the values behind it, cell by cell; all other cells are left out."""
    rng = np.random.default_rng(seed)
    grid = CellGrid.of(region())
    cells = rng.choice(grid.n_cells, 24, replace=False)
    at = np.repeat(cells, VALUES)
    # Skewed, as log-likelihoods are, with another level in each cell.
    values = -rng.gamma(3.0, 2.0, len(at)) - np.repeat(rng.uniform(10, 30, len(cells)), VALUES)
    samples = np.zeros(len(at), SAMPLE_DTYPE)
    row, column = np.divmod(at, grid.n_lon)
    samples["lat"] = grid.lat_min + (row + 0.5) * grid.cell_deg
    samples["lon"] = grid.lon_min + (column + 0.5) * grid.cell_deg
    samples["mmsi"] = np.tile(np.arange(VALUES), len(cells))
    if not np.array_equal(grid.index(samples["lat"], samples["lon"]), at):
        raise AssertionError("the grid's cells are not where they were taken to be")
    calibration, _ = fit(-values, samples, grid, low_quantile=reference.QUANTILE)
    return calibration, dict(zip(cells.tolist(), np.split(values, len(cells)), strict=True))


def cases(known: dict[int, NDArray[np.float64]], n: int, seed: int) -> Case:
    """Random and adversarial tracks: usual ones, long runs of low steps, lone low steps, all low, all high, values next to the threshold."""
    rng = np.random.default_rng(seed)
    cells = np.array(list(known))
    cell = rng.choice(cells, (STEPS, n))
    base = np.empty(cell.shape)
    for c in cells.tolist():
        here = cell == c
        base[here] = rng.choice(known[c], int(here.sum()))
    kind = np.arange(n) % 5
    run = (np.arange(STEPS)[:, None] % 37) < rng.integers(0, 12, n)
    base = np.where((kind == 1) & run, -200.0, base)
    base = np.where(kind == 2, np.where(np.arange(STEPS)[:, None] % 9 == 0, -200.0, 0.0), base)
    base = np.where(kind == 3, np.where(rng.random(n) < 0.5, -200.0, 0.0), base)
    return Case(base, cell)


def decide(case: Case, calibration: Calibration, rule: AContrario) -> NDArray[np.float64]:
    """(n,) least log10 NFA of each track, step after step as live."""
    assert calibration.low is not None
    n = case.cell.shape[1]
    judged, low, best = np.zeros(n, np.uint32), np.zeros(n, np.uint32), np.full(n, np.inf)
    for log_likelihood, cell in zip(case.log_likelihood, case.cell, strict=True):
        threshold = calibration.low[cell]
        score = -log_likelihood
        judged, low = rule.push(judged, low, ~np.isnan(threshold), score > threshold)
        best = np.fmin(best, rule.least(judged, low))
    return best


def check(case: Case, calibration: Calibration, rule: AContrario, known: dict[int, NDArray[np.float64]]) -> None:
    ours = decide(case, calibration, rule)
    for i in range(case.cell.shape[1]):
        marks = reference.marks(case.log_likelihood[:, i].tolist(), case.cell[:, i].tolist(), known)
        theirs = reference.best_segment(marks)
        require(math.isclose(ours[i], theirs, rel_tol=1e-9, abs_tol=1e-9), f"log10 NFA {ours[i]} and {theirs}")
        require((ours[i] < LOG10_EPS) == (theirs < LOG10_EPS), "a verdict")


def run(quick: bool = False) -> list[Result]:
    rule = tables(24, 0.1)
    calibration, known = calibrated()
    n_check = 5 if quick else 50
    check(cases(known, n_check, 1), calibration, rule, known)
    many, one = cases(known, TRACKS, 2), cases(known, 1, 3)
    track = one.log_likelihood[:, 0].tolist(), one.cell[:, 0].tolist()
    result = compare(
        "decision",
        work=f"verdict of a 24 h track ({TRACKS:,} together)",
        reference="`gaussian_kde` of each step's cell, `binom.sf` of each segment",
        unit="tracks/s",
        ours=lambda: decide(many, calibration, rule),
        theirs=lambda: reference.is_abnormal(*track, known, LOG10_EPS),
        units=float(TRACKS),
        their_units=1.0,
        rounds=1 if quick else ROUNDS,
        goal=GOAL,
        same=f"verdicts of {n_check} tracks identical, log10 NFA to 1e-9, random and adversarial",
    )
    us = 1e6 / result.ours
    note = f"{us:.1f} us a track, {1e3 * us / STEPS:.0f} ns a step; reference {1e3 / result.theirs:.0f} ms a track"
    return [Result(**{f: getattr(result, f) for f in Result.__dataclass_fields__} | {"notes": (note,)})]
