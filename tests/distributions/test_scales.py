"""Shares of a network's output: by one split in training, by slices in exports; the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.distributions import scales

SHAPE = (2, 3, 2)


@pytest.mark.parametrize("size", [1, 2])
def test_shares_are_the_same_by_split_and_by_slices(size):
    params = tf.constant(np.random.default_rng(0).normal(size=(4, 3, 5 * size)), tf.float32)
    weights = tf.constant(np.random.default_rng(1).normal(size=(4, 3, size, 5)), tf.float32)
    found = []
    for context in (scales.by_slices(), None):
        with tf.GradientTape() as tape:
            tape.watch(params)
            if context is None:
                parts, together = scales.shares(params, 5), scales.side_by_side(params, 5)
            else:
                with context:
                    parts, together = scales.shares(params, 5), scales.side_by_side(params, 5)
            total = tf.reduce_sum(together * weights)
        found.append([*parts, together, tape.gradient(total, params)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found[0][5], np.stack([np.asarray(part) for part in found[0][:5]], axis=-1))


def test_exports_have_no_split_and_training_no_slice():
    def types(context):
        with context or tf.name_scope("plain"):
            traced = tf.function(lambda x: scales.shares(x, 2)).get_concrete_function(tf.TensorSpec([None, 4]))
        return {op.type for op in traced.graph.get_operations()}

    assert "Split" in types(None) and "StridedSlice" not in types(None)
    assert "Split" not in types(scales.by_slices()) and "StridedSlice" in types(scales.by_slices())
    assert "Split" in types(None)


@pytest.mark.parametrize(
    "likelihood",
    [
        lambda: likelihoods.Categorical(SHAPE, levels=5),
        lambda: likelihoods.DiscretizedLogisticMixture(SHAPE, levels=256, num_components=3),
    ],
)
def test_levels_side_by_side_are_those_of_distribution(likelihood):
    likelihood, rng = likelihood(), np.random.default_rng(0)
    params = tf.constant(rng.normal(size=(4, *likelihood.params_shape)), tf.float32)
    x = tf.constant(rng.integers(0, likelihood.levels, (4, *SHAPE)) / (likelihood.levels - 1), tf.float32)
    found, expected = likelihood(params), likelihood.distribution(*scales.shares(params, likelihood.params_per_value))
    np.testing.assert_array_equal(found.log_prob(x), expected.log_prob(x))
    np.testing.assert_array_equal(found.mean(), expected.mean())


def test_a_subclass_with_a_distribution_of_its_own_keeps_it():
    class Flat(likelihoods.Categorical):
        def distribution(self, *logits):
            return super().distribution(*(0.0 * part for part in logits))

    flat = Flat(SHAPE, levels=4)
    params = tf.random.normal((2, *flat.params_shape), seed=0)
    np.testing.assert_allclose(flat(params).log_prob(tf.zeros((2, *SHAPE))), -12.0 * np.log(4.0), rtol=1e-6)


def test_a_step_with_256_levels_takes_no_slice_for_each():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([4]), likelihoods.Categorical((8, 8, 1), levels=256)),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.build()
    step = tf.function(vae.train_step).get_concrete_function(tf.TensorSpec([4, 8, 8, 1]))
    assert sum(op.type in ("StridedSlice", "StridedSliceGrad", "Split") for op in step.graph.get_operations()) < 100
