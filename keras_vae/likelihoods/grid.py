"""Likelihoods of images on a grid of levels: probabilities, so that bits/dim are the length of a code."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count
from keras_vae.distributions.grid import (
    MAX_LEVELS,
    GridBinomial,
    GridCategorical,
    GridLogistic,
    GridLogisticMixture,
    clipped_logistic_loc,
    tilted_logits,
)
from keras_vae.distributions.scales import bounded_exp, shares, side_by_side
from keras_vae.distributions.support import UNIT, Support
from keras_vae.likelihoods.likelihood import Likelihood, inside, logit, percent
from keras_vae.serialization import register


class GridLikelihood(Likelihood):
    """Likelihoods of images in [0, 1] on the grid k / (levels - 1): probabilities of levels, not densities.

    So log p(x) <= 0, and `bits_per_dim` is the length of a code.

    Args:
        event_shape: shape of one example.
        levels: number of levels; 256 for 8-bit images.
    """

    support = UNIT
    levels: int

    def __init__(self, event_shape: Sequence[int], levels: int = 256, **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        self.levels = check_count("levels", levels, at_least=2, at_most=MAX_LEVELS)

    def outside(self, x: Any) -> Any:
        """Values off the grid; float32 rounding is forgiven."""
        scaled = x * (self.levels - 1)
        rounded = tf.round(scaled) if tf.is_tensor(scaled) else np.round(scaled)
        return (abs(scaled - rounded) > 0.01) | (x < 0.0) | (x > 1.0)

    def refusal(self, share: float, found: str) -> str:
        """How to come to the grid, or another likelihood."""
        top, within = self.levels - 1, f" (the data lie in {found})" if found else ""
        return (
            f"{type(self).__name__} is a likelihood of {self.levels} levels, k / {top} in [0, 1], but {percent(share)} "
            f"of the values lie elsewhere{within}. data.load(..., levels={self.levels}) rounds images to this grid, "
            f"np.round(x * {top}) / {top} other values in [0, 1]. For continuous values choose "
            "likelihoods.Normal(event_shape)."
        )


@register
class DiscretizedLogistic(GridLikelihood):
    """A logistic density, rounded to the levels: P(k) = the mass within half a level of k / (levels - 1).

    The decoder gives location and log-scale of each value, in the units of the data; the first and the last level take
    the tails. After Kingma et al. 2016 (IAF) and Salimans et al. 2017, "PixelCNN++".
    """

    params_per_value = 2
    has_spread = True
    mean_of_params: str | None = "logistic"
    INITIAL_SCALE = 0.1

    def distribution(self, loc: tf.Tensor, log_scale: tf.Tensor) -> tfd.Distribution:
        """Independent variables on the grid, with location and log-scale [..., *event_shape]."""
        return self._independent(GridLogistic(loc, self._scale(log_scale), self.levels))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The location that gives the mean, and a scale of 0.1."""
        loc = clipped_logistic_loc(inside(mean), self.INITIAL_SCALE)
        return np.concatenate([loc, np.zeros_like(loc)], axis=-1)

    def _scale(self, log_scale: tf.Tensor) -> tf.Tensor:
        # At the lower end, a location on a level gives it all but 2e-7 of the mass: nothing is won beyond.
        scales = Support(1.0 / (32.0 * (self.levels - 1)), 10.0)
        return bounded_exp(log_scale + math.log(self.INITIAL_SCALE), scales)


@register
class DiscretizedLogisticMixture(DiscretizedLogistic):
    """A mixture of `num_components` discretized logistics for each value, so that it may have several modes.

    P(k) = sum_i w_i P_i(k). Channels are independent given z, unlike those of PixelCNN++, so any number of them will
    do. The decoder gives all logits of w, then all locations, then all log-scales.

    Args:
        event_shape: shape of one example.
        levels: number of levels.
        num_components: number of components of each mixture.
    """

    mean_of_params = None

    def __init__(self, event_shape: Sequence[int], levels: int = 256, num_components: int = 5, **kwargs: Any) -> None:
        super().__init__(event_shape, levels, **kwargs)
        self.num_components = check_count("num_components", num_components)
        self.params_per_value = 3 * self.num_components

    def distribution(self, *params: tf.Tensor) -> tfd.Distribution:
        """Independent mixtures on the grid, from 3 num_components parameters [..., *event_shape]."""
        size = self.num_components
        return self._mixture(*(tf.stack(params[first : first + size], axis=-1) for first in (0, size, 2 * size)))

    def _of_output(self, params: tf.Tensor, *others: tf.Tensor) -> tfd.Distribution:
        if type(self).distribution is not DiscretizedLogisticMixture.distribution:
            return super()._of_output(params, *others)
        return self._mixture(*(side_by_side(part, self.num_components) for part in shares(params, 3)))

    def _mixture(self, logits: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor) -> tfd.Distribution:
        return self._independent(GridLogisticMixture(logits, loc, self._scale(log_scale), self.levels))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """Equal components with that mean; the decoder's kernel tells them apart."""
        loc = clipped_logistic_loc(inside(mean), self.INITIAL_SCALE)
        zeros = [np.zeros_like(loc)] * self.num_components
        return np.concatenate([*zeros, *[loc] * self.num_components, *zeros], axis=-1)


@register
class Categorical(GridLikelihood):
    """Any probabilities for the levels: P(k) = softmax(decoder output)_k. It does not know that levels are ordered.

    Args:
        event_shape: shape of one example.
        levels: number of levels; the decoder gives as many parameters for each value.
    """

    def __init__(self, event_shape: Sequence[int], levels: int, **kwargs: Any) -> None:
        super().__init__(event_shape, levels, **kwargs)
        self.params_per_value = self.levels

    def distribution(self, *logits: tf.Tensor) -> tfd.Distribution:
        """Independent categorical variables, from the logits of each level [..., *event_shape]."""
        return self._independent(GridCategorical(tf.stack(logits, axis=-1)))

    def _of_output(self, params: tf.Tensor, *others: tf.Tensor) -> tfd.Distribution:
        if type(self).distribution is not Categorical.distribution:
            return super()._of_output(params, *others)
        return self._independent(GridCategorical(side_by_side(params, self.levels)))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The logits t k, linear in the level, that give the mean: of all such distributions the most uncertain."""
        grid = np.arange(self.levels) / (self.levels - 1)
        slope = tilted_logits(inside(mean), grid)
        return np.concatenate([slope * g for g in grid - grid.mean()], axis=-1)


@register
class Binomial(GridLikelihood):
    """k of `total_count` trials succeed: P(k) = C(n, k) p^k (1 - p)^(n - k), p = sigmoid(decoder output).

    For counts out of a known total, such as the mean of n binary images; the data are k / n.

    Args:
        event_shape: shape of one example.
        total_count: n; there are n + 1 levels.
    """

    mean_of_params = "sigmoid"

    def __init__(self, event_shape: Sequence[int], total_count: int, **kwargs: Any) -> None:
        self.total_count = check_count("total_count", total_count, at_most=MAX_LEVELS - 1)
        super().__init__(event_shape, self.total_count + 1, **kwargs)

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent binomial variables with `logits` [..., *event_shape]."""
        return self._independent(GridBinomial(logits, self.total_count))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """logit(mean), the mean clipped to [0.001, 0.999]."""
        return logit(inside(mean))
