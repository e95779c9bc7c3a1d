"""Which numbers of an image are black and white: said by the user, or found from the range of all data together.

Whole numbers k from 0 to `white` stand for k / white, so that images with n levels lie on the grid k / (n - 1).
"""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_vae.data.examples import Examples, Source
from keras_vae.data.storage.copies import converted
from keras_vae.data.storage.on_disk import ends

# Whole numbers up to this, the largest of scikit-learn's digits, are counted levels: as 8 bits they would all be black.
FEW = 16
# The largest values of 5, 6 and 7 bits.
BITS = (31, 63, 127)
DEEP = (10, 12, 14, 16)
DEEPEST = 2**16 - 1
Range = tuple[float, float] | None


class Scale(NamedTuple):
    """The numbers that are black and white."""

    black: float = 0.0
    white: float = 255.0

    @property
    def is_grid(self) -> bool:
        """Whether whole numbers keep their places as levels k / white."""
        return self.black == 0.0 and self.white == int(self.white) and 1 <= self.white <= DEEPEST


def scale_of_array(low: float, high: float, what: str) -> Scale:
    """Of whole numbers in arrays, whose type says nothing of their depth.

    The largest value is white if it is at most 16 or the largest of 5, 6 or 7 bits. Up to 255 they are 8 bits; above,
    the smallest of 10, 12, 14 and 16 bits that holds them. What is assumed is said in a warning, but where the range is
    as usual.

    Args:
        low, high: the range of all splits together.
        what: how to call the data.

    Raises:
        ValueError: for negative values, and values above 16 bits.
    """
    if low < 0 or high > DEEPEST:
        raise ValueError(
            f"Whole numbers from {low:g} to {high:g} in {what}: as images they are levels from 0, black, to at most "
            f"{DEEPEST}. Say what is black and white in these, such as value_range=({low:g}, {high:g})."
        )
    if 0 < high <= FEW or high in BITS:
        white = int(high)
    elif high <= 255:
        white = 255
    else:
        white = _white_of_bits(high)
    if 1 < white < DEEPEST and (white != 255 or 0 < high < 64):
        _say(low, high, white, what)
    return Scale(0.0, white)


def scale_of_files(low: float, high: float, is_deep: bool, what: str) -> Scale:
    """Of whole numbers in image files, whose depth says what white is; but 0 and 1 are black and white.

    Args:
        low, high: the range over all files.
        is_deep: of 16 bits, in which cameras and scanners keep 8, 10, 12 or 14: the smallest that holds the values.
        what: how to call the data.
    """
    white = _white_of_bits(high) if is_deep and high > 255 else 255
    white = 1 if (low, high) == (0, 1) else white
    if 1 < white < DEEPEST and (white != 255 or 0 < high <= FEW or (is_deep and high > 0)):
        _say(low, high, white, what)
    return Scale(0.0, white)


def _white_of_bits(high: float) -> int:
    return next(2**bits - 1 for bits in DEEP if high < 2**bits)


def _say(low: float, high: float, white: int, what: str) -> None:
    warnings.warn(
        f"Whole numbers from {low:g} to {high:g} in {what}: {white} is taken for white. Write value_range=(black, "
        "white) if other numbers are meant.",
        stacklevel=2,
    )


