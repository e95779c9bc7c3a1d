"""Checks of the arguments of constructors, which say what is allowed."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_vae.distributions.support import Support


def check_count(name: str, count: Any, at_least: int = 1) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not an int of at least `at_least`.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < at_least:
        raise ValueError(f"{name} must be an int >= {at_least}, not {count!r}.")
    return int(count)


def check_num_classes(num_classes: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not an int of at least two.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes must be an int of at least 2, not {num_classes!r}.")
    return num_classes


def check_rate(rate: float) -> float:
    """A learning rate as a float.

    Raises:
        ValueError: if it is not a positive, finite number.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
        raise ValueError(f"discriminator_learning_rate must be a positive number, not {rate!r}.")
    return float(rate)


def check_threshold(threshold: float | None) -> float | None:
    """The threshold.

    Raises:
        ValueError: unless it is None or a positive number.
    """
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold < math.inf:
        raise ValueError(f"gradient_skip_norm must be a positive number or None, not {threshold!r}.")
    return float(threshold)


def check_latent_dim(latent_dim: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(latent_dim, bool) or not isinstance(latent_dim, int) or latent_dim < 1:
        raise ValueError(f"latent_dim must be a positive int, not {latent_dim!r}.")
    return latent_dim


def check_interval(low: float, high: float) -> Support:
    """The interval [low, high].

    Raises:
        ValueError: unless low < high, both finite numbers.
    """
    is_number = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in (low, high))
    if not is_number or not -math.inf < low < high < math.inf:
        raise ValueError(f"low and high must be finite numbers with low < high, not {low!r} and {high!r}.")
    return Support(float(low), float(high))


def check_event_shape(event_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple of ints.

    Raises:
        ValueError: if it is empty or holds anything but positive ints.
    """
    if not isinstance(event_shape, (list, tuple)) or not event_shape:
        raise ValueError(f"event_shape must be a tuple such as (28, 28, 1) or (784,), not {event_shape!r}.")
    if any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in event_shape):
        raise ValueError(f"event_shape must hold positive ints only, not {tuple(event_shape)!r}.")
    return tuple(int(n) for n in event_shape)


def check_sizes(name: str, sizes: Sequence[int], allow_empty: bool = False) -> list[int]:
    """The sizes as a list of ints.

    Raises:
        ValueError: if it is not a list of positive ints, or empty where that means nothing.
    """
    is_list = isinstance(sizes, (list, tuple))
    if not is_list or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"{name} must be a list of positive ints such as [512, 256], not {sizes!r}.")
    if not sizes and not allow_empty:
        raise ValueError(f"{name} must name at least one layer.")
    return list(sizes)


def check_activation(activation: str) -> str:
    """The name, if Keras knows it.

    Raises:
        ValueError: for an unknown activation.
    """
    if not isinstance(activation, str):
        raise ValueError(f"activation must be the name of a Keras activation, so that it can be saved: {activation!r}.")
    keras.activations.get(activation)
    return activation


def require_image(shape: tuple[int, ...], network: str) -> None:
    """Refuse what is not height x width x channels.

    Raises:
        ValueError: if `shape` does not have three axes.
    """
    if len(shape) != 3:
        raise ValueError(
            f"networks.{network} works on images of shape (height, width, channels), not on data of shape {shape}. "
            "Use networks.mlp for vectors, and x[..., None] for images without a channel axis."
        )


def check_num_samples(num_samples: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(f"num_samples must be a positive int, not {num_samples!r}.")
    return num_samples


def check_num_examples(num_examples: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise ValueError(f"num_examples, the size of the training data, must be a positive int, not {num_examples!r}.")
    return num_examples
