"""Kinds of conditions: class labels, vectors, images."""

import difflib
import unicodedata
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_count, check_names, check_sizes, require_image
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
        schema: of the columns of a table; None of what are none.
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    num_classes: int | None = None
    names: tuple[str, ...] | None = None
    is_image: bool = False
    schema: dict[str, Any] | None = None

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


def _has_text(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return any(map(_has_text, values))
    if isinstance(values, (str, bytes)):
        return True
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "O":
        return any(isinstance(value, (str, bytes)) for value in np.asarray(values).ravel())
    return kind in ("U", "S")
