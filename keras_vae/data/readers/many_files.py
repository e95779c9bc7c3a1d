"""Work on many files, side by side, which says how far it is and goes on where it was interrupted."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from keras_vae.data.readers.files_in_folders import File
from keras_vae.data.storage.counter import Counter
from keras_vae.data.storage.entries import Entry, key_of

# What one worker reads at a time: so many files, or fewer whose images take so many bytes.
FILES_PER_TASK, BYTES_PER_TASK = 64, 2**24
Result = TypeVar("Result")


def place_of(files: list[File]) -> str:
    """The folder of all files: what stays the same while files come and go in it."""
    try:
        return os.path.commonpath([os.fspath(file.path.absolute().parent) for file in files])
    except ValueError:  # there are none, or they are on several drives
        return ""


def keys_of(files: list[File]) -> np.ndarray:
    """A number for each file, which is another one once it has changed."""
    found = np.zeros(len(files), np.uint64)
    for number, file in enumerate(files):
        try:
            status = file.path.stat()
            found[number] = key_of(file.path.absolute(), status.st_size, status.st_mtime_ns)
        except OSError:  # it has vanished: said where it is read
            found[number] = key_of(file.path.absolute())
    return found


def each(
    read: Callable[[File], Result],
    files: list[File],
    made: Entry,
    fail: Callable[[File, Exception], None],
    what: str,
    size: int = 1,
) -> Iterator[tuple[int, Result]]:
    """(n, read(files[n])) for each file that is not made yet, in order; where it raises, `fail` is told instead.

    What failed is noted for the next time, when `fail` is told again.

    Args:
        read, files, fail: what is done with which files, and who is told.
        made: what comes of it.
        what: is done, for those who wait.
        size: bytes of a result.
    """
    failed = made.notes["failed"] = [known for known in made.notes.get("failed", []) if known[0] < made.done]
    for number, message in failed:
        fail(files[number], ValueError(message))
    with Counter(what, len(files), made.done) as counted:
        start = made.done
        for number, (file, result) in enumerate(attempt(read, files[start:], size), start):
            if isinstance(result, Exception):
                fail(file, result)
                failed.append([number, str(result)])
            else:
                yield number, result
            made.reached(number + 1)
            counted.reached(number + 1)


def attempt(
    read: Callable[[File], Result], files: list[File], size: int = 1
) -> Iterator[tuple[File, Result | Exception]]:
    """(file, read(file)) for each file, in order; or what it raises. A result takes `size` bytes."""
    is_over = threading.Event()

    def work(files: list[File]) -> list[Result | Exception]:
        results: list[Result | Exception] = []
        for file in files:
            if is_over.is_set():
                break
            try:
                results.append(read(file))
            except Exception as error:  # Pillow raises errors of many types on damaged files
                results.append(error)
        return results

    step = min(FILES_PER_TASK, max(1, BYTES_PER_TASK // max(1, size)))
    tasks = [files[start : start + step] for start in range(0, len(files), step)]
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        try:
            # As many tasks at a time as workers: decoded images do not pile up, and an error ends the work soon.
            for start in range(0, len(tasks), workers):
                round_ = tasks[start : start + workers]
                for task, results in zip(round_, pool.map(work, round_), strict=True):
                    yield from zip(task, results, strict=True)
        finally:
            is_over.set()
