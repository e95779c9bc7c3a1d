"""Posteriors against closed forms, numerical integration and samples."""

import functools
import math

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, stats
from sklearn.datasets import load_digits
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import flows, likelihoods, networks, objectives, posteriors, priors, terms
from keras_vae.distributions import operators, support
from keras_vae.distributions.kumaraswamy import IntervalKumaraswamy
from keras_vae.distributions.operators import Orthogonal
from keras_vae.distributions.support import Support
from keras_vae.posteriors.gaussian import PACE
from keras_vae.posteriors.posterior import fitting

L = parts.L

GAUSSIANS = {name: parts.POSTERIORS[name] for name in ("diag", "tril", "eigen", "low_rank")}
ALL = {name: make for name, make in parts.POSTERIORS.items() if name not in parts.DISCRETE}
PRIORS = {name: make for name, make in parts.PRIORS.items() if name not in (*parts.DISCRETE_PRIORS, "conditional")}
# KL(q || p) in closed form, with its parts per dimension where that is "split"; everything else is sampled.
EXACT = {
    ("diag", "standard_normal"): "split",
    ("tril", "standard_normal"): "whole",
    ("eigen", "standard_normal"): "whole",
    ("low_rank", "standard_normal"): "whole",
    ("kumaraswamy", "uniform"): "split",
}


def random_q(make, batch=2, dim=L, seed=0):
    """q from parameters drawn at random: nothing special about it."""
    posterior = make(dim)
    params = tf.random.stateless_normal([batch, posterior.params_size], [seed, 1])
    return posterior, posterior.distribution(params)


def moments(q):
    return np.asarray(q.mean(), "float64"), np.asarray(q.covariance(), "float64")


def gaussian_kl(q, p):
    """KL of multivariate normals in float64, from means and covariances: 1/2 (tr + Mahalanobis - L - log det ratio)."""
    (mean_q, cov_q), (mean_p, cov_p) = moments(q), moments(p)
    inverse, difference = np.linalg.inv(cov_p), mean_q - mean_p
    trace = np.trace(inverse @ cov_q, axis1=-2, axis2=-1)
    distance = np.einsum("...i,...ij,...j", difference, inverse, difference)
    ratio = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return 0.5 * (trace + distance - mean_q.shape[-1] - ratio)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_the_covariance_of_samples_is_that_of_the_distribution_and_full(name):
    _, q = random_q(GAUSSIANS[name])
    draws = q.sample(60_000, seed=[0, 0]).numpy()
    mean, covariance = moments(q)
    scale = np.sqrt(np.einsum("bii->bi", covariance))
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / scale, 0.0, atol=0.02)
    for b in range(len(covariance)):
        empirical = np.cov(draws[:, b].T) / np.outer(scale[b], scale[b])
        np.testing.assert_allclose(empirical, correlation[b], atol=0.03)
    off_diagonal = np.abs(correlation[:, ~np.eye(L, dtype=bool)])
    if name == "diag":
        np.testing.assert_array_equal(off_diagonal, 0.0)
    else:
        assert off_diagonal.min() > 1e-4


