"""Gradients of two losses in the same weights: how strongly each pulls, and their sum."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae.models.adversarial import game
from keras_vae.training import replicas


def balance(
    kernel: keras.Variable, of_data: Mapping[int, Any], of_game: Mapping[int, Any], scale: tf.Tensor, num_values: int
) -> tf.Tensor:
    """`game.adaptive_weight` of the gradients in the decoder's last kernel, over all replicas.

    Args:
        kernel: of the decoder's last layer.
        of_data: scaled gradients of this replica by the ids of their weights.
        of_game: likewise.
        scale: of both.
        num_values: of one example.

    Raises:
        ValueError: if the kernel does not learn.
    """
    if id(kernel) not in of_data:
        raise ValueError("The last layer of the decoder is frozen: adaptive=True looks at its gradients.")
    pair = [dense(of[id(kernel)], kernel) / scale for of in (of_data, of_game)]
    reconstruction, adversarial = replicas.sum_gradients(pair)
    return game.adaptive_weight(reconstruction, adversarial, num_values)


def added(
    gradients: Sequence[Any], variables: Sequence[keras.Variable], of_game: Mapping[int, Any], weight: tf.Tensor
) -> list[Any]:
    """The gradients, with `weight` times those of the game where it reaches."""
    return [
        g if of_game.get(id(v)) is None else dense(g, v) + weight * dense(of_game[id(v)], v)
        for g, v in zip(gradients, variables, strict=True)
    ]


def dense(gradient: Any, variable: keras.Variable) -> tf.Tensor:
    """A gradient as one tensor; of weights that a loss does not reach, zeros."""
    return tf.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient)
