"""How a VRNN is trained: settings apart from running state, validated, JSON in and out."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import JsonSettings
from ..errors import ConfigError

BOUNDS = ("iwae", "fivo")


@dataclass(frozen=True, slots=True)
class TrainSettings(JsonSettings):
    """Defaults suffice for some 600 tracks; more steps overfit (docs/method.md#dead-latent)."""

    steps: int = 2000
    learning_rate: float = 1e-3  # Adam; falls to 0 along a half cosine over ``steps``
    batch: int = 50  # tracks
    samples: int = 1  # S of the bound
    bound: str = "iwae"  # iwae (the ELBO for S = 1) or fivo
    latent: int = 100
    hidden: int = 100
    max_steps: int = 144  # samples of a track that are used: 24 h
    seed: int = 0
    val_every: int = 100  # steps between looks at the unseen vessels
    patience: int = 6  # looks without a better value that end the training
    checkpoint_every: int = 200
    log_every: int = 20
    clip_norm: float = 5.0  # not in the paper: the greatest norm of a gradient
    # Against learning the training vessels by heart
    weight_decay: float = 0.0  # of matrices, decoupled from Adam (Loshchilov and Hutter 2019)
    input_dropout: float = 0.0  # share of the blocks of x_{t-1} that the recurrence does not see
    dropout: float = 0.0  # share of the units of o_t that the emission does not see (iwae only)
    # Against a dead latent (docs/method.md#dead-latent); all off by default
    kl_anneal_steps: int = 0  # log p(z) - log q(z) counts t / kl_anneal_steps at step t
    free_bits: float = 0.0  # nats a step below which the KL costs nothing
    decoder_dropout: float = 0.0  # share of steps at which the emission does not see o_t (iwae only)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "samples",
            "latent",
            "hidden",
            "max_steps",
            "val_every",
            "patience",
            "checkpoint_every",
            "log_every",
        ):
            if not getattr(self, name) >= 1:
                raise ConfigError(f"TrainSettings: {name} must be at least 1")
        if not (self.learning_rate > 0 and self.clip_norm > 0):
            raise ConfigError("TrainSettings: learning_rate and clip_norm must be greater than 0")
        if self.bound not in BOUNDS:
            raise ConfigError(f"TrainSettings: bound must be one of {', '.join(BOUNDS)}, not {self.bound!r}")
        if self.bound == "fivo" and self.samples < 2:
            raise ConfigError("TrainSettings: fivo draws samples again and needs samples >= 2")
        if self.kl_anneal_steps < 0 or self.free_bits < 0 or not 0 <= self.decoder_dropout < 1:
            raise ConfigError("TrainSettings: kl_anneal_steps and free_bits must be >= 0, decoder_dropout in [0, 1)")
        if not (self.weight_decay >= 0 and 0 <= self.input_dropout < 1 and 0 <= self.dropout < 1):
            raise ConfigError("TrainSettings: weight_decay must be >= 0, input_dropout and dropout in [0, 1)")
        if self.bound == "fivo" and (self.decoder_dropout or self.dropout or self.input_dropout):
            raise ConfigError("TrainSettings: decoder_dropout, dropout and input_dropout work with bound iwae only")
