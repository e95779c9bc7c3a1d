"""Batches that the model cannot take, anywhere in the data: found in the compiled steps, and named."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_vae

import keras_vae as kv
from keras_vae import likelihoods
from keras_vae.distributions.support import Support

SHAPE = (4, 4, 1)
X = (np.random.default_rng(0).random((96, *SHAPE)) < 0.3).astype("float32")

LIKELIHOODS = {
    "Bernoulli": (lambda: likelihoods.Bernoulli(SHAPE), 0.25, "zeros and ones.*binarize"),
    "ContinuousBernoulli": (lambda: likelihoods.ContinuousBernoulli(SHAPE), 1.5, r"values in \[0, 1\].*scale"),
    "DiscretizedLogistic": (lambda: likelihoods.DiscretizedLogistic(SHAPE, 4), 0.2, r"levels.*np\.round"),
    "Binomial": (lambda: likelihoods.Binomial(SHAPE, 3), -1 / 3, r"levels.*np\.round"),
}
MODES = {
    "compiled": {},
    "eager": {"run_eagerly": True},
    "several steps": {"steps_per_execution": 3},
    "xla": {"jit_compile": True},
}


def compiled(likelihood=None, **options):
    vae = make_vae(event_shape=SHAPE, sizes=(8,), likelihood=likelihood, seed=1)
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


def with_values(value, batch, size=8):
    """Batches of `size`, of which one has a value that does not belong there."""
    x = X.copy()
    x[batch * size + 3, 1, 1, 0] = value
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_values_outside_the_support_end_fit_and_evaluate(name):
    make, value, message = LIKELIHOODS[name]
    vae = compiled(make())
    with pytest.raises(ValueError, match=f"(?s)Batch 5 of epoch 1 .*{message}.*weights of the model are those before"):
        vae.fit(with_values(value, 5), verbose=0)
    with pytest.raises(ValueError, match=f"(?s)Batch 7 of the data .*{message}"):
        vae.evaluate(with_values(value, 7), verbose=0)
    with pytest.raises(ValueError, match=f"(?s)Batch 4 of the validation data .*{message}"):
        vae.fit(X, validation_data=with_values(value, 4), verbose=0)
    # What was found is forgotten.
    assert np.isfinite(vae.evaluate(X, verbose=0)).all()
    assert np.isfinite(vae.fit(X, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("mode", [pytest.param(m, marks=pytest.mark.slow) if m == "xla" else m for m in MODES])
def test_in_all_modes_the_weights_are_those_of_the_last_good_step(mode):
    vae, twin = compiled(**MODES[mode]), compiled(**MODES[mode])
    vae.build()
    twin.build()
    twin.set_weights(vae.get_weights())
    for model in (vae, twin):
        model.adapt(X)
    with pytest.raises(ValueError, match=r"Batch 5 of epoch 2 .*0\.8% .*\[0, 1\]"):
        vae.fit(
            tf.data.Dataset.from_tensor_slices(X).batch(8).concatenate(with_values(0.25, 5)),
            steps_per_epoch=12,
            epochs=2,
            verbose=0,
        )
    for batch in [*np.split(X, 12), *np.split(X[: 8 * 5], 5)]:
        twin.train_on_batch(batch)
    for a, b in zip(vae.trainable_variables, twin.trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Batch 7"):
        vae.evaluate(with_values(0.25, 7), verbose=0)
    with pytest.raises(ValueError, match=r"Batch 7 .*1 values that are NaN or infinite"):
        vae.evaluate(with_values(np.nan, 7), verbose=0)


def test_a_nan_ends_evaluate_and_fit_leaves_its_step_out():
    vae = compiled()
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"Batch 2 of the data .*1 values that are NaN or infinite.*np.isfinite"):
            vae.evaluate(with_values(value, 2), verbose=0)
        assert vae.fit(with_values(value, 2), verbose=0).history["skipped_steps"] == [1]


def test_on_single_batches():
    vae = compiled()
    vae.build()
    before = [keras.ops.convert_to_numpy(v) for v in vae.trainable_variables]
    for method in (vae.train_on_batch, vae.test_on_batch):
        with pytest.raises(ValueError, match=r"Batch 0 .*zeros and ones"):
            method(X[:8] * 0.5)
    for a, b in zip(before, vae.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(vae.train_on_batch(X[:8])).all()


def test_endless_data_are_found_within_twenty_steps():
    vae, drawn = compiled(), []

    def batches():
        for number in range(10_000):
            drawn.append(number)
            yield X[:8] * (0.5 if number >= 130 else 1.0)

    data = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((None, *SHAPE)))
    with pytest.raises(ValueError, match="Batch 130 of epoch 1"):
        vae.fit(data, steps_per_epoch=5_000, verbose=0)
    assert len(drawn) < 1000  # what is read ahead comes on top


def test_a_likelihood_of_ones_own_is_checked_by_its_support():
    class Percent(likelihoods.Normal):
        support = Support(0.0, 100.0)

    vae = compiled(Percent(SHAPE))
    with pytest.raises(ValueError, match=r"Batch 3 .*Percent is a likelihood of values in \[0, 100\]"):
        vae.fit(with_values(101.0, 3), verbose=0)
    with pytest.raises(ValueError, match=r"likelihood of values in \[0, 100\]"):
        vae.fit(X - 1.0, verbose=0)


REPLICAS = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from test_data_guard import compiled, with_values
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    vae = compiled()
for call in (
    lambda: vae.fit(with_values(0.25, 5), verbose=0),
    lambda: vae.evaluate(with_values(0.25, 7), verbose=0),
    lambda: vae.evaluate(with_values(float("nan"), 7), verbose=0),
):
    try:
        call()
    except ValueError as error:
        print(error)
print(vae.fit(with_values(1.0, 5), verbose=0).history.keys())
"""


@pytest.mark.slow
def test_replicas_come_to_the_same_conclusion():
    command = [sys.executable, "-c", REPLICAS]
    paths = [str(folder) for folder in Path(__file__).parents[:2]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    fit, evaluate, lost, after = result.stdout.strip().splitlines()
    assert fit.startswith("Batch 5 of epoch 1") and "0.8% of the values are neither; " in fit
    assert evaluate.startswith("Batch 7 of the data") and "zeros and ones" in evaluate
    assert lost.startswith("Batch 7 of the data") and "1 values that are NaN" in lost
    assert "elbo" in after and "skipped" not in after


def test_a_discriminator_learns_nothing_from_a_refused_batch():
    plain = make_vae(event_shape=SHAPE)
    vae = kv.FactorVAE(
        plain.encoder, plain.decoder, plain.prior, discriminator_units=(8,), discriminator_learning_rate=0.1
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.train_on_batch(X[:8])
    before = [keras.ops.convert_to_numpy(v) for v in (*vae.discriminator.variables, *vae.discriminator_state)]
    with pytest.raises(ValueError, match="Batch 0"):
        vae.train_on_batch(X[:8] * 200)
    for a, b in zip(before, (*vae.discriminator.variables, *vae.discriminator_state), strict=True):
        np.testing.assert_array_equal(a, b)
