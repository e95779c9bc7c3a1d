"""Discriminators: one made from the data's shape, and where in one of a user's own distances are measured."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae.networks.network import CHANNELS_LAST

SLOPE = 0.2
# Maps of fewer rows or columns are not halved.
SMALLEST = 4


def make(event_shape: Sequence[int], filters: Sequence[int], patches: bool = False) -> keras.Sequential:
    """A discriminator of data [B, *event_shape], in float32.

    Images pass one convolution of stride 2 for each number of filters (of stride 1 once they have fewer than 4 rows or
    columns), then a dense layer to one logit, or a convolution to one for each place. Data of other shapes pass dense
    layers of as many units. Activations are leaky rectifiers, and each kernel but the last is divided, in each pass in
    training, by its largest singular value, which is found by one step of a power iteration: Miyato et al. 2018,
    "Spectral normalization for generative adversarial networks", as `keras.layers.SpectralNormalization` has it. With
    the last one, too, the logits of small networks stay near 0. The layers before it are called `stage_1`, ...

    Args:
        event_shape: of one example.
        filters: of each layer.
        patches: whether each place of the last map is judged by itself; of images alone.
    """
    shape = tuple(event_shape)
    options: dict[str, Any] = {"dtype": "float32"}
    is_image = len(shape) == 3 and min(shape[:2]) >= SMALLEST
    layers: list[keras.Layer] = []
    size = min(shape[:2]) if is_image else 0
    if is_image:
        # Data in [0, 1] come to lie around 0.
        layers.append(keras.layers.Rescaling(2.0, -1.0, **options))
    elif len(shape) > 1:
        layers.append(keras.layers.Flatten(CHANNELS_LAST, **options))
    for number, n in enumerate(filters, start=1):
        stride = 2 if size >= SMALLEST else 1
        size = math.ceil(size / stride)
        layer = (
            keras.layers.Conv2D(n, 4 if stride == 2 else 3, stride, "same", CHANNELS_LAST, **options)
            if is_image
            else keras.layers.Dense(n, **options)
        )
        layers.append(keras.layers.SpectralNormalization(layer, name=f"conv_{number}", **options))
        layers.append(keras.layers.LeakyReLU(SLOPE, name=f"stage_{number}", **options))
    last: keras.Layer
    if is_image and patches:
        last = keras.layers.Conv2D(1, 3, padding="same", data_format=CHANNELS_LAST, name="logits", **options)
    else:
        layers += [keras.layers.Flatten(CHANNELS_LAST, **options)] if is_image else []
        last = keras.layers.Dense(1, name="logits", **options)
    layers.append(last)
    return keras.Sequential(layers, name="discriminator")


def stages_of(discriminator: keras.Layer) -> list[str]:
    """Names of the layers whose outputs can be looked at, of a built sequential or functional model."""
    return [layer.name for layer in getattr(discriminator, "layers", [])]


def with_layer(discriminator: keras.Layer, name: str) -> keras.Model:
    """A model of the same layers that gives the logits and what the layer of this name makes.

    Raises:
        ValueError: if there is no such layer, or the discriminator does not say how its layers are connected.
    """
    if not (getattr(discriminator, "inputs", None) and getattr(discriminator, "outputs", None)):
        raise ValueError(
            f"similarity_layer={name!r} names a layer of a keras.Sequential or functional model, and the "
            f"discriminator is a {type(discriminator).__name__}: let it give [logits, features] instead."
        )
    if name not in stages_of(discriminator):
        raise ValueError(
            f"similarity_layer={name!r} is no layer of the discriminator, which has "
            f"{', '.join(map(repr, stages_of(discriminator)))}."
        )
    return keras.Model(discriminator.inputs[0], [*discriminator.outputs, discriminator.get_layer(name).output])


def as_list(output: Any) -> list[tf.Tensor]:
    """The outputs of a layer that gives one tensor or several, in float32."""
    several = output if isinstance(output, (list, tuple)) else [output]
    return [tf.cast(values, tf.float32) for values in several]
