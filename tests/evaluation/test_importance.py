"""Estimates of log p(x) stand against a linear-Gaussian model, whose marginal is known: N(b, W^T W + s^2 I)."""

import io
import json
import math
import os

import keras
import numpy as np
import parts
import pytest
import rich.console
import tensorflow as tf
from scipy.stats import multivariate_normal

import keras_vae as kv
from keras_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation import importance
from keras_vae.evaluation.aggregate import aggregate_posterior
from keras_vae.evaluation.importance import MAX_ROWS, _log_prob, _log_weights
from keras_vae.evaluation.statistics import latent_statistics
from keras_vae.posteriors.gaussian import PACE

D, L, SCALE = 6, 2, 0.7


def linear_gaussian(posterior=None, scale=SCALE) -> kv.VAE:
    """A linear model whose encoder is the exact posterior, but for a location that is a little wrong."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posterior or posteriors.MultivariateNormalTriL(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,), scale=scale)),
        priors.StandardNormal(L),
        seed=0,
    )
    vae.build()
    random = np.random.default_rng(0)
    vae.decoder.output_layer.kernel.assign(random.normal(size=(L, D)))
    vae.decoder.output_layer.bias.assign(random.normal(size=D))
    return vae


def fit_encoder(vae: kv.VAE, wrong: float = 0.1) -> None:
    """q(z|x) = N(m + wrong, v) with m the exact posterior mean and v near the exact covariance."""
    w, b = (
        keras.ops.convert_to_numpy(part) for part in (vae.decoder.output_layer.kernel, vae.decoder.output_layer.bias)
    )
    precision = np.eye(L) + w @ w.T / SCALE**2
    gain = w.T @ np.linalg.inv(precision).T / SCALE**2
    projection = vae.encoder.posterior.projection
    kernel, bias = np.zeros(projection.kernel.shape), np.zeros(projection.bias.shape)
    kernel[:, :L], bias[:L] = gain, -b @ gain + wrong
    raw = np.zeros((L, L))
    root = 1.3 * np.linalg.cholesky(np.linalg.inv(precision))
    raw[np.diag_indices(L)] = np.log(np.expm1(np.diag(root))) - math.log(math.e - 1.0)
    # TFP fills a 2 x 2 triangle from three numbers in the order [1, 1], [1, 0], [0, 0].
    bias[L:] = [raw[1, 1], root[1, 0] / root[1, 1] * math.sqrt(L) / PACE, raw[0, 0]]
    projection.kernel.assign(kernel)
    projection.bias.assign(bias)


def draws(vae: kv.VAE, n: int) -> np.ndarray:
    return np.asarray(vae.generate(n, seed=1).likelihood.sample(seed=2))


def exact(vae: kv.VAE, x: np.ndarray) -> np.ndarray:
    w, b = (
        keras.ops.convert_to_numpy(part) for part in (vae.decoder.output_layer.kernel, vae.decoder.output_layer.bias)
    )
    return multivariate_normal(b, w.T @ w + SCALE**2 * np.eye(D)).logpdf(x)


@pytest.fixture(scope="module")
def model() -> kv.VAE:
    vae = linear_gaussian()
    fit_encoder(vae)
    return vae


@pytest.fixture(scope="module")
def x(model) -> np.ndarray:
    return draws(model, 150)


def test_importance_weighted_estimate_is_the_marginal_likelihood(model, x):
    known = exact(model, x)
    found = evaluation.log_likelihood(model, x, num_samples=500, verbose=False)
    assert abs(found.mean - known.mean()) < 4 * found.monte_carlo_error < 0.02
    assert np.abs(found.values - known).max() < 0.5
    assert found.standard_error == pytest.approx(known.std(ddof=1) / math.sqrt(len(x)), rel=0.02)
    assert found.bits_per_dim is None
    assert found.num_samples == 500
    assert 100 < found.effective_sample_size < 500
    assert found.relative_effective_sample_size == found.effective_sample_size / 500


def test_exact_posterior_needs_one_sample():
    vae = linear_gaussian()
    fit_encoder(vae, wrong=0.0)
    projection = vae.encoder.posterior.projection
    bias = keras.ops.convert_to_numpy(projection.bias).copy()
    shift = math.log(math.e - 1.0)
    for at in (L, L + 2):
        bias[at] = np.log(np.expm1(np.log1p(np.exp(bias[at] + shift)) / 1.3)) - shift
    projection.bias.assign(bias)
    x = draws(vae, 20)
    found = evaluation.log_likelihood(vae, x, num_samples=3, verbose=False)
    np.testing.assert_allclose(found.values, exact(vae, x), atol=2e-3)
    assert found.effective_sample_size == pytest.approx(3.0, abs=1e-3)


def test_annealed_estimate_agrees_with_the_exact_and_the_importance_weighted(model, x):
    found = evaluation.annealed_importance_sampling(model, x, num_examples=40, num_chains=16, num_steps=400)
    known = exact(model, x[:40])
    assert abs(found.mean - known.mean()) < max(4 * found.monte_carlo_error, 0.05)
    weighted = evaluation.log_likelihood(model, x[:40], num_samples=500, verbose=False)
    assert abs(found.mean - weighted.mean) < 0.15
    assert 0.3 < found.acceptance < 0.95
    json.dumps(found.as_dict(), allow_nan=False)


def test_result_depends_on_the_seed_and_not_on_the_batches(model, x):
    first = evaluation.log_likelihood(model, x, num_samples=20, seed=3, verbose=False)
    again = evaluation.log_likelihood(model, x, num_samples=20, seed=3, verbose=False)
    np.testing.assert_array_equal(first.values, again.values)
    dataset = tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(7)
    np.testing.assert_array_equal(first.values, evaluation.log_likelihood(model, dataset, 20, 3, False).values)
    other = evaluation.log_likelihood(model, (x, None), num_samples=20, seed=4, verbose=False)
    assert np.abs(first.values - other.values).max() > 1e-3


def test_chunks_do_not_change_what_is_estimated(model, x, monkeypatch):
    """Ten samples in one chunk, and in four of three with two of them surplus: other noise, the same expectation."""
    monkeypatch.setattr(importance, "MAX_ROWS", 64)
    monkeypatch.setattr(importance, "DRAWS", 3)
    small = evaluation.log_likelihood(model, x, num_samples=1000, verbose=False)
    assert abs(small.mean - exact(model, x).mean()) < 4 * small.monte_carlo_error
    assert small.effective_sample_size < 1000


def test_memory_does_not_grow_with_the_samples(model, x, monkeypatch):
    """No operation of the compiled function has an axis that grows with the number of samples."""
    sizes = set()
    inner = _log_weights

    def spy(*arguments):
        log_weights = inner(*arguments)

        def count(num, seed):
            sizes.add(num)
            return log_weights(num, seed)

        return count

    monkeypatch.setattr(importance, "_log_weights", spy)
    for num_samples in (1_000, 20_000):
        evaluation.log_likelihood(model, x[:64], num_samples=num_samples, verbose=False)
    assert max(sizes) * 64 <= MAX_ROWS


def bernoulli_model(levels: bool = False) -> kv.VAE:
    likelihood = likelihoods.Bernoulli((5, 5, 1))
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([16]), likelihood),
        priors.StandardNormal(3),
        seed=0,
    )
    vae.build()
    return vae


def test_binary_data_have_bits_per_dimension_and_the_fast_path_is_right():
    vae = bernoulli_model()
    x = (np.random.default_rng(0).random((40, 5, 5, 1)) < 0.4).astype("float32")
    found = evaluation.log_likelihood(vae, x, num_samples=500, verbose=False)
    assert found.bits_per_dim == pytest.approx(-found.mean / (25 * math.log(2)))
    np.testing.assert_allclose(found.mean, vae.log_prob(x, 2000).mean(), atol=0.05)
    # Logits of hundreds, and products that would underflow without their sign.
    vae.decoder.output_layer.kernel.assign(300.0 * vae.decoder.output_layer.kernel)
    z = np.random.default_rng(1).normal(size=(3, 40, 3)).astype("float32")
    p = vae.decode(z)
    np.testing.assert_allclose(_log_prob(p, tf.constant(x)), p.log_prob(x), rtol=1e-5, atol=1e-4)


def test_refusals(model, x):
    with pytest.raises(ValueError, match="num_samples"):
        evaluation.log_likelihood(model, x, num_samples=0)
    with pytest.raises(ValueError, match="no data"):
        evaluation.log_likelihood(model, x[:0])
    with pytest.raises(ValueError, match="NaN"):
        evaluation.log_likelihood(model, np.full_like(x, np.nan), verbose=False)
    with pytest.raises(ValueError, match="never end"):
        evaluation.log_likelihood(model, tf.data.Dataset.from_tensors(x).repeat(), verbose=False)
    with pytest.raises(ValueError, match="neither"):
        evaluation.log_likelihood(bernoulli_model(), np.full((4, 5, 5, 1), 0.5, "float32"), verbose=False)


def test_autoencoders_have_no_likelihood():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.Deterministic(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,), scale=1.0)),
        priors.StandardNormal(L),
        objectives.Reconstruction(),
    )
    vae.build()
    x = np.random.default_rng(0).normal(size=(30, D)).astype("float32")
    for estimate in (evaluation.log_likelihood, evaluation.annealed_importance_sampling, aggregate_posterior):
        with pytest.raises(ValueError, match="single point"):
            estimate(vae, x)
    report = evaluation.evaluate(vae, x, verbose=False)
    assert report["test"]["log_likelihood"] is None
    assert report["test"]["elbo"] is None
    assert report["test"]["distortion"] > 0
    json.dumps(report, allow_nan=False)


def test_statistics_are_the_closed_forms(model, x):
    found = latent_statistics(model, (x, None))
    q = model.encode(x)
    assert found.kl_is_exact
    np.testing.assert_allclose(found.rate, np.mean(q.kl_divergence(model.prior.distribution())), rtol=1e-5)
    np.testing.assert_allclose(found.elbo, -found.rate - found.distortion, rtol=1e-6)
    np.testing.assert_allclose(found.variance_of_means, np.asarray(q.mean()).var(axis=0), rtol=1e-4)
    assert found.active.all()
    assert found.num_examples == len(x)


def test_the_rate_is_information_plus_marginal_kl(model, x):
    found = aggregate_posterior(model, x)
    rate = latent_statistics(model, x).rate
    error = math.hypot(found.mutual_information_error, found.marginal_kl_error)
    assert abs(found.mutual_information + found.marginal_kl - rate) < 5 * error
    assert 0 < found.mutual_information < math.log(len(x))
    # The aggregate posterior of a correct model is near its prior.
    assert found.marginal_kl < 0.3


def test_inactive_units_are_counted(model, x):
    vae = linear_gaussian(posteriors.MultivariateNormalDiag(L))
    kernel = keras.ops.convert_to_numpy(vae.encoder.posterior.projection.kernel).copy()
    kernel[:, 1] = 1e-3
    vae.encoder.posterior.projection.kernel.assign(kernel)
    found = latent_statistics(vae, x)
    assert found.active.tolist() == [True, False]
    assert len(found.kl_per_dim) == L
    np.testing.assert_allclose(found.kl_per_dim.sum(), found.rate, rtol=1e-5)


def test_report_is_json_and_a_table(model, x):
    out = io.StringIO()
    console = rich.console.Console(file=out, width=100)
    report = evaluation.evaluate(model, x, x[:50], num_samples=50, annealed=True, verbose=False)
    console.print(evaluation.report_table(report))
    whole = json.loads(json.dumps(report, allow_nan=False))
    again = whole["test"]
    assert again["log_likelihood"]["num_samples"] == 50
    assert {"mean", "standard_error", "effective_sample_size", "bits_per_dim"} <= set(again["log_likelihood"])
    annealed = again["annealed_importance_sampling"]
    assert abs(annealed["mean"] - annealed["importance_weighted_mean_of_the_same"]) < 0.3
    assert again["active_units"] == again["latent_dim"] == L
    assert whole["train"]["num_examples"] == 50
    assert whole["findings"] == []
    text = out.getvalue()
    for words in ("50 importance samples", f"{again['elbo']:.2f}", "effective sample size", "train", "nats"):
        assert words in text


def test_the_table_says_when_few_draws_carry_the_estimate(model, x):
    report = evaluation.evaluate(model, x[:10], num_samples=5, verbose=False)
    found = report["test"]["log_likelihood"]
    assert not found["is_bound"]
    for size, is_bound in ((1.3, True), (100.0, False)):
        found.update(effective_sample_size=size, is_bound=is_bound)
        out = io.StringIO()
        rich.console.Console(file=out, width=200).print(evaluation.report_table(report))
        assert ("about 1.3 carry the estimate" in out.getvalue()) == is_bound
        assert ("importance samples, at least" in out.getvalue()) == is_bound
        with_error = f"{found['mean']:,.2f} ± {found['standard_error']:.2f}"
        assert (with_error in out.getvalue()) != is_bound


def test_an_estimate_that_single_draws_carry_is_a_bound_without_an_error():
    vae = linear_gaussian()
    fit_encoder(vae, wrong=0.0)
    x = draws(vae, 20)
    good = evaluation.log_likelihood(vae, x, num_samples=2000, verbose=False)
    assert not good.is_bound and good.monte_carlo_error > 0
    fit_encoder(vae, wrong=1.5)  # far beside the exact posterior: the outermost draw has all the weight
    bad = evaluation.log_likelihood(vae, x, num_samples=2000, verbose=False)
    assert bad.is_bound and math.isnan(bad.monte_carlo_error) and bad.as_dict()["is_bound"]
    assert bad.mean < exact(vae, x).mean()
    # Fitted to each example, the proposals become the exact posterior.
    refined = evaluation.log_likelihood(vae, x, num_samples=200, verbose=False, refine_steps=300)
    assert not refined.is_bound and refined.effective_sample_size > 150 and refined.as_dict()["refine_steps"] == 300
    np.testing.assert_allclose(refined.values, exact(vae, x), atol=0.1)


@pytest.mark.parametrize("made", ["kumaraswamy", "quantized", "one_hot", "ladder"])
def test_proposals_are_refined_of_real_numbers_on_one_level_only(made):
    posterior = parts.POSTERIORS.get(made, parts.POSTERIORS["diag"])()
    network = "ladder_mlp" if made == "ladder" else "mlp"
    likelihood = parts.LIKELIHOODS["normal"]()
    vae = kv.VAE(
        parts.encoder(network, [8, 4], posterior), parts.decoder(network, [4, 8], likelihood), parts.prior_of(made)
    )
    with pytest.raises(ValueError, match="refine_steps fits Gaussians"):
        evaluation.evaluate(vae, parts.data(likelihood, 4), num_samples=5, verbose=False, refine_steps=10)


def test_a_single_example_has_no_error_and_stays_json(model, x):
    report = evaluation.evaluate(model, x, num_samples=1, max_examples=1, verbose=False)
    assert report["test"]["log_likelihood"]["standard_error"] is None
    assert report["test"]["log_likelihood"]["monte_carlo_error"] is None
    json.dumps(report, allow_nan=False)


@pytest.mark.exhaustive
@pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="needs MNIST: set TFDS_DATA_DIR")
def test_annealed_agrees_on_mnist():
    train, test = data.load("mnist", binarize="dynamic")
    vae = kv.VAE(
        kv.Encoder(networks.mlp([200]), posteriors.MultivariateNormalDiag(8)),
        kv.Decoder(networks.mlp([200]), likelihoods.Bernoulli((28, 28, 1))),
        priors.StandardNormal(8),
        seed=0,
    )
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(train, epochs=2, verbose=0)
    annealed = evaluation.annealed_importance_sampling(vae, test, num_examples=32, num_steps=500)
    weighted = evaluation.log_likelihood(vae, test.unbatch().take(32).batch(32), num_samples=5000, verbose=False)
    assert abs(annealed.mean - weighted.mean) < 0.5


def test_a_certain_posterior_is_judged_by_the_elbo_and_the_report_says_so():
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.VectorQuantized(4, grid=(2, 1), num_codes=4)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1))),
        priors.AutoregressiveCodes(4, grid=(2, 1), num_codes=4, units=8, num_layers=1, num_heads=2),
        objectives.CommittedELBO(0.25),
        seed=0,
    )
    x = np.random.default_rng(0).integers(0, 2, (32, 8, 8, 1)).astype("float32")
    vae.compile("adam")
    vae.fit(x, epochs=1, verbose=0)
    elbo = np.asarray(vae.infer(x, seed=0).elbo)
    found = evaluation.log_likelihood(vae, x, num_samples=5000, verbose=False)
    np.testing.assert_allclose(found.values, elbo, rtol=1e-5)
    np.testing.assert_allclose(vae.log_prob(x, num_samples=10**9), elbo, rtol=1e-5)
    assert (found.estimator, found.num_samples) == ("ELBO", 1)
    assert math.isnan(found.effective_sample_size) and math.isnan(found.monte_carlo_error)
    report = evaluation.evaluate(vae, x, num_samples=5000, verbose=False)
    assert json.loads(json.dumps(report))["test"]["log_likelihood"]["effective_sample_size"] is None
    console = rich.console.Console(width=200, file=io.StringIO())
    console.print(evaluation.report_table(report))
    shown = console.file.getvalue()
    assert "at least the ELBO" in shown and "whatever the number of samples" in shown
    for words in ("importance samples", "effective sample size", "Monte Carlo error", "5000"):
        assert words not in shown


def test_a_code_beside_z_leaves_a_gap_that_samples_do_not_close():
    vae = kv.CascadeVAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(2),
        num_classes=3,
        seed=0,
    )
    x = np.random.default_rng(0).integers(0, 2, (8, 8, 8, 1)).astype("float32")
    found = evaluation.log_likelihood(vae, x, num_samples=50, verbose=False)
    assert found.num_samples == 50 and "fixed code" in found.estimator
    report = evaluation.evaluate(vae, x, num_samples=50, verbose=False)
    console = rich.console.Console(width=200, file=io.StringIO())
    console.print(evaluation.report_table(report))
    assert "log p(x, code)" in console.file.getvalue()
