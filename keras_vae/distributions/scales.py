"""Maps from raw network outputs, any real numbers, to parameters with limits."""

import contextlib
import contextvars
import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_vae.distributions.support import Support

MIN_SCALE = 1e-5


_BY_SLICES = contextvars.ContextVar("by_slices", default=False)


@contextlib.contextmanager
def by_slices() -> Iterator[None]:
    """In this context `shares` and `side_by_side` are made of slices alone, for a graph that is to be exported.

    TFLite's converter quantises the outputs of `tf.split` in an order that is another one in each run: two int8 exports
    of one model would not be the same bytes. And a reshape would need the size of the batch.
    """
    token = _BY_SLICES.set(True)
    try:
        yield
    finally:
        _BY_SLICES.reset(token)


def shares(params: tf.Tensor, number: int) -> list[tf.Tensor]:
    """Equal shares of the last axis."""
    if not _BY_SLICES.get():
        # Its gradient is one concatenation, that of slices a sum of as many tensors as there are shares.
        parts: list[tf.Tensor] = tf.split(params, number, axis=-1)
        return parts
    size = params.shape[-1] // number
    return [params[..., first * size : (first + 1) * size] for first in range(number)]


def side_by_side(params: tf.Tensor, number: int) -> tf.Tensor:
    """`tf.stack(shares(params, number), axis=-1)`: [..., number * C] as [..., C, number]."""
    if _BY_SLICES.get():
        return tf.stack(shares(params, number), axis=-1)
    # Of hundreds of shares, each by itself would take longer than all the rest of a step.
    ahead, size = tf.shape(params)[:-1], params.shape[-1] // number
    if size == 1:
        return tf.reshape(params, tf.concat([ahead, [1, number]], 0))
    return tf.linalg.matrix_transpose(tf.reshape(params, tf.concat([ahead, [number, size]], 0)))


def positive(raw: tf.Tensor) -> tf.Tensor:
    """softplus(raw + log(e - 1)) + 1e-5: a positive scale that is one at raw = 0 and grows linearly."""
    return tf.nn.softplus(raw + math.log(math.e - 1.0)) + MIN_SCALE


def raw_of(scale: np.ndarray) -> np.ndarray:
    """The raw numbers, float32, of which `positive` makes these scales, or 1.1e-5 if they are smaller."""
    above = np.maximum(np.asarray(scale, "float64") - MIN_SCALE, 0.1 * MIN_SCALE)
    # log(exp(s) - 1) without an overflow.
    raw: np.ndarray = above + np.log(-np.expm1(-above)) - math.log(math.e - 1.0)
    return raw.astype("float32")


def bounded(raw: tf.Tensor, limit: float, below: float | None = None) -> tf.Tensor:
    """limit tanh(raw / limit): within [-limit, limit], the identity near zero; `below` bounds negatives."""
    found = limit * tf.tanh(raw / limit)
    return found if below is None else tf.where(raw > 0.0, found, bounded(raw, below))


_HINGE = 0.1  # how far from a bound, in log-scale, the smooth clip begins to bend


def bounded_exp(log_scale: tf.Tensor, bounds: Support) -> tf.Tensor:
    """exp(log_scale), held inside `bounds` by a smooth clip: a scale that can neither collapse nor overflow.

    high - w s(w - s(log_scale - low)) / s(w) with w = high - low and s(x) = 0.1 softplus(x / 0.1): `tfb.SoftClip` by a
    softplus that does not overflow where a device computes softplus as log(1 + exp(x)).
    """
    low, high = math.log(bounds.low), math.log(bounds.high)
    width = high - low
    shrinkage = width / (width + _HINGE * math.log1p(math.exp(-width / _HINGE)))
    return tf.exp(high - shrinkage * _hinge(width - _hinge(log_scale - low)))


def _hinge(x: tf.Tensor) -> tf.Tensor:
    size = tf.abs(x)
    # Not max(x, 0), which has the wrong gradient at zero.
    return 0.5 * (x + size) + _HINGE * tf.math.log1p(tf.exp(-size / _HINGE))
