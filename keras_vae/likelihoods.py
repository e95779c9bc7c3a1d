"""Likelihoods p(x|z): Keras layers that turn a decoder's output into TFP distributions over data.

A likelihood of your own is a subclass with one method, and one number if it has more than one parameter a value:

    @kv.register
    class Laplace(likelihoods.Likelihood):
        params_per_value = 2

        def distribution(self, loc, raw_scale):
            return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), len(self.event_shape))
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import layers as tfpl

from keras_vae.discretized import (
    GridBinomial,
    GridCategorical,
    QuantizedLogistic,
    QuantizedLogisticMixture,
    clipped_logistic_loc,
    tilted_logits,
)
from keras_vae.latents import REAL, UNIT, Support
from keras_vae.serialization import Serializable, register


class Likelihood(Serializable, keras.layers.Layer):
    """A weightless `tfp.layers` head over the decoder's output, in float32 whatever the dtype policy.

    The output has `params_shape` = event_shape[:-1] + (C * n,) and is split on its last axis into n parameters of the
    shape of the data.

    Args:
        event_shape: shape of one example: (height, width, channels) or (features,).
    """

    support: Support = REAL
    params_per_value: int = 1
    levels: int | None = None  # number of levels of discrete data, for bits/dim

    def __init__(self, event_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.event_shape = check_event_shape(event_shape)
        self.head = tfpl.DistributionLambda(self._split, convert_to_tensor_fn=tfd.Distribution.mean)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output for one example."""
        return (*self.event_shape[:-1], self.event_shape[-1] * self.params_per_value)

    def distribution(self, *params: tf.Tensor) -> tfd.Distribution:
        """The distribution with n parameters, each [..., *event_shape]: batch [...], event `event_shape`.

        A likelihood with weights of its own receives their values after the parameters.
        """
        raise TypeError(f"{type(self).__name__} must define distribution(*params).")

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray | None:
        """The output bias that gives the mean of the data, or None where that means nothing.

        Args:
            mean: mean of the data, [..., C].
            spread: standard deviation of the data around their mean.

        Returns:
            Array [..., C * n].
        """
        return None

    def adapt(self, spread: float) -> None:
        """Initialise weights of its own, if any, from the standard deviation of the data around their mean."""

    def check_values(self, x: np.ndarray) -> None:
        """Refuse finite floats of the right shape that lie outside the support.

        Raises:
            ValueError: naming the remedy.
        """

    def call(self, params: tf.Tensor) -> tfd.Distribution:
        """p(x|z) from the decoder's output [..., *params_shape]."""
        return self.head([params, *(tf.convert_to_tensor(weight) for weight in self.weights)]).tensor_distribution

    def check(self, x: Any) -> None:
        """Refuse a batch of data [B, *event_shape] that this likelihood cannot have produced.

        Raises:
            ValueError: for a wrong shape, integers, NaN or infinity, and values outside the support.
        """
        x = np.asarray(x)
        if x.shape[1:] != self.event_shape:
            hint = " Add the channel axis: x[..., None]." if (*x.shape[1:], 1) == self.event_shape else ""
            raise ValueError(
                f"The data have shape {x.shape[1:]} per example, but the likelihood {type(self).__name__} was made for "
                f"{self.event_shape}.{hint}"
            )
        if x.dtype.kind in "iu":
            raise ValueError(
                f"The data are integers ({x.dtype}), and likelihoods take float32. For pixels: "
                'x.astype("float32") / 255, or data.load, which scales images to [0, 1].'
            )
        if x.dtype.kind not in "fbV":
            raise ValueError(f"The data have dtype {x.dtype}; likelihoods take float32.")
        values = x.astype("float32")
        bad = ~np.isfinite(values)
        if bad.any():
            rows = np.unique(np.nonzero(bad)[0])
            raise ValueError(
                f"{bad.sum()} values of the data are NaN or infinite, in {len(rows)} examples of the first batch "
                f"(the first is number {rows[0]}). Repair or drop them: x[np.isfinite(x).reshape(len(x), -1).all(1)]."
            )
        self.check_values(values)

    def bits_per_dim(self, log_prob: Any) -> Any:
        """-log2 p(x) per value: -log_prob / (D ln 2), the size of the data under a perfect code.

        Args:
            log_prob: log-probabilities of whole examples in nats, of any shape.

        Returns:
            An array of that shape, or None for continuous data, whose densities are no probabilities.
        """
        return None if self.levels is None else -log_prob / (math.prod(self.event_shape) * math.log(2.0))

    def _independent(self, distribution: tfd.Distribution) -> tfd.Distribution:
        return tfd.Independent(distribution, len(self.event_shape))

    def _split(self, inputs: list[tf.Tensor]) -> tfd.Distribution:
        params, *weights = inputs
        if self.params_per_value == 1:
            return self.distribution(params, *weights)
        return self.distribution(*tf.split(params, self.params_per_value, axis=-1), *weights)


