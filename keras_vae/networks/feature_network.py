"""A small network whose features tell what is seen in images: learned from images alone, without labels."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from keras_vae.arguments import check_count, check_sizes, require_image
from keras_vae.data import batches
from keras_vae.networks.network import CHANNELS_LAST
from keras_vae.serialization import Serializable, register

BATCH, RATE = 64, 2e-3
# Images that give the mean and variance of each channel.
STANDARD = 1024


@register
class FeatureNetwork(Serializable, keras.layers.Layer):
    """Maps of features of images [B, H, W, C] in [0, 1], one [B, h, w, n] for each convolution, the finest first.

    Convolutions with ReLU, the first of stride 1 and the others of stride 2. `adapt` teaches it to say what was done to
    an image: blurred, made noisy, given other colours, cut into tiles that were shuffled, turned upside down or on its
    side, mixed with another one, or nothing. For that it must know what images of this kind look like (Gidaris et al.
    2018, "Unsupervised representation learning by predicting image rotations", ask for the rotation alone). Before, it
    is a fixed network of random weights. In the data that it was adapted to each channel has mean 0 and variance 1.

        features = networks.FeatureNetwork()
        features.adapt(train)  # half a minute
        evaluation.fid(test, vae.sample(2000, seed=0), features)

    It computes in float32, and no model that it is part of trains it.

    Args:
        filters: numbers of channels.
        steps: of `adapt`, each of 64 images.

    Attributes:
        accuracy: share of the images of the last tenth of the steps of `adapt` of which it said what was done; None
            before.
    """

    def __init__(self, filters: Sequence[int] = (16, 32, 64, 96), steps: int = 1500, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self.filters, self.steps = check_sizes("filters", filters), check_count("steps", steps)
        self.built = False
        self.convolutions = self._convolutions(trainable=False)
        self.accuracy: float | None = None

    def build(self, input_shape: Any) -> None:
        """Make the weights.

        Raises:
            ValueError: for what are no images.
        """
        if self.built:
            return
        require_image(tuple(input_shape)[1:])
        channels = input_shape[-1]
        for layer in self.convolutions:
            layer.build((None, None, None, channels))
            channels = layer.filters
        frozen: dict[str, Any] = {"trainable": False, "dtype": "float32"}
        self.means = [self.add_weight(shape=(n,), initializer="zeros", **frozen) for n in self.filters]
        self.deviations = [self.add_weight(shape=(n,), initializer="ones", **frozen) for n in self.filters]
        self.built = True

    def call(self, images: tf.Tensor) -> list[tf.Tensor]:
        """The maps, standardised."""
        maps, h = [], _centred(images)
        for layer, mean, deviation in zip(self.convolutions, self.means, self.deviations, strict=True):
            h = layer(h)
            maps.append((h - mean) / deviation)
        return maps

    def adapt(self, data: Any, seed: int = 0) -> None:
        """Learn from images.

        Args:
            data: array [N, H, W, C] in [0, 1], or a finite dataset of batches, with or without labels.
            seed: of the choice of images and of what is done to them.

        Raises:
            ValueError: for fewer than two images.
        """
        images = _as_array(data)
        if len(images) < 2:
            raise ValueError(f"A network of features learns from two images at least, not from {len(images)}.")
        self.build(images.shape)
        layers, random = self._convolutions(trainable=True), np.random.default_rng(seed)
        pool = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS_LAST, dtype="float32")
        answer = keras.layers.Dense(len(DEEDS), kernel_initializer=keras.initializers.GlorotUniform(0), dtype="float32")
        learner = keras.Sequential([keras.Input(images.shape[1:], dtype="float32"), *layers, pool, answer])
        self.accuracy = _teach(learner, images, self.steps, random)
        for mine, learned in zip(self.convolutions, layers, strict=True):
            mine.set_weights(learned.get_weights())
        self._standardise(images[random.permutation(len(images))[:STANDARD]])

    def _standardise(self, images: np.ndarray) -> None:
        for mean, deviation in zip(self.means, self.deviations, strict=True):
            mean.assign(np.zeros(mean.shape, "float32"))
            deviation.assign(np.ones(deviation.shape, "float32"))
        parts = [self(tf.constant(images[at : at + BATCH])) for at in range(0, len(images), BATCH)]
        for index, (mean, deviation) in enumerate(zip(self.means, self.deviations, strict=True)):
            values = np.concatenate([np.reshape(maps[index], (-1, self.filters[index])) for maps in parts])
            mean.assign(values.mean(axis=0))
            # A channel that is always 0 stays at 0.
            deviation.assign(np.where(values.std(axis=0) > 1e-6, values.std(axis=0), 1.0))

    def _convolutions(self, trainable: bool) -> list[keras.layers.Conv2D]:
        return [
            keras.layers.Conv2D(
                n,
                kernel_size=3 if index == 0 else 4,
                strides=1 if index == 0 else 2,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.HeNormal(seed=index),
                data_format=CHANNELS_LAST,
                trainable=trainable,
                dtype="float32",
            )
            for index, n in enumerate(self.filters)
        ]


def _centred(images: Any) -> tf.Tensor:
    return 2.0 * tf.cast(images, tf.float32) - 1.0


def _as_array(data: Any) -> np.ndarray:
    return np.concatenate([batches.examples(batch).astype("float32") for batch in batches.whole_batches(data, 1024)])


def _teach(learner: keras.Model, images: np.ndarray, steps: int, random: np.random.Generator) -> float:
    """Train a classifier to say which of `DEEDS` was done to each image; its accuracy at the end."""
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps, alpha=0.05)
    optimizer, variables = keras.optimizers.Adam(rate), learner.trainable_variables

    @tf.function(autograph=False)
    def step(x: tf.Tensor, done: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = learner(_centred(x), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(done, logits))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.reduce_mean(tf.cast(tf.argmax(logits, axis=-1) == done, tf.float32))

    found = []
    for _ in range(steps):
        chosen = random.integers(len(images), size=BATCH)
        done = random.integers(len(DEEDS), size=BATCH)
        x = np.stack(
            [DEEDS[k](images[a], images[b], random) for k, a, b in zip(done, chosen, chosen[::-1], strict=True)]
        )
        found.append(float(step(tf.constant(x, tf.float32), tf.constant(done))))
    return float(np.mean(found[-max(1, steps // 10) :]))


# What is done to an image x [H, W, C], beside another one of the data.


def nothing(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """x."""
    return x


def blurred(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """By a Gaussian of 0.4 to 1.5 pixels."""
    width = random.uniform(0.4, 1.5)
    return np.asarray(ndimage.gaussian_filter(x, (width, width, 0)))


def noisy(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With noise of 0.02 to 0.2."""
    return x + random.uniform(0.02, 0.2) * random.standard_normal(x.shape)


