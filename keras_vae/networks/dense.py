"""Dense networks, plain and gated."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_vae.arguments import check_activation, check_sizes
from keras_vae.networks.network import CHANNELS_LAST, Network, Shape
from keras_vae.serialization import Serializable, register


@register
class MLP(Network):
    """Dense layers. `mlp([])` is the identity, so that encoder and decoder become linear models.

    Args:
        units: width of each layer, in the order in which data pass them.
        activation: any Keras activation by name.
    """

    def __init__(self, units: Sequence[int], activation: str = "relu") -> None:
        self.units = check_sizes("units", units, allow_empty=True)
        self.activation = check_activation(activation)

    def encoder_body(self, event_shape: Shape, dtype: Any) -> keras.Layer:
        """Flatten, then the dense layers."""
        return keras.Sequential([keras.layers.Flatten(CHANNELS_LAST, dtype=dtype), *self._layers(dtype)])

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """The dense layers, or the identity if there are none."""
        return keras.Sequential(self._layers(dtype) or [keras.layers.Identity(dtype=dtype)])

    def _layers(self, dtype: Any) -> list[keras.Layer]:
        return [keras.layers.Dense(n, activation=self.activation, dtype=dtype) for n in self.units]


@register
class GatedMLP(MLP):
    """Gated dense layers, h = activation(W1 x + b1) * sigmoid(W2 x + b2).

    After Tomczak and Welling 2018, "VAE with a VampPrior", whose h has no other activation than the gate.

    Args:
        units: width of each layer, in the order in which data pass them.
        activation: any Keras activation by name.
    """

    is_gated = True

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

    is_projection = True

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

    def branches(self) -> tuple[str, list[list[Any]]]:
        """What it is made of: how branches are joined, and the layers and activations of each, in their order."""
        return "multiply", [[self.values], [self.gates]]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """[B, ..., units]."""
        return self.values.compute_output_shape(input_shape)


# What users call: sizes in, a recipe out.
mlp, gated_mlp = MLP, GatedMLP
