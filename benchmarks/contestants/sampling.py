"""`VAE.sample`, and the same draws decoded at once: sampling.py sample|eager; its peak memory: sampling.py memory N."""

import json
import resource
import sys

import child
import keras
import networks

import keras_vae as kv
from keras_vae import likelihoods, posteriors, priors


def make(way: str):
    """A function that draws a number of pictures of 28 x 28 by the convolutions of the keras.io example."""
    encoder, decoder, latent_dim = networks.bodies("conv")
    vae = kv.VAE(
        kv.Encoder(keras.Sequential(encoder), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(keras.Sequential(decoder), likelihoods.Bernoulli((28, 28, 1))),
        priors.StandardNormal(latent_dim),
    )

    def run(count):
        if way == "sample":
            vae.sample(count, seed=0)
        else:
            vae.generate(count, seed=0).likelihood.mean().numpy()

    return run


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        make("sample")(int(sys.argv[2]))
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
    else:
        child.serve(make(sys.argv[1]), warm_up=2000)
