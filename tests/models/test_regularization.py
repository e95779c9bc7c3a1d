"""What layers add to the loss: regularizers and `add_loss`, against plain Keras on the same layers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors

SHAPE = (4, 4, 1)
X = (np.random.default_rng(0).random((64, *SHAPE)) < 0.3).astype("float32")


@kv.register
class Sparse(keras.layers.Layer):
    """Adds a loss of its own, another one in training."""

    def call(self, x, training=False):
        self.add_loss(keras.ops.mean(keras.ops.abs(x)) * (2.0 if training else 1.0))
        return x


def body(kind):
    layers = keras.layers
    l2 = keras.regularizers.L2(0.1)
    return {
        "kernel": lambda: [layers.Dense(8, "tanh", kernel_regularizer=l2)],
        "activity": lambda: [layers.Dense(8, "tanh", activity_regularizer=l2)],
        "add_loss": lambda: [layers.Dense(8, "tanh"), Sparse()],
        "nested": lambda: [
            keras.Sequential([layers.Dense(8, "tanh", kernel_regularizer=l2, activity_regularizer=l2), Sparse()])
        ],
        "none": lambda: [layers.Dense(8, "tanh")],
    }[kind]()


def make(kind="none", model=kv.VAE, prior=None, optimizer=None, **options):
    keras.utils.set_random_seed(0)
    encoder = kv.Encoder(keras.Sequential([keras.layers.Flatten(), *body(kind)]), posteriors.MultivariateNormalDiag(3))
    decoder = kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli(SHAPE))
    vae = model(encoder, decoder, prior or priors.StandardNormal(3), seed=1, **options)
    vae.compile(optimizer or keras.optimizers.SGD(0.0))
    vae.build()
    vae.adapted.assign(1)
    return vae


def as_keras_has_it(vae, training):
    """What a plain Keras model of the same layers adds to its loss: the mean of those of the batches."""
    inputs = keras.Input(SHAPE)
    plain = keras.Model(inputs, vae.encoder.body(inputs))
    found = []
    for batch in np.split(X, 4):
        plain(batch, training=training)
        found.append(sum(float(loss) for loss in plain.losses))
    return np.mean(found)


@pytest.mark.parametrize("kind", ["kernel", "activity", "add_loss", "nested"])
def test_it_joins_the_loss_and_stays_out_of_the_elbo(kind):
    vae = make(kind)
    history = vae.fit(X, validation_data=X, batch_size=16, shuffle=False, verbose=0).history
    history = {name: values[0] for name, values in history.items()}
    for prefix, training in (("", True), ("val_", False)):
        expected = as_keras_has_it(vae, training)
        assert expected > 1e-3
        assert history[f"{prefix}regularization"] == pytest.approx(expected, rel=1e-5)
        assert history[f"{prefix}loss"] == pytest.approx(expected - history[f"{prefix}elbo"], rel=1e-5)
    assert vae.evaluate(X, batch_size=16, verbose=0, return_dict=True)["regularization"] == pytest.approx(
        as_keras_has_it(vae, False), rel=1e-5
    )
    plain = make()
    plain.set_weights(vae.get_weights())
    plain.step.assign(0)
    without = plain.fit(X, batch_size=16, shuffle=False, verbose=0).history
    assert set(without) == {"loss", "elbo", "log_likelihood", "kl"}
    assert history["elbo"] == pytest.approx(without["elbo"][0], rel=1e-5)


def test_its_gradient_is_taken():
    """One step of plain gradient descent moves the kernel by what l2 asks for beside the ELBO."""
    kernels = {}
    for kind in ("none", "kernel"):
        vae = make(kind, optimizer=keras.optimizers.SGD(0.1))
        before = keras.ops.convert_to_numpy(vae.encoder.body.layers[1].kernel)
        vae.train_on_batch(X[:16])
        kernels[kind] = keras.ops.convert_to_numpy(vae.encoder.body.layers[1].kernel)
    np.testing.assert_allclose(kernels["none"] - kernels["kernel"], 0.1 * 2 * 0.1 * before, atol=1e-6)


@pytest.mark.parametrize(
    "case", ["FactorVAE", "VAEGAN", "CascadeVAE", "VampPrior", "accumulation", "weights", "float16"]
)
def test_in_all_procedures(case):
    options, arguments = {}, {}
    if case == "FactorVAE":
        options = {"model": kv.FactorVAE, "discriminator_units": (4,)}
    elif case == "VAEGAN":
        options = {"model": kv.VAEGAN, "filters": (4,)}
    elif case == "CascadeVAE":
        options = {"model": kv.CascadeVAE, "num_classes": None, "objective": objectives.InformationCascade()}
    elif case == "VampPrior":
        options = {"prior": priors.VampPrior(3, 5)}
    elif case == "accumulation":
        options = {"optimizer": keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)}
    elif case == "float16":
        keras.config.set_dtype_policy("mixed_float16")
    else:
        arguments = {"sample_weight": np.ones(64)}
    vae = make("nested", **options)
    history = vae.fit(X, validation_data=X, batch_size=16, verbose=0, **arguments).history
    tolerance = 2e-2 if case == "float16" else 1e-5
    assert history["regularization"] == pytest.approx([as_keras_has_it(vae, True)], rel=tolerance)
    assert history["val_regularization"] == pytest.approx([as_keras_has_it(vae, False)], rel=tolerance)


REPLICAS = """
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras, numpy as np
from test_regularization import X, make
found = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        vae = make("nested")
    history = vae.fit(X[:60], validation_data=X[:60], batch_size=16, shuffle=False, verbose=0).history
    found.append([history["regularization"], history["val_regularization"]])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_add_what_one_device_adds():
    command = [sys.executable, "-c", REPLICAS]
    paths = [str(folder) for folder in Path(__file__).parents[:2]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = json.loads(result.stdout.strip().splitlines()[-1])
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_saved_models_load_and_go_on(tmp_path):
    vae = make("kernel")
    vae.fit(X, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    expected = vae.evaluate(X, verbose=0, return_dict=True)
    assert loaded.evaluate(X, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)
    assert tf.convert_to_tensor(loaded.step).numpy() == 2
