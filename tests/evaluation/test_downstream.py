"""Classes from few labels, on scikit-learn's digits; of MNIST in the exhaustive tests."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import keras_vae as kv
from keras_vae import conditions, data, evaluation, likelihoods, networks, objectives, posteriors, priors, schedules


@pytest.fixture(scope="module")
def digits():
    """300 test images, 1,497 to train with, and which of these have labels: four of each class."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    x, y = (loaded.images[order] / 16.0).astype("float32")[..., None], loaded.target[order]
    few = np.concatenate([np.flatnonzero(y[300:] == label)[:4] for label in range(10)])
    return (x[:300], y[:300]), (x[300:], y[300:]), few


def make(network, condition=None) -> kv.VAE:
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(network, posteriors.MultivariateNormalDiag(8), condition),
        kv.Decoder(networks.mlp([64]), likelihoods.Normal((8, 8, 1), scale=0.15), condition),
        priors.StandardNormal(8),
        seed=0,
    )
    vae.build()
    return vae


@pytest.fixture(scope="module")
def trained(digits):
    vae = make(networks.distorted(networks.mlp([128]), shift=0.6, rotation=10.0, shear=0.15, zoom=0.1))
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(digits[1][0], epochs=25, verbose=0)
    return vae


def test_support_vectors_on_codes_are_those_of_the_formula(trained, digits):
    test, (x, y), few = digits
    found = evaluation.CodeClassifier(trained, (x[few], y[few]), penalty=3.0)
    z, z_test = (np.asarray(trained.encode(images).mean(), "float64") for images in (x[few], test[0]))

    def kernel(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (8 * z.var()))

    expected = SVC(C=3.0, kernel=kernel).fit(z, y[few]).predict(z_test)
    assert np.mean(found.predict(test[0]) == expected) > 0.99
    assert found.score(test) == pytest.approx(np.mean(expected == test[1]), abs=0.01)
    as_dataset = tf.data.Dataset.from_tensor_slices(test).batch(64)
    np.testing.assert_array_equal(found.predict(as_dataset), found.predict(test[0]))
    assert found.score(as_dataset) == found.score(test)
    # Any labels.
    named = evaluation.CodeClassifier(trained, (x[few], y[few].astype(str))).predict(test[0])
    np.testing.assert_array_equal(
        named, evaluation.CodeClassifier(trained, (x[few], y[few])).predict(test[0]).astype(str)
    )


def test_fine_tuning_moves_a_copy_and_sees_what_the_network_does_in_training(trained, digits):
    test, (x, y), few = digits
    before = [w.copy() for w in trained.get_weights()]
    keras.utils.set_random_seed(1)
    model = evaluation.fine_tune(trained, (x[few], y[few]), steps=150, batch_size=20)
    for weight, old in zip(trained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert model.predict(test[0], verbose=0).shape == (300, 10)
    assert model.evaluate(*test, verbose=0, return_dict=True)["accuracy"] > 0.7
    start = model.layers[0]
    assert np.abs(start(test[0], training=True) - start(test[0], training=True)).max() > 0.1
    np.testing.assert_array_equal(start(test[0]), start(test[0]))
    # All of it learned, not the head alone.
    fresh = trained.encoder.features_model(layer="features", standardize=x[few])
    assert np.abs(fresh.predict(test[0], verbose=0) - model.layers[0].predict(test[0], verbose=0)).max() > 0.1
    keras.utils.set_random_seed(1)
    again = evaluation.fine_tune(trained, (x[few], y[few]), steps=150, batch_size=20)
    np.testing.assert_allclose(again.predict(test[0], verbose=0), model.predict(test[0], verbose=0), atol=1e-3)


@pytest.mark.slow
def test_a_classifier_taught_by_the_codes_is_better_than_its_teacher(trained, digits):
    test, (x, y), few = digits
    keras.utils.set_random_seed(0)
    teacher = evaluation.CodeClassifier(trained, (x[few], y[few])).score(test)
    model = evaluation.self_train(trained, (x[few], y[few]), (x, y), rounds=2, steps=300, batch_size=100)
    found = model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]
    scratch = evaluation.fine_tune(make(networks.mlp([128])), (x[few], y[few]), steps=300)
    assert found > teacher + 0.01, (found, teacher)
    assert found > scratch.evaluate(*test, verbose=0, return_dict=True)["accuracy"] + 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda vae, x, y: evaluation.CodeClassifier(vae, x), "data has no labels"),
        (lambda vae, x, y: evaluation.CodeClassifier(vae, (x, np.zeros(len(x), int))), "one class alone"),
        (lambda vae, x, y: evaluation.CodeClassifier(vae, (x, y)).score(x), "data has no labels"),
        (lambda vae, x, y: evaluation.CodeClassifier(vae, (255 * x, y)), r"on \[0, 1\]|x / 255"),
        (lambda vae, x, y: evaluation.fine_tune(vae, (x, y.astype(str))), "whole numbers from 0"),
        (lambda vae, x, y: evaluation.fine_tune(vae, (x, y - 5)), "whole numbers from 0"),
        (lambda vae, x, y: evaluation.fine_tune(vae, (x, np.stack([y, y], 1))), "one label for each"),
        (lambda vae, x, y: evaluation.self_train(vae, x, x), "labelled has no labels"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(call, message, digits):
    _, (x, y), few = digits
    bounded = kv.VAE(
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([4]), likelihoods.ContinuousBernoulli((8, 8, 1))),
        priors.StandardNormal(2),
        seed=0,
    )
    bounded.build()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        call(bounded, x[few], y[few])


