"""One step of Adam (Kingma and Ba 2015), inside a compiled graph.

Keras' optimizer is not used: its moments live in variables of its own, while a training here is a function of arrays, so that its
checkpoint is a few arrays and a training that was stopped goes on to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def adam_step(
    arrays: Sequence[Any],
    grads: Sequence[Any],
    m: Sequence[Any],
    v: Sequence[Any],
    learning_rate: Any,
    t: Any,
    weight_decay: float = 0.0,
) -> tuple[list[Any], list[Any], list[Any]]:
    """``arrays`` and their moments ``m``, ``v`` after step ``t`` (1 is the first).

    ``weight_decay`` makes matrices smaller by that share times the learning rate, and leaves vectors (Loshchilov and Hutter 2019).
    """
    m = [BETA1 * a + (1 - BETA1) * g for a, g in zip(m, grads, strict=True)]
    v = [BETA2 * a + (1 - BETA2) * g * g for a, g in zip(v, grads, strict=True)]
    rate = learning_rate * tf.sqrt(1 - tf.pow(BETA2, t)) / (1 - tf.pow(BETA1, t))
    decay = [learning_rate * weight_decay if len(a.shape) == 2 else 0.0 for a in arrays]
    arrays = [a - rate * p / (tf.sqrt(q) + EPSILON) - d * a for a, p, q, d in zip(arrays, m, v, decay, strict=True)]
    return arrays, m, v
