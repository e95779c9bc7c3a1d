"""The density of mixtures of diagonal Gaussians, against SciPy's."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.mixtures import DiagonalMixture, mixture

M, L = 5, 3


def parameters(scale=1.0):
    rng = np.random.default_rng(0)
    logits, loc = rng.normal(size=M).astype("float32"), rng.normal(size=(M, L)).astype("float32")
    return logits, loc, (scale * np.exp(rng.normal(size=(M, L)))).astype("float32")


def log_prob(logits, loc, scale, z):
    z = z.astype("float64")
    terms = [
        w + scipy.stats.norm.logpdf(z, m.astype("float64"), s.astype("float64")).sum(-1)
        for w, m, s in zip(scipy.special.log_softmax(logits.astype("float64")), loc, scale, strict=True)
    ]
    return scipy.special.logsumexp(terms, axis=0)


@pytest.mark.parametrize("shape", [(L,), (7, L), (2, 7, L)])
def test_log_prob(shape):
    logits, loc, scale = parameters()
    z = np.random.default_rng(1).normal(size=shape).astype("float32")
    p = mixture(tf.constant(logits), tfd.MultivariateNormalDiag(loc, scale))
    assert isinstance(p, DiagonalMixture)
    np.testing.assert_allclose(p.log_prob(z), log_prob(logits, loc, scale, z), rtol=1e-5, atol=1e-5)


def test_nothing_cancels_where_scales_are_tiny():
    """At mu + s / 2 with |mu| / s about 1e5: the squares are 1e10 and their difference 1."""
    logits, loc, scale = parameters(1e-5)
    z = (loc + scale / 2).astype("float32")
    p = mixture(tf.constant(logits), tfd.MultivariateNormalDiag(loc, scale))
    np.testing.assert_allclose(p.log_prob(z), log_prob(logits, loc, scale, z), rtol=1e-5)


def test_gradients_are_those_of_the_plain_mixture():
    values = [tf.constant(v) for v in parameters(0.3)]
    z = tf.constant(np.random.default_rng(1).normal(size=(7, L)).astype("float32"))

    def gradients(family):
        with tf.GradientTape() as tape:
            tape.watch([*values, z])
            p = family(values[0], tfd.MultivariateNormalDiag(*values[1:]))
            loss = tf.reduce_sum(p.log_prob(z))
        return tape.gradient(loss, [*values, z])

    expected = gradients(lambda logits, parts: tfd.MixtureSameFamily(tfd.Categorical(logits=logits), parts))
    for ours, theirs in zip(gradients(mixture), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_components_of_another_kind_keep_the_general_formula():
    components = tfd.MultivariateNormalTriL(np.zeros((M, L), "float32"), np.tile(np.eye(L, dtype="float32"), (M, 1, 1)))
    p = mixture(tf.zeros(M), components)
    assert not isinstance(p, DiagonalMixture)
    np.testing.assert_allclose(p.log_prob(np.zeros(L, "float32")), -L / 2 * np.log(2 * np.pi), rtol=1e-6)
