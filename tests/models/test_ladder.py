"""Hierarchies: levels of latents between the stages of ordinary networks."""

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, objectives, pictures, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.distributions.scales import bounded
from keras_vae.models.ladder import LadderDecoder, LadderEncoder
from keras_vae.pictures.levels import shared_draws


def make(network, likelihood=None, latents=2, condition=None, objective=None):
    recipe = parts.NETWORKS[network]
    return kv.VAE(
        LadderEncoder(recipe([8, 4]), posteriors.MultivariateNormalDiag(parts.L), condition),
        LadderDecoder(recipe([4, 8]), likelihood or likelihoods.Bernoulli(parts.SHAPE), latents, condition),
        priors.StandardNormal(parts.L),
        objective,
        seed=1,
    )


@pytest.mark.parametrize(("network", "levels"), [pytest.param("mlp", 2, marks=pytest.mark.slow), ("conv", 3)])
def test_a_hierarchy_trains_saves_and_samples(network, levels, tmp_path):
    vae = make(network, objective=objectives.ELBO(free_bits=0.01))
    x = parts.data(vae.decoder.likelihood)
    vae.compile(keras.optimizers.Adam(0.02))
    losses = vae.fit(x, batch_size=16, epochs=6, verbose=0).history["loss"]
    assert min(losses[1:]) < losses[0]
    assert vae.num_levels == levels and vae.kl_is_exact
    terms = vae.infer(x[:4], num_samples=3, seed=0)
    assert len(terms.groups) == levels
    for group in terms.groups:
        assert group.z.shape[:2] == group.log_q.shape == group.log_p.shape == (3, 4)
        assert group.kl.shape == (4,) and np.all(group.kl >= 0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))
    np.testing.assert_array_equal(loaded.infer(x[:4], 3, 0).log_weights, terms.log_weights)
    found = evaluation.log_likelihood(vae, x, num_samples=20, verbose=False).mean
    assert found == pytest.approx(float(np.mean(vae.log_prob(x, 20))), abs=1.0)


def test_at_temperature_zero_all_draws_are_the_mean():
    vae = make("mlp")
    cold = vae.sample(3, seed=0, temperature=0.0)
    np.testing.assert_allclose(cold, np.repeat(cold[:1], 3, axis=0), atol=1e-6)
    np.testing.assert_allclose(cold[:1], vae.decode(np.zeros((1, parts.L))).mean(), atol=1e-6)
    assert np.abs(vae.sample(3, seed=0) - cold).max() > 1e-4


