"""The perceptual term: its formula, that the ELBO stays true, and what becomes of the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import compiled, make_vae

import keras_vae as kv
from keras_vae import export, likelihoods, networks, objectives, priors
from keras_vae.objectives import perceptual
from keras_vae.schedules import Linear

SHAPE = (8, 8, 1)


def identity():
    """The features are the values."""
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])


def convolutions():
    inputs = keras.Input(SHAPE)
    first = keras.layers.Conv2D(3, 3)(inputs)
    return keras.Model(inputs, [first, keras.layers.Dense(2)(keras.layers.Flatten()(first))])


def model(features=None, weight=1.0, base=None, **options):
    objective = objectives.Perceptual(features, weight, base)
    return compiled(likelihood=likelihoods.Normal(SHAPE, scale=1.0), objective=objective, seed=3, **options)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((40, *SHAPE), "float32")


def test_with_the_values_as_features_it_is_a_second_normal_likelihood(images):
    vae = model(identity(), 0.7, objectives.ELBO(num_samples=3))
    terms = vae.infer(images, 3, seed=0)
    loss, extra = vae.objective(terms, tf.constant(0, tf.int64))
    squares = np.sum((images - np.asarray(terms.likelihood.mean())) ** 2, axis=(2, 3, 4))
    assert float(extra["perceptual"]) == pytest.approx(0.5 * squares.mean(), rel=1e-5)
    assert float(loss) == pytest.approx(-float(tf.reduce_mean(terms.elbo)) + 0.7 * 0.5 * squares.mean(), rel=1e-5)


def test_it_is_the_mean_over_maps_of_the_mean_square(images):
    network = convolutions()
    vae = model(network)
    terms = vae.infer(images, 2, seed=0)
    means = np.asarray(terms.likelihood.mean())
    expected = np.zeros(len(images))
    for draw in means:
        for real, drawn in zip(network(images), network(draw), strict=True):
            expected += np.mean(np.asarray(real - drawn).reshape(len(images), -1) ** 2, axis=1) / 2 / 2
    np.testing.assert_allclose(vae.objective.distance(terms), 0.5 * 64 * expected, rtol=1e-4)


def test_the_examples_count_by_their_weights(images):
    vae = model(identity())
    weights = np.zeros(len(images), "float32")
    weights[:10] = 1.0
    # The noise of an example depends on the batch.
    found = vae.evaluate(images, sample_weight=weights, batch_size=40, return_dict=True, verbose=0)
    terms = vae.infer(images, 1, seed=kv.seeds.fold_in(kv.seeds.fold_in(kv.seeds.fold_in(3, -1), 0), 0))
    assert found["perceptual"] == pytest.approx(float(np.mean(vae.objective.distance(terms)[:10])), rel=1e-4)


def test_the_elbo_stays_true_and_the_logs_have_the_term_apart(images):
    vae = model(convolutions(), 2.0)
    plain = make_vae(likelihood=likelihoods.Normal(SHAPE, scale=1.0), seed=3)
    plain.build()
    vae.build()
    for mine, others in zip((plain.encoder, plain.decoder), (vae.encoder, vae.decoder), strict=True):
        mine.set_weights(others.get_weights())
    plain.compile("adam")
    a, b = (each.evaluate(images, batch_size=40, return_dict=True, verbose=0) for each in (vae, plain))
    assert {name: a[name] for name in ("elbo", "kl", "log_likelihood")} == pytest.approx(
        {name: b[name] for name in ("elbo", "kl", "log_likelihood")}, rel=1e-5
    )
    assert a["loss"] == pytest.approx(2.0 * a["perceptual"] - a["elbo"], rel=1e-5)
    assert b["loss"] == pytest.approx(-b["elbo"], rel=1e-5)
    assert vae.monitor == "loss"


def test_training_lowers_it_and_leaves_the_network_alone(images):
    network = convolutions()
    vae = model(network, 5.0)
    before = [np.array(value) for value in network.get_weights()]
    history = vae.fit(images, epochs=30, batch_size=20, verbose=0).history
    assert history["perceptual"][-1] < 0.8 * history["perceptual"][0]
    for a, b in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not {id(v) for v in network.variables} & {id(v) for v in vae.trainable_variables}


def test_its_gradient_reaches_encoder_and_decoder(images):
    vae = model(convolutions())
    vae.build()
    with tf.GradientTape() as tape:
        distance = tf.reduce_sum(vae.objective.distance(vae.infer(images, 1, seed=0, training=True)))
    found = tape.gradient(distance, vae.encoder.trainable_variables + vae.decoder.trainable_variables)
    assert all(gradient is not None and float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in found)


@pytest.fixture
def quick(monkeypatch):
    """A network of the objective's own that learns in two steps."""

    class Quick(networks.FeatureNetwork):
        def __init__(self):
            super().__init__([4, 4], steps=2)

    monkeypatch.setattr(perceptual, "FeatureNetwork", Quick)


