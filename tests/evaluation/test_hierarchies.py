"""Evaluation of hierarchies: all levels count, against a linear Gaussian one, of which everything is known."""

import json
import math

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, pictures, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.evaluation.aggregate import aggregate_posterior
from keras_vae.evaluation.diagnosis import examine
from keras_vae.evaluation.statistics import latent_statistics, measure
from keras_vae.models.ladder import LadderDecoder, LadderEncoder

D, L, SCALE = 5, 2, 0.6


def linear(sizes, prior=None):
    """x is linear in z_1 and in the noise of each level below, whose priors' means are linear in what is above."""
    vae = kv.VAE(
        LadderEncoder(networks.mlp([4] * len(sizes), activation="linear"), posteriors.MultivariateNormalDiag(L)),
        LadderDecoder(
            networks.mlp([3] * (len(sizes) + 1), activation="linear"),
            likelihoods.Normal((D,), scale=SCALE),
            list(sizes),
        ),
        prior or priors.StandardNormal(L),
        seed=0,
    )
    vae.build()
    rng = np.random.default_rng(1)
    for weight in vae.decoder.trainable_variables:
        weight.assign(0.7 * rng.normal(size=weight.shape))
    for level in vae.decoder.levels:
        for _, params in (level.prior_layers, level.posterior_layers):
            kernel = np.array(params.kernel)
            kernel[:, level.latents :] = 0.0  # scales that depend on nothing
            params.kernel.assign(kernel)
            params.bias.assign(np.concatenate([rng.normal(size=level.latents), rng.uniform(-0.5, 0.5, level.latents)]))
    return vae


def exact(vae):
    """p(x), from the mean of p(x|z) at zero and at each unit vector of z_1 and of the noise below."""
    sizes = [L, *vae.decoder.noise_sizes]
    units = np.eye(sum(sizes) + 1, sum(sizes), k=-1, dtype="float32")
    top, *noise = tf.split(units, sizes, axis=-1)
    at = np.asarray(vae.decoder.draw(top, noise).mean(), "float64")
    slopes = at[1:] - at[0]
    return multivariate_normal(at[0], slopes.T @ slopes + SCALE**2 * np.eye(D))


@pytest.mark.parametrize("sizes", [(2,), pytest.param((2, 3), marks=pytest.mark.slow)])
def test_annealing_moves_all_levels(sizes):
    vae = linear(sizes)
    x = np.asarray(exact(vae).rvs(24, random_state=0), "float32")
    found = evaluation.annealed_importance_sampling(vae, x, num_chains=32, num_steps=300)
    known = exact(vae).logpdf(x)
    assert found.monte_carlo_error < 0.05
    assert found.mean == pytest.approx(known.mean(), abs=max(4 * found.monte_carlo_error, 0.03))
    assert np.abs(found.values - known).max() < 0.5
    # At the means of the lower levels it is another number.
    top = np.asarray(vae.decoder(tf.zeros((1, L))).mean())
    assert np.abs(exact(vae).mean - top[0]).max() < 1e-5
    assert abs(known.mean() - only_the_top(vae).logpdf(x).mean()) > 0.1


def only_the_top(vae):
    at = np.asarray(vae.decoder(np.eye(L + 1, L, k=-1, dtype="float32")).mean(), "float64")
    slopes = at[1:] - at[0]
    return multivariate_normal(at[0], slopes.T @ slopes + SCALE**2 * np.eye(D))


@pytest.mark.slow
def test_annealing_under_a_bounded_prior_of_one_block():
    """p(x) by a sum over a grid of z_1 in the plane; one block is bounded, the other is not."""
    vae = kv.VAE(
        kv.Encoder(
            networks.mlp([]),
            posteriors.JointPosterior(posteriors.Kumaraswamy(1, -1.0, 0.2), posteriors.MultivariateNormalDiag(1)),
        ),
        kv.Decoder(networks.mlp([4]), likelihoods.Normal((D,), scale=SCALE)),
        priors.JointPrior(priors.Uniform(1, -1.0, 0.2), priors.StandardNormal(1)),
        seed=0,
    )
    vae.build()
    vae.decoder.output_layer.kernel.assign(np.random.default_rng(0).normal(size=(4, D)))
    x = np.asarray(vae.generate(8, seed=0).likelihood.sample(seed=[0, 1]))
    found = evaluation.annealed_importance_sampling(vae, x, num_chains=32, num_steps=200)
    first, second = np.linspace(-1.0, 0.2, 201)[:-1] + 0.003, np.linspace(-6.0, 6.0, 601)
    z = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 1, 2).astype("float32")
    log_p = np.asarray(vae.decode(np.tile(z, (1, 8, 1))).log_prob(x) + vae.prior.distribution().log_prob(z), "float64")
    known = np.log(np.exp(log_p).sum(axis=0) * 0.006 * 0.02)
    np.testing.assert_allclose(found.values, known, atol=0.3)
    assert found.mean == pytest.approx(known.mean(), abs=0.06)


