"""Averaged weights over a window that grows with the steps that were made."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


@contextlib.contextmanager
def growing_window(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """In this context the optimizer averages weights with min(`ema_momentum`, (1 + t) / (10 + t)) at its step t.

    Keras starts its average at the weights after the first step, which count with `ema_momentum`^t at step t: with
    0.999 half of the average after 700 steps is a model that has learned nothing. With this the window is a tenth of
    the steps so far until it is as long as it shall be, the rule of `tf.train.ExponentialMovingAverage(num_updates=t)`.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if not inner.use_ema:
        yield
        return
    momentum, step = inner.ema_momentum, tf.cast(tf.convert_to_tensor(inner.iterations), tf.float32)
    inner.ema_momentum = tf.minimum(tf.cast(momentum, tf.float32), (1.0 + step) / (10.0 + step))
    try:
        yield
    finally:
        inner.ema_momentum = momentum
