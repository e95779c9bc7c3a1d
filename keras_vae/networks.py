"""Bodies of encoders and decoders: recipes that become Keras layers once the shape of the data is known.

Sizes stand in the order in which data pass them, in encoder and decoder alike:

    kv.Encoder(networks.conv([32, 64]), ...)      # 28x28 -> 14x14x32 -> 7x7x64
    kv.Decoder(networks.conv([64, 32]), ...)      # 7x7x64 -> 14x14x64 -> 28x28x32

`mlp` and `gated_mlp` take data of any shape; `conv` and `residual` take images of any height, width and channels.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae.arguments import check_count
from keras_vae.serialization import Serializable, register

Shape = tuple[int, ...]


class Network(Serializable):
    """A recipe for a body. Subclasses say how it is built; `Encoder` and `Decoder` own the layers."""

    def encoder_body(self, event_shape: Shape, dtype: Any) -> keras.Layer:
        """Layers from data [B, *event_shape] to features of any shape."""
        raise TypeError(f"{type(self).__name__} cannot serve in an encoder.")

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """Layers from z [B, L] to features; those that already have the height and width of `params_shape` keep them.

        Args:
            params_shape: shape of the likelihood's parameters, event_shape[:-1] + (C * n,).
            dtype: dtype policy of the layers.
        """
        raise TypeError(f"{type(self).__name__} cannot serve in a decoder.")


@register
class MLP(Network):
    """See `mlp`."""

    def __init__(self, units: Sequence[int], activation: str = "relu") -> None:
        self.units = check_sizes("units", units, allow_empty=True)
        self.activation = check_activation(activation)

    def encoder_body(self, event_shape: Shape, dtype: Any) -> keras.Layer:
        """Flatten, then the dense layers."""
        return keras.Sequential([keras.layers.Flatten(dtype=dtype), *self._layers(dtype)])

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """The dense layers, or the identity if there are none."""
        return keras.Sequential(self._layers(dtype) or [keras.layers.Identity(dtype=dtype)])

    def _layers(self, dtype: Any) -> list[keras.Layer]:
        return [keras.layers.Dense(n, activation=self.activation, dtype=dtype) for n in self.units]


@register
class GatedMLP(MLP):
    """See `gated_mlp`."""

    def __init__(self, units: Sequence[int], activation: str = "linear") -> None:
        super().__init__(units, activation)

    def _layers(self, dtype: Any) -> list[keras.Layer]:
        return [GatedDense(n, self.activation, dtype=dtype) for n in self.units]


@register
class GatedDense(Serializable, keras.layers.Layer):
    """activation(W1 x + b1) * sigmoid(W2 x + b2).

    Args:
        units: width of the output.
        activation: any Keras activation by name.
    """

    def __init__(self, units: int, activation: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = keras.layers.Dense(units, activation, dtype=self.dtype_policy, name="values")
        self.gates = keras.layers.Dense(units, "sigmoid", dtype=self.dtype_policy, name="gates")

    def build(self, input_shape: Shape) -> None:
        """Make both layers."""
        self.values.build(input_shape)
        self.gates.build(input_shape)

    def call(self, x: Any) -> Any:
        """[B, ...] to [B, ..., units]."""
        return self.values(x) * self.gates(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[B, ..., units]."""
        return self.values.compute_output_shape(input_shape)


