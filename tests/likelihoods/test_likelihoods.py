"""Likelihoods against sums, integrals and double precision; and what they refuse."""

import numpy as np
import parts
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks
from keras_vae.distributions.grid import SUMMED_LEVELS, GridLogistic
from keras_vae.likelihoods.bernoulli import LogitBernoulli

ALL = list(parts.LIKELIHOODS)
DISCRETE = [name for name in ALL if parts.LIKELIHOODS[name]().levels]


def random_params(likelihood, batch=(5,), spread=1.0):
    return tf.random.stateless_normal((*batch, *likelihood.params_shape), seed=[1, 2], stddev=spread)


def level_probabilities(likelihood, params):
    """The grid [levels], and each level's probability for each value, [levels, batch, *event_shape]."""
    p = likelihood(params).distribution  # what `Independent` is made of
    grid = np.arange(likelihood.levels, dtype="float32") / (likelihood.levels - 1)
    return grid, np.exp(np.asarray(p.log_prob(grid.reshape(-1, 1, *[1] * len(likelihood.event_shape))), "float64"))


@pytest.mark.parametrize("spread", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("levels", [2, 4, 256])
@pytest.mark.parametrize("name", parts.GRAY)
def test_the_probabilities_of_all_levels_sum_to_one_and_have_the_mean(name, levels, spread):
    likelihood = parts.LIKELIHOODS[name]((3, 2), levels)
    params = random_params(likelihood, spread=spread)
    grid, probabilities = level_probabilities(likelihood, params)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, atol=5e-5)
    mean = np.tensordot(grid, probabilities, axes=1)
    half_a_level = 0.5 / (levels - 1) if levels > SUMMED_LEVELS and "logistic" in name else 0.0
    np.testing.assert_allclose(likelihood(params).mean(), mean, atol=2e-4 + half_a_level)


def test_discretized_logistic_against_double_precision():
    """The log of a difference of cdfs, taken where that difference is exact."""
    top = 255
    loc, scale = np.float32([-0.3, 0.0, 0.4, 0.5, 1.0, 1.4])[:, None], np.float32(0.03)
    k = np.arange(256)

    def cdf(t):
        return 1 / (1 + np.exp(-(t - loc.astype("float64")) / np.float64(scale)))

    # Upper tails as differences of survival functions, lower tails of cdfs: neither loses digits.
    lower = cdf((k + 0.5) / top) * (k < top) + (k == top) - cdf((k - 0.5) / top) * (k > 0)
    flipped = 1 / (1 + np.exp(((k - 0.5) / top - loc) / scale)) * (k > 0) + (k == 0)
    upper = flipped - 1 / (1 + np.exp(((k + 0.5) / top - loc) / scale)) * (k < top)
    exact = np.log(np.where(k / top < loc, lower, upper))
    log_prob = GridLogistic(loc, np.full_like(loc, scale), 256).log_prob(np.float32(k / top))
    np.testing.assert_allclose(log_prob, exact, rtol=2e-4, atol=1e-5)


def test_far_tails_of_a_discretized_logistic_have_finite_log_probabilities_and_gradients():
    loc = tf.constant([-100.0, 100.0, 0.5])
    with tf.GradientTape() as tape:
        tape.watch(loc)
        log_prob = GridLogistic(loc, tf.fill([3], 1e-4), 256).log_prob([0.5, 0.5, 1.0])
    assert np.all(np.isfinite(log_prob))
    np.testing.assert_allclose(tape.gradient(log_prob, loc), [1e4, -1e4, 1e4], rtol=1e-3)


@pytest.mark.parametrize("name", DISCRETE)
def test_draws_lie_on_the_grid_around_the_mean(name):
    likelihood = parts.LIKELIHOODS[name]()
    p = likelihood(random_params(likelihood, batch=(2,)))
    x = p.sample(2000, seed=[3, 4])
    likelihood.check(np.asarray(x[:, 0]))
    np.testing.assert_allclose(np.mean(x, axis=0), p.mean(), atol=0.06)
    np.testing.assert_array_equal(x, p.sample(2000, seed=[3, 4]))


