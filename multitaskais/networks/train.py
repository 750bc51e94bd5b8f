"""Training of the VRNN: ``train(dataset, region, settings, out) -> Trained``.

A step depends on the weights, Adam's moments, the settings and the step's number alone: batches, phases and noise come
from (seed, step). So a checkpoint is a few arrays, and a training that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import csv
import functools
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from ..config import Region
from ..errors import ConfigError, TrainingError
from . import bounds, vrnn
from .adam import adam_step
from .curves import plot_curves
from .dataset import Batch, Dataset, longest, training_batch, validation_batches
from .settings import TrainSettings
from .weights import Sizes, VrnnWeights, save_npz

log = logging.getLogger(__name__)

DEAD_KL = 0.05  # nats a step; below this z carries nothing that a watch officer could notice
CHECKPOINT_VERSION = 1


class LogRow(NamedTuple):
    """One line of ``log.csv``; bounds and KL in nats per sample of a track, NaN where not looked at."""

    step: int
    loss: float  # what the step minimised (annealing and free bits included)
    train_bound: float
    train_kl: float
    val_bound: float
    val_kl: float
    learning_rate: float
    seconds: float  # of training so far


@dataclass(frozen=True, slots=True)
class Trained:
    """``weights`` are those of the best look at the unseen vessels."""

    weights: VrnnWeights
    sizes: Sizes
    log: tuple[LogRow, ...]
    best_step: int
    best_val_bound: float
    val_kl: float  # at the best step
    steps: int  # done
    seconds: float

    @property
    def latent_is_dead(self) -> bool:
        return self.val_kl < DEAD_KL


@dataclass
class _Run:
    """Running state; all of it goes into the checkpoint."""

    arrays: list[Any]
    m: list[Any]
    v: list[Any]
    best: list[Any]
    step: int = 0
    best_step: int = 0
    best_val: float = -np.inf
    best_kl: float = np.nan
    bad_looks: int = 0
    seconds: float = 0.0
    rows: list[LogRow] = field(default_factory=list)


def train(
    dataset: Dataset,
    region: Region,
    settings: TrainSettings,
    out: Path,
    resume: bool = False,
    on_step: Callable[[int, float], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Train, and write ``checkpoint.npz``, ``log.csv``, ``training.json`` and ``curves.png`` into ``out``.

    ``on_step(step, loss)`` is called after each step. Raises ``ConfigError`` when ``resume`` finds a checkpoint of another
    region, other settings or other data.
    """
    sizes = Sizes.of(region, settings.latent, settings.hidden)
    out.mkdir(parents=True, exist_ok=True)
    identity = {
        "version": CHECKPOINT_VERSION,
        "region": region.to_dict(),
        "settings": settings.to_dict(),
        "data": dataset.digest(),
    }
    checkpoint = out / "checkpoint.npz"
    run = _load(checkpoint, identity) if resume else None
    if run is None:
        first = VrnnWeights.random(sizes, dataset.mean_four_hot(sizes), settings.seed).arrays()
        run = _Run(first, [np.zeros_like(a) for a in first], [np.zeros_like(a) for a in first], first)
    else:
        log.info("resuming at step %d of %d", run.step, settings.steps)
    t_max = max(longest(tracks, settings.max_steps) for tracks in (dataset.train, dataset.validation))
    train_step, look = train_graph(sizes, Objective.of(settings), t_max), _look_graph(sizes, settings.bound, t_max)
    validation = validation_batches(dataset.validation, settings.batch, t_max)
    started = clock() - run.seconds
    warned = False

    try:
        with tqdm(total=settings.steps, initial=run.step, desc="train", unit="step", disable=None) as bar:
            while run.step < settings.steps and run.bad_looks < settings.patience:
                lr = settings.learning_rate * 0.5 * (1.0 + np.cos(np.pi * run.step / settings.steps))
                batch = training_batch(dataset.train, settings.batch, t_max, settings.seed, run.step)
                beta = min(1.0, (run.step + 1) / settings.kl_anneal_steps) if settings.kl_anneal_steps else 1.0
                result = train_step(
                    run.arrays,
                    run.m,
                    run.v,
                    *batch,
                    _noise(settings, sizes, t_max, run.step),
                    _f(lr),
                    _f(run.step + 1),
                    _f(beta),
                )
                run.arrays, run.m, run.v, loss, bound, kl = result
                run.step += 1
                last = run.step == settings.steps
                if run.step % settings.log_every == 0 or run.step % settings.val_every == 0 or last:
                    val_bound = val_kl = np.nan
                    if run.step % settings.val_every == 0 or last:
                        val_bound, val_kl = _validate(look, run, validation, settings, sizes, t_max)
                    run.seconds = clock() - started
                    row = LogRow(run.step, float(loss), float(bound), float(kl), val_bound, val_kl, lr, run.seconds)
                    run.rows.append(row)
                    if not np.isfinite(row.loss):
                        raise TrainingError(
                            f"the loss is {row.loss} at step {row.step}: train again with a smaller learning rate"
                        )
                    log.info("step %d  loss %.4f  bound %.4f  KL %.4f  val %.4f  val KL %.4f", *row[:6])
                    bar.set_postfix(
                        loss=f"{row.loss:.3f}", val=f"{run.best_val:.3f}", kl=f"{row.train_kl:.3f}", refresh=False
                    )
                    if val_kl < DEAD_KL and not warned and beta == 1.0:
                        warned = True
                        _warn_dead(val_kl)
                if run.step % settings.checkpoint_every == 0 or last:
                    _save(checkpoint, run, identity)
                    _write_log(out, run.rows)
                if on_step is not None:
                    on_step(run.step, float(loss))
                bar.update()
    except KeyboardInterrupt:
        _save(checkpoint, run, identity)
        log.info("stopped by hand at step %d; --resume goes on from there", run.step)
        raise
    if run.bad_looks >= settings.patience:
        log.info("stopped at step %d: no better on unseen vessels since step %d", run.step, run.best_step)
    _save(checkpoint, run, identity)
    weights = VrnnWeights.of([np.asarray(a) for a in run.best])
    trained = Trained(weights, sizes, tuple(run.rows), run.best_step, run.best_val, run.best_kl, run.step, run.seconds)
    if trained.latent_is_dead and not warned:
        _warn_dead(trained.val_kl)
    _write_log(out, run.rows)
    _write_summary(out, trained, region, settings, dataset)
    plot_curves(run.rows, out / "curves.png")
    return trained