@pytest.mark.parametrize("name", GAUSSIANS)
def test_log_density_against_scipy(name):
    _, q = random_q(GAUSSIANS[name])
    z, log_q = q.experimental_sample_and_log_prob(5, seed=[0, 0])
    np.testing.assert_allclose(q.log_prob(z), log_q, rtol=2e-4, atol=2e-4)
    for b, (mean, covariance) in enumerate(zip(*moments(q), strict=True)):
        expected = stats.multivariate_normal(mean, covariance).logpdf(z[:, b])
        np.testing.assert_allclose(log_q[:, b], expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_kl_of_gaussians_against_its_formula_in_float64(name):
    _, q = random_q(GAUSSIANS[name])
    for other in GAUSSIANS.values():
        _, p = random_q(other, seed=5)
        kl = tfd.kl_divergence(q, p)
        np.testing.assert_allclose(kl, gaussian_kl(q, p), rtol=1e-3)
        assert np.all(kl > 0.0)
    np.testing.assert_allclose(tfd.kl_divergence(q, q), 0.0, atol=2e-5)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_kl_to_the_standard_normal_against_samples(name):
    _, q = random_q(GAUSSIANS[name])
    p = priors.StandardNormal(L).distribution()
    z, log_q = q.experimental_sample_and_log_prob(20_000, seed=[0, 0])
    group = terms.latent_group(q, p, z, log_q)
    log_ratio = (group.log_q - group.log_p).numpy()
    error = log_ratio.std(axis=0) / math.sqrt(len(log_ratio))
    assert group.kl_is_exact
    assert np.all(np.abs(log_ratio.mean(axis=0) - group.kl) < 4.0 * error)


def test_diagonal_kl_is_half_the_sum_of_variance_plus_mean_squared_minus_one_minus_log_variance():
    _, q = random_q(GAUSSIANS["diag"])
    mean, variance = (np.asarray(a, "float64") for a in (q.mean(), q.variance()))
    per_dim = 0.5 * (variance + mean**2 - 1.0 - np.log(variance))
    group = terms.latent_group(q, priors.StandardNormal(L).distribution(), q.mean()[None])
    np.testing.assert_allclose(group.kl_per_dim, per_dim, rtol=1e-4)
    np.testing.assert_allclose(group.kl, per_dim.sum(axis=-1), rtol=1e-4)
    assert np.all(-per_dim.sum(axis=-1) < 0.0)  # the lecture's formula, without its minus: not a KL


def fits(name, prior):
    """Whether the model lets them meet: elsewhere the KL is infinite, or there is no density to mix."""
    return (prior != "uniform" or name == "kumaraswamy") and (prior != "vamp" or name != "deterministic")


@pytest.mark.parametrize("name", ALL)
def test_which_kl_are_exact(name):
    encoder = kv.Encoder(kv.networks.mlp([]), ALL[name]())
    encoder.build((None, 4))
    q = encoder(tf.random.stateless_normal([2, 4], [0, 0]))
    z, log_q = q.experimental_sample_and_log_prob(2, seed=[0, 0])
    for prior in (prior for prior in PRIORS if fits(name, prior)):
        p = PRIORS[prior]()
        p.build((None, 4))
        group = terms.latent_group(q, p.distribution(encoder=encoder), z, log_q, encoder.posterior.has_density)
        exact = EXACT.get((name, prior))
        assert group.kl_is_exact == (exact is not None)
        assert (group.kl_per_dim is not None) == (exact == "split")
        if exact is None and name != "deterministic":
            np.testing.assert_allclose(group.kl, np.mean(group.log_q - group.log_p, axis=0), rtol=1e-5)


def test_parameters_of_zero_give_the_standard_normal():
    for make in GAUSSIANS.values():
        posterior = make()
        q = posterior.distribution(tf.zeros([1, posterior.params_size]))
        np.testing.assert_allclose(q.mean(), 0.0)
        np.testing.assert_allclose(q.covariance()[0], np.eye(L), atol=1e-4)


# Householder reflections.


@pytest.mark.parametrize("dim", [2, 7])
def test_the_product_of_reflections_is_the_composition_of_tf_operators(dim):
    raw = tf.random.stateless_normal([4, dim * (dim - 1) // 2], [0, 0])
    q = operators.householder_product(raw)
    axes = np.zeros((4, dim, dim - 1), "float32")
    axes[:, 1:] = tfp.math.fill_triangular(raw)
    axes += np.eye(dim, dim - 1)
    reflections = [tf.linalg.LinearOperatorHouseholder(axes[..., i]) for i in range(dim - 1)]
    np.testing.assert_allclose(q, tf.linalg.LinearOperatorComposition(reflections).to_dense(), atol=1e-5)
    np.testing.assert_allclose(tf.matmul(q, q, transpose_a=True), np.broadcast_to(np.eye(dim), q.shape), atol=1e-5)


def test_the_operator_solves_and_has_determinant_one():
    matrix = operators.householder_product(tf.random.stateless_normal([2, 3], [0, 0]))
    operator, right = Orthogonal(matrix), tf.random.stateless_normal([2, 3, 4], [0, 1])
    dense = tf.linalg.LinearOperatorFullMatrix(matrix)
    np.testing.assert_allclose(operator.log_abs_determinant(), dense.log_abs_determinant(), atol=1e-5)
    for adjoint in (False, True):
        expected = dense.solve(right, adjoint=adjoint)
        np.testing.assert_allclose(operator.solve(right, adjoint=adjoint), expected, atol=1e-5)


def test_eigen_reaches_any_covariance():
    rng = np.random.default_rng(0)
    target = np.cov(rng.normal(size=(4, 9)) * [[1.0], [2.0], [0.5], [1.5]])
    eigenvalues, vectors = np.linalg.eigh(target)
    raw_scale = np.log(np.expm1(np.sqrt(eigenvalues) - 1e-5)) - math.log(math.e - 1.0)
    raw_axes = tfp.math.fill_triangular_inverse(np.tril(reflection_axes(vectors)[1:])) / PACE
    params = np.concatenate([np.zeros(4), raw_scale, raw_axes])[None].astype("float32")
    q = posteriors.MultivariateNormalEigen(4).distribution(tf.constant(params))
    np.testing.assert_allclose(q.covariance()[0], target, rtol=1e-4, atol=1e-4)


def reflection_axes(matrix):
    """The axes of the Householder QR decomposition of an orthogonal matrix, each scaled to one at its first entry."""
    rest, dim = matrix.copy(), len(matrix)
    axes = np.zeros((dim, dim - 1))
    for i in range(dim - 1):
        axis = np.zeros(dim)
        axis[i:] = rest[i:, i]
        axis[i] += math.copysign(np.linalg.norm(axis), axis[i])
        axis /= axis[i]
        axes[:, i] = axis
        rest -= 2.0 * np.outer(axis, axis @ rest) / (axis @ axis)
    return axes


def test_low_rank_scale_is_diagonal_plus_low_rank():
    posterior = posteriors.MultivariateNormalLowRank(6, rank=2)
    q = posterior.distribution(10.0 * tf.random.stateless_normal([1, posterior.params_size], [0, 0]))
    surplus = q.scale.to_dense()[0].numpy() - np.diag(q.scale.base_operator.diag_part()[0].numpy())
    singular = np.linalg.svd(surplus, compute_uv=False)
    assert singular[1] > 0.01 > 1e-4 > singular[2]


# Kumaraswamy.

CONCENTRATIONS = [(1.0, 1.0), (2.0, 2.0), (1.3, 7.0), (6.0, 40.0), (15.0, 1.2)]


def unit_density(a, b):
    return lambda x: a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)


@pytest.mark.parametrize(("a", "b"), CONCENTRATIONS)
def test_kumaraswamy_against_integration(a, b):
    low, high = -1.0, 2.0
    q, density = IntervalKumaraswamy(a, b, low, high), unit_density(a, b)

    def expect(f):
        return integrate.quad(lambda x: density(x) * f(low + (high - low) * x), 0.0, 1.0)[0]

    z = np.linspace(low + 0.01, high - 0.01, 50)
    expected = np.log(density((z - low) / (high - low)) / (high - low))
    np.testing.assert_allclose(q.log_prob(z.astype("float32")), expected, rtol=1e-3, atol=1e-4)
    mean = expect(lambda z: z)
    np.testing.assert_allclose(q.mean(), mean, rtol=1e-4)
    np.testing.assert_allclose(q.variance(), expect(lambda z: (z - mean) ** 2), rtol=2e-3)
    entropy = -integrate.quad(
        lambda x: density(x) * math.log(density(x) / (high - low)) if density(x) > 0.0 else 0.0, 0.0, 1.0
    )[0]
    np.testing.assert_allclose(q.entropy(), entropy, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        tfd.kl_divergence(q, tfd.Uniform(low, high)), math.log(high - low) - entropy, rtol=2e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        tfd.kl_divergence(q, tfd.Uniform(-2.0, 4.0)), math.log(6.0) - entropy, rtol=2e-3, atol=1e-4
    )
    assert tfd.kl_divergence(q, tfd.Uniform(0.0, 2.0)) == math.inf


@pytest.mark.parametrize(("a", "b"), CONCENTRATIONS)
def test_kumaraswamy_samples_follow_its_distribution(a, b):
    x = IntervalKumaraswamy(a, b).sample(5000, seed=[0, 0]).numpy()
    assert stats.kstest(x, lambda x: 1 - (1 - x**a) ** b).pvalue > 1e-3


@pytest.mark.parametrize("a", [1.01, 100.0])
@pytest.mark.parametrize("b", [1.000001, 1e6])
def test_kumaraswamy_is_safe_at_its_extremes(a, b):
    variables = tf.constant([a, b])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        q = IntervalKumaraswamy(variables[0], variables[1], -1.0, 2.0)
        z, log_q = q.experimental_sample_and_log_prob(20_000, seed=[0, 0])
        kl = tfd.kl_divergence(q, tfd.Uniform(-1.0, 2.0))
        values = [tf.reduce_mean(z), tf.reduce_mean(log_q), kl, q.mean()]
    assert np.all((z > -1.0) & (z < 2.0))
    assert np.all(np.isfinite(log_q))
    assert np.all(np.isfinite(q.log_prob([-1.0, 2.0])))
    for value in values:
        assert np.isfinite(value)
        assert np.all(np.isfinite(tape.gradient(value, variables)))
    np.testing.assert_array_equal(q.log_prob([-1.01, 2.01, -1e30]), -math.inf)


def test_kumaraswamy_lives_on_its_interval():
    posterior, q = random_q(lambda dim: posteriors.Kumaraswamy(dim, low=5.0, high=6.0), batch=500)
    z = q.sample(100, seed=[0, 0])
    assert posterior.support == (5.0, 6.0)
    assert np.all((z >= 5.0) & (z <= 6.0))
    assert np.all(np.isfinite(priors.Uniform(L, 5.0, 6.0).distribution().log_prob(z)))
    np.testing.assert_allclose(posterior.point(q), q.mean(), rtol=1e-6)


# What a point mass reports.


def test_deterministic_has_neither_density_nor_kl():
    posterior, q = random_q(ALL["deterministic"])
    z, log_q = q.experimental_sample_and_log_prob(2, seed=[0, 0])
    group = terms.latent_group(q, priors.StandardNormal(L).distribution(), z, log_q, posterior.has_density)
    np.testing.assert_array_equal(z[0], z[1])
    np.testing.assert_array_equal(group.kl, [0.0, 0.0])
    assert group.log_q.shape == (2, 2)
    assert np.all(np.isnan(group.log_q))
    assert not group.kl_is_exact


# Every posterior.


@pytest.mark.parametrize("name", ALL)
def test_extreme_features_give_finite_numbers_and_gradients(name):
    posterior = ALL[name]()
    p = parts.prior_of(name).distribution()
    posterior.build((None, 5))
    for value in (0.0, 1e4, -1e4):
        with tf.GradientTape() as tape:
            q = posterior(tf.fill([2, 5], value))
            z, log_q = q.experimental_sample_and_log_prob(2, seed=[0, 0])
            loss = tf.reduce_mean(terms.latent_group(q, p, z, log_q).kl) + tf.reduce_mean(posterior.point(q))
        gradients = tape.gradient(loss, posterior.trainable_variables, unconnected_gradients="zero")
        assert np.isfinite(loss)
        assert np.all(np.isfinite(z))
        assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        ("kumaraswamy", False),
        ("iaf", False),
        pytest.param("eigen", True, marks=pytest.mark.slow),
        pytest.param("low_rank", True, marks=pytest.mark.slow),
    ],
)
def test_eager_and_compiled_agree(name, jit_compile):
    posterior = ALL[name]()
    posterior.build((None, 5))
    p = priors.StandardNormal(L).distribution()

    def numbers(features):
        q = posterior(features)
        z = posterior.point(q)[None]
        return z, q.log_prob(z), terms.latent_group(q, p, z).kl

    features = tf.random.stateless_normal([4, 5], [0, 0])
    compiled = tf.function(numbers, input_signature=[tf.TensorSpec([None, 5])], jit_compile=jit_compile)
    for got, expected in zip(compiled(features), numbers(features), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_shapes_dtype_and_point(name):
    keras.config.set_dtype_policy("mixed_float16")
    posterior = ALL[name]()
    q = posterior(tf.ones([4, 5], tf.float16))
    assert q.batch_shape == (4,)
    assert q.event_shape == (L,)
    assert q.dtype == tf.float32
    assert q.sample(2, seed=[0, 0]).shape == (2, 4, L)
    assert posterior.point(q).shape == (4, L)
    assert all(w.dtype == "float32" for w in posterior.weights)
    np.testing.assert_array_equal(posterior.point(posterior(tf.ones([4, 5]))), posterior.point(q))


# Of 16 dimensions, in the sizes that users get unless they ask for others.
STARTS = {
    **{name: parts.POSTERIORS[name] for name in ("diag", "tril", "eigen", "deterministic", "one_hot", "joint")},
    "low_rank": lambda dim: posteriors.MultivariateNormalLowRank(dim, rank=4),
    "iaf": lambda dim: flows.Flow(posteriors.MultivariateNormalTriL(dim), kind="iaf"),
    "coupling": lambda dim: flows.Flow(posteriors.MultivariateNormalEigen(dim), kind="coupling"),
    "kumaraswamy": lambda dim: posteriors.Kumaraswamy(dim, low=-math.sqrt(3), high=math.sqrt(3)),
    "quantized": lambda dim: posteriors.VectorQuantized(dim, grid=(2, 2), num_codes=32),
}
START_PRIORS = {
    "kumaraswamy": lambda dim: priors.Uniform(dim, low=-math.sqrt(3), high=math.sqrt(3)),
    "one_hot": priors.UniformOneHot,
    "joint": lambda dim: priors.JointPrior(priors.StandardNormal(1), priors.UniformOneHot(dim - 1)),
    "quantized": lambda dim: priors.AutoregressiveCodes(dim, grid=(2, 2), num_codes=32, units=16, num_layers=1),
}
START_OBJECTIVES = {"deterministic": objectives.Reconstruction(), "quantized": objectives.CommittedELBO()}
# Nats behind the diagonal one, in the mean of all steps and of the last quarter; (1, 0.5) where nothing is said. The
# codes of a quantized one cost 4 log 32 nats until their prior has learned.
ALLOWED = {"kumaraswamy": (2.0, 0.5), "quantized": (14.0, 7.0)}


def test_every_posterior_has_a_start():
    # What becomes of codes of the other kinds benchmarks/codes.py measures.
    assert set(STARTS) == set(parts.POSTERIORS) - (set(parts.CODES) - {"quantized"})


@pytest.fixture(scope="module")
def first_steps():
    """The ELBO in each quarter of the first 100 steps on digits, of a model with a posterior of 16 dimensions."""
    x = (load_digits().images[:1600, ..., None] > 8).astype("float32")

    @functools.cache
    def run(name):
        keras.utils.set_random_seed(0)
        prior = START_PRIORS.get(name, priors.StandardNormal)(16)
        vae = kv.VAE(
            kv.Encoder(networks.mlp([128]), STARTS[name](16)),
            kv.Decoder(networks.mlp([128]), likelihoods.Bernoulli((8, 8, 1))),
            prior,
            START_OBJECTIVES.get(name),
            seed=0,
        )
        vae.compile(keras.optimizers.Adam(1e-3))
        return vae.fit(x, batch_size=64, epochs=4, verbose=0).history["elbo"]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STARTS if name != "diag"])
