"""What a conditional model of images is measured against: interpolation of the condition, which knows no data.

image_restoration.interpolation(train, test)    # bits/dim, PSNR and sharpness of the bicubic image
image_restoration.answers(vae, test)            # the same of the model's answers, and how much they differ
"""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar

from keras_vae.data.examples import resized
from keras_vae.distributions.grid import GridLogistic
from keras_vae.evaluation.statistics import gather, given
from keras_vae.likelihoods.given_means import Groups, ImageGivenMeans, holds_means, mean_given
from keras_vae.likelihoods.likelihood import bits_per_dim
from keras_vae.models.vae import VAE

# Images that decide the scale of the interpolation's noise.
FITTED = 500
# Pictures that are answered.
ANSWERED = 500
# Answers to each: the mean of K is off the mean of all by 1 / K of their variance, which of 16 is a decibel's tenth.
DRAWS = 64
# Mean squared error of what is rounded to 256 levels: 58.9 dB. Of one picture, no smaller error is counted: a gray
# photograph is its own brightness exactly, and one in a hundred would decide the mean over all pictures.
ROUNDING = 1.0 / (12.0 * 255.0**2)


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """How well the condition, brought to the size of the image, predicts it.

    Attributes:
        log_likelihood: mean log p(x|c) over the test images, in nats.
        bits_per_dim: -log_likelihood / (D log 2).
        psnr: 10 log10(1 / MSE) in decibels, of the mean squared error of all test images.
        psnr_per_picture: mean over the test images of the PSNR of each, at most 58.9 dB, that of a rounding.
        psnr_consistent: as `psnr`, of the interpolation moved to have the means that the condition holds; None where
            it holds none.
        sharpness: energy of its gradients, as a share of that of the truth.
        consistency: largest difference of its means from the condition, in units of the range; None likewise.
        scale: of the logistic noise, fitted to the training images.
    """

    log_likelihood: float
    bits_per_dim: float
    psnr: float
    psnr_per_picture: float
    psnr_consistent: float | None
    sharpness: float
    consistency: float | None
    scale: float


def interpolation(train: Any, test: Any, levels: int = 256, given_means: bool = False) -> Interpolation:
    """The likelihood of the truth under bicubic interpolation of the condition with the best constant noise.

    p(x|c) is a discretized logistic distribution around the interpolated image; its one scale is the best for the first
    500 training images. A gray condition stands for all colours.

    Args:
        train: (images, conditions), or a finite dataset of such batches, in which the conditions are images.
        test: likewise; all of it is used.
        levels: number of levels of the images.
        given_means: whether the noise knows the means that the condition holds, as `likelihoods.GivenMeans` does: the
            baseline of models with that likelihood.

    Raises:
        ValueError: for conditions that are no images.
    """

    x, y = gather(train, FITTED)
    predicted, c = _interpolated(x, y)

    def negative(log_scale: float) -> float:
        return -float(np.mean(_log_likelihood(x, predicted, c, math.exp(log_scale), levels, given_means)))

    scale = math.exp(float(minimize_scalar(negative, bounds=(-7.0, 1.0), method="bounded").x))
    x, y = gather(test)
    predicted, c = _interpolated(x, y)
    found = float(np.mean(_log_likelihood(x, predicted, c, scale, levels, given_means)))
    moved = _with_means(predicted, c)
    return Interpolation(
        log_likelihood=found,
        bits_per_dim=bits_per_dim(found, x.shape[1:]),
        psnr=psnr(x, predicted),
        psnr_per_picture=psnr_per_picture(x, predicted),
        psnr_consistent=None if moved is None else psnr(x, moved),
        sharpness=sharpness(x, predicted),
        consistency=consistency(predicted, c),
        scale=scale,
    )


@dataclasses.dataclass(frozen=True)
class Answers:
    """Means of p(x|z, c), z ~ p(z|c), against the truth.

    Attributes:
        psnr: of single answers, in decibels, of the mean squared error of all of them.
        psnr_of_mean: of the mean of the answers to a condition, which no answer need look like.
        psnr_of_mean_per_picture: mean over the pictures of that of each, at most 58.9 dB.
        gain: `psnr_of_mean` less that of the interpolation of the same conditions, in decibels.
        gain_per_picture: mean over the pictures of the same difference for each.
        nearer: share of the pictures of which the mean of the answers is nearer to the truth than the interpolation.
        gain_over_consistent: likewise, of the interpolation moved to have the means that the condition holds; None
            where it holds none.
        spread: standard deviation of the answers to a condition, mean over pixels and images, in units of the range.
        sharpness: energy of the gradients of single answers, as a share of that of the truth.
        sharpness_of_mean: of the mean of the answers.
        sharpness_of_interpolation: of the interpolation.
        consistency: largest difference of an answer's means from the condition, in units of the range; None where the
            condition holds none.
    """

    psnr: float
    psnr_of_mean: float
    psnr_of_mean_per_picture: float
    gain: float
    gain_per_picture: float
    nearer: float
    gain_over_consistent: float | None
    spread: float
    sharpness: float
    sharpness_of_mean: float
    sharpness_of_interpolation: float
    consistency: float | None