def _warn_dead(kl: float) -> None:
    log.warning("KL = %.4f nats a step: the latent is dead: the model works as an LSTM", kl)


def _f(x: float) -> Any:
    return tf.constant(x, tf.float32)


class _Noise(NamedTuple):
    """Of one step."""

    normal: Any  # N(0, 1) (T, B, S, Z)
    uniform: Any  # U(0, 1) (T, B, S), to draw samples again
    step: Any  # of decoder_dropout, U(0, 1) (T, B * S, 1)
    block: Any  # of input_dropout, U(0, 1) (T, B, 4)
    unit: Any  # of dropout, U(0, 1) (T, B * S, H); empty without it


def _noise(settings: TrainSettings, sizes: Sizes, t_max: int, step: int, stream: int = 2) -> _Noise:
    rng = np.random.default_rng([settings.seed, stream, step])
    b, s = settings.batch, settings.samples
    normal = rng.standard_normal((t_max, b, s, sizes.latent), np.float32)
    hidden = sizes.hidden if settings.dropout else 0
    return _Noise(
        normal,
        rng.random((t_max, b, s), np.float32),
        rng.random((t_max, b * s, 1), np.float32),
        rng.random((t_max, b, 4), np.float32),
        rng.random((t_max, b * s, hidden), np.float32),
    )


class Objective(NamedTuple):
    """The settings that are part of the compiled graphs; trainings that differ in the others only share them."""

    bound: str
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    free_bits: float = 0.0
    decoder_dropout: float = 0.0
    input_dropout: float = 0.0
    dropout: float = 0.0

    @classmethod
    def of(cls, settings: TrainSettings) -> Objective:
        return cls(**{name: getattr(settings, name) for name in cls._fields})


def _bound_of(
    sizes: Sizes, objective: Objective, t_max: int, arrays: Any, bins: Any, lengths: Any, noise: _Noise, beta: Any
) -> Any:
    """The bound (B,) of B tracks and the KL (T, B) of their steps."""
    w = VrnnWeights.of(arrays)
    mask = bounds.mask_of(lengths, t_max)
    if objective.bound == "fivo":
        found = bounds.fivo(w, sizes, bins, noise.normal, noise.uniform, mask, beta)
        return found.bound, tf.reduce_mean(found.kl, axis=2) * mask
    keep = seen = None
    if objective.decoder_dropout:
        keep = tf.cast(noise.step >= objective.decoder_dropout, tf.float32)
    if objective.dropout:
        units = tf.cast(noise.unit >= objective.dropout, tf.float32) / (1.0 - objective.dropout)
        keep = units if keep is None else keep * units
    if objective.input_dropout:
        seen = tf.where(noise.block < objective.input_dropout, -1, bins)
    u = vrnn.unroll(w, sizes, bins, noise.normal, keep, seen)
    log_w = u.log_w + (beta - 1.0) * u.log_ratio
    return bounds.iwae(log_w, mask), tf.reduce_mean(u.kl, axis=2) * mask


