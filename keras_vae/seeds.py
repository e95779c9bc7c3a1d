"""Stateless seeds: pairs of int32 that are computed, never stored."""

import secrets
from typing import Any

import tensorflow as tf

Seed = Any  # an int, or an int32 tensor of shape [2]


def as_pair(seed: Seed | None) -> tf.Tensor:
    """The seed as an int32 tensor of shape [2], which TensorFlow's stateless operations take.

    Args:
        seed: an int of any size and sign, a pair of int32, or None for a new seed at each call.
    """
    if seed is None:
        seed = secrets.randbits(62)
    if isinstance(seed, int):
        bits = seed & (2**64 - 1)
        seed = [_signed(bits & 0xFFFFFFFF), _signed(bits >> 32)]
    return tf.convert_to_tensor(seed, tf.int32)


def fold_in(seed: Seed, *numbers: Any) -> tf.Tensor:
    """A new pair for each combination of `numbers` (ints or integer scalars), the same in every process."""
    pair = as_pair(seed)
    for number in numbers:
        # The result has the type of the number folded in; a pair is int32.
        pair = tf.random.experimental.stateless_fold_in(pair, tf.cast(number, tf.int32))
    return pair


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
