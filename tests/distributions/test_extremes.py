"""Densities in float32 against formulas in double precision, over all parameters that are legal."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats
from tensorflow_probability import distributions as tfd

from keras_vae import likelihoods
from keras_vae.distributions.gaussian import CentredNormal
from keras_vae.distributions.grid import MAX_LEVELS, GridBinomial, GridCategorical, GridLogistic, GridLogisticMixture
from keras_vae.distributions.kumaraswamy import IntervalKumaraswamy
from keras_vae.distributions.one_hot import OneHot
from keras_vae.likelihoods.bernoulli import LogitBernoulli

EXTREME_LOGITS = [s * x for x in (0.0, 1e-8, 1e-4, 1e-3, 0.01, 0.05, 0.3, 1.0, 5.0, 20.0, 88.5, 1e3) for s in (1, -1)]


@dataclasses.dataclass(frozen=True)
class Case:
    """A density of one parameter or more at points.

    Attributes:
        make: the distribution in float32, from the parameters.
        oracle: log p(x), from x and the parameters in float64.
        parameters: values of the parameters.
        points: x, from the parameters.
        scale: the size of the terms of whose sum the result can be no more exact than float32.
    """

    make: Callable
    oracle: Callable
    parameters: list
    points: Callable
    scale: Callable = lambda *_: 1.0


def levels_near(n, centre, width):
    """Levels 0 ... n near a centre and at the ends, as the values k / n that float32 has of them."""
    k = np.concatenate([[0, 1, n // 2, n - 1, n], centre + width * np.arange(-3, 4)])
    return np.unique(np.clip(np.round(k), 0, n)) / n


def kumaraswamy(x, a, b):
    return np.log(a * b) + (a - 1) * np.log(x) + special.xlog1py(b - 1, -(x**a))


def kumaraswamy_points(a, b):
    quantiles = -np.expm1(np.log1p(-np.linspace(0.0005, 0.9995, 60)) / b)
    return np.clip(quantiles ** (1 / a), 1e-29, 1 - 2e-6)


def binomial(x, logit, n):
    k = np.round(x * n)
    log_choose = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return log_choose - k * np.logaddexp(0, -logit) - (n - k) * np.logaddexp(0, logit)


def binomial_points(logit, n):
    p = special.expit(logit)
    return levels_near(n, n * p, np.sqrt(n * p * (1 - p)))


def logistic(x, loc, scale, top):
    k = np.round(x * top)
    upper, lower = ((k + half) / top for half in (0.5, -0.5))
    below = np.where(k < top, -np.logaddexp(0, -(upper - loc) / scale), 0.0)
    above = np.where(k > 0, -np.logaddexp(0, (lower - loc) / scale), 0.0)
    return below + above + np.where((k > 0) & (k < top), np.log(-np.expm1(-1 / (top * scale))), 0.0)


def continuous_bernoulli(x, logit):
    size = np.where(logit == 0, 1.0, np.abs(logit))
    series = -logit / 2 - logit**2 / 24 + logit**4 / 2880
    closed = np.log(size) - np.log(-np.expm1(-size)) - np.maximum(logit, 0)
    return logit * x + np.where(np.abs(logit) < 1e-2, series, closed)


CASES = {
    "kumaraswamy": Case(
        IntervalKumaraswamy,
        kumaraswamy,
        list(itertools.product((1.0, 1.01, 2.0, 10.0, 101.0), (1.0, 1.01, 2.0, 100.0, 1e4, 1e6))),
        kumaraswamy_points,
        lambda *_: 20.0,
    ),
    "binomial": Case(
        lambda logit, n: GridBinomial(logit, int(n)),
        binomial,
        [(logit, n) for logit in EXTREME_LOGITS for n in (1, 2, 255, 65535, 10**6)],
        binomial_points,
        lambda x, logit, n: min(n, 255.0) + np.abs(binomial(x, logit, n)),
    ),
    "logistic": Case(
        lambda loc, scale, top: GridLogistic(loc, scale, int(top) + 1),
        logistic,
        [
            (loc, scale, top)
            for top in (1, 255, 4095, 65535, 10**6)
            for scale in (1 / (32 * top), 0.01, 1.0, 10.0)
            for loc in (-50.0, -0.1, 0.0, 0.3, 0.5, 1.0, 50.0)
        ],
        lambda loc, scale, top: levels_near(top, loc * top, max(1, scale * top)),
        lambda x, loc, scale, top: 250 + np.abs(logistic(x, loc, scale, top)),
    ),
    "logistic_mixture": Case(
        lambda loc, scale, top: GridLogisticMixture(
            [-30.0, 30.0], tf.stack([0.5 * loc, loc]), tf.fill([2], scale), int(top) + 1
        ),
        lambda x, loc, scale, top: np.logaddexp(
            logistic(x, loc, scale, top) - np.log1p(np.exp(-60)), logistic(x, 0.5 * loc, scale, top) - 60
        ),
        [(loc, scale, top) for top in (255, 65535) for scale in (1 / (32 * top), 0.1) for loc in (0.0, 0.3, 1.0)],
        lambda loc, scale, top: levels_near(top, loc * top, max(1, scale * top)),
        lambda x, loc, scale, top: 250 + np.abs(logistic(x, loc, scale, top)),
    ),
    "continuous_bernoulli": Case(
        lambda logit: tfd.ContinuousBernoulli(logits=logit),
        continuous_bernoulli,
        [(logit,) for logit in EXTREME_LOGITS],
        lambda _: np.array([0.0, 1e-6, 0.3, 0.5, 0.999, 1.0]),
        lambda x, logit: 10 + abs(logit),
    ),
    "bernoulli": Case(
        lambda logit: LogitBernoulli(logits=logit, dtype=tf.float32),
        lambda x, logit: -np.logaddexp(0, np.where(x > 0, -logit, logit)),
        [(logit,) for logit in EXTREME_LOGITS],
        lambda _: np.array([0.0, 1.0]),
        lambda _, logit: 1 + abs(logit),
    ),
    "categorical": Case(
        lambda logit: GridCategorical(tf.stack([0.0 * logit, logit, -logit])),
        lambda x, logit: special.log_softmax([0.0, logit, -logit])[np.round(2 * x).astype(int)],
        [(logit,) for logit in EXTREME_LOGITS],
        lambda _: np.array([0.0, 0.5, 1.0]),
        lambda _, logit: 1 + abs(logit),
    ),
    "normal": Case(
        CentredNormal,
        lambda x, loc, scale: stats.norm.logpdf(x, loc, scale),
        list(itertools.product((-300.0, 0.0, 0.3), (1e-3, 1.0, 1e3))),
        lambda loc, scale: loc + scale * np.array([-30.0, -1.0, 0.0, 2.0]),
        lambda x, loc, scale: 10 + np.abs(stats.norm.logpdf(x, loc, scale)),
    ),
}


def rounded(values):
    """What float32 has of these values, in float64."""
    return np.asarray(np.float32(values), "float64")


@pytest.mark.parametrize("name", CASES)
def test_log_densities_are_those_of_double_precision_and_have_finite_gradients(name):
    case = CASES[name]
    for parameters in case.parameters:
        exact = [float(rounded(p)) for p in parameters]
        x = rounded(case.points(*exact))
        inputs = [tf.constant(p, tf.float32) for p in (*parameters, x)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            found = case.make(*inputs[:-1]).log_prob(inputs[-1])
        error = np.abs(np.asarray(found, "float64") - case.oracle(x, *exact))
        allowed = 2e-6 + 1e-6 * np.maximum(case.scale(x, *exact), np.abs(case.oracle(x, *exact)))
        assert np.all(error <= allowed), (parameters, x, error)
        for gradient in tape.gradient(found, inputs):
            assert gradient is None or np.all(np.isfinite(gradient)), parameters


@pytest.mark.parametrize("interval", [(0.0, 1.0), (-1.0, 2.0)])
@pytest.mark.parametrize("b", [1.0, 3.0, 1e6])
@pytest.mark.parametrize("a", [1.0, 1.01, 101.0])
def test_draws_and_moments_of_a_kumaraswamy_variable(a, b, interval):
    low, high = interval
    q = IntervalKumaraswamy(tf.constant(a), tf.constant(b), low, high)
    a, b = float(np.float32(a)), float(np.float32(b))
    x = (np.asarray(q.sample(2000, seed=[0, 1]), "float64") - low) / (high - low)
    assert np.all((x > 0) & (x < 1))
    # In [-1, 2] float32 has steps of 4e-8 near -1: too few draws are equal to show.
    assert stats.kstest(x, lambda t: -np.expm1(b * np.log1p(-(t**a)))).pvalue > 1e-3
    first, second = (np.exp(np.log(b) + special.betaln(1 + n / a, b)) for n in (1, 2))
    np.testing.assert_allclose(q.mean(), low + (high - low) * first, rtol=1e-5)
    np.testing.assert_allclose(q.variance(), (high - low) ** 2 * (second - first**2), rtol=1e-4)
    harmonic = special.digamma(b + 1) + np.euler_gamma
    entropy = 1 - 1 / b + (1 - 1 / a) * harmonic - np.log(a * b) + np.log(high - low)
    np.testing.assert_allclose(q.entropy(), entropy, atol=1e-5)
    np.testing.assert_allclose(tfd.kl_divergence(q, tfd.Uniform(low, high)), np.log(high - low) - entropy, atol=1e-5)


@pytest.mark.parametrize("logit", EXTREME_LOGITS)
def test_the_entropy_and_kl_of_a_one_hot(logit):
    logits = rounded([0.0, logit, -logit, 0.5 * logit])
    log_p, log_uniform = special.log_softmax(logits), -np.log(4.0)
    q, p = OneHot(tf.constant(logits, tf.float32)), OneHot(tf.zeros(4))
    np.testing.assert_allclose(q.entropy(), -np.sum(np.exp(log_p) * log_p), atol=1e-5)
    np.testing.assert_allclose(tfd.kl_divergence(q, p), np.sum(np.exp(log_p) * (log_p - log_uniform)), atol=1e-5)


def test_more_levels_than_float32_can_tell_apart_are_refused():
    for make in (likelihoods.Categorical, likelihoods.DiscretizedLogistic, likelihoods.Binomial):
        with pytest.raises(ValueError, match=f"must be an int from . to {MAX_LEVELS}|{MAX_LEVELS - 1}"):
            make((2,), 10**7)
    n = MAX_LEVELS - 1
    k = np.arange(n - 1000, n + 1)
    np.testing.assert_array_equal(np.round(np.float32(k / n) * np.float32(n)), k)
