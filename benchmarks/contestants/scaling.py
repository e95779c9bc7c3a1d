"""Times of training steps and importance samples over sizes: scaling.py TURNS. JSON: what -> [[size, seconds], ...]."""

import json
import statistics
import sys

import child
import dense
import numpy as np
import steps
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors

TURN = 0.2
BATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
LATENTS = (2, 8, 32, 128, 512)
HEIGHTS = (28, 64, 128)
SAMPLES = (1, 10, 100, 1000)


def image_model(height: int) -> kv.VAE:
    """A convolutional VAE of square images."""
    shape = (height, height, 1)
    return kv.VAE(
        kv.Encoder(networks.conv([32, 64]), posteriors.MultivariateNormalDiag(16)),
        kv.Decoder(networks.conv([64, 32]), likelihoods.Bernoulli(shape)),
        priors.StandardNormal(16),
    )


def timed(runs: dict, turns: int) -> list:
    """Seconds of one step, the median of the turns."""
    calls = {size: steps.calls_for(run, TURN) for size, run in runs.items()}
    taken = {size: [] for size in runs}
    for _ in range(turns):
        for size, run in runs.items():
            taken[size].append(steps.seconds(run, calls[size]))
    return [[size, statistics.median(seconds)] for size, seconds in taken.items()]


def main(turns: int) -> None:
    """Time all sizes of all curves."""
    found = {}
    one = dense.model([500, 500], 50)
    one.compile("adam")
    found["batch size, MLP"] = timed({n: steps.compiled(one, child.images(n)) for n in BATCHES}, turns)
    image = image_model(28)
    few = [n for n in BATCHES if n <= 1024]
    found["batch size, convolutions"] = timed({n: steps.compiled(image, child.images(n)) for n in few}, turns)
    found["latent dimensions, MLP"] = timed(
        {n: steps.compiled(dense.model([500, 500], n), child.images(128)) for n in LATENTS}, turns
    )
    found["height of the image, convolutions"] = timed(
        {n: steps.compiled(image_model(n), child.images(32, n)) for n in HEIGHTS}, turns
    )
    x = child.images(8)
    weigh = tf.function(lambda k: one.infer(x, k, seed=0).log_weights)
    runs = {n: (lambda n=n: np.asarray(weigh(tf.constant(n)))) for n in SAMPLES}
    found["importance samples, MLP"] = timed(runs, turns)
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
