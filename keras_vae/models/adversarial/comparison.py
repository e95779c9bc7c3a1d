"""The reconstruction term r(x, z) of a VAE/GAN: pixels, what a discriminator makes of x, and features of a network."""

import dataclasses
from typing import Any

import tensorflow as tf

from keras_vae import schedules
from keras_vae.models.adversarial import game
from keras_vae.models.adversarial.discriminator import as_list
from keras_vae.terms import Terms

# Steps of the moving average of the features' variance, and the least that it may be.
WINDOW, TINY = 100.0, 1e-8


def compare(
    vae: Any,
    terms: Terms,
    x: tf.Tensor,
    made: tf.Tensor,
    of_x: list[tf.Tensor],
    of_made: list[tf.Tensor],
    training: bool,
) -> tuple[Terms, dict[str, tf.Tensor]]:
    """The terms with r(x, z) in place of log p(x|z), and the distances in it.

    Args:
        vae: the model.
        terms: of the batch, K draws.
        x: data [B, ...].
        made: x~, [K B, ...].
        of_x: what D_l makes of x, none or some tensors.
        of_made: of x~.
        training: whether v follows these x.
    """
    step, shape = vae.objective_step(), tf.shape(terms.log_likelihood)
    found = {}
    if of_x:
        found["similarity"] = (vae.similarity_weight, of_x, of_made, variance(vae, terms, of_x, training))
    if vae.features is not None:
        seen = [as_list(vae.features(images, training=False)) for images in (x, made)]
        found["feature_distance"] = (vae.feature_weight, *seen, 1.0)
    r, numbers = schedules.at_step(vae.pixel_weight, step) * terms.log_likelihood, {}
    for name, (weight, real, drawn, unit) in found.items():
        pairs = zip(real, drawn, strict=True)
        distance = tf.reshape(tf.add_n([game.squared_distance(a, b) for a, b in pairs]), shape) / unit
        r -= schedules.at_step(weight, step) * distance
        numbers[name] = terms.mean(tf.reduce_mean(distance, axis=0))
    return dataclasses.replace(terms, log_likelihood=r), numbers


def variance(vae: Any, terms: Terms, of_x: list[tf.Tensor], training: bool) -> tf.Tensor:
    """v: the variance of what D_l makes of x over the data, a mean over all features; positive."""
    before = tf.convert_to_tensor(vae.feature_variance)
    flat = tf.stop_gradient(tf.concat([tf.reshape(a, [tf.shape(a)[0], -1]) for a in of_x], axis=1))
    count = terms.total_weight
    mean, square = (game.over_replicas(terms.mean(values), count) for values in (flat, tf.square(flat)))
    here = tf.reduce_mean(square - tf.square(mean))
    if training:
        after = tf.where(before > 0, before + (here - before) / WINDOW, here)
        vae.feature_variance.assign(after)
        return tf.maximum(after, TINY)
    # A model that has not learned yet knows no average.
    return tf.maximum(tf.where(before > 0, before, here), TINY)
