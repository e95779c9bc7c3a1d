"""The ELBO under a mixture whose components are to be told from the data: its terms against NumPy."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from scipy.stats import entropy, multivariate_normal
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import disentanglement, likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.mixtures import mixture
from keras_vae.schedules import Linear
from keras_vae.terms import Terms, latent_groups

STEP = tf.constant(2, tf.int64)
LOC = np.array([[0.0, 1.0], [1.5, -1.0], [-1.0, -0.5]])
SCALE = np.array([[1.0, 0.5], [0.7, 1.2], [0.4, 0.9]])
WEIGHTS = np.array([0.5, 0.2, 0.3])


def terms(means, sample_weight=None, loc=LOC):
    """Terms of q = N(means, 0.3^2) under the mixture above."""
    means = tf.convert_to_tensor(means, tf.float32)
    q = tfd.MultivariateNormalDiag(means, tf.fill(means.shape, 0.3))
    components = tfd.MultivariateNormalDiag(tf.constant(loc, tf.float32), tf.constant(SCALE, tf.float32))
    p = mixture(tf.math.log(tf.constant(WEIGHTS, tf.float32)), components)
    groups = latent_groups(q, p, q.sample(1, seed=[0, 1]))
    likelihood = tfd.MultivariateNormalDiag(tf.zeros([1, len(means), 2]))
    return Terms(likelihood.log_prob(means), groups, likelihood, sample_weight=sample_weight)


def responsibilities(means):
    each = [w * multivariate_normal(m, np.diag(s**2)).pdf(means) for w, m, s in zip(WEIGHTS, LOC, SCALE, strict=True)]
    return np.stack(each, axis=-1) / np.sum(each, axis=0)[:, None]


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.0, 1.0, 4.0, 0.5]])
def test_it_is_the_elbo_with_information_and_balance_of_the_batch(weight):
    means = np.random.default_rng(0).normal(size=(6, 2))
    t = terms(means, None if weight is None else tf.constant(weight))
    loss, extra = objectives.ClusteredELBO(3.0, Linear(4, 0.0, 8.0), kl_weight=2.0)(t, STEP)
    shares = np.full(6, 1 / 6) if weight is None else np.array(weight) / np.sum(weight)
    p = responsibilities(means)
    information = entropy(shares @ p) - shares @ entropy(p, axis=-1)
    imbalance = np.log(3) - entropy(shares @ p)
    elbo = objectives.ELBO(kl_weight=2.0)(t, STEP)[0]
    assert float(extra["information"]) == pytest.approx(information, abs=1e-5)
    assert float(extra["imbalance"]) == pytest.approx(imbalance, abs=1e-5)
    assert float(loss - elbo) == pytest.approx(-3.0 * information + 4.0 * imbalance, abs=1e-4)


def test_what_is_far_from_all_components_but_its_own_is_told_to_the_last_nat():
    """Responsibilities underflow: 0 log 0 is 0, and its gradient a number."""
    means = tf.Variable(1000.0 * LOC, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss, extra = objectives.ClusteredELBO(1.0, 1.0)(terms(means, loc=1000.0 * LOC), STEP)
    assert float(extra["information"]) == pytest.approx(np.log(3), abs=1e-6)
    assert abs(float(extra["imbalance"])) < 1e-6
    assert np.isfinite(tape.gradient(loss, means)).all()


def test_the_best_model_is_that_of_the_least_loss():
    assert objectives.ClusteredELBO(1.0, 1.0).monitor == "loss"
    assert objectives.ClusteredELBO(1.0, 1.0, Linear(4)).metric_names == ("kl_weight", "information", "imbalance")


def model(posterior="diag", prior="mixture", objective=None):
    return kv.VAE(
        parts.encoder("mlp", [8], parts.POSTERIORS[posterior]()),
        parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]()),
        parts.PRIORS[prior](),
        objective or objectives.ClusteredELBO(1.0, 1.0),
        seed=1,
    )


@pytest.mark.parametrize(
    ("posterior", "prior", "message"),
    [
        ("diag", "standard_normal", r"whose prior is a mixture: give priors.NormalMixture\(3, num_components\)"),
        ("joint", "joint", "one group of latents whose prior is a mixture"),
        ("iaf", "mixture", r"at the mean of q\(z\|x\).*MultivariateNormalDiag\(3\)"),
    ],
)
def test_what_has_no_component_is_refused(posterior, prior, message):
    vae = model(posterior, prior)
    vae.compile(keras.optimizers.Adam(1e-3))
    with pytest.raises(ValueError, match=message):
        vae.fit(parts.data(vae.decoder.likelihood), verbose=0)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_it_trains_with_every_prior_that_is_a_mixture(prior):
    vae = model(prior=prior)
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(parts.data(vae.decoder.likelihood), verbose=0).history
    assert {"information", "imbalance"} <= set(history) and np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_start_that_cuts_a_cluster_in_two_is_mended(seed):
    """Two stripes, longer than they lie apart, under two components that begin with one half of each.

    The ELBO keeps them there, and information alone does: it is as large with one cut as with the other.
    """
    random = np.random.default_rng(seed)
    y = random.integers(2, size=600)
    x = np.stack([random.uniform(-1.5, 1.5, 600), 2.0 * y - 1.0, np.zeros(600)], axis=1)
    x = (x + random.normal(scale=0.1, size=x.shape)).astype("float32")
    found = {}
    for name, kind, objective in [
        ("elbo", kv.VAE, objectives.ELBO()),
        ("clustered", kv.SmoothCodeVAE, objectives.ClusteredELBO(30.0, 60.0)),
    ]:
        keras.utils.set_random_seed(seed)
        options = {} if kind is kv.VAE else {"smoothness_weight": Linear(100, 0.0, 100.0), "radius": 0.8}
        vae = kind(
            kv.Encoder(networks.mlp([32]), posteriors.MultivariateNormalDiag(2)),
            kv.Decoder(networks.mlp([32]), likelihoods.Normal((3,), scale=0.3)),
            priors.NormalMixture(2, 2),
            objective,
            seed=seed,
            **options,
        )
        pretrained = kv.VAE(vae.encoder, vae.decoder, priors.StandardNormal(2), seed=seed)
        pretrained.compile(keras.optimizers.Adam(5e-3))
        pretrained.fit(x, batch_size=100, epochs=10, verbose=0)
        z = np.asarray(vae.encode(x).mean())
        halves = [z[x[:, 0] < 0].mean(axis=0), z[x[:, 0] >= 0].mean(axis=0)]
        vae.prior.loc.assign(halves)
        vae.compile(keras.optimizers.Adam(5e-3))
        vae.fit(x, batch_size=100, epochs=30, verbose=0)
        cluster = vae.prior.responsibilities(vae.encode(x).mean()).numpy().argmax(axis=-1)
        found[name] = disentanglement.unsupervised_accuracy(cluster, y)
    assert found["clustered"] > 0.95 and found["elbo"] < 0.85, found
