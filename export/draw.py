"""Draws from a prior for an exported `sample`: row i of z depends on seed pair i alone."""

import itertools
import math
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.codes.chains import Codes
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.one_hot import OneHot
from keras_vae.export import threefry


class NoTransform(Exception):
    """This distribution is not one that plain normals and uniforms can be turned into here."""


def draw(p: tfd.Distribution, seed: tf.Tensor) -> tf.Tensor:
    """One draw per seed pair, made from the counter-based numbers of `keras_vae.export.threefry` by builtin ops.

    Covers normals (scalar, diagonal, any linear operator), uniforms, one-hots, chains of codes, independent repetitions
    and blocks, everything that TFP calls a transformed distribution, and mixtures of these.

    Args:
        p: batch [] or, given conditions, [N]; event [L].
        seed: int32 [N, 2].

    Returns:
        float32 [N, L].

    Raises:
        NoTransform: p is none of these.
    """
    rank = p.batch_shape.rank
    if rank and not (isinstance(p, Codes) or _is(p, "MultivariateNormalLinearOperator")):
        raise NoTransform(f"a conditional {type(p).__name__} is neither normal nor a chain of codes")
    return _draw(p, seed, itertools.count(), by_row=bool(rank))


def draw_by_rows(p: tfd.Distribution, seed: tf.Tensor) -> tf.Tensor:
    """One draw per seed pair, by TFP's stateless sampling, row after row: any distribution, but no TFLite.

    Of a batch of distributions, row i of a draw of all: it depends on seed i and the condition of row i alone.

    Args:
        p: batch [] or, given conditions, [N]; event [L].
        seed: int32 [N, 2].

    Returns:
        float32 [N, L].
    """
    spec = tf.TensorSpec(p.event_shape, tf.float32)
    if p.batch_shape.rank:
        rows = tf.range(tf.shape(seed)[0])
        return tf.map_fn(lambda row: tf.cast(p.sample(seed=seed[row])[row], tf.float32), rows, fn_output_signature=spec)
    return tf.map_fn(lambda pair: tf.cast(p.sample(seed=pair), tf.float32), seed, fn_output_signature=spec)


# Streams of the levels below the top, far from those of any prior.
LEVEL_STREAM = 1000


def level_noise(seed: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    """Standard normals for the lower levels of a hierarchy, [N, size] each: row i depends on seed pair i alone."""
    return [threefry.normals(seed, size, LEVEL_STREAM + index) for index, size in enumerate(sizes)]


def _draw(p: tfd.Distribution, seed: tf.Tensor, streams: Iterator[int], by_row: bool = False) -> tf.Tensor:
    """Draws of shape [N, *batch_shape, *event_shape]; by row, the batch is [N] itself."""
    p = getattr(p, "tensor_distribution", p)  # what a tfp layer wraps
    if isinstance(p, Joint):
        return tf.concat([_draw(part, seed, streams, by_row) for part in p.parts], axis=-1)
    shape = [int(n) for n in (*([] if by_row else p.batch_shape), *p.event_shape)]
    size = math.prod(shape)
    if isinstance(p, OneHot) or _is(p, "OneHotCategorical"):
        # The largest of logits and Gumbel noise is a draw from their softmax.
        gumbel = -tf.math.log(-tf.math.log(tf.reshape(threefry.uniforms(seed, size, next(streams)), [-1, *shape])))
        logits = p.logits if p.logits is not None else tf.math.log(p.probs)
        return tf.one_hot(tf.argmax(logits + gumbel, axis=-1), shape[-1])
    if isinstance(p, Codes):
        u = threefry.uniforms(seed, p.places * p.noise_size, next(streams))
        return tf.reshape(p.from_uniforms(tf.reshape(u, [-1, p.places, p.noise_size])), [-1, *shape])
    if _is(p, "MultivariateNormalLinearOperator"):
        noise = tf.reshape(threefry.normals(seed, size, next(streams)), [-1, *shape])
        return p.loc + p.scale.matvec(noise)
    if _is(p, "TransformedDistribution"):
        return p.bijector.forward(_draw(p.distribution, seed, streams))
    if _is(p, "Independent"):
        return _draw(p.distribution, seed, streams)
    if _is(p, "Sample") and not p.distribution.batch_shape.rank and not p.distribution.event_shape.rank:
        return _elementwise(p.distribution, seed, streams, shape)
    if _is(p, "MixtureSameFamily") and not p.batch_shape.rank:
        return _mixture(p, seed, streams)
    return _elementwise(p, seed, streams, shape)


def _is(p: tfd.Distribution, name: str) -> bool:
    """Whether p is of a class of TFP, or of the private twin that TFP makes where parameters are no tensors."""
    return any(
        base.__name__.lstrip("_") == name and base.__module__.startswith("tensorflow_probability.")
        for base in type(p).__mro__
    )


def _elementwise(p: tfd.Distribution, seed: tf.Tensor, streams: Iterator[int], shape: list[int]) -> tf.Tensor:
    size = math.prod(shape)
    if _is(p, "Normal"):
        return p.loc + p.scale * tf.reshape(threefry.normals(seed, size, next(streams)), [-1, *shape])
    if _is(p, "Uniform"):
        return p.low + (p.high - p.low) * tf.reshape(threefry.uniforms(seed, size, next(streams)), [-1, *shape])
    raise NoTransform(f"{type(p).__name__} is not made of normals and uniforms")


def _mixture(p: tfd.MixtureSameFamily, seed: tf.Tensor, streams: Iterator[int]) -> tf.Tensor:
    """All components are drawn, and the one in whose share of (0, 1) a uniform number falls is taken."""
    components = _draw(p.components_distribution, seed, streams)
    shares = tf.math.softmax(p.mixture_distribution.logits_parameter())
    number = threefry.uniforms(seed, 1, next(streams))
    index = tf.reduce_sum(tf.cast(number > tf.cumsum(shares)[:-1], tf.int32), axis=1)
    chosen = tf.one_hot(index, int(shares.shape[0]), dtype=tf.float32)
    return tf.reduce_sum(components * chosen[..., tf.newaxis], axis=1)
