"""Posteriors q(z|x): layers that project features and give a distribution of z."""

from keras_vae.distributions.scales import positive
from keras_vae.distributions.support import Support
from keras_vae.distributions.tails.tail import Tails
from keras_vae.posteriors.deterministic import Deterministic
from keras_vae.posteriors.flows import Flow
from keras_vae.posteriors.gaussian import (
    MultivariateNormalDiag,
    MultivariateNormalEigen,
    MultivariateNormalLowRank,
    MultivariateNormalTriL,
)
from keras_vae.posteriors.joint import JointPosterior
from keras_vae.posteriors.kumaraswamy import Kumaraswamy
from keras_vae.posteriors.one_hot import RelaxedOneHot
from keras_vae.posteriors.posterior import Posterior
from keras_vae.posteriors.vector_quantized import VectorQuantized

__all__ = [
    "Deterministic",
    "Flow",
    "JointPosterior",
    "Kumaraswamy",
    "MultivariateNormalDiag",
    "MultivariateNormalEigen",
    "MultivariateNormalLowRank",
    "MultivariateNormalTriL",
    "Posterior",
    "RelaxedOneHot",
    "Support",
    "Tails",
    "VectorQuantized",
    "positive",
]
