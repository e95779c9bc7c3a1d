"""Discriminators: one made from the data's shape, and where in one of a user's own distances are measured."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae.models.adversarial import game
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


def with_features(discriminator: keras.Layer, name: str | None, shape: Sequence[int | None]) -> keras.Layer | None:
    """A layer that gives the logits and the features in which distances are measured; None if there are no features.

    Args:
        discriminator: a built layer or model, from data to logits or to [logits, features, ...].
        name: of the layer that makes the features; None for what the last layer with weights sees.
        shape: of the data, [None, ...].

    Raises:
        ValueError: if there is no such layer, or the discriminator does not say how its layers are connected.
    """
    has_graph = getattr(discriminator, "inputs", None) and getattr(discriminator, "outputs", None)
    if name is None:
        found = discriminator.compute_output_spec(keras.KerasTensor(shape, dtype="float32"))
        if isinstance(found, (list, tuple)) and len(found) > 1:
            return discriminator
        weighty = [number for number, layer in enumerate(discriminator.layers) if layer.weights] if has_graph else []
        if len(weighty) < 2:
            return None
        seen = discriminator.layers[weighty[-1]].input
        return keras.Model(discriminator.inputs[0], [*discriminator.outputs, seen])
    if not has_graph:
        raise ValueError(
            f"similarity_layer={name!r} names a layer of a keras.Sequential or functional model, and the "
            f"discriminator is a {type(discriminator).__name__}: let it give [logits, features] instead."
        )
    names = [layer.name for layer in discriminator.layers]
    if name not in names:
        raise ValueError(
            f"similarity_layer={name!r} is no layer of the discriminator, which has {', '.join(map(repr, names))}."
        )
    return keras.Model(discriminator.inputs[0], [*discriminator.outputs, discriminator.get_layer(name).output])


def as_list(output: Any) -> list[tf.Tensor]:
    """The outputs of a layer that gives one tensor or several, in float32."""
    several = output if isinstance(output, (list, tuple)) else [output]
    return [tf.cast(values, tf.float32) for values in several]


def steepness(discriminator: keras.Layer, x: tf.Tensor) -> tf.Tensor:
    """|grad D|^2 / 2 of the logit at each x, [B]; of patches the gradient of their mean."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits = as_list(discriminator(x, training=False))[0]
        total = tf.reduce_sum(game.per_example(logits))
    return game.squared_distance(tape.gradient(total, x), tf.zeros_like(x))
