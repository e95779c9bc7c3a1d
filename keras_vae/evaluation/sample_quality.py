"""Whether samples look like the data, as one number with its error.

    evaluation.kid(test, vae.sample(2000, seed=0))     # KID(value=0.31, standard_error=0.01, ...)
    evaluation.nearest_neighbours(test, vae.sample(600, seed=0))     # TwoSampleTest(accuracy=0.61, ...), 0.5 is chance

Values of KID are to be compared with each other where the features, the real images and their number are the same. They
say nothing beside published ones, which are of the features of an Inception network.
"""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class KID:
    """The kernel distance of two sets of examples.

    Attributes:
        value: the unbiased estimate, 0 on average for two sets of one distribution, and so below 0 at times.
        standard_error: by leaving out each example once (the jackknife). Where the two distributions are the same it is
            too large by about a half.
        num_real: number of real examples.
        num_drawn: number of drawn ones.
        num_features: d.
    """

    value: float
    standard_error: float
    num_real: int
    num_drawn: int
    num_features: int


def kid(real: Any, drawn: Any, features: Callable[[np.ndarray], Any] | None = None) -> KID:
    """The kernel inception distance of Binkowski et al. 2018, "Demystifying MMD GANs": the squared maximum mean
    discrepancy of the features of two sets, under the kernel k(a, b) = (a.b / d + 1)^3.

        sum_{i != j} k(a_i, a_j) / m (m - 1) + sum_{i != j} k(b_i, b_j) / n (n - 1) - 2 sum_{i, j} k(a_i, b_j) / m n

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise, such as `vae.sample(2000, seed=0)`.
        features: what makes features [B, d] of a batch [B, ...]: any function, or a Keras model, such as a classifier
            of your data without its last layer. None takes `image_features`, which need nothing to be fetched or
            trained: they tell colours, contrasts, sharpness, textures and where they are, but know no objects.

    Raises:
        ValueError: for fewer than two examples, other shapes than the real ones, features that are no matrix or not
            finite, and for `features=None` with data that are no images in [0, 1].
    """
    chosen = image_features if features is None else features
    a, b = (_features(x, chosen) for x in _alike("kid", real, drawn))
    m, n = len(a), len(b)
    within_a, within_b = _sums(a, a, leave_out_self=True), _sums(b, b, leave_out_self=True)
    of_a, of_b = _sums(a, b), _sums(b, a)
    total_a, total_b, across = within_a.sum(), within_b.sum(), of_a.sum()

    def estimate(total_a: Any, m: int, total_b: Any, n: int, across: Any) -> Any:
        return total_a / (m * max(m - 1, 1)) + total_b / (n * max(n - 1, 1)) - 2.0 * across / (m * n)

    without_a = estimate(total_a - 2.0 * within_a, m - 1, total_b, n, across - of_a)
    without_b = estimate(total_a, m, total_b - 2.0 * within_b, n - 1, across - of_b)
    variance = (m - 1) * without_a.var() + (n - 1) * without_b.var()
    return KID(float(estimate(total_a, m, total_b, n, across)), float(np.sqrt(variance)), m, n, a.shape[1])


@dataclasses.dataclass(frozen=True)
class TwoSampleTest:
    """How often a nearest neighbour tells drawn from real examples.

    Attributes:
        accuracy: share of all examples whose nearest neighbour is of their own kind, 0.5 on average for two sets of one
            distribution.
        standard_error: sqrt(a (1 - a) / 2 n), as if the examples were told independently of each other.
        of_real: share of the real ones alone. Low where drawn ones lie among them, and low too where they all lie near
            few.
        of_drawn: of the drawn ones: high where they are more like each other than like any real one.
        num_each: n.
    """

    accuracy: float
    standard_error: float
    of_real: float
    of_drawn: float
    num_each: int


