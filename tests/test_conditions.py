"""Conditional models: p(x|c) by labels, vectors and images."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from small_models import labelled_model, raw_scale, raw_triangle
from small_models import make_conditional as make
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, posteriors, priors
from keras_vae.conditions import Image, Label, Vector
from keras_vae.networks import conditioned

N = 24


@pytest.fixture(scope="module")
def x():
    return parts.data(likelihoods.Bernoulli(parts.SHAPE), N)


@pytest.fixture(scope="module")
def labelled():
    return labelled_model()


WRONG = {
    "missing": (None, "no condition was given"),
    "too large": ([0, 4], r"labels are 0 to 3, these are 0 to 4"),
    "negative": ([-1, 0], r"labels are 0 to 3, these are -1 to 0"),
    "one": ([7, 7], r"labels are 0 to 3, this is 7\."),
    "no int": ([0.5, 1.0], "labels are ints"),
    "another shape": ([[0], [1]], r"a batch of shape \(None,\), not \(2, 1\)"),
    "too few": ([0], "1 conditions for 2 examples|x has 2 examples, and there are {'condition': 1"),
    "no numbers": (["a", "b"], "labels are ints"),
    "ragged": ([[1], [1, 2]], "inhomogeneous|no array of numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_condition_says_what_is_wrong(labelled, x, case):
    values, message = WRONG[case]
    for call in (
        lambda: labelled.encode(x[:2], values),
        lambda: labelled.decode(np.zeros((2, parts.L)), values),
        lambda: labelled.reconstruct(x[:2], values),
        lambda: labelled.sample(2, seed=0, condition=values),
        lambda: labelled.log_prob(x[:2], 2, condition=values),
        lambda: labelled.fit(x[:2], None if values is None else np.asarray(values), verbose=0),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_condition_that_a_model_would_ignore_is_refused(x):
    vae = make(None)
    vae.compile("adam")
    for call in (
        lambda: vae.sample(2, condition=1),
        lambda: vae.encode(x, np.zeros(N, int)),
        lambda: vae.fit({"image": x, "condition": np.zeros(N, int)}, verbose=0),
        lambda: vae.fit(tf.data.Dataset.from_tensors({"image": x, "condition": np.zeros(N, int)}), verbose=0),
        lambda: vae.encoder(x, condition=np.zeros(N, int)),
    ):
        with pytest.raises(ValueError, match=r"no condition"):
            call()
    vae.fit(x, np.zeros(N, int), verbose=0)  # labels beside the data are still ignored


def test_a_label_out_of_range_in_a_later_batch_stops_the_training(labelled, x):
    labels = np.where(np.arange(N) == N - 1, 9, 0)
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Not all are Label\(4\)"):
        labelled.fit(batches, verbose=0)


def test_data_of_other_forms_are_named(labelled, x):
    with pytest.raises(ValueError, match=r"these have the keys \['picture'\]"):
        labelled.fit({"picture": x}, verbose=0)
    with pytest.raises(ValueError, match="no condition was given"):
        labelled.fit({"image": x}, verbose=0)
    with pytest.raises(ValueError, match="no condition was given"):
        labelled.evaluate(tf.data.Dataset.from_tensors(x), verbose=0)
    with pytest.raises(ValueError, match="no condition was given"):
        labelled.predict(x, verbose=0)


@pytest.mark.parametrize(
    "condition", ["label", *(pytest.param(c, marks=pytest.mark.slow) for c in ("vector", "image", "columns"))]
)
def test_all_forms_of_the_data_mean_the_same(condition, x):
    made = (parts.CONDITIONS | parts.TABLE_CONDITIONS)[condition]()
    c, vae = parts.given(made, N), make(made)
    vae.build()
    vae.compile("adam")
    mapping = {"image": x, "condition": c}
    forms = {
        "arrays": (x, c),
        "mapping": mapping,
        "dataset of pairs": tf.data.Dataset.from_tensor_slices((x, c)).batch(N),
        "dataset of mappings": tf.data.Dataset.from_tensor_slices(mapping).batch(N),
        "dataset of mappings with labels": tf.data.Dataset.from_tensor_slices((mapping, np.zeros(N))).batch(N),
    }
    results = {}
    for name, form in forms.items():
        arguments = form if isinstance(form, tuple) else (form,)
        results[name] = (
            vae.evaluate(*arguments, batch_size=N, return_dict=True, verbose=0)
            if isinstance(form, (tuple, dict))
            else vae.evaluate(form, return_dict=True, verbose=0)
        )
        likelihood = evaluation.log_likelihood(vae, form, num_samples=4, verbose=False)
        assert likelihood.mean == pytest.approx(float(np.mean(vae.log_prob(x, 200, condition=c))), abs=0.5)
    assert all(result == pytest.approx(results["arrays"], rel=1e-5) for result in results.values())
    expected = vae.reconstruct(x, c)
    np.testing.assert_allclose(vae.predict(mapping, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(vae.predict(forms["dataset of pairs"], verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(vae(mapping), expected, atol=1e-5)
    other = vae.reconstruct(x, c[::-1].copy())
    assert np.abs(other - expected).max() > 1e-4


def test_weights_of_examples_stand_behind_the_condition(labelled, x):
    c, weight = np.arange(N) % 4, np.linspace(0.0, 1.0, N)
    batch = tf.data.Dataset.from_tensors((x, c, weight))
    found = labelled.evaluate(batch, return_dict=True, verbose=0)
    elbo = labelled.evaluate(tf.data.Dataset.from_tensors((x, c)), return_dict=True, verbose=0)
    assert found["elbo"] != pytest.approx(elbo["elbo"], rel=1e-6)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("condition", ["label", "vector", "image", "columns"])
def test_each_draw_is_decoded_with_the_condition_of_its_example(condition, network):
    made = (parts.CONDITIONS | parts.TABLE_CONDITIONS)[condition]()
    c, vae = parts.given(made, 3), make(made, network)
    z = np.random.default_rng(0).normal(size=(5, 3, parts.L)).astype("float32")
    together = np.asarray(vae.decode(z, c).mean())
    for row in range(3):
        np.testing.assert_allclose(together[:, row], vae.decode(z[:, row], c[row]).mean(), atol=1e-5)
    assert np.abs(together - np.asarray(vae.decode(z, c[[1, 2, 0]]).mean())).max() > 1e-4


def test_one_condition_serves_all_draws_and_seeds_repeat(labelled):
    np.testing.assert_array_equal(
        labelled.sample(5, seed=0, condition=2), labelled.sample(5, seed=0, condition=[2] * 5)
    )
    assert np.abs(labelled.sample(5, seed=0, condition=2) - labelled.sample(5, seed=0, condition=3)).max() > 1e-4


def test_integer_images_stand_for_their_fraction_of_255():
    image = Image((3, 4, 1))
    vae, z = make(image), np.zeros((2, parts.L))
    c = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 1), dtype=np.uint8)
    np.testing.assert_allclose(vae.decode(z, c).mean(), vae.decode(z, c / np.float32(255)).mean(), atol=1e-6)
    with pytest.raises(ValueError, match=r"floats in \[0, 1\] or uint8"):
        vae.decode(z, c.astype("float32"))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 5), (3, 3), (12, 20), (9, 4)])
def test_an_image_keeps_its_mean_whatever_the_size_of_the_map(size):
    features = tf.fill((2, 6, 5, 3), 0.25)
    joined = conditioned.join(tf.zeros((2, *size, 2)), features)
    assert joined.shape == (2, *size, 5)
    np.testing.assert_allclose(joined[..., 2:], 0.25, rtol=1e-5)


def test_a_vector_becomes_constant_channels():
    joined = conditioned.join(tf.zeros((2, 3, 4, 1)), tf.constant([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(joined[1, ..., 1:], np.broadcast_to([3.0, 4.0], (3, 4, 2)))


def test_the_parts_of_a_model_have_one_condition():
    label = Label(4)
    with pytest.raises(ValueError, match=r"encoder Label\(4\), decoder Label\(5\)"):
        kv.VAE(
            kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2), label),
            kv.Decoder(networks.mlp([]), likelihoods.Normal((3,)), Label(5)),
            priors.StandardNormal(2),
        )
    with pytest.raises(TypeError, match=r"such as Label\(10\)"):
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2), 10)
    with pytest.raises(ValueError, match=">= 2"):
        Label(1)
    with pytest.raises(ValueError, match="needs a condition"):
        priors.ConditionalNormal(2, None)


def test_a_part_may_leave_the_condition_to_the_others(x):
    """An identifiable VAE (Khemakhem et al. 2020): only encoder and prior know the condition."""
    label = Label(4)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2), label),
        kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli(parts.SHAPE)),
        priors.ConditionalNormal(2, label),
    )
    vae.compile("adam")
    vae.fit(x, np.arange(N) % 4, verbose=0)
    assert vae.sample(3, condition=1).shape == (3, *parts.SHAPE)
    with pytest.raises(ValueError, match="no condition was given"):
        vae.decode(np.zeros((1, 2)))


def test_a_network_of_the_users_own_sees_the_condition_with_its_input(x, tmp_path):
    vector = Vector(2)
    vae = kv.VAE(
        kv.Encoder(
            keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)]),
            posteriors.MultivariateNormalDiag(2),
            vector,
        ),
        kv.Decoder(keras.Sequential([keras.layers.Dense(4)]), likelihoods.Bernoulli(parts.SHAPE), vector),
        priors.StandardNormal(2),
    )
    c = parts.given(vector, N)
    assert vae.reconstruct(x, c).shape == x.shape
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.reconstruct(x, c), vae.reconstruct(x, c))


def test_the_likelihood_given_a_condition_is_that_of_the_linear_gaussian_model():
    """p(z|c) = N(A c + a, diag t^2), p(x|z, c) = N(W z + U c + b, s^2 I): p(x|c) and p(z|x, c) are known."""
    vector, s = Vector(2), 0.7
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalTriL(2), vector),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((5,), scale=s), vector),
        priors.ConditionalNormal(2, vector),
        seed=0,
    )
    vae.build()
    random = np.random.default_rng(0)
    kernel, b = random.normal(size=(4, 5)), random.normal(size=5)
    A, a, t = random.normal(size=(2, 2)), np.array([0.5, -0.3]), np.array([1.4, 0.8])
    vae.decoder.output_layer.kernel.assign(kernel)
    vae.decoder.output_layer.bias.assign(b)
    vae.prior.projection.kernel.assign(np.concatenate([A, np.zeros((2, 2))], axis=1))
    raw = raw_scale(t)
    vae.prior.projection.bias.assign(np.concatenate([a, raw]))
    W, U = kernel[:2].T, kernel[2:].T
    c = random.normal(size=(8, 2)).astype("float32")

    covariance = W @ np.diag(t**2) @ W.T + s**2 * np.eye(5)
    loc = (c @ A + a) @ W.T + c @ U.T + b
    p = tfd.MultivariateNormalTriL(loc, np.linalg.cholesky(covariance))
    x = np.asarray(p.sample(seed=[0, 1]), "float32")
    exact = np.asarray(p.log_prob(x))
    found = evaluation.annealed_importance_sampling(vae, (x, c), num_chains=32, num_steps=100)
    np.testing.assert_allclose(found.values, exact, atol=0.3)

    # With the exact posterior, of mean C (W^T (x - U c - b) / s^2 + (A c + a) / t^2), every draw gives log p(x|c).
    C = np.linalg.inv(np.diag(t**-2) + W.T @ W / s**2)
    slopes = np.concatenate([W / s**2, (A / t**2 - U.T @ W / s**2)]) @ C
    raw = raw_triangle(np.linalg.cholesky(C))
    projection = vae.encoder.posterior.projection
    projection.kernel.assign(np.concatenate([slopes, np.zeros((7, 3))], axis=1))
    projection.bias.assign(np.concatenate([(a / t**2 - b @ W / s**2) @ C, raw]))
    log_weights = vae.infer(x, 4, seed=0, condition=c).log_weights
    np.testing.assert_allclose(log_weights, np.tile(exact, (4, 1)), atol=2e-3)
    np.testing.assert_allclose(evaluation.log_likelihood(vae, (x, c), 3, verbose=False).values, exact, atol=2e-3)


def test_a_digit_on_demand_is_recognised_as_the_one_that_was_asked_for():
    """As `configs/mnist_conditional.yaml` on MNIST: here of 8 x 8 pixels, after seconds of training."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    digit = Label(10)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([128]), posteriors.MultivariateNormalDiag(2), digit),
        kv.Decoder(networks.mlp([128]), likelihoods.Binomial((8, 8, 1), total_count=16), digit),
        priors.StandardNormal(2),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(3e-3), steps_per_execution=7)
    vae.fit(images, labels, batch_size=128, epochs=40, verbose=0)
    classifier = SVC(gamma=0.05).fit(images[:1200].reshape(1200, -1), labels[:1200])
    assert classifier.score(images[1200:].reshape(-1, 64), labels[1200:]) > 0.93
    asked = np.repeat(np.arange(10), 30)
    drawn = vae.sample(len(asked), seed=0, condition=asked).reshape(-1, 64)
    assert classifier.score(drawn, asked) > 0.95
    assert np.std(drawn.reshape(10, 30, 64), axis=1).mean() > 0.03  # and they are not all alike