@register
class Conv(Network):
    """See `conv`."""

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
        require_image(event_shape, type(self).__name__.lower())
        layers = []
        for n in self.filters:
            layers.append(keras.layers.Conv2D(n, self.kernel_size, **self._options(dtype)))
            layers.extend(self._refinement(n, dtype))
        if self.units:
            layers.append(keras.layers.Flatten(dtype=dtype))
        return keras.Sequential([*layers, *self._dense(dtype)])

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """A dense layer to the smallest map, then one transposed convolution of stride 2 for each number of filters."""
        require_image(params_shape, type(self).__name__.lower())
        sizes = halvings(params_shape[:2], len(self.filters))
        if self.from_map:
            layers = [
                keras.layers.Reshape((*sizes[-1], -1), dtype=dtype),
                keras.layers.Conv2D(self.filters[0], 3, **{**self._options(dtype), "strides": 1}),
                *self._refinement(self.filters[0], dtype),
            ]
        else:
            layers = [
                *self._dense(dtype),
                keras.layers.Dense(sizes[-1][0] * sizes[-1][1] * self.filters[0], self.activation, dtype=dtype),
                keras.layers.Reshape((*sizes[-1], self.filters[0]), dtype=dtype),
            ]
        for n, size, target in zip(self.filters, sizes[:0:-1], sizes[-2::-1], strict=True):
            layers.append(keras.layers.Conv2DTranspose(n, self.kernel_size, **self._options(dtype)))
            layers.extend(crop(size, target, dtype))
            layers.extend(self._refinement(n, dtype))
        return keras.Sequential(layers)

    def _dense(self, dtype: Any) -> list[keras.Layer]:
        return [keras.layers.Dense(n, self.activation, dtype=dtype) for n in self.units]

    def _refinement(self, filters: int, dtype: Any) -> list[keras.Layer]:
        """Layers after each change of resolution."""
        return []

    def _options(self, dtype: Any) -> dict[str, Any]:
        return {"strides": 2, "padding": "same", "activation": self.activation, "dtype": dtype}


@register
class Residual(Conv):
    """See `residual`."""

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

    def _refinement(self, filters: int, dtype: Any) -> list[keras.Layer]:
        return [ResidualBlock(filters, self.activation, dtype=dtype) for _ in range(self.blocks)]

    def _options(self, dtype: Any) -> dict[str, Any]:
        # The blocks begin with the activation: between a change of resolution and the sum of the block there is none.
        return {**super()._options(dtype), "activation": "linear"}


@register
class ResidualBlock(Serializable, keras.layers.Layer):
    """x + conv(f(conv(f(x)))), with 3x3 convolutions and the second one starting at zero, so that a block starts as x.

    Args:
        filters: number of channels of input and output.
        activation: f, any Keras activation by name.
    """

    def __init__(self, filters: int, activation: str = "silu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        options = {"padding": "same", "dtype": self.dtype_policy}
        self.activation = keras.activations.get(activation)
        self.first = keras.layers.Conv2D(filters, 3, name="first", **options)
        self.second = keras.layers.Conv2D(filters, 3, kernel_initializer="zeros", name="second", **options)

    def build(self, input_shape: Shape) -> None:
        """Make both convolutions."""
        self.first.build(input_shape)
        self.second.build(input_shape)

    def call(self, x: Any) -> Any:
        """[B, H, W, filters] to the same shape."""
        return x + self.second(self.activation(self.first(self.activation(x))))


def mlp(units: Sequence[int], activation: str = "relu") -> MLP:
    """Dense layers. `mlp([])` is the identity, so that encoder and decoder become linear models.

    Args:
        units: width of each layer, in the order in which data pass them.
        activation: any Keras activation by name.
    """
    return MLP(units, activation)


def gated_mlp(units: Sequence[int], activation: str = "linear") -> GatedMLP:
    """Gated dense layers, h = activation(W1 x + b1) * sigmoid(W2 x + b2).

    After Tomczak and Welling 2018, "VAE with a VampPrior", whose h has no other activation than the gate.

    Args:
        units: width of each layer, in the order in which data pass them.
        activation: any Keras activation by name.
    """
    return GatedMLP(units, activation)


def conv(
    filters: Sequence[int],
    kernel_size: int = 4,
    activation: str = "relu",
    units: Sequence[int] = (),
    from_map: bool = False,
) -> Conv:
    """Convolutions of stride 2: each halves the image in an encoder and doubles it in a decoder.

    Height and width may be odd: the encoder rounds up, the decoder crops to the same sizes on its way back.

    Args:
        filters: number of filters of each layer, in the order in which data pass them.
        kernel_size: height and width of the kernels; a multiple of the stride avoids checkerboards.
        activation: any Keras activation by name.
        units: widths of dense layers between the convolutions and z: after them in an encoder, before in a decoder.
        from_map: whether a decoder takes z as a map of its smallest height and width, a grid of codes, with a 3x3
            convolution in place of the dense layer.
    """
    return Conv(filters, kernel_size, activation, list(units), from_map)


def residual(
    filters: Sequence[int],
    blocks: int = 1,
    kernel_size: int = 4,
    activation: str = "silu",
    from_map: bool = False,
) -> Residual:
    """Convolutions of stride 2 as in `conv`, each followed by residual blocks at its resolution.

    Pre-activation blocks, x + conv(f(conv(f(x)))), of He et al. 2016, "Identity mappings in deep residual networks",
    without normalisation, as in Child 2021, "Very deep VAEs": with batch statistics, log p(x) of an image would depend
    on the other images of its batch. Any height, width and number of channels.

    Args:
        filters: number of filters at each resolution, in the order in which data pass them.
        blocks: number of residual blocks at each resolution.
        kernel_size: height and width of the kernels that change the resolution.
        activation: any Keras activation by name.
        from_map: as in `conv`.
    """
    return Residual(filters, blocks, kernel_size, activation, from_map)


def check_sizes(name: str, sizes: Sequence[int], allow_empty: bool = False) -> list[int]:
    """The sizes as a list of ints.

    Raises:
        ValueError: if it is not a list of positive ints, or empty where that means nothing.
    """
    is_list = isinstance(sizes, (list, tuple))
    if not is_list or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"{name} must be a list of positive ints such as [512, 256], not {sizes!r}.")
    if not sizes and not allow_empty:
        raise ValueError(f"{name} must name at least one layer.")
    return list(sizes)


