"""``baseline``: plain detectors of outliers on the same vessels and the same anomalies, for comparison; scikit-learn.

Each sees a sample as a point (place, velocity), learns from the samples of the training vessels, and scores a track by its highest sample. The
threshold is the share of development tracks that the budget allows. None of them is part of a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitaskais.errors import ConfigError
from multitaskais.types import Samples
from multitaskais.units import M_PER_DEG

from ..step import LIBRARIES, Conf, Contents, Given, Step, Work
from .inject import labelled
from .samples import split_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHODS = ("isolation_forest", "local_outlier_factor", "one_class_svm", "autoencoder", "hdbscan")
MOST_SAMPLES = 8000  # that a method learns from; two of them take time with the square
SEED = 0
BUDGET = 0.04


class Baseline(Step):
    """``method`` on the anomalies of one seed."""

    kind = "baseline"
    after = ("tracks", "inject")
    libraries = (*LIBRARIES, "scikit-learn")

    def __init__(self, method: str, seed: int, name: str | None = None) -> None:
        super().__init__(name)
        self._method, self._seed = method, seed

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        parameters = {"method": self._method, "seed": self._seed, "region": conf.region.to_dict(), "split_seed": split_seed(conf),
                      "budget": conf.tables["calibrate"].budget or BUDGET}  # fmt: skip
        return Given(parameters, {"tracks": Contents(results["tracks"]), "labelled": Contents(results["inject"])})

    def run(self, work: Work) -> None:
        import numpy as np

        from multitaskais.config import Region
        from multitaskais.evaluation.labelled import read_labelled
        from multitaskais.evaluation.metrics import ranking_by_kind
        from multitaskais.model.samples import Split, load_samples, samples_of

        p = work.parameters
        region = Region.from_dict(dict(p["region"]))
        found = load_samples(str(work.path("tracks")), region)
        train = features(found.of(Split.TRAIN, p["split_seed"]).samples, region)
        mean, spread = train.mean(0), train.std(0) + 1e-9
        score = fitted(p["method"], (train - mean) / spread)
        data = read_labelled(labelled(work.path("labelled"), p["seed"]))
        samples, _, _ = samples_of(data.reports, region, all_tracks=True)

        def highest(of: Samples, keys: NDArray[np.int64]) -> NDArray[np.float64]:
            """(len(keys),) the highest score of each key's samples; -inf without one."""
            at = np.full(len(keys), -np.inf)
            known = np.isin(of["mmsi"], keys)
            np.maximum.at(
                at, np.searchsorted(keys, of["mmsi"][known]), score((features(of[known], region) - mean) / spread)
            )
            return at

        scores = highest(samples, data.tracks["key"])
        calm = found.of(Split.DEV, p["split_seed"]).samples
        threshold = np.quantile(highest(calm, np.unique(calm["mmsi"])), 1.0 - p["budget"])
        kinds = data.tracks["kind"]
        figures, by_kind = ranking_by_kind(scores, kinds)
        flagged, clean = scores > threshold, kinds == "clean"
        for kind, block in by_kind.items():
            block |= {"tracks": int((kinds == kind).sum()), "found": int(flagged[kinds == kind].sum())}
        days = (data.tracks["t_last"] - data.tracks["t_first"])[clean].sum() / 86400.0
        said = {**figures, "clean_flagged": float(flagged[clean].mean()), "alerts_per_vessel_day": float(flagged[clean].sum() / days) if days else 0.0,
                "recall": float(flagged[~clean].mean()), "per_kind": by_kind}  # fmt: skip
        (work.folder / "figures.json").write_text(json.dumps(said, indent=1) + "\n")


def features(samples: Samples, region: Any) -> NDArray[np.float64]:
    """(n, 5): place in km from the corner of the region, speed in knots, velocity to the east and to the north; what is missing is 0."""
    import numpy as np

    east = (samples["lon"] - region.lon_min) * np.cos(np.radians(samples["lat"])) * M_PER_DEG / 1000.0
    sog, cog = np.nan_to_num(samples["sog"]), np.radians(np.nan_to_num(samples["cog"]))
    return np.stack(
        [east, (samples["lat"] - region.lat_min) * M_PER_DEG / 1000.0, sog, sog * np.sin(cog), sog * np.cos(cog)], 1
    )


def fitted(method: str, train: NDArray[np.float64]) -> Any:
    """A function (n, 5) -> (n,) score, higher is more anomalous. Raises ``ConfigError`` without scikit-learn."""
    import numpy as np

    try:
        from sklearn import cluster, ensemble, neighbors, neural_network, svm
    except ImportError:
        raise ConfigError("baselines need scikit-learn: pip install 'multitaskais[experiments]'") from None
    rng = np.random.default_rng(SEED)
    few = train if len(train) <= MOST_SAMPLES else train[np.sort(rng.permutation(len(train))[:MOST_SAMPLES])]
    if method == "isolation_forest":
        forest = ensemble.IsolationForest(n_estimators=100, random_state=SEED).fit(few)
        return lambda x: -forest.score_samples(x)
    if method == "local_outlier_factor":
        factor = neighbors.LocalOutlierFactor(n_neighbors=20, novelty=True).fit(few)
        return lambda x: -factor.score_samples(x)
    if method == "one_class_svm":
        machine = svm.OneClassSVM(nu=0.05, gamma="scale").fit(few)
        return lambda x: -machine.score_samples(x)
    if method == "autoencoder":
        net = neural_network.MLPRegressor((16, 3, 16), max_iter=60, random_state=SEED, early_stopping=True).fit(
            few, few
        )
        error = ((net.predict(few) - few) ** 2).sum(1)
        # k of the k sigma rule
        return lambda x: (((net.predict(x) - x) ** 2).sum(1) - error.mean()) / (error.std() + 1e-12)
    labels = cluster.HDBSCAN(min_cluster_size=30, copy=True).fit_predict(few)
    inside = few[labels >= 0] if (labels >= 0).any() else few
    near = neighbors.NearestNeighbors(n_neighbors=1).fit(inside)
    return lambda x: near.kneighbors(x)[0][:, 0]
