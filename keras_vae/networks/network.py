"""Bodies of encoders and decoders: recipes that become Keras layers once the shape of the data is known.

Sizes stand in the order in which data pass them, in encoder and decoder alike:

    kv.Encoder(networks.conv([32, 64]), ...)      # 28x28 -> 14x14x32 -> 7x7x64
    kv.Decoder(networks.conv([64, 32]), ...)      # 7x7x64 -> 14x14x64 -> 28x28x32

`mlp` and `gated_mlp` take data of any shape; `conv` and `residual` take images of any height, width and channels, and
series of any number of steps and channels.
"""

from typing import Any

import keras

from keras_vae.arguments import require_kind
from keras_vae.serialization import Serializable

Shape = tuple[int, ...]
# Said to every layer that asks: data are [B, height, width, channels], whatever keras.config.image_data_format() says.
CHANNELS_LAST = "channels_last"


class Network(Serializable):
    """A recipe for a body. Subclasses say how it is built; `Encoder` and `Decoder` own the layers.

    Attributes:
        activation: of its hidden layers, which those of a hierarchy's levels share.
        is_gated: whether its hidden layers are gated, likewise.
    """

    activation: str = "relu"
    is_gated: bool = False

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


def check_network(network: Any) -> None:
    """Refuse what is neither a recipe nor a Keras layer.

    Raises:
        TypeError: naming both.
    """
    require_kind("network", network, (Network, keras.Layer), "made by keras_vae.networks or a Keras layer")


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