def test_what_cannot_be_annealed_is_refused_before_the_work():
    codes = {"one_hot": "one-hot", "joint": "one-hot", "quantized": "1 x 3 of 4 codes"}
    for posterior, kind in codes.items():
        vae = kv.VAE(
            parts.encoder("mlp", [4], parts.POSTERIORS[posterior]()),
            parts.decoder("mlp", [4], parts.LIKELIHOODS["normal"]()),
            parts.prior_of(posterior),
            seed=0,
        )

        def endless():
            raise AssertionError("the data are looked at")
            yield

        for attempt in (
            lambda vae=vae: evaluation.evaluate(vae, endless(), annealed=True, verbose=False),
            lambda vae=vae: evaluation.annealed_importance_sampling(vae, endless()),
        ):
            with pytest.raises(ValueError, match=f"discrete latents do not have: of this model .*{kind}"):
                attempt()
    vae = parts.vae(kv.VAE)
    autoencoder = kv.VAE(
        parts.encoder("mlp", [4], parts.POSTERIORS["deterministic"]()),
        vae.decoder,
        vae.prior,
        objectives.Reconstruction(),
    )
    with pytest.raises(ValueError, match="Annealed importance sampling needs a posterior with a density"):
        evaluation.evaluate(autoencoder, endless(), annealed=True)


def as_its_prior(level):
    """The posterior of a level, equal to its prior whatever the encoder says."""
    prior, posterior = level.prior_layers, level.posterior_layers
    for a, b in zip(prior, posterior, strict=True):
        kernel = np.zeros(b.kernel.shape)
        kernel[: a.kernel.shape[0]] = np.array(a.kernel)
        b.kernel.assign(kernel)
        b.bias.assign(a.bias)


def encoding(vae, gain=1.0):
    """Give the encoder weights that make every level depend on the data."""
    rng = np.random.default_rng(2)
    for weight in vae.encoder.trainable_variables:
        weight.assign(gain * 0.5 * rng.normal(size=weight.shape))
    for level in vae.decoder.levels:
        level.posterior_layers[0].kernel.assign(rng.normal(size=level.posterior_layers[0].kernel.shape))
        kernel = np.array(level.posterior_layers[1].kernel)
        kernel[:, : level.latents] = rng.normal(size=(len(kernel), level.latents))
        level.posterior_layers[1].kernel.assign(kernel)


def test_a_level_whose_posterior_is_its_prior_is_not_active_and_is_named():
    vae = linear((2, 3))
    encoding(vae)
    weights = vae.get_weights()
    x = np.asarray(exact(vae).rvs(400, random_state=0), "float32")
    run = measure(vae)
    for collapsed in ((), (2,), (3,), (2, 3)):
        vae.set_weights(weights)
        for level in collapsed:
            as_its_prior(vae.decoder.levels[level - 2])
        found = latent_statistics(vae, x, run=run)
        assert found.levels.tolist() == [1, 1, 2, 2, 3, 3, 3]
        assert found.active.tolist() == (~np.isin(found.levels, collapsed)).tolist()
        # Its mean moves all the same, with the level above.
        assert np.all(found.points.var(axis=0) > 0.01)
        np.testing.assert_allclose(found.rates.sum(), found.rate, rtol=1e-6)
        assert np.all((found.rates < 1e-6) == np.isin([1, 2, 3], collapsed))
        named = [finding for finding in examine(vae, found, x[:5]) if finding.name == "posterior_collapse"]
        assert [finding.level for finding in named] == list(collapsed)
        for finding in named:
            assert f"Level {finding.level} of 3 is not used" in finding.message and finding.value < 1e-6


