"""Missing values: what is said of the values that are there, and what is drawn for the others."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal
from small_models import make_vae, raw_scale
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, posteriors, priors
from keras_vae.data import batches
from keras_vae.distributions.support import Support

D, L, SCALE = 6, 2, 1.0
RNG = np.random.default_rng(0)
WEIGHTS, MEAN = RNG.normal(size=(L, D)), RNG.normal(size=D)


def linear_model(**options):
    """z ~ N(0, 1), x ~ N(W z + b, 1): log p of any part of x, and the rest given it, have closed forms."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(L)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((D,), scale=SCALE)),
        priors.StandardNormal(L),
        seed=0,
        **{"missing": True, **options},
    )
    vae.build()
    vae.decoder.output_layer.kernel.assign(WEIGHTS)
    vae.decoder.output_layer.bias.assign(MEAN)
    # q(z|x) = p(z), from which importance weights come to all that there is.
    for weight in vae.encoder.posterior.weights:
        weight.assign(np.zeros(weight.shape))
    return vae


def examples(n, share=0.4, seed=1):
    """(whole, with holes): the first example has no values left, the second all of them."""
    rng = np.random.default_rng(seed)
    whole = (rng.normal(size=(n, L)) @ WEIGHTS + MEAN + SCALE * rng.normal(size=(n, D))).astype("float32")
    x = np.where(rng.random(whole.shape) < share, np.nan, whole).astype("float32")
    x[0], x[1] = np.nan, whole[1]
    return whole, x


COVARIANCE = WEIGHTS.T @ WEIGHTS + SCALE**2 * np.eye(D)


def exact_log_prob(x):
    """log N of the values that are there, which are jointly normal with the rows and columns of theirs."""
    found = []
    for row in x:
        there = ~np.isnan(row)
        p = multivariate_normal(MEAN[there], COVARIANCE[np.ix_(there, there)]) if there.any() else None
        found.append(0.0 if p is None else p.logpdf(row[there]))
    return np.array(found)


def exact_rest(row):
    """Mean and covariance of the missing values given the others."""
    there = ~np.isnan(row)
    of_rest, across = COVARIANCE[np.ix_(~there, ~there)], COVARIANCE[np.ix_(~there, there)]
    gain = across @ np.linalg.inv(COVARIANCE[np.ix_(there, there)])
    return MEAN[~there] + gain @ (row - MEAN)[there], of_rest - gain @ across.T


def test_log_prob_is_that_of_the_values_that_are_there():
    vae, (_, x) = linear_model(), examples(40)
    assert vae.log_prob(x, num_samples=30_000) == pytest.approx(exact_log_prob(x), abs=0.15)


def test_the_elbo_is_a_bound_on_it_and_exact_where_the_posterior_is():
    """With one value, the posterior given it is normal: an encoder that knows it makes the bound an equality."""
    vae = kv.VAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(1)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((1,), scale=1.0)),
        priors.StandardNormal(1),
        seed=0,
        missing=True,
    )
    vae.compile("adam")
    vae.build()
    vae.decoder.output_layer.kernel.assign([[1.0]])
    # x = z + noise: q(z|x) = N(x / 2, 1 / 2), and N(0, 1) where x is missing: from x, or 0, and the mask.
    x = np.array([[np.nan], [1.0], [-2.0]], "float32")
    kernel, _ = vae.encoder.posterior.weights
    kernel.assign([[0.5, 0.0], [0.0, raw_of(np.sqrt(0.5))]])
    assert np.asarray(vae.encode(x).mean())[:, 0] == pytest.approx([0.0, 0.5, -1.0])
    assert np.asarray(vae.encode(x).stddev())[:, 0] == pytest.approx([1.0, np.sqrt(0.5), np.sqrt(0.5)], rel=1e-4)
    exact = [0.0, *(-0.25 * x[1:, 0] ** 2 - 0.5 * np.log(4 * np.pi))]
    assert vae.log_prob(x, num_samples=1) == pytest.approx(exact, abs=1e-3)


