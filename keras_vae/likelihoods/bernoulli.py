"""Likelihoods of data that are 0 or 1, and of data between: Bernoulli and continuous Bernoulli."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.grid import tilted_logits
from keras_vae.distributions.support import UNIT
from keras_vae.likelihoods.likelihood import Likelihood, inside, logit, percent
from keras_vae.serialization import register


class LogitBernoulli(tfd.Bernoulli):
    """`tfd.Bernoulli` from finite logits with one softplus in place of two: 5% of the training step of an MLP."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        return event * self.logits - tf.nn.softplus(self.logits)


@register
class Bernoulli(Likelihood):
    """p(x|z) = prod_i p_i^x_i (1 - p_i)^(1 - x_i) for binary data, p = sigmoid(decoder output)."""

    support = UNIT
    levels = 2
    mean_of_params = "sigmoid"

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent Bernoulli variables with `logits` [..., *event_shape]."""
        return self._independent(LogitBernoulli(logits=logits, dtype=tf.float32))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """logit(mean), the mean clipped to [0.001, 0.999] as in the code of Burda et al. 2016."""
        return logit(inside(mean))

    def outside(self, x: Any) -> Any:
        """Anything but zeros and ones."""
        return (x != 0.0) & (x != 1.0)

    def refusal(self, share: float, found: str) -> str:
        """Likelihoods of other values, or how to come to zeros and ones."""
        within = f" (they lie in {found})" if found else ""
        return (
            f"Bernoulli is a likelihood of zeros and ones, but {percent(share)} of the values are neither{within}; its "
            'log-probability would mean nothing. Either binarize: data.load(..., binarize="dynamic") or '
            '(x > 0.5).astype("float32"); or choose a likelihood of gray levels: '
            "likelihoods.ContinuousBernoulli(event_shape) or likelihoods.Normal(event_shape) for densities, "
            "likelihoods.DiscretizedLogistic(event_shape) for levels and bits/dim."
        )


@register
class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod_i C(p_i) p_i^x_i (1 - p_i)^(1 - x_i) for data in [0, 1], p = sigmoid(decoder output).

    C(p) = 2 artanh(1 - 2p) / (1 - 2p), with C(1/2) = 2, makes it a density; without it, binary cross-entropy on gray
    values is no likelihood. After Loaiza-Ganem and Cunningham 2019, "The continuous Bernoulli". Its mean is not p.
    """

    support = UNIT
    mean_of_params = "continuous_bernoulli"

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent continuous Bernoulli variables with `logits` [..., *event_shape]."""
        return self._independent(tfd.ContinuousBernoulli(logits=logits))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The logits whose mean, 1 / (1 - exp(-logit)) - 1 / logit, is that of the data."""
        midpoints = (np.arange(2000) + 0.5) / 2000
        return tilted_logits(inside(mean), midpoints)

    def refusal(self, share: float, found: str) -> str:
        """How to come to [0, 1], or another likelihood."""
        lie = f"the data lie in {found}" if found else f"{percent(share)} of the values lie outside"
        return (
            f"ContinuousBernoulli is a likelihood of values in [0, 1], but {lie}. Either scale them, (x - low) / (high "
            "- low), as data.load does with images; or choose likelihoods.Normal(event_shape), which takes any real "
            "numbers."
        )
