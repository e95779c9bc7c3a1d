"""Where arrays are kept: in memory, or on disk if they are too large for it or somebody has said so."""

import contextlib
import contextvars
import dataclasses
import errno
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from keras_vae import files
from keras_vae.data.storage.available import available_memory
from keras_vae.data.storage.on_disk import OnDisk, rows_at_once

Memory = Literal["auto", "ram", "disk"]
# TensorFlow shares memory that starts at a multiple of this many bytes, and copies any other.
ALIGNMENT = 64
# What of the free memory one array may take before it goes to the disk: the model, and copies, need some too.
SHARE = 0.5
# Of a disk, left to others.
RESERVE = 2**26


@dataclasses.dataclass
class Keeping:
    """What was said of where arrays are kept, and what came of it.

    Attributes:
        memory: "ram" or "disk"; "auto" for the disk where an array would take more than half of the free memory.
        folder: on the disk.
        most: with "auto", bytes of one array that stay in memory where the disk has room for more; None for any.
        kept: bytes on the disk that are there because memory is short.
        free: bytes of memory that were free then.
    """

    memory: Memory = "ram"
    folder: Path | None = None
    most: int | None = None
    kept: int = 0
    free: int = 0

    def takes(self, size: int) -> bool:
        """Whether so many bytes go to the disk."""
        if self.memory != "auto":
            return self.memory == "disk"
        if self.most is not None and self.most < size <= shutil.disk_usage(self.place).free - RESERVE:
            return True
        available = available_memory()
        if available is None or size <= available * SHARE:
            return False
        self.kept, self.free = self.kept + size, available if not self.kept else self.free
        return True

    @property
    def place(self) -> Path:
        """The folder, which is made if it is missing.

        Raises:
            OSError: naming it, if it cannot be made.
        """
        folder = self.folder or cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(f"{files.cannot_write(folder, error)}. {ELSEWHERE}") from error
        return folder


ELSEWHERE = 'Another folder: cache="..." (in a config: data.cache).'
_current: contextvars.ContextVar[Keeping | None] = contextvars.ContextVar("keeping", default=None)


def cache_folder() -> Path:
    """$KERAS_VAE_CACHE/data, or keras_vae/data in the user's cache folder."""
    if ours := os.environ.get("KERAS_VAE_CACHE"):
        return Path(ours) / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_vae" / "data"


@contextlib.contextmanager
def keeping(memory: Memory, folder: str | os.PathLike[str] | None = None, most: int | None = None) -> Iterator[Keeping]:
    """Arrays that `empty` makes inside of the context are kept in this way; an outer context goes before an inner one.

    At the end a warning says what is on the disk because memory is short.
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    chosen = Keeping(memory, None if folder is None else Path(folder).expanduser(), most)
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)
    if chosen.kept:
        warnings.warn(
            f"{in_gigabytes(chosen.kept)} of data are kept on disk, in {chosen.place}, as {in_gigabytes(chosen.free)} "
            'of memory are free. memory="ram" keeps them in memory all the same (in a config: data.memory).',
            stacklevel=4,
        )


def current() -> Keeping:
    """What holds here; where nobody has said anything, memory."""
    return _current.get() or Keeping()


def empty(shape: Sequence[int], dtype: np.typing.DTypeLike, what: str) -> Any:
    """An uninitialised array: in memory that TensorFlow can share, or on disk.

    Raises:
        ValueError: naming `what`, if it would not fit into the memory that is free, nor on the disk.
        OSError: naming the folder, if it is to be on the disk and would not fit there.
    """
    size = bytes_of(shape, dtype)
    here = current()
    if not here.takes(size):
        return in_memory(shape, dtype, what)
    try:
        return temporary(shape, dtype, here.place)
    except OSError as error:
        if here.memory == "disk":
            raise
        raise ValueError(
            f"{what} would take {in_gigabytes(size)}, and {in_gigabytes(here.free)} of memory are free. {error}"
        ) from error


def like(array: Any, shape: Sequence[int], dtype: np.typing.DTypeLike, what: str) -> Any:
    """As `empty`, on disk if the array is."""
    return temporary(shape, dtype, array.place) if isinstance(array, OnDisk) else empty(shape, dtype, what)


def bytes_of(shape: Sequence[int], dtype: np.typing.DTypeLike) -> int:
    """The size of an array."""
    return math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize


def in_memory(shape: Sequence[int], dtype: np.typing.DTypeLike, what: str) -> np.ndarray:
    """As `empty`, in memory."""
    size = bytes_of(shape, dtype)
    available = available_memory()
    if available is not None and size > available:
        raise ValueError(
            f"{what} would take {in_gigabytes(size)}, and {in_gigabytes(available)} of memory are free: keep them on "
            'disk by memory="disk" (in a config: data.memory), make images smaller with resize=(height, width), or '
            "use fewer."
        )
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(np.dtype(dtype)).reshape(shape)


def is_shareable(array: np.ndarray) -> bool:
    """Whether TensorFlow can use the memory of `array` without a copy."""
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNMENT == 0


def temporary(shape: Sequence[int], dtype: np.typing.DTypeLike, folder: Path) -> OnDisk:
    """An uninitialised array in a file without a name, which goes with the process.

    Raises:
        OSError: naming the folder, if it would not fit.
    """
    size = bytes_of(shape, dtype)
    with refused(folder, size), contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
        reserve(file, size, folder)
        stack.pop_all()
    return OnDisk(file, shape, dtype, place=folder)


def taken(array: Any, rows: np.ndarray) -> Any:
    """These rows of an array, in memory or on disk as that is."""
    if not isinstance(array, OnDisk):
        return array[rows]
    result = temporary((len(rows), *array.shape[1:]), array.dtype, array.place)
    step = rows_at_once(result)
    for start in range(0, len(rows), step):
        result[start : start + step] = array.rows(rows[start : start + step])
    return result


def reserve(file: IO[bytes], size: int, folder: Path) -> None:
    """Take the room on the disk now, so that it does not run out in the middle of the work.

    Raises:
        OSError: if there is none.
    """
    missing = size - os.fstat(file.fileno()).st_size
    if missing > max(0, shutil.disk_usage(folder).free - RESERVE):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file.fileno(), 0, size)
    file.truncate(size)


@contextlib.contextmanager
def refused(folder: Path, size: int) -> Iterator[None]:
    """What the system says of a full disk and the like is said of the folder, with the size and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = files.cannot_write(folder, error)
        raise OSError(f"{in_gigabytes(size)} of data are to be kept on disk, and {reason}. {ELSEWHERE}") from error


def in_gigabytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 / 10 else f"{max(0.1, size / 2**20):.1f} MB"
