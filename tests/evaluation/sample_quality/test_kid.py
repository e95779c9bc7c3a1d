import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter
from sklearn.metrics.pairwise import polynomial_kernel

from keras_vae import data, evaluation

DIMS = 6


def identity(x):
    return x


def mean_kernel(a, b):
    """E k(x, y) of independent x ~ N(a, I), y ~ N(b, I): E (1 + s)^3 by the first three moments of s = x.y / d."""
    inner, of_a, of_b, d = a @ b, a @ a, b @ b, len(a)
    second = d + of_a + of_b + inner**2
    third = inner**3 + 3 * inner * (of_a + of_b) + (3 * d + 6) * inner
    return 1 + 3 * inner / d + 3 * second / d**2 + third / d**3


def gaussians(seed, count, mean):
    return np.random.default_rng(seed).normal(size=(count, len(mean))) + mean


@pytest.mark.parametrize("shift", [0.3, 1.5])
def test_shifted_gaussians_are_as_far_apart_as_the_kernel_says(shift):
    a, b = np.zeros(DIMS), np.full(DIMS, shift)
    expected = mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)
    found = [evaluation.kid(gaussians(2 * k, 800, a), gaussians(2 * k + 1, 1200, b), identity) for k in range(40)]
    values = np.array([one.value for one in found])
    # Unbiased, and the error is what estimates scatter by.
    assert abs(values.mean() - expected) < 3.5 * values.std() / np.sqrt(len(values))
    assert 0.75 < np.mean([one.standard_error for one in found]) / values.std() < 1.35


def test_of_one_distribution_it_is_zero_within_its_error():
    origin = np.zeros(DIMS)
    found = [
        evaluation.kid(gaussians(2 * k, 150, origin), gaussians(2 * k + 1, 90, origin), identity) for k in range(40)
    ]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3.5 * values.std() / np.sqrt(len(values))
    assert values.min() < 0 < values.max()
    assert 1.0 < np.mean([one.standard_error for one in found]) / values.std() < 1.8


def test_sums_of_blocks_are_the_sums_of_the_whole_matrix():
    """More rows than a block has, against the definition with scikit-learn's kernel."""
    a, b = gaussians(0, 1100, np.zeros(3)), gaussians(1, 700, np.ones(3))
    within = [polynomial_kernel(x, degree=3, gamma=1 / 3, coef0=1) for x in (a, b)]
    terms = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in within]
    expected = sum(terms) - 2 * polynomial_kernel(a, b, degree=3, gamma=1 / 3, coef0=1).mean()
    found = evaluation.kid(a, b, identity)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.num_real, found.num_drawn, found.num_features) == (1100, 700, 3)
    assert evaluation.kid(b, a, identity).value == pytest.approx(found.value)


@pytest.fixture(scope="module")
def sprites():
    train, test = data.load("shapes/size=32,scales=3,orientations=10,positions=8", seed=1)
    return [np.concatenate(list(part.take(4).as_numpy_iterator()))[:400] for part in (train, test)]


def test_own_features_see_what_is_wrong_with_images(sprites):
    """Every fault is found, and more of it is farther away."""
    train, test = sprites
    noise = np.random.default_rng(0).normal(size=train.shape)

    def distance(images):
        return evaluation.kid(test, np.clip(images, 0, 1).astype("float32"))

    alike = distance(train)
    assert abs(alike.value) < 2 * alike.standard_error
    faults = [
        [gaussian_filter(train, (0, s, s, 0)) for s in (0.7, 1.5, 3.0)],
        [train + s * noise for s in (0.1, 0.3)],
        [0.5 + s * (train - 0.5) for s in (0.8, 0.4)],
        [np.roll(train, s, axis=1) for s in (4, 10)],
    ]
    for grades in faults:
        found = [distance(images) for images in grades]
        assert found[0].value > alike.value + 2 * alike.standard_error
        assert all(a.value < b.value for a, b in itertools.pairwise(found))


def test_own_features_are_the_same_everywhere():
    """In any batch, and in any version: numbers of one image, computed once."""
    images = np.random.default_rng(0).random((3, 9, 12, 3), "float32")
    found = evaluation.image_features(images)
    assert found.shape == (3, 966)
    np.testing.assert_allclose(evaluation.image_features(images[1:2])[0], found[1], rtol=1e-4, atol=1e-4)
    assert evaluation.image_features(np.ones((2, 4, 5, 1), "float32")).shape == (2, 962)


def test_features_may_be_a_keras_model_and_data_a_dataset():
    images = np.random.default_rng(0).random((40, 8, 8, 1), "float32")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    found = evaluation.kid(images, tf.data.Dataset.from_tensor_slices(images[:30]).batch(7), model)
    expected = evaluation.kid(images, images[:30], lambda x: model.predict(x, verbose=0))
    assert found.value == pytest.approx(expected.value, abs=1e-4)
    assert found.num_features == 5


@pytest.mark.parametrize(
    ("real", "drawn", "features", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), identity, "real has 1"),
        (np.zeros((5, 3)), np.zeros((5, 4)), identity, "give alike ones"),
        (np.zeros((5, 8, 8)), np.zeros((5, 8, 8)), identity, "a matrix"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), identity, "not finite"),
        (np.zeros((5, 3)), np.zeros((5, 3)), None, "give features"),
        (np.zeros((5, 8, 8, 1)), np.full((5, 8, 8, 1), 255.0), None, "scale them"),
    ],
)
def test_what_cannot_be_compared_is_refused(real, drawn, features, message):
    with pytest.raises(ValueError, match=message):
        evaluation.kid(real, drawn, features)


def test_a_nearest_neighbour_tells_as_the_definition_says():
    a, b = gaussians(0, 70, np.zeros(3)), gaussians(1, 70, np.ones(3))
    both = np.concatenate([a, b])
    told = []
    for i, x in enumerate(both):
        distances = [np.inf if j == i else np.linalg.norm(x - y) for j, y in enumerate(both)]
        told.append((int(np.argmin(distances)) < 70) == (i < 70))
    found = evaluation.nearest_neighbours(a, b)
    assert (found.accuracy, found.of_real, found.of_drawn) == (np.mean(told), np.mean(told[:70]), np.mean(told[70:]))
    assert found.num_each == 70 and found.standard_error == pytest.approx(np.std(told) / np.sqrt(140))


def test_a_nearest_neighbour_tells_nothing_of_one_distribution_and_all_of_two():
    origin = np.zeros(4)
    pairs = [(gaussians(2 * k, 300, origin), gaussians(2 * k + 1, 200, origin)) for k in range(20)]
    same = [evaluation.nearest_neighbours(*pair) for pair in pairs]
    assert abs(np.mean([one.accuracy for one in same]) - 0.5) < 0.02 and same[0].num_each == 200
    assert evaluation.nearest_neighbours(gaussians(0, 50, origin), gaussians(1, 50, origin + 20)).accuracy == 1.0
    # Means of what scatters are nearer to each other than to what scatters.
    narrow = evaluation.nearest_neighbours(gaussians(0, 200, origin), 0.5 * gaussians(1, 200, origin))
    assert narrow.of_drawn > narrow.of_real + 0.05 and narrow.of_drawn > 0.75


def test_a_nearest_neighbour_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="nearest_neighbours needs two examples at least, and drawn has 1"):
        evaluation.nearest_neighbours(np.zeros((5, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"Real examples have the shape \(2,\), and drawn ones \(3,\)"):
        evaluation.nearest_neighbours(np.zeros((5, 2)), np.zeros((5, 3)))
