"""A fresh model starts at the data; others are left as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import compiled, make_vae

import keras_vae as kv
from keras_vae import likelihoods, networks, priors


class TestAdapt:
    def test_the_model_starts_at_the_mean_of_the_data(self, digits):
        mean = np.clip(digits.mean(axis=0), 1e-3, 1 - 1e-3)
        vae = make_vae()
        vae.adapt(digits)
        bias = vae.decoder.output_layer.bias.numpy().reshape(8, 8, 1)
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), mean, rtol=1e-4)
        gained = vae.infer(digits[:100], seed=0).elbo - make_vae().infer(digits[:100], seed=0).elbo
        assert np.mean(gained) > 10

    def test_a_convolution_starts_at_the_mean_of_each_channel(self):
        x = np.stack([np.full((4, 6, 6), 0.2), np.full((4, 6, 6), 0.7)], axis=-1).astype("float32")
        vae = make_vae(networks.conv, (4,), likelihood=likelihoods.Normal((6, 6, 2), scale="per_pixel"))
        x[::2] += 0.1
        vae.adapt(x)
        np.testing.assert_allclose(vae.decoder.output_layer.bias, [0.25, 0.75, *[np.log(0.05)] * 2], rtol=1e-5)

    def test_a_learned_scale_starts_at_the_spread_of_the_data(self, digits):
        vae = make_vae(likelihood=likelihoods.Normal((8, 8, 1)))
        vae.adapt(digits)
        spread = np.sqrt(digits.var(axis=0).mean())
        assert vae.decode(np.zeros((1, 4))).distribution.scale.numpy() == pytest.approx(spread, rel=1e-4)

    def test_constant_data_leave_a_scale_that_can_learn(self):
        vae = make_vae(likelihood=likelihoods.Normal((4,)))
        vae.adapt(np.ones((10, 4), "float32"))
        assert vae.decode(np.zeros((1, 4))).distribution.scale.numpy() == pytest.approx(2e-3, rel=1e-3)

    @pytest.mark.parametrize("endless", [False, True])
    def test_fit_adapts_a_fresh_model_from_datasets(self, digits, endless):
        data = tf.data.Dataset.from_tensor_slices(digits[:96]).batch(32)
        vae = compiled()
        vae.optimizer.learning_rate = 0.0
        vae.fit(data.repeat() if endless else data, epochs=1, steps_per_epoch=3, verbose=0)
        bias = vae.decoder.output_layer.bias.numpy()
        expected = np.clip(digits[:96].mean(axis=0), 1e-3, 1 - 1e-3).reshape(-1)
        # 100 batches of the endless data are not a whole number of rounds.
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), expected, atol=0.02 if endless else 1e-4)

    def test_a_second_fit_is_not_disturbed(self, digits):
        vae = compiled()
        vae.fit(digits[:64], epochs=1, verbose=0)
        vae.optimizer.learning_rate = 0.0
        before = vae.decoder.get_weights()
        vae.fit(1 - digits[:64], epochs=1, verbose=0)
        for a, b in zip(before, vae.decoder.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("how", ["load_model", "load_weights", "decoder of another model"])
    def test_loaded_weights_are_not_disturbed(self, digits, tmp_path, how):
        vae = make_vae()
        if how == "decoder of another model":
            vae.compile(keras.optimizers.Adam(1e-3))
            vae.fit(digits[:64], epochs=1, verbose=0)
            loaded = kv.VAE(make_vae().encoder, vae.decoder, priors.StandardNormal(4))
        elif how == "load_model":  # never trained or adapted, but loaded: someone wants these weights
            vae.save(tmp_path / "vae.keras")
            loaded = keras.saving.load_model(tmp_path / "vae.keras")
        else:
            vae.build()
            vae.save_weights(tmp_path / "vae.weights.h5")
            loaded = make_vae()
            loaded.build()
            loaded.load_weights(tmp_path / "vae.weights.h5")
        loaded.compile(keras.optimizers.Adam(0.0))
        before = loaded.decoder.get_weights()
        loaded.fit(digits[:64], epochs=1, verbose=0)
        for a, b in zip(before, loaded.decoder.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_data(self):
        with pytest.raises(ValueError, match="no data"):
            make_vae().adapt(np.zeros((0, 8, 8, 1)))
