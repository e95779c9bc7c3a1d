"""Priors over a grid of codes: what makes a model with a codebook generate."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import priors, seeds
from keras_vae.networks import check_count
from keras_vae.quantization import Quantized, blocks, check_grid, indices_of, lookup
from keras_vae.serialization import register

LAYERS_FACTOR = 4


class Codes(tfd.Distribution):
    """p(k_1) p(k_2|k_1) ... p(k_N|k_1 ... k_N-1) over indices of codes, as a distribution of z [L] that they stand for.

    Args:
        logits: function from indices [M, N] to logits [M, N, S], of which the i-th depend on the indices before the
            i-th.
        places: N.
        codebook: [S, D].
    """

    def __init__(self, logits: Any, places: int, codebook: tf.Tensor) -> None:
        self.logits, self.places, self.codebook = logits, places, codebook
        super().__init__(
            dtype=codebook.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"codebook": codebook},
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {}

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.places * int(self.codebook.shape[-1])])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list())

    def log_prob_of(self, indices: tf.Tensor) -> tf.Tensor:
        """log p(k), [...], for indices [..., N]."""
        flat = tf.reshape(indices, [-1, self.places])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(flat, self.logits(flat))
        return -tf.reshape(tf.reduce_sum(losses, axis=-1), tf.shape(indices)[:-1])

    def chain(self, n: Any, choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Indices, int32 [n, N], chosen one after another: place i by `choose`, given i and its logits [n, S]."""

        def place(i: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = choose(i, tf.gather(self.logits(indices), i, axis=1))
            return i + 1, tf.where(tf.range(self.places) == i, chosen[:, tf.newaxis], indices)

        start = (tf.constant(0), tf.zeros([n, self.places], tf.int32))
        return tf.while_loop(lambda i, _: i < self.places, place, start)[1]

    def _sample_n(self, n: int, seed: Any = None) -> tf.Tensor:
        def choose(i: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_categorical(logits, 1, seeds.fold_in(seed, i), dtype=tf.int32)[:, 0]

        drawn = lookup(self.codebook, self.chain(n, choose))
        return tf.reshape(drawn, tf.concat([[n], self._event_shape_tensor()], axis=0))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.log_prob_of(indices_of(z, self.codebook))


@tfd.RegisterKL(Quantized, Codes)
def _kl_codes(q: Quantized, p: Codes, name: str | None = None) -> tf.Tensor:
    return -p.log_prob_of(q.indices)


@register
class AutoregressiveCodes(priors.Prior):
    """p(codes) of a `quantization.VectorQuantized` posterior, by a small causal transformer, row by row of the grid.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(latent_dim, **kwargs)
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

    def logits(self, indices: tf.Tensor) -> tf.Tensor:
        """Logits of each code given those before it, [M, N, S], for indices [M, N]."""
        return self.logits_of(self.embedding(indices))

    def logits_of(self, embedded: tf.Tensor) -> tf.Tensor:
        """The same, for embedded codes [M, N, units]."""
        # Each place sees the codes before it, the first sees none.
        x = tf.pad(embedded[:, :-1], [[0, 0], [1, 0], [0, 0]]) + tf.convert_to_tensor(self.positions)
        for before, attention, between, wide, narrow in self.blocks_of_layers:
            seen = before(x)
            x += attention(seen, seen, use_causal_mask=True)
            x += narrow(wide(between(x)))
        return self.output_layer(self.norm(x))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [], event [L].

        Raises:
            ValueError: without the encoder whose codebook it is.
        """
        if encoder is None:
            raise ValueError("AutoregressiveCodes needs the encoder, whose codebook it is: distribution(encoder=...).")
        return Codes(self.logits, self.places, tf.stop_gradient(encoder.posterior.codebook))
