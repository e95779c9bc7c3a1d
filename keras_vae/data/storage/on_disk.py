"""Arrays in files, of which rows are read when they are asked for, and work on arrays part by part.

Rows are read, not mapped: a mapping counts as memory of the process as far as it has been looked at, and a file that is
cut off while it is mapped ends the process without a word.
"""

import contextlib
import copy
import io
import math
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

# Of an array that is worked on part by part, as it is stored; numbers of 8 bytes take eight times that.
PART = 2**24


class Origin(NamedTuple):
    """Where the numbers of an array come from.

    Attributes:
        identity: the file, and what was done with what is in it, in values that JSON holds.
        stamp: of 64 bits: another one after the file has changed.
    """

    identity: tuple[Any, ...]
    stamp: int

    def then(self, *how: Any) -> "Origin":
        """The origin of what is made from such an array in this way."""
        return Origin((*self.identity, *how), self.stamp)


class _Open:
    """An open file, which is closed when no array uses it any more."""

    def __init__(self, file: Any) -> None:
        self.file, self.name = file, file.name
        # It has one place at which it is read.
        self.lock = threading.Lock()
        # Size and time, of a file to which nobody writes any more.
        self.stamp: tuple[int, int] | None = None

    def seen(self) -> tuple[int, int]:
        status = os.fstat(self.file.fileno())
        return status.st_size, status.st_mtime_ns

    def __del__(self) -> None:
        self.file.close()


