"""Normalizing flows: TFP bijectors without weights, whose shifts and scales come from masked Keras layers.

Autoregressive and coupling layers are one thing here: dimensions have an *order*, and each is shifted and scaled by
functions of those before it in that order. With L distinct ranks that is an autoregressive layer, with two ranks a
coupling layer.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from keras_vae.distributions.scales import bounded, shares

KINDS = ("iaf", "coupling")
# One layer scales a dimension by a factor between e^-3 and e^3.
LOG_SCALE_LIMIT = 3.0


class Conditioner(keras.layers.Layer):
    """A masked dense network: x [..., L] -> shift and log-scale, [..., L] each; the i-th depend on the x_j before x_i.

    After Germain et al. 2015, "MADE: masked autoencoder for distribution estimation". The last layer starts at zero,
    so that shift and log-scale do.

    Order and masks are made when they are first used: the weights, which say how large they are, come first.

    Attributes:
        event_ndims: number of axes of one x: the last is that of the L dimensions.

    Args:
        latent_dim: L.
        ranks: the rank of each dimension, [L], for the indices [0 ... L - 1]; ranks may repeat.
        units: widths of the hidden layers.
        context_size: number C of context features that everything may depend on; 0 for none.
    """

    event_ndims = 1

    def __init__(
        self,
        latent_dim: int,
        ranks: Callable[[np.ndarray], np.ndarray],
        units: Sequence[int],
        context_size: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim, self.ranks, self.units = latent_dim, ranks, tuple(units)
        self.kernels: list[keras.Variable] = []
        self.biases: list[keras.Variable] = []
        for index, size in enumerate(units):
            self._add_layer(f"hidden_{index}", (units[index - 1] if index else latent_dim, size), "glorot_uniform")
        self._add_layer("output", (units[-1], 2 * latent_dim), "zeros")
        if context_size:
            shape = (context_size, units[0])
            self.context_kernel = self.add_weight(name="context_hidden_kernel", shape=shape)
            shape = (context_size, 2 * latent_dim)
            self.context_output = self.add_weight(name="context_output_kernel", shape=shape, initializer="zeros")

    def _add_layer(self, name: str, shape: tuple[int, ...], initializer: str) -> None:
        self.kernels.append(self.add_weight(name=f"{name}_kernel", shape=shape, initializer=initializer))
        self.biases.append(self.add_weight(name=f"{name}_bias", shape=shape[-1:], initializer="zeros"))

    @functools.cached_property
    def order(self) -> np.ndarray:
        """The rank of each of the L dimensions."""
        return self.ranks(np.arange(self.latent_dim))

    @functools.cached_property
    def masks(self) -> tuple[np.ndarray, ...]:
        """One for each kernel: 1 where an output may depend on an input, else 0."""
        return self._masks()

    @property
    def num_ranks(self) -> int:
        """Of the hidden units; those that saw everything would be of no use."""
        return max(1, int(self.order.max()))

    def _masks(self) -> tuple[np.ndarray, ...]:
        masks, last = [], self.num_ranks
        seen = self.order  # the highest rank that each unit of the layer below depends on
        for size in self.units:
            ranks = np.arange(size) * last // size
            masks.append(seen[:, None] <= ranks)
            seen = ranks
        masks.append(np.tile(seen[:, None] < self.order, 2))
        return tuple(mask.astype("float32") for mask in masks)

    def order_within(self, shape: Sequence[int]) -> np.ndarray:
        """The rank of each number of one x of this shape, which broadcasts with it."""
        return self.order

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """One layer without its bias."""
        return tf.tensordot(x, kernel, axes=1)

    def call(self, x: tf.Tensor, context: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Shift and log-scale for x [..., L], given a context [..., C] that broadcasts with it."""
        for index, (mask, kernel, bias) in enumerate(zip(self.masks, self.kernels, self.biases, strict=True)):
            is_output = index == len(self.kernels) - 1
            x = self.product(x, kernel * mask) + bias
            if context is not None and index == 0:
                x += tf.tensordot(context, tf.convert_to_tensor(self.context_kernel), axes=1)
            if context is not None and is_output:
                x += tf.tensordot(context, tf.convert_to_tensor(self.context_output), axes=1)
            x = x if is_output else tf.nn.elu(x)
        shift, log_scale = shares(x, 2)
        return shift, bounded(log_scale, LOG_SCALE_LIMIT)


