"""The generator of exported `sample` signatures: published vectors, distribution, independence of rows."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.export import draw, threefry
from keras_vae.export.draw import NoTransform

tfd = tfp.distributions
tfb = tfp.bijectors

# key, counter, output: the known answers that Random123 publishes for threefry2x32 with 20 rounds.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def seeds(rows, start=0):
    return tf.stack([tf.range(start, start + rows), tf.fill([rows], 7)], axis=1)


@pytest.mark.parametrize(("key", "counter", "output"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_known_answers(key, counter, output):
    words = [tuple(tf.constant(word, tf.uint32) for word in pair) for pair in (key, counter)]
    assert tuple(int(word) for word in threefry.threefry2x32(*words)) == output


def test_normals_are_those_of_box_and_muller_on_the_random_bits():
    seed = tf.constant([[0x13198A2E, 0x03707344]], tf.int32)
    pair = [tf.constant(word, tf.uint32) for word in (0x13198A2E, 0x03707344)]
    words = [threefry.threefry2x32(tuple(pair), (tf.constant(j, tf.uint32), tf.constant(0, tf.uint32))) for j in (0, 1)]
    u, v = np.array([[(int(word) // 512 + 0.5) / 2**23 for word in pair] for pair in words]).T
    expected = np.stack([np.sqrt(-2 * np.log(u)) * f(2 * np.pi * v) for f in (np.cos, np.sin)], axis=1).ravel()
    np.testing.assert_allclose(threefry.normals(seed, 4)[0], expected, atol=5e-6)


def test_normals_are_normal_and_uncorrelated_within_a_row_and_between_rows():
    z = threefry.normals(seeds(20_000), 8).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert scipy.stats.kstest(np.sum(z**2, axis=1), "chi2", args=(8,)).pvalue > 1e-3
    correlations = np.corrcoef(np.hstack([z[:-1], z[1:]]).T) - np.eye(16)
    assert np.abs(correlations).max() < 5 / np.sqrt(len(z))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_row_depends_on_its_own_seed_alone(size):
    batch = threefry.normals(seeds(50), size).numpy()
    assert batch.shape == (50, size)
    assert len(np.unique(batch)) == batch.size
    for row in (0, 17, 49):
        np.testing.assert_array_equal(threefry.normals(seeds(1, start=row), size)[0], batch[row])


def test_streams_of_one_seed_differ():
    assert not np.any(threefry.uniforms(seeds(5), 4, stream=0) == threefry.uniforms(seeds(5), 4, stream=1))


def test_extreme_seeds_give_finite_numbers():
    extreme = tf.constant([[-(2**31), 2**31 - 1], [2**31 - 1, -(2**31)], [0, 0], [-1, -1]], tf.int32)
    z = threefry.normals(extreme, 101).numpy()
    assert np.isfinite(z).all()
    assert np.abs(z).max() <= np.sqrt(48 * np.log(2))


PRIORS = {
    "diagonal": lambda: tfd.MultivariateNormalDiag([1.0, -2.0, 0.0], [0.5, 1.0, 2.0]),
    "triangular": lambda: tfd.MultivariateNormalTriL([1.0, 0.0], [[1.0, 0.0], [0.7, 0.4]]),
    "independent": lambda: tfd.Independent(tfd.Normal([0.0, 1.0], [1.0, 0.2]), 1),
    "repeated": lambda: tfd.Sample(tfd.Normal(3.0, 0.1), 2),
    "uniform": lambda: tfd.Independent(tfd.Uniform([-1.0, 0.0], [1.0, 5.0]), 1),
    "mixture": lambda: tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.7, 0.2, 0.1]),
        tfd.MultivariateNormalDiag([[-3.0, 0.0], [0.0, 2.0], [3.0, 0.0]], [[0.3, 0.5]] * 3),
    ),
    "transformed": lambda: tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 0.5]), tfb.Shift([1.0, 2.0])(tfb.Exp())
    ),
    "wrapped by a tfp layer": lambda: tfp.layers.DistributionLambda(
        lambda loc: tfd.MultivariateNormalDiag(loc, tf.ones_like(loc)), convert_to_tensor_fn=tfd.Distribution.mean
    )(tf.zeros([3])),
}


@pytest.mark.parametrize("name", PRIORS)
def test_counter_based_draws_follow_the_distribution(name):
    p = PRIORS[name]()
    z = draw.draw(p, seeds(4000)).numpy()
    reference = p.sample(4000, seed=[1, 2]).numpy()
    assert z.shape == reference.shape
    for dimension in range(z.shape[1]):
        assert scipy.stats.ks_2samp(z[:, dimension], reference[:, dimension]).pvalue > 1e-3
    assert scipy.stats.ks_2samp(z.sum(axis=1), reference.sum(axis=1)).pvalue > 1e-3
    np.testing.assert_allclose(draw.draw(p, seeds(1, start=9))[0], z[9], rtol=1e-6, atol=1e-6)


def test_other_distributions_are_drawn_row_by_row_and_still_follow_their_seed():
    beta = tfd.Independent(tfd.Beta([2.0, 0.5], [3.0, 0.5]), 1)
    with pytest.raises(NoTransform, match="Beta"):
        draw.draw(beta, seeds(2))
    by_rows = tf.function(lambda seed: draw.draw_by_rows(beta, seed))
    z = by_rows(seeds(1000)).numpy()
    for dimension, (a, b) in enumerate([(2.0, 3.0), (0.5, 0.5)]):
        assert scipy.stats.kstest(z[:, dimension], "beta", args=(a, b)).pvalue > 1e-3
    np.testing.assert_allclose(by_rows(seeds(1, start=9))[0], z[9], rtol=1e-6)
    assert by_rows(seeds(0)).shape == (0, 2)
