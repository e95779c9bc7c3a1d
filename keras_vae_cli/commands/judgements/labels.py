"""The labels of examples that are scored, and which of them are normal."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TextIO

import numpy as np

from keras_vae.data.readers import array_files, tables
from keras_vae_cli.errors import ConfigError

NORMAL = ("0", "normal", "false", "no")
ANOMALOUS = ("1", "anomaly", "anomalous", "abnormal", "true", "yes")
USUAL = tuple(array_files.LABEL_KEYS["train"])


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
    arrays = _beside(paths)
    keys = [key for key in USUAL if key in arrays]
    if not keys or len(arrays[keys[0]]) != count:
        raise ConfigError(
            "--normal needs labels: class folders of images, a column label in a .csv file, an array labels in a .npz "
            "file, or --labels with a file, or with another column."
        )
    return _as_text(arrays[keys[0]])


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


def _beside(paths: Sequence[str]) -> Mapping[str, Any]:
    """What a file of data has beside the data."""
    path = Path(paths[0]).expanduser() if len(paths) == 1 else Path()
    # An .npy file has the data alone.
    return _arrays(path) if path.suffix.lower() in (".csv", ".npz") else {}


def _in_data(paths: Sequence[str], key: str) -> np.ndarray:
    arrays = _beside(paths)
    if key not in arrays:
        there = f": it has {', '.join(map(str, arrays))}" if arrays else ""
        raise ConfigError(f"--labels {key}: there is no such file, nor such a column or array in the data{there}.")
    return _as_text(arrays[key])


def _in_file(file: Path) -> np.ndarray:
    if file.suffix.lower() == ".txt":
        return np.array(file.read_text().split())
    arrays = _arrays(file)
    keys = [key for key in USUAL if key in arrays] or (list(arrays) if len(arrays) == 1 else [])
    if not keys:
        raise ConfigError(
            f"--labels {file}: of {', '.join(map(str, arrays)) or 'its content'} none is called label: give a .csv "
            "file with a column label, .npy, an array labels in .npz, or .txt with a line for each example."
        )
    return _as_text(arrays[keys[0]])


def _arrays(file: Path) -> Mapping[str, Any]:
    suffix = file.suffix.lower()
    try:
        if suffix == ".csv":
            with file.open(newline="", encoding=tables.ENCODING) as stream:
                header, *rows = [row for row in csv.reader(stream, delimiter=_delimiter(stream)) if row] or [[]]
            if any(len(row) != len(header) for row in rows):
                raise ConfigError(f"{file}: not every row has as many cells as the first, {len(header)}.")
            return {name.strip(): np.array([row[k].strip() for row in rows]) for k, name in enumerate(header)}
        if suffix in (".npz", ".npy"):
            with file.open("rb") as stream:
                found = np.load(stream, allow_pickle=False)
                return {"labels": found} if isinstance(found, np.ndarray) else dict(found)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read for its labels: {error}") from error
    return {}


def _delimiter(stream: TextIO) -> str:
    first = stream.readline()
    stream.seek(0)
    return max(tables.DELIMITERS, key=first.count)


def _as_text(values: Any) -> np.ndarray:
    return np.asarray(values).reshape(len(values), -1)[:, 0].astype(str)