def nearest_neighbours(
    real: Any, drawn: Any, features: Callable[[np.ndarray], Any] | None = None, seed: int = 0
) -> TwoSampleTest:
    """The leave-one-out accuracy of a nearest neighbour that says whether an example is drawn: Lopez-Paz and Oquab
    2017, "Revisiting classifier two-sample tests"; Xu et al. 2018, "An empirical study on evaluation metrics of
    generative adversarial networks".

    A model that repeats its training data passes it beside them: give real data that it has not seen. Distances are
    Euclidean, of the values as they are unless `features` are given. Between large pictures such distances say little
    of what is seen; there `kid` is better.

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise. Of the larger set as many as the smaller one has are taken, at random.
        features: as in `kid`.
        seed: of the choice.

    Raises:
        ValueError: for fewer than two examples, other shapes than the real ones, and features that are no matrix or not
            finite.
    """
    from sklearn.neighbors import NearestNeighbors

    a, b = (_features(x, features or _values) for x in _alike("nearest_neighbours", real, drawn))
    n = min(len(a), len(b))
    a, b = (x[np.sort(np.random.default_rng(seed).permutation(len(x))[:n])] for x in (a, b))
    # Without a query scikit-learn gives each point's neighbour among the others.
    nearest = NearestNeighbors(n_neighbors=1).fit(np.concatenate([a, b])).kneighbors(return_distance=False)[:, 0]
    told = (nearest < n) == (np.arange(2 * n) < n)
    accuracy = float(told.mean())
    error = float(np.sqrt(accuracy * (1.0 - accuracy) / (2 * n)))
    return TwoSampleTest(accuracy, error, float(told[:n].mean()), float(told[n:].mean()), n)


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
            f"The features of kid(features=None) are those of images [N, H, W, C] of 4x4 pixels at least, not of "
            f"shape {images.shape}: give features, a function or a Keras model from a batch to [B, d]."
        )
    if not (images.min(initial=0.0) >= -1e-3 and images.max(initial=1.0) <= 1.0 + 1e-3):
        raise ValueError(
            f"The features of kid(features=None) are those of images in [0, 1], not in [{images.min():.3g}, "
            f"{images.max():.3g}]: clip or scale them, or give features of your own."
        )
    mean, deviation = _reference(images.shape[1:])
    return (_raw_features(images) - mean) / deviation


def _alike(what: str, real: Any, drawn: Any) -> list[np.ndarray]:
    examples = [gather(data)[0] for data in (real, drawn)]
    shape = examples[0].shape[1:]
    for name, x in zip(("real", "drawn"), examples, strict=True):
        if len(x) < 2:
            raise ValueError(f"{what} needs two examples at least, and {name} has {len(x)}.")
        if x.shape[1:] != shape:
            raise ValueError(f"Real examples have the shape {shape}, and drawn ones {x.shape[1:]}: give alike ones.")
    return examples


def _values(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, "float64").reshape(len(x), -1)


def _features(x: np.ndarray, features: Callable[[np.ndarray], Any]) -> np.ndarray:
    made = [np.asarray(features(x[start : start + BLOCK]), "float64") for start in range(0, len(x), BLOCK)]
    if any(part.ndim != 2 for part in made) or sum(map(len, made)) != len(x):
        raise ValueError(f"features must give a matrix [B, d] for a batch [B, ...], not of shape {made[0].shape}.")
    found = np.concatenate(made)
    if not np.isfinite(found).all():
        raise ValueError("Some features are not finite: look at the samples, and at the function that makes features.")
    return found


def _sums(a: np.ndarray, b: np.ndarray, leave_out_self: bool = False) -> np.ndarray:
    """sum_j k(a_i, b_j) for each i, [len(a)], in blocks of rows."""
    found = np.empty(len(a))
    for start in range(0, len(a), BLOCK):
        kernel = (a[start : start + BLOCK] @ b.T / a.shape[1] + 1.0) ** 3
        found[start : start + BLOCK] = kernel.sum(axis=1)
        if leave_out_self:
            found[start : start + BLOCK] -= np.diagonal(kernel, start)
    return found


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
