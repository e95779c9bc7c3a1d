"""What is asked of Gaussians: marginals, and draws at a temperature."""

import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class CentredNormal(tfd.Normal):
    """`tfd.Normal` whose log-density is taken of (x - loc) / scale, where TFP's is of x / scale - loc / scale.

    That difference loses all digits where the scale is small beside the location.
    """

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        normalisation = 0.5 * math.log(2.0 * math.pi) + tf.math.log(self.scale)
        return -0.5 * tf.square((x - self.loc) / self.scale) - normalisation


def cooled(p: tfd.Distribution, z: tf.Tensor, temperature: Any) -> tf.Tensor:
    """Draws `z` of a Gaussian `p` at a temperature t: mean + t (z - mean).

    Raises:
        ValueError: for another distribution, unless the temperature is the number 1.
    """
    if isinstance(temperature, (int, float)) and temperature == 1.0:
        return z
    if not isinstance(p, tfd.MultivariateNormalLinearOperator):
        raise ValueError(f"A temperature scales Gaussian priors, and {type(p).__name__} is none: leave it at 1.")
    mean = p.mean() if p.loc is None else p.loc  # without a broadcast, for exported graphs
    return mean + temperature * (z - mean)


def with_precisions(q: tfd.Distribution, p: tfd.Distribution) -> tfd.Distribution:
    """The diagonal Gaussian q, or one with such a base, times the diagonal Gaussian p: precisions add up,

    1 / sigma^2 = 1 / sigma_q^2 + 1 / sigma_p^2,   mu = sigma^2 (mu_q / sigma_q^2 + mu_p / sigma_p^2).

    Sonderby et al. 2016, "Ladder variational autoencoders", equations 17 to 19.

    Args:
        q: batch [N] and event [L], batch [N, H, W] and event [L], or batch [N] and event [H, W, L].
        p: of as many numbers.
    """
    if isinstance(q, tfd.MultivariateNormalDiag):
        deviation = q.scale.diag_part()
        shape = tf.shape(deviation)
        of_q, of_p = tf.square(1.0 / deviation), tf.square(1.0 / tf.reshape(p.scale.diag_part(), shape))
        variance = 1.0 / (of_q + of_p)
        loc = variance * (of_q * q.loc + of_p * tf.reshape(p.loc, shape))
        return tfd.MultivariateNormalDiag(loc, tf.sqrt(variance))
    inner = with_precisions(q.distribution, p)
    if hasattr(q, "bijector"):
        return tfd.TransformedDistribution(inner, q.bijector)
    return tfd.Independent(inner, q.reinterpreted_batch_ndims)


def marginals(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """The univariate marginals of a distribution over [L] that factorises, batch [..., L]; None if it does not."""
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return CentredNormal(distribution.loc, distribution.stddev())
    # `tfd.Independent` of a distribution that is no composite tensor is not an instance of `tfd.Independent`.
    if hasattr(distribution, "reinterpreted_batch_ndims") and distribution.event_shape.rank == 1:
        inner = distribution.distribution
        return inner if inner.event_shape.rank == 0 else None
    return None


def dimensions(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """The marginals over single dimensions, batch [..., L], of Gaussians with correlations too; None if unknown."""
    if isinstance(distribution, tfd.MultivariateNormalLinearOperator):
        return CentredNormal(distribution.mean(), distribution.stddev())
    return marginals(distribution)
