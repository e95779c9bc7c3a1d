"""Objectives of the aggregate posterior, against enumeration, closed forms and numpy."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation.aggregate import aggregate_posterior
from keras_vae.models.factor_vae import permute_dimensions
from keras_vae.objectives import regularizer, total_correlation
from keras_vae.schedules import Linear
from keras_vae.terms import Terms, latent_group

RNG = np.random.default_rng(0)
STEP = tf.constant(3, tf.int64)
COVARIANCE = np.array([[4.0, 3.2], [3.2, 4.0]])
# q(z|x) = N(x, I) makes q(z) = N(0, COVARIANCE + I), whose correlation is 3.2 / 5.
TC = -0.5 * math.log(1.0 - (3.2 / 5.0) ** 2)


def terms_of(q, num_samples=1, p=None, weight=None):
    p = p or tfd.MultivariateNormalDiag(tf.zeros(q.event_shape[0]), tf.ones(q.event_shape[0]))
    z = q.sample(num_samples, seed=[0, 1])
    likelihood = tfd.Independent(tfd.Normal(z, 1.0), 1)
    return Terms(likelihood.log_prob(tf.zeros_like(z)), [latent_group(q, p, z)], likelihood, weight)


def gaussians(n, dims=2):
    return tfd.MultivariateNormalDiag(
        RNG.standard_normal((n, dims)).astype("float32"), RNG.uniform(0.3, 1.5, (n, dims)).astype("float32")
    )


def test_the_densities_of_a_minibatch_are_unbiased_over_all_minibatches():
    n, size = 6, 3
    q = gaussians(n)
    z = q.sample(seed=[0, 0])
    joint = tf.reduce_mean(q.prob(z[:, None]), axis=1)
    single = tfd.Normal(q.loc, q.stddev())
    dims = tf.reduce_mean(single.prob(z[:, None]), axis=1)
    batches = list(itertools.combinations(range(n), size))
    sums = np.zeros((2, n)), np.zeros((2, n, 2))
    for batch in batches:
        rows = list(batch)
        part = tfd.MultivariateNormalDiag(tf.gather(q.loc, rows), tf.gather(q.stddev(), rows))
        for total, found in zip(sums, total_correlation.log_aggregate(part, tf.gather(z, rows)[None], n), strict=True):
            total[0, rows] += np.exp(found[0])
            total[1, rows] += 1
    np.testing.assert_allclose(sums[0][0] / sums[0][1], joint, rtol=1e-5)
    np.testing.assert_allclose(sums[1][0] / sums[1][1], dims, rtol=1e-5)


def test_a_batch_of_all_examples_gives_the_mixture_itself():
    q = gaussians(5, 3)
    z = q.sample(2, seed=[0, 0])
    joint, dims = total_correlation.log_aggregate(q, z, 5)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(5)), q)
    np.testing.assert_allclose(joint, mixture.log_prob(z), rtol=1e-4, atol=1e-5)
    for i in range(3):
        one = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(5)), tfd.Normal(q.loc[:, i], q.stddev()[:, i]))
        np.testing.assert_allclose(dims[..., i], one.log_prob(z[..., i]), rtol=1e-4, atol=1e-5)
    # A last batch may be larger than what was said, or hold a single example.
    np.testing.assert_allclose(total_correlation.log_aggregate(q, z, 2)[0], joint)
    alone = tfd.MultivariateNormalDiag(q.loc[:1], q.stddev()[:1])
    assert np.isfinite(total_correlation.log_aggregate(alone, z[:, :1], 1)[0]).all()


def identity_vae(objective=None, kind=kv.VAE, **options):
    """q(z|x) = N(x, I) for data in the plane."""
    vae = kind(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((2,), scale=1.0)),
        priors.StandardNormal(2),
        objective,
        seed=0,
        **options,
    )
    vae.build()
    kernel = np.zeros((2, 4), "float32")
    kernel[0, 0] = kernel[1, 1] = 1.0
    vae.encoder.posterior.projection.set_weights([kernel, np.zeros(4, "float32")])
    return vae


@pytest.fixture(scope="module")
def plane():
    return np.random.default_rng(1).multivariate_normal([0, 0], COVARIANCE, 3000).astype("float32")


def test_the_total_correlation_of_a_correlated_aggregate_posterior(plane):
    vae = identity_vae()
    found = aggregate_posterior(vae, plane, num_examples=len(plane))
    assert found.total_correlation == pytest.approx(TC, abs=0.03)
    assert 0 < found.total_correlation_error < 0.02
    # KL(N(0, S) || N(0, I)) and the information of a Gaussian channel.
    determinant = np.linalg.det(COVARIANCE + np.eye(2))
    assert found.marginal_kl == pytest.approx(0.5 * (10.0 - 2.0 - math.log(determinant)), abs=0.15)
    assert found.mutual_information == pytest.approx(0.5 * math.log(determinant), abs=0.05)

    def estimated(rows):
        terms = vae.infer(rows, seed=7)
        losses = [float(objectives.TotalCorrelation(len(plane), weight)(terms, STEP)[0]) for weight in (1.0, 3.0)]
        assert losses[0] == pytest.approx(-float(terms.mean(terms.elbo)), rel=1e-6)
        return float(losses[1] - losses[0]) / 2.0

    assert estimated(plane) == pytest.approx(TC, abs=0.05)
    assert np.mean([estimated(rows) for rows in np.split(plane, 10)]) == pytest.approx(TC, abs=0.1)


def test_a_full_covariance_is_understood():
    factors = np.tril(RNG.standard_normal((4, 2, 2))).astype("float32") + 2 * np.eye(2, dtype="float32")
    q = tfd.MultivariateNormalTriL(RNG.standard_normal((4, 2)).astype("float32"), factors)
    z = q.sample(1, seed=[0, 0])
    joint, dims = total_correlation.log_aggregate(q, z, 4)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(4)), q)
    np.testing.assert_allclose(joint, mixture.log_prob(z), rtol=1e-4, atol=1e-5)
    scale = np.sqrt(np.sum(factors**2, axis=-1))
    for i in range(2):
        one = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(4)), tfd.Normal(q.mean()[:, i], scale[:, i]))
        np.testing.assert_allclose(dims[..., i], one.log_prob(z[..., i]), rtol=1e-4, atol=1e-5)


def test_the_three_parts_of_the_kl_make_up_the_whole():
    terms = terms_of(gaussians(8, 3), num_samples=2)
    objective = objectives.TotalCorrelation(50, 2.0, information_weight=2.0, marginal_weight=2.0, num_samples=2)
    sampled = tf.reduce_mean(terms.groups[0].log_q - terms.groups[0].log_p)
    np.testing.assert_allclose(objective(terms, STEP)[0], sampled - tf.reduce_mean(terms.elbo), rtol=1e-4)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_dip_penalises_the_covariance(kind):
    weight = np.array([1.0, 2.0, 0.0, 1.0, 3.0], "float32")
    q = gaussians(5, 3)
    terms = terms_of(q, weight=tf.constant(weight))
    loss, extra = objectives.DIP(kind, 2.0)(terms, STEP)
    covariance = np.cov(q.loc.numpy(), rowvar=False, aweights=weight, ddof=0)
    if kind == "II":
        covariance = covariance + np.diag(np.average(q.variance(), axis=0, weights=weight))
    diagonal = np.diag(covariance)
    expected = 2.0 * (np.sum(covariance**2) - np.sum(diagonal**2))
    expected += (20.0 if kind == "I" else 2.0) * np.sum((diagonal - 1) ** 2)
    np.testing.assert_allclose(extra["covariance_penalty"], expected, rtol=1e-4)
    np.testing.assert_allclose(loss, expected - terms.mean(terms.elbo), rtol=1e-4)


def test_dip_of_a_full_covariance_keeps_the_correlations():
    matrix = np.array([[1.0, 0.0], [0.6, 0.8]], "float32")
    q = tfd.MultivariateNormalTriL(tf.zeros([4, 2]), tf.broadcast_to(matrix, [4, 2, 2]))
    _, extra = objectives.DIP("II", 1.0)(terms_of(q), STEP)
    np.testing.assert_allclose(extra["covariance_penalty"], 2 * 0.6**2, rtol=1e-4)


def test_the_mmd_of_shifted_gaussians_has_a_closed_form():
    """E exp(-|x - y|^2 / 2 L) for x ~ N(a, I), y ~ N(0, I) is (1 + 2/L)^(-L/2) exp(-|a|^2 / (2 L + 4))."""
    shift, dims, n = np.array([2.0, -1.0, 0.0]), 3, 1500
    x = (RNG.standard_normal((n, dims)) + shift).astype("float32")
    y = RNG.standard_normal((n, dims)).astype("float32")
    found = objectives.MMD(kernel="gaussian").squared_distance(tf.constant(x), tf.constant(y))
    expected = 2 * (1 + 2 / dims) ** (-dims / 2) * (1 - math.exp(-np.sum(shift**2) / (2 * dims + 4)))
    assert float(found) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("kernel", objectives.MMD.KERNELS)
def test_mmd_is_unbiased_and_zero_between_equals(kernel):
    objective = objectives.MMD(3.0, 0.5, kernel)
    values = []
    for _ in range(200):
        x, y = RNG.standard_normal((2, 8, 2)).astype("float32")
        values.append(float(objective.squared_distance(tf.constant(x), tf.constant(y))))
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0 < max(values)
    terms = terms_of(gaussians(8))
    loss, extra = objective(terms, STEP)
    expected = 3.0 * extra["mmd"] + 0.5 * terms.mean(terms.kl) - terms.mean(terms.log_likelihood[0])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(objective(terms, STEP)[0], loss)
    # A closed form has no draws.
    assert (objective(terms, STEP + 1)[0] == loss) == (kernel == "gaussian")
    assert float(objective.squared_distance(tf.zeros([1, 2]), tf.ones([1, 2]))) == 0.0


def test_the_mmd_of_gaussian_posteriors_is_the_mean_over_their_draws():
    objective, terms = objectives.MMD(1.0, kernel="gaussian"), terms_of(gaussians(5, 3))
    q, p = terms.groups[0].q, terms.groups[0].p
    z, prior = q.sample(4000, seed=[1, 2]), p.sample((4000, 5), seed=[3, 4])
    draws = [float(objective.squared_distance(*pair)) for pair in zip(z, prior, strict=True)]
    error = np.std(draws) / math.sqrt(len(draws))
    assert float(objective(terms, STEP)[1]["mmd"]) == pytest.approx(np.mean(draws), abs=4 * error)
    # Of posteriors that are the prior it is zero, with a gradient of zero: what draws give is all noise.
    loc = tf.Variable(tf.zeros([5, 3]))
    gradients = []
    for kernel in objectives.MMD.KERNELS:
        with tf.GradientTape() as tape:
            mmd = objectives.MMD(1.0, kernel=kernel)(terms_of(tfd.MultivariateNormalDiag(loc, tf.ones([5, 3]))), STEP)[
                1
            ]["mmd"]
        gradients.append(float(tf.norm(tape.gradient(mmd, loc))))
    assert gradients[0] > 1e-2 and gradients[1] < 1e-6


def test_weights_may_follow_a_schedule():
    terms = terms_of(gaussians(6))
    ramp = Linear(6, 1.0, 5.0)
    for of in (
        lambda weight: objectives.TotalCorrelation(20, weight),
        lambda weight: objectives.DIP("I", weight, weight),
        lambda weight: objectives.MMD(weight, weight),
    ):
        np.testing.assert_allclose(of(ramp)(terms, STEP)[0], of(3.0)(terms, STEP)[0], rtol=1e-6)


def test_what_has_no_marginals_is_refused():
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros([4, 2])), tfd.MultivariateNormalDiag(tf.zeros([4, 2, 2]))
    )
    with pytest.raises(ValueError, match="no closed form"):
        regularizer.require_marginals(mixture)


# --- FactorVAE


def test_permuted_dimensions_keep_their_values_and_lose_their_company():
    z = tf.constant(RNG.multivariate_normal([0, 0], [[1, 0.95], [0.95, 1]], 2000).astype("float32"))
    shuffled = permute_dimensions(z, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(z, axis=0))
    assert abs(np.corrcoef(shuffled, rowvar=False)[0, 1]) < 0.1


def factor_vae(**options):
    defaults = {"tc_weight": 2.0, "discriminator_units": (32, 32), "discriminator_learning_rate": 3e-3}
    return identity_vae(kind=kv.FactorVAE, **{**defaults, **options})


def test_the_discriminator_learns_the_total_correlation(plane):
    vae = factor_vae()
    vae.compile(keras.optimizers.SGD(0.0))
    vae.adapted.assign(1)
    history = vae.fit(plane, batch_size=300, epochs=20, verbose=0).history
    assert history["discriminator_loss"][-1] < math.log(2) - 0.02
    z = vae.encode(plane).sample(seed=[0, 0])
    assert float(tf.reduce_mean(vae._log_ratio(z))) == pytest.approx(TC, abs=0.1)
    # SGD with a rate of zero leaves the model alone, and only the discriminator has learned.
    assert vae.encoder.posterior.projection.kernel[0, 0] == 1.0
    assert not {id(v) for v in vae.discriminator.variables} & {id(v) for v in vae.trainable_variables}
    found = vae.evaluate(plane, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(-found["elbo"] + 2.0 * TC, abs=0.3)


def test_a_loaded_factor_vae_goes_on_as_if_nothing_had_happened(plane, tmp_path):
    x = plane[:128]

    def batches():
        return tf.data.Dataset.from_tensor_slices(x).batch(32)

    vae = factor_vae()
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(batches(), epochs=2, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, kv.FactorVAE) and loaded.tc_weight == 2.0
    for model in (vae, loaded):
        model.fit(batches(), epochs=2, verbose=0)
    for a, b in zip(vae.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    with pytest.raises(ValueError, match="discriminator_learning_rate"):
        factor_vae(discriminator_learning_rate=0)
    # A copy by weights alone, as a checkpoint makes it, has the discriminator's optimizer too.
    copy = factor_vae()
    copy.set_weights(vae.get_weights())
    assert int(copy.discriminator_optimizer.iterations) == 16
