"""The fixed noise of scoring: row k belongs to step k of every vessel's line, so that a score is a function of the data.

Made from raw PCG64 bits and the inverse normal distribution: NumPy promises that raw bits stay the same in all its
versions, and does not promise it of ``standard_normal``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..exact.functions import normal_quantile

NOISE_STEPS = 144  # rows: one day of samples; then they come again


def noise_table(seed: int, samples: int, latent: int) -> NDArray[np.float32]:
    """(NOISE_STEPS, samples, latent) from N(0, 1). The first s samples are the same for any ``samples`` >= s."""
    columns = []
    for s in range(samples):
        bits = np.random.PCG64(np.random.SeedSequence([seed, s])).random_raw(NOISE_STEPS * latent)
        uniform = (np.asarray(bits, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54
        columns.append(normal_quantile(uniform).astype(np.float32).reshape(NOISE_STEPS, latent))
    return np.stack(columns, axis=1)
