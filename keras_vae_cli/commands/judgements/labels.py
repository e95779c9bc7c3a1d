"""The labels of examples that are scored, and which of them are normal."""

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any, TextIO

import numpy as np

from keras_vae.data.readers import array_files, tables
from keras_vae_cli.errors import ConfigError

NORMAL = ("0", "normal", "false", "no")
ANOMALOUS = ("1", "anomaly", "anomalous", "abnormal", "true", "yes")
USUAL = tuple(array_files.LABEL_KEYS["train"])
# Chooses one of the names of columns or arrays, or none; and these names, with the labels of that one.
Choice = Callable[[Sequence[str]], str | None]
Found = tuple[list[str], np.ndarray | None]


def labels_of(names: Sequence[str] | None, count: int, paths: Sequence[str], given: str | None = None) -> np.ndarray:
    """The label of each example, as text.

    Args:
        names: of the files that are scored, if they are files.
        count: number of examples.
        paths: of the data, as they were typed.
        given: a file of labels, or the column or array of the data's file; None for class folders and usual names.

    Raises:
        ConfigError: there are none, or not one for each example.
    """
    if given is not None:
        file = Path(given).expanduser()
        found, where = (_in_file(file), str(file)) if file.is_file() else (_in_data(paths, given), f"{given!r}")
        if len(found) != count:
            raise ConfigError(f"--labels {where}: there are {len(found):,} labels, and {count:,} examples.")
        return found
    if names is not None:
        return np.array([PurePath(name).parent.name for name in names])
    _, found_beside = _beside(paths, _usual)
    if found_beside is None or len(found_beside) != count:
        raise ConfigError(
            "--normal needs labels: class folders of images, a column label in a .csv file, an array labels in a .npz "
            "file, or --labels with a file, or with another column."
        )
    return found_beside


def normal_classes(normal: Sequence[str] | None, labels: np.ndarray) -> list[str]:
    """The classes that are normal, of those that there are.

    Raises:
        ConfigError: one of them is none of the labels, or all are, or labels do not say it by themselves.
    """
    classes = sorted(set(labels))
    if normal is None:
        unclear = [name for name in classes if name.lower() not in NORMAL + ANOMALOUS]
        normal = [name for name in classes if name.lower() in NORMAL]
        if unclear or not normal:
            raise ConfigError(
                f"--labels: say with --normal which of the classes are normal: {', '.join(classes[:20])}."
            )
    unknown = [name for name in normal if name not in classes]
    if unknown:
        raise ConfigError(f"--normal {unknown[0]}: the classes of the data are {', '.join(classes)}.")
    if set(normal) == set(classes):
        raise ConfigError("--normal: all of the data are of these classes, so that there is nothing to tell from them.")
    return list(normal)


def _usual(names: Sequence[str]) -> str | None:
    """Which of the names of columns or arrays is that of labels."""
    return next((name for name in USUAL if name in names), None)


def _beside(paths: Sequence[str], choose: Choice) -> Found:
    """Of what a file of data has beside the data."""
    path = Path(paths[0]).expanduser() if len(paths) == 1 else Path()
    # An .npy file has the data alone.
    return _read(path, choose) if path.suffix.lower() in (".csv", ".npz") else ([], None)


def _in_data(paths: Sequence[str], key: str) -> np.ndarray:
    there, found = _beside(paths, lambda names: key if key in names else None)
    if found is None:
        known = f": it has {', '.join(there)}" if there else ""
        raise ConfigError(f"--labels {key}: there is no such file, nor such a column or array in the data{known}.")
    return found


def _in_file(file: Path) -> np.ndarray:
    if file.suffix.lower() == ".txt":
        try:
            lines = file.read_text(encoding=tables.ENCODING).splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read for its labels: {error}") from error
        return np.array([line.strip() for line in lines if line.strip()])
    there, found = _read(file, lambda names: _usual(names) or (names[0] if len(names) == 1 else None))
    if found is None:
        raise ConfigError(
            f"--labels {file}: of {', '.join(there) or 'its content'} none is called label: give a .csv "
            "file with a column label, .npy, an array labels in .npz, or .txt with a line for each example."
        )
    return found


def _read(file: Path, choose: Choice) -> Found:
    """The names of the columns or arrays in a file, and that of them which is chosen: no other takes memory."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".csv":
            return _column(file, choose)
        if suffix in (".npz", ".npy"):
            with array_files.opened(file) as (names, read):
                key = choose(names)
                return names, None if key is None else _as_text(read(key), f"{key!r} in {file}")
    except ConfigError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read for its labels: {error}") from error
    return [], None


def _column(file: Path, choose: Choice) -> Found:
    with file.open(newline="", encoding=tables.ENCODING) as stream:
        rows = (row for row in csv.reader(stream, delimiter=_delimiter(stream)) if row)
        names = [name.strip() for name in next(rows, [])]
        key = choose(names)
        if key is None:
            return names, None
        place, cells = names.index(key), []
        for row in rows:
            if len(row) != len(names):
                raise ConfigError(f"{file}: not every row has as many cells as the first, {len(names)}.")
            cells.append(row[place].strip())
    return names, np.array(cells, dtype=str)


def _delimiter(stream: TextIO) -> str:
    first = stream.readline()
    stream.seek(0)
    return max(tables.DELIMITERS, key=first.count)


def _as_text(values: Any, what: str) -> np.ndarray:
    if values.ndim == 0 or math.prod(values.shape[1:]) != 1:
        raise ConfigError(f"{what} has shape {values.shape}: one label for each example, please.")
    return np.asarray(values).reshape(len(values)).astype(str)
