"""Small models: of 8x8 digits, and conditional ones."""

import math

import keras
import numpy as np
import parts
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.conditions import Label
from keras_vae.distributions import scales
from keras_vae.posteriors.gaussian import PACE


def make_vae(network=networks.mlp, sizes=(32,), event_shape=(8, 8, 1), latent_dim=4, likelihood=None, **options):
    posterior = options.pop("posterior", None) or posteriors.MultivariateNormalDiag(latent_dim)
    return kv.VAE(
        kv.Encoder(network(list(sizes)), posterior),
        kv.Decoder(network(list(sizes)[::-1]), likelihood or likelihoods.Bernoulli(event_shape)),
        priors.StandardNormal(posterior.latent_dim),
        **options,
    )


def compiled(**options):
    vae = make_vae(**options)
    vae.compile(keras.optimizers.Adam(1e-3))
    return vae


def make_conditional(condition, network="mlp", prior=None, **options):
    recipe = parts.NETWORKS[network]
    return kv.VAE(
        kv.Encoder(recipe([8, 4]), posteriors.MultivariateNormalDiag(parts.L), condition=condition),
        kv.Decoder(recipe([4, 8]), likelihoods.Bernoulli(parts.SHAPE), condition=condition),
        prior or priors.StandardNormal(parts.L),
        seed=1,
        **options,
    )


def labelled_model():
    """A model of labels with a conditional prior that is not N(0, I)."""
    label = Label(4)
    vae = make_conditional(label, prior=priors.ConditionalNormal(parts.L, label))
    vae.build()
    vae.compile("adam")
    kernel = vae.prior.projection.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return vae


def raw_scale(scale):
    """The raw numbers of which `scales.positive` makes these."""
    return tfp.math.softplus_inverse(scale - scales.MIN_SCALE) - math.log(math.e - 1)


def raw_triangle(factor):
    """The raw numbers of which `MultivariateNormalTriL` makes this Cholesky factor."""
    sigma = np.diag(factor)
    lower = np.tril(factor, -1) / sigma[:, None] * math.sqrt(len(factor)) / PACE
    return tfp.math.fill_triangular_inverse(lower + np.diag(raw_scale(sigma)))
