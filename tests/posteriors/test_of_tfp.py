"""A posterior of the user's own around each of TFP's reparameterised distributions: it works, or says what to do."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import evaluation, export, posteriors, priors
from keras_vae.distributions.support import Support

tfd = tfp.distributions
L = 2

# From two numbers for each dimension, a of any size and b above 0: shapes are kept where KL(q || N(0, I)) is finite.
# Without BetaQuotient, whose density is NaN at some of its own draws in TFP 0.25.
FAMILIES = {
    "Beta": lambda a, b: tfd.Beta(b + 0.1, tf.exp(tf.tanh(a))),
    "Chi": lambda a, b: tfd.Chi(b + 1.0),
    "Chi2": lambda a, b: tfd.Chi2(b + 1.0),
    "ContinuousBernoulli": lambda a, b: tfd.ContinuousBernoulli(logits=a),
    "DoublesidedMaxwell": lambda a, b: tfd.DoublesidedMaxwell(a, b),
    "ExpGamma": lambda a, b: tfd.ExpGamma(b + 1.0, tf.exp(tf.tanh(a))),
    "ExpInverseGamma": lambda a, b: tfd.ExpInverseGamma(b + 1.0, tf.exp(tf.tanh(a))),
    "Exponential": lambda a, b: tfd.Exponential(b),
    "ExponentiallyModifiedGaussian": lambda a, b: tfd.ExponentiallyModifiedGaussian(a, b, 1.0 + b),
    "Gamma": lambda a, b: tfd.Gamma(b + 1.0, tf.exp(tf.tanh(a))),
    "GeneralizedExtremeValue": lambda a, b: tfd.GeneralizedExtremeValue(a, b, 0.2 + 0 * a),
    "GeneralizedNormal": lambda a, b: tfd.GeneralizedNormal(a, b, 1.5 + 0 * a),
    "GeneralizedPareto": lambda a, b: tfd.GeneralizedPareto(a, b, 0.2 + 0 * a),
    "Gumbel": lambda a, b: tfd.Gumbel(a, b),
    "HalfNormal": lambda a, b: tfd.HalfNormal(b),
    "HalfStudentT": lambda a, b: tfd.HalfStudentT(3.0 + 0 * a, 0 * a, b),
    "InverseGamma": lambda a, b: tfd.InverseGamma(3.0 + b, tf.exp(tf.tanh(a))),
    "InverseGaussian": lambda a, b: tfd.InverseGaussian(b, 1.0 + b),
    "JohnsonSU": lambda a, b: tfd.JohnsonSU(a, 1.0 + b, 0 * a, b),
    "Kumaraswamy": lambda a, b: tfd.Kumaraswamy(b + 1.0, 1.5 + 0 * a),
    "LambertWNormal": lambda a, b: tfd.LambertWNormal(a, b, 0.1 + 0 * a),
    "Laplace": lambda a, b: tfd.Laplace(a, b),
    "LogLogistic": lambda a, b: tfd.LogLogistic(a, 0.3 * tf.tanh(b)),
    "LogNormal": lambda a, b: tfd.LogNormal(a, b),
    "Logistic": lambda a, b: tfd.Logistic(a, b),
    "LogitNormal": lambda a, b: tfd.LogitNormal(a, b),
    "Moyal": lambda a, b: tfd.Moyal(a, b),
    "Normal": lambda a, b: tfd.Normal(a, b),
    "NormalInverseGaussian": lambda a, b: tfd.NormalInverseGaussian(a, b, 1.0 + b, 0.1 + 0 * a),
    "PERT": lambda a, b: tfd.PERT(-1.0 + 0 * a, tf.tanh(a), 1.0 + 0 * a),
    "Pareto": lambda a, b: tfd.Pareto(3.0 + b, tf.exp(tf.tanh(a))),
    "SigmoidBeta": lambda a, b: tfd.SigmoidBeta(b + 0.5, 1.0 + 0 * a),
    "SinhArcsinh": lambda a, b: tfd.SinhArcsinh(a, b, 0.1 + 0 * a, 1.2 + 0 * a),
    "StudentT": lambda a, b: tfd.StudentT(3.0 + 0 * a, a, b),
    "Triangular": lambda a, b: tfd.Triangular(a - b, a + b, a),
    "TruncatedNormal": lambda a, b: tfd.TruncatedNormal(a, b, -1.0, 2.0),
    "TwoPieceNormal": lambda a, b: tfd.TwoPieceNormal(a, b, 1.5 + 0 * a),
    "TwoPieceStudentT": lambda a, b: tfd.TwoPieceStudentT(3.0 + 0 * a, a, b, 1.5 + 0 * a),
    "Uniform": lambda a, b: tfd.Uniform(a - b, a + b),
    "VonMises": lambda a, b: tfd.VonMises(a, b),
    "Weibull": lambda a, b: tfd.Weibull(1.0 + b, tf.exp(tf.tanh(a))),
    "MultivariateNormalDiag": lambda a, b: tfd.MultivariateNormalDiag(a, b),
    "MultivariateStudentT": lambda a, b: tfd.MultivariateStudentTLinearOperator(
        3.0, a, tf.linalg.LinearOperatorDiag(b)
    ),
    "Sample": lambda a, b: tfd.Sample(tfd.Normal(a[..., 0], b[..., 0]), L),
    "softplus of a normal": lambda a, b: tfp.bijectors.Softplus()(tfd.Normal(a, b)),
}
# One of each kind of support, tail and construction is looked at every day, all of them with `pytest -m exhaustive`.
EVERY_DAY = ("Beta", "ContinuousBernoulli", "Gamma", "Gumbel", "JohnsonSU", "LogNormal", "StudentT", "TruncatedNormal")
EVERY_DAY += ("Uniform", "VonMises", "MultivariateNormalDiag", "Sample", "softplus of a normal")
# What is refused, and the words that say what to do.
REFUSED = {
    "Cauchy": (lambda a, b: tfd.Cauchy(a, b), "too heavy"),
    "HalfCauchy": (lambda a, b: tfd.HalfCauchy(0 * a, b), "too heavy"),
    "Horseshoe": (lambda a, b: tfd.Horseshoe(b), "too heavy"),
    "StudentT of any df": (lambda a, b: tfd.StudentT(b, a, 1.0), "df of a Student t above 2"),
    "Pareto of any moments": (lambda a, b: tfd.Pareto(b, 1.0), "too heavy"),
    "exp of a Laplace": (lambda a, b: tfp.bijectors.Exp()(tfd.Laplace(a, b)), "too heavy"),
    "NoncentralChi2": (lambda a, b: tfd.NoncentralChi2(b + 1.0, 1.0 + b), "NOT_REPARAMETERIZED"),
    "Poisson": (lambda a, b: tfd.Poisson(b), "NOT_REPARAMETERIZED"),
    "Dirichlet": (lambda a, b: tfd.Dirichlet(b), "on a simplex"),
    "RelaxedBernoulli": (lambda a, b: tfd.RelaxedBernoulli(0.67, logits=a), r"def point\(self, q\)"),
    "forgotten Independent": (None, "wrap independent numbers"),
}


@kv.register
class OfTFP(posteriors.Posterior):
    """A user's posterior around one of them."""

    def __init__(self, family, **kwargs):
        super().__init__(L, **kwargs)
        self.family = family

    @property
    def params_size(self):
        return 2 * self.latent_dim

    def distribution(self, params):
        a, b = tf.split(params, 2, axis=-1)
        if self.family == "forgotten Independent":
            return tfd.Normal(a, posteriors.positive(b))
        make = FAMILIES.get(self.family) or REFUSED[self.family][0]
        q = make(a, posteriors.positive(b))
        return q if q.event_shape.rank else tfd.Independent(q, 1)


