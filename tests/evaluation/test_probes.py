"""Encoders at work in other tasks, on scikit-learn's digits."""

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation.probes import _evenly


@pytest.fixture(scope="module")
def labelled():
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    return (loaded.images[order] / 16.0).astype("float32")[..., None], loaded.target[order]


def make(posterior=None, prior=None, objective=None, latent_dim=8) -> kv.VAE:
    vae = kv.VAE(
        kv.Encoder(networks.mlp([128]), posterior or posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(networks.mlp([128]), likelihoods.Normal((8, 8, 1), scale=0.15)),
        prior or priors.StandardNormal(latent_dim),
        objective,
        seed=0,
    )
    vae.compile(optimizer=keras.optimizers.Adam(2e-3))
    vae.build()
    return vae


@pytest.fixture(scope="module")
def trained(labelled):
    keras.utils.set_random_seed(0)
    vae = make()
    vae.fit(labelled[0][:1500], epochs=15, verbose=0)
    return vae


def test_probe_reads_classes_from_codes(trained, labelled):
    x, y = labelled
    train = tf.data.Dataset.from_tensor_slices((x[:1500], y[:1500])).batch(100)
    probes = evaluation.linear_probe(trained, train, (x[1500:], y[1500:]), fractions=(0.02, 1.0))
    assert len(probes) == 3 * 2 * 2
    found = {(p.features, p.classifier, p.fraction): p for p in probes}
    assert found["latents", "linear", 1.0].accuracy > 0.8
    assert found["latents", "knn", 1.0].accuracy > 0.85
    assert found["pixels", "knn", 1.0].accuracy > 0.9
    assert found["latents", "linear", 0.02].num_labels == pytest.approx(30, abs=5)
    assert found["latents", "linear", 1.0].num_labels == 1500
    console = rich.console.Console(width=120)
    with console.capture() as capture:
        console.print(evaluation.probe_table(probes))
    assert "100% (1500 labels)" in capture.get()


def test_probe_takes_some_of_each_class_of_sorted_data(trained, labelled):
    x, y = labelled
    order = np.argsort(y, kind="stable")
    probes = evaluation.linear_probe(trained, (x[order], y[order]), (x[:200], y[:200]), fractions=(1.0,), max_train=300)
    assert {probe.num_labels for probe in probes} == {300}
    assert min(probe.accuracy for probe in probes) > 0.75


def test_probe_refusals(trained, labelled):
    x, y = labelled
    with pytest.raises(ValueError, match="train has no labels"):
        evaluation.linear_probe(trained, x, (x, y))
    with pytest.raises(ValueError, match="fractions"):
        evaluation.linear_probe(trained, (x, y), (x, y), fractions=(0.0,))


def test_labels_are_taken_evenly():
    y = np.repeat([0, 1, 2], [100, 50, 2])
    chosen = _evenly(y, 0.1, seed=0)
    assert np.bincount(y[chosen]).tolist() == [10, 5, 1]


def test_clusters_of_a_mixture_whose_components_are_known(labelled):
    vae = make(prior=priors.NormalMixture(8, 3))
    x, _ = labelled
    x = x[:60]
    z = np.asarray(vae.encoder.posterior.point(vae.encode(x)))
    vae.prior.loc.assign(z[:3])
    vae.prior.raw_scale.assign(np.full((3, 8), -3.0))
    nearest = np.argmin(((z[:, None] - z[None, :3]) ** 2).sum(-1), axis=1)
    found = evaluation.cluster(vae, (x, np.array([7, 5, 9])[nearest]))
    assert found.accuracy == 1.0
    np.testing.assert_array_equal(found.clusters, nearest)
    assert found.num_clusters == 3
    with pytest.raises(ValueError, match="NormalMixture"):
        evaluation.cluster(make(), (x, nearest))


def test_features_model_is_an_ordinary_model(trained, labelled, tmp_path):
    x, y = labelled
    model = trained.encoder.features_model()
    expected = np.asarray(trained.encode(x[:50]).mean())
    np.testing.assert_allclose(model.predict(x[:50], verbose=0), expected, atol=1e-5)
    model.save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    np.testing.assert_allclose(loaded.predict(x[:50], verbose=0), expected, atol=1e-5)
    classifier = keras.Sequential([model, keras.layers.Dense(10, activation="softmax")])
    classifier.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    classifier.fit(x[:300], y[:300], epochs=15, verbose=0)
    assert classifier.evaluate(x[1500:], y[1500:], verbose=0, return_dict=True)["accuracy"] > 0.6
    # Fine-tuning moved the copy and left the VAE as it was.
    assert np.abs(model.predict(x[:50], verbose=0) - expected).max() > 0.01
    np.testing.assert_allclose(np.asarray(trained.encode(x[:50]).mean()), expected, atol=1e-6)
    assert not trained.encoder.features_model(trainable=False).trainable_weights


def test_features_of_a_users_own_network():
    network = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()])
    encoder = kv.Encoder(network, posteriors.MultivariateNormalDiag(2))
    with pytest.raises(ValueError, match="no weights yet"):
        encoder.features_model()
    x = np.random.default_rng(0).random((3, 8, 8, 1)).astype("float32")
    encoder.build((None, 8, 8, 1))
    model = encoder.features_model()
    np.testing.assert_allclose(model(x), encoder(x).mean(), atol=1e-6)


