"""A mixture as clusters: its start from codes against scikit-learn, its responsibilities against Bayes' rule."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.mixtures import in_float32, mixture
from keras_vae.terms import latent_group


def heaps(n=600, seed=0):
    """Codes in four heaps of unlike size, width and weight, and which heap each is of."""
    random = np.random.default_rng(seed)
    label = random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    loc = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 1.0], [0.0, 7.0, -2.0], [-5.0, -5.0, 5.0]])
    scale = np.array([[0.3, 1.0, 0.5], [1.0, 0.2, 0.7], [0.5, 0.5, 0.5], [1.5, 0.1, 0.3]])
    return loc[label] + scale[label] * random.standard_normal((n, 3)), label


def test_the_start_is_the_mixture_that_scikit_learn_fits():
    z, label = heaps()
    prior = priors.NormalMixture(3, 4)
    prior.adapt_to_codes(z.astype("float32"))
    expected = GaussianMixture(4, covariance_type="diag", n_init=10, random_state=0, max_iter=500).fit(z)
    np.testing.assert_allclose(prior.distribution().log_prob(z.astype("float32")), expected.score_samples(z), atol=0.01)
    cluster = prior.responsibilities(z).numpy().argmax(axis=-1)
    # Each heap is one cluster.
    assert len({(a, b) for a, b in zip(cluster, label, strict=True)}) == 4


def test_responsibilities_follow_bayes_rule():
    prior = priors.NormalMixture(2, 3)
    for i, weight in enumerate(prior.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, [i, 1]))
    z = np.random.default_rng(0).normal(size=(4, 5, 2))
    p = prior.distribution()
    weights = tf.nn.softmax(prior.logits).numpy()
    loc, scale = p.components_distribution.mean().numpy(), p.components_distribution.stddev().numpy()
    joint = np.stack(
        [w * multivariate_normal(m, np.diag(s**2)).pdf(z) for w, m, s in zip(weights, loc, scale, strict=True)], axis=-1
    )
    found = prior.responsibilities(z)
    assert found.shape == (4, 5, 3)
    np.testing.assert_allclose(found, joint / joint.sum(axis=-1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_the_likeliest_of_several_fits_counts():
    random = np.random.default_rng(0)
    z = random.uniform(-6, 6, (20, 2)).repeat(20, axis=0) + 0.4 * random.standard_normal((400, 2))
    prior = priors.NormalMixture(2, 20)
    prior.adapt_to_codes(z, seed=2)
    single = [GaussianMixture(20, covariance_type="diag", random_state=seed).fit(z).score(z) for seed in range(6)]
    assert float(np.mean(prior.distribution().log_prob(z.astype("float32")))) > max(single) + 0.01


def test_the_same_codes_and_seed_give_the_same_start_and_a_frozen_scale_stays_positive():
    # Five different codes for four components: some of zero variance.
    z = np.repeat(np.eye(3), 8, axis=0)[:20]
    starts = []
    for _ in range(2):
        prior = priors.NormalMixture(3, 4)
        prior.adapt_to_codes(z, seed=1)
        starts.append([w.numpy() for w in prior.weights])
        assert np.isfinite(prior.distribution().log_prob(z.astype("float32"))).all()
    for a, b in zip(*starts, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((20, 2)), r"array \[N, 3\] .* not of shape \(20, 2\)"),
        (np.zeros((7, 3)), "at least 8 codes"),
        (np.full((20, 3), np.nan), "must be finite"),
    ],
)
def test_codes_that_no_mixture_fits_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        priors.NormalMixture(3, 4).adapt_to_codes(codes)


def test_a_prior_that_takes_no_start_from_codes_says_which_does():
    assert not priors.StandardNormal(3).adapts_to_codes and priors.NormalMixture(3, 4).adapts_to_codes
    with pytest.raises(ValueError, match=r"StandardNormal takes no start from codes. priors.NormalMixture\(3, ...\)"):
        priors.StandardNormal(3).adapt_to_codes(np.zeros((20, 3)))


def test_the_recipe_of_the_docstring_finds_clusters_that_the_prior_alone_does_not_begin_with():
    """Three kinds of pictures: pretraining, the start, and the training, in the lines of the docstring."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    label = random.integers(3, size=300)
    bright = np.repeat(np.eye(3), 12, axis=1).reshape(3, 6, 6, 1)[label]
    x = (random.random(bright.shape) < 0.1 + 0.8 * bright).astype("float32")
    vae = kv.VAE(
        kv.Encoder(networks.mlp([32]), posteriors.MultivariateNormalDiag(4)),
        kv.Decoder(networks.mlp([32]), likelihoods.Bernoulli((6, 6, 1))),
        priors.NormalMixture(4, 3),
        objectives.ELBO(kl_weight=0.0),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(x, epochs=10, batch_size=50, verbose=0)
    vae.prior.adapt_to_codes(vae.encode(x).sample(seed=1))
    vae.objective.kl_weight = 1.0
    before = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    vae.fit(x, epochs=10, batch_size=50, verbose=0)
    assert vae.evaluate(x, verbose=0, return_dict=True)["elbo"] > before
    cluster = vae.prior.responsibilities(vae.encode(x).mean()).numpy().argmax(axis=-1)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (label, cluster), 1)
    assert sorted(counts.argmax(axis=1)) == [0, 1, 2] and counts.max(axis=1).sum() > 290


@pytest.mark.parametrize(("spread", "gap"), [(8.0, 1e-2), (0.7, 1.0)])
def test_the_sampled_kl_lies_below_the_closed_form_of_vade(spread, gap):
    """KL(q || p) <= sum_c g_c KL(q || p_c) + KL(g || w) for any g; equal where one component has all of q."""
    prior = priors.NormalMixture(2, 3)
    prior.loc.assign(spread * np.array([[0.0, 1.0], [1.0, -0.5], [-1.0, -0.5]]))
    prior.raw_scale.assign([[0.0, 0.3], [-0.5, 0.2], [0.4, -0.2]])
    prior.logits.assign([0.5, 0.0, -0.5])
    loc, scale = prior.loc[0] + 0.3, tf.constant([0.5, 0.8])
    q, p = tfd.MultivariateNormalDiag(loc[None], scale[None]), prior.distribution()
    group = latent_group(q, p, q.sample(200_000, seed=[0, 1]))
    assert not group.kl_is_exact
    weights = tf.nn.softmax(prior.logits).numpy()
    each = tfd.kl_divergence(q, p.components_distribution).numpy()
    # The best g of all, at which the bound is -log sum_c w_c exp(-KL(q || p_c)).
    best = -np.log(np.sum(weights * np.exp(-each)))
    responsible = prior.responsibilities(loc).numpy()
    vade = np.sum(responsible * (each + np.log(np.maximum(responsible, 1e-30) / weights)))
    assert group.kl[0] - 0.005 < best <= vade + 1e-5
    assert vade - group.kl[0] < gap


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_the_density_in_float32_is_that_in_float64(scale):
    """Also where the products of the fast formula would cancel: narrow components far from zero."""
    random = np.random.default_rng(0)
    loc = random.normal(size=(20, 8)).astype("float32") * 5
    q = tfd.MultivariateNormalDiag(tf.constant(loc), tf.fill([20, 8], np.float32(scale)))
    p = mixture(tf.constant(random.normal(size=20).astype("float32")), q)
    z = (loc[random.integers(20, size=(3, 40))] + scale * random.normal(size=(3, 40, 8))).astype("float32")
    expected = p.log_prob(z)
    np.testing.assert_allclose(in_float32(p.log_prob)(z), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(p.log_prob(z), expected)
