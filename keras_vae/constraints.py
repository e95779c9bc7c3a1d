"""Maps from raw network outputs, any real numbers, to parameters with limits."""

import math

import tensorflow as tf

MIN_SCALE = 1e-5


def positive(raw: tf.Tensor) -> tf.Tensor:
    """softplus(raw + log(e - 1)) + 1e-5: a positive scale that is one at raw = 0 and grows linearly."""
    return tf.nn.softplus(raw + math.log(math.e - 1.0)) + MIN_SCALE


def bounded(raw: tf.Tensor, limit: float) -> tf.Tensor:
    """limit tanh(raw / limit): within [-limit, limit], and the identity near zero."""
    return limit * tf.tanh(raw / limit)
