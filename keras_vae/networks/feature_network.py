"""A small network whose features tell what is seen in images: learned from images alone, without labels."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from keras_vae.arguments import check_count, check_sizes, require_image
from keras_vae.networks.network import CHANNELS_LAST, Shape
from keras_vae.serialization import Serializable, register

Deed = Callable[[np.ndarray, np.random.Generator], np.ndarray]
BATCH = 64


@register
class FeatureNetwork(Serializable, keras.layers.Layer):
    """Maps of features of images [B, H, W, C] in [0, 1], one [B, h, w, filters] for each convolution, the finest first.

    Convolutions with ReLU, the first of stride 1 and the others of stride 2. `adapt` teaches it on images what was done
    to them: blurred, noisy, with other colours, cut into tiles that were shuffled, upside down, on its side, mixed with
    another image, or nothing. To say so, the network must know what images of this kind look like (Gidaris et al. 2018,
    "Unsupervised representation learning by predicting image rotations", asked for the rotation alone). Until then it is
    a fixed network of random weights. In the data that it was adapted to each channel has mean 0 and variance 1.

    Its weights are never trained by a model that it is part of. It computes in float32.

    Args:
        filters: number of channels of each convolution.
        steps: of `adapt`, with batches of 64 images.
    """

    def __init__(self, filters: Sequence[int] = (16, 32, 64), steps: int = 600, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self.filters, self.steps = check_sizes("filters", filters), check_count("steps", steps, at_least=0)
        self.convolutions = self._fresh()

    def _fresh(self) -> list[keras.layers.Conv2D]:
        return [
            keras.layers.Conv2D(
                n,
                3 if index == 0 else 4,
                1 if index == 0 else 2,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.HeNormal(seed=index),
                data_format=CHANNELS_LAST,
                dtype="float32",
            )
            for index, n in enumerate(self.filters)
        ]

    def build(self, input_shape: Any) -> None:
        """Make the weights, for images of one number of channels."""
        require_image(tuple(input_shape)[1:])
        channels = input_shape[-1]
        for index, (layer, n) in enumerate(zip(self.convolutions, self.filters, strict=True)):
            layer.build((None, None, None, channels))
            channels = n
        self.means = [
            self.add_weight(name=f"mean_{i}", shape=(n,), initializer="zeros", trainable=False)
            for i, n in enumerate(self.filters)
        ]
        self.deviations = [
            self.add_weight(name=f"deviation_{i}", shape=(n,), initializer="ones", trainable=False)
            for i, n in enumerate(self.filters)
        ]

    def call(self, images: Any) -> list[tf.Tensor]:
        """The maps, standardised."""
        maps, h = [], 2.0 * tf.cast(images, tf.float32) - 1.0
        for layer, mean, deviation in zip(self.convolutions, self.means, self.deviations, strict=True):
            h = layer(h)
            maps.append((h - mean) / deviation)
        return maps

    def adapt(self, images: np.ndarray, seed: int = 0, deeds: str = "all") -> None:
        """Learn from images [N, H, W, C] in [0, 1], at least two."""
        images = np.asarray(images, "float32")
        if not self.built:
            self.build(images.shape)
        known = DEEDS if deeds == "all" else {k: v for k, v in DEEDS.items() if k in deeds.split("+")}
        chosen = [deed for deed in known.values()]
        layers = self._fresh()
        head = keras.layers.Dense(len(chosen), dtype="float32", kernel_initializer=keras.initializers.GlorotUniform(seed=9))
        inputs = keras.Input(images.shape[1:], dtype="float32")
        h = inputs * 2.0 - 1.0
        for layer in layers:
            h = layer(h)
        pooled = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST)(h)
        model = keras.Model(inputs, head(pooled))
        rate = keras.optimizers.schedules.CosineDecay(2e-3, max(self.steps, 1), 0.05)
        optimizer = keras.optimizers.Adam(rate)
        variables = model.trainable_variables

        @tf.function(autograph=False)
        def step(x, y):
            with tf.GradientTape() as tape:
                logits = model(x)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss, tf.reduce_mean(tf.cast(tf.argmax(logits, -1, output_type=tf.int32) == y, tf.float32))

        random = np.random.default_rng(seed)
        self.history = []
        for _ in range(self.steps):
            some = images[random.integers(len(images), size=BATCH)]
            labels = random.integers(len(chosen), size=BATCH).astype("int32")
            x = np.stack([chosen[k](np.stack([a, b]), random) for a, b, k in zip(some, np.roll(some, 1, 0), labels)])
            self.history.append([float(v) for v in step(tf.constant(x, tf.float32), tf.constant(labels))])
        for mine, learned in zip(self.convolutions, layers, strict=True):
            for a, b in zip(mine.variables, learned.variables):
                a.assign(b.value)
        few = images[random.permutation(len(images))[:512]]
        for v in self.means: v.assign(tf.zeros_like(v))
        for v in self.deviations: v.assign(tf.ones_like(v))
        for found, mean, deviation in zip(self(few), self.means, self.deviations, strict=True):
            mean.assign(tf.reduce_mean(found, axis=(0, 1, 2)))
            deviation.assign(tf.math.reduce_std(found, axis=(0, 1, 2)) + 1e-3)


def nothing(x, random):
    return x[0]

def blurred(x, random):
    return ndimage.gaussian_filter(x[0], (s := random.uniform(0.4, 1.5), s, 0))

def noisy(x, random):
    return x[0] + random.uniform(0.02, 0.2) * random.standard_normal(x[0].shape)

def recoloured(x, random):
    c = x.shape[-1]
    mix = random.uniform(0.3, 1.0)
    if c == 1:
        return np.clip(0.5 + (x[0] - 0.5) * random.choice([0.5, 0.7, 1.5, 2.0]), 0, 1)
    other = x[0][..., np.roll(np.arange(c), random.integers(1, c))] if random.random() < 0.5 else x[0].mean(-1, keepdims=True)
    return (1 - mix) * x[0] + mix * other

def tiled(x, random):
    n = random.choice([2, 4])
    h, w, c = x[0].shape
    a, b = h // n, w // n
    cut = x[0][: a * n, : b * n].reshape(n, a, n, b, c).swapaxes(1, 2).reshape(n * n, a, b, c)
    cut = cut[random.permutation(n * n)].reshape(n, n, a, b, c).swapaxes(1, 2).reshape(a * n, b * n, c)
    out = x[0].copy()
    out[: a * n, : b * n] = cut
    return out

def upside_down(x, random):
    return x[0][::-1, ::-1]

def on_its_side(x, random):
    y = np.rot90(x[0], random.choice([1, 3]))
    h, w, _ = x[0].shape
    if h == w:
        return y
    return x[0][::-1]

def mixed(x, random):
    m = random.uniform(0.3, 0.7)
    return m * x[0] + (1 - m) * x[1]

DEEDS = {"nothing": nothing, "blurred": blurred, "noisy": noisy, "recoloured": recoloured, "tiled": tiled, "upside_down": upside_down, "on_its_side": on_its_side, "mixed": mixed}