def test_it_starts_as_the_diagonal_one_and_is_not_held_there(name, first_steps):
    diagonal, found = first_steps("diag"), first_steps(name)
    whole, last = ALLOWED.get(name, (1.0, 0.5))
    assert np.mean(found) > np.mean(diagonal) - whole
    assert found[-1] > diagonal[-1] - last


@pytest.mark.parametrize("name", ALL)
def test_place_and_scale_start_as_widely_as_those_of_a_diagonal_posterior(name):
    """Whatever other parameters a posterior has: Glorot's formula would make them all smaller."""
    posterior = STARTS[name](16)
    posterior.build((None, 64))
    kernel = np.asarray(posterior.projection.kernel)
    count = min(kernel.shape[1], 2 * 16)
    whole = np.abs(kernel[:, posterior.initial_factors == 1.0])
    assert whole.shape[1] >= count
    limit = math.sqrt(6 / (64 + count))
    assert 0.98 * limit < whole.max() <= limit


@pytest.mark.parametrize("logit", [-2.3, -1.0, 0.0, 1.0, 1.9])
@pytest.mark.parametrize("log_width", [-5.0, -2.0, -1.0, 0.0])
def test_kumaraswamy_has_its_place_and_width_where_the_projection_says(logit, log_width):
    posterior = posteriors.Kumaraswamy(1, low=-1.0, high=3.0)
    q = posterior.distribution(tf.constant([[logit, log_width]]))
    inner = q.distribution
    assert 1.0 <= inner.concentration1.numpy() <= 102.0
    assert 1.0 <= inner.concentration0.numpy() <= 1e6
    u = (q.sample(4001, seed=[0, 0]).numpy() + 1.0) / 4.0
    if inner.concentration0.numpy() > 1.05:
        expected = 1.0 / (1.0 + math.exp(-4.0 * math.tanh(1.7 * logit / 4.0)))
        assert np.mean(u < expected) == pytest.approx(0.5, abs=0.04)
    wider = posterior.distribution(tf.constant([[logit, log_width + 1.0]])).stddev()
    assert np.all(wider > q.stddev())


