"""Lookup-free quantisation: a code is the signs of its numbers.

    posterior = posteriors.LookupFree(num_bits=10, grid=(8, 8))          # 1,024 codes
    prior = priors.UniformCodes.of(posterior)

After Yu et al. 2023, "Language model beats diffusion: tokenizer is key to visual generation".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_count, check_flag, check_number
from keras_vae.distributions.codes.codebooks import Levels
from keras_vae.posteriors.codes.quantizer import Coded
from keras_vae.posteriors.codes.standing import StandingCodes
from keras_vae.posteriors.codes.vector_quantized import unit
from keras_vae.serialization import register

# Entropies of so many bits are taken over all their codes; of more, over pieces of so many.
ENUMERATED = 10
# And over so many vectors times codes at most: a step takes no longer, and a large data set, encoded at once, fits.
MOST_ENTRIES = 2**19


@register
class LookupFree(StandingCodes):
    """q(z|x): the code of each vector is its signs, as -c and c; there are S = 2^num_bits codes, none of them learned.

    On the sphere (`spherical`, Zhao et al. 2024, "Image and video tokenization with binary spherical quantization")
    vectors have length one and c = 1 / sqrt(num_bits); else they are as they come, and c = 1 (Yu et al. 2023).

    Two entropies join the loss, in nats, summed over the grid:

        entropy_weight (E_x H(p(k|e)) - diversity_weight H(E_x p(k|e))),  p(k|e) ~ exp(-|e - c_k|^2 / temperature),

    of which the first makes the codes sure and the second uses all of them. p(k|e) is a product over the bits, and the
    second is exact for up to 10 bits; more are cut in pieces of 10 at most, of which the sum is an upper bound.

    Args:
        num_bits: numbers of a code.
        grid: (height, width).
        spherical: whether vectors have length one. A single bit is on no sphere: there are two points on that of one
            dimension, and no gradient between them.
        entropy_weight: of both terms.
        diversity_weight: of the second beside the first.
        temperature: of p(k|e).
        whiten: whether the features are made uncorrelated and of unit variance first; see `whitening.Whitening`.
        attract: whether rare codes draw features to themselves in training; see `attraction.Attraction`.

    Raises:
        ValueError: for no bits or more than 30, and numbers out of range.
    """

    stage_scale = 0.5
    remedy = "whiten=True and attract=True; a larger diversity_weight; more steps; fewer bits."

    def __init__(
        self,
        num_bits: int,
        grid: Sequence[int],
        spherical: bool = True,
        entropy_weight: float = 1.0,
        diversity_weight: float = 2.0,
        temperature: float = 0.1,
        whiten: bool = True,
        attract: bool = True,
        **kwargs: Any,
    ) -> None:
        bits = check_count("num_bits", num_bits, at_most=30)
        on_sphere = check_flag("spherical", spherical) and bits > 1
        size = bits**-0.5 if on_sphere else 1.0
        super().__init__(grid, Levels([2] * bits, [-size] * bits, [2.0 * size] * bits), whiten, attract, **kwargs)
        self.spherical, self._size = on_sphere, size
        self.entropy_weight = check_number("entropy_weight", entropy_weight, at_least=0)
        self.diversity_weight = check_number("diversity_weight", diversity_weight, at_least=0)
        self.temperature = check_number("temperature", temperature, above=0)
        self._pieces = np.array_split(np.arange(bits), -(-bits // ENUMERATED))

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """White, and of length one on the sphere."""
        vectors = super().prepare(vectors, training)
        return unit(vectors) if self.spherical else vectors

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """The signs of vectors [B, N, D]."""
        indices = self._table.nearest(vectors)
        values = self._table.lookup(indices)
        if self.entropy_weight:
            sure, used = self.entropies(vectors)
            places = float(vectors.shape[1])
            self.add_loss(self.entropy_weight * places * (sure - self.diversity_weight * used))
        pull = self.draw(vectors, indices, training)
        return Coded(indices, values, tf.reduce_sum(tf.square(vectors - values), axis=-1), pull)

    def entropies(self, vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """E H(p(k|e)) and H(E p(k|e)) over vectors [..., D], of many the first, in nats of one code."""
        # |e + c|^2 - |e - c|^2 = 4 e c, bit by bit.
        most = MOST_ENTRIES >> max(len(piece) for piece in self._pieces)
        logits = 4.0 * self._size / self.temperature * tf.reshape(vectors, [-1, self.code_dim])[:most]
        log_p = tf.stack([tf.math.log_sigmoid(-logits), tf.math.log_sigmoid(logits)], axis=-1)  # [M, D, 2]
        p = tf.exp(log_p)
        sure = -tf.reduce_mean(tf.reduce_sum(p * log_p, axis=[-2, -1]))
        used = tf.add_n(
            [_entropy(tf.reduce_mean(_products(p[:, piece[0] : piece[-1] + 1]), axis=0)) for piece in self._pieces]
        )
        return sure, used


def _products(p: tf.Tensor) -> tf.Tensor:
    """Probabilities of all combinations, [M, 2^D], of independent bits [M, D, 2]."""
    found = p[:, 0]
    for bit in range(1, int(p.shape[1])):
        found = tf.reshape(found[:, :, tf.newaxis] * p[:, bit, tf.newaxis], [-1, 2 ** (bit + 1)])
    return found


def _entropy(p: tf.Tensor) -> tf.Tensor:
    # Where p is zero, the gradient of p log p would be none.
    return -tf.reduce_sum(p * tf.math.log(tf.maximum(p, 1e-12)))