@functools.lru_cache(maxsize=8)
def train_graph(sizes: Sizes, objective: Objective, t_max: int) -> Any:
    """The training step, compiled at its first call with a batch of a shape."""

    @tf.function(jit_compile=True)
    def train_step(
        arrays: Any,
        m: Any,
        v: Any,
        bins: Any,
        lengths: Any,
        noise: _Noise,
        lr: Any,
        t: Any,
        beta: Any,
    ) -> Any:
        t_of = tf.cast(tf.maximum(lengths, 1), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            bound, kl = _bound_of(sizes, objective, t_max, arrays, bins, lengths, noise, beta)
            gain = bound
            if objective.free_bits:
                # KL below the free bits is given back: what is left has no gradient towards zero.
                mask = bounds.mask_of(lengths, t_max)
                gain += tf.reduce_sum(kl - tf.maximum(kl, objective.free_bits) * mask, axis=0)
            loss = -tf.reduce_mean(gain / t_of)
        grads, _ = tf.clip_by_global_norm(
            [tf.convert_to_tensor(g) for g in tape.gradient(loss, arrays)], objective.clip_norm
        )
        arrays, m, v = adam_step(arrays, grads, m, v, lr, t, objective.weight_decay)
        total = tf.reduce_sum(t_of)
        return arrays, m, v, loss, tf.reduce_sum(bound) / total, tf.reduce_sum(kl) / total

    return train_step


@functools.lru_cache(maxsize=8)
def _look_graph(sizes: Sizes, bound: str, t_max: int) -> Any:
    """The look at validation tracks, with nothing dropped."""

    @tf.function(jit_compile=True)
    def look(arrays: Any, bins: Any, lengths: Any, noise: _Noise) -> Any:
        found, kl = _bound_of(sizes, Objective(bound), t_max, arrays, bins, lengths, noise, 1.0)
        return tf.reduce_sum(tf.where(lengths > 0, found, 0.0)), tf.reduce_sum(kl)

    return look


def _validate(
    look: Any, run: _Run, batches: Sequence[Batch], settings: TrainSettings, sizes: Sizes, t_max: int
) -> tuple[float, float]:
    """Bound and KL in nats a sample over the unseen vessels, always with the same noise; keeps the best weights."""
    bound = kl = 0.0
    for i, batch in enumerate(batches):
        b, k = look(run.arrays, *batch, _noise(settings, sizes, t_max, i, stream=3))
        bound, kl = bound + float(b), kl + float(k)
    total = sum(int(b.lengths.sum()) for b in batches)
    bound, kl = bound / total, kl / total
    if bound > run.best_val:
        run.best, run.best_step, run.best_val, run.best_kl, run.bad_looks = run.arrays, run.step, bound, kl, 0
    else:
        run.bad_looks += 1
    return bound, kl


_GROUPS = ("arrays", "m", "v", "best")


def _save(path: Path, run: _Run, identity: dict[str, Any]) -> None:
    values: dict[str, NDArray[Any]] = {}
    for group in _GROUPS:
        values |= {f"{group}_{i}": np.asarray(a) for i, a in enumerate(getattr(run, group))}
    state = {k: v for k, v in vars(run).items() if k not in _GROUPS}
    values["state"] = np.array(json.dumps(state))
    values["identity"] = np.array(json.dumps(identity, sort_keys=True))
    save_npz(path, values)


def _load(path: Path, identity: dict[str, Any]) -> _Run | None:
    if not path.is_file():
        log.info("nothing to resume in %s: starting again", path.parent)
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        theirs = json.loads(str(values["identity"]))
        state = json.loads(str(values["state"]))
    except Exception as e:  # zipfile, zlib, numpy and json each have their own errors for a broken file
        raise ConfigError(f"{path} cannot be read ({e}): remove it, or train without --resume") from None
    for key, ours in json.loads(json.dumps(identity)).items():
        if theirs.get(key) != ours:
            raise ConfigError(
                f"{path} belongs to a training with another {key}: resume with the same {key}, or train without --resume"
            )
    n = len(VrnnWeights.__dataclass_fields__)
    groups: dict[str, Any] = {g: [values[f"{g}_{i}"] for i in range(n)] for g in _GROUPS}
    rows = [LogRow(*r) for r in state.pop("rows")]
    return _Run(**groups, **state, rows=rows)


def _write_log(out: Path, rows: Sequence[LogRow]) -> None:
    with (out / "log.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(LogRow._fields)
        writer.writerows([r.step, *(f"{x:.6g}" for x in r[1:])] for r in rows)


def _write_summary(out: Path, trained: Trained, region: Region, settings: TrainSettings, dataset: Dataset) -> None:
    summary = {
        "region": region.name,
        "settings": settings.to_dict(),
        "tracks": {"train": len(dataset.train), "validation": len(dataset.validation)},
        "samples": {k: sum(len(t[0]) for t in getattr(dataset, k)) for k in ("train", "validation")},
        "steps": trained.steps,
        "best_step": trained.best_step,
        "val_bound_nats_per_sample": trained.best_val_bound,
        "val_kl_nats_per_sample": trained.val_kl,
        "latent_is_dead": trained.latent_is_dead,
        "seconds": round(trained.seconds, 1),
        "tensorflow": tf.__version__,
    }
    (out / "training.json").write_text(json.dumps(summary, indent=1) + "\n")
