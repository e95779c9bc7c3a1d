"""Images from numpy arrays, .npy and .npz files."""

import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from keras_vae.data import gray_levels
from keras_vae.data.examples import Examples, Size, Source, checked_images, checked_labels, empty, resized_images
from keras_vae.data.gray_levels import Range

IMAGE_KEYS = {
    "train": ("x_train", "train_images", "images_train", "train", "images", "x", "data", "arr_0"),
    "validation": ("x_validation", "x_val", "validation_images", "val_images", "validation", "val"),
    "test": ("x_test", "test_images", "images_test", "test"),
}
LABEL_KEYS = {
    "train": ("y_train", "train_labels", "labels_train", "labels", "label", "targets", "y"),
    "validation": ("y_validation", "y_val", "validation_labels", "val_labels"),
    "test": ("y_test", "test_labels", "labels_test"),
}


def load_arrays(
    arrays: np.ndarray | Mapping[str, np.ndarray], resize: Size | None, labels: bool, value_range: Range = None
) -> Source:
    """Copies of the user's arrays: of images alone, or named like the members of an .npz file."""
    named = arrays if isinstance(arrays, Mapping) else {"images": arrays}
    named = {key: np.asarray(array) for key, array in named.items()}

    def copied(key: str) -> np.ndarray:
        array = named[key]
        if array.dtype.hasobject:
            return array  # refused by the checks
        copy = empty(array.shape, array.dtype, f"array {key!r}")
        np.copyto(copy, array)
        return copy

    return _load(list(named), copied, "the given arrays", resize, labels, value_range)


def by_name(given: tuple) -> dict[str, np.ndarray]:
    """(images, labels), or ((images, labels), (test images, test labels)) as `keras.datasets` gives them, by name.

    Raises:
        ValueError: for other tuples, and where the second of a pair cannot be labels of the first.
    """
    pairs = given if all(isinstance(part, tuple) for part in given) else (given,)
    is_mixed = len(pairs) == 1 and any(isinstance(part, tuple) for part in pairs[0])
    if is_mixed or not 1 <= len(pairs) <= 2 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            "A tuple is (images, labels) or ((images, labels), (test images, test labels)); other arrays are given by "
            'name, as {"x_train": ..., "x_test": ...}.'
        )
    named: dict[str, np.ndarray] = {}
    for split, pair in zip(("train", "test"), pairs, strict=False):
        images, labels = (np.asarray(array) for array in pair)
        if labels.ndim > 2 or labels.shape[:1] != images.shape[:1]:
            raise ValueError(
                f"A pair is (images, labels), a label for each; these have shapes {images.shape} and {labels.shape}. "
                'Images for a test go in by name: {"x_train": ..., "x_test": ...}.'
            )
        named |= {f"x_{split}": images, f"y_{split}": labels}
    return named


def load_file(path: Path, resize: Size | None, labels: bool, value_range: Range = None) -> Source:
    """The arrays of an .npy or .npz file. Nothing is unpickled, and shapes are checked before memory is taken.

    Raises:
        ValueError: for a damaged file (named), an unknown key, or arrays that are not images.
    """
    shown = repr(str(path))
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                array = _read_npy(stream, shown)
            return _load(["images"], lambda _: array, shown, resize, labels, value_range)
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}

            def member(key: str) -> np.ndarray:
                with archive.open(members[key]) as stream:
                    return _read_npy(stream, f"{key!r} in {shown}")

            return _load(list(members), member, shown, resize, labels, value_range)
    # What zipfile raises of a damaged file; NotImplementedError is of an unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{shown} is damaged or no {path.suffix} file: {error}") from error


def _load(
    keys: list[str],
    read: Callable[[str], np.ndarray],
    what: str,
    resize: Size | None,
    labels: bool,
    value_range: Range,
) -> Source:
    found: dict[str, np.ndarray] = {}
    called: dict[str, str] = {}
    of_images: dict[str, np.ndarray] = {}
    checksums: dict[str, np.ndarray] = {}
    for split, names in IMAGE_KEYS.items():
        key = next((name for name in names if name in keys), None)
        if key is None and split == "train" and len(keys) == 1:
            key = keys[0]
        if key is None:
            continue
        called[split] = f"{key!r} in {what}"
        array = read(key)
        found[split] = checked_images(array, called[split])
        checksums[split] = _checksums(array)
        label_key = next((name for name in LABEL_KEYS[split] if name in keys), None)
        if labels and label_key is not None:
            of_images[split] = checked_labels(read(label_key), len(found[split]), f"{label_key!r} in {what}")
    if "train" not in found:
        raise ValueError(
            f"None of the arrays in {what} is named as images: {sorted(keys)}. Name one of them "
            f"{', '.join(IMAGE_KEYS['train'])}; a test split {', '.join(IMAGE_KEYS['test'])}."
        )
    # All splits are looked at before any is scaled: the same number means the same in each.
    scales = gray_levels.scales(found, value_range, what)
    splits = {}
    for split in called:
        images, white = gray_levels.scaled(found.pop(split), scales[split], called[split])
        if resize is not None:
            images = resized_images(images, resize, called[split], white)
        splits[split] = Examples(images, of_images.get(split), white, checksums=checksums[split])
    return Source(splits)


def _checksums(array: np.ndarray) -> np.ndarray:
    """Of each row, uint32 [N]."""
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in array], np.uint32)


def _read_npy(stream: IO[bytes], what: str) -> np.ndarray:
    """An array in memory that TensorFlow can share, read without a second copy."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, column_major, dtype = read_header(stream)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} is damaged or no numpy array: {error}") from error
    if dtype.hasobject or dtype.kind not in "buif":
        raise ValueError(f"{what} has dtype {dtype}; arrays of plain numbers are read, and nothing is unpickled.")
    if any(n < 0 for n in shape):
        raise ValueError(f"{what} is damaged: its shape is {shape}.")
    array = empty(shape[::-1] if column_major else shape, dtype, what)
    buffer = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done : done + 2**26])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"{what} is truncated: {done} of {math.prod(shape) * dtype.itemsize} bytes are there.")
        done += count
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array.T if column_major else array