def raw_of(scale):
    """What a posterior's projection must give for this scale, its bias being that of the scale 1."""
    return float(raw_scale(np.float32(scale)) - raw_scale(1.0))


def test_imputations_are_draws_of_the_missing_given_the_others():
    vae, (whole, x) = linear_model(), examples(600)
    drawn, is_missing = vae.impute(x, num_samples=400, num_particles=20_000), np.isnan(x)
    assert drawn.shape == (400, 600, D)
    assert all(np.array_equal(one[~is_missing], x[~is_missing]) for one in drawn)
    for row in range(1, 40):
        if is_missing[row].any():
            mean, covariance = exact_rest(x[row].astype("float64"))
            rest = drawn[:, row, is_missing[row]]
            error = np.sqrt(np.diag(covariance) / 400)
            assert np.all(np.abs(rest.mean(axis=0) - mean) < 6 * error)
            assert rest.std(axis=0) == pytest.approx(np.sqrt(np.diag(covariance)), rel=0.25)
    for count in (400, 20):
        low, high = np.quantile(drawn[:count], [0.05, 0.95], axis=0, method="weibull")
        assert ((whole >= low) & (whole <= high))[is_missing].mean() == pytest.approx(0.9, abs=0.02)


def test_imputations_repeat_themselves_and_another_seed_gives_others():
    vae, (_, x) = linear_model(), examples(5)
    first, again, other = (vae.impute(x, 3, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert vae.impute(x[:0], 3).shape == (3, 0, D)


def test_a_mask_says_the_same_as_nan():
    vae, (whole, x) = linear_model(), examples(12)
    masked = {"image": whole, "mask": (~np.isnan(x)).astype("float32")}
    assert np.array_equal(vae.log_prob(masked, 5), vae.log_prob(x, 5))
    assert np.array_equal(vae.impute(masked, 2), vae.impute(x, 2))
    vae.compile("adam")
    results = [vae.evaluate(data, verbose=0, return_dict=True) for data in (x, masked)]
    dataset = tf.data.Dataset.from_tensor_slices(masked).batch(32)
    assert results[0] == results[1] == vae.evaluate(dataset, verbose=0, return_dict=True)
    with pytest.raises(ValueError, match=r"The mask has shape \(12, 5\), and x has \(12, 6\)"):
        vae.log_prob({"image": whole, "mask": np.ones((12, 5))})


@pytest.mark.parametrize("form", ["array", "dataset", "mask"])
def test_training_learns_from_what_is_there(form):
    _, x = examples(2_000)
    train = {"array": x, "dataset": tf.data.Dataset.from_tensor_slices(x).batch(50)}.get(
        form, {"image": np.nan_to_num(x), "mask": ~np.isnan(x)}
    )
    vae = linear_model()
    vae.decoder.output_layer.kernel.assign(np.zeros((L, D)))
    vae.compile(keras.optimizers.Adam(0.02))
    history = vae.fit(train, epochs=4, verbose=0, batch_size=None if form == "dataset" else 50).history
    assert history["elbo"][-1] > history["elbo"][0] + 0.4
    assert int(vae.skip_counts.counts[0]) == 0
    assert vae.log_prob(x[:200]).mean() > exact_log_prob(x[:200]).mean() - 0.6


def test_the_estimate_of_binary_images_with_holes_is_that_of_what_is_there():
    vae = make_vae(networks.mlp, (8,), (4, 4, 1), 2, likelihoods.Bernoulli((4, 4, 1)), missing=True, seed=0)
    x = np.random.default_rng(0).integers(0, 2, (6, 4, 4, 1)).astype("float32")
    x[:, :2, 1:], x[0] = np.nan, np.nan
    vae.build()
    found = evaluation.log_likelihood(vae, x, 4000)
    assert found.values == pytest.approx(vae.log_prob(x, 4000), abs=0.05)
    assert found.values[0] == pytest.approx(0.0, abs=1e-5)


def test_the_elbo_of_evaluate_is_below_the_log_probability():
    vae, (_, x) = linear_model(), examples(400)
    vae.compile("adam")
    assert vae.evaluate(x, verbose=0, return_dict=True)["elbo"] < exact_log_prob(x).mean() - 0.1


def test_a_mask_over_bools_counts_and_over_integers_is_refused():
    x, mask = np.array([[True, False]]), np.array([[1, 0]])
    np.testing.assert_array_equal(batches.masked(x, mask), [[1.0, np.nan]])
    np.testing.assert_array_equal(batches.masked([[0.5, 2.0]], [[0, 1]]), [[np.nan, 2.0]])
    np.testing.assert_array_equal(batches.masked(tf.constant(x), tf.constant(mask)), [[1.0, np.nan]])
    with pytest.raises(ValueError, match="must be floats, and has uint8"):
        batches.masked(x.astype("uint8"), mask)


@kv.register
class Exponential(likelihoods.Likelihood):
    support = Support(0.0, math.inf)

    def distribution(self, raw):
        return tfd.Independent(tfd.Exponential(tf.nn.softplus(raw)), 1)


@kv.register
class Pairs(likelihoods.Likelihood):
    def distribution(self, loc):
        return tfd.MultivariateNormalDiag(loc, tf.ones(2))


def test_likelihoods_of_ones_own():
    vae = make_vae(networks.mlp, (8,), (3,), 2, Exponential((3,)), missing=True, seed=0)
    vae.build()
    p = vae.decode(np.zeros((1, 2), "float32"))
    rate = np.asarray(p.distribution.rate)[0]
    assert float(p.log_prob([[np.nan, 2.0, np.nan]])[0]) == pytest.approx(np.log(rate[1]) - 2 * rate[1], rel=1e-5)
    with pytest.raises(TypeError, match="where they are independent given z"):
        make_vae(networks.mlp, (8,), (2,), 2, Pairs((2,)), missing=True).log_prob(np.ones((1, 2), "float32"))


def test_a_model_starts_at_the_mean_of_what_is_there():
    x = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [np.inf, 0.0]], "float32")
    summary = batches.summarize(x, num_examples=3, missing=True)
    assert summary.mean == pytest.approx([2.0, 2.0])
    assert summary.examples == pytest.approx(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]]))
    assert (summary.low.tolist(), summary.high.tolist()) == ([1.0, 1.0], [3.0, 3.0])
    with pytest.raises(ValueError, match="no data to adapt to"):
        batches.summarize(np.full((3, 2), np.nan), missing=True)


