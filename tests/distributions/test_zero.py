"""0 log 0 = 0, in values and in gradients, wherever a probability may be zero."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.distributions.codes import perplexity
from keras_vae.distributions.grid import GridBinomial, GridCategorical, GridLogisticMixture
from keras_vae.distributions.mixtures import mixture
from keras_vae.distributions.one_hot import OneHot

tfd = tfp.distributions
INF = np.inf


def value_and_gradient(function, *inputs):
    inputs = [tf.constant(value, tf.float32) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return np.asarray(value), [np.asarray(gradient) for gradient in tape.gradient(value, inputs)]


def kl(q, p):
    return tfd.kl_divergence(OneHot(q), OneHot(p))


@pytest.mark.parametrize(
    "q, p, expected",
    [
        ([0.0, 0.0, -INF], [0.0, 0.0, 0.0], np.log(1.5)),
        ([0.0, -INF, -INF], [0.0, 0.0, 0.0], np.log(3.0)),
        ([0.0, 0.0, -INF], [0.0, 0.0, -INF], 0.0),
        ([np.log(3.0), 0.0, -INF], [0.0, 0.0, -INF], 0.75 * np.log(1.5) + 0.25 * np.log(0.5)),
        ([0.0, 0.0, 0.0], [0.0, 0.0, -INF], INF),
    ],
)
def test_kl_of_classes_of_probability_zero(q, p, expected):
    value, gradients = value_and_gradient(kl, q, p)
    assert value == pytest.approx(expected, abs=1e-6)
    if np.isfinite(expected):
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        # As the formula over the classes that there are.
        with tf.GradientTape() as tape:
            few = tf.Variable([a for a in q if np.isfinite(a)], dtype=tf.float32)
            other = tf.constant([b for a, b in zip(q, p, strict=True) if np.isfinite(a)], tf.float32)
            log_p = other - tf.reduce_logsumexp(tf.constant(p, tf.float32))
            exact = tf.reduce_sum(tf.nn.softmax(few) * (tf.nn.log_softmax(few) - log_p))
        kept = np.isfinite(q)
        np.testing.assert_allclose(gradients[0][kept], tape.gradient(exact, few), atol=1e-6)
        np.testing.assert_array_equal(gradients[0][~kept], 0.0)


def test_entropy_and_density_of_classes_of_probability_zero():
    logits = [0.0, 0.0, -INF]
    value, (gradient,) = value_and_gradient(lambda a: OneHot(a).entropy(), logits)
    assert value == pytest.approx(np.log(2.0)) and np.isfinite(gradient).all()
    value, (gradient,) = value_and_gradient(lambda a: OneHot(a).log_prob([0.0, 1.0, 0.0]), logits)
    assert value == pytest.approx(-np.log(2.0)) and np.isfinite(gradient).all()
    assert OneHot(logits).log_prob([0.0, 0.0, 1.0]) == -INF
    draws = np.asarray(OneHot(logits).sample(200, seed=[0, 1]))
    assert draws[:, 2].max() == 0.0 and np.isfinite(OneHot(logits).log_prob(draws)).all()
    relaxed = np.asarray(OneHot(logits, temperature=0.5).sample(50, seed=[0, 1]))
    assert np.isfinite(relaxed).all() and np.isfinite(OneHot(logits).log_prob(relaxed)).all()


def test_a_straight_through_draw_keeps_the_gradient_of_the_classes_that_it_is_not():
    z = tf.constant([0.0, 1.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = OneHot([0.1, 0.2, -0.3]).log_prob(z)
    np.testing.assert_allclose(tape.gradient(value, z), tf.nn.log_softmax([0.1, 0.2, -0.3]), atol=1e-6)


def test_likelihoods_with_probabilities_of_zero_and_one():
    x = np.float32([0.0, 1.0])
    binomial = lambda a: tf.reduce_sum(GridBinomial(a, 3).log_prob(x))  # noqa: E731
    value, (gradient,) = value_and_gradient(binomial, [-INF, INF])
    assert value == 0.0 and np.isfinite(gradient).all()
    assert GridBinomial([-INF], 3).log_prob([1.0]) == -INF
    value, (gradient,) = value_and_gradient(lambda a: GridCategorical(a).log_prob(0.5), [-INF, 0.0, 0.0])
    assert value == pytest.approx(-np.log(2.0)) and np.isfinite(gradient).all()
    assert float(GridCategorical([-INF, 0.0, 0.0]).mean()) == pytest.approx(0.75)
    for probability, bit in ((0.0, 0.0), (1.0, 1.0)):
        bernoulli = lambda a, bit=bit: tfd.Bernoulli(probs=a).log_prob(bit)  # noqa: E731
        assert value_and_gradient(bernoulli, probability)[0] == 0.0
        assert float(tfd.kl_divergence(tfd.Bernoulli(probs=probability), tfd.Bernoulli(probs=0.5))) == pytest.approx(
            np.log(2.0)
        )


def test_mixtures_with_a_weight_of_zero():
    def density(logits, loc):
        return mixture(logits, tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))).log_prob([0.3, -0.2])

    value, gradients = value_and_gradient(density, [0.0, -INF], [[0.0, 0.0], [1.0, 1.0]])
    expected = tfd.MultivariateNormalDiag([0.0, 0.0], [1.0, 1.0]).log_prob([0.3, -0.2])
    assert value == pytest.approx(float(expected), abs=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)

    def levels(logits, loc):
        return GridLogisticMixture(logits, loc, tf.fill([2], 0.1), 16).log_prob(0.2)

    value, gradients = value_and_gradient(levels, [0.0, -INF], [0.2, 0.8])
    alone = GridLogisticMixture([0.0], [0.2], [0.1], 16).log_prob(0.2)
    assert value == pytest.approx(float(alone), abs=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_perplexity_of_codes_of_which_some_are_never_used():
    value, (gradient,) = value_and_gradient(perplexity, [2.0, 2.0, 0.0])
    assert value == pytest.approx(2.0) and np.isfinite(gradient).all()
