"""Reshapes to a shape that is known beforehand, in the copy of a model that is written for devices."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vae.vae import VAE


def with_static_reshapes(vae: VAE) -> VAE:
    """The same model, whose Flatten and Reshape layers reshape to [-1, ...] instead of [rows of the input, ...].

    Equal by value. The number of rows would be computed in the graph. In files with `sample` and a condition LiteRT's
    XNNPACK then answers wrongly in some processes, from the second call on: in one of eight by version 2.3, with a
    reshape; by 2.1 and 2.2 too, with a tile. TensorFlow 2.21's own interpreter was never seen to.
    """
    for layer in vae._flatten_layers():
        if type(layer) is keras.layers.Reshape or (
            type(layer) is keras.layers.Flatten and layer.data_format == "channels_last"
        ):
            layer.call = _static(layer)
    return vae


def _static(layer: keras.Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    computed = layer.call

    def call(inputs: tf.Tensor) -> tf.Tensor:
        shape = layer.compute_output_shape(tuple(inputs.shape))[1:]
        # Two sizes left open need the input's own.
        return computed(inputs) if None in shape else tf.reshape(inputs, [-1, *shape])

    return call
