"""Results that come batch by batch: in memory while they are small, else in a file beside the one that they are for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files
from keras_vae.data.storage import keeping

# Bytes of an array that stays in memory.
IN_MEMORY = 2**28


class Gathered:
    """Arrays [N, ...] by name, of which each batch adds some rows.

    Args:
        count: N.
        folder: for what is too large for memory, in files without a name.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder = count, folder
        self._arrays: dict[str, Any] = {}
        self._done: dict[str, int] = {}

    def add(self, **batches: Any) -> None:
        """The next rows of these arrays, [B, ...]; of None nothing is kept.

        Raises:
            OSError: naming the folder, if there is no room.
        """
        for name, batch in batches.items():
            if batch is None:
                continue
            rows = np.asarray(batch)
            if name not in self._arrays:
                self._arrays[name], self._done[name] = self._room(rows), 0
            start = self._done[name]
            self._arrays[name][start : start + len(rows)] = rows
            self._done[name] = start + len(rows)

    def __getitem__(self, name: str) -> Any:
        """The array, in memory or on disk (see `data.storage.on_disk`)."""
        return self._arrays[name]

    def get(self, name: str) -> Any:
        """The array; None if there are no rows of it."""
        return self._arrays.get(name)

    def _room(self, first: np.ndarray) -> Any:
        shape = (self._count, *first.shape[1:])
        if keeping.bytes_of(shape, first.dtype) <= IN_MEMORY:
            return np.empty(shape, first.dtype)
        return keeping.temporary(shape, first.dtype, self._folder)


@contextlib.contextmanager
def gathered(count: int, folder: Path) -> Iterator[Gathered]:
    """Room for results of `count` examples, which are written inside of the context; the folder is made if need be."""
    with files.made(folder) as place:
        yield Gathered(count, place)
