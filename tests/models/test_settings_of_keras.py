"""Keras's global settings change nothing that they are not meant to: the order of the axes, and the plain dtype."""

import keras
import numpy as np
import pytest
from small_models import make_conditional, make_vae

import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, posteriors, priors


@pytest.fixture
def setting():
    """A way to change a setting, and back to what it was."""
    format_before, floatx_before = keras.config.image_data_format(), keras.config.floatx()

    def change(image_data_format=format_before, floatx=floatx_before):
        keras.config.set_image_data_format(image_data_format)
        keras.config.set_floatx(floatx)

    yield change
    change()


SHAPE = (6, 5, 2)
MODELS = {
    "mlp": lambda: make_vae(networks.mlp, (8,), SHAPE, seed=1),
    "conv": lambda: kv.VAE(
        kv.Encoder(networks.conv([4, 8], units=[8]), posteriors.MultivariateNormalDiag(4)),
        kv.Decoder(networks.conv([8, 4], units=[8]), likelihoods.Bernoulli(SHAPE)),
        priors.StandardNormal(4),
        seed=1,
    ),
    "residual": lambda: make_vae(networks.residual, (4, 8), SHAPE, seed=1),
    "map": lambda: kv.VAE(
        kv.Encoder(networks.conv([4, 8]), posteriors.VectorQuantized(8, grid=(2, 2), num_codes=4)),
        kv.Decoder(networks.conv([8, 4], from_map=True), likelihoods.Bernoulli(SHAPE)),
        priors.AutoregressiveCodes(8, grid=(2, 2), num_codes=4, units=8, num_layers=1),
        seed=1,
    ),
    "ladder": lambda: kv.VAE(
        kv.LadderEncoder(networks.conv([4, 8]), posteriors.MultivariateNormalDiag(4)),
        kv.LadderDecoder(networks.conv([8, 4]), likelihoods.Bernoulli(SHAPE), latents=2),
        priors.StandardNormal(4),
        seed=1,
    ),
    "image_condition": lambda: make_conditional(conditions.Image((3, 4, 1)), "conv"),
    "conditional_prior": lambda: make_conditional(
        conditions.Image((3, 4, 1)),
        "conv",
        prior=priors.ConditionalNormal(3, conditions.Image((3, 4, 1)), networks.conv([4])),
    ),
}


QUICK = ("conv", "image_condition")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_channels_are_last_whatever_keras_says(name, setting, tmp_path):
    vae = MODELS[name]()
    vae.build()
    rng = np.random.default_rng(0)
    x = (rng.random((4, *vae.decoder.event_shape)) > 0.5).astype("float32")
    given = {} if vae.condition is None else {"condition": rng.random((4, 3, 4, 1)).astype("float32")}
    expected = vae.reconstruct(x, **given)
    vae.save(tmp_path / "last.keras")

    setting(image_data_format="channels_first")
    for load in (keras.saving.load_model, kv.load):
        np.testing.assert_array_equal(load(tmp_path / "last.keras").reconstruct(x, **given), expected)
    again = MODELS[name]()
    again.build()
    assert [w.shape for w in again.weights] == [w.shape for w in vae.weights]
    again.set_weights(vae.get_weights())
    np.testing.assert_array_equal(again.reconstruct(x, **given), expected)
    again.compile("adam")
    again.fit({"image": x, **given} if given else x, epochs=1, verbose=0)
    if name == "conv":
        np.testing.assert_allclose(again.encoder.features_model()(x), again.encode(x).mean(), atol=1e-6)
    again.save(tmp_path / "first.keras")
    expected = again.reconstruct(x, **given)

    setting()
    np.testing.assert_array_equal(kv.load(tmp_path / "first.keras").reconstruct(x, **given), expected)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16", "float64"])
def test_numbers_are_reported_in_float32_whatever_keras_calls_a_float(floatx, setting, digits, tmp_path):
    sharp = make_vae(networks.mlp, (16,), likelihood=likelihoods.Normal((8, 8, 1), scale=1e-3), seed=0)
    sharp.compile()
    expected = sharp.evaluate(digits[:32], verbose=0, return_dict=True)
    assert expected["elbo"] < -1e6  # far below what float16 can hold, -65,504
    setting(floatx=floatx)
    again = make_vae(networks.mlp, (16,), likelihood=likelihoods.Normal((8, 8, 1), scale=1e-3), seed=0)
    again.compile()
    again.build()
    again.set_weights(sharp.get_weights())
    found = again.evaluate(digits[:32], verbose=0, return_dict=True)
    np.testing.assert_allclose(found["elbo"], expected["elbo"], rtol=0.02)

    vae = make_vae(networks.conv, (4, 8), seed=0)
    vae.compile(keras.optimizers.Adam(1e-3, epsilon=1e-3))
    history = vae.fit(digits[:64], validation_data=digits[64:96], epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    vae.save(tmp_path / "vae.keras")
    np.testing.assert_array_equal(kv.load(tmp_path / "vae.keras").reconstruct(digits[:4]), vae.reconstruct(digits[:4]))
    assert vae.reconstruct(digits[:4]).dtype == vae.sample(2).dtype == np.float32
