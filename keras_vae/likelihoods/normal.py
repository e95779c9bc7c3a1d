"""Gray levels as real numbers with Gaussian noise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_number
from keras_vae.distributions.gaussian import CentredNormal
from keras_vae.distributions.scales import bounded_exp
from keras_vae.distributions.support import Support
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.serialization import register


@register
class Normal(Likelihood):
    """p(x|z) = prod_i N(x_i; mu_i(z), s_i^2), the mean given by the decoder.

    Scales that are learned stay in [0.001, 1000]: a likelihood whose variance collapses has no upper bound.

    Args:
        event_shape: shape of one example.
        scale: s, in the units of the data: a number, "learned" (one value for all), or "per_pixel" (given by the
            decoder for each value and z).
    """

    SCALES = Support(1e-3, 1e3)
    mean_of_params = "linear"

    def __init__(self, event_shape: Sequence[int], scale: float | str = "learned", **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        if scale not in ("learned", "per_pixel"):
            scale = check_number("scale", scale, above=0, hint=', "learned" or "per_pixel"')
        self.scale = scale
        if scale in ("learned", "per_pixel"):
            self.scale_bounds, self.has_spread = self.SCALES, True
            self.advice = "The learned scale may be at its bound, as constant pixels bring it: fix it (scale=0.1)."
        self.params_per_value = 2 if scale == "per_pixel" else 1
        if scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")

    def distribution(self, loc: tf.Tensor, log_scale: tf.Tensor | None = None) -> tfd.Distribution:
        """Independent normal variables with mean `loc` [..., *event_shape]."""
        return self._independent(
            CentredNormal(loc, self.scale if log_scale is None else bounded_exp(log_scale, self.SCALES))
        )

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The mean, and the spread as the scale."""
        log_scale = np.full_like(mean, self._log(spread))
        return np.concatenate([mean] + [log_scale] * (self.params_per_value - 1), axis=-1)

    def adapt(self, spread: float) -> None:
        """Start a learned scale at the spread: from far above it, the latents would not be worth their KL."""
        if self.scale == "learned":
            self.log_scale.assign(self._log(spread))

    def _log(self, spread: float) -> float:
        # Inside the bounds by a factor, where the clip is the identity and has a gradient.
        return math.log(min(max(spread, 2.0 * self.SCALES.low), 0.5 * self.SCALES.high))
