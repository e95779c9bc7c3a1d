"""Priors over a grid of codes: what makes a model with a codebook generate."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count, check_grid
from keras_vae.conditions import Condition, check_condition, require
from keras_vae.distributions.codes import Codes
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.vector_quantized import blocks
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register

LAYERS_FACTOR = 4


@register
class AutoregressiveCodes(Prior):
    """p(codes) of a `posteriors.VectorQuantized` posterior, by a small causal transformer, row by row of the grid.

    It is learned with the rest of the model, by the KL of the ELBO, whose gradient reaches nothing else. Drawing takes
    as many passes as the grid has places. The codebook is the encoder's. Vaswani et al. 2017, "Attention is all you
    need", with the normalisation before each part.

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        units: width of the transformer.
        num_layers: number of its layers.
        num_heads: of its attention; divides `units`.
        condition: a part of `keras_vae.conditions`, for p(codes|c): each place sees it too. None for none.

    Raises:
        ValueError: for sizes that do not fit together.
    """

    support, tails = REAL, NONE
    uses_codebook = True

    def __init__(
        self,
        latent_dim: int,
        grid: Sequence[int],
        num_codes: int = 256,
        units: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        condition: Condition | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, **kwargs)
        check_condition(condition)
        self.condition = condition
        self.grid, self.code_dim = check_grid(grid, latent_dim)
        self.num_codes = check_count("num_codes", num_codes)
        self.units, self.num_heads = check_count("units", units), check_count("num_heads", num_heads)
        if units % num_heads:
            raise ValueError(f"num_heads {num_heads} must divide units {units}.")
        self.embedding = keras.layers.Embedding(self.num_codes, units, dtype="float32")
        self.blocks_of_layers = [self._block() for _ in range(check_count("num_layers", num_layers))]
        self.norm = keras.layers.LayerNormalization(dtype="float32")
        self.output_layer = keras.layers.Dense(self.num_codes, kernel_initializer="zeros", dtype="float32")

    def _block(self) -> list[keras.layers.Layer]:
        return [
            keras.layers.LayerNormalization(dtype="float32"),
            keras.layers.MultiHeadAttention(self.num_heads, self.units // self.num_heads, dtype="float32"),
            keras.layers.LayerNormalization(dtype="float32"),
            keras.layers.Dense(LAYERS_FACTOR * self.units, "gelu", dtype="float32"),
            keras.layers.Dense(self.units, dtype="float32"),
        ]

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A grid of codes."""
        return blocks(self.grid, self.num_codes, self.latent_dim)

    @property
    def places(self) -> int:
        """N = height * width."""
        return math.prod(self.grid)

    @property
    def draw_size(self) -> int:
        """At every place the logits of the codes, or the widest layer."""
        return self.places * max(self.num_codes, LAYERS_FACTOR * self.units, self.num_heads * self.places)

    def build(self, input_shape: tuple) -> None:
        """Make the weights."""
        if self.built:
            return
        shape = (None, self.places, self.units)
        self.positions = self.add_weight(name="positions", shape=shape[1:], initializer="random_normal")
        self.embedding.build(shape[:2])
        for layers in self.blocks_of_layers:
            attention, wide, narrow = layers[1], layers[3], layers[4]
            attention.build(shape, shape)
            wide.build(shape)
            narrow.build((*shape[:2], LAYERS_FACTOR * self.units))
            layers[0].build(shape)
            layers[2].build(shape)
        self.norm.build(shape)
        self.output_layer.build(shape)
        if self.condition is not None:
            # It starts as the prior of all conditions.
            self.given = keras.layers.Dense(self.units, kernel_initializer="zeros", dtype="float32")
            self.given.build((None, math.prod(self.condition.features_shape)))

    def logits(self, indices: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        """Logits of each code given those before it, [M, N, S], for indices [M, N], and what they are given [M, C]."""
        return self.logits_of(self.embedding(indices), context)

    def logits_of(self, embedded: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        """The same, for embedded codes [M, N, units]."""
        # Each place sees the codes before it, the first sees none.
        x = tf.pad(embedded[:, :-1], [[0, 0], [1, 0], [0, 0]]) + tf.convert_to_tensor(self.positions)
        if context is not None:
            x += self.given(context)[:, tf.newaxis]
        for before, attention, between, wide, narrow in self.blocks_of_layers:
            seen = before(x)
            x += attention(seen, seen, use_causal_mask=True)
            x += narrow(wide(between(x)))
        return self.output_layer(self.norm(x))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [], event [L]; p(z|c), batch [B], of a prior with a condition.

        Raises:
            ValueError: without the encoder whose codebook it is, or without the condition.
        """
        if encoder is None:
            raise ValueError("AutoregressiveCodes needs the encoder, whose codebook it is: distribution(encoder=...).")
        context = None
        if self.condition is not None:
            require(self, condition)
            features = self.condition.features(condition)
            context = tf.reshape(features, [-1, math.prod(self.condition.features_shape)])
        return Codes(self.logits, self.places, tf.stop_gradient(encoder.posterior.codebook), context)
