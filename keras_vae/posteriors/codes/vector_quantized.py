"""Vector quantisation: z is a grid of vectors from a codebook, and q(z|x) the point mass at the nearest ones.

    posterior = posteriors.VectorQuantized(8 * 8 * 32, grid=(8, 8), num_codes=256)
    prior = priors.AutoregressiveCodes.of(posterior)
    objective = objectives.CommittedELBO(commitment_weight=0.25)

After van den Oord et al. 2017, "Neural discrete representation learning".
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_vae import seeds
from keras_vae.arguments import check_choice, check_count, check_flag, check_grid, check_number
from keras_vae.distributions.codes.codebooks import TINY, Codebook, Listed, lookup, nearest
from keras_vae.posteriors.codes.quantizer import Coded, Quantizer
from keras_vae.serialization import register

# Steps of Lloyd's algorithm at the start.
LLOYD_STEPS = 10
# Of the lengths of a code and of its features, for the rotation trick.
LARGEST_RATIO = 10.0


@register
class VectorQuantized(Quantizer):
    """q(z|x): each of the grid's vectors of features is replaced by the nearest of S codes of D = L / (h w) numbers.

    In training the codes follow the features by moving averages over batches,

        N_k <- g N_k + (1 - g) n_k,  m_k <- g m_k + (1 - g) sum of the n_k features nearest to code k,  c_k = m_k / N_k

    (van den Oord et al. 2017, appendix A.1), and no gradient; or, learned by `"gradient"`, the gradient of
    sum |features - c|^2, which joins the loss. A code with N_k <= `revive_below` times what an equal share of a batch
    would be is dead, and starts again at a random feature of the batch; so do all at the first step, when no code has
    been used. Frozen (`trainable = False`), it stays as it is, and so it does where features are not finite.

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        decay: g.
        revive_below: a share in [0, 1); 0 revives only what was never used.
        learned_by: "averages" or "gradient".
        start: of the codes at the first step: "features" of the batch, or "kmeans", the means of Lloyd's algorithm on
            them.
        cosine: whether features and codes are of length one, so that the nearest code is that of the largest cosine
            (Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN"). D is at least 2 then.
        through: the gradient of the features: "straight", that of the codes; or "rotation", turned and scaled as the
            code is from the features, |c| / |e| R^T g, R c-hat from e-hat (Fifty et al. 2024, "Restructuring vector
            quantization with the rotation trick"); straight where |c| > 10 |e|, such as features of zero, which have no
            direction and whose gradient had no bound.

    Raises:
        ValueError: for sizes that do not fit together, and numbers out of range.
    """

    remedy = (
        "A larger revive_below or a smaller decay, so that dead codes start again sooner; larger batches; "
        "objectives.CommittedELBO with a larger commitment_weight, if the features run away from their codes."
    )

    def __init__(
        self,
        latent_dim: int,
        grid: Sequence[int],
        num_codes: int = 256,
        decay: float = 0.9,
        revive_below: float = 0.2,
        learned_by: str = "averages",
        start: str = "features",
        cosine: bool = False,
        through: str = "straight",
        **kwargs: Any,
    ) -> None:
        latent_dim = check_count("latent_dim", latent_dim)
        grid, code_dim = check_grid(grid, latent_dim)
        super().__init__(grid, code_dim, check_count("num_codes", num_codes), **kwargs)
        self.decay = check_number("decay", decay, at_least=0, below=1)
        self.revive_below = check_number("revive_below", revive_below, at_least=0, below=1)
        self.learned_by = check_choice("learned_by", learned_by, ("averages", "gradient"))
        self.start = check_choice("start", start, ("features", "kmeans"))
        self.cosine = check_flag("cosine", cosine)
        self.gradient = check_choice("through", through, ("straight", "rotation"))
        if self.cosine and code_dim == 1:
            raise ValueError("cosine codes of one number are 1 and -1: give a latent_dim of more numbers to a place.")

    def build_codes(self) -> None:
        """The moving averages; codes that learn by gradient are a weight of their own."""
        shape: tuple[int, ...] = (self.num_codes,)
        options = {"initializer": "zeros", "trainable": False, "aggregation": "mean"}
        self.counts = self.add_weight(name="counts", shape=shape, **options)
        if self.learned_by == "averages":
            self.sums = self.add_weight(name="sums", shape=(*shape, self.code_dim), **options)
        else:
            self.vectors = self.add_weight(
                name="vectors", shape=(*shape, self.code_dim), initializer="zeros", aggregation="mean"
            )

    @property
    def codebook(self) -> tf.Tensor:
        """c = m / N, [S, D], of length one if cosine; zeros before the first step of training."""
        if self.learned_by == "gradient":
            codes = tf.convert_to_tensor(self.vectors)
        else:
            counts, sums = tf.convert_to_tensor(self.counts), tf.convert_to_tensor(self.sums)
            codes = sums / tf.maximum(counts, TINY)[:, tf.newaxis]
        return self.prepare(codes)

    @property
    def codes(self) -> Codebook:
        """The table of codes."""
        return Listed(tf.stop_gradient(self.codebook))

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Of length one if cosine."""
        return unit(vectors) if self.cosine else vectors

    def through(self, vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """The codes with the gradient of one kind or the other."""
        return rotated(vectors, values) if self.gradient == "rotation" else super().through(vectors, values)

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """The nearest codes of vectors [B, N, D]; in training the codebook moves first."""
        fixed = tf.stop_gradient(vectors)
        if training and self.trainable:
            self._move(tf.reshape(fixed, [-1, self.code_dim]))
        codebook = self.codebook
        indices = nearest(fixed, tf.stop_gradient(codebook))
        values = lookup(codebook, indices)
        if self.learned_by == "gradient":
            self.add_loss(tf.reduce_sum(tf.reduce_mean(tf.square(fixed - values), axis=0)))
        values = tf.stop_gradient(values)
        return Coded(indices, values, tf.reduce_sum(tf.square(vectors - values), axis=-1))

    def _move(self, vectors: tf.Tensor) -> None:
        """The moving averages after a batch of vectors [M, D]; on several workers, after all of theirs."""
        counts = tf.convert_to_tensor(self.counts)
        used = tf.one_hot(nearest(vectors, self.codebook), self.num_codes)
        seen = tf.cast(tf.shape(vectors)[0], tf.float32)
        new = [tf.reduce_sum(used, axis=0), tf.tensordot(used, vectors, axes=[[0], [0]]), seen]
        # At the first step no code has been used.
        fresh = tf.reduce_all(counts == 0.0)
        # Which replica gives the new place of a dead code must not differ between them: the mean of all would be none.
        chosen = self._starts(vectors, fresh)
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            context = tf.distribute.get_replica_context()
            first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.float32)
            *new, chosen = context.all_reduce("SUM", [*new, chosen * first])
        share = new[2] / self.num_codes
        moved = self.decay * counts + (1.0 - self.decay) * new[0]
        dead = fresh | (moved <= self.revive_below * share)
        # Of a batch that is not finite nothing is learned.
        sound = tf.reduce_all(tf.math.is_finite(new[1])) & tf.reduce_all(tf.math.is_finite(chosen))
        self.counts.assign(tf.where(sound, tf.where(dead, share, moved), counts))
        dead = dead[:, tf.newaxis]
        if self.learned_by == "gradient":
            codes = tf.convert_to_tensor(self.vectors)
            self.vectors.assign(tf.where(sound & dead, chosen, codes))
            return
        sums = tf.convert_to_tensor(self.sums)
        averaged = self.decay * sums + (1.0 - self.decay) * new[1]
        self.sums.assign(tf.where(sound, tf.where(dead, share * chosen, averaged), sums))

    def _starts(self, vectors: tf.Tensor, fresh: tf.Tensor) -> tf.Tensor:
        """A place for each code, [S, D]: features in random order, each once before any twice; at the first step their
        means, where these are the start."""
        rows = tf.shape(vectors)[0]
        order = tf.argsort(tf.random.stateless_uniform([rows], seeds.fold_in(0, self.step, self.stream)))
        places = tf.gather(vectors, tf.gather(order, tf.math.floormod(tf.range(self.num_codes), tf.maximum(rows, 1))))
        if self.start == "features":
            return places
        return tf.cond(fresh, lambda: _lloyd(vectors, places), lambda: places)


def _lloyd(vectors: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
    """Means [S, D] of vectors [M, D] by Lloyd's algorithm, from where they are; what has no vector stays."""

    def step(i: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        used = tf.one_hot(nearest(vectors, means), int(means.shape[0]))
        counts = tf.reduce_sum(used, axis=0)[:, tf.newaxis]
        averages = tf.math.divide_no_nan(tf.matmul(used, vectors, transpose_a=True), counts)
        return i + 1, tf.where(counts > 0, averages, means)

    return tf.while_loop(lambda i, _: i < LLOYD_STEPS, step, (tf.constant(0), means))[1]


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """v / |v| of vectors [..., D]; zero stays zero, and its gradient as it is: features of an empty image are zero."""
    squared = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(tf.where(squared > TINY**2, squared, 1.0))


def rotated(vectors: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The values q as s R e of the vectors e, with s = |q| / |e| and R = I - 2 r r^T + 2 q-hat e-hat^T held fixed.

    r is the direction of e-hat + q-hat: R is the rotation of e onto q in their plane (Fifty et al. 2024, section 4).
    Where |q| > 10 |e| the gradient of q goes straight through.
    """
    e, q = tf.stop_gradient(vectors), tf.stop_gradient(values)
    e_hat, q_hat = unit(e), unit(q)
    r = unit(e_hat + q_hat)
    length, wanted = tf.norm(e, axis=-1, keepdims=True), tf.norm(q, axis=-1, keepdims=True)
    scale = wanted / tf.maximum(length, TINY)

    def along(direction: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(vectors * direction, axis=-1, keepdims=True)

    turned = scale * (vectors - 2.0 * along(r) * r + 2.0 * along(e_hat) * q_hat)
    turned = tf.where(wanted > LARGEST_RATIO * length, vectors, turned)
    # Of opposite vectors, and of none, the formula gives others than q.
    return turned + tf.stop_gradient(q - turned)
