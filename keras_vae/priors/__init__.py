"""Priors p(z), or p(z|c): layers that own their weights and give a distribution of z."""

from keras_vae.distributions.support import Support
from keras_vae.distributions.tails.tail import Tails
from keras_vae.priors.codes import AutoregressiveCodes, UniformCodes
from keras_vae.priors.joint import JointPrior
from keras_vae.priors.mixtures import NormalMixture, VampPrior
from keras_vae.priors.normal import ConditionalNormal, StandardNormal
from keras_vae.priors.one_hot import UniformOneHot
from keras_vae.priors.prior import Prior
from keras_vae.priors.real_nvp import RealNVP
from keras_vae.priors.uniform import Uniform

__all__ = [
    "AutoregressiveCodes",
    "ConditionalNormal",
    "JointPrior",
    "NormalMixture",
    "Prior",
    "RealNVP",
    "StandardNormal",
    "Support",
    "Tails",
    "Uniform",
    "UniformCodes",
    "UniformOneHot",
    "VampPrior",
]