def test_without_a_network_it_has_one_of_its_own_that_learns_from_the_data(images, quick, tmp_path):
    vae = model()
    own = vae.objective.network
    vae.build()
    assert not {id(v) for v in own.variables} & {id(v) for v in vae.trainable_variables}
    vae.fit(images, epochs=1, verbose=0)
    assert own.accuracy is not None
    maps = own(images)
    np.testing.assert_allclose(np.mean(maps[0], axis=(0, 1, 2)), 0.0, atol=1e-4)
    learned = own.get_weights()
    vae.fit(images, epochs=1, verbose=0)  # learns once
    vae.save(tmp_path / "vae.keras")
    expected = vae.evaluate(images, return_dict=True, verbose=0)
    for load in (kv.load, keras.saving.load_model):
        loaded = load(tmp_path / "vae.keras")
        for a, b in zip(loaded.objective.network.get_weights(), learned, strict=True):
            np.testing.assert_array_equal(a, b)
        assert loaded.evaluate(images, return_dict=True, verbose=0) == pytest.approx(expected)
        # It goes on from where it was, and is not adapted again.
        loaded.fit(images, epochs=1, verbose=0)
        for a, b in zip(loaded.objective.network.get_weights(), learned, strict=True):
            np.testing.assert_array_equal(a, b)


def test_pseudo_inputs_are_still_as_many_as_they_were(images, quick):
    vae = make_vae(likelihood=likelihoods.Normal(SHAPE), objective=objectives.Perceptual())
    vae = kv.VAE(vae.encoder, vae.decoder, priors.VampPrior(4, 5), objectives.Perceptual(), seed=0)
    vae.adapt(images)
    assert vae.objective.network.accuracy is not None


