"""Rare codes attract what is next to them: where codes stand still, the features come to them."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.distributions.codes.codebooks import Levels
from keras_vae.serialization import Serializable, register

# A code that has less than this of an equal share attracts.
RARE = 0.5
# As strong as so many times the gradient of the likelihood.
STRENGTH = 1.0
# Steepness of the soft borders between two levels, in steps of levels.
STEEPNESS = 4.0
# Shares are means over so many uses of a code at least, if all are used alike, and over so many batches.
USES, BATCHES = 50.0, 10.0
# More codes than these are not counted.
MOST_CODES = 2**16


@register
class Attraction(Serializable, keras.layers.Layer):
    """Directions of vectors to rare codes next to them, of a grid of levels.

    With moving averages n_k of the shares of the codes, times S, the rarity of a code is a_k = max(0, 1 - n_k / 0.5).
    A vector of code k, at d_i steps from its level of number i, -1/2 to 1/2, is drawn by

        (a_(k+i) - a_k) s(d_i - 1/2) - (a_(k-i) - a_k) s(d_i + 1/2),   s(t) = 4 sigmoid(4 t) sigmoid(-4 t),

    along number i, where k+i and k-i are the codes whose level i is the next one and the one before.

    Args:
        table: the codes.
    """

    def __init__(self, table: Levels, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.__dict__["table"] = table

    def build(self, input_shape: tuple = ()) -> None:
        """Make the averages."""
        if not self.built:
            self.shares = self.add_weight(
                name="shares", shape=(self.table.num_codes,), initializer="ones", trainable=False, aggregation="mean"
            )

    def call(self, vectors: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Directions [B, N, D] of vectors [B, N, D] with indices [B, N], after their codes have been counted."""
        self._count(tf.reshape(indices, [-1]))
        rarity = tf.maximum(0.0, 1.0 - tf.convert_to_tensor(self.shares) / RARE)
        table, places = self.table, indices[..., tf.newaxis]
        digits = tf.math.floormod(tf.math.floordiv(places, table.basis), table.levels)
        offset = (vectors - table.low) / table.step - tf.cast(digits, tf.float32)
        own, total = tf.gather(rarity, places), tf.zeros_like(vectors)
        for sign in (1, -1):
            there = (digits + sign >= 0) & (digits + sign < table.levels)
            neighbour = tf.gather(rarity, tf.where(there, places + sign * table.basis, places))
            border = STEEPNESS * (sign * offset - 0.5)
            total += sign * (neighbour - own) * 4.0 * tf.sigmoid(border) * tf.sigmoid(-border)
        return tf.stop_gradient(total)

    def _count(self, indices: tf.Tensor) -> None:
        size = self.table.num_codes
        counts = tf.math.unsorted_segment_sum(tf.ones_like(indices, tf.float32), indices, size)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            counts = tf.distribute.get_replica_context().all_reduce("SUM", counts)
        seen = tf.maximum(tf.reduce_sum(counts), 1.0)
        rate = tf.minimum(1.0 / BATCHES, seen / (USES * size))
        self.shares.assign_add(rate * (counts * (size / seen) - tf.convert_to_tensor(self.shares)))


def attracted(vectors: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """Vectors [B, N, D] as they are, whose gradient is moved along directions, in units of the gradient's own size."""

    @tf.custom_gradient
    def identity(vectors: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            size = tf.sqrt(tf.reduce_mean(tf.square(upstream), axis=[0, 1]))
            return upstream - STRENGTH * size * directions

        return tf.identity(vectors), gradient

    return identity(vectors)
