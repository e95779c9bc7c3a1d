"""A small model of 8x8 digits."""

import keras

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors


def make_vae(network=networks.mlp, sizes=(32,), event_shape=(8, 8, 1), latent_dim=4, likelihood=None, **options):
    return kv.VAE(
        kv.Encoder(network(list(sizes)), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(network(list(sizes)[::-1]), likelihood or likelihoods.Bernoulli(event_shape)),
        priors.StandardNormal(latent_dim),
        **options,
    )


def compiled(**options):
    vae = make_vae(**options)
    vae.compile(keras.optimizers.Adam(1e-3))
    return vae
