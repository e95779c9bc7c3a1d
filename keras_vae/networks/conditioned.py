"""Networks that see a condition beside their input."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae.conditions.condition import Condition
from keras_vae.networks.network import CHANNELS_LAST, Network, feature_shape

# Keras's layers that see the condition beside their input; one of your own says so by `is_projection = True`.
PROJECTIONS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
)


def is_projection(layer: keras.Layer) -> bool:
    """Whether a layer sees the condition beside its input."""
    return bool(getattr(layer, "is_projection", isinstance(layer, PROJECTIONS)))


def join(x: tf.Tensor, given: Any) -> tf.Tensor:
    """What is given beside x: [B, F] grows by all of it, [B, H, W, F] by channels of its own size.

    A vector becomes constant channels; an image is averaged down or interpolated up. A series [B, T, F] grows step by
    step by one of as many steps. [B, ..., F] of another rank, or length, grows by all features at each place.

    Args:
        x: of a layer.
        given: the features of the condition, or a list of them and of the maps that a guide made of them, the largest
            first: x of the size of a map grows by that map too, and a vector by the last map in place of the features.
    """
    features, *maps = given if isinstance(given, list) else [given]
    if x.shape.rank == 4:
        of_this_size = [each for each in maps if tuple(each.shape[1:3]) == tuple(x.shape[1:3])]
        beside = [_as_map(features, x.shape[1:3]), *of_this_size]
    else:
        features = features if not maps else maps[-1]
        if not _are_steps(x.shape, features.shape):
            features = tf.reshape(features, [-1, *[1] * (x.shape.rank - 2), math.prod(features.shape[1:])])
            features = tf.tile(features, [1, *x.shape[1:-1], 1]) if x.shape.rank > 2 else features
        beside = [features]
    return tf.concat([x, *(tf.cast(each, x.dtype) for each in beside)], axis=-1)


def joined_shape(shape: Sequence[int | None], given: Any) -> tuple[int | None, ...]:
    """The shape of `join`, of the shapes of x and of what is given, all with the axis of the batch."""
    features, *maps = given if isinstance(given, list) else [given]
    if len(shape) == 4:
        count = features[-1] + sum(each[-1] for each in maps if each[1:3] == tuple(shape[1:3]))
    else:
        seen = maps[-1] if maps else features
        count = seen[-1] if _are_steps(shape, seen) else math.prod(seen[1:])
    return (*shape[:-1], shape[-1] + count)


def _are_steps(shape: Any, given: Any) -> bool:
    """Whether both are shapes of series, [B, T, F], of the same number of steps."""
    return len(shape) == len(given) == 3 and shape[1] == given[1]


def _as_map(features: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    height, width = size
    if features.shape.rank == 2:
        return tf.tile(features[:, tf.newaxis, tf.newaxis, :], [1, height, width, 1])
    have = features.shape[1:3]
    if tuple(have) == (height, width):
        return features
    window = [-(-n // m) for n, m in zip(have, size, strict=True)]
    if [-(-n // w) for n, w in zip(have, window, strict=True)] == [height, width]:
        return tf.nn.avg_pool2d(features, window, window, "SAME")
    return tf.image.resize(features, (height, width))


def conditioned(
    network: Network | keras.Layer,
    body: keras.Layer,
    condition: Condition | None,
    at_the_end: bool = False,
    guide: keras.Layer | None = None,
) -> Any:
    """The body of an encoder or decoder, as it is or with the condition joined to its inputs.

    Args:
        network: what the body was made of: all projections of a recipe see the condition, a Keras layer of the user's
            own sees it with its input.
        body: layers, not built yet if they were made by a recipe.
        condition: or None.
        at_the_end: whether an image is also joined to features that are maps.
        guide: the body of an encoder that looks at the image; its maps are joined beside it.
    """
    if condition is None:
        return body
    layers = list(body.layers) if isinstance(network, Network) else [body]
    return ConditionedBody(layers, at_the_end and len(condition.features_shape) == 3, guide)


class ConditionedBody(keras.layers.Layer):
    """Layers one after the other, the condition joined to the input of every dense layer and convolution.

    Called with [x, features of the condition]. `Encoder`, `Decoder` and priors make it; it is never saved by itself.

    Args:
        layers: in order.
        at_the_end: whether the condition is joined to the last map too, by a 3x3 convolution and then as it is, so that
            its details need not pass through the latents.
        guide: layers, one after the other, from the features of an image to smaller and smaller maps; the last map of
            each size is joined to what has this size, so that a U-Net results, and the smallest one to vectors.
    """

    def __init__(
        self,
        layers: Sequence[keras.Layer],
        at_the_end: bool = False,
        guide: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.steps = list(layers)
        self.looks = [] if guide is None else list(guide.layers)
        self.at_the_end = at_the_end
        self.joined = [is_projection(layer) for layer in self.steps]
        self.joined[0] = self.joined[0] or not any(self.joined)
        self.mixing: keras.Layer | None = None

    def build(self, input_shape: Sequence[Any]) -> None:
        """Make the layers for [x, features]."""
        if self.built:
            return
        shape, seen = (tuple(s) for s in input_shape)
        maps: dict[Any, Any] = {}
        for layer in self.looks:
            seen = (None, *feature_shape(layer, seen))
            maps[seen[1:-1]] = seen
        features = self.given_shapes = [tuple(input_shape[1]), *maps.values()]
        for layer, joined in zip(self.steps, self.joined, strict=True):
            shape = (None, *feature_shape(layer, joined_shape(shape, features) if joined else shape))
        if self.at_the_end and len(shape) == 4:
            policy = self.steps[0].dtype_policy
            self.mixing = keras.layers.Conv2D(
                shape[-1], 3, padding="same", data_format=CHANNELS_LAST, activation="relu", dtype=policy
            )
            self.mixing.build(joined_shape(shape, features))

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """The features of x, [B, ...]."""
        x, features = inputs
        given = self.see(features)
        for layer, joined in zip(self.steps, self.joined, strict=True):
            x = layer(join(x, given) if joined else x)
        return self.end(x, given)

    def see(self, features: tf.Tensor) -> list[tf.Tensor]:
        """What is joined: the features of the condition [B, ...], and the maps that the guide makes of them."""
        maps: dict[Any, tf.Tensor] = {}
        seen = features
        for layer in self.looks:
            seen = layer(seen)
            maps[tuple(seen.shape[1:-1])] = seen
        return [features, *maps.values()]

    def end(self, x: tf.Tensor, given: list[tf.Tensor]) -> tf.Tensor:
        """The last map with the condition joined to it, if it is to be."""
        return x if self.mixing is None else join(self.mixing(join(x, given)), given)
