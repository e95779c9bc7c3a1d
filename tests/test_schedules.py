"""Weights that follow the step, alone and inside a compiled training step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.schedules import Cyclical, Linear


def at(schedule, *steps):
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_linear():
    assert at(Linear(10), 0, 5, 10, 10**9) == pytest.approx([0.0, 0.5, 1.0, 1.0])
    assert at(Linear(4, start=2.0, end=1.0), 0, 2, 9) == pytest.approx([2.0, 1.5, 1.0])
    assert at(Linear(4, end=25.0), 1, 4) == pytest.approx([6.25, 25.0])


def test_cyclical():
    schedule = Cyclical(period=10, ramp=0.5)
    assert at(schedule, 0, 1, 4, 5, 9, 10, 11, 15) == pytest.approx([0.0, 0.2, 0.8, 1.0, 1.0, 0.0, 0.2, 1.0])
    assert at(Cyclical(period=4, ramp=1.0, start=1.0, end=3.0), 2, 6) == pytest.approx([2.0, 2.0])


def test_cyclical_counts_past_what_float32_can():
    steps = [10 * 2**24 + i for i in range(5)]
    assert at(Cyclical(period=10), *steps) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    "schedule",
    [
        Linear(10, start=0.1),
        Cyclical(10, ramp=0.3),
        keras.optimizers.schedules.CosineDecay(0.1, 10, warmup_target=1.0, warmup_steps=5),
        pytest.param(
            keras.optimizers.schedules.PiecewiseConstantDecay([3, 6], [0.0, 0.5, 1.0]), marks=pytest.mark.slow
        ),
        pytest.param(keras.optimizers.schedules.PolynomialDecay(0.5, 10, 1.0), marks=pytest.mark.slow),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_of_keras_and_ours_train_log_and_save(schedule, tmp_path):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((3,))),
        priors.StandardNormal(2),
        objectives.ELBO(kl_weight=schedule),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    history = vae.fit(x, batch_size=8, epochs=8, verbose=0).history
    assert history["kl_weight"] == pytest.approx(at(schedule, *range(8)), abs=1e-6)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert at(loaded.objective.kl_weight, 0, 4, 20) == pytest.approx(at(schedule, 0, 4, 20))
    history = loaded.fit(x, batch_size=8, epochs=1, verbose=0).history
    assert history["kl_weight"] == pytest.approx(at(schedule, 8), abs=1e-6)
