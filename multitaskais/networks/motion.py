"""How a ship moves on, in its own frame: what an LSTM without latent expects of the next sample, in NumPy.

    motion   along, across   error of dead reckoning (SOG x 10 min along the course of the sample before), km
             dsog, dcog      change of speed (kn) and course (deg)
    score    -log p(motion | all before), of u = asinh(motion / SCALE): an error of 10 km is more anomalous than one of 1 km, not
             a hundred times as strange

    p(dsog, dcog, along, across) = p(dsog | h) p(dcog | h) p(along | h, dsog, dcog) p(across | h, dsog, dcog)

each a mixture of ``MIXTURE`` Student-t of 4 degrees of freedom. What follows from the new speed and course (half of the turn
was made within the 10 minutes) is so no error, and positions that contradict them are.

No position enters, absolute or of other ships: the same weights serve every region. Training: ``residual_train``.

A line's numbers have the same bits on every machine and whatever else stands in its batch: element by element with the functions
of ``multitaskais.exact``, or as products of matrices on fixed grids, which are exact.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..config import STEP_S
from ..errors import ModelCorrupt
from ..exact import functions
from ..exact.products import Grid, on_grid
from ..types import ExpectedRows, Rows, Samples
from ..units import KM_PER_DEG_TRAINED, KNOT_KMPS
from .passes import fastest
from .threads import OneThread
from .weights import save_npz

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DT_MAX_S = 1.0  # samples further from 10 min apart (another grid after the 24 h cut) say nothing of the motion

_LAST = ("t", "lat", "lon", "sog", "cog")  # what a row keeps of the last sample
COMPONENTS = ("along", "across", "dsog", "dcog")
SCALE = np.array([0.3, 0.3, 0.5, 5.0])  # km, km, kn, deg: about the median of each under way
CLASSES = 7  # vessel classes told apart; -1 is none of them
INPUTS = 13 + CLASSES
EXTRAS = 5  # what the heads of along and across see besides h
MIXTURE = 3

# What enters a product; inputs and hidden layers of trained weights stay below 20.
INPUT = Grid(bits=18, limit=64.0)
OUTPUT = Grid(bits=20, limit=1.0)  # of the LSTM


EXPECTED_DTYPE = np.dtype([("lat", "f8"), ("lon", "f8"), ("sog", "f8"), ("cog", "f8")])  # deg, deg, kn, deg true


class Moved(NamedTuple):
    """Of n lines, each from its last sample to its next one."""

    u: Floats  # (n, 4) asinh(motion / SCALE) in the order of COMPONENTS; 0 where not known
    known: NDArray[np.bool_]  # (n,) both samples have all of position, SOG and COG, 10 min apart
    extras: Floats  # (n, EXTRAS)


def moved(last: Rows | dict[str, Doubles], samples: dict[str, Doubles]) -> Moved:
    """``last`` (n,) with t, lat, lon, sog, cog of the sample before (NaN where there is none), ``samples`` the next one's."""
    old = {f: np.ascontiguousarray(last[f]) for f in _LAST}
    known = np.abs(samples["t"] - old["t"] - STEP_S) <= DT_MAX_S
    for f in ("lat", "lon", "sog", "cog"):
        known &= np.isfinite(old[f]) & np.isfinite(samples[f])
    old, new = ({k: np.where(known, v, 0.0) for k, v in s.items()} for s in (old, samples))
    sin, cos = functions.sin_cos(old["cog"])
    north = (new["lat"] - old["lat"]) * KM_PER_DEG_TRAINED
    east = ((new["lon"] - old["lon"] + 180.0) % 360.0 - 180.0) * KM_PER_DEG_TRAINED * functions.cos(old["lat"])
    along = north * cos + east * sin - old["sog"] * (KNOT_KMPS * STEP_S)
    across = east * cos - north * sin
    turn = (new["cog"] - old["cog"] + 180.0) % 360.0 - 180.0
    motion = np.stack([along, across, new["sog"] - old["sog"], turn], axis=1)
    u = np.where(known[:, None], functions.asinh(motion / SCALE), 0.0)
    sin, cos = functions.sin_cos(turn)
    extras = [u[:, 2], u[:, 3], 0.1 * new["sog"] * sin, 0.1 * new["sog"] * cos, 0.1 * old["sog"]]
    return Moved(u.astype(np.float32), known, np.stack(extras, axis=1).astype(np.float32))


