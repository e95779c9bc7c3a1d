"""The optimizer's update: in fewer passes over the memory, with averaged weights that follow from the first step on."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae import internals


def apply(optimizer: keras.optimizers.Optimizer, gradients: Sequence[Any], variables: Sequence[keras.Variable]) -> None:
    """`optimizer.apply(gradients, variables)`; Adam's update of a variable is one kernel instead of Keras's ten.

    The formula is Keras's own, and the slots are those of the optimizer, whose clipping, weight decay, averages,
    accumulation and loss scale stay in charge. Everything else than plain Adam and its subclasses that keep its
    formula, such as AdamW, and whatever runs under a distribution strategy, is left to Keras.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    is_adam = isinstance(inner, keras.optimizers.Adam) and type(inner).update_step is keras.optimizers.Adam.update_step
    if is_adam and not inner.amsgrad and not tf.distribute.has_strategy():
        with _one_kernel(inner):
            optimizer.apply(gradients, variables)
    else:
        optimizer.apply(gradients, variables)


@contextlib.contextmanager
def _one_kernel(adam: keras.optimizers.Adam) -> Iterator[None]:
    step = tf.cast(tf.convert_to_tensor(adam.iterations), tf.float32) + 1.0
    beta_1_power, beta_2_power = tf.pow(adam.beta_1, step), tf.pow(adam.beta_2, step)

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not isinstance(gradient, tf.Tensor) or variable.dtype != tf.float32:
            type(adam).update_step(adam, gradient, variable, learning_rate)
            return
        m, v = internals.adam_slots(adam, variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.value.handle,
            v=v.value.handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=adam.beta_1,
            beta2=adam.beta_2,
            epsilon=adam.epsilon,
            grad=tf.cast(gradient, tf.float32),
        )

    # For the time of one call, in which Keras asks the instance for its update.
    vars(adam)["update_step"] = update_step
    try:
        yield
    finally:
        del vars(adam)["update_step"]


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
