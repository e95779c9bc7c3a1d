"""Objectives against their formulas, and estimators of gradients against each other."""

import dataclasses
import math

import numpy as np
import parts
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.schedules import Linear
from keras_vae.terms import LatentGroup, Terms, few_of_many, latent_group, pathwise

K, B, D, L = 4, 3000, 3, 2


def terms(num_samples=3, batch=4, event_shape=(7,), weights=None):
    """Terms with simple distributions; one latent group."""
    q = tfd.MultivariateNormalDiag(tf.random.stateless_normal((batch, L), [1, 2]), 0.5 * tf.ones((batch, L)))
    p = tfd.MultivariateNormalDiag(tf.zeros(L), tf.ones(L))
    z = q.sample(num_samples, seed=[3, 4])
    likelihood = tfd.Independent(tfd.Normal(tf.reduce_sum(z, -1)[..., None] * tf.ones(event_shape), 1.0), 1)
    log_likelihood = likelihood.log_prob(tf.ones((batch, *event_shape)))
    weights = None if weights is None else tf.constant(weights, tf.float32)
    return Terms(log_likelihood, [latent_group(q, p, z)], likelihood, weights)


def value(objective, t, step=0):
    loss, extra = objective(t, tf.constant(step, tf.int64))
    assert set(extra) == set(objective.metric_names)
    assert loss.shape == ()
    return float(loss)


def test_elbo_weighs_the_kl():
    t = terms()
    log_likelihood, kl = float(tf.reduce_mean(t.log_likelihood)), float(tf.reduce_mean(t.kl))
    assert value(objectives.ELBO(), t) == pytest.approx(kl - log_likelihood)
    assert value(objectives.ELBO(kl_weight=4.0), t) == pytest.approx(4 * kl - log_likelihood)
    warm_up = objectives.ELBO(kl_weight=Linear(10))
    assert value(warm_up, t, step=5) == pytest.approx(0.5 * kl - log_likelihood)
    assert float(warm_up(t, tf.constant(5))[1]["kl_weight"]) == 0.5


def test_free_bits_limit_what_each_dimension_is_charged_for_its_mean_kl():
    t = terms()
    per_dim = np.mean(t.groups[0].kl_per_dim, axis=0)
    limit = float(per_dim.mean())
    assert per_dim.min() < limit < per_dim.max()
    expected = np.maximum(per_dim, limit).sum() - np.mean(t.log_likelihood)
    assert value(objectives.ELBO(free_bits=limit), t) == pytest.approx(expected, rel=1e-5)


def test_kl_balancing_charges_levels_by_what_they_carry_for_each_dimension():
    first = terms().groups[0]
    q = tfd.MultivariateNormalDiag(0.1 * tf.random.stateless_normal((4, 5), [5, 6]), 0.9 * tf.ones((4, 5)))
    second = latent_group(q, tfd.MultivariateNormalDiag(tf.zeros(5), tf.ones(5)), q.sample(3, seed=[7, 8]))
    base = terms()
    t = Terms(base.log_likelihood, [first, second], base.likelihood)
    kl = np.array([np.mean(first.kl), np.mean(second.kl)], "float64")
    weights = (kl + 0.01) / [2, 5]
    weights /= weights.mean()
    log_likelihood = np.mean(t.log_likelihood)
    objective = objectives.ELBO(kl_weight=Linear(10), kl_balancing=True)
    assert weights[0] > 2 * weights[1]
    assert value(objective, t, step=5) == pytest.approx(0.5 * weights @ kl - log_likelihood, rel=1e-5)
    assert value(objective, t, step=10) == pytest.approx(value(objectives.ELBO(), t))
    # Of a single level it is the plain warm-up.
    plain = objectives.ELBO(kl_weight=Linear(10))
    assert value(objective, base, step=5) == pytest.approx(value(plain, base, step=5))


