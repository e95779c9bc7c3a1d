"""A point mass: the posterior of a plain autoencoder."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class Deterministic(Posterior):
    """z = mu(x) without noise: the code of a plain autoencoder, for the objective `Reconstruction`.

    A point mass has no density: log q(z|x) does not exist, and KL(q || p) is infinite for every continuous prior. So
    `kl` is reported as zero and `elbo` is the log-likelihood of the reconstruction, no bound on log p(x).
    """

    support, tails = REAL, NONE
    has_density = False
    is_certain = True
    has_marginals = False

    @property
    def params_size(self) -> int:
        """L: the location."""
        return self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The point mass at [B, L]."""
        return tfd.VectorDeterministic(params)