def make(family, prior=None):
    encoder = parts.encoder("mlp", [8], OfTFP(family))
    decoder = parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]())
    return kv.VAE(encoder, decoder, prior or priors.StandardNormal(L), seed=1)


def each(families, *marks):
    return [pytest.param(f, marks=marks if f in EVERY_DAY else pytest.mark.exhaustive) for f in families]


@pytest.mark.parametrize("family", each(FAMILIES))
def test_it_is_encoded_drawn_and_decoded(family):
    vae, x = make(family), parts.data(parts.LIKELIHOODS["normal"](), 8)
    q = vae.encode(x)
    z = np.asarray(q.sample(100, seed=[0, 1]))
    low, high = vae.encoder.posterior.support
    assert z.min() >= low and z.max() <= high
    point = np.asarray(vae.encoder.posterior.point(q))
    # It lies among the draws.
    assert point.shape == (8, L) and np.all(point > z.min(axis=0)) and np.all(point < z.max(axis=0))
    assert np.isfinite(vae.reconstruct(x)).all() and np.isfinite(vae.log_prob(x, 5, seed=0)).all()


# Of LambertWNormal TFP itself loses the static shape of draws.
@pytest.mark.parametrize("family", each([name for name in FAMILIES if name != "LambertWNormal"], pytest.mark.slow))
def test_it_is_trained(family):
    vae, x = make(family), parts.data(parts.LIKELIHOODS["normal"](), 32)
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(x, validation_data=x, batch_size=16, epochs=8, verbose=0).history
    assert np.isfinite(history["val_elbo"]).all() and history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    "family", ["SinhArcsinh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("LogNormal", "LogitNormal"))]
)
def test_those_that_lose_their_shape_or_have_no_mean_go_all_the_way(family, tmp_path):
    vae, x = make(family), parts.data(parts.LIKELIHOODS["normal"](), 32)
    vae.compile(keras.optimizers.Adam(1e-2))
    history = vae.fit(x, validation_data=x, batch_size=16, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    report = evaluation.evaluate(vae, x, num_samples=5, verbose=False)
    assert report["test"]["log_likelihood"]["mean"] > report["test"]["elbo"] - 1.0
    vae.save(tmp_path / "vae.keras")
    np.testing.assert_array_equal(kv.load(tmp_path / "vae.keras").reconstruct(x), vae.reconstruct(x))
    assert export.to_saved_model(vae, tmp_path / "served").ok


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_is_refused_with_the_remedy(family):
    with pytest.raises(ValueError, match=REFUSED[family][1]):
        make(family).encode(parts.data(parts.LIKELIHOODS["normal"](), 2))


def test_supports_are_looked_up_and_not_assumed():
    assert OfTFP("LogNormal").support == Support(0.0, np.inf)
    assert OfTFP("TruncatedNormal").support == Support(-1.0, 2.0)
    assert OfTFP("Uniform").support.high > 5.0  # it moves with its parameters
    with pytest.raises(ValueError, match=r"support on \[0, inf\]"):
        make("LogNormal", priors.Uniform(L))
    make("Beta", priors.Uniform(L))


def test_a_distribution_written_over_that_of_the_package_is_looked_up():
    @kv.register
    class Subclassed(posteriors.MultivariateNormalDiag):
        def distribution(self, params):
            loc, raw = tf.split(params, 2, axis=-1)
            return tfd.Independent(tfd.Cauchy(loc, posteriors.positive(raw)), 1)

    with pytest.raises(ValueError, match="too heavy"):
        parts_of = parts.encoder("mlp", [8], Subclassed(L)), parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]())
        kv.VAE(*parts_of, priors.StandardNormal(L))


