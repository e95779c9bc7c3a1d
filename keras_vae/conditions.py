"""What a model is conditioned on: class labels, vectors, images.

A condition is a recipe, like a network: it knows the shape and the range of its values, and how a network sees them. It
owns no weights. Encoder, decoder and prior each take it, or not:

    digit = conditions.Label(10)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([256]), posteriors.MultivariateNormalDiag(16), condition=digit),
        kv.Decoder(networks.mlp([256]), likelihoods.Bernoulli((28, 28, 1)), condition=digit),
        priors.StandardNormal(16),  # or priors.ConditionalNormal(16, digit)
    )
    vae.fit(images, labels)  # or {"image": images, "condition": labels}, or a dataset of either
    vae.sample(16, condition=7)

That is the conditional VAE of Sohn et al. 2015, "Learning structured output representation using deep conditional
generative models": log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z|c)).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_count, check_sizes, require_image, require_kind
from keras_vae.serialization import Serializable, register


class Condition(Serializable):
    """One kind of condition.

    Attributes:
        shape: of the condition of one example, without the batch.
        dtype: of its values.
        num_classes: number of classes of a label; None of what is none.
        is_image: whether it is [height, width, channels].
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    num_classes: int | None = None
    is_image: bool = False

    @property
    def features_shape(self) -> tuple[int, ...]:
        """Shape of what a network sees of one condition."""
        return self.shape

    def features(self, values: tf.Tensor) -> tf.Tensor:
        """What a network sees, float32 [B, *features_shape], of conditions [B, *shape]."""
        return tf.cast(values, tf.float32)

    def check(self, values: np.ndarray) -> None:
        """Refuse values that cannot be conditions; their shape has been checked.

        Raises:
            ValueError: saying what they are and what is expected.
        """
        is_number = np.issubdtype(values.dtype, np.number) or values.dtype == bool
        if not is_number or not np.all(np.isfinite(values)):
            raise ValueError(f"The condition must be finite numbers, {self}; these have dtype {values.dtype}.")

    def contains(self, values: tf.Tensor) -> tf.Tensor:
        """Whether each of [B, *shape] is a possible condition, [B]."""
        return tf.ones_like(values, tf.bool) if not self.shape else tf.fill(tf.shape(values)[:1], True)

    def zeros(self, n: int) -> np.ndarray:
        """The conditions of n examples, all zero."""
        return np.zeros((n, *self.shape), self.dtype)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), self.shape))

    def __str__(self) -> str:
        arguments = ", ".join(f"{value}" for value in self.get_config().values())
        return f"{type(self).__name__}({arguments})"


@register
class Label(Condition):
    """A class, an int from 0 to `num_classes` - 1; networks see it one-hot.

    Args:
        num_classes: number of classes, at least 2.
    """

    dtype = "int32"
    num_classes: int

    def __init__(self, num_classes: int) -> None:
        # A label of one class says nothing.
        self.num_classes = check_count("num_classes", num_classes, at_least=2)

    @property
    def features_shape(self) -> tuple[int, ...]:
        """(num_classes,)."""
        return (self.num_classes,)

    def features(self, values: tf.Tensor) -> tf.Tensor:
        """One-hot, [B, num_classes]."""
        return tf.one_hot(tf.cast(values, tf.int32), self.num_classes)

    def check(self, values: np.ndarray) -> None:
        """Refuse what is no class.

        Raises:
            ValueError: for labels that are no ints or out of range.
        """
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"The condition is {self}: labels are ints, these have dtype {values.dtype}.")
        if values.size and not (values.min() >= 0 and values.max() < self.num_classes):
            raise ValueError(
                f"The condition is {self}: labels are 0 to {self.num_classes - 1}, these are {values.min()} to "
                f"{values.max()}."
            )

    def contains(self, values: tf.Tensor) -> tf.Tensor:
        """Whether each label is one of the classes, [B]."""
        return (values >= 0) & (values < self.num_classes)


@register
class Vector(Condition):
    """Numbers, [B, size]; they should be of the order of one.

    Args:
        size: number of values.
    """

    def __init__(self, size: int) -> None:
        self.size = check_count("size", size)
        self.shape = (self.size,)


