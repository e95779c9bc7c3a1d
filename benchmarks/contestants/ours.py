"""keras_vae, as its README shows it.

ours.py ARCHITECTURE numpy|load [STEPS_PER_EXECUTION]
"""

import sys

import child
import keras
import networks
import numpy as np
import sizes

import keras_vae as kv
from keras_vae import data, likelihoods, posteriors, priors


def make(architecture: str, source: str, steps_per_execution: int | None = None):
    """A function that trains for a number of steps; None leaves the steps of one call to `fit`."""
    encoder, decoder, latent_dim = networks.bodies(architecture)
    if architecture == "mlp":
        # The decoder's last layers are the package's own.
        decoder = decoder[:-2]
    vae = kv.VAE(
        kv.Encoder(keras.Sequential(encoder), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(keras.Sequential(decoder), likelihoods.Bernoulli((28, 28, 1))),
        priors.StandardNormal(latent_dim),
    )
    vae.compile(keras.optimizers.Adam(sizes.LEARNING_RATE), steps_per_execution=steps_per_execution or 1)
    vae.chooses_steps_per_execution = steps_per_execution is None
    per_epoch = sizes.STEPS_PER_EPOCH[architecture]
    x = child.images(sizes.BATCH_SIZE * per_epoch)
    options = {"batch_size": sizes.BATCH_SIZE}
    if source == "load":
        # Gray levels in bytes, binarized anew whenever they are served.
        pixels = np.random.default_rng(0).integers(0, 256, x.shape, np.uint8)
        arrays = {"x_train": pixels, "x_test": pixels[:128]}
        x, _ = data.load(arrays, batch_size=sizes.BATCH_SIZE, binarize="dynamic")
        options = {}

    def run(steps):
        vae.fit(x, epochs=max(1, steps // per_epoch), verbose=0, **options)

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])), warm_up=1)