@pytest.mark.parametrize("condition", [None, Label(4)], ids=["plain", "label"])
def test_draws_that_share_levels_differ_only_by_those_below(condition, tmp_path):
    vae = make("conv", condition=condition)
    given = None if condition is None else 2
    fixed, images = shared_draws(vae, 4, seed=3, condition=given)
    assert list(fixed) == [0, 1, 2] and images.shape == (3, 4, *parts.SHAPE)
    np.testing.assert_allclose(images[0], vae.sample(4, seed=3, condition=given), atol=1e-6)
    np.testing.assert_allclose(images[:, 0], images[:1, 0].repeat(3, axis=0), atol=1e-6)
    spread = images.std(axis=1).mean(axis=(1, 2, 3))
    assert np.all(spread > 0) and len(np.unique(spread)) == 3
    pictures.fixed_levels(vae, 4, path=tmp_path / "levels.png")
    assert (tmp_path / "levels.png").stat().st_size > 0
    flat = kv.VAE(
        kv.Encoder(networks.mlp([4]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli(parts.SHAPE)),
        priors.StandardNormal(2),
    )
    with pytest.raises(ValueError, match="has one level"):
        pictures.fixed_levels(flat)


def test_two_linear_levels_have_the_likelihood_of_the_gaussian_that_they_are():
    """z_1 ~ N(0, I), h = A z_1, z_2 ~ N(B g(h), s^2): with B = 0 p(x) = N(b, W (A A^T + V V^T s^2) W^T + t^2 I)."""
    t = 0.6
    vae = kv.VAE(
        LadderEncoder(networks.mlp([4], activation="linear"), posteriors.MultivariateNormalDiag(2)),
        LadderDecoder(networks.mlp([3, 3], activation="linear"), likelihoods.Normal((5,), scale=t), 2),
        priors.StandardNormal(2),
        seed=0,
    )
    vae.build()
    random = np.random.default_rng(0)
    for weight in vae.decoder.trainable_variables:
        weight.assign(0.5 * random.normal(size=weight.shape))
    level = vae.decoder.levels[0]
    # Posteriors equal to the priors: the weights of log p(x) are then p(x|z), of finite variance.
    for projection in (level.prior_layers[1], level.posterior_layers[1]):
        projection.kernel.assign(np.zeros((3, 4)))
        projection.bias.assign([0.3, -0.2, 0.4, -0.5])
    vae.encoder.posterior.projection.kernel.assign(np.zeros((4, 4)))
    first, second = (layer for layer in vae.decoder.body.layers)
    (A, a), (V, v), (M, m), (W, w) = (
        [np.asarray(weight, "float64") for weight in (layer.kernel, layer.bias)]
        for layer in (first, level.into, second, vae.decoder.output_layer)
    )
    p = level.prior(tf.zeros((1, 3)))
    mean, scale = np.asarray(p.mean(), "float64")[0], np.asarray(p.stddev(), "float64")[0]
    np.testing.assert_allclose(scale, np.exp([0.5 * np.tanh(0.4 / 0.5), 5 * np.tanh(-0.5 / 5)]), rtol=1e-5)
    loc = ((a + mean @ V + v) @ M + m) @ W + w
    factor = np.concatenate([A, scale[:, None] * V]) @ M @ W
    exact = tfd.MultivariateNormalTriL(loc, np.linalg.cholesky(factor.T @ factor + t**2 * np.eye(5)))
    x = np.asarray(exact.sample(6, seed=[0, 1]), "float32")
    np.testing.assert_allclose(vae.log_prob(x, 20_000), exact.log_prob(x), atol=0.15)
    drawn = np.asarray(vae.generate(20_000, seed=0).likelihood.mean())
    np.testing.assert_allclose(np.cov(drawn.T), factor.T @ factor, atol=0.15 * np.abs(factor.T @ factor).max())


def test_a_stage_can_be_without_a_level(tmp_path):
    vae = kv.VAE(
        LadderEncoder(networks.gated_mlp([9, 8, 7]), posteriors.MultivariateNormalDiag(3)),
        LadderDecoder(networks.gated_mlp([6, 5, 4]), likelihoods.Bernoulli(parts.SHAPE), latents=[0, 2]),
        priors.StandardNormal(3),
        seed=1,
    )
    x = parts.data(vae.decoder.likelihood, 4)
    assert vae.num_levels == 2 and vae.decoder.noise_sizes == [2] and vae.decoder.level_shapes == [(5,)]
    # The second stage from the top sees the second feature from the top: 5 of h and 8 of the encoder.
    assert vae.decoder.levels[0].posterior_layers[0].values.kernel.shape == (13, 5)
    terms = vae.infer(x, num_samples=2, seed=0)
    assert [group.z.shape[-1] for group in terms.groups] == [3, 2]
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.infer(x, 2, 0).log_weights, terms.log_weights)


def test_the_levels_of_a_gated_network_are_gated_too():
    vae = make("gated_mlp")
    vae.build()
    (level,) = vae.decoder.levels
    level.prior_layers[1].kernel.assign(tf.random.stateless_normal(level.prior_layers[1].kernel.shape, [0, 0]))
    h = tf.random.stateless_normal((1, 4), [0, 1])
    mean = [np.asarray(level.prior(factor * h).mean()) for factor in (-1, 0, 1)]
    assert np.abs(mean[0] + mean[2] - 2 * mean[1]).max() > 0.01  # else the prior would be affine in h


def test_half_a_hierarchy_and_what_it_cannot_do_are_refused():
    vae = make("mlp")
    with pytest.raises(ValueError, match="together, or neither"):
        kv.VAE(kv.Encoder(networks.mlp([4]), vae.encoder.posterior), vae.decoder, vae.prior)
    for name in ("total_correlation", "dip", "cascade", "joint_capacity", "clustered"):
        with pytest.raises(ValueError, match="is of one level of latents, and would leave out"):
            make("mlp", objective=parts.OBJECTIVES[name]())
    with pytest.raises(ValueError, match=r"latents has 3 numbers: give 1"):
        make("mlp", latents=[2, 2, 2]).build()
    for latents in (0, [0], [-1], [], [True], "2", [2.0]):
        with pytest.raises(ValueError, match="latents must be a positive int, or a list of ints"):
            make("mlp", latents=latents)
    with pytest.raises(TypeError, match="network must be a recipe"):
        LadderEncoder(keras.layers.Dense(3), vae.encoder.posterior)


def test_levels_may_be_conditional():
    label = Label(4)
    vae = make("conv", condition=label)
    x = parts.data(vae.decoder.likelihood, 4)
    assert vae.reconstruct(x, np.arange(4)).shape == x.shape
    assert np.abs(vae.sample(2, seed=0, condition=1) - vae.sample(2, seed=0, condition=2)).max() > 1e-5


def far_out(decoder):
    """Standard deviations at all levels of draws for z_1 far from any in training, under priors that see h."""
    kernels = np.random.default_rng(0)
    found = []
    for level in decoder.levels:
        params = level.prior_layers[-1].kernel
        params.assign(kernels.normal(size=params.shape))
        prior = level.prior
        level.prior = lambda h, prior=prior: found.append(prior(h)) or found[-1]
    image = decoder.draw(tf.constant(np.full((2, parts.L), 30.0, "float32")), decoder.noise(2, seed=0)).mean()
    return np.concatenate([p.stddev().numpy().ravel() for p in found]), image