def inputs(m: Moved, samples: dict[str, Doubles], moored: NDArray[np.bool_], ship_class: NDArray[np.int64]) -> Floats:
    """(n, INPUTS) what the LSTM is told of a sample: its motion, speed, rest and vessel class; no position."""
    out = np.zeros((len(moored), INPUTS), np.float32)
    sog, mismatch = samples["sog"], samples["mismatch"]
    has_sog, has_mismatch = np.isfinite(sog), np.isfinite(mismatch)
    sog, mismatch = np.where(has_sog, sog, 0.0), np.where(has_mismatch, mismatch, 0.0)
    out[:, :4] = m.u
    out[:, 4] = m.known
    out[:, 5] = 0.1 * sog
    out[:, 6] = functions.log1p(sog)
    out[:, 7] = has_sog
    out[:, 8] = np.isfinite(samples["cog"])
    out[:, 9] = functions.log1p(mismatch)
    out[:, 10] = has_mismatch  # False: no reports between, the sample is interpolated through a silence
    out[:, 11] = moored
    out[:, 12] = functions.log1p(samples["made_30min"] * 0.01)
    rows = np.flatnonzero(ship_class >= 0)
    out[rows, 13 + ship_class[rows]] = 1.0
    return out


@dataclass(frozen=True, slots=True)
class ResidualWeights:
    """float32 arrays (TensorFlow tensors during training); H hidden, M width of the heads, K = MIXTURE.

    A head gives, for each of its two components, K logits, K places and K log scales.
    """

    lstm_x: Any  # (INPUTS, 4H), columns [input, forget, output, candidate]
    lstm_h: Any  # (H, 4H)
    lstm_b: Any  # (4H,)
    heads_w: Any  # (H, 2M): first layers of the head of along and across, and of dsog and dcog
    heads_b: Any  # (2M,)
    extras_w: Any  # (EXTRAS, M) of the head of along and across
    place_w: Any  # (M, 6K) along, across
    place_b: Any
    speed_w: Any  # (M, 6K) dsog, dcog
    speed_b: Any

    @staticmethod
    def shapes(hidden: int, width: int) -> dict[str, tuple[int, ...]]:
        """Shape of each array by field. ``hidden``: units of the LSTM; ``width``: of the heads."""
        out = 2 * 3 * MIXTURE
        return {
            "lstm_x": (INPUTS, 4 * hidden),
            "lstm_h": (hidden, 4 * hidden),
            "lstm_b": (4 * hidden,),
            "heads_w": (hidden, 2 * width),
            "heads_b": (2 * width,),
            "extras_w": (EXTRAS, width),
            "place_w": (width, out),
            "place_b": (out,),
            "speed_w": (width, out),
            "speed_b": (out,),
        }

    @classmethod
    def random(cls, hidden: int, width: int, seed: int) -> Self:
        """Glorot-uniform matrices, zero biases, forget bias 1; the parts of a mixture start apart."""
        rng = np.random.default_rng(seed)
        values: dict[str, Floats] = {}
        for name, shape in cls.shapes(hidden, width).items():
            limit = np.sqrt(6.0 / sum(shape))
            values[name] = (rng.uniform(-limit, limit, shape) if len(shape) == 2 else np.zeros(shape)).astype("f4")
        values["lstm_b"][hidden : 2 * hidden] = 1.0
        apart = np.linspace(-2.0, 1.0, MIXTURE)  # log scales
        for name in ("place_b", "speed_b"):
            values[name].reshape(2, 3, MIXTURE)[:, 2] = apart
        return cls(**values)

    def arrays(self) -> list[Any]:
        return [getattr(self, f.name) for f in dataclasses.fields(self)]

    def save(self, path: Path) -> None:
        save_npz(path, {f.name: np.asarray(getattr(self, f.name), np.float32) for f in dataclasses.fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ``ModelCorrupt`` when the file is missing, unreadable, incomplete, not finite or of other shapes."""
        again = "copy the whole model folder again, or train it again"
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {name: np.ascontiguousarray(file[name], np.float32) for name in file.files}
            shapes = cls.shapes(len(values["lstm_h"]), len(values["place_w"]))
        except FileNotFoundError:
            raise ModelCorrupt(f"{path} is missing: {again}") from None
        except Exception as e:  # zipfile, zlib and numpy each have their own errors for a broken file
            raise ModelCorrupt(f"{path} cannot be read ({type(e).__name__}: {e}): {again}") from None
        if {k: v.shape for k, v in values.items()} != shapes:
            raise ModelCorrupt(f"{path} does not hold the arrays of a residual detector: {again}")
        if not all(np.isfinite(a).all() for a in values.values()):
            raise ModelCorrupt(f"{path} holds values that are not finite: {again}")
        return cls(**values)


def state_dtype(hidden: int) -> np.dtype:
    """One row a line: samples seen, the last of them, and the LSTM after it."""
    last = [(f, "f8") for f in ("t", "lat", "lon", "sog", "cog")]
    return np.dtype([("seen", "i4"), *last, ("h", "f4", (hidden,)), ("c", "f4", (hidden,))])


class ResidualScorer:
    """The motion network in exact NumPy: -log p of each step, in nats, the same bits on every machine. State is in rows."""

    def __init__(self, weights: ResidualWeights) -> None:
        self.weights = weights
        self.hidden, self.width = len(weights.lstm_h), len(weights.place_w)
        self.state_dtype = state_dtype(self.hidden)
        half = np.repeat([0.5, 0.5, 0.5, 1.0], self.hidden)
        w = {f.name: np.asarray(getattr(weights, f.name), np.float64) for f in dataclasses.fields(weights)}
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, the half taken into the gates' columns
        gates = np.concatenate([w["lstm_x"], w["lstm_h"]]) * half
        self._gates = on_grid(gates, [(INPUTS, INPUT), (self.hidden, OUTPUT)])
        self._gates_b = w["lstm_b"] * half
        self._heads, self._heads_b = on_grid(w["heads_w"], OUTPUT), w["heads_b"]
        self._extras = on_grid(w["extras_w"], INPUT)
        self._place, self._place_b = on_grid(w["place_w"], INPUT), w["place_b"]
        self._speed, self._speed_b = on_grid(w["speed_w"], INPUT), w["speed_b"]
        self._one_thread = OneThread()

    def initial(self, n: int) -> Rows:
        state = np.zeros(n, self.state_dtype)
        for name in _LAST:
            state[name] = np.nan
        return state

    def steps(
        self,
        state: Rows,
        samples: Samples,
        ship_class: NDArray[np.int64],
        scored: NDArray[np.bool_] | None = None,
    ) -> tuple[Rows, Doubles]:
        """The next T steps of n lines: (n,) rows, (T * n,) samples of ``SAMPLE_DTYPE`` and classes (-1 unknown), the first step of every
        line before the second of any -> the rows after all of them, and (T * n,) score in nats; NaN where not known, and where it is not
        asked for (``scored`` (T * n,); None asks for all)."""
        found, h, c, o = self._run(state, samples, ship_class)
        asked = np.flatnonzero(found.known if scored is None else found.known & scored)
        score = np.full(len(samples), np.nan)
        with self._one_thread():
            those = Moved(found.u[asked], found.known[asked], found.extras[asked])
            score[asked] = self._nll(h[asked], those)
        n = len(state)
        n_steps = len(samples) // max(n, 1)
        new = np.empty(n, self.state_dtype)
        new["seen"] = np.minimum(state["seen"], np.iinfo(np.int32).max - n_steps) + n_steps
        for name in _LAST:
            new[name] = samples[name][len(samples) - n :]
        new["h"], new["c"] = o, c
        return new, score

    step = steps

    def before(self, state: Rows, samples: Samples, ship_class: NDArray[np.int64]) -> Rows:
        """As ``steps``: (T * n,) the rows before each of the samples, as far as ``expected`` reads them."""
        _, h, _, _ = self._run(state, samples, ship_class)
        out = np.zeros(len(samples), self.state_dtype)
        for name in _LAST:
            out[name] = _before_each(state[name], samples[name])
        out["h"] = h  # multiples of 2^-20 within +-1: float32 holds them
        return out

    def _run(
        self, state: Rows, samples: Samples, ship_class: NDArray[np.int64]
    ) -> tuple[Moved, Doubles, Doubles, Doubles]:
        """The motions, (T * n, H) LSTM's output before each of them, and its cell and output (n, H) after the last."""
        n = len(state)
        now = {f: np.ascontiguousarray(samples[f], np.float64) for f in (*_LAST, "mismatch", "made_30min")}
        found = moved({f: _before_each(state[f], now[f]) for f in _LAST}, now)
        x = inputs(found, now, samples["moored"], ship_class).astype(np.float64)
        INPUT.symmetric(x, x)
        h = np.empty((len(samples), self.hidden))
        c, o = state["c"].astype(np.float64), state["h"].astype(np.float64)
        passes = fastest()
        with self._one_thread():
            gates_x = x @ self._gates[:INPUTS]
            for first in range(0, len(samples), max(n, 1)):
                here = slice(first, first + n)
                OUTPUT.symmetric(o, h[here])
                passes.lstm(h[here] @ self._gates[INPUTS:], gates_x[here], self._gates_b, c, o)
        return found, h, c, o

    def expected(self, state: Rows, t: NDArray[np.float64]) -> ExpectedRows:
        """(n,) rows and the times of the next samples -> (n,) of ``EXPECTED_DTYPE``, the likeliest part of each mixture; NaN where the
        last sample lacks a value or is not ``STEP_S`` before ``t``.

        New speed and course first, then the error of dead reckoning that goes with them.
        """
        out = np.full(len(state), np.nan, EXPECTED_DTYPE)
        old = {f: np.ascontiguousarray(state[f], np.float64) for f in _LAST}
        known = np.abs(t - old["t"] - STEP_S) <= DT_MAX_S
        for f in ("lat", "lon", "sog", "cog"):
            known &= np.isfinite(old[f])
        if not known.any():
            return out
        old = {f: v[known] for f, v in old.items()}
        h = np.empty((len(old["t"]), self.hidden))
        OUTPUT.symmetric(state["h"][known].astype(np.float64), h)
        still = Moved(np.zeros((len(h), 4), np.float32), np.ones(len(h), bool), np.zeros((len(h), EXTRAS), np.float32))
        dsog, turn = self._likeliest(h, still)[2:]
        sog = np.maximum(old["sog"] + dsog, 0.0)
        sin, cos = functions.sin_cos(turn)
        extras = [
            functions.asinh(dsog / SCALE[2]),
            functions.asinh(turn / SCALE[3]),
            0.1 * sog * sin,
            0.1 * sog * cos,
            0.1 * old["sog"],
        ]
        along, across = self._likeliest(h, still._replace(extras=np.stack(extras, axis=1).astype(np.float32)))[:2]
        sin, cos = functions.sin_cos(old["cog"])
        along += old["sog"] * (KNOT_KMPS * STEP_S)
        north = along * cos - across * sin
        east = along * sin + across * cos
        lon = old["lon"] + east / (KM_PER_DEG_TRAINED * functions.cos(old["lat"]))
        found = (
            old["lat"] + north / KM_PER_DEG_TRAINED,
            (lon + 180.0) % 360.0 - 180.0,
            sog,
            (old["cog"] + turn) % 360.0,
        )
        for name, values in zip(EXPECTED_DTYPE.names or (), found, strict=True):
            out[name][known] = values
        return out

    def _likeliest(self, h: Doubles, found: Moved) -> Doubles:
        """(4, n) motion in the order of COMPONENTS, in its own units: the place of the heaviest part of each mixture."""
        p = self._parts(h, found).T.reshape(4, 3, MIXTURE, -1)
        logit, loc = p[:, 0], p[:, 1]
        best = np.take_along_axis(loc, logit.argmax(axis=1)[:, None], axis=1)[:, 0]
        motion: Doubles = functions.sinh(best) * SCALE[:, None]
        return motion

    def _parts(self, h: Doubles, found: Moved) -> Doubles:
        """(n, 4 * 3 * MIXTURE): of each component the logits of its mixture's parts, their places and their log scales."""
        width = self.width
        first = h @ self._heads
        first += self._heads_b
        extras = np.empty(found.extras.shape)
        INPUT.symmetric(found.extras.astype(np.float64), extras)
        first[:, :width] += extras @ self._extras
        INPUT.relu(first, first)
        place = np.ascontiguousarray(first[:, :width]) @ self._place + self._place_b
        speed = np.ascontiguousarray(first[:, width:]) @ self._speed + self._speed_b
        return np.concatenate([place, speed], axis=1)

    def _nll(self, h: Doubles, found: Moved) -> Doubles:
        total = np.empty(len(h))
        fastest().mixtures(self._parts(h, found), found.u.astype(np.float64), total)
        return total


def _before_each(last: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """(n,) of the samples before a block and (T * n,) of the block -> (T * n,) of the sample before each."""
    return np.concatenate([last, values[: len(values) - len(last)]])