def recoloured(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Its channels exchanged, or on the way to gray; of one channel, more or less contrast."""
    channels = x.shape[-1]
    if channels == 1:
        return np.clip(0.5 + random.choice([0.5, 0.7, 1.5, 2.0]) * (x - 0.5), 0.0, 1.0)
    share = random.uniform(0.3, 1.0)
    turned = np.roll(x, random.integers(1, channels), axis=-1) if random.random() < 0.5 else x.mean(-1, keepdims=True)
    return (1.0 - share) * x + share * turned


def tiled(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cut into 2 x 2 or 4 x 4 tiles, in another order."""
    height, width, channels = x.shape
    count = min(int(random.choice([2, 4])), height, width)
    a, b = height // count, width // count
    tiles = x[: a * count, : b * count].reshape(count, a, count, b, channels).swapaxes(1, 2).reshape(-1, a, b, channels)
    tiles = tiles[random.permutation(count * count)].reshape(count, count, a, b, channels).swapaxes(1, 2)
    made = x.copy()
    made[: a * count, : b * count] = tiles.reshape(a * count, b * count, channels)
    return made


def upside_down(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by half a circle."""
    return x[::-1, ::-1]


def on_its_side(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by a quarter of a circle; mirrored top to bottom where it is no square."""
    height, width, _ = x.shape
    return np.rot90(x, random.choice([1, 3])) if height == width else x[::-1]


def mixed(x: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With 30% to 70% of the other one."""
    share = random.uniform(0.3, 0.7)
    return (1.0 - share) * x + share * other


Deed = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
DEEDS: tuple[Deed, ...] = (nothing, blurred, noisy, recoloured, tiled, upside_down, on_its_side, mixed)
