"""Codes that stand still: the features are fitted to them, since no codebook can follow the features."""

from typing import Any

import tensorflow as tf

from keras_vae.arguments import check_flag
from keras_vae.distributions.codes.codebooks import Codebook, Levels
from keras_vae.posteriors.codes.attraction import Attraction
from keras_vae.posteriors.codes.quantizer import Quantizer
from keras_vae.posteriors.codes.whitening import Whitening


class StandingCodes(Quantizer):
    """A quantiser to a grid of levels, whose features are whitened and drawn to rare codes.

    Args:
        grid: (height, width).
        table: the codes.
        whiten: whether the features are made uncorrelated and of unit variance first; see `whitening.Whitening`.
        attract: whether rare codes draw features to themselves in training; see `attraction.Attraction`.
    """

    def __init__(self, grid: Any, table: Levels, whiten: bool, attract: bool, **kwargs: Any) -> None:
        super().__init__(grid, table.dim, table.num_codes, **kwargs)
        self._table = table
        self.whitening = Whitening() if check_flag("whiten", whiten) else None
        self.attraction = Attraction(table) if check_flag("attract", attract) else None

    @property
    def codes(self) -> Codebook:
        """The grid of levels."""
        return self._table

    @property
    def codebook(self) -> tf.Tensor:
        """All codes, [S, D]."""
        return self._table.lookup(tf.range(self.num_codes))

    def build_preparation(self) -> None:
        """The moving averages of the features."""
        if self.whitening is not None:
            self.whitening.build((None, self.code_dim))

    def build_codes(self) -> None:
        """The shares of the codes."""
        if self.revision == 1:
            self.attraction = None
        if self.attraction is not None:
            self.attraction.build()

    def prepare(self, vectors: tf.Tensor, training: bool = False) -> tf.Tensor:
        """White."""
        return vectors if self.whitening is None else self.whitening(vectors, training=training)