def test_kl_balancing_is_a_weight_without_a_gradient():
    loc = tf.Variable([[1.0, 2.0]])
    p = tfd.MultivariateNormalDiag(tf.zeros(1), tf.ones(1))
    objective = objectives.ELBO(kl_weight=Linear(2), kl_balancing=True)
    with tf.GradientTape() as tape:
        groups = []
        for index in range(2):
            q = tfd.MultivariateNormalDiag(loc[:, index : index + 1], tf.ones((1, 1)))
            groups.append(latent_group(q, p, q.sample(1, seed=[0, index])))
        loss, _ = objective(Terms(tf.zeros((1, 1)), groups, p), tf.constant(1))
    weights = np.array([0.5 + 0.01, 2.0 + 0.01])
    np.testing.assert_allclose(tape.gradient(loss, loc), [0.5 * weights / weights.mean() * [1.0, 2.0]], rtol=1e-5)


def test_kl_balancing_without_a_warm_up_is_refused():
    with pytest.raises(ValueError, match="give a warm-up"):
        objectives.ELBO(kl_balancing=True)


def test_free_bits_limit_a_group_whose_kl_does_not_split():
    t = terms()
    (group,) = t.groups
    t.groups[0] = LatentGroup(**{**vars(group), "kl_per_dim": None})
    assert value(objectives.ELBO(free_bits=1e3), t) == pytest.approx(1e3 - np.mean(t.log_likelihood))
    assert value(objectives.ELBO(free_bits=1e-3), t) == pytest.approx(value(objectives.ELBO(), t))


@pytest.mark.parametrize("capacity", [0.0, 0.5, 50.0])
def test_capacity_holds_the_mean_kl_near_c(capacity):
    t = terms()
    expected = 7 * abs(np.mean(t.kl) - capacity) - np.mean(t.log_likelihood)
    assert value(objectives.Capacity(capacity, kl_weight=7.0), t) == pytest.approx(expected, rel=1e-5)


def test_capacity_grows_with_the_step_and_is_logged():
    objective = objectives.Capacity(Linear(100, end=25.0))
    assert float(objective(terms(), tf.constant(50))[1]["capacity"]) == pytest.approx(12.5)


def test_reconstruction_ignores_the_kl():
    t = terms()
    assert value(objectives.Reconstruction(), t) == pytest.approx(-np.mean(t.log_likelihood))


@pytest.mark.parametrize("estimator", objectives.ImportanceWeighted.ESTIMATORS)
def test_importance_weighted_value(estimator):
    t = terms()
    bound = np.log(np.mean(np.exp(np.asarray(t.log_weights, "float64")), axis=0))
    assert value(objectives.ImportanceWeighted(3, estimator), t) == pytest.approx(-bound.mean(), rel=1e-5)


def test_one_sample_makes_the_importance_weighted_bound_a_sampled_elbo():
    t = terms(num_samples=1)
    expected = -np.mean(t.log_likelihood + t.groups[0].log_p - t.groups[0].log_q)
    assert value(objectives.ImportanceWeighted(1), t) == pytest.approx(expected, rel=1e-5)


# The perceptual term is of images: its weights have a test in test_perceptual.py.
@pytest.mark.parametrize("name", [n for n in parts.OBJECTIVES if n not in parts.OF_ONE_KIND and n != "perceptual"])
def test_sample_weights_are_those_of_a_weighted_mean(name):
    objective = parts.OBJECTIVES[name]()
    draws = objective.num_samples
    weighted, repeated = (terms(draws, weights=[2.0 * w, w, 0.0, 0.0]) for w in (1.0, 2.0))
    assert value(objective, weighted) == pytest.approx(value(objective, repeated), rel=1e-5)
    if name not in ("weighted", "capacity", "dip", "mmd"):  # which are no means over examples
        each = [value(objective, terms(draws, weights=np.eye(4)[i])) for i in range(2)]
        assert value(objective, weighted) == pytest.approx((2 * each[0] + each[1]) / 3, rel=1e-5)


