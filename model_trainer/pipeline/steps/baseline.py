"""``baseline``: detectors that are not ours, on the same vessels and the same anomalies, for comparison; scikit-learn.

Each learns from the samples of the training vessels and scores a track by its highest sample. The threshold is that of the development vessels
which the budget allows. A sample is a point (place, velocity); for HDBSCAN it is the embedding of the track so far, as the detector ``embedding``
has it. None of them is part of a model. The published chain around the VRNN is in ``published_vrnn``.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitaskais.errors import ConfigError
from multitaskais.units import M_PER_DEG

from ..step import LIBRARIES, Conf, Contents, Given, Step, Work
from .inject import labelled
from .samples import split_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from multitaskais.config import Region
    from multitaskais.types import Samples

    Score = Callable[
        [Samples], NDArray[np.float64]
    ]  # (m,) sorted by line -> (m,); higher is more anomalous, -inf is not judged

METHODS = ("isolation_forest", "local_outlier_factor", "one_class_svm", "autoencoder", "hdbscan")
MOST_SAMPLES = 8000  # that a method learns from; two of them take time with the square
SEED = 0
BUDGET = 0.04
HDBSCAN = {"min_cluster_size": 30, "cluster_selection_method": "eom"}
COST_FILE = "_cost.json"  # a measurement, so no digest counts it (``step.Files``)


class Baseline(Step):
    """``method`` on the anomalies of one seed."""

    kind = "baseline"
    after: tuple[str, ...] = ("tracks", "inject")
    libraries: tuple[str, ...] = (*LIBRARIES, "scikit-learn")

    def __init__(self, method: str, seed: int, name: str | None = None) -> None:
        super().__init__(name)
        self._method, self._seed = method, seed

    def code(self, conf: Conf) -> tuple[str, ...]:
        return (*super().code(conf), *(("multitaskais.detectors.embedding",) if self._method == "hdbscan" else ()))

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        parameters = {"method": self._method, "seed": self._seed, "region": conf.region.to_dict(), "split_seed": split_seed(conf),
                      "budget": conf.tables["calibrate"].budget or BUDGET}  # fmt: skip
        return Given(parameters, {"tracks": Contents(results["tracks"]), "labelled": Contents(results["inject"])})

    def learnt(self, work: Work, train: Samples, dev: Samples, region: Region) -> Score:
        """The method's score, learnt from samples of the training vessels; ``dev``: of those that decide on thresholds."""
        return embedded(train, region) if self._method == "hdbscan" else of_points(self._method, train, region)

    def run(self, work: Work) -> None:
        import numpy as np

        from multitaskais.config import Region
        from multitaskais.evaluation.labelled import read_labelled
        from multitaskais.evaluation.metrics import ranking_by_kind, threshold_at
        from multitaskais.model.samples import Split, load_samples, samples_of

        p = work.parameters
        region = Region.from_dict(dict(p["region"]))
        found = load_samples(str(work.path("tracks")), region)
        train, dev = (found.of(s, p["split_seed"]).samples for s in (Split.TRAIN, Split.DEV))
        score = self.learnt(work, train, dev, region)
        data = read_labelled(labelled(work.path("labelled"), p["seed"]))
        samples, _, _ = samples_of(data.reports, region, all_tracks=True)
        began = time.process_time()
        scored = score(samples)
        cost = {"cpu_seconds": time.process_time() - began, "samples": len(samples)}
        scores = highest(scored, samples["mmsi"], data.tracks["key"])
        threshold = threshold_at(highest(score(dev), dev["mmsi"], np.unique(dev["mmsi"])), p["budget"])
        kinds = data.tracks["kind"]
        figures, by_kind = ranking_by_kind(scores, kinds)
        flagged, clean = scores > threshold, kinds == "clean"
        for kind, block in by_kind.items():
            block |= {"tracks": int((kinds == kind).sum()), "found": int(flagged[kinds == kind].sum())}
        days = (data.tracks["t_last"] - data.tracks["t_first"])[clean].sum() / 86400.0
        said = {**figures, "clean_flagged": float(flagged[clean].mean()), "alerts_per_vessel_day": float(flagged[clean].sum() / days) if days else 0.0,
                "recall": float(flagged[~clean].mean()), "per_kind": by_kind}  # fmt: skip
        (work.folder / "figures.json").write_text(json.dumps(said, indent=1) + "\n")
        (work.folder / COST_FILE).write_text(json.dumps({"": cost}) + "\n")


