"""Features of mean zero, unit variance and no correlation: where codes stand still, the features are fitted to them."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.serialization import Serializable, register

# Moving averages forget at this rate; the first batches count as the mean of all so far.
RATE = 0.05
# Variances are not taken for smaller than this share of their mean, nor than this.
LEAST_SHARE, LEAST = 1e-3, 1e-8


@register
class Whitening(Serializable, keras.layers.Layer):
    """W (e - m), with m and C the moving mean and covariance of the features and W = C^(-1/2), all without a gradient.

    As the codes of `VectorQuantized` follow the features by moving averages, so m and W do here. In training they move
    first; frozen, or where features are not finite, they stay.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape: tuple) -> None:
        """Make the averages, for vectors [..., D]."""
        if self.built:
            return
        size = int(input_shape[-1])
        options = {"trainable": False, "aggregation": "mean"}
        self.seen = self.add_weight(name="seen", shape=(), initializer="zeros", **options)
        self.center = self.add_weight(name="center", shape=(size,), initializer="zeros", **options)
        self.squares = self.add_weight(name="squares", shape=(size, size), initializer="zeros", **options)
        identity = keras.initializers.Identity()
        self.matrix = self.add_weight(name="matrix", shape=(size, size), initializer=identity, **options)

    def call(self, vectors: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Vectors [B, N, D] as they are quantised."""
        if training and self.trainable:
            self._move(tf.reshape(tf.stop_gradient(vectors), [-1, int(vectors.shape[-1])]))
        return tf.tensordot(vectors - tf.convert_to_tensor(self.center), tf.convert_to_tensor(self.matrix), 1)

    def _move(self, vectors: tf.Tensor) -> None:
        sums = [
            tf.reduce_sum(vectors, axis=0),
            tf.matmul(vectors, vectors, transpose_a=True),
            tf.cast(tf.shape(vectors)[0], tf.float32),
        ]
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            sums = tf.distribute.get_replica_context().all_reduce("SUM", sums)
        seen, center, squares, matrix = (
            tf.convert_to_tensor(weight) for weight in (self.seen, self.center, self.squares, self.matrix)
        )
        rate = tf.maximum(RATE, 1.0 / (seen + 1.0))
        count = tf.maximum(sums[2], 1.0)
        # Of a batch that is not finite nothing is learned.
        sound = tf.reduce_all(tf.math.is_finite(sums[1])) & (sums[2] > 0.0)
        new_center = tf.where(sound, center + rate * (sums[0] / count - center), center)
        new_squares = tf.where(sound, squares + rate * (sums[1] / count - squares), squares)
        self.seen.assign(tf.where(sound, seen + 1.0, seen))
        self.center.assign(new_center)
        self.squares.assign(new_squares)
        covariance = new_squares - new_center[:, tf.newaxis] * new_center
        self.matrix.assign(tf.where(sound, inverse_root(covariance), matrix))


def inverse_root(covariance: tf.Tensor) -> tf.Tensor:
    """C^(-1/2), the symmetric one, of C [D, D]; its eigenvalues are taken for no smaller than a share of their mean."""
    values, vectors = tf.linalg.eigh(covariance)
    values = tf.maximum(values, tf.maximum(LEAST_SHARE * tf.reduce_mean(values), LEAST))
    return tf.matmul(vectors * tf.math.rsqrt(values), vectors, transpose_b=True)