def answers(vae: VAE, data: Any, n: int = ANSWERED, draws: int = DRAWS, seed: int = 0) -> Answers:
    """How far the answers of a model conditioned on images are from the truth, and from each other.

    Args:
        vae: a model conditioned on images.
        data: a data set with conditions; its first `n` examples.
        n: number of examples.
        draws: number of answers to each condition.
        seed: of the draws.

    Raises:
        ValueError: for conditions that are no images.
    """
    x, y = gather(data, n)
    condition = given(vae, y, data)
    predicted, c = _interpolated(x, y)
    total, squares = np.zeros(x.shape), np.zeros(x.shape)
    errors, energies, off = [], [], []
    for k in range(draws):
        one = vae.sample(len(x), seed=seed * draws + k, condition=condition)
        total += one
        squares += np.square(one, dtype="float64")
        errors.append(_errors(x, one).mean())
        energies.append(sharpness(x, one))
        off.append(consistency(one, c))
    mean, moved = total / draws, _with_means(predicted, c)
    found, of_each = psnr(x, mean), psnr_per_picture(x, mean)
    return Answers(
        psnr=_decibels(np.mean(errors)),
        psnr_of_mean=found,
        psnr_of_mean_per_picture=of_each,
        gain=found - psnr(x, predicted),
        gain_per_picture=of_each - psnr_per_picture(x, predicted),
        nearer=float(np.mean(_errors(x, mean) < _errors(x, predicted))),
        gain_over_consistent=None if moved is None else found - psnr(x, moved),
        spread=float(np.sqrt(np.maximum(squares / draws - np.square(mean), 0.0)).mean()),
        sharpness=float(np.mean(energies)),
        sharpness_of_mean=sharpness(x, mean),
        sharpness_of_interpolation=sharpness(x, predicted),
        consistency=max((each for each in off if each is not None), default=None),
    )


def compare(vae: VAE, train: Any, test: Any) -> dict[str, dict[str, float | None]]:
    """Both of the above as plain numbers, for a model conditioned on images."""
    likelihood = vae.decoder.likelihood
    return {
        "interpolation": dataclasses.asdict(
            interpolation(train, test, likelihood.levels or 256, likelihood.needs_condition)
        ),
        "answers": dataclasses.asdict(answers(vae, test)),
    }


def psnr(x: np.ndarray, predicted: np.ndarray) -> float:
    """10 log10(1 / MSE) in decibels, of the mean squared error of all pictures in [0, 1]."""
    return _decibels(np.mean(np.square(x - predicted), dtype="float64"))


def psnr_per_picture(x: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the pictures [N, H, W, C] of the PSNR of each, at most that of a rounding, 58.9 dB."""
    return float(np.mean(-10.0 * np.log10(np.maximum(_errors(x, predicted), ROUNDING))))


def sharpness(x: np.ndarray, predicted: np.ndarray) -> float:
    """Sum of squared differences of neighbouring pixels, as a share of that of the truth [N, H, W, C]."""
    energy, of_truth = (
        sum(float(np.sum(np.square(np.diff(images, axis=axis)), dtype="float64")) for axis in (1, 2))
        for images in (predicted, x)
    )
    return energy / of_truth


def consistency(images: np.ndarray, c: np.ndarray) -> float | None:
    """The largest difference of the means of images [N, H, W, C] from a condition [N, h, w, c] in [0, 1].

    Brightness is 0.299 R + 0.587 G + 0.114 B. None where the condition holds no means, by its shape.
    """
    if not holds_means(images.shape[1:], c.shape[1:]):
        return None
    groups = Groups(images.shape[1:], c.shape[1:])
    means = np.asarray(groups.of(tf.constant(images)), "float64") @ groups.weights
    return float(np.abs(means - c).max())


def _decibels(error: Any) -> float:
    return float(-10.0 * np.log10(max(error, 1e-10)))


def _errors(x: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The mean squared error of each picture [N, H, W, C], [N]."""
    return np.mean(np.square(x - predicted), axis=(1, 2, 3), dtype="float64")


def _interpolated(x: np.ndarray, c: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The condition at the size of the images and with their channels, and as it is, both in [0, 1]."""
    if c is None or c.ndim != 4 or x.ndim != 4:
        raise ValueError("Interpolation needs conditions that are images beside the images.")
    height, width, channels = x.shape[1:]
    values = c.astype("float32") / np.float32(255.0 if c.dtype == np.uint8 else 1.0)
    larger = np.stack([resized(image, (height, width)) for image in values])
    if larger.shape[-1] != channels:
        larger = np.repeat(larger.mean(axis=-1, keepdims=True), channels, axis=-1)
    return np.clip(larger, 0.0, 1.0), values


def _with_means(predicted: np.ndarray, c: np.ndarray) -> np.ndarray | None:
    """The pictures moved to have the means that the condition holds, within [0, 1]; None where it holds none."""
    if not holds_means(predicted.shape[1:], c.shape[1:]):
        return None
    groups = Groups(predicted.shape[1:], c.shape[1:])
    loc = groups.of(tf.constant(predicted))
    w = groups.weights.astype("float32")
    return np.asarray(groups.image(mean_given(loc, tf.ones_like(loc), tf.constant(c)[..., tf.newaxis], w)))


def _log_likelihood(
    x: np.ndarray, predicted: np.ndarray, c: np.ndarray, scale: float, levels: int, given_means: bool
) -> np.ndarray:
    totals = []
    for start in range(0, len(x), 256):
        rows = slice(start, start + 256)
        loc = tf.constant(predicted[rows])
        noise = tf.fill(tf.shape(loc), np.float32(scale))
        if given_means:
            totals.append(ImageGivenMeans(loc, noise, tf.constant(c[rows]), levels).log_prob(x[rows]))
        else:
            totals.append(tf.reduce_sum(GridLogistic(loc, noise, levels).log_prob(x[rows]), axis=[1, 2, 3]))
    return np.concatenate(totals)
