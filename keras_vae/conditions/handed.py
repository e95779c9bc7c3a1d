"""Conditions as they are handed to a model and to its parts: checked, passed on, renamed."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import require_kind
from keras_vae.conditions.condition import Condition
from keras_vae.data.class_names import listed, names_of


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


def _check_shape(condition: Condition, shape: Sequence[int | None]) -> None:
    if not tf.TensorShape(shape).is_compatible_with([None, *condition.shape]):
        raise ValueError(
            f"The condition is {condition}: a batch of shape {(None, *condition.shape)}, not {tuple(shape)}."
        )
