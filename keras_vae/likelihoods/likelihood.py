"""What every likelihood p(x|z) is: a Keras layer that turns a decoder's output into a TFP distribution over data.

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
from tensorflow_probability import distributions as tfd
from tensorflow_probability import layers as tfpl

from keras_vae.arguments import check_event_shape
from keras_vae.distributions.support import REAL, Support
from keras_vae.serialization import Serializable


class Likelihood(Serializable, keras.layers.Layer):
    """A weightless `tfp.layers` head over the decoder's output, in float32 whatever the dtype policy.

    The output has `params_shape` = event_shape[:-1] + (C * n,) and is split on its last axis into n parameters of the
    shape of the data.

    Args:
        event_shape: shape of one example: (height, width, channels) or (features,).

    Attributes:
        support: of every value.
        params_per_value: n.
        levels: number of levels of discrete data, for bits/dim; None for densities.
        scale_bounds: of standard deviations that are learned and may come to lie at a bound; None where none does.
        advice: what may help if log p(x|z) is not finite.
    """

    support: Support = REAL
    params_per_value: int = 1
    levels: int | None = None
    scale_bounds: Support | None = None
    advice: str = ""

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
        return None if self.levels is None else bits_per_dim(log_prob, self.event_shape)

    def _independent(self, distribution: tfd.Distribution) -> tfd.Distribution:
        return tfd.Independent(distribution, len(self.event_shape))

    def _split(self, inputs: list[tf.Tensor]) -> tfd.Distribution:
        params, *weights = inputs
        if self.params_per_value == 1:
            return self.distribution(params, *weights)
        return self.distribution(*tf.split(params, self.params_per_value, axis=-1), *weights)


def bits_per_dim(log_prob: Any, event_shape: Sequence[int]) -> Any:
    """-log_prob / (D ln 2) for log-probabilities in nats of examples of D values."""
    return -log_prob / (math.prod(event_shape) * math.log(2.0))


def inside(mean: np.ndarray) -> np.ndarray:
    """The mean of data in [0, 1], clipped to [0.001, 0.999], where its logit is finite."""
    return np.clip(mean, 1e-3, 1.0 - 1e-3)


def logit(mean: np.ndarray) -> np.ndarray:
    """log(mean / (1 - mean))."""
    return np.log(mean) - np.log1p(-mean)
