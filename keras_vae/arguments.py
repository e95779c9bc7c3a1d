"""Checks of arguments. Each gives the value in the type that is meant, or says what is allowed and what was given.

A bool is no number here, and NumPy's numbers are as good as Python's.
"""

import math
import numbers
import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

LONGEST_NAME = 255
# Of characters that move the cursor, end the line or are no text at all.
UNREADABLE = ("Cc", "Cs", "Zl", "Zp")


def check_count(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> int:
    """A whole number as an int.

    Raises:
        ValueError: if it is not an int of at least `at_least` and at most `at_most`.
    """
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_int or value < at_least or (at_most is not None and value > at_most):
        allowed = f"an int >= {at_least}" if at_most is None else f"an int from {at_least} to {at_most}"
        raise ValueError(f"{name} must be {allowed}, not {value!r}.")
    return int(value)


def check_number(
    name: str,
    value: Any,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    hint: str = "",
) -> float:
    """A finite number as a float.

    Args:
        name: of the argument.
        value: what was given.
        at_least: the smallest that is allowed.
        above: what it must be greater than.
        below: what it must be smaller than.
        at_most: the largest that is allowed.
        hint: what else is allowed, or what it means, said behind the range.

    Raises:
        ValueError: if it is no number, or outside.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    outside = not is_number or (
        (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
        or (at_most is not None and value > at_most)
    )
    if outside:
        limits = (("at least", at_least), ("above", above), ("below", below), ("at most", at_most))
        said = " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
        allowed = {"above 0": "a positive number"}.get(said, f"a number {said}" if said else "a finite number")
        raise ValueError(f"{name} must be {allowed}{hint}, not {value!r}.")
    return float(value)


def check_weight(name: str, value: Any) -> Any:
    """A number >= 0, or a callable of the step that can be saved.

    Raises:
        ValueError: if it is another type, a function, negative or not finite.
    """
    if not callable(value):
        return check_number(name, value, at_least=0, hint=" or a schedule of the step")
    if not hasattr(value, "get_config"):
        raise ValueError(
            f"{name} is a function, {value!r}, which cannot be saved with the model. Use a part of "
            "keras_vae.schedules or keras.optimizers.schedules, or a registered subclass of schedules.Schedule."
        )
    return value


def check_choice(name: str, value: Any, allowed: Collection[Any]) -> Any:
    """One of some values.

    Raises:
        ValueError: naming them.
    """
    if not isinstance(value, (str, type(None))) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}.")
    return value


def check_sizes(name: str, value: Any, allow_empty: bool = False) -> list[int]:
    """Sizes of layers as a list of ints.

    Raises:
        ValueError: if it is not a list of positive ints, or empty where that means nothing.
    """
    if not isinstance(value, (list, tuple)) or not all(_is_positive(n) for n in value):
        raise ValueError(f"{name} must be a list of positive ints such as [512, 256], not {value!r}.")
    if not value and not allow_empty:
        raise ValueError(f"{name} must name at least one layer.")
    return [int(n) for n in value]


def check_kernel_size(value: Any, kind: str) -> int:
    """Height and width of the masked kernels of a flow, an odd int.

    Raises:
        ValueError: for an even one, which has no middle, and for kernels of a flow that is not autoregressive.
    """
    size = check_count("kernel_size", value)
    if size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, such as 3, not {size}: a masked kernel has its own place amid it.")
    if size > 1 and kind != "iaf":
        raise ValueError(f'kernel_size is of flows of kind "iaf": leave it at 1 for kind {kind!r}.')
    return size


def check_event_shape(value: Any) -> tuple[int, ...]:
    """The shape of one example as a tuple of ints.

    Raises:
        ValueError: if it is empty or holds anything but positive ints.
    """
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"event_shape must be a tuple such as (28, 28, 1) or (784,), not {value!r}.")
    if not all(_is_positive(n) for n in value):
        raise ValueError(f"event_shape must hold positive ints only, not {tuple(value)!r}.")
    return tuple(int(n) for n in value)


def check_grid(value: Any, latent_dim: int = 0) -> tuple[tuple[int, int], int]:
    """A grid of codes as a tuple, and the numbers D of one code.

    Raises:
        ValueError: unless it is two positive ints whose product divides `latent_dim`.
    """
    sizes = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(sizes) != 2 or not all(_is_positive(n) for n in sizes):
        raise ValueError(f"grid must be [height, width], two positive ints, not {value!r}.")
    height, width = (int(n) for n in sizes)
    if latent_dim % (height * width):
        raise ValueError(
            f"latent_dim {latent_dim} is not {height} x {width} codes of equal size: it must be a multiple of "
            f"{height * width}."
        )
    return (height, width), latent_dim // (height * width)


def check_levels(value: Any) -> list[int]:
    """Levels of the numbers of a code as a list of ints.

    Raises:
        ValueError: unless they are at least two each, of fewer codes than an int32 can count.
    """
    if not isinstance(value, (list, tuple)) or not value or not all(_is_positive(n) and n > 1 for n in value):
        raise ValueError(f"levels must be a list of ints of at least 2, such as [8, 5, 5, 5], not {value!r}.")
    if math.prod(int(n) for n in value) >= 2**31:
        raise ValueError(
            f"levels {list(value)} make {math.prod(value):,} codes, more than an index can tell: take fewer, or "
            "groups of them (posteriors.Grouped)."
        )
    return [int(n) for n in value]


def check_latents(value: Any) -> list[int]:
    """The sizes of the levels of a hierarchy as a list of ints, 0 for none.

    Raises:
        ValueError: unless it is a positive int, or a list of ints >= 0 that are not all 0.
    """
    sizes = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(_is_positive(n) or (not isinstance(n, bool) and n == 0) for n in sizes) or not any(sizes):
        raise ValueError(
            "latents must be a positive int, or a list of ints, one for each stage and 0 for a stage without a level: "
            f"not {value!r}."
        )
    return [int(n) for n in sizes]


def check_resize(value: Any, at_most: int) -> tuple[int, int] | None:
    """(height, width), or None.

    Raises:
        ValueError: unless both are ints from 1 to `at_most`.
    """
    if value is None:
        return None
    sides = list(value) if isinstance(value, (tuple, list)) else []
    if len(sides) != 2 or not all(_is_positive(side) and side <= at_most for side in sides):
        raise ValueError(f"resize must be (height, width), each from 1 to {at_most}, not {value!r}.")
    return int(sides[0]), int(sides[1])


def check_interval(low: Any, high: Any) -> tuple[float, float]:
    """The ends of an interval.

    Raises:
        ValueError: unless low < high, both finite numbers.
    """
    ends = (low, high)
    are_numbers = all(isinstance(end, numbers.Real) and not isinstance(end, bool) for end in ends)
    if not are_numbers or not -math.inf < low < high < math.inf:
        raise ValueError(f"low and high must be finite numbers with low < high, not {low!r} and {high!r}.")
    return float(low), float(high)


def check_value_range(value: Any) -> tuple[float, float] | None:
    """(black, white), or None.

    Raises:
        ValueError: unless black < white, both finite numbers.
    """
    if value is None:
        return None
    ends = list(value) if isinstance(value, (tuple, list)) else []
    are_numbers = all(isinstance(end, numbers.Real) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not are_numbers or not -math.inf < ends[0] < ends[1] < math.inf:
        raise ValueError(f"value_range must be (black, white), such as (0, 255), with black < white, not {value!r}.")
    return float(ends[0]), float(ends[1])


def check_codes(value: Any, latent_dim: int, at_least: int) -> np.ndarray:
    """Codes of a trained encoder as float64 [N, L].

    Raises:
        ValueError: for another shape, too few of them, and for numbers that are not finite.
    """
    codes = np.asarray(value, "float64")
    if codes.ndim != 2 or codes.shape[1] != latent_dim or len(codes) < at_least:
        raise ValueError(
            f"codes must be an array [N, {latent_dim}] of at least {at_least} codes, such as vae.encode(x).sample(), "
            f"and not of shape {codes.shape}."
        )
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite numbers, and some are not: has the encoder been trained to NaN?")
    return codes


def check_activation(value: Any) -> str:
    """The name of an activation, if Keras knows it.

    Raises:
        ValueError: for an unknown activation, and one that is no name.
    """
    if not isinstance(value, str):
        raise ValueError(f"activation must be the name of a Keras activation, so that it can be saved: {value!r}.")
    keras.activations.get(value)
    return value


def check_derived(value: Any, names: Collection[str]) -> dict[str, Any] | None:
    """A condition that is derived from the data, as a mapping with a known name and known arguments; or None.

    Raises:
        ValueError: naming what there is.
    """
    if value is None:
        return None
    spec = {"name": value} if isinstance(value, str) else value
    name = spec.get("name") if isinstance(spec, Mapping) else None
    if name not in names:
        raise ValueError(
            f'condition must be "label", "gray", or {{"name": "low_resolution", "factor": 4}}, not {value!r}.'
        )
    factor = spec.get("factor")
    if set(spec) - {"name", "factor"} or (name == "low_resolution") != (factor is not None):
        raise ValueError(f"condition={value!r}: low_resolution takes a factor, nothing else takes anything.")
    if factor is not None:
        check_count(f"condition={value!r}: factor", factor, at_least=2)
    return dict(spec)


def check_names(name: str, value: Any, count: int | None = None) -> tuple[str, ...]:
    """Names of classes: different texts, in which no character is unreadable, in Unicode's form NFC.

    Args:
        name: of the argument.
        value: a sequence of texts.
        count: how many there must be, if that is known.

    Raises:
        ValueError: for anything else, with the first that is wrong.
    """
    found = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{name} must be a list of texts such as ['cats', 'dogs'], not {value!r:.200}.")
    if count is not None and len(found) != count:
        raise ValueError(f"{name} must have a text for each of the {count} classes, and there are {len(found)}.")
    seen: dict[str, int] = {}
    for number, text in enumerate(found):
        if not text.strip() or len(text) > LONGEST_NAME or readable(text) != text:
            raise ValueError(
                f"{name}: {text[:LONGEST_NAME]!r} cannot be the name of class {number}: it must be a text of 1 to "
                f"{LONGEST_NAME} characters in one line."
            )
        other = seen.setdefault(unicodedata.normalize("NFC", text), number)
        if other != number:
            raise ValueError(f"{name}: the classes {other} and {number} are both called {text!r}.")
    return tuple(seen)


def readable(text: str) -> str:
    """The text, with a backslash and a number for what is no character, or would move the cursor."""
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in UNREADABLE else c for c in text)


def check_flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, not {value!r}.")
    return bool(value)


def check_memory(what: str, num_bytes: int) -> None:
    """Refuse a result that cannot be held, before the work that would make it.

    Args:
        what: the result.
        num_bytes: its size.

    Raises:
        ValueError: with its size and that of the memory that is free.
    """
    free = _free_memory()
    if free is not None and num_bytes > free:
        raise ValueError(
            f"{what} would take {num_bytes / 2**30:,.1f} GiB of memory, of which {free / 2**30:,.1f} GiB are free: ask "
            "for fewer at a time."
        )


def require_kind(name: str, value: Any, kind: type | tuple[type, ...], described: str) -> None:
    """Refuse what is of another kind.

    Args:
        name: of the argument.
        value: what was given.
        kind: the base classes that will do.
        described: what they are, with an example.

    Raises:
        TypeError: naming both.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {described}, not {value!r}.")


def require_image(shape: Sequence[int]) -> None:
    """Refuse what is not height x width x channels.

    Raises:
        ValueError: if `shape` does not have three axes.
    """
    if len(shape) != 3:
        raise ValueError(
            "Convolutions of images, and conditions that are images, work on images of shape (height, width, "
            f"channels), not on data of shape {tuple(shape)}. Use x[..., None] for images without a channel axis."
        )


def require_places(shape: Sequence[int]) -> None:
    """Refuse what is neither height x width x channels nor steps x channels.

    Raises:
        ValueError: if `shape` has neither three axes nor two.
    """
    if len(shape) not in (2, 3):
        raise ValueError(
            "Convolutions work on images of shape (height, width, channels) and on series of shape (steps, channels), "
            f"not on data of shape {tuple(shape)}. Use networks.mlp for vectors, and x[..., None] for series of one "
            "channel without a channel axis, or as many axes as an image has for images."
        )


def _free_memory() -> int | None:
    """Bytes that are free, or those of the machine where that is not told; None where nothing is."""
    try:
        with Path("/proc/meminfo").open() as lines:
            found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        return found[0]
    except (OSError, IndexError, ValueError):  # another system than Linux
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _is_positive(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1


def check_schema(schema: Any) -> Any:
    """A mapping of columns of a table to their kinds, "infer", or None; a ValueError is raised for anything else."""
    if not (schema is None or schema == "infer" or isinstance(schema, Mapping)):
        raise ValueError(f'schema is a mapping of the columns to their kinds, or "infer"; not {schema!r}.')
    return schema


def check_columns(condition: Any) -> dict[str, Any] | None:
    """A condition on columns of a table, ["sex"] or {"name": "columns", "columns": ["sex"]}, as the latter; else None.

    Raises:
        ValueError: for columns that are no different names.
    """
    if isinstance(condition, Mapping) and condition.get("name") == "columns" and set(condition) == {"name", "columns"}:
        condition = condition["columns"]
    elif not isinstance(condition, (list, tuple)):
        return None
    names = list(condition) if isinstance(condition, (list, tuple)) else []
    if not names or any(not isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"condition must name different columns of a table, such as ['sex'], not {condition!r}.")
    return {"name": "columns", "columns": names}
