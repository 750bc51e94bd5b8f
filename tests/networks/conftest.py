"""Small nets and random tracks."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from multitaskais.config import Region
from multitaskais.networks.weights import Sizes, VrnnWeights

# lat 8, lon 10, sog 6, cog 4 bins
REGION = Region("toy", 0.0, 0.8, 0.0, 1.0, 0.1, 0.1, 5.0, 90.0)


def random_weights(sizes: Sizes, seed: int = 0) -> VrnnWeights:
    """Larger than those of a fresh net, biases too, so that every term counts."""
    rng = np.random.default_rng(seed)
    w = VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), seed)
    return w.map(lambda a: (1.2 * a + 0.15 * rng.standard_normal(a.shape)).astype(np.float32))


def random_bins(sizes: Sizes, shape: tuple[int, ...], seed: int = 0, missing: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bins = np.stack([rng.integers(0, n, shape) for n in sizes.blocks], axis=-1)
    bins[rng.random(bins.shape) < missing] = -1
    return bins.astype(np.int16)


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return Sizes.of(REGION, latent=5, hidden=7)


@pytest.fixture(scope="session")
def weights(sizes: Sizes) -> VrnnWeights:
    return random_weights(sizes)
