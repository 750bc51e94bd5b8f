"""What the VRNN has learnt, as named arrays; no TensorFlow here, so that the NumPy scorer needs none.

Names follow the paper (Chung et al. 2015, Nguyen et al. 2018): ``phi_x`` and ``phi_z`` encode x_t and z_t, ``prior``
is p(z_t | x_<t, z_<t), ``post`` is q(z_t | x_<=t, z_<t), ``emit`` is p(x_t | z_<=t, x_<t). Every MLP has one hidden
ReLU layer (``w1, b1``) and a linear output (``w2, b2``). Matrices are (inputs, outputs): y = x @ w + b.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..errors import ModelCorrupt

# docs/method.md#the-network: the emission's bias starts at logit(mean four-hot), the mean clipped to [MEAN_MIN, 1 - MEAN_MIN].
MEAN_MIN = 1e-4
# Not in the paper: keeps the LSTM's memory open at the start of training (Jozefowicz et al. 2015).
FORGET_BIAS = 1.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of one VRNN: bins of the four blocks (lat, lon, sog, cog), length of z, width of every hidden layer."""

    blocks: tuple[int, int, int, int]
    latent: int = 100
    hidden: int = 100

    @classmethod
    def of(cls, region: Region, latent: int = 100, hidden: int = 100) -> Sizes:
        return cls((region.n_lat, region.n_lon, region.n_sog, region.n_cog), latent, hidden)

    @property
    def dim(self) -> int:
        """D, length of the four-hot vector."""
        return sum(self.blocks)

    @property
    def offsets(self) -> NDArray[np.int32]:
        """(4,) where each block starts in the four-hot."""
        return np.concatenate([[0], np.cumsum(self.blocks[:-1])]).astype(np.int32)


@dataclass(frozen=True, slots=True)
class VrnnWeights:
    """float32 arrays (TensorFlow tensors during training); D four-hot, H hidden, Z latent."""

    phi_x_w1: Any  # (D, H)
    phi_x_b1: Any
    phi_x_w2: Any  # (H, H)
    phi_x_b2: Any
    phi_z_w1: Any  # (Z, H)
    phi_z_b1: Any
    phi_z_w2: Any  # (H, H)
    phi_z_b2: Any
    lstm_w: Any  # (3H, 4H): rows [phi_x(x_{t-1}), phi_z(z_{t-1}), h_{t-1}], columns [input, forget, output, candidate]
    lstm_b: Any  # (4H,)
    prior_w1: Any  # (H, H)
    prior_b1: Any
    prior_w2: Any  # (H, 2Z): [mu_p, r_p]
    prior_b2: Any
    post_w1: Any  # (2H, H): rows [o_t, phi_x(x_t)]
    post_b1: Any
    post_w2: Any  # (H, 2Z): [mu_q, r_q]
    post_b2: Any
    emit_w1: Any  # (2H, H): rows [phi_z(z_t), o_t]
    emit_b1: Any
    emit_w2: Any  # (H, D)
    emit_b2: Any

    @staticmethod
    def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """Shape of each array by field, for a network of these sizes."""
        d, h, z = sizes.dim, sizes.hidden, sizes.latent
        mlp = {
            "phi_x": (d, h, h),
            "phi_z": (z, h, h),
            "prior": (h, h, 2 * z),
            "post": (2 * h, h, 2 * z),
            "emit": (2 * h, h, d),
        }
        out: dict[str, tuple[int, ...]] = {"lstm_w": (3 * h, 4 * h), "lstm_b": (4 * h,)}
        for name, (i, m, o) in mlp.items():
            out |= {f"{name}_w1": (i, m), f"{name}_b1": (m,), f"{name}_w2": (m, o), f"{name}_b2": (o,)}
        return {f.name: out[f.name] for f in dataclasses.fields(VrnnWeights)}

    @classmethod
    def random(cls, sizes: Sizes, mean_four_hot: NDArray[np.floating], seed: int) -> Self:
        """Glorot-uniform matrices, zero biases, forget bias 1, emission bias at logit of the clipped mean four-hot (D,)."""
        rng = np.random.default_rng(seed)
        values = {}
        for name, shape in cls.shapes(sizes).items():
            if len(shape) == 2:
                # Of the four-hot's D inputs only 4 are ever on: the fan-in that counts is 4.
                fan_in = 4 if name == "phi_x_w1" else shape[0]
                limit = np.sqrt(6.0 / (fan_in + shape[1]))
                values[name] = rng.uniform(-limit, limit, shape).astype(np.float32)
            else:
                values[name] = np.zeros(shape, np.float32)
        h = sizes.hidden
        values["lstm_b"][h : 2 * h] = FORGET_BIAS
        mean = np.clip(np.asarray(mean_four_hot, np.float64), MEAN_MIN, 1 - MEAN_MIN)
        values["emit_b2"] = np.log(mean / (1 - mean)).astype(np.float32)
        return cls(**values)

    def arrays(self) -> list[Any]:
        """In the order of the fields."""
        return [getattr(self, f.name) for f in dataclasses.fields(self)]

    @classmethod
    def of(cls, arrays: Sequence[Any]) -> Self:
        return cls(*arrays)

    def map(self, f: Callable[[Any], Any]) -> Self:
        return type(self)(*(f(a) for a in self.arrays()))

    def save(self, path: Path) -> None:
        save_npz(path, {f.name: np.asarray(getattr(self, f.name), np.float32) for f in dataclasses.fields(self)})

    @classmethod
    def load(cls, path: Path, sizes: Sizes) -> Self:
        """Raises ``ModelCorrupt`` when the file is missing, unreadable, incomplete, not finite or of other sizes."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise ModelCorrupt(f"{path} is missing: copy the whole model folder again, or train it again") from None
        except Exception as e:  # zipfile, zlib and numpy each have their own errors for a broken file
            raise ModelCorrupt(f"{path} cannot be read ({e}): copy the whole model folder again") from None
        shapes = cls.shapes(sizes)
        if set(values) != set(shapes):
            raise ModelCorrupt(f"{path} does not hold the arrays of a VRNN: {sorted(set(values) ^ set(shapes))}")
        for name, shape in shapes.items():
            if values[name].shape != shape:
                raise ModelCorrupt(f"{path}: {name} has shape {values[name].shape}, the model needs {shape}")
            if not np.isfinite(values[name]).all():
                raise ModelCorrupt(f"{path}: {name} holds values that are not finite")
        return cls(**{name: np.ascontiguousarray(a, np.float32) for name, a in values.items()})


def save_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write to a neighbour and rename: a crash leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as f:
        np.savez(f, **arrays)  # type: ignore[arg-type]  # its keywords are names of arrays
        f.flush()
        os.fsync(f.fileno())
    part.replace(path)