def test_no_draw_runs_away_from_level_to_level():
    """sigma is below exp(1/2) however far h lies from all in training: it was below exp(5), as of models saved then."""
    decoder = make("conv").decoder
    decoder.build((None, parts.L))
    deviations, _ = far_out(decoder)
    assert deviations.max() == pytest.approx(np.exp(0.5), rel=1e-3) and deviations.min() >= 0.999 * np.exp(-5.0)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decoder)).max_log_scale == 0.5
    config = {name: value for name, value in decoder.get_config().items() if name != "max_log_scale"}
    before = LadderDecoder.from_config(config)
    before.build((None, parts.L))
    assert far_out(before)[0].max() > 20
    assert LadderDecoder.from_config(before.get_config()).max_log_scale == 5.0


def test_the_bound_of_the_scales_is_felt_far_out_alone():
    raw = tf.constant([-60.0, -1.0, -0.01, 0.0, 0.01, 0.2, 60.0])
    with tf.GradientTape() as tape:
        tape.watch(raw)
        found = bounded(raw, 0.5, below=5.0)
    np.testing.assert_allclose(found, [-5.0, -5 * np.tanh(0.2), -0.01, 0.0, 0.01, 0.5 * np.tanh(0.4), 0.5], atol=2e-5)
    np.testing.assert_allclose(tape.gradient(found, raw)[2:5], 1.0, atol=1e-3)
    np.testing.assert_allclose(bounded(raw, 5.0, below=5.0), bounded(raw, 5.0))


def test_levels_see_the_features_of_their_own_size():
    """16x16, in four halvings with blocks: topmost of the encoder's stages first, two of each size."""
    network, likelihood = networks.residual([4, 5, 6, 7]), likelihoods.DiscretizedLogistic((16, 16, 3))
    encoder = LadderEncoder(network, posteriors.MultivariateNormalDiag(2))
    decoder = LadderDecoder(networks.residual([7, 6, 5, 4]), likelihood, 2)
    vae = kv.VAE(encoder, decoder, priors.StandardNormal(2), seed=0)
    vae.build()
    assert [shape[0] for shape in decoder.level_shapes] == [1, 2, 2, 4, 4, 8, 8, 16]
    # Those of 16x16 are the data's own.
    assert [encoder.feature_shapes[number][0] for number in decoder.seen] == [1, 2, 2, 4, 4, 8, 8, 8]
    # Behind the blocks of that size.
    assert decoder.seen == [0, 2, 2, 4, 4, 6, 6, 7]
    x = np.round(np.random.default_rng(0).random((3, 16, 16, 3)) * 255).astype("float32") / 255
    assert np.isfinite(vae.log_prob(x, 3)).all()
    config = {name: value for name, value in decoder.get_config().items() if name != "by_size"}
    before = LadderDecoder.from_config(config)
    before.build((None, 2))
    before.connect(encoder.feature_shapes)
    assert before.seen == [0, 1, 2, 3, 4, 5, 6, 7]
    assert LadderDecoder.from_config(before.get_config()).by_size is False


@pytest.mark.slow
def test_no_sample_of_a_young_hierarchy_is_black_or_white():
    """Coloured blobs, none of whose values are at an end of the range: with log sigma < 5, 7 of 500 samples were."""
    random, at = np.random.default_rng(0), (np.arange(16) + 0.5) / 16
    place, size = random.uniform(0.2, 0.8, (2, 1000, 1, 1, 1)), random.uniform(0.08, 0.3, (1000, 1, 1, 1))
    distance = (at[:, None, None] - place[0]) ** 2 + (at[None, :, None] - place[1]) ** 2
    blob, (colour, ground) = np.exp(-distance / (2 * size**2)), random.uniform(0.2, 0.8, (2, 1000, 1, 1, 3))
    x = blob * colour + (1 - blob) * ground + 0.03 * random.normal(size=(1000, 16, 16, 3))
    x = (np.round(x.clip(0.05, 0.95) * 255) / 255).astype("float32")
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        LadderEncoder(networks.residual([12, 16, 24]), posteriors.MultivariateNormalDiag(8)),
        LadderDecoder(networks.residual([24, 16, 12]), likelihoods.DiscretizedLogistic((16, 16, 3)), 8),
        priors.StandardNormal(8),
        objectives.ELBO(kl_weight=0.2),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(x, batch_size=32, epochs=6, verbose=0)
    samples = vae.sample(500, seed=0)
    assert ((samples < 0.02) | (samples > 0.98)).mean(axis=(1, 2, 3)).max() < 0.05