@register
class Image(Condition):
    """An image, [B, height, width, channels], of any size: floats in [0, 1], or uint8, where k stands for k / 255.

    Networks on images see it at each of their resolutions, averaged or interpolated, as more channels; others see its
    pixels as a vector.

    Args:
        shape: (height, width, channels).
    """

    is_image = True

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(check_sizes("shape", shape))
        require_image(self.shape)

    def features(self, values: tf.Tensor) -> tf.Tensor:
        """[B, height, width, channels], float32 in [0, 1]."""
        return tf.cast(values, tf.float32) / (255.0 if values.dtype == tf.uint8 else 1.0)

    def check(self, values: np.ndarray) -> None:
        """Refuse what is no image.

        Raises:
            ValueError: for integers other than uint8, and values outside [0, 1].
        """
        super().check(values)
        if values.dtype == np.uint8:
            return
        if not np.issubdtype(values.dtype, np.floating) or (values.size and not 0 <= values.min() <= values.max() <= 1):
            raise ValueError(
                f"The condition is {self}: floats in [0, 1] or uint8, not {values.dtype} from {values.min()} to "
                f"{values.max()}."
            )


def given(condition: Condition | None, values: Any, rows: int | None = None) -> tf.Tensor | None:
    """The values as a tensor [B, *shape], checked; None for a model without a condition.

    Args:
        condition: what the model is conditioned on, or None.
        values: one condition for each row, or a single one for all.
        rows: B, where it is known.

    Raises:
        ValueError: for a condition that is missing, wrong, or given to a model that has none.
    """
    if condition is None:
        if values is not None:
            raise ValueError("This model takes no condition, and one was given: make its parts with condition=...")
        return None
    if values is None:
        raise ValueError(
            f"This model is conditioned on {condition}, and no condition was given: pass condition=..., or data of "
            'the form {"image": x, "condition": c} or (x, c).'
        )
    if tf.is_symbolic_tensor(values):
        _check_shape(condition, values.shape)
        if not condition.shape:
            # In the graph of a training step; those that are exported have no assertions.
            tf.debugging.Assert(tf.reduce_all(condition.contains(values)), [f"Not all are {condition}:", values])
        return values
    array = np.asarray(values)
    if array.dtype == object:
        raise ValueError(f"The condition is {condition}; this one is no array of numbers: {values!r}.")
    if array.ndim == len(condition.shape):
        array = np.repeat(array[np.newaxis], 1 if rows is None else rows, axis=0)
    _check_shape(condition, array.shape)
    if rows is not None and len(array) != rows:
        raise ValueError(f"There are {len(array)} conditions for {rows} examples: give one for each, or one for all.")
    condition.check(array)
    return tf.convert_to_tensor(array if array.dtype == np.uint8 else array.astype(condition.dtype))


def condition_for(part: Any, values: Any) -> Any:
    """The condition if the part (encoder, decoder or prior) has one, else None."""
    return None if part.condition is None else values


def require(part: Any, values: Any) -> None:
    """Refuse a condition that a part would ignore, and a missing one.

    Raises:
        ValueError: naming the part.
    """
    name = type(part).__name__
    if part.condition is None and values is not None:
        raise ValueError(f"This {name} takes no condition: it was made without condition=...")
    if part.condition is not None and values is None:
        raise ValueError(f"This {name} is conditioned on {part.condition}: call it with condition=...")


def check_condition(condition: Any) -> None:
    """Refuse what is neither a condition nor None.

    Raises:
        TypeError: naming the conditions.
    """
    if condition is not None:
        require_kind("condition", condition, Condition, "a part of keras_vae.conditions, such as Label(10)")


def _check_shape(condition: Condition, shape: Sequence[int | None]) -> None:
    if not tf.TensorShape(shape).is_compatible_with([None, *condition.shape]):
        raise ValueError(
            f"The condition is {condition}: a batch of shape {(None, *condition.shape)}, not {tuple(shape)}."
        )
