"""What a conditional model of images is measured against: interpolation of the condition, which knows no data.

image_restoration.interpolation(train, test)    # bits/dim and PSNR of the bicubic image
image_restoration.answers(vae, test)            # PSNR of the model's answers, and how much they differ
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
from keras_vae.likelihoods.likelihood import bits_per_dim
from keras_vae.models.vae import VAE

# Images that decide the scale of the interpolation's noise.
FITTED = 500


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """How well the condition, brought to the size of the image, predicts it.

    Attributes:
        log_likelihood: mean log p(x|c) over the test images, in nats.
        bits_per_dim: -log_likelihood / (D log 2).
        psnr: 10 log10(1 / MSE) in decibels, mean over the test images.
        scale: of the logistic noise, fitted to the training images.
    """

    log_likelihood: float
    bits_per_dim: float
    psnr: float
    scale: float


def interpolation(train: Any, test: Any, levels: int = 256) -> Interpolation:
    """The likelihood of the truth under bicubic interpolation of the condition with the best constant noise.

    p(x|c) is a discretized logistic distribution around the interpolated image; its one scale is the best for the first
    500 training images. A gray condition stands for all colours.

    Args:
        train: (images, conditions), or a finite dataset of such batches, in which the conditions are images.
        test: likewise; all of it is used.
        levels: number of levels of the images.

    Raises:
        ValueError: for conditions that are no images.
    """
    x, c = gather(train, FITTED)
    predicted = _interpolated(x, c)

    def negative(log_scale: float) -> float:
        return -float(np.mean(_log_likelihood(x, predicted, math.exp(log_scale), levels)))

    scale = math.exp(float(minimize_scalar(negative, bounds=(-7.0, 1.0), method="bounded").x))
    x, c = gather(test)
    predicted = _interpolated(x, c)
    found = float(np.mean(_log_likelihood(x, predicted, scale, levels)))
    return Interpolation(
        log_likelihood=found,
        bits_per_dim=bits_per_dim(found, x.shape[1:]),
        psnr=float(np.mean(_psnr(x, predicted))),
        scale=scale,
    )


@dataclasses.dataclass(frozen=True)
class Answers:
    """Means of p(x|z, c), z ~ p(z|c), against the truth.

    Attributes:
        psnr: of single answers, mean over images and draws, in decibels.
        psnr_of_mean: of the mean of the answers to a condition, which no answer need look like.
        spread: standard deviation of the answers to a condition, mean over pixels and images, in units of the range.
    """

    psnr: float
    psnr_of_mean: float
    spread: float


def answers(vae: VAE, data: Any, n: int = 200, draws: int = 8, seed: int = 0) -> Answers:
    """How far the answers of a conditional model are from the truth, and from each other.

    Args:
        vae: a conditional model.
        data: a data set with conditions; its first `n` examples.
        n: number of examples.
        draws: number of answers to each condition.
        seed: of the draws.
    """
    x, y = gather(data, n)
    condition = given(vae, y, data)
    drawn = np.stack([vae.sample(len(x), seed=seed * draws + k, condition=condition) for k in range(draws)])
    return Answers(
        psnr=float(np.mean([_psnr(x, one) for one in drawn])),
        psnr_of_mean=float(np.mean(_psnr(x, drawn.mean(axis=0)))),
        spread=float(drawn.std(axis=0).mean()),
    )


def compare(vae: VAE, train: Any, test: Any) -> dict[str, dict[str, float]]:
    """Both of the above as plain numbers, for a model conditioned on images."""
    levels = vae.decoder.likelihood.levels or 256
    return {
        "interpolation": dataclasses.asdict(interpolation(train, test, levels)),
        "answers": dataclasses.asdict(answers(vae, test)),
    }


def _interpolated(x: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    if c is None or c.ndim != 4 or x.ndim != 4:
        raise ValueError("Interpolation needs conditions that are images beside the images.")
    height, width, channels = x.shape[1:]
    values = c.astype("float32") / (255.0 if c.dtype == np.uint8 else 1.0)
    larger = np.stack([resized(image, (height, width)) for image in values])
    if larger.shape[-1] != channels:
        larger = np.repeat(larger.mean(axis=-1, keepdims=True), channels, axis=-1)
    return np.clip(larger, 0.0, 1.0)


def _log_likelihood(x: np.ndarray, predicted: np.ndarray, scale: float, levels: int) -> np.ndarray:
    totals = []
    for start in range(0, len(x), 256):
        loc = tf.constant(predicted[start : start + 256])
        p = GridLogistic(loc, tf.fill(tf.shape(loc), np.float32(scale)), levels)
        totals.append(tf.reduce_sum(p.log_prob(x[start : start + 256]), axis=[1, 2, 3]))
    return np.concatenate(totals)


def _psnr(x: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return -10.0 * np.log10(np.maximum(np.mean((x - predicted) ** 2, axis=(1, 2, 3)), 1e-10))
