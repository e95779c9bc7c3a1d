"""Stateless seeds: pairs of int32 that are computed, never stored."""

import numbers
import secrets
from typing import Any

import numpy as np
import tensorflow as tf

Seed = Any  # an int, or an int32 tensor of shape [2]


def as_pair(seed: Seed | None) -> tf.Tensor:
    """The seed as an int32 tensor of shape [2], which TensorFlow's stateless operations take.

    Args:
        seed: an int of any size and sign, a pair of int32, or None for a new seed at each call.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(seed, tf.Tensor) and seed.dtype == tf.int32 and seed.shape == (2,):
        return seed
    if seed is None:
        seed = secrets.randbits(62)
    if not tf.is_symbolic_tensor(seed):
        seed = _numbers(seed)
    return tf.convert_to_tensor(seed, tf.int32)


def _numbers(seed: Any) -> list[int]:
    """The pair of a seed that is an int or a pair."""
    try:
        array = np.asarray(seed)
    except (TypeError, ValueError):
        array = np.asarray(None)
    is_int = isinstance(seed, numbers.Integral) or array.dtype.kind in "iu"
    if is_int and not isinstance(seed, (bool, np.bool_)) and array.shape == ():
        bits = int(seed) & (2**64 - 1)
        return [_signed(bits & 0xFFFFFFFF), _signed(bits >> 32)]
    if not is_int or array.shape != (2,) or not all(-(2**31) <= int(n) < 2**31 for n in array):
        raise ValueError(f"seed must be an int, a pair of int32, or None for other draws at each call, not {seed!r}.")
    return [int(n) for n in array]


def fold_in(seed: Seed, *numbers: Any) -> tf.Tensor:
    """A new pair for each combination of `numbers` (ints or integer scalars), the same in every process."""
    pair = as_pair(seed)
    for number in numbers:
        # The result has the type of the number folded in; a pair is int32.
        pair = tf.random.experimental.stateless_fold_in(pair, tf.cast(number, tf.int32))
    return pair


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
