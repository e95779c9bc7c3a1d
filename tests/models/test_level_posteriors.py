"""Posteriors of the levels of a hierarchy: two linear Gaussian levels, of which everything is known, and flows."""

import keras
import numpy as np
import parts
import pytest
import small_models
import tensorflow as tf
from scipy.stats import multivariate_normal

import keras_vae as kv
from keras_vae import flows, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation.statistics import latent_statistics
from keras_vae.models.ladder import LadderDecoder, LadderEncoder

D, SCALE = 5, 0.6
# Hidden layers so small that their bound is not felt.
SMALL = 1e-3
DIAG, TRIL = posteriors.MultivariateNormalDiag, posteriors.MultivariateNormalTriL


def ladder(posterior, objective=None, latents=2, activation="linear", top=TRIL, **options):
    vae = kv.VAE(
        LadderEncoder(networks.mlp([D], activation=activation), top(2)),
        LadderDecoder(
            networks.mlp([3, 3], activation=activation),
            likelihoods.Normal((D,), scale=SCALE),
            latents,
            posterior=posterior,
            **options,
        ),
        priors.StandardNormal(2),
        objective,
        seed=0,
    )
    vae.build()
    return vae


def give_weights(vae):
    """x = a + u S + noise and z = c + u T for u ~ N(0, I): random weights of the way down, and q(z|x) = p(z|x)."""
    random = np.random.default_rng(3)
    for weight in vae.decoder.trainable_variables:
        if "conditioner" not in weight.path and "posterior" not in weight.path:
            weight.assign(0.7 * random.normal(size=weight.shape))
    level, first, second = vae.decoder.levels[0], *vae.decoder.body.layers
    n = level.latents
    of_prior = level.prior_layers[1]
    of_prior.kernel.assign(np.pad(random.normal(size=(3, n)), ((0, 0), (0, n))))  # a scale that depends on nothing
    K, b = (np.asarray(weight, "float64") for weight in (first.kernel, first.bias))
    if level.bidirectional:
        # What z_2 leaves open of x says nothing of z_1: then p(z_2|z_1, x) is p(z_2|z_1) times what x says of z_2.
        second.kernel.assign(np.outer(np.linalg.svd(K)[2][2], random.normal(size=3)))
    units = tf.constant(np.eye(3 + n, 2 + n, k=-1), tf.float32)
    top, noise = units[:, :2], units[:, 2:]
    x = np.asarray(vae.decoder.draw(top, [noise]).mean(), "float64")
    p = level.prior(first(top))
    z = np.concatenate([top, p.loc + p.stddev() * noise], axis=1).astype("float64")
    (a, S), (c, T) = ((at[0], at[1:] - at[0]) for at in (x, z))
    # p(u|x) and with it p(z|x) = N(c + (x - a) G, C).
    of_u = np.linalg.inv(np.eye(2 + n) + S @ S.T / SCALE**2)
    G, C = S.T @ of_u @ T / SCALE**2, T.T @ of_u @ T
    encoder = vae.encoder.body.layers[-1]
    encoder.kernel.assign(np.eye(D))
    encoder.bias.assign(np.zeros(D))
    project(vae.encoder.posterior.projection, G[:, :2], c[:2] - a @ G[:, :2], C[:2, :2])
    hidden, projection = level.posterior_layers[0], level.part.projection
    if level.bidirectional:
        g = S[2:] / np.asarray(p.stddev(), "float64")[:1].T  # d x / d z_2, a row
        of_x, covariance = g.T / (g @ g.T), SCALE**2 / (g @ g.T)
        hidden.kernel.assign(np.pad(of_x, ((0, 0), (0, 3 - n))))
        offset = (x[0] - np.asarray(p.loc)[0] @ g) @ of_x
        mean, hidden_bias = np.eye(3, n), -offset
    else:
        slope = np.linalg.solve(C[:2, :2], C[:2, 2:])
        of_h = np.linalg.pinv(K) @ slope
        hidden.kernel.assign(np.pad(np.concatenate([of_h, G[:, 2:] - G[:, :2] @ slope]), ((0, 0), (0, 3 - n))))
        hidden_bias = c[2:] - a @ G[:, 2:] - (c[:2] - a @ G[:, :2]) @ slope - b @ of_h
        mean, covariance = np.eye(3, n), C[2:, 2:] - C[2:, :2] @ slope
    hidden.kernel.assign(SMALL * hidden.kernel)
    hidden.bias.assign(SMALL * np.pad(hidden_bias, (0, 3 - n)))
    project(projection, mean / SMALL, np.zeros(n), covariance)
    return multivariate_normal(a, S.T @ S + SCALE**2 * np.eye(D))


