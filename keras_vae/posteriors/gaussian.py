"""Gaussian posteriors: diagonal, by Cholesky factor, by Q D^1/2, diagonal plus low rank."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count
from keras_vae.distributions import operators
from keras_vae.distributions.operators import LowRankUpdate, Orthogonal, Triangular
from keras_vae.distributions.scales import bounded, positive, shares
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import GAUSSIAN
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register

# Adam moves all parameters at one pace. Those of correlations, of which there are many and of which nothing is known at
# first, would be noise in z that the decoder learns to do without: what they are multiplied by makes them slower.
PACE = 0.1


def pace_of(posterior: Posterior) -> float:
    """`PACE`; 1 for a posterior of the first revision, which had none."""
    return PACE if posterior.revision > 1 else 1.0


@register
class MultivariateNormalDiag(Posterior):
    """q(z|x) = N(z; mu, diag(sigma^2)), the posterior of Kingma and Welling 2014, "Auto-encoding variational Bayes".

    mu is linear in the features, sigma = softplus(linear) + 1e-5, shifted so that a projection of zero gives one.
    Against the standard normal, KL(q || p) = 1/2 sum_i (sigma_i^2 + mu_i^2 - 1 - log sigma_i^2) nats. Lectures often
    give 1/2 sum_i (1 + log sigma_i^2 - mu_i^2 - sigma_i^2) under that name: that is -KL, as it stands in the ELBO.
    """

    support, tails = REAL, GAUSSIAN
    adds_precisions = True
    coded_as = "normal"

    @property
    def params_size(self) -> int:
        """2 L: location and raw scale."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, diag(sigma^2)) from [B, 2 L]."""
        loc, raw_scale = shares(params, 2)
        return tfd.MultivariateNormalDiag(loc, positive(raw_scale))


@register
class MultivariateNormalTriL(Posterior):
    """q(z|x) = N(z; mu, A A^T) with a full covariance, A lower triangular: its Cholesky factor.

    A = diag(sigma) (I + 0.1 N / sqrt(L)): mu and N, which is strictly lower triangular, are linear in the features, and
    sigma is a softplus as in `MultivariateNormalDiag`. N is measured in units of sigma, starts at zero and is slow to
    grow: it would otherwise add to a dimension that the decoder reads exactly the noise of all before it. The posterior
    of Kingma and Welling 2019, "An introduction to variational autoencoders", section 2.5.1. A model that was saved
    before there was this form, revision 1, keeps its own: the part of A below the diagonal linear in the features.
    """

    support, tails = REAL, GAUSSIAN
    revision = 2

    @property
    def params_size(self) -> int:
        """L + L (L + 1) / 2: location and triangle."""
        return self.latent_dim + self.latent_dim * (self.latent_dim + 1) // 2

    @property
    def initial_factors(self) -> np.ndarray:
        """Zero for N."""
        triangle = tfp.math.fill_triangular_inverse(np.eye(self.latent_dim, dtype="float32"))
        return np.concatenate([np.ones(self.latent_dim, "float32"), triangle])

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, A A^T) from [B, params_size]."""
        loc, raw = params[..., : self.latent_dim], params[..., self.latent_dim :]
        triangle = tfp.math.fill_triangular(raw)
        diagonal = positive(operators.diagonal(triangle))
        # Not by set_diag, whose gradient XLA cannot compile for batches of unknown size.
        lower = triangle * (1.0 - tf.eye(self.latent_dim))
        if self.revision > 1:
            lower *= PACE / math.sqrt(self.latent_dim) * diagonal[..., tf.newaxis]
        return tfd.MultivariateNormalLinearOperator(loc, Triangular(lower + tf.linalg.diag(diagonal)))


@register
class MultivariateNormalEigen(Posterior):
    """q(z|x) = N(z; mu, Q D Q^T) with a full covariance in terms of its eigenvectors Q and eigenvalues D.

    z = mu + A eps, A = Q D^(1/2). Q is orthogonal by construction, a product of L - 1 Householder reflections
    H_i = I - 2 v_i v_i^T / |v_i|^2 whose axes v_i are zero above their i-th entry, one at it, and below a tenth of what
    is linear in the features: the form in which LAPACK keeps the Q of a QR decomposition. It reaches every covariance,
    with as many numbers as a covariance has, L (L + 1) / 2. Reflections in posteriors are due to Tomczak and Welling
    2016, "Improving variational auto-encoders using Householder flow".
    """

    support, tails = REAL, GAUSSIAN
    revision = 2

    @property
    def params_size(self) -> int:
        """2 L + L (L - 1) / 2: location, raw square roots of the eigenvalues, reflections."""
        return 2 * self.latent_dim + self.latent_dim * (self.latent_dim - 1) // 2

    @property
    def initial_factors(self) -> np.ndarray:
        """Zero for the reflections: the eigenvectors start as the axes."""
        return np.repeat([1.0, 0.0], [2 * self.latent_dim, self.params_size - 2 * self.latent_dim]).astype("float32")

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, Q D Q^T) from [B, params_size]."""
        size = self.latent_dim
        loc, raw_scale, raw_axes = params[..., :size], params[..., size : 2 * size], params[..., 2 * size :]
        scale = tf.linalg.LinearOperatorDiag(positive(raw_scale), is_non_singular=True)
        if size > 1:
            rotation = Orthogonal(operators.householder_product(pace_of(self) * raw_axes))
            scale = tf.linalg.LinearOperatorComposition([rotation, scale], is_non_singular=True)
        return tfd.MultivariateNormalLinearOperator(loc, scale)