def highest(score: NDArray[np.float64], of: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m,) scores of samples and whose they are -> (len(keys),) the highest of each key; ``keys`` are sorted, -inf without a sample."""
    import numpy as np

    at = np.full(len(keys), -np.inf)
    known = np.isin(of, keys)
    np.maximum.at(at, np.searchsorted(keys, of[known]), score[known])
    return at


def features(samples: Samples, region: Region) -> NDArray[np.float64]:
    """(n, 5): place in km from the corner of the region, speed in knots, velocity to the east and to the north; what is missing is 0."""
    import numpy as np

    east = (samples["lon"] - region.lon_min) * np.cos(np.radians(samples["lat"])) * M_PER_DEG / 1000.0
    sog, cog = np.nan_to_num(samples["sog"]), np.radians(np.nan_to_num(samples["cog"]))
    return np.stack(
        [east, (samples["lat"] - region.lat_min) * M_PER_DEG / 1000.0, sog, sog * np.sin(cog), sog * np.cos(cog)], 1
    )


def of_points(method: str, train: Samples, region: Region) -> Score:
    """A method that sees each sample as a point. Raises ``ConfigError`` without scikit-learn."""
    import numpy as np

    x = features(train, region)
    mean, spread = x.mean(0), x.std(0) + 1e-9
    score = fitted(method, few_of((x - mean) / spread))

    def of(samples: Samples) -> NDArray[np.float64]:
        if not len(samples):
            return np.zeros(0)
        found: NDArray[np.float64] = score((features(samples, region) - mean) / spread)
        return found

    return of


def embedded(train: Samples, region: Region) -> Score:
    """HDBSCAN on embeddings: how far is a sample from the nearest one that lies in any cluster? Raises ``ConfigError`` without scikit-learn.

    Moored ships, and the first samples of a track, have no embedding that means something: they are not judged.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    from multitaskais.config import DetectionRules
    from multitaskais.detectors.embedding import EmbeddingDetector

    detector = EmbeddingDetector.fit(train, region, DetectionRules())
    points = few_of(detector.points.astype(np.float64))
    labels = _sklearn("cluster").HDBSCAN(copy=True, **HDBSCAN).fit_predict(points)
    near = cKDTree(points[labels >= 0] if (labels >= 0).any() else points)

    def of(samples: Samples) -> NDArray[np.float64]:
        points = detector.embeddings(samples)
        judged = np.isfinite(points).all(axis=1)
        score = np.full(len(samples), -np.inf)
        score[judged] = near.query(points[judged])[0]
        return score

    return of


def few_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, ...) -> at most ``MOST_SAMPLES`` of them, drawn by ``SEED``, in their order."""
    import numpy as np

    if len(x) <= MOST_SAMPLES:
        return x
    return x[np.sort(np.random.default_rng(SEED).permutation(len(x))[:MOST_SAMPLES])]


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise ConfigError("baselines need scikit-learn: pip install 'multitaskais[experiments]'") from None


def fitted(method: str, train: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A function (n, 5) -> (n,) score, higher is more anomalous. Raises ``ConfigError`` without scikit-learn."""
    if method == "isolation_forest":
        forest = _sklearn("ensemble").IsolationForest(n_estimators=100, random_state=SEED).fit(train)
        return lambda x: -forest.score_samples(x)
    if method == "local_outlier_factor":
        factor = _sklearn("neighbors").LocalOutlierFactor(n_neighbors=20, novelty=True).fit(train)
        return lambda x: -factor.score_samples(x)
    if method == "one_class_svm":
        machine = _sklearn("svm").OneClassSVM(nu=0.05, gamma="scale").fit(train)
        return lambda x: -machine.score_samples(x)
    regressor = _sklearn("neural_network").MLPRegressor
    net = regressor((16, 3, 16), max_iter=60, random_state=SEED, early_stopping=True).fit(train, train)
    error = ((net.predict(train) - train) ** 2).sum(1)
    # k of the k sigma rule
    return lambda x: (((net.predict(x) - x) ** 2).sum(1) - error.mean()) / (error.std() + 1e-12)