def test_a_wide_kumaraswamy_is_uniform():
    q = posteriors.Kumaraswamy(1).distribution(tf.constant([[0.0, 20.0]]))
    assert tfd.kl_divergence(q.distribution, tfd.Uniform(0.0, 1.0)).numpy() < 5e-3


@pytest.mark.parametrize("name", GAUSSIANS)
def test_it_starts_with_a_covariance_near_a_diagonal_one_that_has_a_gradient(name):
    keras.utils.set_random_seed(0)
    posterior = GAUSSIANS[name](8)
    posterior.build((None, 64))
    features = tf.random.stateless_normal([256, 64], [0, 1])
    with tf.GradientTape() as tape:
        q = posterior(features)
        covariance = q.covariance()
        # That of the likelihood of a decoder that mixes the dimensions.
        loss = tf.reduce_mean(tf.reduce_sum(covariance[:, :1, 1:], axis=[1, 2]))
    sigma = tf.sqrt(tf.linalg.diag_part(covariance))
    correlation = np.abs(covariance / (sigma[..., None] * sigma[:, None])) - np.eye(8)
    assert correlation.mean() < 0.05
    gradient = np.asarray(tape.gradient(loss, posterior.projection.kernel))
    if name != "diag":
        extra = np.arange(len(gradient[0])) >= 16 if name == "low_rank" else posterior.initial_factors == 0
        assert np.abs(gradient[:, extra]).max() > 1e-4


def test_which_posteriors_fit_a_support():
    bounded = fitting(Support(-1.0, 1.0))
    assert "Kumaraswamy(latent_dim, low=-1, high=1)" in bounded
    assert not any("Normal" in call for call in bounded)
    assert "Kumaraswamy(latent_dim, low, high)" in fitting(Support(0.0, math.inf))
    everywhere = " ".join(fitting(support.REAL))
    for name in ("MultivariateNormalDiag(latent_dim)", "MultivariateNormalLowRank(latent_dim, rank)", "Flow(base"):
        assert name in everywhere


def test_bad_arguments_are_named():
    for make, message in [
        (lambda: posteriors.MultivariateNormalLowRank(3, 0), "rank"),
        (lambda: posteriors.MultivariateNormalLowRank(3, 4), "rank"),
        (lambda: posteriors.Kumaraswamy(3, 1.0, 1.0), "low < high"),
        (lambda: posteriors.Kumaraswamy(3, 0.0, math.inf), "finite"),
        (lambda: posteriors.MultivariateNormalEigen(0), "latent_dim"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
