"""Scores of single examples: closed forms, and that nobody's score depends on who stands beside him."""

import numpy as np
import parts
import pytest
import tensorflow as tf
from small_models import labelled_model, make_vae, raw_scale
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation.normality import kinds

D, L, N = 5, 2, 64
WEIGHT = np.array([[1.0, 0.5, -0.3, 0.8, 0.1], [0.9, -0.2, 0.4, 0.6, -0.7]])
BIAS, SCALE, SPREAD = np.array([0.3, -0.1, 0.2, 0.0, 0.5]), 0.7, np.array([0.6, 0.55])
# Near the exact posterior, and not that itself.
SLOPE = 0.9 * WEIGHT.T @ np.linalg.inv(WEIGHT @ WEIGHT.T + SCALE**2 * np.eye(L))


@pytest.fixture(scope="module")
def linear():
    """p(x|z) = N(W z + b, s^2), q(z|x) = N(A (x - b), S^2) with a diagonal S: all scores have closed forms."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,), scale="learned")),
        priors.StandardNormal(L),
        seed=0,
    )
    vae.build()
    vae.decoder.output_layer.kernel.assign(WEIGHT)
    vae.decoder.output_layer.bias.assign(BIAS)
    vae.decoder.likelihood.weights[0].assign(np.log(SCALE))
    kernel, bias = vae.encoder.posterior.projection.weights
    kernel.assign(np.concatenate([SLOPE, np.zeros((D, L))], axis=1))
    bias.assign(np.concatenate([-BIAS @ SLOPE, raw_scale(SPREAD)]))
    x = np.random.default_rng(0).normal(size=(N, D)).astype("float32")
    return vae, x


def closed_forms(x):
    loc = (x - BIAS) @ SLOPE
    squares = np.sum((x - loc @ WEIGHT - BIAS) ** 2, axis=1) + np.sum((SPREAD[:, None] * WEIGHT) ** 2)
    expected = -0.5 * squares / SCALE**2 - D * np.log(SCALE) - 0.5 * D * np.log(2 * np.pi)
    kl = 0.5 * np.sum(SPREAD**2 + loc**2 - 1 - 2 * np.log(SPREAD), axis=1)
    p = tfd.MultivariateNormalTriL(BIAS, np.linalg.cholesky(WEIGHT.T @ WEIGHT + SCALE**2 * np.eye(D)))
    log_prob = np.asarray(p.log_prob(x.astype("float64")))
    return {"elbo": expected - kl, "log_prob": log_prob, "reconstruction": expected, "kl": -kl}


@pytest.mark.parametrize("kind", ["elbo", "log_prob", "reconstruction", "kl"])
def test_scores_of_a_linear_gaussian_model_are_their_closed_forms(linear, kind):
    vae, x = linear
    found = evaluation.scores(vae, x, kind, num_samples=20_000)
    assert found.dtype == np.float64 and found.shape == (N,)
    np.testing.assert_allclose(found, closed_forms(x)[kind], atol=0.02)


def test_typicality_is_the_distance_of_log_p_from_that_of_the_reference(linear):
    vae, x = linear
    log_prob = closed_forms(x)["log_prob"]
    found = evaluation.scores(vae, x, "typicality", 20_000, reference=x[:20])
    np.testing.assert_allclose(found, -np.abs(log_prob - log_prob[:20].mean()), atol=0.02)
    np.testing.assert_allclose(
        evaluation.scores(vae, x, "typicality", 20_000, reference=-7.5), -np.abs(log_prob + 7.5), atol=0.02
    )
    # Without one, it is the entropy of the model, here 1/2 log det(2 pi e C), as draws have it.
    covariance = WEIGHT.T @ WEIGHT + SCALE**2 * np.eye(D)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    found = evaluation.scores(vae, x, "typicality", 2000)
    np.testing.assert_allclose(found, -np.abs(log_prob + entropy), atol=4 * np.sqrt(D / 2 / kinds.OWN_DRAWS))


@pytest.mark.slow
def test_regret_is_what_the_encoder_misses(linear):
    vae, x = linear[0], 6 * linear[1]  # far away the encoder, which goes only 0.9 of the way, misses more
    closed = closed_forms(x)
    found = evaluation.scores(vae, x, "regret", 2000)
    # The exact posterior is Gaussian, so that the best ELBO is log p(x).
    regret = closed["elbo"] - closed["log_prob"]
    assert np.ptp(regret) > 1.0
    np.testing.assert_allclose(found, regret, atol=0.05)
    np.testing.assert_array_equal(evaluation.scores(vae, x, "regret", 2000), found)
    np.testing.assert_allclose(evaluation.scores(vae, x[5:7], "regret", 2000), found[5:7], atol=1e-3)
    for other in ("kumaraswamy", "quantized"):
        with pytest.raises(ValueError, match="kind='regret' fits a Gaussian"):
            evaluation.scores(model(other), pictures(), "regret")


def test_complexity_adds_the_nats_of_the_compressed_picture():
    vae = make_vae(seed=0)
    vae.build()
    black, noise = np.zeros((1, 8, 8, 1), "float32"), np.random.default_rng(0).integers(0, 2, (1, 8, 8, 1))
    x = np.concatenate([black, noise]).astype("float32")
    added = evaluation.scores(vae, x, "complexity") - evaluation.scores(vae, x, "log_prob")
    assert 0 < added[0] < added[1]
    assert added / (8 * np.log(2)) == pytest.approx(np.rint(added / (8 * np.log(2))))
    with pytest.raises(ValueError, match="pictures"):
        evaluation.scores(make_vae(likelihood=likelihoods.Normal((8, 8, 1))), x, "complexity")


def model(posterior):
    prior = parts.PRIORS[parts.PRIOR_OF.get(posterior, "standard_normal")]()
    objective = objectives.Reconstruction() if posterior == "deterministic" else objectives.ELBO()
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), parts.POSTERIORS[posterior]()),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli(parts.SHAPE)),
        prior,
        objective,
    )
    vae.build()
    return vae


def pictures(n=5, shape=parts.SHAPE):
    return np.random.default_rng(1).integers(0, 2, (n, *shape)).astype("float32")


@pytest.mark.parametrize("posterior", parts.POSTERIORS)
def test_an_example_has_its_score_alone_and_in_any_company(posterior):
    vae, x = model(posterior), pictures()
    kind = "reconstruction" if posterior == "deterministic" else "elbo"
    alone = np.concatenate([evaluation.scores(vae, one[None], kind) for one in x])
    np.testing.assert_allclose(evaluation.scores(vae, x, kind), alone, rtol=1e-5)
    np.testing.assert_allclose(evaluation.scores(vae, x[::-1], kind)[::-1], alone, rtol=1e-5)
    batches = tf.data.Dataset.from_tensor_slices(x).batch(2)
    np.testing.assert_allclose(evaluation.scores(vae, batches, kind), alone, rtol=1e-5)
    if not all(vae.certainties) and posterior != "deterministic":
        assert np.abs(evaluation.scores(vae, x, kind, seed=1) - alone).max() > 1e-3


@pytest.mark.parametrize("posterior", ["diag", "low_rank", "kumaraswamy", "iaf", "joint"])
def test_with_many_draws_it_is_the_elbo_of_the_model(posterior):
    vae, x = model(posterior), pictures()
    terms = vae.infer(x, 2000, seed=3)
    error = np.std(terms.log_weights, axis=0) / np.sqrt(2000)
    found = evaluation.scores(vae, x, num_samples=2000)
    np.testing.assert_array_less(np.abs(found - terms.elbo), 6 * error + 1e-3)


def test_a_hierarchy_and_a_conditional_model_are_scored():
    ladder = kv.VAE(
        parts.encoder("ladder_mlp", [8, 8], posteriors.MultivariateNormalDiag(2)),
        parts.decoder("ladder_mlp", [8, 8], likelihoods.Bernoulli(parts.SHAPE)),
        priors.StandardNormal(2),
    )
    ladder.build()
    x = pictures()
    found = evaluation.scores(ladder, x, num_samples=400)
    np.testing.assert_allclose(found, ladder.infer(x, 400, seed=5).elbo, atol=1.0)
    np.testing.assert_allclose(evaluation.scores(ladder, x[2:3], num_samples=400), found[2:3], rtol=1e-5)
    vae, c = labelled_model(), np.arange(5) % 4
    found = evaluation.scores(vae, (x, c))
    np.testing.assert_allclose(
        found, evaluation.scores(vae, tf.data.Dataset.from_tensor_slices((x, c)).batch(2)), rtol=1e-5
    )
    assert np.abs(evaluation.scores(vae, (x, (c + 1) % 4)) - found).min() > 1e-3
    assert np.isfinite(evaluation.scores(vae, (x, c), "typicality")).all()


def test_missing_values_are_left_out_of_a_score():
    vae = make_vae(networks.mlp, (8,), (6,), 2, likelihoods.Normal((6,)), missing=True, seed=0)
    vae.build()
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    x[0], x[1, :3] = np.nan, np.nan
    found = evaluation.scores(vae, x, "reconstruction")
    assert found[0] == 0 and np.isfinite(found).all() and found[1] > found[2]


def test_what_a_model_does_not_have_is_refused():
    plain, x = model("deterministic"), pictures()
    assert kinds.kinds_of(plain) == ("reconstruction",)
    with pytest.raises(ValueError, match="single point"):
        evaluation.scores(plain, x)
    codes = model("quantized")
    with pytest.raises(ValueError, match="equally likely"):
        evaluation.scores(codes, x, "kl")
    vae = make_vae()
    for arguments, words in (
        ({"kind": "novelty"}, "kind must be one of 'elbo'"),
        ({"num_samples": 0}, "num_samples"),
        ({"reference": x}, "leave it out"),
        ({"kind": "typicality", "reference": float("nan")}, "reference"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluation.scores(vae, pictures(shape=(8, 8, 1)), **arguments)
    with pytest.raises(ValueError, match="no data"):
        evaluation.scores(vae, np.zeros((0, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match="shape"):
        evaluation.scores(vae, x)
