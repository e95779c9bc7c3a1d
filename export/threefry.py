"""Normals from a seed by a counter-based generator made of plain integer ops.

A SavedModel or TFLite file must not hold a random state (it would repeat its first draw at every restart), and TFLite
has no stateless random op. Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011) needs additions, rotations and exclusive ors only, all of them built into TFLite, and turns (key, counter) into 64
random bits. Words are uint32 tensors; sums and shifts go through int64, so that nothing relies on signed overflow.

`keras_vae.VAE.sample` draws by TFP's stateless sampling instead, so that its numbers differ from an export's.
"""

from typing import Any

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_VECTOR = 16  # float32 numbers in the longest vector register, AVX-512's
# 2 pi = 6.28125 + 2029 / 2^20 + 3e-7: both terms are exact in float16, in which a TFLite file may keep its constants.
_TWO_PI = (6.28125, 2029 * 2.0**-20)


def _add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(a, tf.int64) + tf.cast(b, tf.int64), tf.uint32)


def _rotate(a: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.cast(tf.cast(a, tf.int64) * tf.constant(2**bits, tf.int64), tf.uint32)
    right = tf.bitwise.right_shift(a, tf.constant(32 - bits, tf.uint32))
    return tf.bitwise.bitwise_xor(left, right)


def threefry2x32(key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32, 20 rounds: 64 random bits for each pair of a 64-bit key and a 64-bit counter.

    Args:
        key: two uint32 tensors.
        counter: two uint32 tensors, whose shapes broadcast with the key's.

    Returns:
        Two uint32 tensors of the broadcast shape; every bit is fair, and no two counters share an output under one key.
    """
    parity = tf.constant(_PARITY, tf.uint32)
    keys = (*key, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(key[0], key[1]), parity))
    x0, x1 = _add(counter[0], keys[0]), _add(counter[1], keys[1])
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            x0 = _add(x0, x1)
            x1 = tf.bitwise.bitwise_xor(_rotate(x1, bits), x0)
        x0 = _add(x0, keys[(block + 1) % 3])
        x1 = _add(_add(x1, keys[(block + 2) % 3]), tf.constant(block + 1, tf.uint32))
    return x0, x1


def _unit(bits: tf.Tensor) -> tf.Tensor:
    """The upper 23 bits as float32, in the middle of their cell: u = (k + 1/2) / 2^23, never 0 and never 1."""
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) * 2.0**-23


def _unit_pairs(seed: tf.Tensor, pairs: int, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Two [N, pairs] tensors of uniforms; pair j of row i is made from the block (key seed i, counter (j, stream))."""
    words = tf.cast(seed, tf.uint32)
    counter: Any = tf.constant([list(range(pairs))], tf.uint32), tf.constant([[stream] * pairs], tf.uint32)
    x0, x1 = threefry2x32((words[:, :1], words[:, 1:2]), counter)
    return _unit(x0), _unit(x1)


def _interleaved(even: tf.Tensor, odd: tf.Tensor, size: int) -> tf.Tensor:
    return tf.reshape(tf.stack([even, odd], axis=2), [-1, 2 * int(even.shape[1])])[:, :size]


def uniforms(seed: tf.Tensor, size: int, stream: int = 0) -> tf.Tensor:
    """Uniform numbers in (0, 1): row i depends on seed i alone, numbers 2 j and 2 j + 1 on (seed i, stream, j) alone.

    Args:
        seed: int32 [N, 2], one pair per row.
        size: how many numbers per row.
        stream: different streams of one seed are independent.

    Returns:
        float32 [N, size], each (k + 1/2) / 2^23 with k uniform in {0, ..., 2^23 - 1}.
    """
    return _interleaved(*_unit_pairs(seed, -(-size // 2), stream), size)


def normals(seed: tf.Tensor, size: int, stream: int = 0) -> tf.Tensor:
    """Standard normals by Box and Muller: sqrt(-2 log u) (cos 2 pi v, sin 2 pi v), (u, v) from one Threefry block.

    The largest absolute value is sqrt(48 log 2) = 5.77; beyond it lies a probability of 8e-9.

    Args:
        seed: int32 [N, 2], one pair per row.
        size: how many numbers per row.
        stream: different streams of one seed are independent.

    Returns:
        float32 [N, size]; row i depends on seed i alone.
    """
    # Vector instructions round the logarithm otherwise than the scalar ones that finish an array of odd length do:
    # with whole vectors in each row, its bits do not depend on the other rows.
    u, v = _unit_pairs(seed, -(-size // (2 * _VECTOR)) * _VECTOR, stream)
    radius = tf.sqrt(-2.0 * tf.math.log(u))
    angle = _TWO_PI[0] * v + _TWO_PI[1] * v
    return _interleaved(radius * tf.cos(angle), radius * tf.sin(angle), size)
