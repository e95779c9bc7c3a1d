"""Bodies of networks: shapes, sizes, precision; and models that stay finite whatever they are fed."""

import math

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, objectives, posteriors, priors
from keras_vae.networks.convolutional import ResidualBlock
from keras_vae.networks.dense import GatedDense

IMAGES = ["conv", "residual"]
SHAPES = [(28, 28, 1), (7, 5, 3), (1, 1, 2), (1, 9, 1), (13, 2, 4)]


def outputs(body, x):
    """The shape after each layer."""
    shapes = []
    for layer in body.layers:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    return shapes


@pytest.mark.parametrize("name", parts.NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_height_width_and_number_of_channels(name, shape):
    make = parts.NETWORKS[name]
    encoder = kv.Encoder(make([4, 3]), posteriors.MultivariateNormalDiag(2))
    decoder = kv.Decoder(make([3, 4]), likelihoods.Normal(shape))
    assert encoder(tf.zeros((2, *shape))).event_shape == (2,)
    assert decoder(tf.zeros((2, 2))).mean().shape == (2, *shape)


@pytest.mark.parametrize("name", ["mlp", "gated_mlp"])
def test_dense_networks_take_vectors_and_sizes_in_order(name):
    make = parts.NETWORKS[name]
    assert outputs(make([7, 3]).encoder_body((5,), "float32"), tf.zeros((2, 5)))[-2:] == [(7,), (3,)]
    assert outputs(make([3, 7]).decoder_body((5,), "float32"), tf.zeros((2, 2))) == [(3,), (7,)]


@pytest.mark.parametrize("name", IMAGES)
def test_convolutions_halve_and_double_with_sizes_in_order(name):
    make = parts.NETWORKS[name]
    down = outputs(make([7, 3]).encoder_body((9, 12, 2), "float32"), tf.zeros((2, 9, 12, 2)))
    assert [s for i, s in enumerate(down) if s not in down[:i]] == [(5, 6, 7), (3, 3, 3)]
    up = outputs(make([3, 7]).decoder_body((9, 12, 2), "float32"), tf.zeros((2, 2)))
    assert next(s for s in up if len(s) == 3) == (3, 3, 3)
    assert up[-1] == (9, 12, 7)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(64, 2), (11, 3), (3, 1), (1, 4)])
