"""A posterior on an interval."""

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_interval
from keras_vae.distributions.kumaraswamy import IntervalKumaraswamy
from keras_vae.distributions.scales import bounded, bounded_exp, shares
from keras_vae.distributions.support import UNIT, Support
from keras_vae.distributions.tails.tail import EVEN
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class Kumaraswamy(Posterior):
    """Independent draws on [low, high], for priors on an interval: see `distributions.kumaraswamy.IntervalKumaraswamy`.

    The projection gives the place and the width of the density, not its concentrations a and b, of which a place at
    a given width is no linear function. On the unit interval

        m = sigmoid(1.7 l), |1.7 l| < 4                        the median
        a = 1 + 1 / (0.01 + w (1 - m) - log(m) / 9.5), w = exp(s)   w: the width of logit x, as far as it goes
        b = log(2) / -log(1 - m^a), at least 1                 so that m is the median

    with l and s linear in the features; sigmoid(1.7 l) is near the normal distribution's Phi(l). a stays below 102 and
    b below 10^6. The density is bounded, and goes to the uniform one as w grows. `point` is the mean. The KL to
    `priors.Uniform` has a closed form. Proposed for this by Nalisnick and Smyth 2017, "Stick-breaking variational
    autoencoders".

    A model that was saved before there was this form, revision 1, keeps its own: a = 1 + exp(l), b = 1 + exp(s).

    On [-sqrt(3), sqrt(3)], where the uniform prior has the moments of N(0, I), a decoder learns faster than on [0, 1].

    Args:
        latent_dim: L.
        low: lower end of the interval, for all dimensions.
        high: upper end.

    Raises:
        ValueError: unless low < high, both finite.
    """

    # Near the low end the density goes like (z - low)^(a - 1), and a may come near 1.
    support, tails = UNIT, EVEN
    revision = 2
    MAX_LOGIT, MAX_LOG_WIDTH = 4.0, 4.6
    MIN_WIDTH = 0.01
    # a log(1 / m) <= 9.5 + MAX_LOGIT, so that b stays below 10^6.
    MAX_DEPTH = 9.5
    CONCENTRATIONS = Support(1.0, 1e6)

    def __init__(self, latent_dim: int, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.support = Support(*check_interval(low, high))

    @property
    def params_size(self) -> int:
        """2 L: raw place and width."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """Independent Kumaraswamy variables from [B, 2 L]."""
        concentrations = self._concentrations if self.revision > 1 else self._first_concentrations
        a, b = concentrations(*shares(params, 2))
        return tfd.Independent(IntervalKumaraswamy(a, b, *self.support), 1)

    def _concentrations(self, place: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logit = bounded(1.7 * place, self.MAX_LOGIT)
        depth = tf.nn.softplus(-logit)  # log(1 / m)
        narrow = self.MIN_WIDTH + depth / self.MAX_DEPTH
        a = 1.0 + 1.0 / (narrow + tf.exp(bounded(width, self.MAX_LOG_WIDTH)) * tf.sigmoid(-logit))
        log_b = math.log(math.log(2.0)) - tf.math.log(-tfp.math.log1mexp(a * depth))
        return a, bounded_exp(log_b, self.CONCENTRATIONS)

    def _first_concentrations(self, raw_a: tf.Tensor, raw_b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return 1.0 + tf.exp(bounded(raw_a, 4.6)), 1.0 + tf.exp(bounded(raw_b, 13.8))