def gradients(estimator, num_samples, seed, few=None):
    """Gradients of B independent estimates, one row each: of the encoder's [B, 2 L] and of the decoder's [B, L, D]."""
    x = tf.constant([1.0, -0.5, 0.7])
    loc = tf.tile([[0.2, -0.4]], [B, 1])
    log_scale = tf.tile([[-0.3, 0.2]], [B, 1])
    weights = tf.tile([[[1.0, 0.3, -0.5], [-0.2, 0.8, 0.6]]], [B, 1, 1])
    prior = tfd.MultivariateNormalDiag(tf.zeros(L), tf.ones(L))
    objective = objectives.ImportanceWeighted(num_samples, estimator, few)
    with tf.GradientTape() as tape:
        tape.watch([loc, log_scale, weights])
        q = tfd.MultivariateNormalDiag(loc, tf.exp(log_scale))
        z = q.sample(num_samples, seed=seed)

        def terms_at(z):
            likelihood = tfd.MultivariateNormalDiag(tf.einsum("kbl,bld->kbd", z, weights), 0.5 * tf.ones(D))
            return Terms(likelihood.log_prob(x), [latent_group(q, prior, z)], likelihood)

        def at(z):
            return pathwise(terms_at, z) if "pathwise" in objective.needs else terms_at(z)

        if few is None:
            t = at(z)
        else:
            t = terms_at(z)
            (chosen,), shares = few_of_many(t, few, [7, 8])
            t = dataclasses.replace(t, few=at(chosen), shares=shares)
        loss = B * objective(t, tf.constant(0))[0]
    of_loc, of_scale, of_decoder = tape.gradient(loss, [loc, log_scale, weights])
    return np.concatenate([of_loc, of_scale], axis=1), np.asarray(of_decoder).reshape(B, -1)


@pytest.mark.parametrize(("estimator", "num_samples"), [("stl", 1), ("dreg", 1), ("dreg", K), ("dreg", 32)])
def test_stl_and_dreg_agree_with_the_plain_gradient_in_expectation_and_are_less_noisy(estimator, num_samples):
    plain, _ = gradients("iwae", num_samples, seed=[1, 2])
    other, same_decoder = gradients(estimator, num_samples, seed=[3, 4])
    error = np.sqrt((plain.var(axis=0) + other.var(axis=0)) / B)
    assert np.all(np.abs(plain.mean(axis=0) - other.mean(axis=0)) < 4.5 * error)
    assert np.all(other.var(axis=0) < 0.95 * plain.var(axis=0))
    np.testing.assert_allclose(same_decoder, gradients("iwae", num_samples, seed=[3, 4])[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("few", [1, 3])
@pytest.mark.parametrize("estimator", objectives.ImportanceWeighted.ESTIMATORS)
def test_a_few_draws_that_are_chosen_by_their_weights_agree_with_all_in_expectation(estimator, few):
    pairs = zip(gradients(estimator, 16, [1, 2]), gradients(estimator, 16, [1, 2], few), strict=True)
    for all_of_them, some in pairs:
        # The draws are the same: only the choice differs.
        error = (some - all_of_them).std(axis=0) / math.sqrt(B)
        assert np.all(error > 0)
        assert np.all(np.abs((some - all_of_them).mean(axis=0)) < 4.5 * error)


def test_draws_are_chosen_as_often_as_their_weights_say():
    t = terms(num_samples=5)
    v = np.asarray(tf.nn.softmax(t.log_weights, axis=0))
    counts, seeds = np.zeros_like(v), 500
    for seed in range(seeds):
        (z,), shares = few_of_many(t, 3, [seed, 0])
        here = np.array([np.all(np.asarray(z) == t.groups[0].z[k], axis=-1).sum(axis=0) for k in range(5)])
        assert np.all(here >= np.floor(3 * v - 1e-5)) and np.all(here.sum(axis=0) == 3)
        np.testing.assert_allclose(np.sum(shares, axis=0), np.sum(here * v, axis=0), rtol=1e-5)
        counts += here
    np.testing.assert_allclose(counts / seeds, 3 * v, atol=4.5 * 0.5 / math.sqrt(seeds))


def test_all_draws_give_the_value_and_the_logs_and_a_few_the_gradient():
    x = parts.data(parts.LIKELIHOODS["normal"]())
    vae = parts_vae(objectives.ImportanceWeighted(8, "iwae", 2))
    plain = kv.VAE(vae.encoder, vae.decoder, vae.prior, objectives.ImportanceWeighted(8), seed=0)
    few, all_of_them = (model.infer(x, 8, seed=0, training=True) for model in (vae, plain))
    assert few.few.log_likelihood.shape == (2, len(x))
    for name in ("log_weights", "elbo", "log_likelihood"):
        np.testing.assert_array_equal(getattr(few, name), getattr(all_of_them, name))
    assert value(vae.objective, few) == pytest.approx(value(plain.objective, all_of_them), rel=1e-6)
    assert vae.infer(x, 8, seed=0).few is None


def parts_vae(objective):
    return kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(L)),
        kv.Decoder(networks.mlp([8]), likelihoods.Normal(parts.SHAPE)),
        priors.StandardNormal(L),
        objective,
        seed=0,
    )


