"""Claim: a training step (batch 50, T = 144, S = 1) 2.5 times as fast as the dense graph with a ``while_loop`` and the decoder inside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf

from multitaskais.networks.settings import TrainSettings
from multitaskais.networks.train import Objective, _Noise, train_graph
from multitaskais.networks.weights import Sizes, VrnnWeights

from .harness import Result, compare, require
from .machine import sgemm_peak
from .reference import training_dense, vrnn_dense
from .vrnn_step import flops, random_bins
from .workload import region

BATCH, STEPS, ROUNDS, GOAL = 50, 144, 5, 2.5
RATE = 1e-3
SAME_LOSS = 1e-4  # relative


def run(quick: bool = False) -> list[Result]:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    batch, steps = (8, 24) if quick else (BATCH, STEPS)
    sizes = Sizes.of(region())
    settings = TrainSettings(batch=batch, clip_norm=1e9, max_steps=steps)  # the reference does not clip
    arrays = [tf.constant(a) for a in VrnnWeights.random(sizes, np.full(sizes.dim, 4 / sizes.dim), 0).arrays()]
    zeros = [tf.zeros_like(a) for a in arrays]
    rng = np.random.default_rng(1)
    bins = np.stack([random_bins(batch, sizes, t) for t in range(steps)]).astype(np.int32)
    lengths = rng.integers(steps // 2, steps + 1, batch).astype(np.int32)
    noise = rng.standard_normal((steps, batch, 1, sizes.latent)).astype(np.float32)
    unused = np.zeros((steps, batch, 1), np.float32)
    drawn = _Noise(
        noise, unused, unused, np.zeros((steps, batch, 4), np.float32), np.zeros((steps, batch, 0), np.float32)
    )
    dense = tf.constant(vrnn_dense.four_hot(bins, sizes.blocks))
    train_step = train_graph(sizes, Objective.of(settings), steps)
    reference = training_dense.make_step()
    one = tf.constant(1.0)

    def ours() -> tuple[tf.Tensor, ...]:
        out: tuple[tf.Tensor, ...] = train_step(arrays, zeros, zeros, bins, lengths, drawn, tf.constant(RATE), one, one)
        out[3].numpy()
        return out

    def theirs() -> tuple[tf.Tensor, ...]:
        out: tuple[tf.Tensor, ...] = reference(arrays, zeros, zeros, dense, lengths, noise, tf.constant(RATE))
        out[3].numpy()
        return out

    mine, other = ours(), theirs()
    loss, expected = float(mine[3]), float(other[3])
    require(abs(loss - expected) <= SAME_LOSS * abs(expected), f"the loss ({loss:.6f} and {expected:.6f})")
    for a, b in zip(mine[1], other[1], strict=True):  # (1 - beta1) * gradient
        scale = max(1e-8, float(np.abs(b.numpy()).max()))
        difference = float(np.abs(a.numpy() - b.numpy()).max()) / scale
        require(difference < 5e-3, f"a gradient differs by {difference:.1e} of its greatest value")
    # Forward, and backward by inputs and by weights: three times the multiplications of a step.
    work = 3.0 * flops(sizes, 1) * batch * steps

    def share(result: Result) -> Result:
        peak = sgemm_peak()
        note = (
            f"{1e3 / result.ours:.0f} ms a step, reference {1e3 / result.theirs:.0f} ms; its {work / 1e9:.1f} GFLOP alone take {1e3 * work / peak:.0f} ms "
            f"at this core's greatest rate ({peak / 1e9:.0f} GFLOP/s): no step can be more than {peak / work / result.theirs:.1f} times as fast as the reference on one core"
        )
        return replace(result, notes=(note,))

    return [
        share(
            compare(
                "training_step",
                work=f"one training step, batch {batch}, T = {steps}, S = 1",
                reference="`while_loop`, decoder inside, dense four-hot",
                unit="steps/s",
                ours=ours,
                theirs=theirs,
                units=1.0,
                rounds=2 if quick else ROUNDS,
                goal=GOAL,
                same="loss to 1e-4, every gradient to 0.5 % of its greatest value",
            )
        )
    ]
