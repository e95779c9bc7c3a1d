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
import tensorflow_probability as tfp

from keras_vae.latents import REAL, UNIT, Support
from keras_vae.serialization import Serializable, register

tfb = tfp.bijectors
tfd = tfp.distributions
tfpl = tfp.layers


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
        """The distribution with n parameters, each [..., *event_shape]: batch [...], event `event_shape`."""
        raise TypeError(f"{type(self).__name__} must define distribution(*params).")

    def initial_bias(self, mean: np.ndarray) -> np.ndarray | None:
        """The output bias that gives the mean of the data, or None where that means nothing.

        Args:
            mean: mean of the data, [..., C].

        Returns:
            Array [..., C * n].
        """
        return None

    def check_values(self, x: np.ndarray) -> None:
        """Refuse finite floats of the right shape that lie outside the support.

        Raises:
            ValueError: naming the remedy.
        """

    def call(self, params: tf.Tensor) -> tfd.Distribution:
        """p(x|z) from the decoder's output [..., *params_shape]."""
        return self.head(params)

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

    def _split(self, params: tf.Tensor) -> tfd.Distribution:
        if self.params_per_value == 1:
            return self.distribution(params)
        return self.distribution(*tf.split(params, self.params_per_value, axis=-1))


@register
class Bernoulli(Likelihood):
    """p(x|z) = prod_i p_i^x_i (1 - p_i)^(1 - x_i) for binary data, p = sigmoid(decoder output)."""

    support = UNIT
    levels = 2

    def distribution(self, logits: tf.Tensor) -> tfd.Distribution:
        """Independent Bernoulli variables with `logits` [..., *event_shape]."""
        return tfd.Independent(tfd.Bernoulli(logits=logits, dtype=tf.float32), len(self.event_shape))

    def initial_bias(self, mean: np.ndarray) -> np.ndarray:
        """logit(mean), the mean clipped to [0.001, 0.999] as in the code of Burda et al. 2016."""
        clipped = np.clip(mean, 1e-3, 1.0 - 1e-3)
        return np.log(clipped) - np.log1p(-clipped)

    def check_values(self, x: np.ndarray) -> None:
        """Refuse anything but zeros and ones."""
        binary = (x == 0.0) | (x == 1.0)
        if not binary.all():
            raise ValueError(
                f"Bernoulli is a likelihood of zeros and ones, but {100 * (1 - binary.mean()):.1f}% of the values are "
                f"neither (they lie in [{x.min():g}, {x.max():g}]); its log-probability would mean nothing. Either "
                'binarize: data.load(..., binarize="dynamic") or (x > 0.5).astype("float32"); or choose a likelihood '
                "of gray levels: likelihoods.Normal(event_shape)."
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
        if self.scale == "learned":
            log_scale = tf.convert_to_tensor(self.log_scale)
        scale = self.scale if log_scale is None else tf.exp(self._bounded(log_scale))
        return tfd.Independent(tfd.Normal(loc, scale), len(self.event_shape))

    def initial_bias(self, mean: np.ndarray) -> np.ndarray:
        """The mean, and a scale of one."""
        return np.concatenate([mean] + [np.zeros_like(mean)] * (self.params_per_value - 1), axis=-1)

    def _bounded(self, log_scale: tf.Tensor) -> tf.Tensor:
        return tfb.SoftClip(math.log(self.SCALES.low), math.log(self.SCALES.high), hinge_softness=0.1)(log_scale)


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
