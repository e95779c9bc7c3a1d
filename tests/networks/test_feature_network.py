import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from keras_vae import data, evaluation, networks
from keras_vae.networks import feature_network


@pytest.fixture(scope="module")
def sprites():
    train, _ = data.load("shapes/size=16,scales=2,orientations=8,positions=6", seed=1)
    return np.concatenate(list(train.take(8).as_numpy_iterator()))[:800]


def test_it_learns_to_say_what_was_done_and_is_standardised():
    images = (load_digits().images[:, ..., None] / 16).astype("float32")
    made = networks.FeatureNetwork([8, 16], steps=250)
    made.adapt(images, seed=1)
    assert made.accuracy > 0.3  # 1 in 8 is chance
    maps = [np.asarray(part) for part in made(images[:1000])]
    assert [part.shape[1:] for part in maps] == [(8, 8, 8), (4, 4, 16)]
    for part in maps:
        living = part.std(axis=(0, 1, 2)) > 0
        np.testing.assert_allclose(part.mean(axis=(0, 1, 2)), 0.0, atol=0.1)
        np.testing.assert_allclose(part.std(axis=(0, 1, 2))[living], 1.0, atol=0.1)
    assert not [v for v in made.variables if v.trainable]
    assert made(images[:1].astype("float64"))[0].dtype == "float32"


def test_the_same_seed_learns_the_same_and_a_dataset_will_do(sprites):
    def adapted(images, seed):
        made = networks.FeatureNetwork([4], steps=5)
        before = np.random.get_state()[1].copy()
        made.adapt(images, seed=seed)
        np.testing.assert_array_equal(np.random.get_state()[1], before)
        return np.asarray(made(sprites[:2])[0])

    batches = tf.data.Dataset.from_tensor_slices((sprites[:60], np.zeros(60))).batch(50)
    found = adapted(sprites[:60], 0)
    np.testing.assert_allclose(adapted(batches, 0), found, rtol=1e-4, atol=1e-4)
    assert np.abs(adapted(sprites[:60], 1) - found).max() > 1e-3


def test_before_it_is_adapted_it_is_fixed():
    x = np.random.default_rng(0).random((2, 6, 5, 2), "float32")
    found = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        found.append(networks.FeatureNetwork([4, 3])(x))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(6, 5, 2), (8, 8, 1), (3, 9, 3), (1, 2, 4)])
@pytest.mark.parametrize("deed", feature_network.DEEDS)
def test_what_is_done_keeps_the_shape_and_leaves_the_image_alone(shape, deed):
    random = np.random.default_rng(0)
    x, other = random.random((2, *shape)).astype("float32")
    before = x.copy()
    for _ in range(5):
        made = deed(x, other, random)
        assert made.shape == shape and np.isfinite(made).all() and not np.shares_memory(made, other)
    np.testing.assert_array_equal(x, before)


def test_it_is_saved_with_a_model_around_it(sprites, tmp_path):
    made = networks.FeatureNetwork([4, 4], steps=2)
    made.adapt(sprites[:100])
    inputs = keras.Input(sprites.shape[1:])
    keras.Model(inputs, made(inputs)).save(tmp_path / "features.keras")
    loaded = keras.saving.load_model(tmp_path / "features.keras")
    for a, b in zip(loaded(sprites[:3]), made(sprites[:3]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="work on images"):
        networks.FeatureNetwork()(np.zeros((2, 7), "float32"))
    with pytest.raises(ValueError, match="two images at least, not from 1"):
        networks.FeatureNetwork().adapt(np.zeros((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="steps must be"):
        networks.FeatureNetwork(steps=0)


@pytest.mark.slow
def test_it_tells_more_than_fixed_features_do(sprites):
    """What was measured on photographs, small: a little blur and noise, in standard errors of the KID."""
    made, random = networks.FeatureNetwork([16, 32, 64], steps=400), np.random.default_rng(0)
    made.adapt(sprites)
    order = random.permutation(len(sprites))
    real, other = sprites[order[:300]], sprites[order[300:600]]
    for fault in (gaussian_filter(other, (0, 0.4, 0.4, 0)), other + 0.03 * random.normal(size=other.shape)):
        told = []
        for features in (made, None):
            found = evaluation.kid(real, np.clip(fault, 0, 1).astype("float32"), features)
            told.append(found.value / found.standard_error)
        assert told[0] > 1.2 * told[1]
