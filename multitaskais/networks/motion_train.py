"""Training of the residual detector: lines of samples -> ``ResidualWeights``.

Maximum likelihood of the motions of all samples that are judged (known, and not moored), each counted alike; Adam with a learning
rate that falls to 0 along a half cosine; the weights of the best look at unseen vessels are kept.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from ..config import JsonSettings
from ..errors import ConfigError, InputError, TrainingError
from ..types import Samples
from .adam import adam_step
from .motion import EXTRAS, INPUTS, MIXTURE, ResidualWeights, inputs, moved, state_dtype
from .passes import LOG_SCALE, LOG_T, T_FREEDOM

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResidualSettings(JsonSettings):
    """Of a training of the motion network. Raises ``ConfigError`` where a value cannot work."""

    steps: int = 3000
    learning_rate: float = 3e-3
    batch: int = 64  # lines
    hidden: int = 48
    width: int = 32  # of the heads
    max_steps: int = 144  # samples of a line that are used: 24 h; of a longer one a random window
    seed: int = 0
    val_every: int = 250
    patience: int = 6  # looks without a better value that end the training
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "width", "max_steps", "val_every", "patience"):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"ResidualSettings: {name} must be at least 1")
        if not (self.learning_rate > 0 and self.clip_norm > 0):
            raise ConfigError("ResidualSettings: learning_rate and clip_norm must be greater than 0")


class ResidualTrained(NamedTuple):
    weights: ResidualWeights
    train_nll: float  # nats a judged sample, mean of the last looks' batches
    val_nll: float  # of the best look at unseen vessels
    best_step: int
    steps: int
    seconds: float


class _Sequences(NamedTuple):
    """Of B lines of T samples."""

    x: NDArray[np.float32]  # (B, T, INPUTS)
    u: NDArray[np.float32]  # (B, T, 4)
    extras: NDArray[np.float32]  # (B, T, EXTRAS)
    use: NDArray[np.float32]  # (B, T) 1 where judged


def sequence(line: Samples, ship_class: NDArray[np.int64]) -> _Sequences:
    """One line (T,) of ``SAMPLE_DTYPE`` as the scorer sees it, with B = 1."""
    last = np.zeros(len(line), state_dtype(1))
    for name in ("t", "lat", "lon", "sog", "cog"):
        last[name] = np.concatenate([[np.nan], line[name][:-1]])
    now = {
        f: np.ascontiguousarray(line[f], np.float64)
        for f in ("t", "lat", "lon", "sog", "cog", "mismatch", "made_30min")
    }
    found = moved(last, now)
    x = inputs(found, now, line["moored"], ship_class)
    use = (found.known & ~line["moored"]).astype(np.float32)
    return _Sequences(x[None], found.u[None], found.extras[None], use[None])


def train_residual(
    train: Sequence[tuple[Samples, NDArray[np.int64]]],
    validation: Sequence[tuple[Samples, NDArray[np.int64]]],
    settings: ResidualSettings,
    out: Path | None = None,
) -> ResidualTrained:
    """Lines with their vessel classes (-1 unknown); ``out`` gets ``training.json`` and ``log.csv``."""
    lines, held_out = ([s for s in (sequence(*t) for t in part) if s.use.any()] for part in (train, validation))
    if not lines or not held_out:
        raise InputError("no moving line is left to learn from, or none to judge by: give tracks of more vessels")
    weights = [tf.constant(a) for a in ResidualWeights.random(settings.hidden, settings.width, settings.seed).arrays()]
    m, v = ([tf.zeros_like(a) for a in weights] for _ in range(2))
    step_graph, look = _graphs(settings.clip_norm)
    best, best_nll, best_step, bad, rows, recent = weights, np.inf, 0, 0, [], []
    begun = time.perf_counter()
    order = np.zeros(0, np.int64)
    with tqdm(total=settings.steps, desc="train", unit="step", disable=None) as bar:
        for step in range(1, settings.steps + 1):
            rng = np.random.default_rng([settings.seed, step])
            while len(order) < settings.batch:
                order = np.concatenate([order, rng.permutation(len(lines))])
            chosen, order = [lines[i] for i in order[: settings.batch]], order[settings.batch :]
            rate = settings.learning_rate * 0.5 * (1.0 + np.cos(np.pi * (step - 1) / settings.steps))
            batch = _padded(chosen, settings.batch, settings.max_steps, rng)
            weights, m, v, loss = step_graph(weights, m, v, *batch, np.float32(rate), np.float32(step))
            recent.append(float(loss))
            bar.update()
            if step % settings.val_every and step != settings.steps:
                continue
            total = count = 0.0
            for i in range(0, len(held_out), settings.batch):
                batch = _padded(held_out[i : i + settings.batch], settings.batch, settings.max_steps, None)
                t, n = look(weights, *batch)
                total, count = total + float(t), count + float(n)
            nll, train_nll = total / count, float(np.mean(recent))
            recent = []
            rows.append((step, train_nll, nll, time.perf_counter() - begun))
            log.info("step %d  train %.4f  unseen vessels %.4f nats a sample  %.0f s", *rows[-1])
            if not np.isfinite(train_nll):
                raise TrainingError(f"the loss is {train_nll} at step {step}: train again with a smaller learning rate")
            if nll < best_nll:
                best, best_nll, best_step, bad = weights, nll, step, 0
            else:
                bad += 1
                if bad >= settings.patience:
                    break
    found = ResidualWeights(*(np.asarray(a) for a in best))
    at = next(r for r in rows if r[0] == best_step)
    trained = ResidualTrained(found, at[1], best_nll, best_step, rows[-1][0], rows[-1][3])
    if out is not None:
        _write(out, rows, trained, settings, len(lines), len(held_out))
    return trained


def _padded(
    lines: Sequence[_Sequences], batch: int, t_max: int, rng: np.random.Generator | None
) -> tuple[NDArray[np.float32], ...]:
    """Time first: (T, B, ...), zeros past the end."""
    out = [np.zeros((t_max, batch, k), np.float32) for k in (INPUTS, 4, EXTRAS)]
    use = np.zeros((t_max, batch), np.float32)
    for i, line in enumerate(lines):
        n = line.use.shape[1]
        start = 0 if rng is None or n <= t_max else int(rng.integers(n - t_max + 1))
        cut = slice(start, start + t_max)
        for whole, part in zip((*out, use), line, strict=True):
            piece = part[0, cut]
            whole[: len(piece), i] = piece
    return (*out, use)


@functools.lru_cache(maxsize=2)
def _graphs(clip_norm: float) -> tuple[Any, Any]:
    """The training step and the look at unseen vessels, compiled at their first call with batches of a shape."""

    def loss_of(arrays: Any, x: Any, u: Any, extras: Any, use: Any) -> tuple[Any, Any]:
        w = ResidualWeights(*arrays)
        nll = tf.reduce_sum(nll_of(w, hidden_before(w, x), u, extras) * use)
        return nll, tf.reduce_sum(use)

    @tf.function(jit_compile=True)
    def train_step(arrays: Any, m: Any, v: Any, x: Any, u: Any, extras: Any, use: Any, lr: Any, t: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            total, count = loss_of(arrays, x, u, extras, use)
            loss = total / tf.maximum(count, 1.0)
        grads, _ = tf.clip_by_global_norm(tape.gradient(loss, arrays), clip_norm)
        return *adam_step(arrays, grads, m, v, lr, t), loss

    return train_step, tf.function(loss_of, jit_compile=True)


def hidden_before(w: ResidualWeights, x: Any) -> Any:
    """x (T, B, INPUTS) -> (T, B, H): h after all samples before each."""
    hidden, batch = w.lstm_h.shape[0], x.shape[1]
    from_x = tf.tensordot(x, w.lstm_x, 1) + w.lstm_b

    def step(state: Any, gates_x: Any) -> Any:
        h, c = state
        gates = gates_x + h @ w.lstm_h
        i, f, o = tf.split(tf.sigmoid(gates[:, : 3 * hidden]), 3, axis=1)
        c = f * c + i * tf.tanh(gates[:, 3 * hidden :])
        return o * tf.tanh(c), c

    zero = tf.zeros((batch, hidden))
    h, _ = tf.scan(step, from_x, (zero, zero))
    return tf.concat([zero[None], h[:-1]], axis=0)


def nll_of(w: ResidualWeights, h: Any, u: Any, extras: Any) -> Any:
    """h (T, B, H) before the sample, u (T, B, 4) -> (T, B) -log p."""
    width = w.place_w.shape[0]
    first = tf.tensordot(h, w.heads_w, 1) + w.heads_b
    place = tf.nn.relu(first[..., :width] + tf.tensordot(extras, w.extras_w, 1))
    speed = tf.nn.relu(first[..., width:])
    out = [tf.tensordot(place, w.place_w, 1) + w.place_b, tf.tensordot(speed, w.speed_w, 1) + w.speed_b]
    p = tf.reshape(tf.concat(out, axis=-1), (*h.shape[:2], 4, 3, MIXTURE))
    log_scale = tf.clip_by_value(p[..., 2, :], *LOG_SCALE)
    d = (u[..., None] - p[..., 1, :]) * tf.exp(-log_scale)
    log_t = LOG_T - log_scale - 0.5 * (T_FREEDOM + 1.0) * tf.math.log1p(d * d / T_FREEDOM)
    mixed = tf.reduce_logsumexp(p[..., 0, :] + log_t, axis=-1) - tf.reduce_logsumexp(p[..., 0, :], axis=-1)
    return -tf.reduce_sum(mixed, axis=-1)


def _write(
    out: Path,
    rows: Sequence[tuple[float, ...]],
    trained: ResidualTrained,
    settings: ResidualSettings,
    n: int,
    n_held_out: int,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    head = "step,train_nll,val_nll,seconds\n"
    (out / "log.csv").write_text(head + "".join(f"{a},{b:.6g},{c:.6g},{d:.1f}\n" for a, b, c, d in rows))
    summary = {
        "settings": settings.to_dict(),
        "lines": {"train": n, "validation": n_held_out},
        "steps": trained.steps,
        "best_step": trained.best_step,
        "train_nll_nats_per_sample": trained.train_nll,
        "val_nll_nats_per_sample": trained.val_nll,
        "seconds": round(trained.seconds, 1),
        "tensorflow": tf.__version__,
    }
    (out / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