def test_a_network_of_the_users_is_saved_and_loaded_from_strangers(images, tmp_path):
    vae = model(convolutions(), Linear(4, 0.0, 1.0))
    vae.fit(images, epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = kv.load(tmp_path / "vae.keras")
    assert loaded.evaluate(images, return_dict=True, verbose=0) == pytest.approx(
        vae.evaluate(images, return_dict=True, verbose=0)
    )
    assert not loaded.objective.network.trainable


def test_numbers_of_both_objectives_can_be_set_while_it_trains(images):
    vae = model(identity(), 1.0, objectives.ELBO(kl_weight=1.0))
    first = vae.evaluate(images, batch_size=40, return_dict=True, verbose=0)
    vae.objective.weight, vae.objective.base.kl_weight = 3.0, 0.5
    then = vae.evaluate(images, batch_size=40, return_dict=True, verbose=0)
    gained = 2.0 * first["perceptual"] - 0.5 * first["kl"]
    assert then["loss"] - first["loss"] == pytest.approx(gained, rel=1e-4)
    assert vae.weights_at(0) == (0.0, 0.5, 3.0)
    again = kv.VAE.from_config(vae.get_config())
    assert (again.objective.weight, again.objective.base.kl_weight) == (3.0, 0.5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_in_half_precision_the_network_sees_whole_numbers(images, precision):
    keras.config.set_dtype_policy(precision)
    vae = model(networks.FeatureNetwork([4, 4]), network=networks.conv, sizes=(4, 8))
    losses = vae.fit(images, epochs=2, verbose=0).history["perceptual"]
    assert np.isfinite(losses).all()
    assert vae.objective.network(images)[0].dtype == tf.float32


def test_a_network_of_keras_applications_cut_at_layers_of_ones_choice(tmp_path):
    images = np.random.default_rng(0).random((8, 32, 32, 3), "float32")
    whole = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    cut = keras.Model(whole.input, [whole.get_layer(name).output for name in ("block_1_expand", "block_3_expand")])
    vae = compiled(likelihood=likelihoods.Normal((32, 32, 3)), objective=objectives.Perceptual(cut))
    before = [np.array(value) for value in cut.get_weights()]
    history = vae.fit(images, epochs=2, verbose=0).history
    assert np.isfinite(history["perceptual"]).all() and min(history["perceptual"]) > 0
    # Its batch normalisation does not learn from the data either.
    for a, b in zip(cut.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    vae.save(tmp_path / "vae.keras")
    loaded = kv.load(tmp_path / "vae.keras")
    assert loaded.evaluate(images, return_dict=True, verbose=0) == pytest.approx(
        vae.evaluate(images, return_dict=True, verbose=0), rel=1e-5
    )


REPLICAS = """
import json
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras, numpy as np
import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors

x = np.random.default_rng(0).random((37, 8, 8, 1)).astype("float32")
found = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        vae = kv.VAE(
            kv.Encoder(networks.mlp([16]), posteriors.Deterministic(2)),
            kv.Decoder(networks.mlp([16]), likelihoods.Normal((8, 8, 1))),
            priors.StandardNormal(2),
            objectives.Perceptual(networks.FeatureNetwork([4, 4], steps=2), 1.0, objectives.Reconstruction()),
            seed=1,
        )
        vae.build()
        vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(x, batch_size=12, epochs=3, shuffle=False, verbose=0).history
    weights = [np.asarray(w, "float64").tolist() for w in vae.get_weights()]
    found.append([weights, [float(value) for value in history["perceptual"]]])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_replicas_are_one_device_with_the_same_batch():
    paths = [str(folder) for folder in Path(__file__).parents[:2]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", REPLICAS]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    (one, logged), (two, logged_by_two) = json.loads(result.stdout.strip().splitlines()[-1])
    np.testing.assert_allclose(logged, logged_by_two, rtol=1e-4)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_what_is_exported_is_that_of_the_model_without_it(images, tmp_path):
    vae = model(convolutions())
    vae.fit(images, epochs=1, verbose=0)
    export.to_saved_model(vae, tmp_path / "decoder")
    served = tf.saved_model.load(str(tmp_path / "decoder" / "1"))
    z = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    found = next(iter(served.signatures["decode"](tf.constant(z)).values()))
    np.testing.assert_allclose(found, vae.decode(z).mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": lambda x: x}, TypeError, "a Keras layer or model"),
        ({"weight": -1.0}, ValueError, "weight must be"),
        ({"base": objectives.ImportanceWeighted(2, "dreg")}, ValueError, 'estimator="iwae"'),
        ({"base": objectives.InformationCascade(1.0, 4.0, 2)}, ValueError, "give it objectives.ELBO"),
        ({"base": objectives.Perceptual()}, ValueError, "cannot stand around Perceptual"),
        ({"base": "ELBO"}, TypeError, "a keras_vae objective"),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        objectives.Perceptual(**arguments)


def test_vectors_have_no_features_of_our_own():
    vae = make_vae(event_shape=(7,), likelihood=likelihoods.Normal((7,)), objective=objectives.Perceptual())
    with pytest.raises(ValueError, match="work on images"):
        vae.build()