def project(layer, kernel, bias, covariance):
    """Let a projection give this location, linear in the features, and the raw numbers of this covariance."""
    factor = np.linalg.cholesky(covariance)
    is_full = layer.bias.shape[0] > 2 * len(factor)
    raw = small_models.raw_triangle(factor) if is_full else small_models.raw_scale(np.diag(factor))
    layer.kernel.assign(np.pad(kernel, ((0, 0), (0, raw.shape[-1]))))
    layer.bias.assign(np.concatenate([bias, np.asarray(raw).ravel()]))


EXACT = {
    "tril": (lambda: TRIL(2), {}),
    "iaf": (lambda: flows.Flow(TRIL(2), units=(4,)), {}),
    "coupling": (lambda: flows.Flow(TRIL(2), "coupling", units=(4,)), {}),
    "bidirectional": (lambda: DIAG(1), {"latents": 1, "bidirectional": True}),
    "bidirectional_iaf": (lambda: flows.Flow(DIAG(1), units=(4,)), {"latents": 1, "bidirectional": True}),
}


@pytest.mark.parametrize("name", EXACT)
def test_with_the_exact_posterior_of_two_levels_every_draw_gives_log_p(name):
    """Flows begin as their base, which is the true posterior here: log w = log p(x), and all bounds are equal."""
    posterior, options = EXACT[name]
    vae = ladder(posterior(), **options)
    exact = give_weights(vae)
    x = np.asarray(exact.rvs(8, random_state=0), "float32")
    terms = vae.infer(x, 5, seed=0)
    np.testing.assert_allclose(terms.log_weights, np.tile(exact.logpdf(x), (5, 1)), atol=2e-3)
    np.testing.assert_allclose(vae.log_prob(x, 3), exact.logpdf(x), atol=2e-3)
    assert [group.kl_is_exact for group in terms.groups] == [True, "iaf" not in name and "coupling" not in name]
    elbo = np.asarray(vae.infer(x, 4000, seed=1).elbo)
    np.testing.assert_allclose(elbo, exact.logpdf(x), atol=0.15)
    # Wrong posteriors are seen.
    projection = vae.decoder.levels[0].part.projection
    projection.bias.assign(projection.bias + 0.3)
    assert np.ptp(np.asarray(vae.infer(x, 5, seed=0).log_weights), axis=0).min() > 0.05


@pytest.mark.parametrize(("estimator", "is_silent"), [("iwae", False), ("stl", True), ("dreg", True)])
@pytest.mark.parametrize("name", ["tril", "iaf"])
def test_with_the_exact_posterior_stl_and_dreg_leave_all_levels_alone(name, estimator, is_silent):
    vae = ladder(EXACT[name][0](), objectives.ImportanceWeighted(3, estimator))
    x = np.asarray(give_weights(vae).rvs(8, random_state=0), "float32")
    level = vae.decoder.levels[0]
    hidden = level.posterior_layers[0]
    with tf.GradientTape() as tape:
        loss, logs = vae.objective(vae.infer(x, 3, seed=0, training=True), tf.constant(0))
    of_top, of_part, of_hidden = tape.gradient(
        loss, [vae.encoder.trainable_variables, level.part.projection.bias, hidden.trainable_variables]
    )
    for found in (of_top, [of_part], [SMALL * gradient for gradient in of_hidden]):
        largest = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in found)
        assert largest < 2e-3 if is_silent else largest > 1e-2
    np.testing.assert_allclose(logs["bound"], np.mean(vae.infer(x, 3, seed=0).log_weights), atol=2e-3)


def stirred(objective, posterior):
    """A hierarchy that is not linear, of random weights."""
    vae = ladder(posterior, objective, activation="tanh", top=DIAG)
    random = np.random.default_rng(5)
    for weight in vae.trainable_variables:
        weight.assign(0.4 * random.normal(size=weight.shape))
    return vae


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("estimator", "k", "few"),
    [
        ("stl", 1, None),
        ("dreg", 4, None),
        ("iwae", 4, 2),
        pytest.param("dreg", 4, 2, marks=SLOW),
        pytest.param("dreg", 1, None, marks=SLOW),
    ],
)
def test_over_levels_other_estimators_agree_with_the_plain_gradient_in_expectation(estimator, k, few):
    """Also of the weights that prior and posterior of a level share, and of a flow between them."""
    x = np.random.default_rng(0).normal(size=(64, D)).astype("float32")

    def gradients(name, first, few=None):
        vae = stirred(objectives.ImportanceWeighted(k, name, few), flows.Flow(DIAG(2), units=(4,), context_size=2))

        @tf.function
        def one(seed):
            with tf.GradientTape() as tape:
                loss, _ = vae.objective(vae.infer(x, k, seed, training=True), tf.constant(0))
            return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, vae.trainable_variables)], axis=0)

        return np.stack([one(tf.constant([first, i])) for i in range(150)]).astype("float64")

    plain, other = gradients("iwae", 1), gradients(estimator, 2, few)
    error = np.sqrt((plain.var(axis=0) + other.var(axis=0)) / len(plain))
    assert plain.shape[1] > 150
    assert np.all(np.abs(plain.mean(axis=0) - other.mean(axis=0)) < 4.5 * error + 1e-6)
    assert np.abs(plain.mean(axis=0)).max() > 20 * error.max()


