"""`fit` of a dense VAE on binary images: dense.py UNITS LATENT_DIM BATCH_SIZE, with units such as 500,500."""

import sys

import child
import keras

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

STEPS_PER_EPOCH = 100


def model(units: list[int], latent_dim: int) -> kv.VAE:
    """A dense VAE of binary images."""
    return kv.VAE(
        kv.Encoder(networks.mlp(units), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(networks.mlp(units[::-1]), likelihoods.Bernoulli((28, 28, 1))),
        priors.StandardNormal(latent_dim),
    )


def make(units: list[int], latent_dim: int, batch_size: int):
    """A function that trains for a number of steps."""
    vae = model(units, latent_dim)
    vae.compile(keras.optimizers.Adam(1e-3))
    x = child.images(batch_size * STEPS_PER_EPOCH)

    def run(steps):
        vae.fit(x, batch_size=batch_size, epochs=max(1, steps // STEPS_PER_EPOCH), verbose=0)

    return run


if __name__ == "__main__":
    child.serve(make([int(n) for n in sys.argv[1].split(",")], int(sys.argv[2]), int(sys.argv[3])), warm_up=1)
