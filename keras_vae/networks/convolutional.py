"""Convolutional networks, plain and residual, of images and of series."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_vae.arguments import check_activation, check_count, check_sizes, require_places
from keras_vae.networks.network import CHANNELS_LAST, Network, Shape
from keras_vae.serialization import Serializable, register

# Series of so many steps with as many channels may be images without an axis of channels.
SUSPICIOUS = 8


@register
class Conv(Network):
    """Convolutions of stride 2: each halves the image in an encoder and doubles it in a decoder.

    Of images [height, width, channels] they are of two dimensions, of series [steps, channels] of one. Height, width
    and steps may be odd: the encoder rounds up, the decoder crops to the same sizes on its way back.

    Args:
        filters: number of filters of each layer, in the order in which data pass them.
        kernel_size: height and width of the kernels, or steps; a multiple of the stride avoids checkerboards.
        activation: any Keras activation by name.
        units: widths of dense layers between the convolutions and z: after them in an encoder, before in a decoder.
        from_map: whether a decoder takes z as a map of its smallest height and width, a grid of codes, with a 3x3
            convolution in place of the dense layer; of series likewise.
    """

    def __init__(
        self,
        filters: Sequence[int],
        kernel_size: int = 4,
        activation: str = "relu",
        units: Sequence[int] = (),
        from_map: bool = False,
    ) -> None:
        self.filters = check_sizes("filters", filters)
        self.kernel_size = check_count("kernel_size", kernel_size)
        self.units = check_sizes("units", units, allow_empty=True)
        self.activation = check_activation(activation)
        self.from_map = from_map
        if from_map and self.units:
            raise ValueError("units are dense layers, which from_map leaves out: give one of the two.")

    def encoder_body(self, event_shape: Shape, dtype: Any) -> keras.Layer:
        """One convolution of stride 2 for each number of filters."""
        require_places(event_shape)
        if len(event_shape) == 2 and event_shape[0] == event_shape[1] >= SUSPICIOUS:
            warnings.warn(
                f"Data of shape {tuple(event_shape)} are taken for series of {event_shape[0]} steps, with as many "
                "channels. Gray images have an axis of channels: x[..., None].",
                stacklevel=2,
            )
        rank, layers = len(event_shape) - 1, []
        for n in self.filters:
            layers.append(convolution(rank)(n, self.kernel_size, **self._options(dtype)))
            layers.extend(self._refinement(n, dtype, rank))
        if self.units:
            layers.append(keras.layers.Flatten(CHANNELS_LAST, dtype=dtype))
        return keras.Sequential([*layers, *self._dense(dtype)])

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """A dense layer to the smallest map, then one transposed convolution of stride 2 for each number of filters."""
        require_places(params_shape)
        sizes = halvings(params_shape[:-1], len(self.filters))
        rank = len(sizes[0])
        if self.from_map:
            layers = [
                keras.layers.Reshape((*sizes[-1], -1), dtype=dtype),
                convolution(rank)(self.filters[0], 3, **{**self._options(dtype), "strides": 1}),
                *self._refinement(self.filters[0], dtype, rank),
            ]
        else:
            layers = [
                *self._dense(dtype),
                keras.layers.Dense(math.prod(sizes[-1]) * self.filters[0], self.activation, dtype=dtype),
                keras.layers.Reshape((*sizes[-1], self.filters[0]), dtype=dtype),
            ]
        for n, size, target in zip(self.filters, sizes[:0:-1], sizes[-2::-1], strict=True):
            layers.append(transposed(rank)(n, self.kernel_size, **self._options(dtype)))
            layers.extend(crop(size, target, dtype))
            layers.extend(self._refinement(n, dtype, rank))
        return keras.Sequential(layers)

    def _dense(self, dtype: Any) -> list[keras.Layer]:
        return [keras.layers.Dense(n, self.activation, dtype=dtype) for n in self.units]

    def _refinement(self, filters: int, dtype: Any, rank: int) -> list[keras.Layer]:
        """Layers after each change of resolution."""
        return []

    def _options(self, dtype: Any) -> dict[str, Any]:
        return {
            "strides": 2,
            "padding": "same",
            "data_format": CHANNELS_LAST,
            "activation": self.activation,
            "dtype": dtype,
        }


@register
class Residual(Conv):
    """Convolutions of stride 2 as in `conv`, each followed by residual blocks at its resolution.

    Pre-activation blocks, x + conv(f(conv(f(x)))), of He et al. 2016, "Identity mappings in deep residual networks",
    without normalisation, as in Child 2021, "Very deep VAEs": with batch statistics, log p(x) of an image would depend
    on the other images of its batch. Any height, width and number of channels.

    Args:
        filters: number of filters at each resolution, in the order in which data pass them.
        blocks: number of residual blocks at each resolution.
        kernel_size: height and width, or steps, of the kernels that change the resolution.
        activation: any Keras activation by name.
        from_map: as in `conv`.
    """

    def __init__(
        self,
        filters: Sequence[int],
        blocks: int = 1,
        kernel_size: int = 4,
        activation: str = "silu",
        from_map: bool = False,
    ) -> None:
        super().__init__(filters, kernel_size, activation, from_map=from_map)
        self.blocks = check_count("blocks", blocks)

    def _refinement(self, filters: int, dtype: Any, rank: int) -> list[keras.Layer]:
        return [ResidualBlock(filters, self.activation, rank, dtype=dtype) for _ in range(self.blocks)]

    def _options(self, dtype: Any) -> dict[str, Any]:
        # The blocks begin with the activation: between a change of resolution and the sum of the block there is none.
        return {**super()._options(dtype), "activation": "linear"}


@register
class ResidualBlock(Serializable, keras.layers.Layer):
    """x + conv(f(conv(f(x)))), with 3x3 convolutions and the second one starting at zero, so that a block starts as x.

    Args:
        filters: number of channels of input and output.
        activation: f, any Keras activation by name.
        rank: 2 for images, 1 for series, whose convolutions are of 3 steps.
    """

    begins_stage = True

    def __init__(self, filters: int, activation: str = "silu", rank: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        options = {"padding": "same", "data_format": CHANNELS_LAST, "dtype": self.dtype_policy}
        self.activation = keras.activations.get(activation)
        self.first = convolution(rank)(filters, 3, name="first", **options)
        self.second = convolution(rank)(filters, 3, kernel_initializer="zeros", name="second", **options)

    def build(self, input_shape: Shape) -> None:
        """Make both convolutions."""
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, x: Any) -> Any:
        """[B, H, W, filters], or [B, T, filters], to the same shape."""
        return x + self.second(self.activation(self.first(self.activation(x))))

    def branches(self) -> tuple[str, list[list[Any]]]:
        """What it is made of: how branches are joined, and the layers and activations of each, in their order."""
        return "add", [[], [self.activation, self.first, self.activation, self.second]]


# What users call: sizes in, a recipe out.
conv, residual = Conv, Residual


def convolution(rank: int) -> type[keras.Layer]:
    """Keras's convolution over so many axes: 1 for series, 2 for images."""
    return {1: keras.layers.Conv1D, 2: keras.layers.Conv2D}[rank]


def transposed(rank: int) -> type[keras.Layer]:
    """Keras's transposed convolution over so many axes."""
    return {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose}[rank]


def halvings(size: Sequence[int], times: int) -> list[tuple[int, ...]]:
    """Sizes before and after each of `times` convolutions of stride 2, rounded up: [(28, 28), (14, 14)]."""
    sizes = [tuple(size)]
    for _ in range(times):
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes


def crop(size: tuple[int, ...], target: tuple[int, ...], dtype: Any) -> list[keras.Layer]:
    """The layers, none or one, that crop a map of twice `size` to `target`."""
    surplus = [(0, 2 * have - want) for have, want in zip(size, target, strict=True)]
    if not any(s for _, s in surplus):
        return []
    if len(surplus) == 1:
        return [keras.layers.Cropping1D(surplus[0], dtype=dtype)]
    return [keras.layers.Cropping2D(surplus, CHANNELS_LAST, dtype=dtype)]