def test_a_condition_says_what_is_to_be_found_out(digits):
    _, (x, y), few = digits
    with pytest.raises(ValueError, match="condition"):
        evaluation.CodeClassifier(make(networks.mlp([4]), conditions.Label(10)), (x[few], y[few]))


@pytest.mark.exhaustive
@pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="needs MNIST: set TFDS_DATA_DIR")
@pytest.mark.parametrize("kind", ["autoencoder", "VAE"])
def test_one_percent_of_the_labels_of_mnist_gains_five_points(kind):
    splits = data.read_splits("mnist", labels=True)
    (x, y), test = (next(iter(s.dataset(len(s)).as_numpy_iterator())) for s in (splits.train, splits.test))
    few = np.concatenate([np.flatnonzero(y == label)[:60] for label in range(10)])
    keras.utils.set_random_seed(7)

    def vae_of(network):
        posterior, objective = posteriors.Deterministic(50), objectives.Reconstruction()
        if kind == "VAE":
            posterior = posteriors.MultivariateNormalDiag(50)
            objective = objectives.ELBO(kl_weight=schedules.Linear(900, 0.0, 0.3))
        decoder = kv.Decoder(networks.mlp([256, 512]), likelihoods.Bernoulli((28, 28, 1)))
        vae = kv.VAE(kv.Encoder(network, posterior), decoder, priors.StandardNormal(50), objective, seed=7)
        vae.build()
        return vae

    vae = vae_of(networks.distorted(networks.mlp([512, 256])))
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 300 * 8, 0.1)))
    vae.fit(data.load("mnist", batch_size=200, binarize="dynamic", seed=7)[0], epochs=8, verbose=0)
    scratch = evaluation.fine_tune(vae_of(networks.mlp([512, 256])), (x[few], y[few]))
    distorted = evaluation.fine_tune(vae_of(networks.distorted(networks.mlp([512, 256]))), (x[few], y[few]))
    model = evaluation.self_train(vae, (x[few], y[few]), x)
    found = [m.evaluate(*test, verbose=0, return_dict=True)["accuracy"] for m in (scratch, distorted, model)]
    assert found[2] > found[0] + 0.05 and found[2] > found[1] + 0.005, found
    flat, flat_test = (images.reshape(len(images), -1) for images in (x[few], test[0]))
    on_pixels = SVC(C=10.0).fit(flat, y[few]).score(flat_test, test[1])
    assert evaluation.CodeClassifier(vae, (x[few], y[few])).score(test) > on_pixels + 0.02
