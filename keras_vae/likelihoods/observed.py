"""Independent values of which some are missing."""

import math
from typing import Any, Self

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.serialization import Serializable

# What both classes of `tfd.Independent` are.
INDEPENDENT = tfd.Independent.__mro__[1]


class Observed(tfd.Independent):
    """log p(x) = sum over the values that are there of log p(x_i), for x in which NaN stands for those that are not.

    It is the marginal density of those that are there, as the values are independent; of nothing it is 0. All else is
    as of `tfd.Independent`: the mean and the draws are of all values.

    Args:
        distribution: of each value; it takes x = 0.
        reinterpreted_batch_ndims: number of axes of one example.
    """

    filler: float = 0.0

    @classmethod
    def of(cls, p: tfd.Distribution, filler: float = 0.0) -> Self:
        """The same variables, some of which may be missing.

        Args:
            p: of independent values.
            filler: a value of finite log-density.

        Raises:
            TypeError: for what is not `tfd.Independent`.
        """
        if isinstance(p, cls):
            return p
        # TFP makes another class of it where it wraps a distribution that is no composite tensor.
        if not isinstance(p, INDEPENDENT):
            raise TypeError(
                f"Values may be missing where they are independent given z: a tfd.Independent, not {type(p).__name__}."
            )
        if p.distribution.event_shape.rank != 0:
            raise TypeError(
                "Values may be missing one by one, and these are vectors that are independent of each other."
            )
        observed = cls(p.distribution, p.event_shape.rank)
        observed.filler = filler
        return observed

    def _log_prob(self, x: tf.Tensor, **kwargs: object) -> tf.Tensor:
        is_there = ~tf.math.is_nan(x)
        # Of a NaN in the branch that is not taken, the gradient would be NaN all the same.
        log_prob = self.distribution.log_prob(tf.where(is_there, x, self.filler * tf.ones_like(x)), **kwargs)
        axes = list(range(-self.event_shape.rank, 0))
        return tf.reduce_sum(tf.where(is_there, log_prob, tf.zeros_like(log_prob)), axis=axes)


class MayMiss(Serializable):
    """A part that remembers in its config whether values of the data may be missing, where a model has set that."""

    missing: bool = False

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and whether values may be missing."""
        return {**super().get_config(), **({"missing": True} if self.missing else {})}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A part with the arguments of `config`."""
        arguments = dict(config)
        missing = arguments.pop("missing", False)
        part = super().from_config(arguments)
        part.missing = bool(missing)
        return part


def inner_point(low: float, high: float) -> float:
    """A point of an interval that is none of its infinite ends: 0 where it is inside, or of gray levels, [0, 1]."""
    if low < 0.0 < high or (low, high) == (0.0, 1.0):
        return 0.0
    if math.isfinite(low) and math.isfinite(high):
        return 0.5 * (low + high)
    return low + 1.0 if math.isfinite(low) else high - 1.0


def filled(x: tf.Tensor) -> tf.Tensor:
    """x with zeros where values are missing."""
    return tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)


def with_mask(x: tf.Tensor) -> tf.Tensor:
    """[..., C] to [..., 2 C]: x with zeros where values are missing, and beside it 1 where they are there, else 0."""
    return tf.concat([filled(x), tf.cast(~tf.math.is_nan(x), x.dtype)], axis=-1)