class LogitBernoulli(tfd.Bernoulli):
    """`tfd.Bernoulli` from finite logits with one softplus in place of two: 5% of the training step of an MLP."""

    def _log_prob(self, event: tf.Tensor) -> tf.Tensor:
        return event * self.logits - tf.nn.softplus(self.logits)


@register
class Bernoulli(Likelihood):
    """p(x|z) = prod_i p_i^x_i (1 - p_i)^(1 - x_i) for binary data, p = sigmoid(decoder output)."""

    support = UNIT
    levels = 2

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent Bernoulli variables with `logits` [..., *event_shape]."""
        return self._independent(LogitBernoulli(logits=logits, dtype=tf.float32))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """logit(mean), the mean clipped to [0.001, 0.999] as in the code of Burda et al. 2016."""
        return logit(inside(mean))

    def check_values(self, x: np.ndarray) -> None:
        """Refuse anything but zeros and ones."""
        binary = (x == 0.0) | (x == 1.0)
        if not binary.all():
            raise ValueError(
                f"Bernoulli is a likelihood of zeros and ones, but {100 * (1 - binary.mean()):.1f}% of the values are "
                f"neither (they lie in [{x.min():g}, {x.max():g}]); its log-probability would mean nothing. Either "
                'binarize: data.load(..., binarize="dynamic") or (x > 0.5).astype("float32"); or choose a likelihood '
                "of gray levels: likelihoods.ContinuousBernoulli(event_shape) or likelihoods.Normal(event_shape) for "
                "densities, likelihoods.DiscretizedLogistic(event_shape) for levels and bits/dim."
            )


@register
class ContinuousBernoulli(Likelihood):
    """p(x|z) = prod_i C(p_i) p_i^x_i (1 - p_i)^(1 - x_i) for data in [0, 1], p = sigmoid(decoder output).

    C(p) = 2 artanh(1 - 2p) / (1 - 2p), with C(1/2) = 2, makes it a density; without it, binary cross-entropy on gray
    values is no likelihood. After Loaiza-Ganem and Cunningham 2019, "The continuous Bernoulli". Its mean is not p.
    """

    support = UNIT

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent continuous Bernoulli variables with `logits` [..., *event_shape]."""
        return self._independent(tfd.ContinuousBernoulli(logits=logits))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The logits whose mean, 1 / (1 - exp(-logit)) - 1 / logit, is that of the data."""
        midpoints = (np.arange(2000) + 0.5) / 2000
        return tilted_logits(inside(mean), midpoints)

    def check_values(self, x: np.ndarray) -> None:
        """Refuse values outside [0, 1]."""
        if x.size and (x.min() < 0.0 or x.max() > 1.0):
            raise ValueError(
                f"ContinuousBernoulli is a likelihood of values in [0, 1], but the data lie in [{x.min():g}, "
                f"{x.max():g}]. Either scale them, (x - low) / (high - low), as data.load does with images; or choose "
                "likelihoods.Normal(event_shape), which takes any real numbers."
            )


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

    def __init__(self, event_shape: Sequence[int], scale: float | str = "learned", **kwargs: Any) -> None:
        super().__init__(event_shape, **kwargs)
        is_number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
        if not (0 < scale < math.inf if is_number else scale in ("learned", "per_pixel")):  # type: ignore[operator]
            raise ValueError(f'scale must be a positive number, "learned" or "per_pixel", not {scale!r}.')
        self.scale = scale
        self.params_per_value = 2 if scale == "per_pixel" else 1
        if scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")

    def distribution(self, loc: tf.Tensor, log_scale: tf.Tensor | None = None) -> tfd.Distribution:
        """Independent normal variables with mean `loc` [..., *event_shape]."""
        return self._independent(
            tfd.Normal(loc, self.scale if log_scale is None else bounded_exp(log_scale, self.SCALES))
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


class Levels(Likelihood):
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
        self.levels = check_count("levels", levels, at_least=2)

    def check_values(self, x: np.ndarray) -> None:
        """Refuse values off the grid; float32 rounding is forgiven."""
        name, top = type(self).__name__, self.levels - 1
        off = (np.abs(x * top - np.round(x * top)) > 0.01) | (x < 0.0) | (x > 1.0)
        if off.any():
            raise ValueError(
                f"{name} is a likelihood of {self.levels} levels, k / {top} in [0, 1], but {100 * off.mean():.1f}% of "
                f"the values lie elsewhere (the data lie in [{x.min():g}, {x.max():g}]). data.load gives images on "
                f"the grid of 256 levels; np.round(x * {top}) / {top} puts other values in [0, 1] on this one. For "
                "continuous values choose likelihoods.Normal(event_shape)."
            )


@register
class DiscretizedLogistic(Levels):
    """A logistic density, rounded to the levels: P(k) = the mass within half a level of k / (levels - 1).

    The decoder gives location and log-scale of each value, in the units of the data; the first and the last level take
    the tails. After Kingma et al. 2016 (IAF) and Salimans et al. 2017, "PixelCNN++".
    """

    params_per_value = 2
    INITIAL_SCALE = 0.1

    def distribution(self, loc: tf.Tensor, log_scale: tf.Tensor) -> tfd.Distribution:
        """Independent variables on the grid, with location and log-scale [..., *event_shape]."""
        return self._independent(QuantizedLogistic(loc, self._scale(log_scale), self.levels))

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

    def __init__(self, event_shape: Sequence[int], levels: int = 256, num_components: int = 5, **kwargs: Any) -> None:
        super().__init__(event_shape, levels, **kwargs)
        self.num_components = check_count("num_components", num_components, at_least=1)
        self.params_per_value = 3 * self.num_components

    def distribution(self, *params: tf.Tensor) -> tfd.Distribution:
        """Independent mixtures on the grid, from 3 num_components parameters [..., *event_shape]."""
        logits, loc, log_scale = tf.split(tf.stack(params, axis=-1), 3, axis=-1)
        return self._independent(QuantizedLogisticMixture(logits, loc, self._scale(log_scale), self.levels))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """Equal components with that mean; the decoder's kernel tells them apart."""
        loc = clipped_logistic_loc(inside(mean), self.INITIAL_SCALE)
        zeros = [np.zeros_like(loc)] * self.num_components
        return np.concatenate([*zeros, *[loc] * self.num_components, *zeros], axis=-1)


