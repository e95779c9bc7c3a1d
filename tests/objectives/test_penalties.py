"""A penalty reaches all weights beside every estimator of the gradient, as it does alone."""

import numpy as np
import parts
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import objectives, seeds

K, STEP = 2, tf.constant(1, tf.int64)
PENALTIES = [
    name for name in parts.OBJECTIVES if name not in ("iwae", "stl", "dreg", "few", "committed", "joint_capacity")
]
# Those of models of one kind.
ONLY_OF = {"cascade": "closed", "clustered": "sampled"}
# The KL to the mixture, and of a flow, is a mean over the draws; the log-ratio to it a function of z.
MODELS = {
    "closed": ("diag", "standard_normal"),
    "sampled": ("tril", "mixture"),
    "flow": ("iaf", "standard_normal"),
    "bounded": ("kumaraswamy", "uniform"),
    "joint": ("joint", "joint"),
}


class Beside(objectives.ImportanceWeighted):
    """An estimator, and another loss beside it."""

    def __init__(self, estimator, penalty):
        super().__init__(K, estimator)
        self.penalty = penalty

    def __call__(self, terms, step):
        loss, extra = super().__call__(terms, step)
        return loss + self.penalty(terms, step)[0], extra


def model(posterior, prior, kind=kv.VAE, **options):
    made = kind(
        parts.encoder("mlp", [8], parts.POSTERIORS[posterior]()),
        parts.decoder("mlp", [8], parts.LIKELIHOODS["normal"]()),
        parts.PRIORS[prior](),
        seed=1,
        **options,
    )
    made.build()
    return made


def with_objective(vae, objective):
    """A model of the same parts, with another objective."""
    made = kv.VAE(vae.encoder, vae.decoder, vae.prior, objective, seed=1)
    made.build()
    return made


def gradients(vae):
    x = parts.data(vae.decoder.likelihood)
    with tf.GradientTape() as tape:
        _, loss, _ = vae.compute_objective(x, None, None, tf.constant([3, 4]), training=True)
    return of_weights(tape, loss, vae)


def of_weights(tape, loss, vae):
    weights = vae.trainable_variables
    found = zip(tape.gradient(loss, weights), weights, strict=True)
    return [np.zeros(w.shape) if gradient is None else np.asarray(gradient, "float64") for gradient, w in found]


def assert_adds_up(total, first, second, weights):
    for weight, *each in zip(weights, total, first, second, strict=True):
        scale = max(np.abs(each[1]).max(), np.abs(each[2]).max())
        np.testing.assert_allclose(each[0], each[1] + each[2], atol=2e-5 * scale + 1e-6, err_msg=weight.path)


@pytest.mark.parametrize(
    "of", [name if name in ("closed", "sampled") else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_a_penalty_has_its_own_gradient_beside_every_estimator(of):
    vae = model(*MODELS[of])
    estimators = objectives.ImportanceWeighted.ESTIMATORS
    alone = [gradients(with_objective(vae, objectives.ImportanceWeighted(K, name))) for name in estimators]
    for name in PENALTIES:
        penalty = parts.OBJECTIVES[name]()
        penalty.num_samples = K
        if (penalty.uses_marginals and of not in ("closed", "sampled")) or ONLY_OF.get(name, of) != of:
            continue
        its_own = gradients(with_objective(vae, penalty))
        assert any(np.any(gradient) for gradient in its_own)
        for estimator, first in zip(estimators, alone, strict=True):
            total = gradients(with_objective(vae, Beside(estimator, penalty)))
            assert_adds_up(total, first, its_own, vae.trainable_variables)


@pytest.mark.parametrize("estimator", objectives.ImportanceWeighted.ESTIMATORS)
def test_the_discriminator_of_a_factor_vae_reaches_the_encoder_under_every_estimator(estimator):
    objective = objectives.ImportanceWeighted(K, estimator)
    options = {"objective": objective, "tc_weight": 0.0, "discriminator_units": (8,)}
    vae = model("diag", "standard_normal", kv.FactorVAE, **options)
    alone = gradients(vae)
    vae.tc_weight = 50.0
    total = gradients(vae)
    x = parts.data(vae.decoder.likelihood)
    with tf.GradientTape() as tape:
        # The seed of the first replica.
        z, _ = vae.encoder(x).experimental_sample_and_log_prob(K, seed=seeds.fold_in(tf.constant([3, 4]), 0))
        penalty = 50.0 * tf.reduce_mean(vae._log_ratio(z))
    its_own = of_weights(tape, penalty, vae)
    assert max(np.abs(gradient).max() for gradient in its_own) > 0.1
    assert_adds_up(total, alone, its_own, vae.trainable_variables)


def test_beside_pathwise_terms_all_others_have_the_values_they_have_alone():
    vae = model("iaf", "mixture")
    x = parts.data(vae.decoder.likelihood)
    plain = vae.infer(x, K, seed=0)
    pathwise = with_objective(vae, objectives.ImportanceWeighted(K, "stl")).infer(x, K, seed=0, training=True)
    for field in ("z", "log_q", "log_p", "kl"):
        np.testing.assert_allclose(getattr(pathwise.groups[0], field), getattr(plain.groups[0], field), rtol=1e-4)
    for field in ("log_likelihood", "log_weights", "elbo"):
        np.testing.assert_allclose(getattr(pathwise, field), getattr(plain, field), rtol=1e-4)
