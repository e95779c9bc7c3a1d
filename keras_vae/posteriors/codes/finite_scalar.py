"""Finite scalar quantisation: every number of a code is rounded to one of a few levels, and no codebook is learned.

    posterior = posteriors.FiniteScalar([8, 5, 5, 5], grid=(8, 8))       # 1,000 codes
    prior = priors.UniformCodes.of(posterior)

After Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made simple".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_levels
from keras_vae.distributions.codes.codebooks import Levels
from keras_vae.posteriors.codes.quantizer import Coded
from keras_vae.posteriors.codes.standing import StandingCodes
from keras_vae.serialization import register

# sigmoid(SLOPE z) is within 0.01 of the normal distribution function.
SLOPE = 1.702


@register
class FiniteScalar(StandingCodes):
    """q(z|x): number i of each vector is bounded, and rounded to one of L_i levels, -1, -1 + 1/h, ..., h = L_i // 2.

    The codebook is all S = L_1 L_2 ... L_D combinations, whose values are those of Mentzer et al. 2023: from -1 to 1,
    for an even L_i, which has no middle, to 1 - 1/h. Each level takes an equal part of sigmoid(1.7 e), so that normal
    features use all alike (the tanh of the paper leaves the outer levels half as much), and the features are whitened
    by moving averages, so that they are spread over all levels from the first step. Codes that are rare all the same
    each draw a vector of a batch to themselves. There is no commitment and no loss: `objectives.ELBO` will do.

    Args:
        levels: L_i, of D numbers; at least 2 each.
        grid: (height, width).
        whiten: whether the features are made uncorrelated and of unit variance first; see `whitening.Whitening`.
        attract: whether rare codes draw features to themselves in training; see `attraction.Attraction`.

    Raises:
        ValueError: for fewer levels, or more codes than an int32 can count.
    """

    remedy = (
        "whiten=True and attract=True, which bring the features to all levels; more steps; fewer levels, or fewer "
        "numbers with more levels."
    )

    def __init__(
        self, levels: Sequence[int], grid: Sequence[int], whiten: bool = True, attract: bool = True, **kwargs: Any
    ) -> None:
        checked = check_levels(levels)
        half = np.array(checked) // 2
        table = Levels(checked, [-1.0] * len(checked), list(1.0 / half))
        super().__init__(grid, table, whiten, attract, **kwargs)
        self.levels = checked
        # What is left over fills one step, which the levels of the next stage divide; an even number has no middle one.
        self.stage_scale = (1.0 / np.array(checked)).astype("float32")
        self.stage_offset = np.where(np.array(checked) % 2, 0.0, 0.5 / half).astype("float32")

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """From half a step below the lowest level to half a step above the highest."""
        vectors, table = super().prepare(vectors, training), self._table
        return table.low + table.step * (table.levels * tf.sigmoid(SLOPE * vectors) - 0.5)

    def code(self, vectors: tf.Tensor, training: bool) -> Coded:
        """The nearest levels of vectors [B, N, D]."""
        indices = self._table.nearest(vectors)
        pull = self.draw(vectors, indices, training)
        return Coded(indices, self._table.lookup(indices), tf.zeros_like(vectors[..., 0]), pull)
