"""The residual detector's net: features in the ship's own frame, the step in NumPy, and the same in TensorFlow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import t as student_t

from multitaskais.errors import ConfigError, InputError, ModelCorrupt
from multitaskais.networks.motion import COMPONENTS, INPUTS, MIXTURE, SCALE, ResidualScorer, ResidualWeights, moved
from multitaskais.networks.passes import LOG_SCALE
from multitaskais.records import SAMPLE_DTYPE
from multitaskais.units import KNOT_MPS

HIDDEN, WIDTH = 7, 5


def weights(seed: int = 0, hidden: int = HIDDEN, width: int = WIDTH) -> ResidualWeights:
    """Biases too, so that every term counts."""
    rng = np.random.default_rng(seed)
    w = ResidualWeights.random(hidden, width, seed)
    return ResidualWeights(*((a + 0.2 * rng.standard_normal(a.shape)).astype(np.float32) for a in w.arrays()))


def line(n: int, seed: int = 0, lat: float = 29.0, lon: float = -90.0) -> np.ndarray:
    """A ship that wanders; every fifth sample lacks something."""
    rng = np.random.default_rng(seed)
    s = np.zeros(n, SAMPLE_DTYPE)
    s["mmsi"], s["n"], s["t"] = 200_000_000 + seed, np.arange(n), 1e9 + 600.0 * np.arange(n)
    s["sog"] = np.abs(8 + rng.normal(0, 3, n))
    s["cog"] = (70 + 40 * rng.standard_normal(n)) % 360
    step = s["sog"] * KNOT_MPS * 600 / 111_195
    s["lat"] = lat + np.cumsum(step * np.cos(np.radians(s["cog"])))
    s["lon"] = lon + np.cumsum(step * np.sin(np.radians(s["cog"])))
    s["mismatch"], s["made_30min"] = rng.exponential(1, n), rng.exponential(5000, n)
    s["moored"] = rng.random(n) < 0.1
    s["cog"][3::10], s["sog"][7::10], s["mismatch"][4::5] = np.nan, np.nan, np.nan
    s["ship_type"] = rng.choice([-1, 30, 52, 70, 80, 99], n)
    return s


def run(scorer: ResidualScorer, lines: np.ndarray, ship_class: int = -1) -> np.ndarray:
    """(lines, T) samples of lines that step together -> (lines, T) scores."""
    state, out = scorer.initial(len(lines)), []
    for k in range(lines.shape[1]):
        state, score = scorer.step(state, lines[:, k], np.full(len(lines), ship_class))
        out.append(score)
    return np.stack(out, axis=1)


# ---------------------------------------------------------------- oracle: the formulas, one sample at a time, float64


def oracle(w: ResidualWeights, samples: np.ndarray, ship_class: int) -> np.ndarray:
    a = {f.name: np.asarray(getattr(w, f.name), np.float64) for f in dataclasses.fields(w)}
    hidden, width = len(a["lstm_h"]), len(a["place_w"])
    h, c, last, out = np.zeros(hidden), np.zeros(hidden), None, []
    for s in samples:
        both = last is not None and all(np.isfinite(x[f]) for x in (last, s) for f in ("lat", "lon", "sog", "cog"))
        known = both and abs(s["t"] - last["t"] - 600) <= 1
        u, extras = np.zeros(4), np.zeros(5)
        if known:
            north = (s["lat"] - last["lat"]) * 111.195
            east = ((s["lon"] - last["lon"] + 180) % 360 - 180) * 111.195 * np.cos(np.radians(last["lat"]))
            ahead = np.array([np.sin(np.radians(last["cog"])), np.cos(np.radians(last["cog"]))])
            along = np.array([east, north]) @ ahead - last["sog"] * 1.852 / 6
            across = np.array([east, north]) @ np.array([ahead[1], -ahead[0]])
            turn = (s["cog"] - last["cog"] + 180) % 360 - 180
            u = np.arcsinh(np.array([along, across, s["sog"] - last["sog"], turn]) / SCALE)
            v = s["sog"] / 10 * np.exp(1j * np.radians(turn))
            extras = np.array([u[2], u[3], v.imag, v.real, last["sog"] / 10])
        one = np.eye(INPUTS - 13)[ship_class] if ship_class >= 0 else np.zeros(INPUTS - 13)
        sog, mismatch = np.nan_to_num(s["sog"]), np.nan_to_num(s["mismatch"])
        x = np.array(
            [*u, known, sog / 10, np.log1p(sog), np.isfinite(s["sog"]), np.isfinite(s["cog"]), np.log1p(mismatch),
             np.isfinite(s["mismatch"]), s["moored"], np.log1p(s["made_30min"] / 100), *one]
        )  # fmt: skip
        first = h @ a["heads_w"] + a["heads_b"]
        place = np.maximum(first[:width] + extras @ a["extras_w"], 0) @ a["place_w"] + a["place_b"]
        speed = np.maximum(first[width:], 0) @ a["speed_w"] + a["speed_b"]
        p = np.concatenate([place, speed]).reshape(4, 3, MIXTURE)
        log_p = 0.0
        for k in range(len(COMPONENTS)):
            share = p[k, 0] - logsumexp(p[k, 0])
            scale = np.exp(np.clip(p[k, 2], *LOG_SCALE))
            log_p += logsumexp(share + student_t.logpdf(u[k], 4, p[k, 1], scale))
        out.append(-log_p if known else np.nan)
        gates = x @ a["lstm_x"] + h @ a["lstm_h"] + a["lstm_b"]
        i, f, o = (1 / (1 + np.exp(-g)) for g in gates[: 3 * hidden].reshape(3, hidden))
        c = f * c + i * np.tanh(gates[3 * hidden :])
        h, last = o * np.tanh(c), s
    return np.array(out)


@pytest.mark.parametrize("ship_class", [-1, 0, 6])
def test_the_step_is_the_formulas(ship_class):
    w, samples = weights(), line(60, seed=4)
    found = run(ResidualScorer(w), samples[None], ship_class)[0]
    np.testing.assert_allclose(found, oracle(w, samples, ship_class), rtol=2e-4, atol=2e-4)
    assert np.isfinite(found).sum() > 20


def test_a_line_has_the_same_bits_alone_and_anywhere_among_others():
    scorer = ResidualScorer(weights(1))
    lines = np.stack([line(20, seed=k) for k in range(150)])
    together = run(scorer, lines)
    for k in (0, 63, 64, 149):
        assert run(scorer, lines[k : k + 1]).tobytes() == together[k : k + 1].tobytes()
    shuffled = np.random.default_rng(2).permutation(150)
    assert run(scorer, lines[shuffled]).tobytes() == together[shuffled].tobytes()


def test_a_ship_that_holds_course_and_speed_makes_no_error():
    s = line(2)
    s["sog"], s["cog"] = 12.0, 90.0
    s["lat"] = 40.0
    s["lon"][1] = s["lon"][0] + 12.0 * 1.852 / 6 / 111.195 / np.cos(np.radians(40.0))
    found = moved(s[:1], {f: s[f][1:].copy() for f in ("t", "lat", "lon", "sog", "cog")})
    np.testing.assert_allclose(found.u, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "change", "component", "size"),
    [
        ("lat", 1 / 111.195, "across", -1.0),  # sails east; port is negative
        ("lon", 1 / 111.195, "along", 1.0),
        ("sog", -3.0, "dsog", -3.0),
        ("cog", 290.0, "dcog", -70.0),
    ],
)
def test_each_component_is_what_it_says(field, change, component, size):
    s = line(2)
    s["sog"], s["cog"], s["lat"] = 0.0, 90.0, 0.0
    s["lon"] = 10.0
    s["sog"] = 5.0
    s["lon"][1] += 5.0 * 1.852 / 6 / 111.195
    s[field][1] += change
    s["cog"] %= 360.0
    found = moved(s[:1], {f: s[f][1:].copy() for f in ("t", "lat", "lon", "sog", "cog")})
    motion = np.sinh(found.u[0].astype(float)) * SCALE
    expected = np.where(np.array(COMPONENTS) == component, size, 0.0)
    np.testing.assert_allclose(motion, expected, atol=1e-4)


def test_no_place_enters():
    scorer = ResidualScorer(weights(3))
    here, there = line(30, seed=1, lon=-90.0), line(30, seed=1, lon=179.9)  # over the date line
    there["lon"] = (there["lon"] + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(run(scorer, here[None]), run(scorer, there[None]), rtol=1e-4, atol=1e-4)


def test_weights_are_read_back_and_broken_ones_refused(tmp_path):
    w = weights()
    w.save(tmp_path / "w.npz")
    for a, b in zip(w.arrays(), ResidualWeights.load(tmp_path / "w.npz").arrays(), strict=True):
        assert a.tobytes() == b.tobytes()
    with pytest.raises(ModelCorrupt, match="missing"):
        ResidualWeights.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        ResidualWeights.load(tmp_path / "text.npz")
    dataclasses.replace(w, speed_b=w.speed_b[:-1]).save(tmp_path / "short.npz")
    with pytest.raises(ModelCorrupt, match="does not hold"):
        ResidualWeights.load(tmp_path / "short.npz")
    dataclasses.replace(w, lstm_b=w.lstm_b * np.nan).save(tmp_path / "nan.npz")
    with pytest.raises(ModelCorrupt, match="not finite"):
        ResidualWeights.load(tmp_path / "nan.npz")


# ---------------------------------------------------------------- training


def test_tensorflow_and_numpy_give_the_same_scores():
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    from multitaskais.networks.motion_train import hidden_before, nll_of, sequence

    w, samples = weights(5), line(40, seed=9)
    s = sequence(samples, np.full(40, 2))
    tensors = ResidualWeights(*(tf.constant(a) for a in w.arrays()))
    x, u, extras = (np.swapaxes(a, 0, 1) for a in s[:3])
    found = nll_of(tensors, hidden_before(tensors, tf.constant(x)), u, extras).numpy()[:, 0]
    score = run(ResidualScorer(w), samples[None], 2)[0]
    known = np.isfinite(score)
    np.testing.assert_allclose(found[known], score[known], rtol=2e-4, atol=2e-4)
    assert (s.use[0] == (known & ~samples["moored"])).all()


def test_training_learns_motion_and_the_same_seed_gives_the_same_weights(tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    from multitaskais.networks.motion_train import ResidualSettings, train_residual

    lines = [(line(24, seed=k), np.full(24, -1)) for k in range(12)]
    settings = ResidualSettings(steps=30, batch=4, hidden=6, width=4, max_steps=20, val_every=10, learning_rate=0.02)
    found = train_residual(lines[:8], lines[8:], settings, tmp_path)
    first = train_residual(lines[:8], lines[8:], dataclasses.replace(settings, steps=1))
    again = train_residual(lines[:8], lines[8:], settings)
    assert found.val_nll < first.val_nll - 0.5
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found.weights.arrays(), again.weights.arrays(), strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "training.json"]


def test_what_cannot_be_trained_is_told():
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")
    from multitaskais.networks.motion_train import ResidualSettings, train_residual

    with pytest.raises(ConfigError, match="batch must be at least 1"):
        ResidualSettings(batch=0)
    with pytest.raises(InputError, match="no moving line"):
        train_residual([], [], ResidualSettings())
