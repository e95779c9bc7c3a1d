"""A discriminator that has won is drawn anew."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_vae import internals, seeds


def count_wins(lead: keras.Variable, is_won: tf.Tensor, skipped: tf.Tensor, patience: int) -> tf.Tensor:
    """Count the steps in a row in which the discriminator had won, and say whether they are `patience`: count anew.

    Args:
        lead: the count.
        is_won: whether it has won in this step.
        skipped: whether this step is none.
        patience: steps.
    """
    before = tf.convert_to_tensor(lead)
    steps = tf.where(skipped, before, tf.where(is_won, before + 1, 0))
    is_due = steps >= patience
    lead.assign(tf.where(is_due, tf.zeros_like(steps), steps))
    return is_due


def draw_anew(
    is_due: tf.Tensor, variables: Sequence[keras.Variable], optimizer: keras.optimizers.Optimizer, seed: tf.Tensor
) -> None:
    """Where it is due, give kernels new values of variance 1 / inputs, and let the optimizer forget the old ones.

    The same graph whether it is due or not: all replicas assign, and XLA compiles it.

    Args:
        is_due: whether anything is to be done.
        variables: of the discriminator; those of one axis, such as biases, stay.
        optimizer: its own.
        seed: of the new values.
    """
    for number, kernel in enumerate(variables):
        if len(kernel.shape) > 1:
            deviation = 1.0 / math.sqrt(math.prod(kernel.shape[:-1]))
            drawn = deviation * tf.random.stateless_normal(kernel.shape, seeds.fold_in(seed, number))
            kernel.assign(tf.where(is_due, tf.cast(drawn, kernel.dtype), tf.convert_to_tensor(kernel)))
    for slot in internals.optimizer_memory(optimizer):
        value = tf.convert_to_tensor(slot)
        slot.assign(tf.where(is_due, tf.zeros_like(value), value))
