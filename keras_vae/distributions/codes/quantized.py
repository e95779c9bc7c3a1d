"""The posterior of codes: certain ones."""

import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.codes.codebooks import codebook_of, vectors_of


class Quantized(tfd.Distribution):
    """The point mass at one grid of codes, P(z) = 1 where z is the vectors of `indices`; batch [...], event [L].

    Draws in training have a gradient: that of the features before quantisation (straight through), unless told
    otherwise.

    Args:
        features: what the encoder gives, [..., N, D].
        indices: of the codes, int32 [..., N], or [..., N, depth] where several make a vector.
        codebook: a `Codebook`, or a table of one, [S, D].
        training: whether draws pass a gradient on.
        through: draws in training, [..., N, D]: the codes, up to rounding or stages that are left out, with a gradient.
        commitment: [...], if it is not |features - codes|^2 summed over the grid.
    """

    def __init__(
        self,
        features: tf.Tensor,
        indices: tf.Tensor,
        codebook: Any,
        training: bool = False,
        through: tf.Tensor | None = None,
        commitment: tf.Tensor | None = None,
    ) -> None:
        self.features, self.indices, self.codebook, self.training = features, indices, codebook, training
        self.codes, self.through, self.commitment = codebook_of(codebook), through, commitment
        self.latent_dim = int(features.shape[-2]) * int(features.shape[-1])
        super().__init__(
            dtype=features.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"features": features, "indices": indices, "codebook": codebook, "training": training},
        )

    @property
    def extras(self) -> dict[str, tf.Tensor]:
        """`commitment`, the squared distance of the features to their codes, [B], summed over the grid; `usage`, how
        often all examples together use each code, [1, S], of several indices for a vector [1, depth * S]."""
        commitment = self.commitment
        if commitment is None:
            distance = self.features - tf.stop_gradient(self._vectors)
            commitment = tf.reduce_sum(tf.square(distance), axis=[-2, -1])
        flat = tf.reshape(self._numbered, [-1])
        size = self.codes.num_codes * self.codes.depth
        usage = tf.math.unsorted_segment_sum(tf.ones_like(flat, self.dtype), flat, size)
        return {"commitment": commitment, "usage": usage[tf.newaxis]}

    @property
    def _usage(self) -> tf.Tensor:
        size = self.codes.num_codes * self.codes.depth
        rows = tf.reshape(self._numbered, [-1, self.num_places * self.codes.depth])
        batch = tf.shape(rows)[0]
        flat = tf.reshape(rows + size * tf.range(batch)[:, tf.newaxis], [-1])
        counts = tf.math.unsorted_segment_sum(tf.ones_like(flat, self.dtype), flat, batch * size)
        return tf.reshape(counts, tf.concat([self._batch_shape_tensor(), [size]], axis=0))

    @property
    def _numbered(self) -> tf.Tensor:
        """Indices of which those of other depths are other numbers."""
        return self.indices + self.codes.num_codes * tf.range(self.codes.depth) if self.codes.tail else self.indices

    @property
    def num_places(self) -> int:
        """N."""
        return int(self.features.shape[-2])

    @property
    def chain(self) -> tf.Tensor:
        """The indices one after another, int32 [..., N * depth]: what a prior of codes is of."""
        if not self.codes.tail:
            return self.indices
        size = self.num_places * self.codes.depth
        return tf.reshape(self.indices, tf.concat([self._batch_shape_tensor(), [size]], axis=0))

    @property
    def class_probabilities(self) -> tf.Tensor:
        """The share of the places of each example that hold each code, [..., S]; by depth [..., depth, S]."""
        shares = self._usage / self.num_places
        if not self.codes.tail:
            return shares
        size = [self.codes.depth, self.codes.num_codes]
        return tf.reshape(shares, tf.concat([self._batch_shape_tensor(), size], axis=0))

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return self.features.shape[:-2]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.features)[:-2]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.latent_dim])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self.latent_dim])

    @property
    def _vectors(self) -> tf.Tensor:
        return self.codes.lookup(self.indices)

    def _mode(self) -> tf.Tensor:
        return self._flat(self._vectors)

    def _flat(self, vectors: tf.Tensor) -> tf.Tensor:
        """[..., L] for vectors [..., N, D]; in a graph that is exported no shape is computed."""
        if vectors.shape.rank == 3:
            return tf.reshape(vectors, [-1, self.latent_dim])
        return tf.reshape(vectors, tf.concat([tf.shape(vectors)[:-2], [self.latent_dim]], axis=0))

    _mean = _mode

    def _variance(self) -> tf.Tensor:
        return tf.zeros_like(self._mode())

    def _entropy(self) -> tf.Tensor:
        return tf.zeros(self._batch_shape_tensor(), self.dtype)

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        z = self._mode()
        if self.training and self.through is not None:
            z = self._flat(self.through)
        elif self.training:
            soft = self._flat(self.features)
            z = soft + tf.stop_gradient(z - soft)
        return tf.tile(z[tf.newaxis], [n, *[1] * z.shape.rank])

    def _sample_and_log_prob(self, sample_shape: tf.Tensor, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z = self.sample(sample_shape, seed=seed)
        return z, tf.zeros(tf.shape(z)[:-1], self.dtype)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        same = tf.reduce_all(self.codes.are(vectors_of(z, self.codes.dim), self.indices), axis=-1)
        return tf.where(same, tf.zeros([], self.dtype), -math.inf)
