"""Posteriors q(z|x): layers that project features and give a distribution of z."""

from keras_vae.distributions.scales import positive
from keras_vae.distributions.support import Support
from keras_vae.distributions.tails.tail import Tails
from keras_vae.posteriors.codes.composed import Grouped, Residual
from keras_vae.posteriors.codes.finite_scalar import FiniteScalar
from keras_vae.posteriors.codes.lookup_free import LookupFree
from keras_vae.posteriors.codes.quantizer import Quantizer
from keras_vae.posteriors.codes.vector_quantized import VectorQuantized
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

__all__ = [
    "Deterministic",
    "FiniteScalar",
    "Flow",
    "Grouped",
    "JointPosterior",
    "Kumaraswamy",
    "LookupFree",
    "MultivariateNormalDiag",
    "MultivariateNormalEigen",
    "MultivariateNormalLowRank",
    "MultivariateNormalTriL",
    "Posterior",
    "Quantizer",
    "RelaxedOneHot",
    "Residual",
    "Support",
    "Tails",
    "VectorQuantized",
    "positive",
]