def test_features_before_the_projection_standardised(trained, labelled, tmp_path):
    x, y = labelled
    model = trained.encoder.features_model(layer="features", standardize=(tf.data.Dataset.from_tensors((x, y))))
    found = model.predict(x, verbose=0)
    seen = np.asarray(trained.encoder.features(x))
    assert found.shape == seen.shape == (1797, 128)
    deviation = seen.std(axis=0)
    alive = deviation**2 > 0.01 * np.mean(deviation**2)
    assert alive.sum() > 20
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(found[:, alive].std(axis=0), 1.0, rtol=1e-3)
    # Units that hardly fire are not blown up to the size of the others.
    assert not alive.all()
    assert found[:, ~alive].std(axis=0).max() < 1.001
    model.save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    np.testing.assert_allclose(loaded.predict(x[:50], verbose=0), found[:50], atol=1e-5)
    codes = trained.encoder.features_model(standardize=x).predict(x, verbose=0)
    means = np.asarray(trained.encode(x).mean())
    scale = np.sqrt(np.maximum(means.var(axis=0), 0.01 * means.var(axis=0).mean()))
    np.testing.assert_allclose(codes, (means - means.mean(axis=0)) / scale, atol=1e-3)
    with pytest.raises(ValueError, match="'codes', 'features'"):
        trained.encoder.features_model(layer="logits")


def test_directions_are_found_in_a_linear_world():
    """x is z up to a rotation, so that the code moves with a measurement as x does."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((3,))),
        priors.StandardNormal(3),
        seed=0,
    )
    vae.build()
    kernel = np.zeros((3, 6), "float32")
    kernel[:, :3] = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    vae.encoder.posterior.projection.kernel.assign(kernel)
    x = np.random.default_rng(1).normal(size=(500, 3)).astype("float32")
    x[:, 1] += x[:, 0]  # both grow together; the directions must tell them apart
    found = evaluation.directions(vae, x, {"first": x[:, 0], "second": 5.0 * x[:, 1], "third": x[:, 2]})
    for k, name in enumerate(found):
        np.testing.assert_allclose(found[name], x[:, k].std() * kernel[k, :3], rtol=1e-3, atol=1e-4)
    for measured, message in [
        ({}, "Nothing is measured"),
        ({"a": x[:5, 0]}, "one number for each of the 500"),
        ({"a": np.ones(500)}, "the same for all"),
        ({"a": x[:, 0], "b": 2.0 * x[:, 0]}, "follows from the others"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluation.directions(vae, x, measured)


def test_augmentation_in_a_pipeline(trained, labelled):
    x, y = labelled[0][:64], labelled[1][:64]
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    augmented = data.map(evaluation.augment(trained, seed=1))
    (first, labels), (again, _) = next(iter(augmented)), next(iter(augmented))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(labels, y[:32])
    reconstructed = trained.reconstruct(x[:32])
    assert 0.005 < np.abs(first - reconstructed).mean() < 0.2
    other = next(iter(data.map(evaluation.augment(trained, seed=2))))[0]
    assert np.abs(first - other).max() > 0.01
    still = next(iter(tf.data.Dataset.from_tensors(x[:32]).map(evaluation.augment(trained, temperature=0.0))))
    np.testing.assert_allclose(still, reconstructed, atol=1e-5)
    noisy = evaluation.augment(trained, sample_pixels=True)(tf.constant(x[:32]))
    assert np.abs(noisy - reconstructed).mean() > 0.08
    with pytest.raises(ValueError, match="temperature"):
        evaluation.augment(trained, temperature=-1.0)


def test_a_density_makes_an_autoencoder_generate(labelled):
    vae = make(posteriors.Deterministic(8), objective=objectives.Reconstruction())
    x = labelled[0]
    vae.fit(x[:1500], epochs=15, verbose=0)
    density = evaluation.CodeDensity(vae, x[:1500], num_components=10)
    np.testing.assert_array_equal(density.sample(5, seed=3), density.sample(5, seed=3))

    def distance_to_data(images):
        flat, known = images.reshape(len(images), -1), x.reshape(len(x), -1)
        return np.sqrt(((flat[:, None] - known[None]) ** 2).sum(-1)).min(axis=1).mean()

    from_density = np.asarray(vae.decode(density.sample(100)).mean())
    assert distance_to_data(from_density) < 0.9 * distance_to_data(vae.sample(100, seed=0))
    with pytest.raises(ValueError, match="cannot be fitted"):
        evaluation.CodeDensity(vae, x[:10], num_components=10)
    with pytest.raises(ValueError, match="single point"):
        evaluation.augment(vae)
