"""Copies on disk of arrays that cannot be used as they lie in a file, kept for as long as the file is the same."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_vae.data.storage.counter import Counter
from keras_vae.data.storage.entries import Entry, entry
from keras_vae.data.storage.keeping import bytes_of, current, empty, in_memory
from keras_vae.data.storage.on_disk import OnDisk, Origin, fill, is_on_disk, parts, rows_at_once


def converted(
    array: Any, shape: Sequence[int], dtype: np.typing.DTypeLike, what: str, how: Sequence[Any], function: Callable
) -> Any:
    """What a function makes of an array, part by part: made once, if the array is of a file and this is on disk.

    Args:
        array: [N, ...], in memory or on disk.
        shape: of the result, [N, ...].
        dtype: of the result.
        what: how to call it in an error.
        how: all that the function depends on, in values that JSON holds.
        function: of some rows, which gives as many.

    Raises:
        ValueError: if the result would fit nowhere.
        OSError: naming the folder, if it would not fit on the disk.
    """
    origin = array.origin if is_on_disk(array) else None
    if origin is None:
        return fill(empty(shape, dtype, what), array, function)
    if not current().takes(bytes_of(shape, dtype)):
        return fill(in_memory(shape, dtype, what), array, function)
    return copied(origin.then(*how), shape, dtype, what, lambda place: function(array[place]))


def copied(
    origin: Origin, shape: Sequence[int], dtype: np.typing.DTypeLike, what: str, part: Callable[[slice], np.ndarray]
) -> OnDisk:
    """An array in the cache, with what can only be known of it by reading it all; made if it is not there.

    Args:
        origin: what it is made from, and how.
        shape: [N, ...].
        dtype: of numbers.
        what: how to call it in an error.
        part: gives the rows of a slice; the slices follow each other.

    Raises:
        OSError: naming the folder, if it would not fit there.
    """
    count = shape[0]
    identity, keys = ("copy", *origin.identity), lambda: np.full(count, origin.stamp, np.uint64)
    with (
        entry(identity, keys, count, shape[1:], dtype, what, on_disk=True) as made,
        Counter(f"copying {what}", count, made.done) as counted,
    ):
        while made.done < count:
            place = slice(made.done, min(count, made.done + rows_at_once(made.rows)))
            rows = np.asarray(part(place)).astype(dtype, copy=False)
            made.rows[place] = rows
            _note(made, place, rows)
            counted.reached(place.stop)
            made.reached(place.stop)
    return _known(made.rows, made, origin)


def looked_at(array: OnDisk, what: str) -> OnDisk:
    """An array that has an origin, with what can only be known of it by reading it all."""
    origin, count = array.origin, len(array)
    assert origin is not None
    identity, keys = ("rows", *origin.identity), lambda: np.full(count, origin.stamp, np.uint64)
    with (
        entry(identity, keys, count, what="The checksums") as made,
        Counter(f"looking at {what}", count, made.done) as counted,
    ):
        while made.done < count:
            place = slice(made.done, min(count, made.done + rows_at_once(array)))
            _note(made, place, array[place])
            made.reached(place.stop)
            counted.reached(made.done)
    return _known(array, made, origin)


def checksums(array: Any) -> np.ndarray:
    """Of each row, uint32 [N]."""
    if is_on_disk(array) and array.checksums is not None:
        return array.checksums
    return np.concatenate([_of_rows(part) for _, part in parts(array)])


def _of_rows(rows: np.ndarray) -> np.ndarray:
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in rows], np.uint32)


def _columns(made: Entry) -> tuple[np.ndarray, ...]:
    names = (("checksum", np.uint32), ("has_gaps", bool), ("low", np.float64), ("high", np.float64))
    return tuple(made.column(name, dtype) for name, dtype in names)


def _note(made: Entry, place: slice, rows: np.ndarray) -> None:
    sums, has_gaps, lows, highs = _columns(made)
    values = rows.reshape(len(rows), -1)
    sums[place], has_gaps[place] = _of_rows(rows), np.isnan(values).any(axis=1)
    lows[place], highs[place] = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)


def _known(array: OnDisk, made: Entry, origin: Origin) -> OnDisk:
    array.checksums, has_gaps, lows, highs = _columns(made)
    array.known = float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs)), bool(has_gaps.any())
    array.origin = origin
    return array