@pytest.mark.parametrize("mode", ["graph", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ALL)
def test_batches_of_any_rank_in_every_mode(name, mode):
    likelihood = parts.LIKELIHOODS[name]()
    params = random_params(likelihood, batch=(2, 3))
    x = parts.data(likelihood, 3)

    def evaluate(params):
        p = likelihood(params)
        return p.log_prob(x), p.mean(), p.sample(seed=[1, 2])

    log_prob, mean, sample = evaluate(params)
    assert log_prob.shape == (2, 3)
    assert mean.shape == sample.shape == (2, 3, *likelihood.event_shape)
    assert log_prob.dtype == mean.dtype == sample.dtype == tf.float32
    np.testing.assert_allclose(log_prob[1, 2], likelihood(params[1, 2]).log_prob(x[2]), rtol=1e-5)
    compiled = tf.function(evaluate, jit_compile=mode == "xla")(params)
    np.testing.assert_allclose(compiled[0], log_prob, rtol=1e-4)
    np.testing.assert_allclose(compiled[1], mean, atol=1e-5)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("name", ALL)
def test_adapt_makes_the_decoder_start_at_the_mean_of_the_data(name, network):
    """Also a test of the layout: a bias in another order than the split would give another mean."""
    likelihood = parts.LIKELIHOODS[name]()
    decoder = kv.Decoder(parts.NETWORKS[network]([4]), likelihood)
    decoder.build((None, 3))
    channel = np.array([0.2, 0.7])
    places = likelihood.event_shape[:-1]
    differences = np.linspace(-0.1, 0.1, np.prod(places)).reshape(*places, 1) * (network == "mlp")
    mean = np.broadcast_to(channel, likelihood.event_shape) + differences
    decoder.adapt(mean)
    for kernel in decoder.projection.weights:
        if len(kernel.shape) > 1:
            kernel.assign(tf.zeros_like(kernel))
    np.testing.assert_allclose(decoder(tf.zeros((1, 3))).mean()[0], mean, atol=1e-3)


def test_adapt_holds_for_pixels_that_never_change():
    for name in ALL:
        likelihood = parts.LIKELIHOODS[name]()
        for value in (0.0, 1.0):
            bias = likelihood.initial_bias(np.full(likelihood.event_shape, value)).astype("float32")
            np.testing.assert_allclose(likelihood(bias[None]).mean(), value, atol=2e-3)


def test_bernoulli_is_tfps():
    logits = tf.constant([-80.0, -1.0, 0.0, 2.0, 80.0])
    for x in (0.0, 1.0):
        expected = tfd.Bernoulli(logits=logits).log_prob(x)
        np.testing.assert_allclose(LogitBernoulli(logits=logits).log_prob(x), expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("logit", [-50.0, -3.0, -1e-3, 0.0, 1e-6, 0.2, 0.3, 4.0, 50.0])
def test_continuous_bernoulli_is_a_density_with_its_mean(logit):
    p = likelihoods.ContinuousBernoulli((1,))(tf.constant([[logit]]))
    x = np.linspace(0.0, 1.0, 20001, dtype="float32")[:, None, None]
    density = np.exp(np.asarray(p.log_prob(x), "float64"))[:, 0]
    assert np.trapezoid(density, x[:, 0, 0]) == pytest.approx(1.0, abs=1e-4)
    assert np.trapezoid(density * x[:, 0, 0], x[:, 0, 0]) == pytest.approx(float(p.mean()[0, 0]), abs=1e-4)


def test_continuous_bernoulli_is_smooth_at_one_half():
    logits = tf.constant(np.linspace(-0.4, 0.4, 801), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = tfd.ContinuousBernoulli(logits=logits).log_prob(0.5)
    gradient = np.asarray(tape.gradient(log_prob, logits))
    # d/dt (t / 2 - log((e^t - 1) / t)) = 1/2 - mean, about -t / 12 near zero
    np.testing.assert_allclose(gradient, -np.asarray(logits) / 12, atol=2e-4)


@pytest.mark.parametrize("scale", [0.5, "learned", "per_pixel"])
def test_normal_is_the_formula(scale):
    likelihood = likelihoods.Normal((4, 3), scale=scale)
    params = random_params(likelihood)
    loc, s = np.asarray(params), 0.5
    if scale == "learned":
        likelihood.weights[0].assign(-0.3)
        s = np.exp(-0.3)
    if scale == "per_pixel":
        loc, s = loc[..., :3], np.exp(loc[..., 3:])
    x = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
    expected = -0.5 * ((x - loc) / s) ** 2 - np.log(s * np.ones_like(loc)) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(likelihood(params).log_prob(x), expected.sum(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(likelihood(params).mean(), loc)


@pytest.mark.parametrize("raw", [-1e30, -1e4, 1e4, 1e30])
def test_learned_scales_neither_collapse_nor_overflow(raw):
    normal = likelihoods.Normal((2,), scale="per_pixel")
    scale = np.asarray(normal(tf.constant([[0.0, 0.0, raw, raw]])).stddev())
    np.testing.assert_allclose(scale, 1e-3 if raw < 0 else 1e3, rtol=1e-3)
    logistic = likelihoods.DiscretizedLogistic((1,), 4)
    scale = np.asarray(logistic(tf.constant([[0.0, raw]])).distribution.scale)
    np.testing.assert_allclose(scale, 1 / 96 if raw < 0 else 10.0, rtol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(ALL),
    magnitude=st.sampled_from([0.0, 1.0, 1e2, 1e4]),
    sign=st.sampled_from([-1.0, 1.0]),
    fill=st.sampled_from([0.0, 1.0]),
)
def test_extreme_parameters_have_finite_log_probabilities_and_gradients(name, magnitude, sign, fill):
    likelihood = parts.LIKELIHOODS[name]()
    params = sign * magnitude * (1.0 + tf.abs(random_params(likelihood, batch=(2,))))
    with tf.GradientTape() as tape:
        tape.watch(params)
        p = likelihood(params)
        log_prob = p.log_prob(tf.fill((2, *likelihood.event_shape), fill))
    assert np.all(np.isfinite(log_prob))
    assert np.all(np.isfinite(tape.gradient(log_prob, params)))
    assert np.all(np.isfinite(p.mean()))
    if likelihood.levels:
        assert np.all(np.asarray(log_prob) <= 1e-3)


def test_bits_per_dim_are_the_length_of_a_code():
    logits = tf.zeros((1, 6, 5, 2))
    bernoulli = likelihoods.Bernoulli(parts.SHAPE)
    np.testing.assert_allclose(bernoulli.bits_per_dim(bernoulli(logits).log_prob(logits)), 1.0, rtol=1e-6)
    categorical = likelihoods.Categorical(parts.SHAPE, levels=8)
    log_prob = categorical(tf.zeros((1, *categorical.params_shape))).log_prob(logits)
    np.testing.assert_allclose(categorical.bits_per_dim(log_prob), 3.0, rtol=1e-6)
    assert likelihoods.Normal(parts.SHAPE).bits_per_dim(log_prob) is None
    assert likelihoods.Binomial((3,), total_count=255).levels == 256


@pytest.mark.parametrize("name", ALL)
def test_data_outside_the_support_are_refused_with_a_remedy(name):
    likelihood = parts.LIKELIHOODS[name]()
    x = parts.data(likelihood)
    likelihood.check(x)
    for wrong in (x[..., :1], (255 * x).astype("uint8"), np.where(x == x.flat[0], np.nan, x)):
        with pytest.raises(ValueError, match=r"shape|integers|NaN"):
            likelihood.check(wrong)
    if likelihood.support.high == 1.0:
        with pytest.raises(ValueError, match=r"likelihoods.Normal|data.load") as refusal:
            likelihood.check(2 * x + 1)
        assert "lie in" in str(refusal.value)


@pytest.mark.parametrize("name", DISCRETE)
def test_the_remedy_that_the_message_names_works(name):
    likelihood = parts.LIKELIHOODS[name]()
    x = np.random.default_rng(0).random((3, *parts.SHAPE), "float32")
    with pytest.raises(ValueError, match="neither" if name == "bernoulli" else "np.round") as refusal:
        likelihood.check(x)
    if name == "bernoulli":
        assert "ContinuousBernoulli" in str(refusal.value)
        likelihood.check((x > 0.5).astype("float32"))
    else:
        top = likelihood.levels - 1
        assert f"np.round(x * {top}) / {top}" in str(refusal.value)
        likelihood.check(np.round(x * top) / top)


def test_a_grid_of_65536_levels_survives_float32():
    x = (np.arange(65536, dtype="float64") / 65535).astype("float32")
    likelihoods.DiscretizedLogistic((65536,), levels=65536).check(x[None])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", parts.GRAY)
def test_any_number_of_channels(name, channels):
    likelihood = parts.LIKELIHOODS[name]((2, 3, channels), 4)
    decoder = kv.Decoder(networks.mlp([]), likelihood)
    p = decoder(tf.zeros((5, 3)))
    assert p.event_shape == (2, 3, channels)
    assert p.log_prob(tf.zeros((5, 2, 3, channels))).shape == (5,)