@kv.register
class HeavyPrior(priors.Prior):
    def distribution(self, encoder=None, condition=None):
        return tfd.Independent(tfd.StudentT(1.0, tf.zeros(self.latent_dim), 1.0), 1)


def test_a_heavy_posterior_goes_with_a_heavy_prior():
    vae, x = make("Cauchy", HeavyPrior(L)), parts.data(parts.LIKELIHOODS["normal"](), 8)
    # A Cauchy has no mean: its median stands for an example.
    q = vae.encode(x)
    np.testing.assert_array_equal(vae.encoder.posterior.point(q), q.distribution.loc)
    assert np.isfinite(vae.infer(x, 1000, seed=0).kl).all()


class Whispered(tfd.Distribution):
    """A Cauchy that TFP does not know."""

    def __init__(self, loc):
        self.inner = tfd.Independent(tfd.Cauchy(loc, 1.0), 1)
        super().__init__(tf.float32, tfd.FULLY_REPARAMETERIZED, False, True, parameters={"loc": loc})

    def _batch_shape(self):
        return self.inner.batch_shape

    def _batch_shape_tensor(self):
        return self.inner.batch_shape_tensor()

    def _event_shape(self):
        return self.inner.event_shape

    def _event_shape_tensor(self):
        return self.inner.event_shape_tensor()

    def _sample_n(self, n, seed=None):
        return self.inner.sample(n, seed=seed)

    def _log_prob(self, z):
        return self.inner.log_prob(z)

    def _mode(self):
        return self.inner.mode()


@kv.register
class Unknown(posteriors.Posterior):
    @property
    def params_size(self):
        return self.latent_dim

    def distribution(self, params):
        return Whispered(params)


@kv.register
class Declared(Unknown):
    tails = posteriors.Tails.polynomial(moments=1)


def test_unknown_tails_are_warned_of_and_declared_ones_count():
    def build(posterior):
        decoder = parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]())
        vae = kv.VAE(parts.encoder("mlp", [8], posterior), decoder, priors.StandardNormal(L), seed=0)
        vae.build()
        return vae

    with pytest.raises(ValueError, match="too heavy"):
        build(Declared(L))
    with pytest.warns(UserWarning, match="Nothing is known of the tails of Unknown"):
        vae = build(Unknown(L))
    x = parts.data(vae.decoder.likelihood, 64)
    found = {finding.name: finding for finding in evaluation.diagnose(vae, x)}
    assert found["kl_without_mean"].value > 1.5 and "no mean" in found["kl_without_mean"].message
    # A sampled KL of light tails is none.
    mixture = make("Normal", priors.NormalMixture(L, 3))
    assert "kl_without_mean" not in {finding.name for finding in evaluation.diagnose(mixture, x)}
