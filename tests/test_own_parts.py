"""Networks, posteriors, priors and likelihoods of the user's own."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

tfd = tfp.distributions


def test_networks_of_the_users_own(digits, tmp_path):
    body = keras.Sequential([keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()])
    head = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.1)])
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(head, likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(3),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(digits[:64], epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.reconstruct(digits[:4]), vae.reconstruct(digits[:4]))
    assert len(loaded.trainable_weights) == len(vae.trainable_weights) == 8


def test_a_network_of_keras_applications(tmp_path):
    body = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.conv([8, 8]), likelihoods.Normal((32, 32, 3))),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    x = np.random.default_rng(0).random((16, 32, 32, 3), "float32")
    moving = body.non_trainable_weights[0].numpy()
    vae.fit(x, epochs=1, verbose=0)
    assert not np.array_equal(moving, body.non_trainable_weights[0].numpy())
    vae.save(tmp_path / "vae.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "vae.keras").reconstruct(x), vae.reconstruct(x))


@kv.register
class LaplacePosterior(posteriors.Posterior):
    @property
    def params_size(self):
        return 2 * self.latent_dim

    def distribution(self, params):
        loc, raw_scale = tf.split(params, 2, axis=-1)
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), 1)


@kv.register
class LaplacePrior(priors.Prior):
    def distribution(self, encoder=None, condition=None):
        return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)


@kv.register
class LaplaceLikelihood(likelihoods.Likelihood):
    params_per_value = 2

    def distribution(self, loc, raw_scale):
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), len(self.event_shape))


def test_parts_of_the_users_own(digits, tmp_path):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), LaplacePosterior(3)),
        kv.Decoder(networks.conv([8]), LaplaceLikelihood((8, 8, 1))),
        LaplacePrior(3),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(digits[:256], epochs=3, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0]
    assert vae.infer(digits[:2], seed=0).groups[0].kl_is_exact
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.log_prob(digits[:4]), vae.log_prob(digits[:4]))