def test_convolutions_of_series_of_any_length(name, shape):
    """Also of fewer steps than the strides have: the encoder rounds up, the decoder crops."""
    make = parts.NETWORKS[name]
    steps = [shape[0], (shape[0] + 1) // 2, (shape[0] + 3) // 4]
    down = outputs(make([7, 3]).encoder_body(shape, "float32"), tf.zeros((2, *shape)))
    assert list(dict.fromkeys(down)) == list(dict.fromkeys([(steps[1], 7), (steps[2], 3)]))
    up = outputs(make([3, 7]).decoder_body(shape, "float32"), tf.zeros((2, 2)))
    assert next(s for s in up if len(s) == 2) == (steps[2], 3) and up[-1] == (shape[0], 7)
    decoder = kv.Decoder(make([3, 7]), likelihoods.Normal(shape))
    assert decoder(tf.zeros((5, 2, 2))).mean().shape == (5, 2, *shape)
    # Step by step, as a convolution of one step would be.
    assert [tuple(w.shape) for w in decoder.projection.weights] == [(7, shape[1]), (shape[1],)]


def test_what_may_be_an_image_without_an_axis_of_channels_is_said():
    with pytest.warns(UserWarning, match=r"taken for series of 28 steps, .* x\[\.\.\., None\]"):
        networks.conv([4]).encoder_body((28, 28), "float32")


def test_a_convolution_of_series_is_that_of_images_of_one_column():
    x = tf.random.stateless_normal((3, 11, 2), [1, 2])
    series = networks.conv([4, 3]).encoder_body((11, 2), "float32")
    images = networks.conv([4, 3]).encoder_body((11, 1, 2), "float32")
    expected = series(x)
    images(x[:, :, tf.newaxis])
    for kernel, bias, of_series in zip(images.weights[::2], images.weights[1::2], series.weights[::2], strict=True):
        wide = np.zeros(kernel.shape, "float32")
        wide[:, 1] = of_series  # "same" has one column before the one that there is
        kernel.assign(wide)
        bias.assign(tf.zeros_like(bias))
    np.testing.assert_allclose(images(x[:, :, tf.newaxis])[:, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_convolutions_refuse_vectors_by_name(name):
    network = parts.NETWORKS[name]([4])
    for body in (network.encoder_body, network.decoder_body):
        with pytest.raises(ValueError, match=r"work on images .* on series .* x\[\.\.\., None\] for series"):
            body((5,), "float32")


def test_an_empty_mlp_is_the_identity():
    z = tf.random.stateless_normal((2, 3), [1, 2])
    np.testing.assert_array_equal(networks.mlp([]).decoder_body((5,), "float32")(z), z)
    np.testing.assert_array_equal(networks.gated_mlp([]).decoder_body((5,), "float32")(z), z)


def test_the_gate_is_the_formula():
    layer = GatedDense(4)
    x = tf.random.stateless_normal((2, 3), [1, 2])
    h = layer(x)
    (w1, b1), (w2, b2) = layer.values.weights, layer.gates.weights
    np.testing.assert_allclose(h, (x @ w1 + b1) / (1 + np.exp(-(x @ w2 + b2))), rtol=1e-5)


def test_a_residual_block_starts_as_the_identity_and_learns():
    block = ResidualBlock(3)
    x = tf.random.stateless_normal((2, 5, 4, 3), [1, 2])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(block(x)))
    np.testing.assert_array_equal(block(x), x)
    assert np.any(np.asarray(tape.gradient(loss, block.second.kernel)) != 0)


def test_residual_has_as_many_blocks_as_asked_for():
    body = networks.residual([4, 3], blocks=2).encoder_body((8, 8, 1), "float32")
    assert [type(layer).__name__ for layer in body.layers] == ["Conv2D", "ResidualBlock", "ResidualBlock"] * 2


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", parts.NETWORKS)
def test_layers_have_the_policy_that_is_handed_in(name, policy):
    make = parts.NETWORKS[name]
    for body, shape in (
        (make([4]).encoder_body((6, 5, 2), policy), (2, 6, 5, 2)),
        (make([4]).decoder_body((6, 5, 2), policy), (2, 3)),
    ):
        features = body(tf.zeros(shape))
        assert features.dtype == keras.DTypePolicy(policy).compute_dtype
        for layer in body.layers:
            for each in layer._flatten_layers():
                assert each.dtype_policy.name == policy
        assert all(weight.dtype == "float32" for weight in body.weights)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "silu", "linear"])
@pytest.mark.parametrize("make", [networks.mlp, networks.gated_mlp, networks.conv, networks.residual])
def test_any_activation_by_name(make, activation):
    body = make([4], activation=activation).encoder_body((6, 5, 2), "float32")
    assert np.all(np.isfinite(body(tf.ones((2, 6, 5, 2)))))


