"""Training: it learns, it resumes as if it had not stopped, it says when the latent is dead."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from multitaskais.errors import ConfigError, InputError, ModelCorrupt
from multitaskais.networks.dataset import Dataset, training_batch, validation_batches
from multitaskais.networks.settings import TrainSettings
from multitaskais.networks.weights import Sizes, VrnnWeights
from tests.networks.conftest import REGION, random_bins

pytest.importorskip("tensorflow", reason="TensorFlow is not installed (pip install '.[train]')")

from multitaskais.networks.train import train

SMALL = TrainSettings(
    steps=8, batch=4, latent=3, hidden=6, max_steps=8, val_every=2, checkpoint_every=3, log_every=1, patience=50
)
# Each combination of what is part of the graph costs a compilation of seconds: tests share them.
ALL_DROPOUTS = {"decoder_dropout": 0.5, "input_dropout": 0.5, "dropout": 0.5}


def lanes(n, seed=0):
    """Ships that go north one bin a step at one speed: easy to predict."""
    rng = np.random.default_rng(seed)
    tracks = []
    for _ in range(n):
        length = int(rng.integers(6, 14))
        bins = np.zeros((length, 4), np.int16)
        bins[:, 0] = (rng.integers(8) + np.arange(length)) % 8
        bins[:, 1], bins[:, 2] = rng.integers(10), 3
        tracks.append((bins, bins[1:]))
    return tracks


@pytest.fixture(scope="module")
def dataset():
    return Dataset.of(lanes(20), lanes(6, seed=1))


def test_training_learns_what_can_be_learnt(dataset, tmp_path):
    settings = TrainSettings(**{**SMALL.to_dict(), "steps": 150, "val_every": 25, "learning_rate": 1e-2, "hidden": 20})
    trained = train(dataset, REGION, settings, tmp_path)
    looks = [r.val_bound for r in trained.log if np.isfinite(r.val_bound)]
    # Four independent blocks known by their means alone cost about 8 nats; the lane gives most of them back.
    assert looks[-1] > looks[0] + 2.0
    assert trained.best_val_bound == max(looks)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 151
    assert json.loads((tmp_path / "training.json").read_text())["steps"] == 150


@pytest.mark.parametrize("bound", ["iwae", "fivo"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(dataset, tmp_path, bound):
    settings = TrainSettings(**{**SMALL.to_dict(), "bound": bound, "samples": 3})
    whole = train(dataset, REGION, settings, tmp_path / "whole")

    def crash(step, loss):
        if step == 5:  # two steps after the last checkpoint
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(dataset, REGION, settings, tmp_path / "cut", on_step=crash)
    resumed = train(dataset, REGION, settings, tmp_path / "cut", resume=True)
    for name, a, b in zip(
        VrnnWeights.__dataclass_fields__, whole.weights.arrays(), resumed.weights.arrays(), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_array_equal([r[:7] for r in whole.log], [r[:7] for r in resumed.log])


def test_a_training_is_not_resumed_on_other_data_or_settings(dataset, tmp_path):
    train(dataset, REGION, SMALL, tmp_path)
    with pytest.raises(ConfigError, match="another settings"):
        train(dataset, REGION, TrainSettings(**{**SMALL.to_dict(), "steps": 20}), tmp_path, resume=True)
    with pytest.raises(ConfigError, match="another data"):
        train(Dataset.of(lanes(20, seed=5), lanes(6)), REGION, SMALL, tmp_path, resume=True)
    (tmp_path / "checkpoint.npz").write_bytes(b"half a file")
    with pytest.raises(ConfigError, match="cannot be read"):
        train(dataset, REGION, SMALL, tmp_path, resume=True)


def test_a_dead_latent_is_told_in_plain_words(dataset, tmp_path, caplog):
    """Ships that never move need no latent."""
    settings = TrainSettings(**{**SMALL.to_dict(), "steps": 200, "val_every": 50, "learning_rate": 1e-2})
    with caplog.at_level(logging.WARNING):
        trained = train(
            Dataset.of([[b * 0] for t in lanes(8) for b in t], [[b * 0] for t in lanes(3) for b in t]),
            REGION,
            settings,
            tmp_path,
        )
    assert trained.latent_is_dead
    assert "the latent is dead: the model works as an LSTM" in caplog.text


def test_free_bits_hold_the_kl_where_the_plain_bound_lets_it_fall(dataset, tmp_path):
    values = {**SMALL.to_dict(), "steps": 120, "val_every": 40, "learning_rate": 1e-2}
    plain = train(dataset, REGION, TrainSettings(**values), tmp_path / "plain")
    free = train(dataset, REGION, TrainSettings(**{**values, "free_bits": 2.0}), tmp_path / "free")
    assert free.log[-1].train_kl > plain.log[-1].train_kl + 0.5


def test_annealing_and_dropouts_train(dataset, tmp_path):
    settings = TrainSettings(**{**SMALL.to_dict(), "kl_anneal_steps": 4, **ALL_DROPOUTS})
    assert np.isfinite([r.loss for r in train(dataset, REGION, settings, tmp_path).log]).all()


def test_what_is_dropped_in_training_is_there_when_unseen_vessels_are_looked_at(dataset, tmp_path):
    still = {**SMALL.to_dict(), "steps": 2, "learning_rate": 1e-12}
    plain = train(dataset, REGION, TrainSettings(**still), tmp_path / "plain").log[-1]
    dropped = TrainSettings(**{**still, **ALL_DROPOUTS})
    found = train(dataset, REGION, dropped, tmp_path / "dropped").log[-1]
    assert found.val_bound == pytest.approx(plain.val_bound, rel=1e-5)
    assert abs(found.train_bound - plain.train_bound) > 1e-3


def test_weight_decay_makes_matrices_smaller_and_leaves_biases(dataset, tmp_path):
    one = {**SMALL.to_dict(), "steps": 1, "val_every": 1}
    plain = train(dataset, REGION, TrainSettings(**one), tmp_path / "plain").weights
    decayed = train(dataset, REGION, TrainSettings(**{**one, "weight_decay": 10.0}), tmp_path / "decayed").weights
    first = VrnnWeights.random(Sizes.of(REGION, 3, 6), dataset.mean_four_hot(Sizes.of(REGION, 3, 6)), 0)
    share = one["learning_rate"] * 10.0
    np.testing.assert_allclose(decayed.lstm_w, plain.lstm_w - share * first.lstm_w, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(decayed.lstm_b, plain.lstm_b)


def test_training_stops_when_unseen_vessels_get_no_better(tmp_path):
    """Noise to learn by heart."""
    sizes = Sizes.of(REGION)
    noise = Dataset.of([[random_bins(sizes, (12,), seed=i)] for i in range(4)], [[random_bins(sizes, (12,), seed=9)]])
    settings = TrainSettings(
        **{**SMALL.to_dict(), "steps": 2000, "val_every": 5, "patience": 3, "learning_rate": 3e-2, "hidden": 20}
    )
    trained = train(noise, REGION, settings, tmp_path)
    assert trained.steps < 2000
    assert trained.best_step == trained.steps - 15


def test_a_batch_depends_on_seed_and_step_alone_and_an_epoch_sees_each_track_once():
    tracks = [[np.full((5, 4), i, np.int16)] for i in range(6)]
    one = training_batch(tracks, 4, 5, seed=3, step=7)
    np.testing.assert_array_equal(one.bins, training_batch(tracks, 4, 5, seed=3, step=7).bins)
    assert not np.array_equal(one.bins, training_batch(tracks, 4, 5, seed=4, step=7).bins)
    seen = [int(x) for step in range(3) for x in training_batch(tracks, 4, 5, seed=3, step=step).bins[0, :, 0]]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_batches_are_padded_with_missing_blocks_and_told_lengths():
    tracks = [[np.zeros((3, 4), np.int16)], [np.zeros((9, 4), np.int16)], [np.zeros((2, 4), np.int16)]]
    first, second = validation_batches(tracks, batch=2, t_max=6)
    np.testing.assert_array_equal(first.lengths, [3, 6])
    np.testing.assert_array_equal(second.lengths, [2, 0])
    assert (first.bins[3:, 0] == -1).all()
    assert (second.bins[:, 1] == -1).all()


def test_the_mean_four_hot_is_the_share_of_samples_in_each_bin():
    bins = np.array([[0, 1, 2, -1], [0, 2, 2, 3]], np.int16)
    mean = Dataset.of([[bins]], [[bins]]).mean_four_hot(Sizes.of(REGION))
    assert mean[0] == 1.0
    assert mean[8 + 1] == mean[8 + 2] == 0.5
    assert mean[18 + 2] == 1.0
    assert mean[24:].sum() == 0.5


def test_no_tracks_is_an_error_that_says_so():
    with pytest.raises(InputError, match="no track is left for validation"):
        Dataset.of(lanes(3), [])


def test_settings_that_cannot_work_are_refused():
    for wrong in (
        {"steps": 0},
        {"bound": "elbo"},
        {"bound": "fivo"},
        {"free_bits": -1.0},
        {"learning_rate": 0.0},
        {"dropout": 1.0},
        {"weight_decay": -1.0},
    ):
        with pytest.raises(ConfigError):
            TrainSettings(**wrong)


def test_weights_come_back_from_their_file(sizes, weights, tmp_path):
    weights.save(tmp_path / "w.npz")
    again = VrnnWeights.load(tmp_path / "w.npz", sizes)
    for a, b in zip(weights.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_broken_or_foreign_weights_file_is_refused(sizes, weights, tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(ModelCorrupt, match="missing"):
        VrnnWeights.load(path, sizes)
    weights.save(path)
    with pytest.raises(ModelCorrupt, match="shape"):
        VrnnWeights.load(path, Sizes(sizes.blocks, latent=6, hidden=7))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelCorrupt, match="cannot be read"):
        VrnnWeights.load(path, sizes)
    weights.map(lambda a: a * np.nan).save(path)
    with pytest.raises(ModelCorrupt, match="finite"):
        VrnnWeights.load(path, sizes)