def on_maps(posterior, network="ladder_conv", **options):
    recipe = parts.NETWORKS[network]
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        LadderEncoder(recipe([8, 4]), DIAG(parts.L)),
        LadderDecoder(recipe([4, 8]), likelihoods.Bernoulli(parts.SHAPE), 2, posterior=posterior, **options),
        priors.StandardNormal(parts.L),
        seed=1,
    )
    vae.build()
    return vae


@pytest.mark.parametrize(
    ("kernel_size", "bidirectional"),
    [(3, True), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((3, False), (1, True), (1, False)))],
)
def test_a_new_flow_at_each_level_is_the_gaussian_that_it_begins_with(kernel_size, bidirectional):
    flow = on_maps(flows.Flow(DIAG(2), units=(4,), kernel_size=kernel_size), bidirectional=bidirectional)
    gaussian = on_maps(DIAG(2), bidirectional=bidirectional)
    others = [weight for weight in flow.weights if "conditioner" not in weight.path]
    for to, of in zip(gaussian.weights, others, strict=True):
        to.assign(of)
    x = np.round(np.random.default_rng(0).random((4, *parts.SHAPE))).astype("float32")
    assert not flow.kl_is_exact and gaussian.kl_is_exact
    terms = flow.infer(x, 3, seed=0)
    z = [group.z for group in terms.groups]
    _, features = gaussian.encoder.ascend(x)
    again = gaussian.decoder.descend(z[0], features, given=z[1:])
    for a, b in zip(terms.groups[1:], again.groups, strict=True):
        np.testing.assert_allclose(a.log_q, b.log_q, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(a.log_p, b.log_p, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(a.kl, np.mean(a.log_q - a.log_p, axis=0), rtol=1e-4, atol=1e-4)  # sampled
    np.testing.assert_allclose(terms.log_likelihood, again.likelihood.log_prob(x), rtol=1e-4)
    np.testing.assert_allclose(flow.reconstruct(x), gaussian.reconstruct(x), atol=1e-5)
    sampled, exact = flow.infer(x, 4000, seed=2), gaussian.infer(x, 4000, seed=3)
    ratios = np.sum([group.log_q - group.log_p for group in sampled.groups[1:]], axis=0)
    assert np.mean(sampled.kl) == pytest.approx(np.mean(exact.kl), abs=6 * float(ratios.std()) / ratios.size**0.5)


@pytest.mark.parametrize(
    "name", ["tril", *(pytest.param(name, marks=pytest.mark.slow) for name in ("eigen", "low_rank"))]
)
def test_full_covariances_at_the_places_of_a_map_have_an_exact_kl(name):
    vae = on_maps(parts.POSTERIORS[name](2))
    random = np.random.default_rng(1)
    for weight in vae.trainable_variables:
        weight.assign(0.3 * random.normal(size=weight.shape))
    x = np.round(random.random((2, *parts.SHAPE))).astype("float32")
    terms = vae.infer(x, 4000, seed=0)
    assert vae.kl_is_exact
    for group in terms.groups:
        assert group.kl.shape == (2,)
        log_ratio = np.asarray(group.log_q - group.log_p)
        np.testing.assert_allclose(group.kl, log_ratio.mean(axis=0), atol=5 * log_ratio.std() / 4000**0.5)
    np.testing.assert_allclose(terms.groups[1].q.log_prob(terms.groups[1].z), terms.groups[1].log_q, atol=1e-3)


def test_levels_get_posteriors_of_their_own_sizes_and_the_statistics_know_them():
    vae = kv.VAE(
        LadderEncoder(networks.mlp([9, 8]), DIAG(3)),
        LadderDecoder(
            networks.mlp([6, 5, 4]),
            likelihoods.Bernoulli(parts.SHAPE),
            latents=[4, 2],
            posterior=flows.Flow(TRIL(7), num_layers=1, units=(4,), context_size=2),
        ),
        priors.StandardNormal(3),
        seed=1,
    )
    x = parts.data(vae.decoder.likelihood, 8)
    found = latent_statistics(vae, x)
    assert [level.part.latent_dim for level in vae.decoder.levels] == [4, 2]
    assert [level.part.base.latent_dim for level in vae.decoder.levels] == [4, 2]
    assert all(level.part.params_size == level.part.base.params_size + 2 for level in vae.decoder.levels)
    assert np.bincount(found.levels)[1:].tolist() == [3, 4, 2]
    assert vae.decoder.posterior_of_size(5).revision == 1 and TRIL(3).of_size(5).revision == 2


def test_no_draw_of_a_part_runs_away_from_level_to_level():
    """Whatever h is: without bounds, its draws grew with it, and it with them."""
    vae = on_maps(flows.Flow(DIAG(2), units=(4,), context_size=2, kernel_size=3))
    random = np.random.default_rng(4)
    for weight in vae.decoder.trainable_variables:
        weight.assign(random.normal(size=weight.shape))
    level, shape = vae.decoder.levels[0], vae.decoder.level_shapes[0]
    h, e = (tf.constant(random.normal(size=(64, *shape[:-1], n)), tf.float32) for n in (shape[-1], 4))
    largest = [
        float(tf.reduce_max(tf.abs(level.posterior(factor * h, factor * e).drawn([0, 0])[0]))) for factor in (1e3, 1e6)
    ]
    assert largest[0] == pytest.approx(largest[1], rel=0.1)


def test_a_bidirectional_level_is_the_product_of_both_ways():
    vae = on_maps(None, bidirectional=True)
    random = np.random.default_rng(2)
    for weight in vae.decoder.trainable_variables:
        weight.assign(0.5 * random.normal(size=weight.shape))
    level, shape = vae.decoder.levels[0], vae.decoder.level_shapes[0]
    h = tf.constant(random.normal(size=(3, *shape)), tf.float32)
    e = tf.constant(random.normal(size=(3, *shape[:-1], 4)), tf.float32)
    p, q = level.prior(h), level.posterior(h, e)
    other = level.posterior(h + 1.0, e)
    of_e = q.stddev() ** -2 - p.stddev() ** -2
    # What e says is the same whatever h is, and no more certain than both.
    of_other = other.stddev() ** -2 - level.prior(h + 1.0).stddev() ** -2
    np.testing.assert_allclose(of_e, of_other, rtol=1e-2, atol=1e-3)
    assert np.all(of_e > 0)
    weighted = (q.mean() * q.stddev() ** -2 - p.mean() * p.stddev() ** -2) / of_e
    p2 = level.prior(h + 1.0)
    np.testing.assert_allclose(
        weighted, (other.mean() * other.stddev() ** -2 - p2.mean() * p2.stddev() ** -2) / of_other, rtol=0.05, atol=0.01
    )


def test_what_cannot_be_the_posterior_of_a_level_is_refused():
    for posterior in ("one_hot", "joint", "quantized", "deterministic"):
        with pytest.raises(ValueError, match=r"cannot be compared|has none of that kind"):
            on_maps(parts.POSTERIORS[posterior]())
    with pytest.raises(TypeError, match="posterior must be a posterior such as"):
        on_maps("MultivariateNormalDiag")
    with pytest.raises(ValueError, match=r"adds the precisions of diagonal Gaussians, and MultivariateNormalTriL"):
        on_maps(TRIL(2), bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional must be True or False"):
        on_maps(None, bidirectional="yes")
    of_maps = flows.Flow(DIAG(2), units=(4,), kernel_size=3)
    with pytest.raises(ValueError, match="is of maps, and the level after stage 1 is a vector"):
        on_maps(of_maps, "mlp")
    with pytest.raises(ValueError, match=r"is of maps, the levels of a hierarchy below the top"):
        kv.VAE(kv.Encoder(networks.mlp([4]), of_maps), kv.Decoder(networks.mlp([4]), likelihoods.Bernoulli((3,))),
               priors.StandardNormal(2))  # fmt: skip
    vae = on_maps(of_maps)
    for objective in (objectives.ImportanceWeighted(2, "dreg"), objectives.ImportanceWeighted(2, backward_samples=1)):
        with pytest.raises(ValueError, match="a pass for each number of a map"):
            kv.VAE(vae.encoder, vae.decoder, vae.prior, objective)


def test_a_hierarchy_that_was_saved_before_has_gaussian_levels():
    config = on_maps(None).decoder.get_config()
    before = LadderDecoder.from_config({n: v for n, v in config.items() if n not in ("posterior", "bidirectional")})
    before.build((None, parts.L))
    assert all(level.part is None and not level.bidirectional for level in before.levels)
    assert {"prior_hidden", "prior_params", "posterior_hidden", "posterior_params", "into"} == {
        layer.name for layer in [*before.levels[0].prior_layers, *before.levels[0].posterior_layers]
    } | {before.levels[0].into.name}
