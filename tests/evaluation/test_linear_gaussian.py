"""A VAE with linear encoder and decoder is probabilistic PCA, where everything is known in closed form.

p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I): p(x) = N(b, W W^T + s^2 I) and p(z|x) = N(M W^T (x - b) / s^2, M) with
M = (I + W^T W / s^2)^-1 (Tipping and Bishop 1999). The lecture's formulas of the ELBO are tested on it.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import raw_scale, raw_triangle
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors

D, L, N = 5, 2, 256
SCALES = np.array([2.0, 1.2, 0.5, 0.5, 0.5])  # standard deviations of the data along their principal axes


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(D, D)))
    return (rng.normal(size=(N, D)) * SCALES @ axes + rng.normal(size=D)).astype("float32")


def make_vae(posterior=posteriors.MultivariateNormalTriL, **options):
    return kv.VAE(
        kv.Encoder(networks.mlp([]), posterior(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,), scale="learned")),
        priors.StandardNormal(L),
        seed=0,
        **options,
    )


class Exact:
    """The closed forms for the decoder of a model, in double precision."""

    def __init__(self, vae):
        kernel, bias = vae.decoder.output_layer.weights
        (log_scale,) = vae.decoder.likelihood.weights
        self.W, self.b = np.asarray(kernel, "float64").T, np.asarray(bias, "float64")
        self.s = float(np.exp(log_scale))
        self.precision = np.eye(L) + self.W.T @ self.W / self.s**2
        self.covariance = np.linalg.inv(self.precision)

    def log_prob(self, x):
        p = tfd.MultivariateNormalFullCovariance(self.b, self.W @ self.W.T + self.s**2 * np.eye(D))
        return np.asarray(p.log_prob(x.astype("float64")))

    def posterior(self, x):
        loc = (x - self.b) @ self.W @ self.covariance / self.s**2
        return tfd.MultivariateNormalTriL(loc, np.linalg.cholesky(self.covariance))

    def expected_log_likelihood(self, x, q):
        """E_q[log p(x|z)] = log N(x; W m + b, s^2) - tr(W C W^T) / 2 s^2, for q with mean m and covariance C."""
        loc = np.asarray(q.mean(), "float64") @ self.W.T + self.b
        spread = np.einsum("di,bij,dj->b", self.W, np.asarray(q.covariance(), "float64"), self.W)
        squares = np.sum((x - loc) ** 2, axis=1) + spread
        return -0.5 * squares / self.s**2 - D * math.log(self.s) - 0.5 * D * math.log(2 * math.pi)


def give_weights(vae, exact_posterior):
    """A decoder that is not axis-aligned, and the posterior that is exact or, if diagonal, the best there is."""
    vae.build()
    rng = np.random.default_rng(1)
    vae.decoder.output_layer.kernel.assign([[1.0, 0.5, -0.3, 0.8, 0.1], [0.9, -0.2, 0.4, 0.6, -0.7]])
    vae.decoder.output_layer.bias.assign(rng.normal(size=D))
    vae.decoder.likelihood.weights[0].assign(math.log(0.7))
    exact = Exact(vae)
    if exact_posterior:
        # A Gaussian's mean is free; the diagonal covariance nearest in KL(q || p) has the diagonal of p's precision.
        is_full = isinstance(vae.encoder.posterior, posteriors.MultivariateNormalTriL)
        factor = np.linalg.cholesky(exact.covariance) if is_full else np.diag(np.diag(exact.precision) ** -0.5)
        raw = raw_triangle(factor) if is_full else raw_scale(np.diag(factor))
        kernel, bias = vae.encoder.posterior.projection.weights
        slope = exact.W @ exact.covariance / exact.s**2
        kernel.assign(np.concatenate([slope, np.zeros((D, len(raw)))], axis=1))
        bias.assign(np.concatenate([-exact.b @ slope, raw]))
    return exact


def maximum_likelihood(x):
    """Mean log p(x) of the best probabilistic PCA with L components, from the eigenvalues of the covariance."""
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = eigenvalues[L:].mean()
    return -0.5 * (D * math.log(2 * math.pi) + np.log(eigenvalues[:L]).sum() + (D - L) * math.log(noise) + D)


def trained(vae, x, steps):
    rate = keras.optimizers.schedules.CosineDecay(0.03, steps)
    vae.compile(keras.optimizers.Adam(rate), steps_per_execution=100)
    batches = tf.data.Dataset.from_tensors(x).repeat(steps)
    vae.fit(batches, epochs=1, verbose=0)
    return vae


def mean_elbo(vae, x, num_samples=2000):
    return float(np.mean(vae.infer(x, num_samples, seed=1).elbo))


def test_trained_with_a_full_covariance_the_elbo_meets_the_maximum_likelihood(x):
    vae = trained(make_vae(objective=objectives.ELBO(num_samples=4)), x, 1500)
    best = maximum_likelihood(x)
    exact = Exact(vae).log_prob(x).mean()
    elbo = mean_elbo(vae, x)
    assert exact <= best + 1e-4
    assert exact == pytest.approx(best, rel=0.005)
    assert elbo == pytest.approx(best, rel=0.005)
    assert elbo <= exact + 0.01
    q, p = vae.encode(x), Exact(vae).posterior(x)
    np.testing.assert_allclose(q.mean(), p.mean(), atol=0.15)
    np.testing.assert_allclose(np.mean(q.covariance(), axis=0), Exact(vae).covariance, atol=0.05)


def test_trained_with_a_diagonal_covariance_the_decoder_turns_until_the_posterior_is_diagonal(x):
    """A free decoder pays no price for it: Lucas et al. 2019, "Don't blame the ELBO!"."""
    vae = trained(make_vae(posteriors.MultivariateNormalDiag, objective=objectives.ELBO(num_samples=4)), x, 1500)
    assert mean_elbo(vae, x) == pytest.approx(maximum_likelihood(x), rel=0.005)
    covariance = Exact(vae).covariance
    assert abs(covariance[0, 1]) < 0.05 * math.sqrt(covariance[0, 0] * covariance[1, 1])


def test_a_diagonal_posterior_lacks_the_kl_between_the_best_diagonal_and_the_exact_posterior(x):
    """For a decoder that cannot turn: 1/2 (sum_i log P_ii - log det P), P the precision of p(z|x)."""
    vae = make_vae(posteriors.MultivariateNormalDiag)
    exact = give_weights(vae, exact_posterior=True)
    q = vae.encode(x)
    elbo = exact.expected_log_likelihood(x, q) - np.asarray(vae.infer(x, 1, seed=0).kl)
    gap = 0.5 * (np.log(np.diag(exact.precision)).sum() - np.linalg.slogdet(exact.precision)[1])
    assert gap > 0.1
    np.testing.assert_allclose(exact.log_prob(x) - elbo, gap, rtol=1e-3)
    assert exact.log_prob(x).mean() - mean_elbo(vae, x, 20000) == pytest.approx(gap, abs=0.02)
    kl = tfd.kl_divergence(
        tfd.MultivariateNormalTriL(q.mean(), tf.linalg.diag(q.stddev())), _float32(exact.posterior(x))
    )
    np.testing.assert_allclose(kl, gap, rtol=1e-3)


def test_any_other_diagonal_is_worse(x):
    vae = make_vae(posteriors.MultivariateNormalDiag)
    exact = give_weights(vae, exact_posterior=True)
    best = exact.expected_log_likelihood(x, vae.encode(x)) - np.asarray(vae.infer(x, 1, seed=0).kl)
    bias = vae.encoder.posterior.projection.bias
    at_best = np.asarray(bias)
    for i in range(2 * L):
        for step in (-0.2, 0.2):
            bias.assign(at_best + step * np.eye(2 * L)[i])
            other = exact.expected_log_likelihood(x, vae.encode(x)) - np.asarray(vae.infer(x, 1, seed=0).kl)
            assert np.all(other < best)


def test_with_the_exact_posterior_every_draw_gives_log_p(x):
    """log p(x|z) + log p(z) - log p(z|x) = log p(x) for every z: no variance, and all bounds agree."""
    vae = make_vae()
    exact = give_weights(vae, exact_posterior=True)
    log_weights = np.asarray(vae.infer(x, 7, seed=0).log_weights)
    np.testing.assert_allclose(log_weights, np.tile(exact.log_prob(x), (7, 1)), atol=2e-3)
    np.testing.assert_allclose(vae.log_prob(x, num_samples=3), exact.log_prob(x), atol=2e-3)


@pytest.mark.parametrize(("estimator", "is_silent"), [("iwae", False), ("stl", True), ("dreg", True)])
def test_with_the_exact_posterior_stl_and_dreg_leave_the_encoder_alone(x, estimator, is_silent):
    vae = make_vae(objective=objectives.ImportanceWeighted(3, estimator))
    give_weights(vae, exact_posterior=True)
    with tf.GradientTape() as tape:
        loss, _ = vae.objective(vae.infer(x, 3, seed=0, training=True), tf.constant(0))
    gradients = tape.gradient(loss, vae.encoder.trainable_variables)
    largest = max(float(tf.reduce_max(tf.abs(g))) for g in gradients)
    assert largest < 1e-4 if is_silent else largest > 1e-2


def test_first_derivation_log_p_is_the_elbo_plus_the_kl_to_the_true_posterior(x):
    """log p(x) = ELBO + KL(q(z|x) || p(z|x)), for any q."""
    vae = make_vae()
    exact = give_weights(vae, exact_posterior=False)
    q = vae.encode(x)
    elbo = exact.expected_log_likelihood(x, q) - np.asarray(vae.infer(x, 1, seed=0).kl)
    kl = tfd.kl_divergence(_float64(q), exact.posterior(x))
    np.testing.assert_allclose(elbo + kl, exact.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(np.mean(vae.infer(x, 4000, seed=1).elbo), np.mean(elbo), rtol=0.01)


def test_second_derivation_jensens_gap(x):
    """log E_q[w] >= E_q[log w], w = p(x, z) / q(z|x): the left side is log p(x), the right side the ELBO."""
    vae = make_vae(posteriors.MultivariateNormalDiag)
    exact = give_weights(vae, exact_posterior=True)
    log_weights = np.asarray(vae.infer(x[:64], 20000, seed=1).log_weights, "float64")
    left = np.log(np.mean(np.exp(log_weights), axis=0))
    right = log_weights.mean(axis=0)
    np.testing.assert_allclose(left, exact.log_prob(x[:64]), atol=0.05)
    kl = tfd.kl_divergence(_float64(vae.encode(x[:64])), exact.posterior(x[:64]))
    np.testing.assert_allclose(left - right, kl, atol=0.05)
    assert np.all(left > right)


def test_third_derivation_energy_and_entropy(x):
    """ELBO = E_q[log p(x, z)] + H(q): what is left of KL(q(z|x) || p(z|x)) >= 0 without the unknown log p(x)."""
    vae = make_vae()
    exact = give_weights(vae, exact_posterior=False)
    q = _float64(vae.encode(x))
    mean, covariance = np.asarray(q.mean()), np.asarray(q.covariance())
    squares = np.sum(mean**2, axis=1) + np.trace(covariance, axis1=1, axis2=2)
    energy = exact.expected_log_likelihood(x, q) - 0.5 * squares - 0.5 * L * math.log(2 * math.pi)
    elbo = exact.expected_log_likelihood(x, q) - np.asarray(vae.infer(x, 1, seed=0).kl)
    np.testing.assert_allclose(energy + np.asarray(q.entropy()), elbo, rtol=1e-4)
    assert np.all(elbo <= exact.log_prob(x) + 1e-4)


def test_importance_weighted_bounds_rise_with_k_to_log_p(x):
    vae = make_vae(posteriors.MultivariateNormalDiag)
    exact = give_weights(vae, exact_posterior=True).log_prob(x).mean()
    log_weights = tf.cast(vae.infer(x, 4096, seed=1).log_weights, tf.float64)
    bounds = []
    for k in (1, 2, 4, 16, 64, 1024):
        groups = tf.reshape(log_weights, [-1, k, N])
        bounds.append(float(tf.reduce_mean(tf.reduce_logsumexp(groups, axis=1)) - math.log(k)))
    assert bounds == sorted(bounds)
    assert bounds[0] == pytest.approx(mean_elbo(vae, x), abs=0.02)
    assert bounds[-1] == pytest.approx(exact, abs=0.005)
    assert np.mean(vae.log_prob(x, num_samples=500)) == pytest.approx(exact, abs=0.02)


def test_kl_is_not_symmetric_and_vanishes_only_for_equals():
    p, q = tfd.MultivariateNormalDiag([0.0], [1.0]), tfd.MultivariateNormalDiag([1.0], [3.0])
    forth, back = float(tfd.kl_divergence(q, p)), float(tfd.kl_divergence(p, q))
    assert forth == pytest.approx(0.5 * (9 + 1 - 1 - math.log(9)))
    assert back == pytest.approx(0.5 * (1 / 9 + 1 / 9 - 1 + math.log(9)))
    assert forth > 3 * back > 0
    assert float(tfd.kl_divergence(p, p)) == 0


def test_kl_is_infinite_where_the_supports_overlap_in_part():
    q, p = tfd.Uniform(0.0, 1.0), tfd.Uniform(0.5, 2.0)
    z = q.sample(100, seed=[1, 2])
    assert np.mean(q.log_prob(z) - p.log_prob(z)) == math.inf
    with pytest.raises(ValueError, match="infinite"):
        kv.VAE(
            kv.Encoder(networks.mlp([]), posteriors.Kumaraswamy(L)),
            kv.Decoder(networks.mlp([]), likelihoods.Normal((D,))),
            priors.Uniform(L, low=0.5, high=2.0),
        )


def test_support_is_necessary_and_not_sufficient():
    """KL(Cauchy || normal): the integral over [-T, T] grows like T / pi, although both live on the whole line."""
    q, p = tfd.Cauchy(np.float64(0), 1.0), tfd.Normal(np.float64(0), 1.0)

    def integral(limit):
        z = np.linspace(-limit, limit, 2_000_001)
        log_q = np.asarray(q.log_prob(z))
        return np.trapezoid(np.exp(log_q) * (log_q - np.asarray(p.log_prob(z))), z)

    values = [integral(limit) for limit in (100.0, 200.0, 400.0)]
    assert values[1] - values[0] == pytest.approx(100 / math.pi, rel=0.05)
    assert values[2] - values[1] == pytest.approx(200 / math.pi, rel=0.05)


def _float32(p):
    return tfd.MultivariateNormalTriL(tf.cast(p.loc, tf.float32), tf.cast(p.scale.to_dense(), tf.float32))


def _float64(q):
    return tfd.MultivariateNormalTriL(tf.cast(q.loc, tf.float64), tf.cast(q.scale.to_dense(), tf.float64))