@register
class Categorical(Levels):
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

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """The logits t k, linear in the level, that give the mean: of all such distributions the most uncertain."""
        grid = np.arange(self.levels) / (self.levels - 1)
        slope = tilted_logits(inside(mean), grid)
        return np.concatenate([slope * g for g in grid - grid.mean()], axis=-1)


@register
class Binomial(Levels):
    """k of `total_count` trials succeed: P(k) = C(n, k) p^k (1 - p)^(n - k), p = sigmoid(decoder output).

    For counts out of a known total, such as the mean of n binary images; the data are k / n.

    Args:
        event_shape: shape of one example.
        total_count: n; there are n + 1 levels.
    """

    def __init__(self, event_shape: Sequence[int], total_count: int, **kwargs: Any) -> None:
        self.total_count = check_count("total_count", total_count, at_least=1)
        super().__init__(event_shape, self.total_count + 1, **kwargs)

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent binomial variables with `logits` [..., *event_shape]."""
        return self._independent(GridBinomial(logits, self.total_count))

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """logit(mean), the mean clipped to [0.001, 0.999]."""
        return logit(inside(mean))


def bounded_exp(log_scale: tf.Tensor, bounds: Support) -> tf.Tensor:
    """exp(log_scale), held inside `bounds` by a smooth clip: a scale that can neither collapse nor overflow."""
    return tf.exp(tfb.SoftClip(math.log(bounds.low), math.log(bounds.high), hinge_softness=0.1)(log_scale))


def inside(mean: np.ndarray) -> np.ndarray:
    """The mean of data in [0, 1], clipped to [0.001, 0.999], where its logit is finite."""
    return np.clip(mean, 1e-3, 1.0 - 1e-3)


def logit(mean: np.ndarray) -> np.ndarray:
    """log(mean / (1 - mean))."""
    return np.log(mean) - np.log1p(-mean)


def check_count(name: str, count: int, at_least: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not an int of at least `at_least`.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < at_least:
        raise ValueError(f"{name} must be an int >= {at_least}, not {count!r}.")
    return int(count)


def check_event_shape(event_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of ints.

    Raises:
        ValueError: if it is empty or holds anything but positive ints.
    """
    if not isinstance(event_shape, (list, tuple)) or not event_shape:
        raise ValueError(f"event_shape must be a tuple such as (28, 28, 1) or (784,), not {event_shape!r}.")
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in event_shape):
        raise ValueError(f"event_shape must hold positive ints only, not {tuple(event_shape)!r}.")
    return tuple(int(n) for n in event_shape)
