"""Rare codes attract: against a search by hand, the gradient that it adds, and what it does to codes in training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.distributions.codes import Levels
from keras_vae.posteriors.codes.attraction import Attraction, attracted

RNG = np.random.default_rng(0)
TABLE = Levels([3, 2], [-1.0, -1.0], [1.0, 2.0])


def built(**options):
    layer = Attraction(TABLE, **options)
    layer.build()
    return layer


def test_each_rare_code_draws_the_nearest_vector_that_has_none():
    layer = built()
    shares = np.array([1.5, 0.1, 2.0, 0.0, 1.0, 1.4], "float32")
    layer.shares.assign(shares)
    vectors = RNG.uniform(-1.4, 1.4, size=(20, 2, 2)).astype("float32")
    indices = np.asarray(TABLE.nearest(tf.constant(vectors)))
    found = layer(tf.constant(vectors), tf.constant(indices), tf.constant([0, 1])).numpy()
    # 40 vectors of 6 codes: a tenth of 6 / 40 of each is news, were it not for the 50 uses of each that are a memory.
    rate = min(0.1, 40 / (50 * 6))
    shares += rate * (np.bincount(indices.ravel(), minlength=6) * 6 / 40 - shares)
    np.testing.assert_allclose(layer.shares, shares, rtol=1e-5)
    rarity = np.maximum(0, 1 - 2 * shares)
    flat, expected = vectors.reshape(-1, 2) / TABLE.step, np.zeros((40, 2))
    free = np.flatnonzero(rarity[indices.ravel()] == 0)
    assert (rarity > 0).sum() == 2
    for code in np.flatnonzero(rarity):
        center = TABLE.lookup(tf.constant(code)).numpy() / TABLE.step
        way = center - flat[free]
        nearest = np.linalg.norm(way, axis=1).argmin()
        expected[free[nearest]] += rarity[code] * way[nearest] / np.linalg.norm(way[nearest])
    np.testing.assert_allclose(found.reshape(-1, 2), expected, atol=1e-5)


@pytest.mark.parametrize(("num_drawn", "strength"), [(1, 10.0), (50, np.sqrt(2 * 2**2))])
def test_the_gradient_is_moved_along_directions_in_units_of_its_own_size(num_drawn, strength):
    """Ten times as long as an average one for a single vector; of many, all at most twice as long as all gradients."""
    upstream = RNG.normal(size=(50, 1, 2)).astype("float32") * [3.0, 0.01]
    directions = np.zeros((50, 1, 2), "float32")
    directions[:num_drawn, :, 0] = 1.0
    vectors = tf.constant(RNG.normal(size=(50, 1, 2)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        moved = attracted(vectors, tf.constant(directions))
        loss = tf.reduce_sum(moved * tf.constant(upstream, tf.float32))
    np.testing.assert_array_equal(moved, vectors)
    size = np.sqrt(np.square(upstream).mean(axis=(0, 1)))
    np.testing.assert_allclose(tape.gradient(loss, vectors), upstream - strength * size * directions, rtol=1e-4)


def test_without_rare_codes_and_outside_of_training_nothing_moves():
    layer = built()
    vectors = tf.constant(RNG.uniform(-1.4, 1.4, size=(100, 2, 2)).astype("float32"))
    indices = TABLE.nearest(vectors)
    assert not np.any(layer(vectors, indices, tf.constant([0, 0])))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        loss = tf.reduce_sum(tf.square(attracted(vectors, tf.zeros_like(vectors))))
    np.testing.assert_allclose(tape.gradient(loss, vectors), 2 * vectors, rtol=1e-6)
    posterior = posteriors.FiniteScalar([3, 2], (1, 2))
    posterior.build((None, 8))
    before = posterior.attraction.get_weights()
    posterior(tf.ones([4, 8]))
    posterior.trainable = False
    posterior(tf.ones([4, 8]), training=True)
    np.testing.assert_array_equal(posterior.attraction.get_weights(), before)


def faces(count):
    """Of few degrees of freedom, as pictures of one face: a bright spot at a place, of a width."""
    at = np.linspace(0, 1, 8)
    x, y, width = (RNG.random((count, 1, 1)) for _ in range(3))
    spot = np.exp(-((at[:, None] - x) ** 2 + (at - y) ** 2) / (0.02 + 0.1 * width))
    return spot[..., np.newaxis].astype("float32")


def test_codes_come_into_use_that_do_not_without_it():
    x, used = faces(2000), []
    for attracts in (True, False):
        keras.utils.set_random_seed(0)
        posterior = posteriors.FiniteScalar([8, 5, 5, 5], (2, 2), attract=attracts)
        vae = kv.VAE(
            kv.Encoder(networks.mlp([64]), posterior),
            kv.Decoder(networks.mlp([64]), likelihoods.Normal((8, 8, 1))),
            priors.UniformCodes.of(posterior),
        )
        vae.compile(keras.optimizers.Adam(3e-3))
        vae.fit(x, batch_size=100, epochs=15, verbose=0)
        used.append(len(np.unique(vae.encode(x).indices)) / posterior.num_codes)
    # 0.97 and 0.87; there are eight vectors for each of a thousand codes.
    assert used[0] > 0.94 and used[1] < 0.91, used


def test_a_place_of_a_dense_layer_sees_all_units_and_one_of_a_map_its_own():
    shapes = []
    for network in (networks.mlp([32]), networks.conv([8])):
        posterior = posteriors.VectorQuantized(4 * 4 * 3, (4, 4), 5)
        kv.Encoder(network, posterior).build((None, 8, 8, 1))
        shapes.append(tuple(posterior.projection.kernel.shape))
    assert shapes == [(32, 4 * 4 * 3), (8, 3)]
    # A model that was saved before keeps what it had.
    config = posteriors.FiniteScalar([5, 5], (4, 4)).get_config()
    assert config.pop("revision") == 2
    before = posteriors.FiniteScalar.from_config(config)
    kv.Encoder(networks.mlp([32]), before).build((None, 8, 8, 1))
    assert tuple(before.projection.kernel.shape) == (2, 2) and before.attraction is None
    before(tf.ones([3, 32]), training=True)
