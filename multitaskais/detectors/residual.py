"""Does the ship move as ships move on? Adapter of ``networks.motion`` to the ``Detector`` protocol.

score = -log p of the motion since the last sample, in the ship's own frame (dead reckoning's error along and across, change of
SOG and COG), given all before it; nats, higher = more anomalous. It knows no place, so it serves regions without a model.

The weights in this package learnt on all US waters (MarineCadastre, 2020-01-01, vessels of the train split); ``fit`` takes them, and
``multitaskais train --detector residual`` makes others. Moored samples and those without motion (no speed or course on either side)
abstain and still move the state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..config import DetectionRules, Region
from ..detection import offline
from ..detection.protocol import Scores, Traits
from ..detection.rings import before_each, counted
from ..detection.ship_classes import vessel_class
from ..errors import ConfigError
from ..networks.motion import EXPECTED_DTYPE, ResidualScorer, ResidualWeights
from ..records import AlertType, NotJudged
from ..types import ExpectedRows, Rows, Samples

if TYPE_CHECKING:
    from ..networks.motion_train import ResidualTrained

WEIGHTS_FILE = "weights.npz"
# One net for all waters. It is read from the model that knows no place; a folder of a model keeps its own copy, so that it can be
# copied, checked and stored alone.
SHIPPED = Path(__file__).parent.parent / "models" / "anywhere" / "detectors" / "residual" / WEIGHTS_FILE
WARMUP_SAMPLES = 3  # the first motions tell what kind of ship it is
MOST_SEEN = int(np.iinfo(np.int32).max)


class ResidualDetector:
    """Score: -log p of the ship's motion, nats."""

    name = "residual"
    traits = Traits(
        alert_type=AlertType.ABNORMAL,
        warmup_samples=WARMUP_SAMPLES,
        # of 1, 0.3 and 0.1 the last is best on vessels left out: alone it finds less than place (docs/studies/panel.md)
        weight=0.1,
        smoothing_samples=6,  # on development vessels AUROC 0.66 / 0.68 / 0.66 with 3 / 6 / 12
        training="optional",
    )

    def __init__(self, weights: ResidualWeights) -> None:
        self.weights = weights
        self._scorer = ResidualScorer(weights)
        self.state_dtype: np.dtype = self._scorer.state_dtype

    def excluding_own(self) -> AbstractContextManager[None]:
        """A net this small knows no vessel by heart: 2.81 nats on vessels of the training, 2.74 on others (Gulf). Both may calibrate it."""
        return nullcontext()

    def initial(self, n: int) -> Rows:
        return self._scorer.initial(n)

    def steps(self, state: Rows, samples: Samples) -> tuple[Rows, Scores]:
        seen = before_each(state["seen"], counted(state["seen"], len(samples), MOST_SEEN))
        too_short = seen < self.traits.warmup_samples
        new, score = self._scorer.steps(
            state, samples, vessel_class(samples["ship_type"]), ~(too_short | samples["moored"])
        )
        return new, Scores.where(
            score,
            {NotJudged.NO_DATA: np.isnan(score), NotJudged.TOO_SHORT: too_short, NotJudged.MOORED: samples["moored"]},
        )

    step = steps

    def expected(self, samples: Samples) -> ExpectedRows:
        """(m,) samples sorted by track and time -> (m,) ``lat``, ``lon``, ``sog``, ``cog`` that were expected of each from those
        before it in its line; NaN where nothing could be: the first samples, moored ones, and after missing values."""
        out = np.full(len(samples), np.nan, EXPECTED_DTYPE)
        rows = self.initial(len(offline.lines_of(samples)[0]))
        for lines, at in offline.blocks(samples):
            here, state = samples[at], rows[lines]
            ship_class = vessel_class(here["ship_type"])
            seen = before_each(state["seen"], counted(state["seen"], len(here), MOST_SEEN))
            warm = (seen >= self.traits.warmup_samples) & ~here["moored"]
            out[at[warm]] = self._scorer.expected(self._scorer.before(state, here, ship_class)[warm], here["t"][warm])
            rows[lines], _ = self._scorer.steps(state, here, ship_class)
        return out

    @classmethod
    def fit(cls, samples: Samples, region: Region, rules: DetectionRules) -> Self:
        """The shipped weights: what they know of motion holds everywhere."""
        return cls(ResidualWeights.load(SHIPPED))

    @classmethod
    def trained(
        cls,
        train: Sequence[Samples],
        validation: Sequence[Samples],
        settings: Mapping[str, Any],
        out: Path | None = None,
    ) -> tuple[Self, ResidualTrained]:
        """Learn from lines of samples; other vessels' lines decide when to stop. ``settings``: fields of ``ResidualSettings``."""
        try:
            from ..networks.motion_train import ResidualSettings, train_residual
        except ImportError as e:
            raise ConfigError(f"training needs TensorFlow ({e}): pip install 'multitaskais[train]'") from None
        learn, judge = ([(line, vessel_class(line["ship_type"])) for line in part] for part in (train, validation))
        found = train_residual(learn, judge, ResidualSettings(**settings), out)
        return cls(found.weights), found

    def save(self, folder: Path) -> None:
        self.weights.save(folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path, region: Region, rules: DetectionRules) -> Self:
        return cls(ResidualWeights.load(folder / WEIGHTS_FILE))