class MapConditioner(Conditioner):
    """The same of a map x [N, H, W, L], by masked convolutions: the autoregressive network of Kingma et al. 2016.

    A number depends on those of earlier places within the kernels, row by row and each from left to right, and on those
    of its own place before it: the masks of van den Oord et al. 2016, "Pixel recurrent neural networks".

    Args:
        kernel_size: height and width of the kernels, odd.
        latent_dim, ranks, units, context_size: as in `Conditioner`; the ranks of one place are all different.
        backwards: whether it begins at the last place.
    """

    event_ndims = 3

    def __init__(
        self,
        kernel_size: int,
        latent_dim: int,
        ranks: Callable[[np.ndarray], np.ndarray],
        units: Sequence[int],
        context_size: int = 0,
        backwards: bool = False,
        **kwargs: Any,
    ) -> None:
        self.kernel_size, self.backwards = kernel_size, backwards
        super().__init__(latent_dim, ranks, units, context_size, **kwargs)

    def _add_layer(self, name: str, shape: tuple[int, ...], initializer: str) -> None:
        super()._add_layer(name, (self.kernel_size, self.kernel_size, *shape), initializer)

    @property
    def num_ranks(self) -> int:
        """Of the hidden units; those that see all of their own place are for the places that follow."""
        return self.latent_dim

    def _masks(self) -> tuple[np.ndarray, ...]:
        size = self.kernel_size
        places, middle = np.arange(size**2).reshape(size, size, 1, 1), size**2 // 2
        earlier = places > middle if self.backwards else places < middle
        return tuple((earlier | ((places == middle) & (mask > 0))).astype("float32") for mask in super()._masks())

    def order_within(self, shape: Sequence[int]) -> np.ndarray:
        """The rank of each number of a map [H, W, L]."""
        places = np.arange(shape[0] * shape[1]).reshape(*shape[:2], 1)
        return (places[::-1, ::-1] if self.backwards else places) * self.latent_dim + self.order

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """One convolution."""
        return tf.nn.conv2d(x, kernel, 1, "SAME")


class MaskedAffine(tfb.Bijector):
    """y_i = x_i exp(s_i) + t_i, where s_i and t_i depend on the x_j that come before x_i in the conditioner's order.

    Forward, and its log-determinant sum_i s_i, take one pass through the conditioner together. The inverse takes one
    for each rank but the first, whose shifts and scales depend on no x: one for a coupling layer (Dinh et al. 2017,
    "Density estimation using Real NVP"), L - 1 for an autoregressive one (Kingma et al. 2016, "Improving variational
    inference with inverse autoregressive flow"). Its log-determinant then takes none.

    Args:
        conditioner: gives shift and log-scale.
        context: [..., C], or None.
    """

    def __init__(self, conditioner: Conditioner, context: tf.Tensor | None = None) -> None:
        # No `parameters`: TFP then takes no two of them for equal, as for two networks it must not.
        super().__init__(forward_min_event_ndims=conditioner.event_ndims, name="masked_affine")
        self.conditioner, self.context = conditioner, context
        # Of the last pass. A bijector is made anew for each distribution: the weights do not change in its lifetime.
        self._x: tf.Tensor | None = None
        self._log_scale: tf.Tensor | None = None

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType) -> dict:
        return {}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        shift, log_scale = self.conditioner(x, self.context)
        self._remember(x, log_scale)
        return x * tf.exp(log_scale) + shift

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        ndims = self.conditioner.event_ndims
        order = self.conditioner.order_within(y.shape[-ndims:])
        # A convolution wants an axis for the batch; nothing depends on the batch before its turn.
        x = tf.zeros(order.shape, y.dtype) if ndims == 1 else tf.zeros_like(y)
        for rank in range(order.max() + 1):
            shift, log_scale = self.conditioner(x, self.context)
            # Dimensions whose turn has not come stay at y: what they would get is wrong, and might overflow.
            x = tf.where(order <= rank, (y - shift) * tf.exp(-log_scale), y)
        # The last pass did not see the dimensions of the last rank, on which no scale depends.
        self._remember(x, log_scale)
        return x

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        # TFP asks for it after the forward or inverse pass, with the very tensor that went in or came out.
        log_scale = self._log_scale if x is self._x else self.conditioner(x, self.context)[1]
        ndims = self.conditioner.event_ndims
        return tf.reduce_sum(tf.broadcast_to(log_scale, tf.shape(x)), axis=list(range(-ndims, 0)))

    def _remember(self, x: tf.Tensor, log_scale: tf.Tensor) -> None:
        self._x, self._log_scale = x, log_scale


def conditioners(
    kind: str, latent_dim: int, num_layers: int, units: Sequence[int], context_size: int = 0
) -> list[Conditioner]:
    """The conditioners of `num_layers` flow layers.

    Autoregressive layers run through the dimensions forwards and backwards in turn. Coupling layers change the second
    half given the first, the first given the second, then the odd dimensions given the even, and the reverse.
    """
    cycle: list[Callable[[np.ndarray], np.ndarray]]
    if kind == "iaf":
        cycle = [lambda index: index, lambda index: index[::-1]]
    else:
        cycle = [
            lambda index: (index >= latent_dim // 2).astype(int),
            lambda index: (index < latent_dim // 2).astype(int),
            lambda index: index % 2,
            lambda index: 1 - index % 2,
        ]
    return [Conditioner(latent_dim, cycle[i % len(cycle)], units, context_size) for i in range(num_layers)]


def map_conditioners(
    kernel_size: int, latent_dim: int, num_layers: int, units: Sequence[int], context_size: int = 0
) -> list[MapConditioner]:
    """The conditioners of `num_layers` autoregressive layers of maps, which run forwards and backwards in turn."""
    return [
        MapConditioner(
            kernel_size,
            latent_dim,
            (lambda index: index[::-1]) if layer % 2 else (lambda index: index),
            units,
            context_size,
            backwards=layer % 2 == 1,
        )
        for layer in range(num_layers)
    ]


def chain(layers: Sequence[Conditioner], context: tf.Tensor | None = None) -> tfb.Bijector:
    """The layers one after the other, the first of the list first."""
    return tfb.Chain([MaskedAffine(layer, context) for layer in reversed(layers)])
