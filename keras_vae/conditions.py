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

Classes may have names: those of the data that a model is fitted to, or of `Label(2, names=["cats", "dogs"])`. A name
then stands for its label wherever a condition is given, as in `vae.sample(16, condition="cats")`.

That is the conditional VAE of Sohn et al. 2015, "Learning structured output representation using deep conditional
generative models": log p(x|c) >= E_q(z|x,c)[log p(x|z,c)] - KL(q(z|x,c) || p(z|c)).
"""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_count, check_names, check_sizes, require_image, require_kind
from keras_vae.data.class_names import are_numbers, listed, names_of
from keras_vae.serialization import Serializable, register


class Condition(Serializable):
    """One kind of condition.

    Attributes:
        shape: of the condition of one example, without the batch.
        dtype: of its values.
        num_classes: number of classes of a label; None of what is none.
        names: of the classes of a label, the name of label k at index k; None of what has none.
        is_image: whether it is [height, width, channels].
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    num_classes: int | None = None
    names: tuple[str, ...] | None = None
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

    def numbers(self, values: Any) -> Any:
        """The values, with the labels of classes in place of their names."""
        return values

    def agrees(self, other: "Condition") -> bool:
        """Whether parts conditioned on the one and on the other can make a model."""
        return self == other

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
        names: of the classes, the name of label k at index k; None for names that come with the data, or none.
    """

    dtype = "int32"
    num_classes: int

    def __init__(self, num_classes: int, names: Sequence[str] | None = None) -> None:
        # A label of one class says nothing.
        self.num_classes = check_count("num_classes", num_classes, at_least=2)
        self.names = None if names is None else check_names("names", names, self.num_classes)
        vars(self)["__arguments__"]["names"] = None if self.names is None else list(self.names)

    @classmethod
    def of(cls, data: Any) -> Self:
        """The label of a dataset whose classes have names, as those of `data.load(..., labels=True)`.

        Raises:
            ValueError: for a dataset without names.
        """
        names = names_of(data)
        if names is None:
            raise ValueError(
                "The data do not say what their classes are called: give the number of classes, conditions.Label(10). "
                "What is made of a dataset by map, take and the like has no names any more."
            )
        return cls(len(names), names)

    def named(self, names: Sequence[str]) -> Self:
        """The same label, whose classes have these names.

        Raises:
            ValueError: unless there is one for each class.
        """
        return type(self).from_config({**self.get_config(), "names": list(names)})

    def agrees(self, other: Condition) -> bool:
        """Whether they have as many classes, and the same names where both have any."""
        if type(self) is not type(other) or self.num_classes != other.num_classes:
            return False
        return self.names is None or other.names is None or self.names == other.names

    def numbers(self, values: Any) -> Any:
        """Labels in place of names: of a name, an array of names, or a list of names and labels.

        Raises:
            ValueError: for a name of no class, with those that there are.
        """
        if tf.is_tensor(values) and values.dtype == tf.string and not tf.is_symbolic_tensor(values):
            values = values.numpy()
        if not _has_text(values):
            return values
        array = np.asarray(values, dtype=object)
        places = {name: number for number, name in enumerate(self.names or ())}
        labels = [self._number(value, places) for value in array.ravel()]
        return np.array(labels, self.dtype).reshape(array.shape)

    def _number(self, value: Any, places: dict[str, int]) -> int:
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            return int(value)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if not isinstance(text, str):
            raise ValueError(f"The condition is {self}: a class is a name or an int, not {value!r}.")
        text = unicodedata.normalize("NFC", text)
        if text in places:
            return places[text]
        if not places:
            raise ValueError(
                f"The condition is {self}: labels are ints, and the classes have no names such as {text!r}. Give an "
                f"int from 0 to {self.num_classes - 1}, or name the classes, vae.name_classes([...])."
            )
        folded = {name.casefold().strip(): name for name in places}
        near = difflib.get_close_matches(text.casefold().strip(), folded, n=3, cutoff=0.6)
        guess = f" Did you mean {' or '.join(repr(folded[name]) for name in near)}?" if near else ""
        raise ValueError(f"No class is called {text!r}.{guess} The classes are {listed(list(places))}.")

    def __str__(self) -> str:
        if self.names is None or are_numbers(self.names):
            return f"Label({self.num_classes})"
        return f"Label({self.num_classes}: {listed(self.names, 4)})"

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
            low, high = values.min(), values.max()
            found = f"this is {low}" if low == high else f"these are {low} to {high}"
            raise ValueError(f"The condition is {self}: labels are 0 to {self.num_classes - 1}, {found}.")

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
        if values.dtype == tf.string:
            raise ValueError(
                f"The condition is {condition}, and these are texts: in a dataset labels are ints, and an array of "
                "names is given as one, fit(x, names)."
            )
        if not condition.shape:
            # In the graph of a training step; those that are exported have no assertions.
            tf.debugging.Assert(tf.reduce_all(condition.contains(values)), [f"Not all are {condition}:", values])
        return values
    array = np.asarray(condition.numbers(values))
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


def rename(layers: Iterable[Any], names: Sequence[str]) -> None:
    """Give the classes these names, in all layers that are conditioned on a label.

    The label of each is replaced: others that were made with the same one, of another model, keep theirs.
    """
    for layer in layers:
        own = vars(layer).get("condition")
        if isinstance(own, Condition) and own.num_classes is not None and own.names != tuple(names):
            layer.condition = own.named(names)  # type: ignore[attr-defined]
            arguments = vars(layer).get("__arguments__", {})
            if isinstance(arguments.get("condition"), Condition):
                arguments["condition"] = layer.condition


def check_names_of(condition: Condition | None, data: Any, what: str = "the data") -> None:
    """Refuse data whose labels stand for other classes than those of the model.

    Args:
        condition: of the model.
        data: in any form; a dataset may say what its classes are called.
        what: how to call them in an error.

    Raises:
        ValueError: naming the first class that differs, and the remedy.
    """
    if condition is None or condition.names is None:
        return
    names = names_of(data) or ()
    for number, (own, theirs) in enumerate(zip(condition.names, names, strict=False)):
        if own != theirs:
            raise ValueError(
                f"Label {number} is {own!r} to the model, and {theirs!r} in {what}, whose classes are {listed(names)}. "
                "Let the data be numbered as the model is: data.load(..., class_names=vae.condition.names); or rename "
                "the model's classes, vae.name_classes([...])."
            )


def check_condition(condition: Any) -> None:
    """Refuse what is neither a condition nor None.

    Raises:
        TypeError: naming the conditions.
    """
    if condition is not None:
        require_kind("condition", condition, Condition, "a part of keras_vae.conditions, such as Label(10)")


def _has_text(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return any(map(_has_text, values))
    if isinstance(values, (str, bytes)):
        return True
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "O":
        return any(isinstance(value, (str, bytes)) for value in np.asarray(values).ravel())
    return kind in ("U", "S")


def _check_shape(condition: Condition, shape: Sequence[int | None]) -> None:
    if not tf.TensorShape(shape).is_compatible_with([None, *condition.shape]):
        raise ValueError(
            f"The condition is {condition}: a batch of shape {(None, *condition.shape)}, not {tuple(shape)}."
        )
