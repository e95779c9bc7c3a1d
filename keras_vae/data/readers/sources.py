"""Which reader reads what: names, paths and arrays."""

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_vae.data.examples import Fit, Size, Source
from keras_vae.data.gray_levels import Range
from keras_vae.data.readers import array_files, folders, tables
from keras_vae.data.readers.folders import OnBadFile
from keras_vae.data.readers.image_files import SUFFIXES
from keras_vae.data.readers.tfds import PREPARED, is_name, load_named
from keras_vae.data.series import NOT_SERIES, oscillations
from keras_vae.data.tables import bundled, frames
from keras_vae.data.tables.of_kinds import load_rows, load_table

ARRAY_SUFFIXES, TABLE_SUFFIX = (".npy", ".npz"), ".csv"
Schema = Mapping[str, Any] | Literal["infer"] | None


def read(
    name_or_path: Any,
    resize: Size | None,
    labels: bool,
    data_dir: str | os.PathLike | None,
    download: bool,
    on_bad_file: OnBadFile,
    value_range: Range,
    fit: Fit | None,
    whole: bool,
    missing: bool = False,
    series: bool = False,
    schema: Schema = None,
) -> Source:
    """What a name, a path, a list of image files, or arrays hold.

    Args:
        name_or_path, resize, labels, data_dir, download, on_bad_file, value_range, fit, missing, series, schema: as in
            `data.load`.
        whole: whether all images of a folder are one split, in the order of their paths.

    Raises:
        ValueError, FileNotFoundError: as `data.load`.
    """
    if series and not _may_be_series(name_or_path):
        raise ValueError(NOT_SERIES)
    if isinstance(name_or_path, list):
        return folders.load_files(_paths(name_or_path), resize, labels, on_bad_file, value_range, fit)
    if frames.is_frame(name_or_path):
        return load_table(name_or_path, schema, missing)
    if schema is not None and hasattr(name_or_path, "__array__"):
        return load_rows(name_or_path, schema, missing)
    if isinstance(name_or_path, tuple):
        name_or_path = array_files.by_name(name_or_path)
    if is_data(name_or_path):
        return array_files.load_arrays(name_or_path, resize, labels, value_range, fit, missing, series)
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ValueError(f"Give a name, a path or arrays; not {type(name_or_path).__name__}.")
    path = Path(name_or_path).expanduser()
    if not _is_path(name_or_path, path):
        if str(name_or_path) in bundled.NAMES:
            return load_table(bundled.table(str(name_or_path)), schema or bundled.SCHEMA, missing)
        return load_named(str(name_or_path), resize, labels, data_dir, download, value_range, fit, missing=missing)
    if path.is_dir() and (path / PREPARED).is_file():
        return load_named(str(path), resize, labels, data_dir, download, value_range, fit, path)
    if path.is_dir():
        return folders.load_folder(path, resize, labels, on_bad_file, value_range, fit, whole)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {os.fspath(name_or_path)!r}.")
    if path.suffix.lower() in SUFFIXES:
        return folders.load_files([path], resize, labels, on_bad_file, value_range, fit)
    if path.suffix.lower() in frames.SUFFIXES and (schema is not None or frames.is_mixed(path)):
        return load_table(path, schema, missing)
    if path.suffix.lower() == TABLE_SUFFIX:
        table = tables.read_table(path, missing)
        return array_files.load_arrays(table, resize, labels, value_range, fit, missing)
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise ValueError(
            f"{str(path)!r} is neither a folder of images, an image, nor an .npy, .npz, .csv or .parquet file "
            "(archives: unpack them)."
        )
    if schema is not None and path.suffix.lower() == ".npy":
        return load_rows(np.load(path, allow_pickle=False), schema, missing)
    if schema is not None:
        raise ValueError(f"{str(path)!r}: a schema is of one array of rows: give a .csv, .parquet or .npy file.")
    return array_files.load_file(path, resize, labels, value_range, fit, missing, series)


def _may_be_series(given: Any) -> bool:
    """Whether it is arrays, a file of them, or what is no path."""
    if isinstance(given, list):
        return False
    if is_data(given) or not isinstance(given, (str, os.PathLike)):
        return True
    path = Path(given).expanduser()
    if not _is_path(given, path):
        return re.split("[/:]", str(given))[0] == oscillations.NAME or not is_name(str(given))
    return path.suffix.lower() in ARRAY_SUFFIXES or not path.exists()


def _paths(given: list) -> list[Path]:
    if not given or not all(isinstance(path, (str, os.PathLike)) for path in given):
        raise ValueError("A list is one of image files, by their paths; numbers go in as an array.")
    return [Path(path).expanduser() for path in given]


def is_data(data: Any) -> bool:
    """Whether these are arrays, and no name or path."""
    return isinstance(data, (Mapping, tuple)) or hasattr(data, "__array__") or frames.is_frame(data)


def _is_path(given: str | os.PathLike, path: Path) -> bool:
    if isinstance(given, os.PathLike) or given.startswith((".", "~")) or path.is_absolute():
        return True
    if path.suffix.lower() in (*ARRAY_SUFFIXES, *SUFFIXES, *frames.SUFFIXES):
        return True
    if not given or not path.exists():
        return False
    if is_name(given):
        warnings.warn(
            f"{given!r} is a dataset and a folder here; the dataset is read. The folder: './{given}'.", stacklevel=5
        )
        return False
    return True
