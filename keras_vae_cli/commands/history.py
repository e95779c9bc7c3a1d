"""RUN/history.csv: one row for each epoch, under a header that has every name that was ever logged."""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_vae import files

EPOCH = "epoch"
# What Keras's own CSVLogger writes for a number that it does not have, beside an empty cell.
MISSING = ("", "NA")


class Rows(NamedTuple):
    """What a history holds.

    Attributes:
        names: of the columns, the first is `epoch`.
        rows: the cells of each epoch.
        damaged: lines that are no such rows, as they were.
    """

    names: list[str]
    rows: list[list[str]]
    damaged: list[bytes]


class HistoryFile(keras.callbacks.Callback):
    """Writes what `fit` logs as a row for each epoch. Rows of before stay, also if other names were logged then.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._names: list[str] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Read what names there are."""
        self._names = read(self.path).names

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the row; under a new header if it has new names."""
        logs = logs or {}
        new = [name for name in sorted(logs) if name not in self._names]
        if new:
            before = read(self.path)
            self._names = [*(before.names or [EPOCH]), *new]
            filled = [[*row, *[""] * len(new)] for row in before.rows]
            files.write_text(self.path, _text([self._names, *filled]))
        row = [str(epoch), *(str(logs[name]) if name in logs else "" for name in self._names[1:])]
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_text([row]))


def read(path: Path) -> Rows:
    """The rows of a history, none if there is no file.

    Tables that were written with semicolons and decimal commas are read too.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf") if path.is_file() else b""
    first, *lines = content.splitlines(keepends=True) or [b""]
    delimiter = ";" if b";" in first and b"," not in first else ","
    names = _cells(first, delimiter)
    if names is None or names[0] != EPOCH or len(set(names)) < len(names):
        return Rows([], [], [line for line in (first, *lines) if line.strip()])
    rows, damaged = [], []
    for line in lines:
        cells = _cells(line, delimiter)
        if delimiter == ";":
            cells = cells and [cell.replace(",", ".") for cell in cells]
        if cells and len(cells) == len(names) and cells[0].isdecimal() and all(map(_is_number, cells[1:])):
            rows.append(cells)
        elif line.strip():
            damaged.append(line)
    return Rows(names, rows, damaged)


def trim(path: Path, epochs: int, write: Callable[[str], Any]) -> None:
    """Drop the rows of epochs that will be trained again, and set aside what is damaged.

    Args:
        path: of the history.
        epochs: number of those that are done.
        write: what prints a line.
    """
    if not path.is_file():
        return
    names, rows, damaged = read(path)
    # The last line of a process that was killed while it wrote is of an epoch that is trained again.
    lost = [line for line in damaged if line.endswith(b"\n") or _epoch(line) < epochs]
    if lost:
        aside = path.with_name(f"{path.name}.damaged")
        files.write_bytes(aside, (aside.read_bytes() if aside.is_file() else b"") + b"".join(lost))
        write(f"{_lines(lost)} of {path} are no rows of a history: they were moved to {aside}.")
    kept = [row for row in rows if int(row[0]) < epochs]
    files.write_text(path, _text([names, *kept]) if names else "")


def columns(path: Path, write: Callable[[str], Any]) -> dict[str, np.ndarray] | None:
    """The columns of a history; None if it has no rows. What is damaged is left out, and said.

    Args:
        path: of the history.
        write: what prints a line.
    """
    names, rows, damaged = read(path)
    if damaged:
        write(f"{_lines(damaged)} of {path} are no rows of a history, and left out.")
    if not rows:
        return None
    return {name: np.array([_number(row[index]) for row in rows]) for index, name in enumerate(names)}


def _cells(line: bytes, delimiter: str) -> list[str] | None:
    """None of a line that was cut off, or is no text."""
    if not line.endswith((b"\n", b"\r")):
        return None
    try:
        found = list(csv.reader([line.decode("utf-8")], delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError):
        return None
    return found[0] if found and found[0] else None


def _epoch(line: bytes) -> float:
    first = line.split(b",")[0]
    return int(first) if first.isdigit() else math.inf


def _is_number(cell: str) -> bool:
    return cell in MISSING or not math.isnan(_number(cell)) or cell.lower().strip("+-") == "nan"


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _text(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue()


def _lines(damaged: list[bytes]) -> str:
    return f"{len(damaged)} line{'s' if len(damaged) > 1 else ''}"
