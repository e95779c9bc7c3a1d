"""What is made once, item by item, and kept in the cache for later runs: images that were decoded, what was found in
headers and rows.

An entry is a folder, named by what the items are made from and how. It holds a file of rows, if there are any, and one
of columns, which says how far the work is. Work that was interrupted goes on at the first item that was not reached or
that is another one now.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files
from keras_vae.data.storage.counter import Counter
from keras_vae.data.storage.keeping import bytes_of, current, in_memory, refused, reserve
from keras_vae.data.storage.on_disk import OnDisk, parts

# Of this form of entries: others are made anew.
VERSION = 1
# The scan of so many files is kept even where nobody has asked for the disk.
MANY = 10_000
# Seconds between two times at which it is written how far the work is, and what of all time that may take.
EVERY, AT_MOST = 5.0, 0.05
UNUSED = 30 * 24 * 3600.0
STATE, ROWS = "state.npz", "rows.bin"


class Entry:
    """Columns of N items, notes, and a row for each item if there are rows.

    Attributes:
        count: N.
        done: the items before this one are made.
        rows: [N, ...], or None.
        notes: whatever JSON holds. After items have changed they may be of items that are made no more.
        place: the folder; None in memory.
    """

    def __init__(self, count: int, rows: Any = None, place: Path | None = None) -> None:
        self.count, self.rows, self.place = count, rows, place
        self.done = 0
        self.notes: dict[str, Any] = {}
        self.columns: dict[str, np.ndarray] = {}
        self._keys = np.zeros(0, np.uint64)
        self._saved, self._pause = time.monotonic(), EVERY
        self._is_optional = False

    def column(self, name: str, dtype: np.typing.DTypeLike, shape: Sequence[int] = ()) -> np.ndarray:
        """A column, [N, *shape], of zeros where nothing was made."""
        if name not in self.columns:
            self.columns[name] = np.zeros((self.count, *shape), dtype)
        return self.columns[name]

    def reached(self, done: int) -> None:
        """The items before this one are made."""
        self.done = done
        if self.place is not None and time.monotonic() - self._saved > self._pause:
            self.save()

    def save(self) -> None:
        """Write how far the work is."""
        if self.place is None:
            return
        with contextlib.suppress(OSError) if self._is_optional else contextlib.nullcontext():
            self._write(self.place)

    def _write(self, place: Path) -> None:
        started = time.monotonic()
        if self.rows is not None:
            self.rows.to_disk()
        seen = self.rows.seal() if self.rows is not None and self.done == self.count else None
        state = {"done": self.done, "notes": self.notes, "rows": seen}
        columns: dict[str, Any] = {f"column-{name}": values for name, values in self.columns.items()}
        with files.whole_file(place / STATE) as path, path.open("wb") as stream:
            np.savez(stream, state=np.array(json.dumps(state)), keys=self._keys, **columns)
        self._saved = time.monotonic()
        self._pause = max(EVERY, (self._saved - started) / AT_MOST)

    def _restore(self, before: dict[str, Any], done: int) -> None:
        """Take over the first items of an earlier state, and its notes, which may be of more than these."""
        self.done = done
        self.notes = before["state"]["notes"] if done else {}
        for name, values in before["columns"].items():
            self.column(name, values.dtype, values.shape[1:])[:done] = values[:done]


@contextlib.contextmanager
def entry(
    identity: Sequence[Any],
    keys: Any,
    count: int,
    shape: Sequence[int] | None = None,
    dtype: np.typing.DTypeLike = np.uint8,
    what: str = "The data",
    on_disk: bool | None = None,
) -> Iterator[Entry]:
    """An entry, whose items from `done` on are made inside of the context.

    Args:
        identity: what the items are made from, and how, in values that JSON holds.
        keys: a function that gives a number, uint64 [N], for each item: another number for another item.
        count: N.
        shape: of a row; None for an entry of columns alone.
        dtype: of the rows.
        what: the rows, in an error.
        on_disk: whether the rows are kept there; None asks where arrays of their size are kept.

    Raises:
        ValueError: if they would not fit into memory, where they are kept in memory.
        OSError: naming the folder, if they cannot be kept on disk.
    """
    here = current()
    full = None if shape is None else (count, *shape)
    size = 0 if full is None else bytes_of(full, dtype)
    if on_disk is None:
        on_disk = here.takes(size) if full else here.memory == "disk" or (here.memory == "auto" and count >= MANY)
    if not on_disk:
        yield Entry(count, None if full is None else in_memory(full, dtype, what))
        return
    text = json.dumps([VERSION, *identity, np.dtype(dtype).str, list(shape or ())], default=str)
    name = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    numbers = np.asarray(keys(), np.uint64)
    with contextlib.ExitStack() as stack:
        made = None
        try:
            folder = here.place / name
            made = _finished(folder, count, full, dtype, numbers)
            if made is None:
                with refused(here.place, size):
                    _forget(here.place, folder)
                    folder.mkdir(exist_ok=True)
                stack.enter_context(_locked(folder))
                # Whoever had the lock may have done the work.
                made = _finished(folder, count, full, dtype, numbers)
        except OSError:
            if full is not None or here.memory == "disk":
                raise
            made = Entry(count)
        if made is None:
            yield from _working(folder, count, full, dtype, numbers, size, here.memory != "disk" and full is None)
        else:
            yield made


def _working(
    folder: Path, count: int, full: Sequence[int] | None, dtype: Any, keys: np.ndarray, size: int, is_optional: bool
) -> Iterator[Entry]:
    before = _state(folder)
    if before is not None and full is not None:
        size = bytes_of((len(before["keys"]), *full[1:]), dtype)
        before = before if _is_as_it_was(folder / ROWS, before, size) else None  # somebody has damaged it
    done = 0 if before is None else _still(before, keys)
    with refused(folder, size):
        rows = None if full is None else _rows(folder, full, dtype, before, done)
        made = Entry(count, rows, folder)
        made._keys, made._is_optional = keys, is_optional
        if before is not None:
            made._restore(before, done)
        made.save()
    try:
        yield made
    except BaseException:
        with contextlib.suppress(OSError):  # of a full disk, say: what went wrong first is said
            made.save()
        raise
    with refused(folder, size):
        made.reached(count)
        made.save()


def _still(before: dict[str, Any], keys: np.ndarray) -> int:
    """How many of the first items are made, and the same as they were."""
    old = before["keys"]
    same = min(len(old), len(keys))
    differs = np.flatnonzero(old[:same] != keys[:same])
    return min(int(before["state"]["done"]), int(differs[0]) if len(differs) else same)


def _rows(folder: Path, full: Sequence[int], dtype: Any, before: dict[str, Any] | None, done: int) -> OnDisk:
    """The file of rows, with all the room that it needs; the first `done` rows are there."""
    path, row = folder / ROWS, bytes_of(full[1:], dtype)
    is_new = before is None or before["state"]["done"] == len(before["keys"])
    with contextlib.ExitStack() as opened:
        old = opened.enter_context(path.open("rb")) if is_new and done else None
        if is_new:
            # Another process may be reading what is finished: it keeps that, under no name.
            (folder / STATE).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        with contextlib.ExitStack() as wrong:
            file = wrong.enter_context(path.open("w+b" if is_new else "r+b", buffering=0))
            reserve(file, full[0] * row, folder)
            wrong.pop_all()
        rows = OnDisk(file, full, dtype, place=folder)
        if old is not None:
            for start, part in parts(rows.of_shape((done, *full[1:]))):
                old.readinto(part.data)
                rows[start : start + len(part)] = part
    return rows


def _finished(folder: Path, count: int, full: Sequence[int] | None, dtype: Any, keys: np.ndarray) -> Entry | None:
    """The entry, if all of it is there; opened before anybody can remove it."""
    before = _state(folder)
    if before is None or before["state"]["done"] != count or not np.array_equal(before["keys"], keys):
        return None
    rows = None
    if full is not None:
        try:
            rows = OnDisk(folder / ROWS, full, dtype, place=folder)
            if not _is_as_it_was(folder / ROWS, before, rows.nbytes):
                return None
        except OSError:
            return None
    made = Entry(count, rows, folder)
    made._restore(before, count)
    with contextlib.suppress(OSError):  # of somebody else's cache
        os.utime(folder / STATE)
    return made


def _is_as_it_was(path: Path, state: dict[str, Any], size: int) -> bool:
    """Whether a file of rows has its size, and nobody has written to it after all of them were made."""
    try:
        status = path.stat()
    except OSError:
        return False
    is_whole = state["state"]["done"] == len(state["keys"])
    return status.st_size == size and not (
        is_whole and state["state"].get("rows") != [status.st_size, status.st_mtime_ns]
    )


def _state(folder: Path) -> dict[str, Any] | None:
    """What the file of columns says; None if there is none, or a damaged one."""
    try:
        with (folder / STATE).open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            columns = {name.removeprefix("column-"): found[name] for name in found.files if name.startswith("column-")}
            return {"state": json.loads(str(found["state"])), "keys": found["keys"], "columns": columns}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock of an entry; whoever has it is waited for."""
    with contextlib.ExitStack() as stack:
        with Counter(f"waiting for another process, which makes {folder}; seconds") as waiting:
            started = time.monotonic()
            while True:
                try:
                    stack.enter_context(files.locked(folder))
                    break
                except files.Busy:
                    time.sleep(0.2)
                    waiting.reached(round(time.monotonic() - started))
        yield


def _forget(place: Path, but: Path) -> None:
    """Remove entries that nobody has used for a month."""
    for folder in place.iterdir():
        try:
            if folder != but and time.time() - (folder / STATE).stat().st_mtime > UNUSED:
                with files.locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        except (OSError, files.Busy):
            continue


def key_of(*parts: Any) -> int:
    """A number of 64 bits for an item, from what tells it from others."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