def scales(arrays: Mapping[str, Any], value_range: Range, what: str) -> dict[str, Scale | None]:
    """The scale of the images or vectors of each split: whole numbers of all splits have the same one.

    Args:
        arrays: finite numbers, by split.
        value_range: (black, white) if the user has said so.
        what: how to call the data in an error.

    Returns:
        By split; None for vectors that keep their values.

    Raises:
        ValueError: for values outside `value_range`, and for floats outside [0, 1] without one.
    """
    # NaN, if it has come so far, is a value that is missing.
    ranges = {name: ends(array, missing=True) for name, array in arrays.items()}
    if value_range is not None:
        for low, high in ranges.values():
            check_inside(low, high, value_range, what)
        return dict.fromkeys(arrays, Scale(*value_range))
    found: dict[str, Scale | None] = {}
    whole = [name for name, array in arrays.items() if array.ndim == 4 and array.dtype.kind in "ui"]
    if whole:
        low, high = min(ranges[name][0] for name in whole), max(ranges[name][1] for name in whole)
        found = dict.fromkeys(whole, scale_of_array(low, high, what))
    for name in arrays.keys() - whole:
        found[name] = None
        if arrays[name].ndim == 4:
            check_unit(*ranges[name], what)
            found[name] = Scale(0.0, 1.0)
    return found


def check_unit(low: float, high: float, what: str) -> None:
    """Refuse floats that are no part of [0, 1].

    Raises:
        ValueError: with what to write.
    """
    if low < 0.0 or high > 1.0:
        likely = (-1, 1) if -1.0 <= low < 0.0 and high <= 1.0 else (0, 255) if 16 < high <= 255 and low >= 0 else None
        meant = likely or (f"{low:g}", f"{high:g}")
        raise ValueError(
            f"Floating-point values from {low:g} to {high:g} in {what}: as images they lie in [0, 1]. Say what is "
            f"black and white in them, such as value_range=({meant[0]}, {meant[1]}). If they are series [N, steps, "
            "channels]: series=True (in a config: data.series)."
        )


def check_inside(low: float, high: float, value_range: tuple[float, float], what: str) -> None:
    """Refuse values outside of the range that the user gave.

    Raises:
        ValueError: with both ranges.
    """
    if low < value_range[0] or high > value_range[1]:
        raise ValueError(
            f"Values from {low:g} to {high:g} in {what} do not lie within value_range=({value_range[0]:g}, "
            f"{value_range[1]:g})."
        )


def scaled(array: Any, scale: Scale | None, what: str) -> tuple[Any, int]:
    """Images as `Examples` keeps them, and their white: levels as uint8 or uint16, or floats in [0, 1].

    Black and white become 0 and 255, as which they can be resized.
    """
    if scale is None or (scale == Scale(0.0, 1.0) and array.dtype == np.float32):
        return array, 255
    if array.ndim == 4 and array.dtype.kind in "ui" and scale.is_grid:
        white = int(scale.white)
        if white == 1:
            name = "black and white"
            two = converted(
                array, array.shape, np.uint8, what, [name], lambda part: part.astype(np.uint8) * np.uint8(255)
            )
            return two, 255
        if array.dtype == level_type(white):
            return array, white
        dtype = level_type(white)
        return converted(array, array.shape, dtype, what, ["levels"], lambda part: part.astype(dtype)), white
    black, width = scale.black, scale.white - scale.black
    how = ["scaled", float(black), float(scale.white)]
    return converted(
        array, array.shape, np.float32, what, how, lambda part: (part.astype(np.float64) - black) / width
    ), 255


def level_type(white: int) -> type:
    """The smallest type that holds levels up to `white`."""
    return np.uint8 if white <= 255 else np.uint16


def with_levels(source: Source, levels: int | None, what: str) -> Source:
    """The same images, rounded to the nearest of `levels` levels k / (levels - 1); None leaves them.

    Raises:
        ValueError: for vectors.
    """
    if levels is None:
        return source
    return source._replace(splits={name: _rounded(split, levels, what) for name, split in source.splits.items()})


def _rounded(split: Examples, levels: int, what: str) -> Examples:
    images, white = split.images, levels - 1
    if images.ndim != 4:
        raise ValueError(f"{what} hold vectors of shape {images.shape}; levels={levels} is for images.")
    how, dtype = ["rounded", split.divisor, white], level_type(white)
    result = converted(
        images, images.shape, dtype, what, how, lambda part: np.rint(part.astype(np.float64) / split.divisor * white)
    )
    return split._replace(images=result, white=white)
