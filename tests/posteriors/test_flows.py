"""Flows against autodiff, their inverses and numerical integration."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

import keras_vae as kv
from keras_vae import flows, posteriors, priors, terms
from keras_vae.distributions import bijectors
from keras_vae.distributions.bijectors import Conditioner, MaskedAffine

BASES = {"diag": posteriors.MultivariateNormalDiag, "tril": posteriors.MultivariateNormalTriL}


def stir(layer, scale=0.3):
    """Give all weights random values: a flow starts as the identity, where there is little to test."""
    for i, weight in enumerate(layer.trainable_variables):
        weight.assign(scale * tf.random.stateless_normal(weight.shape, [i, 7]))


def stirred(kind, dim=4, num_layers=2, base="diag", scale=0.3, **arguments):
    """A flow with random weights, and its distribution for two random inputs."""
    posterior = flows.Flow(BASES[base](dim), kind, num_layers, units=[16, 16], **{"context_size": 3, **arguments})
    stir(posterior, scale)
    q = posterior.distribution(tf.random.stateless_normal([2, posterior.params_size], [0, 1]))
    return posterior, q


def jacobian(function, x):
    """d f(x)_i / d x_j of a function of vectors, [B, L, L]."""
    x = tf.identity(x)  # TFP remembers what it has computed of a tensor, and a tape would see nothing of that
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.batch_jacobian(y, x).numpy()


@pytest.mark.parametrize("kind", bijectors.KINDS)
@pytest.mark.parametrize("dim", [1, 5])
def test_inverse_and_log_determinant(kind, dim):
    _, q = stirred(kind, dim, num_layers=3)
    u = tf.random.stateless_normal([2, dim], [0, 0])
    z = q.bijector.forward(u)
    assert np.abs(z - u).max() > 0.1
    np.testing.assert_allclose(q.bijector.inverse(tf.identity(z)), u, atol=1e-4)
    expected = np.linalg.slogdet(jacobian(q.bijector.forward, u).astype("float64"))[1]
    np.testing.assert_allclose(q.bijector.forward_log_det_jacobian(u, 1), expected, atol=1e-4)
    np.testing.assert_allclose(q.bijector.inverse_log_det_jacobian(tf.identity(z), 1), -expected, atol=1e-4)


@pytest.mark.parametrize("kind", bijectors.KINDS)
@pytest.mark.parametrize("units", [[16, 16], [3]])
def test_each_layer_depends_on_what_comes_before_and_on_nothing_else(kind, units):
    dim = 5
    for conditioner in bijectors.conditioners(kind, dim, 4, units):
        stir(conditioner)
        layer = MaskedAffine(conditioner)
        slopes = jacobian(layer.forward, tf.random.stateless_normal([1, dim], [0, 0]))[0]
        before = conditioner.order[:, None] > conditioner.order[None, :]
        np.testing.assert_array_equal(slopes[~before & ~np.eye(dim, dtype=bool)], 0.0)
        assert np.all(np.diag(slopes) > 0.0)
        if units == [16, 16]:
            assert np.all(slopes[before] != 0.0)
        # In its own order, an autoregressive layer has a triangular Jacobian.
        ordered = slopes[np.argsort(conditioner.order)][:, np.argsort(conditioner.order)]
        np.testing.assert_array_equal(np.triu(ordered, 1), 0.0)


@pytest.mark.parametrize(("kind", "of_the_inverse"), [("iaf", 4), ("coupling", 1)])
def test_a_layer_and_its_log_determinant_take_no_more_passes_than_they_must(kind, of_the_inverse, monkeypatch):
    (conditioner,) = bijectors.conditioners(kind, 5, 1, [16])
    stir(conditioner)
    passes, call = [], Conditioner.call

    def counted(self, x, context=None):
        passes.extend([x] if len(x.shape) > 1 else [])
        return call(self, x, context)

    monkeypatch.setattr(Conditioner, "call", counted)
    x, layer = tf.random.stateless_normal([3, 5], [0, 0]), MaskedAffine(conditioner)
    y, log_det = layer.forward(x), layer.forward_log_det_jacobian(x, 1)
    assert len(passes) == 1
    passes.clear()
    again, y = MaskedAffine(conditioner), tf.identity(y)
    np.testing.assert_allclose(again.inverse(y), x, atol=1e-5)
    np.testing.assert_allclose(again.inverse_log_det_jacobian(y, 1), -log_det, atol=1e-5)
    assert len(passes) == of_the_inverse


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_flow_of_maps_depends_on_what_comes_before_and_is_inverted_place_by_place(num_layers, latent_dim):
    shape, size = (2, 3, latent_dim), 6 * latent_dim
    conditioners = bijectors.map_conditioners(3, latent_dim, num_layers, [8, 6], context_size=2)
    for conditioner in conditioners:
        stir(conditioner)
    context = tf.random.stateless_normal([2, *shape[:2], 2], [0, 1])
    layer = MaskedAffine(conditioners[-1], context)
    x = tf.random.stateless_normal([2, *shape], [0, 0])

    def flat(function):
        return lambda vectors: tf.reshape(function(tf.reshape(vectors, [-1, *shape])), [-1, size])

    vectors = tf.reshape(x, [2, size])
    slopes = jacobian(flat(layer.forward), vectors).astype("float64")
    order = conditioners[-1].order_within(shape).ravel()
    # In its own order triangular, and whatever a kernel reaches counts.
    np.testing.assert_array_equal(np.triu(slopes[:, order.argsort()][:, :, order.argsort()], 1), 0.0)
    at = np.indices(shape[:2]).reshape(2, -1).repeat(latent_dim, axis=1)
    near = (np.abs(at[:, :, None] - at[:, None, :]) <= 1).all(axis=0) & (order[:, None] > order)
    assert sorted(order) == list(range(size)) and np.all(slopes[:, near] != 0.0)
    assert order[0] == (size - 1 if num_layers == 2 else 0)
    chain = bijectors.chain(conditioners, context)
    expected = np.linalg.slogdet(jacobian(flat(chain.forward), vectors).astype("float64"))[1]
    np.testing.assert_allclose(chain.forward_log_det_jacobian(x, 3), expected, atol=1e-4)
    y = tf.identity(chain.forward(x))
    assert np.abs(y - x).max() > 0.1
    np.testing.assert_allclose(chain.inverse(y), x, atol=1e-4)
    np.testing.assert_allclose(chain.inverse_log_det_jacobian(y, 3), -expected, atol=1e-4)


def test_all_dimensions_reach_all_others():
    for kind, num_layers in (("iaf", 2), ("coupling", 4)):
        _, q = stirred(kind, dim=4, num_layers=num_layers)
        assert np.all(jacobian(q.bijector.forward, tf.random.stateless_normal([2, 4], [0, 0])) != 0.0)


@pytest.mark.parametrize("kind", bijectors.KINDS)
@pytest.mark.parametrize("base", BASES)
def test_a_new_flow_is_its_base(kind, base):
    posterior = flows.Flow(BASES[base](3), kind)
    posterior.build((None, 6))
    q = posterior(tf.random.stateless_normal([2, 6], [0, 0]))
    z, log_q = q.experimental_sample_and_log_prob(5, seed=[0, 0])
    u, log_base = q.distribution.experimental_sample_and_log_prob(5, seed=[0, 0])
    np.testing.assert_allclose(z, u, atol=1e-6)
    np.testing.assert_allclose(log_q, log_base, atol=1e-5)
    np.testing.assert_allclose(posterior.point(q), q.distribution.mean(), atol=1e-6)


@pytest.mark.parametrize(("kind", "base"), [("iaf", "tril"), ("coupling", "diag")])
def test_draws_come_with_their_density_and_without_an_inversion(kind, base, monkeypatch):
    posterior, q = stirred(kind, base=base)
    z, log_q = q.experimental_sample_and_log_prob(6, seed=[0, 0])
    np.testing.assert_allclose(q.log_prob(tf.identity(z)), log_q, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(posterior.point(q), q.bijector.forward(q.distribution.mean()))

    def inverse(self, y):
        raise AssertionError("inverted")

    monkeypatch.setattr(MaskedAffine, "_inverse", inverse)

    @tf.function(input_signature=[tf.TensorSpec([None, posterior.params_size])])
    def draw(params):
        q = posterior.distribution(params)
        return (*q.experimental_sample_and_log_prob(6, seed=[0, 0]), posterior.point(q))

    again = draw(tf.random.stateless_normal([2, posterior.params_size], [0, 1]))
    np.testing.assert_allclose(again[0], z, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again[1], log_q, rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError, match="inverted"):
        q.log_prob(tf.identity(z))


@pytest.mark.parametrize("kind", bijectors.KINDS)
def test_density_integrates_to_one_and_draws_are_not_gaussian(kind):
    _, q = stirred(kind, dim=2, num_layers=3, scale=0.2)
    axis = np.linspace(-40.0, 40.0, 401, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)
    density = np.exp(q.log_prob(grid).numpy().astype("float64"))
    np.testing.assert_allclose(density.sum(axis=0) * (axis[1] - axis[0]) ** 2, 1.0, atol=0.01)
    u, z = q.distribution.sample(2000, seed=[0, 0]), q.sample(2000, seed=[0, 0])
    assert min(stats.normaltest(u[:, b, i]).pvalue for b in range(2) for i in range(2)) > 1e-3
    for b in range(2):
        assert min(stats.normaltest(z[:, b, i]).pvalue for i in range(2)) < 1e-6


@pytest.mark.parametrize("kind", bijectors.KINDS)
def test_the_context_bends_the_flow(kind):
    posterior, _ = stirred(kind)
    base = np.zeros((2, posterior.base.params_size), "float32")
    context = tf.random.stateless_normal([2, posterior.context_size], [0, 0])
    q = posterior.distribution(tf.concat([base, context], axis=-1))
    z = q.sample(1, seed=[0, 0])[0] - q.distribution.sample(1, seed=[0, 0])[0]
    assert np.abs(z[0] - z[1]).max() > 0.1
    without, q = stirred(kind, context_size=0)
    assert without.params_size == without.base.params_size
    assert q.batch_shape == (2,)


def test_kl_between_flows_is_not_taken_for_that_between_their_bases():
    (_, q), (_, p) = stirred("iaf"), stirred("iaf", num_layers=3)
    z, log_q = q.experimental_sample_and_log_prob(3, seed=[0, 0])
    for other in (p, priors.StandardNormal(4).distribution(), priors.RealNVP(4, 2, [8]).distribution()):
        assert not terms.latent_group(q, other, z, log_q).kl_is_exact


def test_a_flow_comes_nearer_to_a_bent_target_than_any_gaussian():
    def log_target(z):
        bent = z[..., 1] - z[..., 0] ** 2
        return tfd.Normal(0.0, 1.0).log_prob(z[..., 0]) + tfd.Normal(0.0, 0.2).log_prob(bent)

    def fitted_kl(posterior):
        params = keras.Variable(np.zeros((1, posterior.params_size), "float32"))
        optimizer = keras.optimizers.Adam(0.01)
        variables = [params, *posterior.trainable_variables]

        def kl(seed, n):
            z, log_q = posterior.distribution(params.value).experimental_sample_and_log_prob(n, seed=seed)
            return tf.reduce_mean(log_q - log_target(z))

        @tf.function
        def step(i):
            with tf.GradientTape() as tape:
                loss = kl(tf.stack([i, 0]), 64)
            gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
            optimizer.apply(gradients, variables)

        optimizer.build(variables)
        for i in tf.range(400):
            step(i)
        return float(kl([1, 1], 4000))

    gaussian = fitted_kl(posteriors.MultivariateNormalTriL(2))
    assert gaussian > 0.3
    assert fitted_kl(flows.Flow(posteriors.MultivariateNormalDiag(2), units=[16], context_size=0)) < 0.5 * gaussian


@pytest.mark.parametrize("kind", bijectors.KINDS)
def test_a_saved_model_keeps_its_flow(kind, tmp_path):
    posterior = flows.Flow(posteriors.MultivariateNormalEigen(3), kind, units=[8], context_size=4)
    vae = kv.VAE(
        kv.Encoder(kv.networks.mlp([]), posterior),
        kv.Decoder(kv.networks.mlp([]), kv.likelihoods.Bernoulli((5,))),
        priors.StandardNormal(3),
    )
    vae.build()
    stir(vae, 0.3)
    x = (np.arange(20).reshape(4, 5) % 3 == 0).astype("float32")
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    z = np.ones((2, 4, 3), "float32")
    np.testing.assert_array_equal(loaded.encode(x).log_prob(z), vae.encode(x).log_prob(z))
    assert len(vae.encoder.posterior.trainable_variables) == 2 + 2 * (4 + 2)