@register
class MultivariateNormalLowRank(Posterior):
    """q(z|x) = N(z; mu, A A^T), A = D^(1/2) (I + V V^T) D^(1/2): correlations along `rank` directions.

    (rank + 2) L parameters in place of the (L + 3) L / 2 of a full covariance. It is the *scale* A that is diagonal
    plus low rank, as in `tfd.MultivariateNormalDiagPlusLowRank`; the distribution whose *covariance* is (Rezende et al.
    2014, "Stochastic backpropagation and approximate inference", is of that kind) has no closed-form KL in TFP. The
    entries of V, a tenth of what is linear in the features, stay in [-10, 10], which keeps the factorisation of
    I + V^T V safe in float32. They start small, but not at zero, where V V^T has no gradient.

    Args:
        latent_dim: L.
        rank: number of columns of V, at most L.

    Raises:
        ValueError: for a rank that is not an int from 1 to L.
    """

    support, tails = REAL, GAUSSIAN
    revision = 2
    MAX_FACTOR = 10.0

    def __init__(self, latent_dim: int, rank: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        check_count("rank", rank, at_most=self.latent_dim)
        self.rank = rank

    @property
    def params_size(self) -> int:
        """(rank + 2) L: location, raw scale, factor."""
        return (self.rank + 2) * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, A A^T) from [B, params_size]."""
        size = self.latent_dim
        loc, raw_scale, raw_factor = params[..., :size], params[..., size : 2 * size], params[..., 2 * size :]
        scale = positive(raw_scale)
        factor = tf.reshape(pace_of(self) * raw_factor, tf.concat([tf.shape(loc), [self.rank]], axis=0))
        factor = bounded(factor, self.MAX_FACTOR) * tf.sqrt(scale)[..., tf.newaxis]
        # Declared positive definite, which TFP's own class is not, it is factorised by Cholesky: XLA has no LU.
        base = tf.linalg.LinearOperatorDiag(scale, is_non_singular=True, is_positive_definite=True)
        operator = LowRankUpdate(
            base,
            u=factor,
            is_diag_update_positive=True,
            is_self_adjoint=True,
            is_positive_definite=True,
            is_non_singular=True,
        )
        return tfd.MultivariateNormalLinearOperator(loc, operator)