def loss_and_gradients(vae, x):
    with tf.GradientTape() as tape:
        terms = vae.infer(x, vae.objective.num_samples, seed=0, training=True)
        loss, _ = vae.objective(terms, tf.constant(0, tf.int64))
    found = tape.gradient(loss, vae.trainable_variables)
    # Those of looked-up vectors are sparse.
    gradients = [tf.convert_to_tensor(g) for g in found if g is not None]
    return loss, gradients


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.integers(1, 4),
    latent_dim=st.integers(1, 6),
    network=st.sampled_from(list(parts.NETWORKS)),
    fill=st.sampled_from([0.0, 1.0]),
)
def test_all_shapes_and_latent_sizes_are_finite_on_blank_images(height, width, channels, latent_dim, network, fill):
    make, shape = parts.NETWORKS[network], (height, width, channels)
    vae = kv.VAE(
        kv.Encoder(make([4]), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(make([4]), likelihoods.Bernoulli(shape)),
        priors.StandardNormal(latent_dim),
    )
    loss, gradients = loss_and_gradients(vae, np.full((2, *shape), fill, "float32"))
    assert np.isfinite(loss)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("posterior", parts.POSTERIORS)
def test_huge_activations_of_the_encoder_keep_loss_and_gradients_finite(posterior):
    make = parts.POSTERIORS[posterior]
    objective = objectives.Reconstruction() if posterior == "deterministic" else objectives.ELBO()
    for name in ("bernoulli", "normal_per_pixel", "logistic_mixture"):
        huge = keras.Sequential([keras.layers.Flatten(), keras.layers.Rescaling(1e4)])
        vae = kv.VAE(
            kv.Encoder(huge, make()),
            kv.Decoder(networks.mlp([8]), parts.LIKELIHOODS[name]()),
            parts.prior_of(posterior),
            objective,
        )
        for x in (np.ones((2, *parts.SHAPE), "float32"), parts.data(vae.decoder.likelihood, 2)):
            loss, gradients = loss_and_gradients(vae, x)
            assert np.isfinite(loss), name
            assert all(np.all(np.isfinite(g)) for g in gradients), name


@pytest.mark.parametrize(
    ("event_shape", "features"), [((20, 3), (20, 4)), ((4, 5, 6, 2), (4, 5, 6, 3)), ((20, 3), (10, 4)), ((6,), (4,))]
)
def test_parameters_are_made_place_by_place_wherever_features_have_the_shape_of_the_data(event_shape, features):
    body = keras.Sequential([keras.layers.Dense(math.prod(features), "tanh"), keras.layers.Reshape(features)])
    decoder = kv.Decoder(body, likelihoods.Normal(event_shape))
    decoder.build((None, 3))
    has_places = len(event_shape) > 1 and features[:-1] == event_shape[:-1]
    outputs = event_shape[-1] if has_places else math.prod(event_shape)
    assert decoder.output_layer.bias.shape == (outputs,)
    z = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    mean = decoder(z).mean().numpy()
    assert mean.shape == (2, 5, *event_shape)
    if has_places:
        expected = body(z.reshape(10, 3)) @ decoder.output_layer.kernel
        np.testing.assert_allclose(mean.reshape(10, *event_shape), expected, atol=1e-5)
    decoder.adapt(np.broadcast_to(np.arange(event_shape[-1], dtype="float32"), event_shape))
    assert [w.shape for w in decoder.weights] == [w.shape for w in _again(decoder, decoder.get_config()).weights]
    # As it was saved when only images were made place by place.
    config = {name: value for name, value in decoder.get_config().items() if name != "place_by_place"}
    assert _again(decoder, config).output_layer.bias.shape == (math.prod(event_shape),)
    assert kv.Decoder.from_config(_again(decoder, config).get_config()).place_by_place is False


def _again(decoder, config):
    copy = kv.Decoder.from_config(config)
    copy.build((None, 3))
    return copy


def test_a_conditional_series():
    label = conditions.Label(3)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2), condition=label),
        kv.Decoder(SeriesNetwork(), likelihoods.Normal((5, 2)), condition=label),
        priors.StandardNormal(2),
    )
    vae.compile("adam")
    vae.fit(np.zeros((8, 5, 2), "float32"), np.arange(8) % 3, epochs=1, verbose=0)
    assert vae.sample(3, condition=1).shape == (3, 5, 2)


@kv.register
class SeriesNetwork(networks.Network):
    def decoder_body(self, params_shape, dtype):
        steps = params_shape[0]
        return keras.Sequential(
            [keras.layers.Dense(4 * steps), keras.layers.Reshape((steps, 4)), keras.layers.Dense(4, "tanh")]
        )
