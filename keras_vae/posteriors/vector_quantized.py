"""Vector quantisation: z is a grid of vectors from a codebook, and q(z|x) the point mass at the nearest ones.

    posterior = posteriors.VectorQuantized(8 * 8 * 32, grid=(8, 8), num_codes=256)
    prior = priors.AutoregressiveCodes(8 * 8 * 32, grid=(8, 8), num_codes=256)
    objective = objectives.CommittedELBO(commitment_weight=0.25)

After van den Oord et al. 2017, "Neural discrete representation learning". A code is a discrete variable and its
posterior a certain one, so that `kl` is -log p(codes), in nats, and `elbo` a bound on log p(x) like that of any model.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.arguments import check_count, check_grid, check_number
from keras_vae.distributions.codes import TINY, Quantized, lookup, nearest
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class VectorQuantized(Posterior):
    """q(z|x): each of the grid's vectors of features is replaced by the nearest of S codes of D = L / (h w) numbers.

    The F features become D at each place of the grid: by a 1x1 convolution if they can be a map of its height and
    width, which is where F is a multiple of height * width, and else by a dense layer.
    In training the codes follow the features by moving averages over batches,

        N_k <- g N_k + (1 - g) n_k,  m_k <- g m_k + (1 - g) sum of the n_k features nearest to code k,  c_k = m_k / N_k

    (van den Oord et al. 2017, appendix A.1), and no gradient. A code with N_k <= `revive_below` times what an equal
    share of a batch would be is dead, and starts again at a random feature of the batch; so do all at the first step,
    when no code has been used. Frozen (`trainable = False`), it stays as it is.

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        decay: g.
        revive_below: a share in [0, 1); 0 revives only what was never used.

    Raises:
        ValueError: for sizes that do not fit together, and numbers out of range.
    """

    support, tails = REAL, NONE
    num_codes: int
    is_certain = True
    has_marginals = False
    extras = frozenset({"commitment", "usage"})

    def __init__(
        self,
        latent_dim: int,
        grid: Sequence[int],
        num_codes: int = 256,
        decay: float = 0.99,
        revive_below: float = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, **kwargs)
        self.grid, self.code_dim = check_grid(grid, latent_dim)
        self.indices_shape = self.grid
        self.num_codes = check_count("num_codes", num_codes)
        self.decay = check_number("decay", decay, at_least=0, below=1)
        self.revive_below = check_number("revive_below", revive_below, at_least=0, below=1)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A grid of codes."""
        return blocks(self.grid, self.num_codes, self.latent_dim)

    @property
    def params_size(self) -> int:
        """D for each place of the grid, or L."""
        return self.code_dim if self.is_map else self.latent_dim

    def build(self, input_shape: tuple) -> None:
        """Make the projection and the codebook, for features [B, F]."""
        if self.built:
            return
        places = math.prod(self.grid)
        self.is_map = input_shape[-1] % places == 0
        size = input_shape[-1] // places if self.is_map else input_shape[-1]
        self.projection = keras.layers.Dense(self.params_size, dtype="float32")
        self.projection.build((None, size))
        shape: tuple[int, ...] = (self.num_codes,)
        options = {"initializer": "zeros", "trainable": False, "aggregation": "mean"}
        self.counts = self.add_weight(name="counts", shape=shape, **options)
        self.sums = self.add_weight(name="sums", shape=(*shape, self.code_dim), **options)

    @property
    def codebook(self) -> tf.Tensor:
        """c = m / N, [S, D]; zeros before the first step of training."""
        counts, sums = tf.convert_to_tensor(self.counts), tf.convert_to_tensor(self.sums)
        return sums / tf.maximum(counts, TINY)[:, tf.newaxis]

    def lookup(self, indices: Any) -> tf.Tensor:
        """z [..., L] for indices [..., height, width] or [..., N]: what `VAE.decode` takes.

        Raises:
            ValueError: for another shape, or indices that are no codes; inside a graph these stand for the nearest.
        """
        indices = tf.convert_to_tensor(indices, tf.int32)
        places = math.prod(self.grid)
        tail = tuple(indices.shape[-2:]) == self.grid
        lead = indices.shape[:-2] if tail else indices.shape[:-1]
        if not tail and indices.shape[-1] != places:
            raise ValueError(f"Indices must be [..., {self.grid[0]}, {self.grid[1]}], not {tuple(indices.shape)}.")
        if tf.executing_eagerly() and tf.reduce_any((indices < 0) | (indices >= self.num_codes)):
            raise ValueError(f"Indices of {self.num_codes} codes are 0 to {self.num_codes - 1}; these are not.")
        z = lookup(self.codebook, tf.clip_by_value(indices, 0, self.num_codes - 1))
        return tf.reshape(z, [-1 if n is None else n for n in (*lead, self.latent_dim)])

    def call(self, features: tf.Tensor, training: bool | None = None) -> tfd.Distribution:
        """q(z|x) from features [B, F]; in training the codebook moves first."""
        places = math.prod(self.grid)
        shaped = tf.reshape(features, [-1, places, features.shape[-1] // places]) if self.is_map else features
        vectors = tf.reshape(self.projection(shaped), [-1, places, self.code_dim])
        if training and self.trainable:
            self._move(tf.stop_gradient(tf.reshape(vectors, [-1, self.code_dim])))
        codebook = tf.stop_gradient(self.codebook)
        indices = nearest(tf.stop_gradient(vectors), codebook)
        return Quantized(vectors, indices, codebook, bool(training))

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """The codes, [B, L]."""
        return q.mode()

    def _move(self, vectors: tf.Tensor) -> None:
        """The moving averages after a batch of vectors [M, D]; on several workers, after all of theirs."""
        counts, sums = tf.convert_to_tensor(self.counts), tf.convert_to_tensor(self.sums)
        used = tf.one_hot(nearest(vectors, self.codebook), self.num_codes)
        seen = tf.cast(tf.shape(vectors)[0], tf.float32)
        new = [tf.reduce_sum(used, axis=0), tf.tensordot(used, vectors, axes=[[0], [0]]), seen]
        # Which replica gives the new place of a dead code must not differ between them: the mean of all would be none.
        order = tf.random.stateless_uniform([self.num_codes], seeds.fold_in(0, self.step))
        chosen = tf.gather(vectors, tf.cast(order * seen, tf.int32))
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.float32)
            *new, chosen = context.all_reduce("SUM", [*new, chosen * first])
        share = new[2] / self.num_codes
        counts = self.decay * counts + (1.0 - self.decay) * new[0]
        sums = self.decay * sums + (1.0 - self.decay) * new[1]
        dead = counts <= self.revive_below * share
        # At the first step all are: with an equal share each, and none of the averages of codes that were none.
        dead |= tf.reduce_all(tf.convert_to_tensor(self.counts) == 0.0)
        self.counts.assign(tf.where(dead, share, counts))
        self.sums.assign(tf.where(dead[:, tf.newaxis], share * chosen, sums))


def blocks(grid: tuple[int, int], num_codes: int, latent_dim: int) -> tuple[tuple[str, int], ...]:
    """What z is made of, for posterior and prior alike."""
    return ((f"{grid[0]} x {grid[1]} of {num_codes} codes:", latent_dim),)
