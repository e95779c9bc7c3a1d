"""A network whose encoder sees each training image moved, turned and bent a little."""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_vae.arguments import check_number
from keras_vae.networks.network import CHANNELS_LAST, Network, Shape
from keras_vae.serialization import Serializable, register


@register
class Distorted(Network):
    """Another network, behind a random affine map of the image: in training alone, and in an encoder alone.

    log p(x|z) is of the image as it is, so that z does not carry what an encoder cannot see any more: where an object
    is, how large, how far it leans. Codes of one kind come closer to each other; clusters are easier to find. In the
    terms of denoising autoencoders (Vincent et al. 2008), distortion is the noise; as augmentation for clustering see
    Guo et al. 2018, "Deep embedded clustering with data augmentation". The ELBO in training is one for q(z|x') with
    another x' each time; in validation x' is x.

    What lies outside of the image is taken to be as its border is. Draws are those of a `keras.random.SeedGenerator`,
    whose state is part of the model.

    Args:
        network: what sees the distorted image.
        shift: pixels, at most, up or down and left or right.
        rotation: degrees, at most.
        shear: pixels that a row moves for each row, at most.
        zoom: share, at most, by which height and width change, each by itself.

    Raises:
        ValueError: for numbers out of range, and data that are no images.
    """

    def __init__(
        self, network: Network, shift: float = 2.0, rotation: float = 15.0, shear: float = 0.25, zoom: float = 0.1
    ) -> None:
        self.network, self.activation, self.is_gated = network, network.activation, network.is_gated
        self.shift, self.shear = check_number("shift", shift, at_least=0), check_number("shear", shear, at_least=0)
        self.rotation = check_number("rotation", rotation, at_least=0, at_most=180)
        self.zoom = check_number("zoom", zoom, at_least=0, below=1)

    def encoder_body(self, event_shape: Shape, dtype: Any) -> keras.Layer:
        """The distortion, then the network."""
        if len(event_shape) != 3:
            raise ValueError(f"Only images [height, width, channels] are distorted, not data of shape {event_shape}.")
        distortion = Distortion(self.shift, self.rotation, self.shear, self.zoom, dtype=dtype)
        return keras.Sequential([distortion, *self.network.encoder_body(event_shape, dtype).layers])

    def decoder_body(self, params_shape: Shape, dtype: Any) -> keras.Layer:
        """The network alone."""
        return self.network.decoder_body(params_shape, dtype)


@register
class Distortion(Serializable, keras.layers.Layer):
    """In training, a random affine map of each image about its centre; see `Distorted`.

    Args:
        shift, rotation, shear, zoom: as there.
    """

    def __init__(self, shift: float, rotation: float, shear: float, zoom: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limits = (shift, shift, rotation, shear, zoom, zoom)
        self.draws = keras.random.SeedGenerator()
        # TensorFlow's kernel of the map is none of XLA's.
        self.supports_jit = False

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the images."""
        return input_shape

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The images [B, H, W, C], distorted in training."""
        if not training:
            return images
        uniform = keras.random.uniform((6, tf.shape(images)[0]), -1.0, 1.0, dtype="float32", seed=self.draws)
        right, down, turn, shear, wide, high = (
            u * limit for u, limit in zip(tf.unstack(uniform), self.limits, strict=True)
        )
        angle = turn * (math.pi / 180.0)
        cos, sin = tf.cos(angle), tf.sin(angle)
        # Where a pixel of the result comes from, about the centre: turned, sheared, zoomed.
        xx, xy = cos * (1.0 + wide), (shear * cos - sin) * (1.0 + high)
        yx, yy = sin * (1.0 + wide), (shear * sin + cos) * (1.0 + high)
        y, x = ((n - 1) / 2.0 for n in images.shape[1:3])
        zero = tf.zeros_like(angle)
        maps = [xx, xy, right + x - xx * x - xy * y, yx, yy, down + y - yx * x - yy * y, zero, zero]
        moved = keras.ops.image.affine_transform(
            tf.cast(images, tf.float32), tf.stack(maps, axis=-1), "bilinear", "nearest", data_format=CHANNELS_LAST
        )
        return tf.cast(moved, images.dtype)


# What users call.
distorted = Distorted