class OnDisk:
    """An array [N, ...] in a file. Indexing gives arrays in memory.

    Args:
        file: unbuffered, open for as long as the array is in use; or a path, of a file that is only read.
        shape: [N, ...].
        dtype: in the order of bytes of this machine.
        offset: bytes before the first row.
        place: the folder, of a file without a name.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | IO[bytes],
        shape: Sequence[int],
        dtype: np.typing.DTypeLike,
        offset: int = 0,
        place: Path | None = None,
    ) -> None:
        is_path = isinstance(file, (str, os.PathLike))
        self._open = _Open(io.FileIO(file) if is_path else file)  # type: ignore[arg-type]
        self.place = place if place is not None else Path(str(self._open.name)).parent
        self.shape, self.dtype, self._offset = tuple(int(n) for n in shape), np.dtype(dtype), offset
        if is_path:
            self.seal()
        # Of what is never written to, if somebody has looked: (smallest, largest, whether there is NaN), and of rows.
        self.known: tuple[float, float, bool] | None = None
        self.checksums: np.ndarray | None = None
        self.origin: Origin | None = None

    @classmethod
    def of_memmap(cls, array: np.memmap) -> "OnDisk | None":
        """The file that an array is a map of; None for a part of one, and other orders of bytes or of rows."""
        is_whole = isinstance(array.base, mmap.mmap) and array.flags.c_contiguous and array.dtype.isnative
        # What was written to a map of mode "c" is not in the file.
        if not is_whole or array.filename is None or array.mode == "c" or array.ndim == 0:
            return None
        array.flush()
        return cls(array.filename, array.shape, array.dtype, array.offset)

    ndim = property(lambda self: len(self.shape))
    nbytes = property(lambda self: math.prod(self.shape) * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """A row by its number, or the rows of a slice, of numbers [M] or of bools [N]."""
        if isinstance(index, slice):
            return self.rows(np.arange(*index.indices(len(self))))
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            return self.rows(np.flatnonzero(chosen))
        return self.rows(chosen) if chosen.ndim else self.rows(chosen[np.newaxis])[0]

    def __setitem__(self, index: int | slice, values: Any) -> None:
        """Write a row, or those of a slice without a step."""
        start, stop, _ = index.indices(len(self)) if isinstance(index, slice) else (index, index + 1, 1)
        rows = np.ascontiguousarray(np.broadcast_to(values, (stop - start, *self.shape[1:])), self.dtype)
        content = rows.reshape(-1).view(np.uint8).data
        with self._open.lock:
            self._open.file.seek(self._offset + start * self._row)
            done = 0
            while done < len(content):
                done += self._open.file.write(content[done:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for _, part in parts(self):
            yield from part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, in memory."""
        return np.asarray(self[:], dtype)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these numbers, [M, ...], read in the order in which they lie in the file.

        Raises:
            IndexError: for numbers of no row.
            OSError: for a file that has been cut off, and what the system says.
        """
        try:
            return self._rows(np.asarray(rows, np.int64))
        except OSError as error:
            _refused.add(str(error))
            raise

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        if self._open.stamp not in (None, self._open.seen()):
            raise OSError(f"{str(self._open.name)!r} was changed while its data were in use: start again")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of an array of {len(self)}")
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if result.size == 0:
            return result
        content, size = result.reshape(-1).view(np.uint8).data, self._row
        # Neighbours in the file and in the result are read at once.
        order = np.argsort(rows, kind="stable")
        is_next = (np.diff(rows[order]) == 1) & (np.diff(order) == 1)
        starts = np.flatnonzero(np.concatenate([[True], ~is_next]))
        pieces = [
            (int(order[start]) * size, int(rows[order[start]]) * size + self._offset, int(stop - start) * size)
            for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True)
        ]
        if hasattr(os, "posix_fadvise") and len(pieces) > 1:
            with contextlib.suppress(OSError, io.UnsupportedOperation):
                for _, where, length in pieces:  # the disk may fetch them side by side
                    os.posix_fadvise(self._open.file.fileno(), where, length, os.POSIX_FADV_WILLNEED)
        with self._open.lock:
            for place, where, length in pieces:
                self._read_into(content[place : place + length], where)
        return result

    def of_shape(self, shape: Sequence[int]) -> "OnDisk":
        """The same numbers, or the first of them, in another shape."""
        part = copy.copy(self)
        part.shape = tuple(shape)
        return part

    def mapped(self) -> np.memmap:
        """A map of it, for orders in which no rows lie behind each other."""
        return np.memmap(self._open.file, self.dtype, "r", self._offset, self.shape)

    def to_disk(self) -> None:
        """Wait until all that was written is on the disk."""
        os.fsync(self._open.file.fileno())

    def seal(self) -> tuple[int, int]:
        """From now on nobody writes: what changes the file is an error of whoever reads.

        Returns:
            Size and time of the file, by which it is known later.
        """
        self._open.stamp = self._open.seen()
        return self._open.stamp

    @property
    def _row(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _read_into(self, content: memoryview, where: int) -> None:
        self._open.file.seek(where)
        done = 0
        while done < len(content):
            count = self._open.file.readinto(content[done:])
            if not count:
                raise OSError(
                    f"The data in {self._open.name!r} end after {where + done:,} bytes: the file was changed while it "
                    "was in use: start again"
                )
            done += count


# What was said of files that could not be read.
_refused: set[str] = set()


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Inside of it what is wrong with a file is said as it was found, where TensorFlow has wrapped it.

    Raises:
        OSError: for a file of an array that was changed or cut off, and what the system says.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        said = next((said for said in _refused if said in text), None)
        if said is None or isinstance(error, OSError):
            raise
        raise OSError(said) from error


def is_on_disk(array: Any) -> bool:
    """Whether the array is one of those in files."""
    return isinstance(array, OnDisk)


def parts(array: Any) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first row, some rows), over all of an array [N, ...]: in memory, no more than `PART` bytes of it.

    A single row may be more.
    """
    step = rows_at_once(array)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def rows_at_once(array: Any) -> int:
    """How many rows of an array take no more than `PART` bytes; at least one."""
    return max(1, PART // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))


def first(array: Any, count: int) -> Any:
    """An array without the rows from `count` on; no copy."""
    return array.of_shape((count, *array.shape[1:])) if is_on_disk(array) else array[:count]


def fill(result: Any, array: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """`result`, in which now stands what the function makes of as many rows of the array."""
    for start, part in parts(array):
        result[start : start + len(part)] = function(part)
    return result


def ends(array: Any, missing: bool = False) -> tuple[float, float]:
    """The smallest and the largest value: NaN if any value is, or, where values may be missing, if all are."""
    if is_on_disk(array) and array.known is not None:
        low, high, has_gaps = array.known
        return (math.nan, math.nan) if has_gaps and not missing else (low, high)
    smallest, largest = (np.fmin, np.fmax) if missing else (np.minimum, np.maximum)
    found = [(smallest.reduce(part, axis=None), largest.reduce(part, axis=None)) for _, part in parts(array)]
    low, high = zip(*found, strict=True)
    return float(smallest.reduce(low)), float(largest.reduce(high))
