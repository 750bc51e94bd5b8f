"""The VRNN as a detector: how unlikely is this sample after all before it? Adapter of ``networks.scorer`` to the ``Detector`` protocol.

score = min(-log p(lat_t|z_t,.), 8) + min(-log p(lon_t|z_t,.), 8), nats; higher = more anomalous. The whole score, -l_t (docs/method.md#the-network), is kept as
``score="all"``. Speed and course are as noisy as they are telling, and have detectors of their own; one missed bin says as much as
20 nats do. On development vessels of the Gulf AUROC / R5 0.76 / 0.33 in place of 0.73 / 0.20 (docs/studies/latent.md).
Moored samples abstain (docs/method.md#moored) and still move the state, as do the first ``warmup_samples``, while the recurrent state
settles (docs/method.md#a-contrario-decision). ``parts`` are -log p(x_t|z_t,.) by lat, lon, sog, cog.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..config import DetectionRules, Region
from ..detection.protocol import Scores, Traits
from ..errors import ConfigError, InputError, ModelCorrupt, StateError, WrongRegion
from ..networks.dataset import Dataset
from ..networks.scorer import NumpyScorer, Scorer
from ..networks.settings import TrainSettings
from ..networks.weights import Sizes, VrnnWeights
from ..records import AlertType, NotJudged
from ..tracks import fourhot
from ..types import Rows, Samples

if TYPE_CHECKING:
    from ..networks.train import Trained

WEIGHTS_FILE = "weights.npz"
SETTINGS_FILE = "vrnn.json"
FORMAT_VERSION = 1
SCORERS = ("numpy", "tensorflow")
SCORES = ("position", "all")
PART_MAX_NATS = 8.0  # of the position; flat between 6 and 10 on development vessels
VALIDATION_SHARE = 0.2  # of the vessels given to ``fit``


class VrnnDetector:
    """``samples`` S of the score: 1, more, or 0 for the posterior's mean (``model.scorer``). ``seed`` makes the noise."""

    name = "vrnn"
    traits = Traits(
        alert_type=AlertType.ABNORMAL,
        training="required",
        needs_coverage=True,  # it knows places by their bins
        weight=0.3,  # alone it finds less than place on unseen vessels; 0.3 to 1 are alike on development vessels
        a_contrario=True,
        scorers=SCORERS,
    )

    def __init__(
        self,
        weights: VrnnWeights,
        region: Region,
        rules: DetectionRules,
        latent: int = 100,
        hidden: int = 100,
        samples: int = 1,
        seed: int = 0,
        scorer: str = "numpy",
        score: str = "position",
    ) -> None:
        if score not in SCORES:
            raise ConfigError(f"score must be one of {', '.join(SCORES)}, not {score!r}")
        self.score = score
        self.region = region
        self.rules = rules
        self.weights = weights
        self.sizes = Sizes.of(region, latent, hidden)
        self.samples = samples
        self.seed = seed
        self.traits = replace(self.traits, warmup_samples=rules.warmup_samples)
        self._scorer = _scorer(scorer, weights, self.sizes, samples, seed)
        self.state_dtype: np.dtype = self._scorer.state_dtype

    def initial(self, n: int) -> Rows:
        return self._scorer.initial(n)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        if state.dtype != self.state_dtype:
            raise StateError(
                "the state is of another scorer or another number of latent samples: start from an empty state"
            )
        seen = (state["k"] + np.arange(len(samples) // max(len(state), 1))[:, None]).reshape(-1)
        abstains = {
            NotJudged.TOO_SHORT: seen < self.traits.warmup_samples,
            NotJudged.MOORED: samples["moored"],
        }
        scored = ~np.logical_or(*abstains.values())
        by_position = self.score == "position"
        after, found = self._scorer.steps(
            state, fourhot.bins(samples, self.region), scored, log_weights=not by_position
        )
        if by_position:
            at = np.minimum(found.parts[:, :2], PART_MAX_NATS).astype(np.float64)
            raw = at[:, 0] + at[:, 1]
        else:
            raw = -found.log_weight.astype(np.float64)
        scores = Scores.where(raw, abstains)
        bins_missing = np.stack([~np.isfinite(samples[f]) for f in ("lat", "lon", "sog", "cog")], axis=1)
        parts = np.where(bins_missing | (scores.reason != 0)[:, None], np.nan, found.parts.astype(np.float64))
        return after, scores._replace(parts=parts)

    step = steps

    # ------------------------------------------------------------------ learning

    @classmethod
    def fit(
        cls,
        samples: Samples,
        region: Region,
        rules: DetectionRules,
        settings: TrainSettings | None = None,
        out: Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train on samples sorted by line (``mmsi``, ``n``); a fifth of the vessels, drawn by ``settings.seed``, decide when to stop.

        ``out`` keeps checkpoints and curves; None keeps them nowhere.
        """
        settings = settings or TrainSettings()
        tracks = lines_of(samples)
        vessels = np.unique(samples["mmsi"])
        if len(vessels) < 2:
            raise InputError(
                "the VRNN needs tracks of at least 2 vessels: one to learn from, one to decide when to stop"
            )
        order = np.random.default_rng(settings.seed).permutation(vessels)
        held_out = set(order[: max(1, round(VALIDATION_SHARE * len(vessels)))].tolist())
        bins = [(int(t["mmsi"][0]) in held_out, (fourhot.bins(t, region),)) for t in tracks]
        dataset = Dataset.of([b for held, b in bins if not held], [b for held, b in bins if held])
        return cls.trained(dataset, region, rules, settings, out, resume)[0]

    @classmethod
    def trained(
        cls,
        dataset: Dataset,
        region: Region,
        rules: DetectionRules,
        settings: TrainSettings,
        out: Path | None = None,
        resume: bool = False,
        samples: int = 1,
    ) -> tuple[Self, Trained]:
        """Train on a dataset whose split is already made; ``samples`` is S of the score, not of the bound."""
        try:
            from ..networks.train import train
        except ImportError as e:
            raise ConfigError(f"training needs TensorFlow ({e}): pip install 'multitaskais[train]'") from None
        if out is None:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                result = train(dataset, region, settings, Path(folder), resume)
        else:
            result = train(dataset, region, settings, out, resume)
        size = result.sizes
        return cls(result.weights, region, rules, size.latent, size.hidden, samples, settings.seed), result

    # ------------------------------------------------------------------ files

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.weights.save(folder / WEIGHTS_FILE)
        values = {
            "format": FORMAT_VERSION,
            "region": self.region.name,
            "blocks": list(self.sizes.blocks),
            "latent": self.sizes.latent,
            "hidden": self.sizes.hidden,
            "samples": self.samples,
            "seed": self.seed,
            "score": self.score,
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(values, indent=1) + "\n")

    @classmethod
    def load(
        cls,
        folder: Path,
        region: Region,
        rules: DetectionRules,
        scorer: str = "numpy",
        samples: int | None = None,
    ) -> Self:
        """``samples`` overrides the stored S. Raises ``WrongRegion``, ``ModelCorrupt``."""
        path = folder / SETTINGS_FILE
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            version, blocks = values["format"], tuple(values["blocks"])
            score = str(values.get("score", "all"))  # of older folders
            numbers = {k: int(values[k]) for k in ("latent", "hidden", "samples", "seed")}
        except FileNotFoundError:
            raise ModelCorrupt(f"{path} is missing: copy the whole model folder again, or train it again") from None
        except (ValueError, KeyError, TypeError) as e:
            raise ModelCorrupt(f"{path} cannot be read ({e}): copy the whole model folder again") from None
        if version != FORMAT_VERSION:
            raise ModelCorrupt(f"{path} has format {version}, this version reads {FORMAT_VERSION}: train it again")
        sizes = Sizes.of(region, numbers["latent"], numbers["hidden"])
        if blocks != sizes.blocks or values.get("region") != region.name:
            raise WrongRegion(
                f"{folder} was trained for {values.get('region')} with bins {blocks}, not for {region.name} with {sizes.blocks}"
            )
        weights = VrnnWeights.load(folder / WEIGHTS_FILE, sizes)
        if samples is not None:
            numbers["samples"] = samples
        return cls(weights, region, rules, **numbers, scorer=scorer, score=score)


def lines_of(samples: Samples) -> list[Samples]:
    """Samples sorted by line -> one array a line: a new one begins with another vessel, or where n does not go up by one."""
    if not len(samples):
        return []
    begins = (np.diff(samples["mmsi"]) != 0) | (np.diff(samples["n"]) != 1)
    return np.split(samples, np.flatnonzero(begins) + 1)


def _scorer(kind: str, weights: VrnnWeights, sizes: Sizes, samples: int, seed: int) -> Scorer:
    if samples < 0:
        raise ConfigError("samples must be 0 (the mean), 1 or more")
    if kind == "numpy":
        return NumpyScorer(weights, sizes, samples, seed)
    if kind == "tensorflow":
        try:
            from ..networks.tf_scorer import TensorFlowScorer
        except ImportError as e:
            raise ConfigError(
                f"--scorer tensorflow needs TensorFlow ({e}): pip install 'multitaskais[train]'"
            ) from None
        return TensorFlowScorer(weights, sizes, samples, seed)
    raise ConfigError(f"scorer must be one of {', '.join(SCORERS)}, not {kind!r}")
