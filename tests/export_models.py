"""Small models trained on real digits, for the tests of exports."""

import keras
import numpy as np

import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, posteriors, priors

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


def codes_of_a_class():
    """Codes on a grid, their prior, encoder and decoder given one of four classes; untrained, but all of it at work."""
    condition = conditions.Label(4, names=["tabby", "poodle", "carp", "wren"])
    posterior = posteriors.VectorQuantized(LATENT, grid=(2, 2), num_codes=8)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posterior, condition),
        kv.Decoder(networks.mlp([16]), likelihoods.DiscretizedLogistic(EVENT), condition),
        priors.AutoregressiveCodes(
            LATENT, grid=(2, 2), num_codes=8, units=8, num_layers=1, num_heads=2, condition=condition
        ),
    )
    vae.build()
    # A codebook starts at nothing, and the prior of a class as that of all.
    random = np.random.default_rng(0)
    posterior.counts.assign(np.ones(posterior.counts.shape))
    posterior.sums.assign(random.normal(size=posterior.sums.shape))
    kernel, output = vae.prior.given.kernel, vae.prior.output_layer.kernel
    kernel.assign(10 * random.normal(size=kernel.shape))
    output.assign(2 * random.normal(size=output.shape))
    return vae