@pytest.mark.parametrize(
    "likelihood",
    [
        likelihoods.Bernoulli((4, 4, 1)),
        *(
            pytest.param(likelihood, marks=pytest.mark.slow)
            for likelihood in (
                likelihoods.ContinuousBernoulli((4, 4, 1)),
                likelihoods.DiscretizedLogistic((4, 4, 1), levels=4),
                likelihoods.Categorical((4, 4, 1), levels=4),
                likelihoods.Normal((4, 4, 1), scale="per_pixel"),
            )
        ),
    ],
    ids=lambda likelihood: type(likelihood).__name__,
)
@pytest.mark.parametrize("prior", ["standard", "vamp"])
def test_images_with_holes(likelihood, prior, tmp_path):
    likelihood = type(likelihood).from_config(likelihood.get_config())
    x = np.random.default_rng(0).integers(0, 2, (20, 4, 4, 1)).astype("float32")
    x[:, 1:3, 1:3] = np.nan
    vae = kv.VAE(
        kv.Encoder(networks.conv([4]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.conv([4]), likelihood),
        priors.StandardNormal(2) if prior == "standard" else priors.VampPrior(2, 3),
        objectives.ImportanceWeighted(3, estimator="dreg"),
        seed=0,
        missing=True,
    )
    vae.compile("adam")
    vae.fit(x, epochs=1, batch_size=10, verbose=0)
    assert all(np.isfinite(w).all() for w in vae.get_weights())
    filled = np.where(np.isnan(x), 0.0, x)
    p, is_there = vae.decode(vae.encode(x).mean()), ~np.isnan(x)
    each = np.asarray(p.distribution.log_prob(filled))
    assert np.asarray(p.log_prob(x)) == pytest.approx((each * is_there).sum(axis=(1, 2, 3)), rel=1e-4)
    # What is not there does not matter.
    vae.save(tmp_path / "vae.keras")
    loaded = kv.load(tmp_path / "vae.keras")
    assert np.array_equal(loaded.log_prob(x, 4), vae.log_prob(x, 4))
    assert np.array_equal(loaded.impute(x, 2, num_particles=8), vae.impute(x, 2, num_particles=8))
    assert likelihood.bits_per_dim(1.0) is None


def test_a_hierarchy_takes_missing_values():
    vae = kv.VAE(
        kv.LadderEncoder(networks.mlp([8, 8]), posteriors.MultivariateNormalDiag(2)),
        kv.LadderDecoder(networks.mlp([8, 8]), likelihoods.Normal((D,)), latents=2),
        priors.StandardNormal(2),
        seed=0,
        missing=True,
    )
    _, x = examples(10)
    vae.compile("adam")
    vae.fit(x, epochs=1, verbose=0)
    assert np.isfinite(vae.impute(x, 2)).all()
    assert np.isfinite(vae.sample(3, seed=0)).all()


def test_what_cannot_be_is_refused():
    _, x = examples(4)
    plain = linear_model(missing=False)
    with pytest.raises(ValueError, match=r"10 values .* NaN .* VAE\(..., missing=True\)"):
        plain.log_prob(x)
    with pytest.raises(ValueError, match="knows of no missing values"):
        plain.impute(x)
    vae = linear_model()
    with pytest.raises(ValueError, match=r"1 values of the data are infinite .*x\[np.isinf\(x\)\] = np.nan"):
        vae.log_prob(np.array([[np.inf] * 1 + [0.0] * 5], "float32"))
    with pytest.raises(ValueError, match="num_samples"):
        vae.impute(x, 0)
    certain = {"posterior": posteriors.Deterministic(2), "objective": objectives.Reconstruction()}
    autoencoder = make_vae(networks.mlp, (8,), (2,), 2, likelihoods.Normal((2,)), missing=True, **certain)
    with pytest.raises(ValueError, match="Deterministic has no density"):
        autoencoder.impute(np.ones((1, 2), "float32"))
    with pytest.raises(ValueError, match="num_particles"):
        vae.impute(x, 1, num_particles=0)
    with pytest.raises(ValueError, match=r"missing=True\)"):
        kv.VAE(vae.encoder, vae.decoder, vae.prior)
    with pytest.raises(ValueError, match="built already, and knows of no missing values"):
        kv.VAE(plain.encoder, plain.decoder, plain.prior, missing=True)
    with pytest.raises(ValueError, match="targets=True and missing=True"):
        linear_model(targets=True)
    with pytest.raises(ValueError, match="VAEGAN knows of no missing values"):
        game = make_vae(networks.mlp, (8,), (8, 8, 1), 2)
        kv.VAEGAN(game.encoder, game.decoder, game.prior, missing=True)
    with pytest.raises(ValueError, match="Perceptual compares pictures by their features"):
        make_vae(networks.mlp, (8,), (8, 8, 1), 2, objective=objectives.Perceptual(), missing=True)
    with pytest.raises(ValueError, match=r"x.filled\(np.nan\)"):
        vae.log_prob(np.ma.masked_invalid(x))
    with pytest.raises(ValueError, match="of data with missing values"):
        vae.encoder.features_model()


def test_a_batch_of_infinities_ends_an_evaluation_and_is_skipped_in_training():
    vae, (_, x) = linear_model(), examples(64)
    x[40, 0] = np.inf
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(32)
    vae.compile("adam")
    with pytest.raises(ValueError, match=r"Batch 1 of the data .* 1 values that are NaN or infinite"):
        vae.evaluate(dataset, verbose=0)
    vae.fit(dataset, epochs=1, verbose=0)
    assert int(vae.skip_counts.counts[0]) == 1
    assert np.isfinite(vae.decoder.output_layer.kernel).all()
