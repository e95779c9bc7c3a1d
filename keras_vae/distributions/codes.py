"""Distributions of vectors that are entries of a codebook."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds

# Below this, the moving count of a code is that of none at all.
TINY = 1e-6


class Quantized(tfd.Distribution):
    """The point mass at one grid of codes, P(z) = 1 where the nearest codes of z are `indices`; batch [...], event [L].

    Draws in training have the gradient of the features before quantisation (straight through).

    Args:
        features: what the encoder gives, [..., N, D].
        indices: the nearest codes, int32 [..., N].
        codebook: [S, D].
        training: whether draws pass a gradient on.
    """

    def __init__(self, features: tf.Tensor, indices: tf.Tensor, codebook: tf.Tensor, training: bool = False) -> None:
        self.features, self.indices, self.codebook, self.training = features, indices, codebook, training
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
        often each example uses each code, [B, S]."""
        distance = self.features - tf.stop_gradient(lookup(self.codebook, self.indices))
        usage = tf.reduce_sum(tf.one_hot(self.indices, int(self.codebook.shape[0])), axis=-2)
        return {"commitment": tf.reduce_sum(tf.square(distance), axis=[-2, -1]), "usage": usage}

    @property
    def num_places(self) -> int:
        """N."""
        return int(self.features.shape[-2])

    @property
    def class_probabilities(self) -> tf.Tensor:
        """The share of the places of each example that hold each code, [..., S]."""
        return tf.reduce_mean(tf.one_hot(self.indices, int(self.codebook.shape[0])), axis=-2)

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

    def _mode(self) -> tf.Tensor:
        return self._flat(lookup(self.codebook, self.indices))

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
        if self.training:
            soft = self._flat(self.features)
            z = soft + tf.stop_gradient(z - soft)
        return tf.tile(z[tf.newaxis], [n, *[1] * z.shape.rank])

    def _sample_and_log_prob(self, sample_shape: tf.Tensor, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        z = self.sample(sample_shape, seed=seed)
        return z, tf.zeros(tf.shape(z)[:-1], self.dtype)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        same = tf.reduce_all(tf.equal(indices_of(z, self.codebook), self.indices), axis=-1)
        return tf.where(same, tf.zeros([], self.dtype), -math.inf)


class Codes(tfd.Distribution):
    """p(k_1) p(k_2|k_1) ... p(k_N|k_1 ... k_N-1) over indices of codes, as a distribution of z [L] that they stand for.

    Args:
        logits: function from indices [M, N] to logits [M, N, S], of which the i-th depend on the indices before the
            i-th; of a batch, from the indices and the rows of `context` that they are given, [M, C].
        places: N.
        codebook: [S, D].
        context: what the distributions of a batch are given, [B, C]; None for a single distribution, batch [].
    """

    def __init__(self, logits: Any, places: int, codebook: tf.Tensor, context: tf.Tensor | None = None) -> None:
        self.logits, self.places, self.codebook, self.context = logits, places, codebook, context
        super().__init__(
            dtype=codebook.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"codebook": codebook, "context": context},
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([]) if self.context is None else self.context.shape[:1]

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32) if self.context is None else tf.shape(self.context)[:1]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.places * int(self.codebook.shape[-1])])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list())

    def log_prob_of(self, indices: tf.Tensor) -> tf.Tensor:
        """log p(k), [...], for indices [..., N]; of a batch, [..., B] for [..., B, N]."""
        if self.context is not None:
            lead = tf.broadcast_dynamic_shape(tf.shape(indices)[:-1], self._batch_shape_tensor())
            indices = tf.broadcast_to(indices, tf.concat([lead, [self.places]], axis=0))
        flat = tf.reshape(indices, [-1, self.places])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(flat, self._logits(flat))
        return -tf.reshape(tf.reduce_sum(losses, axis=-1), tf.shape(indices)[:-1])

    def _logits(self, indices: tf.Tensor) -> tf.Tensor:
        """Logits for indices [M, N]; of a batch, M is a multiple of B, and row i is of distribution i mod B."""
        if self.context is None:
            return self.logits(indices)
        times = tf.math.floordiv(tf.shape(indices)[0], tf.maximum(tf.shape(self.context)[0], 1))
        return self.logits(indices, tf.tile(self.context, [times, 1]))

    def chain(self, n: Any, choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Indices, int32 [n, N], chosen one after another: place i by `choose`, given i and its logits [n, S].

        Of a batch, n is a multiple of B, and row i is of distribution i mod B.
        """

        def place(i: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = choose(i, tf.gather(self._logits(indices), i, axis=1))
            return i + 1, tf.where(tf.range(self.places) == i, chosen[:, tf.newaxis], indices)

        start = (tf.constant(0), tf.zeros([n, self.places], tf.int32))
        return tf.while_loop(lambda i, _: i < self.places, place, start)[1]

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        def choose(i: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_categorical(logits, 1, seeds.fold_in(seed, i), dtype=tf.int32)[:, 0]

        batch = self._batch_shape_tensor()
        drawn = lookup(self.codebook, self.chain(n * tf.reduce_prod(batch), choose))
        return tf.reshape(drawn, tf.concat([[n], batch, self._event_shape_tensor()], axis=0))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.log_prob_of(indices_of(z, self.codebook))


@tfd.RegisterKL(Quantized, Codes)
def _kl_codes(q: Quantized, p: Codes, name: str | None = None) -> tf.Tensor:
    return -p.log_prob_of(q.indices)


def nearest(vectors: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    """argmin_k |v - c_k|, int32 [...], for vectors [..., D] and a codebook [S, D]; the first of equals."""
    # |v|^2 is the same for all k.
    distances = tf.reduce_sum(tf.square(codebook), axis=-1) - 2.0 * tf.tensordot(vectors, tf.transpose(codebook), 1)
    return tf.argmin(distances, axis=-1, output_type=tf.int32)


def lookup(codebook: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The vectors of indices, [..., D]."""
    return tf.gather(codebook, indices)


def indices_of(z: tf.Tensor, codebook: tf.Tensor) -> tf.Tensor:
    """The nearest codes of z [..., N * D], int32 [..., N]."""
    dim = int(codebook.shape[-1])
    shape = tf.concat([tf.shape(z)[:-1], [int(z.shape[-1]) // dim, dim]], axis=0)
    return nearest(tf.reshape(z, shape), codebook)


def perplexity(counts: tf.Tensor) -> tf.Tensor:
    """exp of the entropy of the frequencies: S for S codes that are used equally, 1 for one that is used alone."""
    p = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return tf.exp(-tf.reduce_sum(tf.math.xlogy(p, p)))