def check_activation(activation: str) -> str:
    """The name, if Keras knows it.

    Raises:
        ValueError: for an unknown activation.
    """
    if not isinstance(activation, str):
        raise ValueError(f"activation must be the name of a Keras activation, so that it can be saved: {activation!r}.")
    keras.activations.get(activation)
    return activation


def require_image(shape: Shape, network: str) -> None:
    """Refuse what is not height x width x channels.

    Raises:
        ValueError: if `shape` does not have three axes.
    """
    if len(shape) != 3:
        raise ValueError(
            f"networks.{network} works on images of shape (height, width, channels), not on data of shape {shape}. "
            "Use networks.mlp for vectors, and x[..., None] for images without a channel axis."
        )


def halvings(size: Sequence[int], times: int) -> list[tuple[int, int]]:
    """Height and width before and after each of `times` convolutions of stride 2, rounded up: [(28, 28), (14, 14)]."""
    sizes = [(size[0], size[1])]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def crop(size: tuple[int, int], target: tuple[int, int], dtype: Any) -> list[keras.Layer]:
    """The layers, none or one, that crop a map of twice `size` to `target`."""
    surplus = [(0, 2 * have - want) for have, want in zip(size, target, strict=True)]
    return [keras.layers.Cropping2D(surplus, dtype=dtype)] if any(s for _, s in surplus) else []


def check_network(network: Any) -> None:
    """Refuse what is neither a recipe nor a Keras layer.

    Raises:
        TypeError: naming both.
    """
    if not isinstance(network, (Network, keras.Layer)):
        raise TypeError(f"network must be made by keras_vae.networks or be a Keras layer, not {network!r}.")


def feature_shape(body: keras.Layer, input_shape: Any) -> tuple[int | None, ...]:
    """Build `body` if need be, and give the shape of its output for one example; a list of shapes is of its inputs."""
    if not body.built:
        body.build(input_shape)
    # A specification is not cast to the precision of the layer, as a call is.
    if isinstance(input_shape, list):
        inputs: Any = [keras.KerasTensor(shape, dtype=body.compute_dtype) for shape in input_shape]
    else:
        inputs = keras.KerasTensor(input_shape, dtype=body.compute_dtype)
    output = body.compute_output_spec(inputs)
    return tuple(output.shape[1:])
