"""Likelihoods p(x|z): layers that turn the parameters of each value into a distribution of data."""

from keras_vae.distributions.support import Support
from keras_vae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from keras_vae.likelihoods.given_means import GivenMeans
from keras_vae.likelihoods.grid import (
    Binomial,
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    GridLikelihood,
)
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.likelihoods.mixed import Mixed
from keras_vae.likelihoods.normal import Normal

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "GivenMeans",
    "GridLikelihood",
    "Likelihood",
    "Mixed",
    "Normal",
    "Support",
]
