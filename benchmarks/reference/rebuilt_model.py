"""The alert function as the earlier operator had it: each call builds the graph, restores the weights and unpickles the map of cells.

Written from docs/method.md#samples to #departures-from-the-prototype; its parts are the other references of this folder. It judges one whole track.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import tensorflow as tf

from multitaskais.config import Region
from multitaskais.networks.weights import Sizes, VrnnWeights

from . import decision, resample, vrnn_dense

WARMUP = 12  # docs/method.md#a-contrario-decision: the recurrent state starts from zeros


def cell_of(lat: float, lon: float, region: Region) -> int:
    """Number of the 0.1 degree cell, row by row from the south-west corner."""
    columns = math.ceil((region.lon_max - region.lon_min) / region.cell_deg - 1e-9)
    row = math.floor((lat - region.lat_min) / region.cell_deg + 1e-9)
    return row * columns + math.floor((lon - region.lon_min) / region.cell_deg + 1e-9)


def bins_of(samples: list[resample.Sample], region: Region) -> np.ndarray:
    def share(x: float, low: float, high: float, n: int) -> int:
        return min(n - 1, max(0, math.floor((x - low) / (high - low) * n)))

    return np.array(
        [
            (
                share(s.lat, region.lat_min, region.lat_max, region.n_lat),
                share(s.lon, region.lon_min, region.lon_max, region.n_lon),
                share(s.sog, 0.0, region.sog_max_knots, region.n_sog),
                share(s.cog, 0.0, 360.0, region.n_cog),
            )
            for s in samples
        ]
    )


def log_likelihoods(weights: VrnnWeights, sizes: Sizes, bins: np.ndarray, noise: np.ndarray) -> list[float]:
    """l_t of each step (mean over the samples); bins (T, 4), noise (T, S, Z). A graph made for this track alone."""
    w = weights.map(lambda a: tf.constant(a, tf.float32))
    samples = noise.shape[1]
    x = np.repeat(vrnn_dense.four_hot(bins, sizes.blocks)[:, None], samples, axis=1)
    graph = tf.function(lambda x, n: vrnn_dense.scan(w, x, n))
    scores: list[float] = np.asarray(graph(tf.constant(x), tf.constant(noise))).mean(axis=1).tolist()
    return scores


def alert_function(fixes: list[resample.Fix], folder: Path, region: Region, log10_eps: float) -> tuple[bool, float]:
    """Whether the track is abnormal, and its least log10 NFA. ``folder`` holds weights.npz, noise.npy and cells.pickle."""
    sizes = Sizes.of(region)
    weights = VrnnWeights.load(folder / "weights.npz", sizes)
    noise = np.load(folder / "noise.npy")
    known: decision.Cells = pickle.loads((folder / "cells.pickle").read_bytes())
    samples = resample.resample(fixes)
    found = log_likelihoods(weights, sizes, bins_of(samples, region), noise[: len(samples)])
    marks = decision.marks(found, [cell_of(s.lat, s.lon, region) for s in samples], known)
    marks[:WARMUP] = [None] * min(WARMUP, len(marks))
    best = decision.best_segment(marks)
    return best < log10_eps, best
