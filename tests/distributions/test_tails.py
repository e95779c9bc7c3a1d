"""Support and tails of TFP's distributions, and which KL(q || p) are infinite, against integrals of the densities."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.distributions.support import REAL, Support
from keras_vae.distributions.tails.lookup import RULES, region
from keras_vae.distributions.tails.tail import LOG_NORMAL, POLYNOMIAL, POWER

tfd, tfb = tfp.distributions, tfp.bijectors
f = np.float64
ZERO, ONE, HALF, TWO, THREE = f(0.0), f(1.0), f(0.5), f(2.0), f(3.0)

# One member of each family at least, in float64.
FAMILIES = {
    "Beta": lambda: tfd.Beta(HALF, THREE),
    "BetaQuotient": lambda: tfd.BetaQuotient(TWO, THREE, f(1.5), THREE),
    "Cauchy": lambda: tfd.Cauchy(ZERO, ONE),
    "Chi": lambda: tfd.Chi(THREE),
    "Chi2": lambda: tfd.Chi2(THREE),
    "ContinuousBernoulli": lambda: tfd.ContinuousBernoulli(probs=f(0.3)),
    "DoublesidedMaxwell": lambda: tfd.DoublesidedMaxwell(np.float32(0.0), np.float32(1.0)),
    "ExpGamma": lambda: tfd.ExpGamma(TWO, ONE),
    "ExpInverseGamma": lambda: tfd.ExpInverseGamma(TWO, ONE),
    "Exponential": lambda: tfd.Exponential(TWO),
    "ExponentiallyModifiedGaussian": lambda: tfd.ExponentiallyModifiedGaussian(ZERO, ONE, TWO),
    "Gamma": lambda: tfd.Gamma(HALF, TWO),
    "GeneralizedExtremeValue": lambda: tfd.GeneralizedExtremeValue(ZERO, ONE, HALF),
    "GeneralizedExtremeValue below": lambda: tfd.GeneralizedExtremeValue(ZERO, ONE, -HALF),
    "GeneralizedNormal": lambda: tfd.GeneralizedNormal(ZERO, ONE, f(1.5)),
    "GeneralizedPareto": lambda: tfd.GeneralizedPareto(ZERO, ONE, HALF),
    "Gumbel": lambda: tfd.Gumbel(ZERO, TWO),
    "HalfCauchy": lambda: tfd.HalfCauchy(ZERO, ONE),
    "HalfNormal": lambda: tfd.HalfNormal(ONE),
    "HalfStudentT": lambda: tfd.HalfStudentT(f(2.5), ZERO, ONE),
    "Horseshoe": lambda: tfd.Horseshoe(ONE),
    "InverseGamma": lambda: tfd.InverseGamma(f(1.5), ONE),
    "InverseGaussian": lambda: tfd.InverseGaussian(ONE, TWO),
    "JohnsonSU": lambda: tfd.JohnsonSU(ZERO, ONE, ZERO, ONE),
    "Kumaraswamy": lambda: tfd.Kumaraswamy(HALF, THREE),
    "LambertWNormal": lambda: tfd.LambertWNormal(ZERO, ONE, f(0.4)),
    "Laplace": lambda: tfd.Laplace(ZERO, HALF),
    "LogLogistic": lambda: tfd.LogLogistic(ZERO, HALF),
    "LogNormal": lambda: tfd.LogNormal(ZERO, ONE),
    "Logistic": lambda: tfd.Logistic(ZERO, TWO),
    "LogitNormal": lambda: tfd.LogitNormal(ZERO, ONE),
    "Moyal": lambda: tfd.Moyal(ZERO, ONE),
    "NoncentralChi2": lambda: tfd.NoncentralChi2(THREE, ONE),
    "Normal": lambda: tfd.Normal(ZERO, TWO),
    "NormalInverseGaussian": lambda: tfd.NormalInverseGaussian(ZERO, ONE, TWO, HALF),
    "PERT": lambda: tfd.PERT(ZERO, HALF, TWO),
    "Pareto": lambda: tfd.Pareto(f(2.5), ONE),
    "RelaxedBernoulli": lambda: tfd.RelaxedBernoulli(HALF, probs=HALF),
    "SigmoidBeta": lambda: tfd.SigmoidBeta(TWO, THREE),
    "SinhArcsinh": lambda: tfd.SinhArcsinh(ZERO, ONE, HALF, f(1.5)),
    "StudentT": lambda: tfd.StudentT(f(2.5), ZERO, ONE),
    "Triangular": lambda: tfd.Triangular(ZERO, ONE, HALF),
    "TruncatedCauchy": lambda: tfd.TruncatedCauchy(ZERO, ONE, -ONE, TWO),
    "TruncatedNormal": lambda: tfd.TruncatedNormal(ZERO, ONE, -ONE, TWO),
    "TwoPieceNormal": lambda: tfd.TwoPieceNormal(ZERO, ONE, TWO),
    "TwoPieceStudentT": lambda: tfd.TwoPieceStudentT(f(2.5), ZERO, ONE, TWO),
    "Uniform": lambda: tfd.Uniform(-ONE, TWO),
    "VonMises": lambda: tfd.VonMises(ZERO, ONE),
    "Weibull": lambda: tfd.Weibull(HALF, ONE),
    "moved": lambda: tfb.Scale(-TWO)(tfb.Shift(ONE)(tfd.ExponentiallyModifiedGaussian(ZERO, ONE, TWO))),
    "exp of a Laplace": lambda: tfb.Exp()(tfd.Laplace(ZERO, HALF)),
    "softplus of a Laplace": lambda: tfb.Softplus()(tfd.Laplace(ZERO, HALF)),
    "sigmoid of a logistic": lambda: tfb.Sigmoid()(tfd.Logistic(ZERO, HALF)),
    "tanh of a normal": lambda: tfb.Tanh()(tfd.Normal(ZERO, ONE)),
    "mixture": lambda: tfd.MixtureSameFamily(
        tfd.Categorical(probs=[HALF, HALF]), tfd.StudentT(np.array([2.0, 5.0]), ZERO, ONE)
    ),
}


def growth(d, end, high):
    """Slope of log(-log p) and of -log p against log u, far out, at one end."""
    far = np.array([1e3, 1e4]) if np.isinf(end) else np.array([1e5, 1e7])
    z = (far if high else -far) if np.isinf(end) else end + (-1 if high else 1) / far
    g = -np.asarray(d.log_prob(z.astype(tf.as_dtype(d.dtype).as_numpy_dtype)), "float64")
    return np.diff(np.log(np.abs(g)))[0] / np.diff(np.log(far))[0], np.diff(g)[0] / np.diff(np.log(far))[0], g


def test_every_rule_has_a_family_here():
    univariate = {name for name in RULES if not name.startswith("Multivariate")}
    assert univariate == {name.split(" ")[0] for name in FAMILIES} & univariate


@pytest.mark.parametrize("name", FAMILIES)
def test_tails_are_those_of_the_density(name):
    d = FAMILIES[name]()
    found = region(d)
    draws = np.asarray(d.sample(2000, seed=[0, 1]))
    assert found.support.low <= draws.min() and draws.max() <= found.support.high
    # The support is no wider than it must be: just inside of a finite end there is a density.
    for which, end in enumerate(found.support):
        tail = found.heaviest[which]
        with np.errstate(all="ignore"):
            power, slope, g = growth(d, end, which)
        if tail.kind == POLYNOMIAL:
            expected = tail.exponent + 1 if np.isinf(end) else tail.exponent - 1
            # The tail of a Lambert W carries a power of log u beside.
            assert slope == pytest.approx(expected, abs=0.05 if name != "LambertWNormal" else 0.15), (which, tail)
        elif tail.kind == LOG_NORMAL:
            assert slope > 2 and power < 0.6, (which, tail)
        elif tail.kind == POWER:
            assert np.isinf(g).any() or power == pytest.approx(tail.exponent, rel=0.1), (which, tail)
            if tail.exponent == 1 and tail.rate and np.isfinite(g).all():
                far = 1e4 if np.isinf(end) else 1e7
                assert g[-1] / far == pytest.approx(tail.rate, rel=0.05), (which, tail)
        else:
            assert np.isinf(g).any() or power > 5, (which, tail)


WIDE = [
    "Cauchy",
    "Normal",
    "Laplace",
    "Logistic",
    "Gumbel",
    "StudentT",
    "GeneralizedNormal",
    "SinhArcsinh",
    "JohnsonSU",
]
POSITIVE = ["Gamma", "InverseGamma", "Exponential", "HalfNormal", "HalfCauchy", "LogNormal", "Weibull", "LogLogistic"]
POSITIVE += ["InverseGaussian", "HalfStudentT", "Chi2"]


def partial_means(q, p, ends):
    """E_q[|log p|] over windows that grow: of an infinite one each decade adds no less than the last."""
    sums = []
    for reach in (3.0, 6.0, 12.0, 24.0, 48.0):
        if np.isinf(ends[0]):
            t = np.linspace(-reach, reach, 40_001)
            z, jacobian = np.sinh(t), np.cosh(t)
        else:
            t = np.linspace(-reach, reach, 40_001)
            z, jacobian = np.exp(t), np.exp(t)
        with np.errstate(all="ignore"):
            values = np.exp(np.asarray(q.log_prob(z))) * jacobian * np.abs(np.asarray(p.log_prob(z)))
        values = np.where(np.exp(np.asarray(q.log_prob(z))) * jacobian > 0, values, 0.0)
        sums.append(np.trapezoid(values, t))
    return np.array(sums)


@pytest.mark.parametrize("names, ends", [(WIDE, REAL), (POSITIVE, Support(0.0, np.inf))])
def test_what_the_rule_refuses_is_infinite_and_all_else_is_finite(names, ends):
    refused = 0
    for a, b in itertools.product(names, repeat=2):
        q, p = FAMILIES[a](), FAMILIES[b]()
        carried = all(
            carrier.carries(tail) for carrier, tail in zip(region(p).lightest, region(q).heaviest, strict=True)
        )
        sums = partial_means(q, p, ends)
        settled = np.isfinite(sums).all() and sums[-1] - sums[-2] < 0.05 * (1 + sums[-2])
        assert carried == settled, (a, b, sums)
        refused += not carried
    assert refused >= 9
