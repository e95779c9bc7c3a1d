"""The uniform distribution on a box."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_interval
from keras_vae.distributions.head import Head
from keras_vae.distributions.support import UNIT, Support
from keras_vae.distributions.tails.tail import EVEN
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register


@register
class Uniform(Prior):
    """p(z) = 1 / (high - low)^L on [low, high]^L.

    Needs a posterior on an interval inside, such as `posteriors.Kumaraswamy`: for a Gaussian, KL(q || p) is infinite.

    Args:
        latent_dim: L.
        low: lower end of the interval, for all dimensions.
        high: upper end.

    Raises:
        ValueError: unless low < high, both finite.
    """

    support, tails = UNIT, EVEN

    def __init__(self, latent_dim: int, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.support = Support(*check_interval(low, high))
        self.head = Head(self._uniform, convert_to_tensor_fn=tfd.Distribution.mean)

    def _uniform(self, low: tf.Tensor) -> tfd.Distribution:
        return tfd.Independent(tfd.Uniform(low, tf.fill(tf.shape(low), self.support.high)), 1)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The uniform distribution, batch [], event [L]."""
        return self.head(tf.fill([self.latent_dim], self.support.low)).tensor_distribution
