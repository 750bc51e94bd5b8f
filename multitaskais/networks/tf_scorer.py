"""The scorer in TensorFlow: the oracle of the NumPy one, and ``--scorer tensorflow``. Same scores to about 1e-4.

It runs ``vrnn.step`` as training does. Its state is the paper's (h, c, phi_z(z), x of the step before), so the two scorers'
states cannot be exchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..types import Rows
from . import vrnn
from .noise import NOISE_STEPS, noise_table
from .scorer import StepScores
from .weights import Sizes, VrnnWeights

BLOCK_LINES = 64  # the graph is traced once for each multiple of this


class TensorFlowScorer:
    """``samples`` and ``seed`` as in ``NumpyScorer``."""

    def __init__(self, weights: VrnnWeights, sizes: Sizes, samples: int = 1, seed: int = 0) -> None:
        self.sizes = sizes
        self.samples = samples
        s, h = max(samples, 1), sizes.hidden
        self.state_dtype = np.dtype(
            [("k", "u4"), ("x", "i2", (4,)), ("h", "f4", (s, h)), ("c", "f4", (s, h)), ("z_enc", "f4", (s, h))]
        )
        table = (
            noise_table(seed, samples, sizes.latent)
            if samples
            else np.zeros((NOISE_STEPS, 1, sizes.latent), np.float32)
        )
        self._noise = table
        self._weights = weights.map(lambda a: tf.constant(a, tf.float32))
        self._run = tf.function(self._graph, reduce_retracing=False)

    def initial(self, n: int) -> Rows:
        state = np.zeros(n, self.state_dtype)
        state["x"] = -1
        return state

    def step(self, state: Rows, bins: NDArray[np.integer]) -> tuple[Rows, StepScores]:
        """As ``VrnnScorer.step``: (n,) rows and (n, 4) bins, -1 missing, to new rows and scores in nats."""
        n = len(state)
        padded = -(-max(n, 1) // BLOCK_LINES) * BLOCK_LINES
        rows = self.initial(padded)
        rows[:n] = state
        x = np.full((padded, 4), -1, np.int32)
        x[:n] = bins
        noise = self._noise[rows["k"] % NOISE_STEPS]
        out = self._run(
            rows["x"].astype(np.int32), x, *(np.ascontiguousarray(rows[f]) for f in ("h", "c", "z_enc")), noise
        )
        log_weight, parts, h, c, z_enc = (a.numpy()[:n] for a in out)
        after = np.empty(n, self.state_dtype)
        after["k"], after["x"] = state["k"] + 1, bins
        after["h"], after["c"], after["z_enc"] = h, c, z_enc
        return after, StepScores(log_weight, parts)

    def steps(
        self,
        state: Rows,
        bins: NDArray[np.integer],
        scored: NDArray[np.bool_] | None = None,
        log_weights: bool = True,
    ) -> tuple[Rows, StepScores]:
        """One step after another; all scores, whatever is asked for."""
        n = len(state)
        found = []
        for first in range(0, len(bins), max(n, 1)):
            state, scores = self.step(state, bins[first : first + n])
            found.append(scores)
        if not found:
            return self.step(state, bins)
        return state, StepScores(*(np.concatenate(columns) for columns in zip(*found, strict=True)))

    def _graph(self, x_before: Any, x: Any, h: Any, c: Any, z_enc: Any, noise: Any) -> Any:
        w, sizes = self._weights, self.sizes
        n, s = h.shape[0], h.shape[1]
        flat = vrnn.State(*(tf.reshape(a, (n * s, sizes.hidden)) for a in (h, c, z_enc)))
        noise = tf.reshape(noise, (n * s, sizes.latent))
        gates_x = vrnn.rows_of(vrnn.gates_of_x(w, vrnn.encode_x(w, sizes, x_before)), s)
        post_x = vrnn.rows_of(vrnn.post_of_x(w, vrnn.encode_x(w, sizes, x)), s)
        state, found = vrnn.step(vrnn.linear_of(vrnn.recurrent(w)), flat, gates_x, post_x, noise)
        logits = vrnn.emit(w, found.z_enc, found.o)
        parts = vrnn.log_likelihood(sizes, logits, vrnn.rows_of(x, s))
        ratio = vrnn.log_ratio(noise, found) if self.samples else -vrnn.kl(found)
        log_weight = tf.reduce_mean(tf.reshape(tf.reduce_sum(parts, axis=-1) + ratio, (n, s)), axis=1)
        parts = tf.reduce_mean(tf.reshape(-parts, (n, s, 4)), axis=1)
        return log_weight, parts, *(tf.reshape(a, (n, s, sizes.hidden)) for a in state)