def test_stl_is_biased_for_several_samples_as_documented():
    plain, _ = gradients("iwae", 32, seed=[1, 2])
    other, _ = gradients("stl", 32, seed=[3, 4])
    error = np.sqrt((plain.var(axis=0) + other.var(axis=0)) / B)
    assert np.any(np.abs(plain.mean(axis=0) - other.mean(axis=0)) > 10 * error)


def test_the_signal_to_noise_of_dreg_rises_with_k_where_that_of_iwae_falls():
    """Rainforth et al. 2018, "Tighter variational bounds are not necessarily better"; Tucker et al. 2019."""

    def signal_to_noise(estimator, k):
        g, _ = gradients(estimator, k, seed=[5, 6])
        return np.linalg.norm(g.mean(axis=0)) / np.sqrt(g.var(axis=0).sum())

    assert signal_to_noise("iwae", 64) < signal_to_noise("iwae", 2)
    assert signal_to_noise("dreg", 64) > signal_to_noise("dreg", 2)


def test_the_prior_of_pseudo_inputs_learns_through_the_encoder_under_all_estimators():
    """A VampPrior's weights are the encoder's: their gradient as a prior must survive that q is held fixed."""
    x = parts.data(parts.LIKELIHOODS["normal"]())
    for estimator in objectives.ImportanceWeighted.ESTIMATORS:
        vae = kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(L)),
            kv.Decoder(networks.mlp([8]), likelihoods.Normal(parts.SHAPE)),
            priors.VampPrior(L, num_pseudo_inputs=2),
            objectives.ImportanceWeighted(2, estimator),
        )
        with tf.GradientTape() as tape:
            loss, _ = vae.objective(vae.infer(x, 2, seed=0, training=True), tf.constant(0))
        for gradient in tape.gradient(loss, vae.trainable_variables):
            assert np.all(np.isfinite(gradient))
            assert np.any(np.asarray(gradient) != 0)


def test_only_training_pays_for_pathwise_terms():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,))),
        priors.StandardNormal(L),
        objectives.ImportanceWeighted(2, "dreg"),
    )
    x = tf.ones((4, D))
    training, evaluation = (vae.infer(x, 2, seed=0, training=flag) for flag in (True, False))
    assert evaluation.pathwise is None
    np.testing.assert_array_equal(training.pathwise, np.zeros((2, 4)))
    np.testing.assert_allclose(training.log_weights, evaluation.log_weights, rtol=1e-6)


def test_what_chooses_the_best_model_must_be_logged():
    @kv.register
    class Unlogged(objectives.ELBO):
        monitor = "bound"

    with pytest.raises(
        ValueError, match="by 'bound', which is not logged: monitor one of loss, elbo, log_likelihood, kl"
    ):
        kv.VAE(
            kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2)),
            kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli((4,))),
            priors.StandardNormal(2),
            Unlogged(),
        )
