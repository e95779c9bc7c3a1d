"""Rare codes attract a vector each: where codes stand still, the features come to them."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.distributions.codes.codebooks import Levels
from keras_vae.serialization import Serializable, register

# A code that has less than this of an equal share attracts, and as many of them at a step at most.
RARE, MOST = 0.5, 256
# A vector that is drawn to a code is so by so many times the gradient of an average one, and all together by so many
# times the gradient of all.
ONE, ALL = 10.0, 2.0
# Shares are means over so many batches, and so many uses of a code, if all are used alike, at least.
BATCHES, USES = 10.0, 50.0
# Of more codes no shares are kept.
MOST_KEPT = 2**16


@register
class Attraction(Serializable, keras.layers.Layer):
    """Directions of vectors to rare codes of a grid of levels; in training alone.

    With moving averages n_k of the shares of the codes, times S, the rarity of a code is a_k = max(0, 1 - 2 n_k). At
    each step every rare code draws one vector, the nearest that has no rare code itself, along

        a_k (c_k - e) / |c_k - e|,    in steps of levels.

    Few vectors move, as many as are missing, and so the others stay what they are: to push all that are near a rare
    code moves them together, and the codes they came from are rare next.

    Args:
        table: the codes.
    """

    def __init__(self, table: Levels, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.__dict__["table"] = table

    def build(self, input_shape: tuple = ()) -> None:
        """Make the averages."""
        if self.built:
            return
        if self.table.num_codes <= MOST_KEPT:
            self.shares = self.add_weight(
                name="shares", shape=(self.table.num_codes,), initializer="ones", trainable=False, aggregation="mean"
            )

    def call(self, vectors: tf.Tensor, indices: tf.Tensor, seed: tf.Tensor) -> tf.Tensor | None:
        """Directions [B, N, D] of vectors [B, N, D] with indices [B, N], after these have been counted.

        Args:
            vectors: as they are quantised.
            indices: of their codes.
            seed: of the choice among more rare codes than `MOST`.
        """
        table = self.table
        if table.num_codes > MOST_KEPT:
            return None
        indices, flat = tf.reshape(indices, [-1]), tf.reshape(vectors, [-1, table.dim]) / table.step
        self._count(indices, tf.reduce_all(tf.math.is_finite(flat)))
        rarity = tf.maximum(0.0, 1.0 - tf.convert_to_tensor(self.shares) / RARE)
        order = rarity * tf.random.stateless_uniform([table.num_codes], seed, 0.5, 1.0)
        chosen = tf.math.top_k(order, min(MOST, table.num_codes)).indices
        centers = table.lookup(chosen) / table.step
        distance = tf.reduce_sum(tf.square(flat), axis=-1, keepdims=True) - 2.0 * tf.matmul(
            flat, centers, transpose_b=True
        )
        is_rare = tf.gather(rarity, indices)[:, tf.newaxis] > 0.0
        drawn = tf.argmin(tf.where(is_rare, distance.dtype.max, distance), axis=0)
        way = centers - tf.gather(flat, drawn)
        pull = tf.gather(rarity, chosen)[:, tf.newaxis] * tf.math.l2_normalize(way, axis=-1)
        directions = tf.tensor_scatter_nd_add(tf.zeros_like(flat), drawn[:, tf.newaxis], pull)
        return tf.stop_gradient(tf.reshape(directions, tf.shape(vectors)))

    def _count(self, indices: tf.Tensor, sound: tf.Tensor) -> None:
        # Of a batch that is not finite nothing is learned.
        indices = tf.where(sound, indices, -1)
        size = self.table.num_codes
        # Indices below zero are left out.
        counts = tf.math.unsorted_segment_sum(tf.ones_like(indices, tf.float32), indices, size)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            counts = tf.distribute.get_replica_context().all_reduce("SUM", counts)
        seen = tf.maximum(tf.reduce_sum(counts), 1.0)
        rate = tf.minimum(1.0 / BATCHES, seen / (USES * size))
        shares = tf.convert_to_tensor(self.shares)
        self.shares.assign(tf.where(sound, shares + rate * (counts * (size / seen) - shares), shares))


def attracted(vectors: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """Vectors [B, N, D] as they are, whose gradient is moved along directions.

    g <- g - s |g|_i d, where |g|_i is the root mean square of the gradients of number i, and s is 10, or less, so that
    all together are at most twice as large as all gradients: no weight has to be found for a likelihood.
    """

    @tf.custom_gradient
    def identity(vectors: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            size = tf.sqrt(tf.reduce_mean(tf.square(upstream), axis=[0, 1]))
            all_of_them = tf.sqrt(tf.reduce_mean(tf.square(directions)))
            return upstream - tf.minimum(ONE, tf.math.divide_no_nan(ALL, all_of_them)) * size * directions

        return tf.identity(vectors), gradient

    return identity(vectors)
