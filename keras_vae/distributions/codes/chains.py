"""Priors of codes: chains of indices, each given those before it."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.distributions.codes.codebooks import codebook_of, indices_of
from keras_vae.distributions.codes.quantized import Quantized


class Codes(tfd.Distribution):
    """p(k_1) p(k_2|k_1) ... p(k_N|k_1 ... k_N-1) over indices of codes, as a distribution of z [L] that they stand for.

    Where several indices make a vector, those of one place follow each other in the chain, which is N * depth long.
    There z is encoded stage by stage for its log-probability: two chains may stand for one z, and what is meant is the
    indices. `log_prob_of` is of these, and so is the KL.

    Args:
        logits: function from indices [M, N] to logits [M, N, S], of which the i-th depend on the indices before the
            i-th; of a batch, from the indices and the rows of `context` that they are given, [M, C].
        places: number of vectors.
        codebook: a `Codebook`, or a table of one, [S, D].
        context: what the distributions of a batch are given, [B, C]; None for a single distribution, batch [].
    """

    def __init__(self, logits: Any, places: int, codebook: Any, context: tf.Tensor | None = None) -> None:
        self.logits, self.codebook, self.context = logits, codebook, context
        self.codes = codebook_of(codebook)
        self.num_places, self.places = places, places * self.codes.depth
        super().__init__(
            dtype=tf.float32,
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
        return tf.TensorShape([self.num_places * self.codes.dim])

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
        drawn = self.vectors(self.chain(n * tf.reduce_prod(batch), choose))
        return tf.reshape(drawn, tf.concat([[n], batch, self._event_shape_tensor()], axis=0))

    def vectors(self, indices: tf.Tensor) -> tf.Tensor:
        """z, [M, L], for chains of indices [M, N]."""
        shaped = tf.reshape(indices, [-1, self.num_places, *self.codes.tail])
        return tf.reshape(self.codes.lookup(shaped), [-1, *self._event_shape()])

    @property
    def noise_size(self) -> int:
        """Uniform numbers that `from_uniforms` takes for one index."""
        return self.codes.num_codes

    def from_uniforms(self, u: tf.Tensor) -> tf.Tensor:
        """Draws z [M, L] from uniform numbers in (0, 1), [M, N, noise_size]: the largest of logits and Gumbel noise."""
        noise = -tf.math.log(-tf.math.log(u))

        def choose(i: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            return tf.argmax(logits + tf.gather(noise, i, axis=1), axis=-1, output_type=tf.int32)

        return self.vectors(self.chain(tf.shape(u)[0], choose))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        found = indices_of(z, self.codes)
        if self.codes.tail:
            found = tf.reshape(found, tf.concat([tf.shape(z)[:-1], [self.places]], axis=0))
        return self.log_prob_of(found)


class EqualCodes(Codes):
    """All indices of a codebook alike and independent: log p(k) = -N depth log S, of every z.

    Args:
        places: number of vectors.
        codebook: a `Codebook`, or a table of one, [S, D].
    """

    def __init__(self, places: int, codebook: Any) -> None:
        super().__init__(None, places, codebook)

    def log_prob_of(self, indices: tf.Tensor) -> tf.Tensor:
        """-N depth log S, [...], for indices [..., N * depth]."""
        return tf.fill(tf.shape(indices)[:-1], -self.places * math.log(self.codes.num_codes))

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        shape = [n, self.places]
        return self.vectors(tf.random.stateless_uniform(shape, seed, 0, self.codes.num_codes, tf.int32))

    noise_size = 1

    def from_uniforms(self, u: tf.Tensor) -> tf.Tensor:
        """Draws z [M, L] from uniform numbers in (0, 1), [M, N, 1]."""
        chosen = tf.cast(tf.floor(u[..., 0] * self.codes.num_codes), tf.int32)
        return self.vectors(tf.minimum(chosen, self.codes.num_codes - 1))


@tfd.RegisterKL(Quantized, Codes)
def _kl_codes(q: Quantized, p: Codes, name: str | None = None) -> tf.Tensor:
    return -p.log_prob_of(q.chain)