def test_a_dimension_of_a_level_is_named_by_its_level():
    vae = linear((2, 3))
    encoding(vae)
    hidden, params = vae.decoder.levels[1].posterior_layers
    prior = vae.decoder.levels[1].prior_layers
    # The hidden layer of the prior takes the place of one of its own, and dimension 1 of the level its mean and scale.
    kernel, bias = np.array(hidden.kernel), np.array(hidden.bias)
    as_its_prior(vae.decoder.levels[1])
    found = latent_statistics(vae, np.zeros((2, D), "float32"))
    assert not found.active[4:].any()
    more = np.array(params.kernel)
    hidden.kernel.assign(np.concatenate([np.array(hidden.kernel)[:3], kernel[3:] * 0.0 + 1.0]))
    hidden.bias.assign(bias * 0.0 + np.array(prior[0].bias))
    more[:, 1] = 0.0
    prior_kernel = np.array(prior[1].kernel)
    prior_kernel[:, 1] = 0.0
    params.kernel.assign(more)
    prior[1].kernel.assign(prior_kernel)
    x = np.asarray(exact(vae).rvs(400, random_state=0), "float32")
    (finding,) = [f for f in evaluation.diagnose(vae, x) if f.name == "unused_dimensions"]
    assert "(1 of level 3;" in finding.message and finding.value == 1


def test_under_a_conditional_prior_that_the_posterior_follows_nothing_is_active():
    label = Label(3)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(2), condition=label),
        kv.Decoder(networks.mlp([4]), likelihoods.Normal((D,), scale=1.0), condition=label),
        priors.ConditionalNormal(2, label),
        seed=0,
    )
    vae.build()
    kernel = np.random.default_rng(0).normal(size=(3, 4))
    vae.prior.projection.kernel.assign(kernel)
    its_own = vae.encoder.posterior.projection.kernel
    moved = np.zeros(its_own.shape)
    moved[-3:] = kernel
    its_own.assign(moved)
    x, y = np.random.default_rng(1).normal(size=(90, D)).astype("float32"), np.arange(90) % 3
    found = latent_statistics(vae, (x, y))
    assert found.rate < 1e-6 and not found.active.any() and np.all(found.points.var(axis=0) > 0.01)
    moved[0] = [1.0, 0.0, 0.0, 0.0]
    its_own.assign(moved)
    assert latent_statistics(vae, (x, y)).active.tolist() == [True, False]


def test_the_report_of_a_hierarchy_says_of_which_level_it_speaks(tmp_path):
    vae = linear((2,))
    encoding(vae)
    x = np.asarray(exact(vae).rvs(60, random_state=0), "float32")
    report = evaluation.evaluate(vae, x, num_samples=20, annealed=True, verbose=False)["test"]
    json.dumps(report, allow_nan=False)
    assert [level["level"] for level in report["levels"]] == [1, 2]
    assert sum(level["rate"] for level in report["levels"]) == pytest.approx(report["rate"])
    assert "of z_1, the top one of 2 levels, alone" in report["aggregate_posterior"]["estimator"]
    found = aggregate_posterior(vae, x)
    assert found.num_levels == 2
    # Information and marginal KL of the top level are its rate, not that of all.
    error = math.hypot(found.mutual_information_error, found.marginal_kl_error)
    top = latent_statistics(vae, x).rates[0]
    assert abs(found.mutual_information + found.marginal_kl - top) < 5 * error
    assert report["annealed_importance_sampling"]["mean"] == pytest.approx(exact(vae).logpdf(x).mean(), abs=0.1)
    pictures.traversals(vae, x, path=tmp_path / "traversals.png")


def test_augmentation_draws_all_levels():
    vae = linear((2,))
    encoding(vae)
    as_its_prior(vae.decoder.levels[0])
    vae.encoder.posterior.projection.kernel.assign(np.zeros(vae.encoder.posterior.projection.kernel.shape))
    vae.encoder.posterior.projection.bias.assign([0.0] * L + [math.log(math.expm1(1.0)) - math.log(math.e - 1)] * L)
    # q is the prior: variations are draws from the model, whose spread is that of all levels.
    x = np.zeros((20_000, D), "float32")
    varied = np.asarray(evaluation.augment(vae, seed=0, sample_pixels=True)(tf.constant(x)))
    np.testing.assert_allclose(np.cov(varied.T), exact(vae).cov, atol=0.1 * np.abs(exact(vae).cov).max())
    with pytest.raises(ValueError, match="has 2"):
        evaluation.augment(vae, temperature=0.5)


@pytest.mark.slow
def test_the_callback_prints_each_level_that_collapses():
    vae = linear((2, 3))
    encoding(vae)
    x = np.asarray(exact(vae).rvs(60, random_state=0), "float32")
    vae.compile(keras.optimizers.SGD(0.0))
    lines = []
    watch = kv.callbacks.Diagnosis(x, every=1, write=lines.append)

    class Collapse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                as_its_prior(vae.decoder.levels[epoch - 1])

    vae.adapted.assign(1)
    vae.fit(x, epochs=3, verbose=0, callbacks=[Collapse(), watch])
    assert ["Level 2" in line or "Level 3" in line for line in lines if "collapse" in line] == [True, True]
