"""What is compared of two sets of images: features, of whatever network; and a network of fixed ones."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.evaluation.statistics import gather

BLOCK = 512
# Of the network of fixed features.
FILTERS = (32, 64, 128)
REFERENCES = 512

Features = Callable[[np.ndarray], Any]


def image_features(images: np.ndarray) -> np.ndarray:
    """[N, 960 + 2 C] features of images [N, H, W, C] in [0, 1]: those of a fixed network of random convolutions.

    Three layers of 3x3 convolutions with leaky rectifiers, each followed by a halving of the size as long as there is
    any; of each channel of each layer the mean and the standard deviation over the image, of the last also the means of
    its quarters, and mean and standard deviation of the colours. Half of the first filters sum to zero and see edges
    alone. Each feature is standardised by noise with the spectrum of natural images, so that the network depends on no
    data. Random networks tell distributions of images as trained ones do, but for their objects (Naeem et al. 2020,
    "Reliable fidelity and diversity metrics for generative models").

    Raises:
        ValueError: for what is no image in [0, 1].
    """
    images = np.asarray(images, "float32")
    if images.ndim != 4 or min(images.shape[1:3]) < 4:
        raise ValueError(
            f"The features of features=None are those of images [N, H, W, C] of 4x4 pixels at least, not of "
            f"shape {images.shape}: give features, a function or a Keras model from a batch to [B, d]."
        )
    if not (images.min(initial=0.0) >= -1e-3 and images.max(initial=1.0) <= 1.0 + 1e-3):
        raise ValueError(
            f"The features of features=None are those of images in [0, 1], not in [{images.min():.3g}, "
            f"{images.max():.3g}]: clip or scale them, or give features of your own."
        )
    mean, deviation = _reference(images.shape[1:])
    return (_raw_features(images) - mean) / deviation


def alike(what: str, real: Any, drawn: Any, at_least: int = 2) -> list[np.ndarray]:
    """Both sets of examples as arrays.

    Args:
        what: asks for them.
        real, drawn: arrays or finite datasets.
        at_least: the fewest examples of each.

    Raises:
        ValueError: for fewer, and other shapes than the real ones.
    """
    examples = [gather(data)[0] for data in (real, drawn)]
    shape = examples[0].shape[1:]
    for name, x in zip(("real", "drawn"), examples, strict=True):
        if len(x) < at_least:
            words = {2: "two", 3: "three"}
            raise ValueError(
                f"{what} needs {words.get(at_least, at_least)} examples at least, and {name} has {len(x)}."
            )
        if x.shape[1:] != shape:
            raise ValueError(f"Real examples have the shape {shape}, and drawn ones {x.shape[1:]}: give alike ones.")
    return examples


def values(x: np.ndarray) -> np.ndarray:
    """The values as they are, [N, D]."""
    return np.asarray(x, "float64").reshape(len(x), -1)


def name_of(features: Features | None) -> str:
    """What a result calls the features that it was computed with."""
    if features is None:
        return "image_features"
    named = getattr(features, "name", None) or getattr(features, "__name__", None)
    return str(named or type(features).__name__)


def features_of(x: np.ndarray, features: Features | None) -> np.ndarray:
    """[N, d], float64, in blocks. Of maps [B, h, w, c] it is the mean of each channel over the places; of a list, all
    of its members side by side.

    Args:
        x: examples [N, ...].
        features: what makes features of a batch; None for `image_features`.

    Raises:
        ValueError: for features that are neither, or not finite.
    """
    made = [
        _as_matrix((features or image_features)(x[at : at + BLOCK]), x[at : at + BLOCK])
        for at in range(0, len(x), BLOCK)
    ]
    found = np.concatenate(made)
    if not np.isfinite(found).all():
        raise ValueError("Some features are not finite: look at the samples, and at the function that makes features.")
    return found


def _as_matrix(made: Any, batch: np.ndarray) -> np.ndarray:
    columns = []
    for part in made if isinstance(made, (list, tuple)) else [made]:
        part = np.asarray(part, "float64")
        if part.ndim not in (2, 4) or len(part) != len(batch):
            raise ValueError(
                f"features must give a matrix [B, d], maps [B, h, w, c], or a list of these, for a batch [B, ...], not "
                f"something of shape {part.shape} for {len(batch)} examples."
            )
        columns.append(part if part.ndim == 2 else part.mean(axis=(1, 2)))
    return np.concatenate(columns, axis=1)


@functools.cache
def _kernels(channels: int) -> list[np.ndarray]:
    # The stream of RandomState never changes, so that features are the same in every version.
    random, kernels = np.random.RandomState(0), []
    for layer, filters in enumerate(FILTERS):
        kernel = random.standard_normal((3, 3, channels, filters))
        if layer == 0:
            kernel[..., ::2] -= kernel[..., ::2].mean(axis=(0, 1, 2))
        kernels.append((kernel / np.sqrt(9.0 * channels)).astype("float32"))
        channels = filters
    return kernels


def _raw_features(images: np.ndarray) -> np.ndarray:
    h = 2.0 * tf.constant(images) - 1.0
    found = [*_moments(h)]
    for kernel in _kernels(images.shape[-1]):
        h = tf.nn.leaky_relu(tf.nn.conv2d(h, kernel, 1, "SAME"), 0.2)
        found += _moments(h)
        if min(h.shape[1:3]) >= 4:
            h = tf.nn.avg_pool2d(h, 2, 2, "SAME")
    top, left = (size // 2 for size in h.shape[1:3])
    quarters = (h[:, :top, :left], h[:, :top, left:], h[:, top:, :left], h[:, top:, left:])
    found += [tf.reduce_mean(quarter, axis=(1, 2)) for quarter in quarters]
    return tf.concat(found, axis=-1).numpy()


def _moments(h: tf.Tensor) -> Iterator[tf.Tensor]:
    yield tf.reduce_mean(h, axis=(1, 2))
    yield tf.math.reduce_std(h, axis=(1, 2))


@functools.cache
def _reference(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the raw features of noise whose amplitude falls as 1 / frequency."""
    random = np.random.RandomState(1)
    white = random.standard_normal((REFERENCES, *shape))
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in shape[:2]), indexing="ij"))
    frequency[0, 0] = 0.5 / max(shape[:2])
    spectrum = np.fft.fft2(white, axes=(1, 2)) / frequency[..., None]
    pink = np.fft.ifft2(spectrum, axes=(1, 2)).real
    # Channels of natural images go together.
    pink = pink + 2.0 * pink.mean(axis=-1, keepdims=True)
    found = _raw_features((0.5 + 0.25 * pink / pink.std()).clip(0.0, 1.0).astype("float32"))
    return found.mean(axis=0), found.std(axis=0) + 1e-6
