"""Priors over a grid of codes: what makes a model with a codebook generate."""

import math
from collections.abc import Sequence
from typing import Any, Self

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count, check_grid, require_kind
from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import check_condition, require
from keras_vae.distributions.codes.chains import Codes, EqualCodes
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.codes.quantizer import Quantizer, blocks
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register

LAYERS_FACTOR = 4


class GridOfCodes(Prior):
    """A distribution over the indices of a posterior of codes, whose codebook is the encoder's.

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        depth: indices of one vector, for `posteriors.Residual` and `posteriors.Grouped`; None for one without an axis.
    """

    support, tails = REAL, NONE
    uses_codebook = True

    def __init__(
        self, latent_dim: int, grid: Sequence[int], num_codes: int = 256, depth: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(latent_dim, **kwargs)
        self.grid, self.code_dim = check_grid(grid, self.latent_dim)
        self.num_codes = check_count("num_codes", num_codes)
        self.tail = () if depth is None else (check_count("depth", depth),)
        self.depth = depth or 1

    @classmethod
    def of(cls, posterior: Quantizer, **options: Any) -> Self:
        """The prior of a posterior of codes, with its sizes.

        Args:
            posterior: a posterior of codes.
            **options: the other arguments of the prior.

        Raises:
            TypeError: for a posterior that has no grid of codes.
        """
        require_kind("posterior", posterior, Quantizer, "a posterior of codes such as posteriors.FiniteScalar")
        return cls(**posterior.sizes, **options)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A grid of codes."""
        return blocks(self.grid, self.num_codes, self.latent_dim, self.tail)

    @property
    def places(self) -> int:
        """N = height * width."""
        return math.prod(self.grid)

    def codes(self, encoder: Any) -> Any:
        """The codebook of an encoder.

        Raises:
            ValueError: without an encoder.
        """
        if encoder is None:
            name = type(self).__name__
            raise ValueError(f"{name} needs the encoder, whose codebook it is: distribution(encoder=...).")
        posterior = encoder.posterior
        # A posterior of a user's own may have no more than a table.
        return posterior.codes if hasattr(posterior, "codes") else tf.stop_gradient(posterior.codebook)


@register
class UniformCodes(GridOfCodes):
    """p(codes) = S^-(height width depth): all of them alike, and nothing to learn.

    KL(q || p) = height * width * depth * log S for every x. It is what finite scalar and lookup-free codes are made to
    be used by; samples look like data only as far as the codes are independent.

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        depth: indices of one vector, for `posteriors.Residual` and `posteriors.Grouped`; None for one without an axis.

    Raises:
        ValueError: for sizes that do not fit together.
    """

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [], event [L].

        Raises:
            ValueError: without the encoder whose codebook it is.
        """
        return EqualCodes(self.places, self.codes(encoder))


@register
class AutoregressiveCodes(GridOfCodes):
    """p(codes) of a posterior of codes, by a small causal transformer, row by row of the grid.

    It is learned with the rest of the model, by the KL of the ELBO, whose gradient reaches nothing else. Drawing takes
    as many passes as the grid has codes. Vaswani et al. 2017, "Attention is all you need", with the normalisation
    before each part. Where several indices make a vector, the transformer is over the places, each the sum of its
    codes' embeddings, and a layer more is over depth: it sees the place and the sum of the codes before (after Lee et
    al. 2022, whose second transformer it stands for).

    Args:
        latent_dim: L = height * width * D.
        grid: (height, width).
        num_codes: S.
        units: width of the transformer.
        num_layers: number of its layers.
        num_heads: of its attention; divides `units`.
        condition: a part of `keras_vae.conditions`, for p(codes|c): each place sees it too. None for none.
        depth: indices of one vector, for `posteriors.Residual` and `posteriors.Grouped`; None for one without an axis.

    Raises:
        ValueError: for sizes that do not fit together.
    """

    def __init__(
        self,
        latent_dim: int,
        grid: Sequence[int],
        num_codes: int = 256,
        units: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        condition: Condition | None = None,
        depth: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, grid, num_codes, depth, **kwargs)
        check_condition(condition)
        self.condition = condition
        self.units, self.num_heads = check_count("units", units), check_count("num_heads", num_heads)
        if units % num_heads:
            raise ValueError(f"num_heads {num_heads} must divide units {units}.")
        self.embedding = keras.layers.Embedding(self.depth * self.num_codes, units, dtype="float32")
        self.blocks_of_layers = [self._block() for _ in range(check_count("num_layers", num_layers))]
        self.norm = keras.layers.LayerNormalization(dtype="float32")
        self.output_layer = self._output()
        self.outputs_of_others = [self._output() for _ in range(self.depth - 1)]
        if self.tail:
            block = self._block()
            self.layers_of_depth = [block[2], block[3], block[4]]

    def _output(self) -> keras.layers.Layer:
        return keras.layers.Dense(self.num_codes, kernel_initializer="zeros", dtype="float32")

    def _block(self) -> list[keras.layers.Layer]:
        return [
            keras.layers.LayerNormalization(dtype="float32"),
            keras.layers.MultiHeadAttention(self.num_heads, self.units // self.num_heads, dtype="float32"),
            keras.layers.LayerNormalization(dtype="float32"),
            keras.layers.Dense(LAYERS_FACTOR * self.units, "gelu", dtype="float32"),
            keras.layers.Dense(self.units, dtype="float32"),
        ]

    @property
    def draw_size(self) -> int:
        """At every place the logits of the codes, or the widest layer."""
        wide = self.depth * max(self.num_codes, LAYERS_FACTOR * self.units)
        return self.places * max(wide, self.num_heads * self.places)

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
        for layer in self.outputs_of_others:
            layer.build(shape)
        if self.tail:
            size = (self.depth, self.units)
            self.depths = self.add_weight(name="depths", shape=size, initializer="random_normal")
            before, wide, narrow = self.layers_of_depth
            before.build((None, self.places, *size))
            wide.build((None, self.places, *size))
            narrow.build((None, self.places, self.depth, LAYERS_FACTOR * self.units))
        if self.condition is not None:
            # It starts as the prior of all conditions.
            self.given = keras.layers.Dense(self.units, kernel_initializer="zeros", dtype="float32")
            self.given.build((None, math.prod(self.condition.features_shape)))

    def logits(self, indices: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        """Logits of each code given those before it, [M, N, S], for indices [M, N], and what they are given [M, C]; of
        several indices for a vector, N is the number of all."""
        if not self.tail:
            return self.logits_of(self.embedding(indices), context)
        numbered = tf.reshape(indices, [-1, self.places, self.depth]) + self.num_codes * tf.range(self.depth)
        embedded = self.embedding(numbered)
        x = self._over_places(tf.reduce_sum(embedded, axis=2), context)
        # Each code sees those before it at its place, the first sees none.
        before = tf.pad(tf.cumsum(embedded, axis=2)[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
        x = x[:, :, tf.newaxis] + before + tf.convert_to_tensor(self.depths)
        between, wide, narrow = self.layers_of_depth
        x = self.norm(x + narrow(wide(between(x))))
        outputs = [self.output_layer, *self.outputs_of_others]
        logits = tf.stack([output(x[:, :, depth]) for depth, output in enumerate(outputs)], axis=2)
        return tf.reshape(logits, [-1, self.places * self.depth, self.num_codes])

    def logits_of(self, embedded: tf.Tensor, context: tf.Tensor | None = None) -> tf.Tensor:
        """The same, for embedded codes [M, N, units], one to a place."""
        return self.output_layer(self.norm(self._over_places(embedded, context)))

    def _over_places(self, embedded: tf.Tensor, context: tf.Tensor | None) -> tf.Tensor:
        # Each place sees the codes before it, the first sees none.
        x = tf.pad(embedded[:, :-1], [[0, 0], [1, 0], [0, 0]]) + tf.convert_to_tensor(self.positions)
        if context is not None:
            x += self.given(context)[:, tf.newaxis]
        for before, attention, between, wide, narrow in self.blocks_of_layers:
            seen = before(x)
            x += attention(seen, seen, use_causal_mask=True)
            x += narrow(wide(between(x)))
        return x

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [], event [L]; p(z|c), batch [B], of a prior with a condition.

        Raises:
            ValueError: without the encoder whose codebook it is, or without the condition.
        """
        codes, context = self.codes(encoder), None
        if self.condition is not None:
            require(self, condition)
            features = self.condition.features(condition)
            context = tf.reshape(features, [-1, math.prod(self.condition.features_shape)])
        return Codes(self.logits, self.places, codes, context)
