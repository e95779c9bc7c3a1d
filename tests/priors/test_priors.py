"""Priors against numerical integration, closed forms and each other."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import flows, posteriors, priors
from keras_vae.data.batches import summarize

# Those of real numbers, and the same for all examples.
PRIORS = [name for name in parts.PRIORS if name not in (*parts.DISCRETE_PRIORS, "conditional")]


def stir(layer, scale=0.3):
    for i, weight in enumerate(layer.trainable_variables):
        weight.assign(scale * tf.random.stateless_normal(weight.shape, [i, 7]))


def model(prior, posterior=None, likelihood=None):
    """A small VAE of vectors with random weights, so that nothing is equal by being zero."""
    bounded = isinstance(prior, priors.Uniform)
    posterior = posterior or (posteriors.Kumaraswamy(2, -1.0, 2.0) if bounded else posteriors.MultivariateNormalTriL(2))
    vae = kv.VAE(
        kv.Encoder(kv.networks.mlp([]), posterior),
        kv.Decoder(kv.networks.mlp([]), likelihood or kv.likelihoods.Bernoulli((6,))),
        prior,
        seed=0,
    )
    vae.build()
    stir(vae)
    return vae


def binary(n):
    return (np.random.default_rng(0).random((n, 6)) > 0.5).astype("float32")


def on_a_grid(p, width=12.0, steps=601):
    """Points and p(z) dz on a grid over [-width, width]^2; the steps straddle the ends of the uniform prior."""
    axis = np.linspace(-width, width, steps, dtype="float32") + np.float32(width / steps)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return z, np.exp(p.log_prob(z).numpy().astype("float64")) * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one_and_draws_follow_it(name):
    vae = model(parts.PRIORS[name](2))
    p = vae.prior.distribution(encoder=vae.encoder)
    assert p.batch_shape == ()
    assert p.event_shape == (2,)
    z, mass = on_a_grid(p)
    np.testing.assert_allclose(mass.sum(), 1.0, atol=0.03 if name == "uniform" else 0.003)
    mean = mass @ z / mass.sum()
    covariance = (z - mean).T @ ((z - mean) * (mass / mass.sum())[:, None])
    draws = p.sample(100_000, seed=[0, 0]).numpy()
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / scale, 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=0.05)
    quadrant = np.all(draws > mean, axis=1).mean()
    np.testing.assert_allclose(quadrant, mass[np.all(z > mean, axis=1)].sum() / mass.sum(), atol=0.02)


@pytest.mark.parametrize("name", PRIORS)
def test_a_saved_model_keeps_its_prior(name, tmp_path):
    vae = model(parts.PRIORS[name](2))
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    z = np.random.default_rng(0).uniform(-0.9, 1.9, (5, 2)).astype("float32")
    p, q = (v.prior.distribution(encoder=v.encoder) for v in (vae, loaded))
    np.testing.assert_array_equal(p.log_prob(z), q.log_prob(z))
    np.testing.assert_array_equal(p.sample(3, seed=[1, 2]), q.sample(3, seed=[1, 2]))


@pytest.mark.parametrize("name", PRIORS)
def test_draws_depend_on_the_seed_alone_and_all_is_float32(name):
    keras.config.set_dtype_policy("mixed_float16")
    vae = model(parts.PRIORS[name](2))
    p = vae.prior.distribution(encoder=vae.encoder)
    first = p.sample(4, seed=[1, 2])
    tf.random.normal([3])
    np.testing.assert_array_equal(first, vae.prior.distribution(encoder=vae.encoder).sample(4, seed=[1, 2]))
    assert np.abs(first - p.sample(4, seed=[1, 3])).min() > 0.0
    assert p.dtype == first.dtype == tf.float32
    assert all(w.dtype == "float32" for w in vae.prior.weights)


@pytest.mark.parametrize("name", ["mixture", "vamp", "real_nvp"])
def test_every_weight_of_a_prior_is_trained(name):
    vae = model(parts.PRIORS[name](2))
    vae.compile(keras.optimizers.SGD(0.1))
    before = [w.numpy() for w in vae.prior.trainable_variables]
    vae.fit(binary(16), batch_size=8, epochs=1, verbose=0)
    for old, new in zip(before, vae.prior.trainable_variables, strict=True):
        assert np.abs(old - new.numpy()).max() > 0.0
    assert len(before) == {"mixture": 3, "vamp": 1, "real_nvp": 2 * 4}[name]


def test_uniform_is_zero_outside():
    p = priors.Uniform(2, low=-1.0, high=2.0).distribution()
    expected = [-2 * np.log(3.0), -2 * np.log(3.0), -np.inf]
    np.testing.assert_allclose(p.log_prob([[-1.0, 2.0], [0.0, 0.5], [0.0, 2.1]]), expected, rtol=1e-6)


def test_a_new_mixture_spreads_near_the_standard_normal():
    p = priors.NormalMixture(4, 50).distribution()
    np.testing.assert_allclose(p.mean(), 0.0, atol=0.4)
    np.testing.assert_allclose(p.stddev(), 1.1, atol=0.2)
    assert np.abs(p.components_distribution.mean()).std() > 0.2


def test_a_new_real_nvp_is_the_standard_normal():
    z = tf.random.stateless_normal([5, 3], [0, 0])
    expected = priors.StandardNormal(3).distribution().log_prob(z)
    np.testing.assert_allclose(priors.RealNVP(3).distribution().log_prob(z), expected, rtol=1e-5)


def test_real_nvp_against_autodiff():
    prior = priors.RealNVP(3, num_layers=4, units=[8, 8])
    stir(prior)
    p = prior.distribution()
    z = tf.random.stateless_normal([4, 3], [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(z)
        u = p.bijector.inverse(z)
    log_det = np.linalg.slogdet(tape.batch_jacobian(u, z).numpy().astype("float64"))[1]
    expected = -0.5 * np.sum(np.square(u), axis=-1) - 1.5 * np.log(2 * np.pi) + log_det
    np.testing.assert_allclose(p.log_prob(tf.identity(z)), expected, rtol=1e-4)
    np.testing.assert_allclose(p.bijector.forward(tf.identity(u)), z, atol=1e-4)


# VampPrior.


@pytest.mark.parametrize(
    "posterior",
    [
        posteriors.MultivariateNormalDiag,
        posteriors.MultivariateNormalEigen,
        lambda dim: posteriors.MultivariateNormalLowRank(dim, 1),
        posteriors.Kumaraswamy,
        lambda dim: flows.Flow(posteriors.MultivariateNormalDiag(dim), "iaf", units=[8]),
        lambda dim: flows.Flow(posteriors.MultivariateNormalTriL(dim), "coupling", units=[8]),
    ],
)
def test_vamp_is_the_equal_mixture_of_the_posteriors_of_its_pseudo_inputs(posterior):
    vae = model(priors.VampPrior(2, 4), posterior(2))
    p = vae.prior.distribution(encoder=vae.encoder)
    z = p.sample(5, seed=[0, 0])
    each = vae.encoder(vae.prior.pseudo_inputs.numpy()).log_prob(z[:, None, :])
    expected = np.log(np.mean(np.exp(each.numpy().astype("float64")), axis=-1))
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-3, atol=1e-3)


def test_vamp_starts_from_all_of_the_data_and_stays_in_their_range():
    """Data that are sorted, so that no batch looks like the whole: each is darker than the next."""
    x = np.repeat(np.linspace(-3.0, 5.0, 640, dtype="float32")[:, None], 6, axis=1)
    vae = model(priors.VampPrior(2, 40), likelihood=kv.likelihoods.Normal((6,)))
    vae.adapt(tf.data.Dataset.from_tensor_slices(x).batch(64))
    first = vae.prior.pseudo_inputs.numpy()
    assert len(np.unique(first[:, 0])) == 40
    assert np.isin(first, x).all()
    assert np.histogram(first[:, 0], bins=4, range=(-3.0, 5.0))[0].min() >= 4
    vae.compile(keras.optimizers.Adam(0.3))
    vae.fit(x, epochs=1, verbose=0)
    moved = vae.prior.pseudo_inputs.numpy()
    assert np.abs(moved - first).max() > 0.3
    assert moved.min() >= -3.0
    assert moved.max() <= 5.0


def test_vamp_repeats_few_examples_with_a_little_noise():
    x = (10.0 * binary(4) - 5.0) * [1.0, 1.0, 1.0, 1.0, 1.0, 0.01]
    first, second = (model(priors.VampPrior(2, 10)).prior for _ in range(2))
    first.adapt(summarize(x, 10))
    second.adapt(summarize(tf.constant(x), 10))
    values = first.pseudo_inputs.numpy()
    np.testing.assert_array_equal(values, second.pseudo_inputs)
    np.testing.assert_array_equal(values[:4], x.astype("float32"))
    distance = np.abs(values[4:] - np.resize(x, (6, 6)))
    assert 0.0 < distance.max() < 0.5
    assert distance[:, 5].max() < 0.005
    assert values.min() >= -5.0
    assert values.max() <= 5.0


def test_vamp_says_what_it_needs():
    vae = model(priors.VampPrior(2, 4))
    with pytest.raises(ValueError, match=r"encoder=vae\.encoder"):
        vae.prior.distribution()
    with pytest.raises(ValueError, match="no data"):
        vae.adapt(binary(0))
    encoder = kv.Encoder(kv.networks.mlp([]), posteriors.Deterministic(2))
    encoder.build((None, 6))
    with pytest.raises(ValueError, match="Deterministic has none"):
        vae.prior.distribution(encoder=encoder)


def test_a_prior_of_the_users_own_is_one_method():
    class Laplace(priors.Prior):
        def distribution(self, encoder=None, condition=None):
            return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)

    vae = model(Laplace(2))
    assert np.all(np.isfinite(vae.log_prob(binary(3), 5)))
