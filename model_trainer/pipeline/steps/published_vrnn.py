"""``published_vrnn``: the published chain as a baseline (docs/method.md#the-network, #calibration, #a-contrario-decision): network, cells, count.

    l_t   of the VRNN with S = 16 latent samples
    low   where l_t lies below the 0.1 quantile of its cell's Gaussian KDE (cells of 0.1 degree, development vessels);
          a cell with fewer than two different values does not judge
    score of a sample: -log10 of the least NFA among the segments of at most 24 steps that end at it

What the panel does otherwise is left out: no larger cells around, moored samples count, speed and course count as place does. One thing is not as
published: the limit of the score comes from the budget, as for every baseline, and not from a fixed eps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from multitaskais.errors import InputError

from ..step import LIBRARIES, Conf, Files, Given, Work
from .baseline import SEED, Baseline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from multitaskais.config import DetectionRules, Region
    from multitaskais.networks.scorer import Scorer
    from multitaskais.types import Samples

    from .baseline import Score

METHOD = "published_vrnn"
LATENT_SAMPLES = 16  # S
MOST_SAMPLES = 200_000  # of development vessels, whole lines: S = 16 takes about a minute for so many


class PublishedVrnn(Baseline):
    """The chain with the network that the step ``train`` has trained."""

    after = ("tracks", "inject", "train")
    libraries = LIBRARIES

    def __init__(self, seed: int, name: str | None = None) -> None:
        super().__init__(METHOD, seed, name)

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        given = super().provide(conf, results)
        return replace(given, inputs={**given.inputs, "weights": Files(results["train"])})

    def learnt(self, work: Work, train: Samples, dev: Samples, region: Region) -> Score:
        from multitaskais.config import DetectionRules
        from multitaskais.detectors.vrnn import VrnnDetector
        from multitaskais.networks.scorer import NumpyScorer

        rules = DetectionRules()
        network = VrnnDetector.load(work.path("weights") / "model" / "detectors" / "vrnn", region, rules)
        return chain(NumpyScorer(network.weights, network.sizes, LATENT_SAMPLES, network.seed), dev, region, rules)


def chain(scorer: Scorer, dev: Samples, region: Region, rules: DetectionRules) -> Score:
    """Its score of samples. Raises ``InputError`` where no cell of the box has what it takes to judge."""
    import numpy as np

    from multitaskais.detection.grid import CellGrid

    grid = CellGrid.of(region)
    few = some_lines(dev)
    normal, cell = likelihoods(scorer, few, region), grid.index(few["lat"], few["lon"])
    use = (steps_of(few) >= rules.warmup_samples) & (cell >= 0)
    limit = low_limits(normal[use], cell[use], grid.n_cells, rules.low_quantile)
    if np.isnan(limit).all():
        raise InputError(f"{METHOD}: no cell of region {region.name} has two different values of development vessels: give an archive of more vessels, or a longer period")  # fmt: skip

    def score(samples: Samples) -> NDArray[np.float64]:
        at = grid.index(samples["lat"], samples["lon"])
        bound = np.where(at >= 0, limit[at], np.nan)
        judged = (steps_of(samples) >= rules.warmup_samples) & np.isfinite(bound)
        return meaning(judged, judged & (likelihoods(scorer, samples, region) < bound), samples, rules)

    return score


def steps_of(samples: Samples) -> NDArray[np.int64]:
    """(m,) samples sorted by line -> (m,) how many come before each in its line."""
    import numpy as np

    from multitaskais.detection.offline import lines_of

    start, line = lines_of(samples)
    return np.arange(len(samples)) - start[line]


def some_lines(samples: Samples) -> Samples:
    """At most ``MOST_SAMPLES``, whole lines drawn by ``SEED``, in their order."""
    import numpy as np

    from multitaskais.detection.offline import lines_of

    if len(samples) <= MOST_SAMPLES:
        return samples
    start, line = lines_of(samples)
    order = np.random.default_rng(SEED).permutation(len(start))
    kept = order[np.cumsum(np.bincount(line)[order]) <= MOST_SAMPLES]
    return samples[np.isin(line, kept)]


def likelihoods(scorer: Scorer, samples: Samples, region: Region) -> NDArray[np.float64]:
    """(m,) samples sorted by line -> (m,) l_t, nats; lower is more anomalous."""
    import numpy as np

    from multitaskais.detection.offline import blocks, lines_of
    from multitaskais.tracks import fourhot

    found = np.zeros(len(samples))
    rows = scorer.initial(len(lines_of(samples)[0]))
    for lines, at in blocks(samples):
        rows[lines], said = scorer.steps(rows[lines], fourhot.bins(samples[at], region))
        found[at] = said.log_weight
    return found


def low_limits(
    likelihood: NDArray[np.float64], cell: NDArray[np.int64], n_cells: int, quantile: float
) -> NDArray[np.float64]:
    """(m,) l_t in cells -> (n_cells,) the quantile of each cell's KDE; NaN where a cell has fewer than two different values."""
    import numpy as np

    from multitaskais.detection.calibration import kde_quantile

    limit = np.full(n_cells, np.nan)
    order = np.argsort(cell, kind="stable")
    keys, first = np.unique(cell[order], return_index=True)
    for key, values in zip(keys.tolist(), np.split(likelihood[order], first[1:]), strict=True):
        limit[key] = kde_quantile(values, quantile)
    return limit


def meaning(
    judged: NDArray[np.bool_], low: NDArray[np.bool_], samples: Samples, rules: DetectionRules
) -> NDArray[np.float64]:
    """(m,) -log10 of the least NFA of the segments that end at each sample; -inf where it is not judged."""
    import numpy as np

    from multitaskais.detection import acontrario
    from multitaskais.detection.offline import batches, lines_of

    rule = acontrario.of(rules)
    marks = np.zeros((2, len(lines_of(samples)[0])), np.uint32)
    score = np.full(len(samples), -np.inf)
    for lines, at in batches(samples):
        marks[:, lines] = rule.push(marks[0, lines], marks[1, lines], judged[at], low[at])
        score[at] = np.where(judged[at], -rule.least(marks[0, lines], marks[1, lines]), -np.inf)
    return score
