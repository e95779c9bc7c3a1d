"""Independent values of which some are missing."""

from typing import Self

import tensorflow as tf
from tensorflow_probability import distributions as tfd

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

    @classmethod
    def of(cls, p: tfd.Distribution) -> Self:
        """The same variables, some of which may be missing.

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
        return cls(p.distribution, p.event_shape.rank)

    def _log_prob(self, x: tf.Tensor, **kwargs: object) -> tf.Tensor:
        is_there = ~tf.math.is_nan(x)
        # Of a NaN in the branch that is not taken, the gradient would be NaN all the same.
        log_prob = self.distribution.log_prob(tf.where(is_there, x, tf.zeros_like(x)), **kwargs)
        axes = list(range(-self.event_shape.rank, 0))
        return tf.reduce_sum(tf.where(is_there, log_prob, tf.zeros_like(log_prob)), axis=axes)


def filled(x: tf.Tensor) -> tf.Tensor:
    """x with zeros where values are missing."""
    return tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)


def with_mask(x: tf.Tensor) -> tf.Tensor:
    """[..., C] to [..., 2 C]: x with zeros where values are missing, and beside it 1 where they are there, else 0."""
    return tf.concat([filled(x), tf.cast(~tf.math.is_nan(x), x.dtype)], axis=-1)
