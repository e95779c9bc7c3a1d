"""Small models trained on real digits, for the tests of exports."""

import keras

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

LATENT = 4
EVENT = (8, 8, 1)


def make(network="dense", policy="float32", posterior=None, prior=None, likelihood=None):
    keras.config.set_dtype_policy(policy)
    if network == "dense":
        encoder, decoder = networks.mlp([128, 64]), networks.mlp([64, 128])
    else:
        encoder, decoder = networks.conv([16, 32]), networks.conv([32, 16])
    vae = kv.VAE(
        kv.Encoder(encoder, posterior or posteriors.MultivariateNormalDiag(LATENT)),
        kv.Decoder(decoder, likelihood or likelihoods.Bernoulli(EVENT)),
        prior or priors.StandardNormal(LATENT),
    )
    vae.build((None, *vae.decoder.event_shape))
    keras.config.set_dtype_policy("float32")
    return vae


def trained(digits, network="dense", policy="float32", epochs=2, **parts):
    vae = make(network, policy, **parts)
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(digits, epochs=epochs, batch_size=64, verbose=0)
    return vae
