"""KL(N(m1, S1) || N(m2, S2)) of full covariances, of every Gaussian posterior: NumPy's formula, TFP, and draws."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae import posteriors, terms

tfd = tfp.distributions
L = 4
MADE = {
    "diag": lambda: posteriors.MultivariateNormalDiag(L),
    "tril": lambda: posteriors.MultivariateNormalTriL(L),
    "eigen": lambda: posteriors.MultivariateNormalEigen(L),
    "low_rank": lambda: posteriors.MultivariateNormalLowRank(L, rank=2),
}


def gaussian(name, seed):
    part = MADE[name]()
    raw = np.random.default_rng(seed).normal(scale=0.7, size=(3, part.params_size))
    return part.distribution(tf.constant(raw, tf.float32))


def by_formula(q, p):
    """1/2 (tr S2^-1 S1 + (m2 - m1)' S2^-1 (m2 - m1) - L + log det S2 - log det S1), in double precision."""
    found = []
    for m1, s1, m2, s2 in zip(
        *(np.asarray(a, "float64") for d in (q, p) for a in (d.mean(), d.covariance())), strict=True
    ):
        inverse, gap = np.linalg.inv(s2), m2 - m1
        (_, log1), (_, log2) = np.linalg.slogdet(s1), np.linalg.slogdet(s2)
        found.append(0.5 * (np.trace(inverse @ s1) + gap @ inverse @ gap - L + log2 - log1))
    return np.array(found)


@pytest.mark.parametrize("a", MADE)
@pytest.mark.parametrize("b", MADE)
def test_kl_of_two_full_gaussians(a, b):
    q, p = gaussian(a, 0), gaussian(b, 1)
    z, log_q = terms.drawn(q, 20_000, [0, 1])
    group = terms.latent_group(q, p, z, log_q)
    expected = by_formula(q, p)
    assert group.kl_is_exact
    np.testing.assert_allclose(group.kl, expected, rtol=2e-4)
    full = [tfd.MultivariateNormalFullCovariance(d.mean(), d.covariance()) for d in (q, p)]
    np.testing.assert_allclose(tfd.kl_divergence(*full), expected, rtol=1e-3)
    ratio = np.asarray(log_q - p.log_prob(z), "float64")
    assert np.all(np.abs(ratio.mean(axis=0) - expected) < 5 * ratio.std(axis=0) / np.sqrt(len(ratio)))
