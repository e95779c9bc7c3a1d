import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_vae

import keras_vae as kv
from keras_vae import explorer, likelihoods, networks, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.explorer.layers import steps_of
from keras_vae.explorer.page import make_page
from keras_vae.explorer.weights import PackedArrays

BROWSER = explorer.find_browser()
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open pages in")


def pictures(shape, n=16):
    return np.random.default_rng(0).random((n, *shape)).astype("float32").round()


def moved(vae):
    """With weights that are no start: zeros and ones would hide a layer that is left out."""
    vae.build()
    draws = np.random.default_rng(1)
    for part in (vae.encoder, vae.decoder):
        for weight in part.trainable_weights:
            weight.assign_add(draws.normal(scale=0.05, size=weight.shape))
    return vae


def of_network(network, shape=(8, 8, 1), likelihood=likelihoods.Bernoulli, latent_dim=3):
    return kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(network, likelihood(shape)),
        priors.StandardNormal(latent_dim),
    )


def of_classes(label, network=networks.mlp, prior=None, shape=(6, 5, 1)):
    return kv.VAE(
        kv.Encoder(network([8, 4]), posteriors.MultivariateNormalDiag(3), condition=label),
        kv.Decoder(network([4, 8]), likelihoods.Bernoulli(shape), condition=label),
        prior or priors.StandardNormal(3),
    )


MODELS = {
    "mlp": lambda: make_vae(latent_dim=2),
    "gated": lambda: of_network(networks.gated_mlp([8, 9])),
    "conv_rectangular": lambda: make_vae(networks.conv, (4, 5), (7, 5, 1)),
    "residual_colour": lambda: make_vae(
        networks.residual, (4, 5), (9, 7, 3), likelihood=likelihoods.DiscretizedLogistic((9, 7, 3))
    ),
    "from_map": lambda: of_network(networks.conv([4, 3], from_map=True), latent_dim=12),
    "keras": lambda: of_network(
        keras.Sequential(
            [
                keras.layers.Dense(12, "gelu"),
                keras.layers.LayerNormalization(),
                keras.layers.Reshape((2, 2, 3)),
                keras.layers.UpSampling2D(2),
                keras.layers.Conv2DTranspose(4, 3, strides=1, padding="valid", activation="elu"),
                keras.layers.Cropping2D(((1, 0), (0, 1))),
                keras.layers.BatchNormalization(),
                keras.layers.Conv2D(4, (2, 3), activation="softplus"),
                keras.layers.Flatten(),
            ]
        ),
        likelihood=likelihoods.Normal,
    ),
    "continuous": lambda: make_vae(likelihood=likelihoods.ContinuousBernoulli((8, 8, 1))),
    "label": lambda: of_classes(Label(4), networks.conv, priors.ConditionalNormal(3, Label(4))),
}


@needs_browser
@pytest.mark.parametrize("name", MODELS)
def test_the_page_computes_what_keras_computes(name):
    vae = moved(MODELS[name]())
    x = pictures(vae.decoder.event_shape)
    data = x if vae.condition is None else (x, np.arange(len(x)) % 4)
    found = explorer.check_page(make_page(vae, data), vae, data, BROWSER)
    assert found.num_decoded == 16 and found.decoded <= 1e-4
    assert found.num_encoded == 8 and found.encoded <= 1e-4


@needs_browser
def test_a_page_with_other_weights_is_told():
    vae, x = moved(make_vae()), pictures((8, 8, 1))
    page = make_page(vae, x, precision="float16")
    assert 0 < explorer.check_page(page, vae, x, BROWSER).decoded < 0.01
    vae.decoder.output_layer.bias.assign_add(tf.ones_like(vae.decoder.output_layer.bias))
    assert explorer.check_page(page, vae, x, BROWSER).decoded > 0.05


@pytest.mark.parametrize(
    "layer, name",
    [
        (keras.layers.MultiHeadAttention(1, 2), "MultiHeadAttention"),
        (keras.layers.Conv2D(2, 3, padding="same", dilation_rate=2), "dilation_rate"),
        (keras.layers.Dense(2, activation="softmax"), "softmax"),
        (keras.layers.UpSampling2D(2, interpolation="bilinear"), "bilinear"),
    ],
)
def test_other_layers_are_refused_by_name(layer, name):
    shape = (None, 4, 4, 2) if "2D" in type(layer).__name__ else (None, 4)
    if name != "MultiHeadAttention":
        layer.build(shape)
    with pytest.raises(explorer.CannotShow, match=name):
        steps_of(layer, PackedArrays())


def test_other_models_are_refused_by_name():
    vae = make_vae(event_shape=(5,))
    with pytest.raises(explorer.CannotShow, match=r"shape \(5,\)"):
        make_page(vae, pictures((5,)))
    mixture = likelihoods.DiscretizedLogisticMixture((8, 8, 1))
    with pytest.raises(explorer.CannotShow, match="DiscretizedLogisticMixture"):
        make_page(make_vae(likelihood=mixture), pictures((8, 8, 1)))
    # The code is the model's, not the posterior's.
    cascade = kv.CascadeVAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(3),
        num_classes=3,
    )
    with pytest.raises(explorer.CannotShow, match="z of this CascadeVAE has codes"):
        make_page(cascade, pictures((8, 8, 1)))


def test_a_page_is_small_asks_for_nothing_and_escapes_what_it_is_given():
    vae = of_classes(Label(4, names=["</script><b>", "@@DATA@@", "ä", "d"]))
    shape = vae.decoder.event_shape
    page = make_page(vae, (pictures(shape), np.arange(16) % 4), title="</title><script>@@DATA@@")
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"(?:src|href|url)\s*[=(]|https?:|fetch\(|import\(|XMLHttp|WebSocket", page)
    assert "default-src 'none'" in page and "unsafe" not in page
    assert page.count("<script") == page.count("</script>") == 3 and "<b>" not in page
    held = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert held["model"]["condition"]["names"][0] == "</script><b>"


def test_precision_makes_a_page_smaller():
    vae, x = make_vae(sizes=(256,)), pictures((8, 8, 1))
    sizes = [len(make_page(vae, x, precision=name)) for name in ("float32", "float16", "int8")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    with pytest.raises(ValueError, match="precision"):
        make_page(vae, x, precision="int4")
