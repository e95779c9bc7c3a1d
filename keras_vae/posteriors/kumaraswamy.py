"""A posterior on an interval."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_interval
from keras_vae.distributions.kumaraswamy import IntervalKumaraswamy
from keras_vae.distributions.scales import bounded
from keras_vae.distributions.support import UNIT, Support
from keras_vae.distributions.tails.tail import POLYNOMIAL, Tail, Tails
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class Kumaraswamy(Posterior):
    """Independent draws on [low, high], for priors on an interval: see `distributions.kumaraswamy.IntervalKumaraswamy`.

    The concentrations are 1 + exp(linear), within [1.01, 100] and [1, 10^6], and start at two: the density is bounded,
    and goes to the uniform one as both go to one. `point` is the mean. The KL to
    `priors.Uniform` has a closed form. Proposed for this by Nalisnick and Smyth 2017, "Stick-breaking variational
    autoencoders".

    Args:
        latent_dim: L.
        low: lower end of the interval, for all dimensions.
        high: upper end.

    Raises:
        ValueError: unless low < high, both finite.
    """

    support, tails = UNIT, Tails(Tail(POLYNOMIAL, 1.01), Tail(POLYNOMIAL, 1.0))
    MAX_LOG = (4.6, 13.8)  # of a - 1 and b - 1

    def __init__(self, latent_dim: int, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.support = Support(*check_interval(low, high))

    @property
    def params_size(self) -> int:
        """2 L: raw logarithms of both concentrations."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """Independent Kumaraswamy variables from [B, 2 L]."""
        raw = tf.split(params, 2, axis=-1)
        a, b = (1.0 + tf.exp(bounded(r, limit)) for r, limit in zip(raw, self.MAX_LOG, strict=True))
        return tfd.Independent(IntervalKumaraswamy(a, b, *self.support), 1)
