"""Draws that are made of noise, against the densities of the distributions themselves."""

import numpy as np
import parts
import pytest
import tensorflow as tf

from keras_vae.evaluation.normality.terms import made_of

K, B = 6, 4


@pytest.mark.parametrize("name", ["diag", "tril", "eigen", "low_rank", "iaf", "coupling"])
def test_densities_of_what_is_made_of_noise_are_those_of_the_distribution(name):
    posterior, random = parts.POSTERIORS[name](), np.random.default_rng(0)
    for layer in getattr(posterior, "layers", ()):  # a flow starts as the identity
        for weight in layer.weights:
            weight.assign(0.3 * random.standard_normal(weight.shape))
    q = posterior.distribution(tf.constant(random.standard_normal((B, posterior.params_size)), tf.float32))
    eps = tf.constant(random.standard_normal((K, 1, parts.L)), tf.float32)
    z, log_q = made_of(q, eps)
    assert z.shape == (K, B, parts.L) and log_q.shape == (K, B)
    np.testing.assert_allclose(log_q, q.log_prob(tf.identity(z)), rtol=1e-4, atol=1e-4)
    # The same noise for all examples: of equal parameters the draws are equal, and of others they are not.
    assert np.ptp(z, axis=1).min() > 1e-3
    alone, _ = made_of(posterior.distribution(tf.zeros([B, posterior.params_size])), eps)
    np.testing.assert_allclose(np.ptp(alone, axis=1), 0.0, atol=1e-6)


def test_a_full_covariance_is_that_of_the_draws():
    posterior = parts.POSTERIORS["tril"]()
    params = np.random.default_rng(1).standard_normal((1, posterior.params_size)).astype("float32")
    q = posterior.distribution(tf.constant(params))
    z, _ = made_of(q, tf.eye(parts.L)[:, tf.newaxis])
    factor = np.transpose(z[:, 0] - q.loc[0])  # columns: what each number of the noise does
    assert np.allclose(factor, np.tril(factor)) and (np.diag(factor) > 0).all()
    np.testing.assert_allclose(factor @ factor.T, q.covariance()[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(q.scale.diag_part()[0], np.diag(factor), rtol=1e-5)
    assert float(q.scale.log_abs_determinant()[0]) == pytest.approx(np.linalg.slogdet(factor)[1], abs=1e-5)