@pytest.mark.parametrize("ladder", [False, True])
def test_the_maps_of_a_guide_are_joined_to_what_has_their_size(ladder):
    """By the number of channels that each layer sees: its own input, the image at its size, the map of its size."""
    image, guide = Image((8, 8, 1)), networks.conv([5, 6])
    likelihood = likelihoods.Bernoulli((8, 8, 3))
    made = (
        kv.LadderDecoder(networks.conv([4, 7]), likelihood, 2, image, guide)
        if ladder
        else kv.Decoder(networks.conv([4, 7]), likelihood, image, guide)
    )
    made.build((None, 3))
    dense, _, first, second = made.body.steps
    assert dense.kernel.shape[0] == 3 + 2 * 2 * 6
    assert first.kernel.shape[-1] == 4 + 1 + 6 and second.kernel.shape[-1] == 4 + 1 + 5
    assert made.body.mixing.kernel.shape[2] == 7 + 1
    # One pixel in a corner changes what is far away, by way of the maps.
    c = np.zeros((2, 8, 8, 1), "float32")
    c[1, 0, 0] = 1.0
    near, far = (np.asarray(made(np.zeros((2, 3), "float32"), c).mean()[:, k, k]) for k in (0, 7))
    assert np.abs(np.subtract(*near)).max() > 1e-6 and np.abs(np.subtract(*far)).max() > 1e-6
