"""Images from numpy arrays, .npy and .npz files."""

import contextlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_vae.arguments import check_names
from keras_vae.data import gray_levels
from keras_vae.data.class_names import numbered
from keras_vae.data.examples import (
    Examples,
    Fit,
    Size,
    Source,
    checked_images,
    checked_labels,
    fit_of,
    resized_images,
)
from keras_vae.data.gray_levels import Range
from keras_vae.data.series import checked_series
from keras_vae.data.storage import copies
from keras_vae.data.storage.entries import key_of
from keras_vae.data.storage.keeping import bytes_of, current, empty, in_memory
from keras_vae.data.storage.on_disk import OnDisk, Origin, fill, is_on_disk

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
# Of these, `names` may be something else, such as those of files.
NAME_KEYS = ("class_names", "label_names", "names")


def load_arrays(
    arrays: np.ndarray | Mapping[str, np.ndarray],
    resize: Size | None,
    labels: bool,
    value_range: Range = None,
    fit: Fit | None = None,
    missing: bool = False,
    series: bool = False,
) -> Source:
    """Copies of the user's arrays: of images alone, or named like the members of an .npz file. Those on disk, as
    `read_arrays` gives them, are read where they are.
    """
    named = arrays if isinstance(arrays, Mapping) else {"images": arrays}
    try:
        named = {key: array if is_on_disk(array) else np.asarray(array) for key, array in named.items()}
    except ValueError as error:  # of lists of lists
        raise ValueError(f"Lists of different lengths are no array: fill them up to one length. {error}") from error

    def copied(key: str) -> Any:
        array = named[key]
        if array.dtype.hasobject or is_on_disk(array):
            return array  # the former is refused by the checks
        copy = _kept(array.shape)(array.shape, array.dtype, f"array {key!r}")
        if is_on_disk(copy):
            return fill(copy, array, lambda part: part)
        np.copyto(copy, array)
        return copy

    return _load(list(named), copied, "the given arrays", resize, labels, value_range, fit, missing, series)


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


def load_file(
    path: Path,
    resize: Size | None,
    labels: bool,
    value_range: Range = None,
    fit: Fit | None = None,
    missing: bool = False,
    series: bool = False,
) -> Source:
    """The arrays of an .npy or .npz file. Nothing is unpickled, and shapes are checked before memory is taken.

    Raises:
        ValueError: for a damaged file (named), an unknown key, or arrays that are not images.
    """
    with opened(path) as (keys, read):
        return _load(keys, read, repr(str(path)), resize, labels, value_range, fit, missing, series)


def read_arrays(path: Path, labels: bool, images: bool = True) -> dict[str, np.ndarray]:
    """Those arrays of an .npy or .npz file that `load_arrays` would read, by name, as they are.

    Args:
        path: of the file.
        labels: whether to read labels and their names too.
        images: whether to read what they are labels of.

    Raises:
        ValueError: for a damaged file (named).
    """
    with opened(path) as (keys, read):
        beside = {*NAME_KEYS, *(key for names in LABEL_KEYS.values() for key in names)} if labels else set()
        wanted = {*(image_keys(keys).values() if images else ()), *beside}
        return {key: read(key) for key in keys if key in wanted}


def image_keys(keys: Iterable[str]) -> dict[str, str]:
    """Which of the names of arrays are those of images, by split."""
    keys = [key for key in keys if key not in NAME_KEYS]
    found = {}
    for split, names in IMAGE_KEYS.items():
        key = next((name for name in names if name in keys), None)
        if key is None and split == "train" and len(keys) == 1:
            key = keys[0]
        if key is not None:
            found[split] = key
    return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[list[str], Callable[[str], np.ndarray]]]:
    """The names of the arrays in an .npy or .npz file, and what reads one of them: no other takes memory.

    Raises:
        ValueError: for a damaged file (named), and arrays that are neither numbers nor texts.
    """
    shown = repr(str(path))
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                yield ["images"], lambda _: _read_npy(stream, shown, path)
            return
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}

            def member(key: str) -> np.ndarray:
                about = archive.getinfo(members[key])
                with archive.open(about) as stream:
                    return _read_npy(stream, f"{key!r} in {shown}", path, about)

            yield list(members), member
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
    fit: Fit | None,
    missing: bool,
    series: bool,
) -> Source:
    of_classes = next((name for name in NAME_KEYS if name in keys), None)
    keys = [key for key in keys if key not in NAME_KEYS]
    found: dict[str, np.ndarray] = {}
    called: dict[str, str] = {}
    of_images: dict[str, np.ndarray] = {}
    checksums: dict[str, np.ndarray] = {}
    for split, key in image_keys(keys).items():
        called[split] = f"{key!r} in {what}"
        array = read(key)
        found[split] = (checked_series if series else checked_images)(array, called[split], missing)
        checksums[split] = copies.checksums(array)
        label_key = next((name for name in LABEL_KEYS[split] if name in keys), None)
        if labels and label_key is not None:
            of_images[split] = _labels(np.asarray(read(label_key)), len(found[split]), f"{label_key!r} in {what}")
    if "train" not in found:
        raise ValueError(
            f"None of the arrays in {what} is named as images: {sorted(keys)}. Name one of them "
            f"{', '.join(IMAGE_KEYS['train'])}; a test split {', '.join(IMAGE_KEYS['test'])}."
        )
    of_images, class_names = _named(of_images, of_classes, read, what)
    # All splits are looked at before any is scaled: the same number means the same in each.
    scales = gray_levels.scales(found, value_range, what)
    splits = {}
    how: Fit = "crop"
    if resize is not None:
        images_of = [array for array in found.values() if array.ndim == 4]  # vectors are refused below
        how = fit_of(Counter(array.shape[1:3] for array in images_of for _ in array), resize, fit, what)
    for split in called:
        images, white = gray_levels.scaled(found.pop(split), scales[split], called[split])
        if resize is not None:
            images = resized_images(images, resize, called[split], white, how)
        splits[split] = Examples(images, of_images.get(split), white, checksums=checksums[split])
    return Source(splits, class_names)


def _labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Labels as `checked_labels` has them, or the names of classes, [N]."""
    if labels.dtype.hasobject and labels.ndim and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(str)
    if labels.dtype.kind != "U":
        return checked_labels(labels, count, what)
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(f"{what} has shape {labels.shape}, but there are {count} images: one label for each, please.")
    return labels.reshape(count)


def _named(
    labels: dict[str, np.ndarray], key: str | None, read: Callable[[str], np.ndarray], what: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Labels as numbers, and the names of the classes, if there are any.

    Raises:
        ValueError: for labels of which some are numbers and some names, and names that cannot be those of the labels.
    """
    texts = {split: array for split, array in labels.items() if array.dtype.kind == "U"}
    if texts:
        if len(texts) < len(labels):
            raise ValueError(f"Some of the labels in {what} are numbers, and others names.")
        return numbered(texts)
    if key is None or not labels or any(array.ndim != 1 or array.dtype.kind not in "iu" for array in labels.values()):
        return labels, None
    largest = max(int(array.max()) for array in labels.values())
    try:
        names = check_names(f"{key!r} in {what}", np.asarray(read(key)))
        if largest >= len(names):
            raise ValueError(f"{key!r} in {what} has {len(names)} names, and the largest label is {largest}.")
    except ValueError:
        if key == "names":
            return labels, None
        raise
    return labels, names


def _kept(shape: Sequence[int]) -> Callable[..., Any]:
    """What gives room for an array: labels and names are always in memory."""
    return empty if len(shape) > 1 else in_memory


def _read_npy(stream: IO[bytes], what: str, path: Path, member: zipfile.ZipInfo | None = None) -> Any:
    """An array in memory that TensorFlow can share, read without a second copy; or on disk.

    On disk a file of its own serves as it is, and what lies in an archive, or in another order, is copied once.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, column_major, dtype = read_header(stream)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} is damaged or no numpy array: {error}") from error
    if dtype.hasobject or dtype.kind not in "buifUS" or dtype.itemsize == 0:
        raise ValueError(
            f"{what} has dtype {dtype}; arrays of plain numbers are read, and of texts as names of "
            "classes, and nothing is unpickled."
        )
    if any(n < 0 for n in shape):
        raise ValueError(f"{what} is damaged: its shape is {shape}.")
    stored = shape[::-1] if column_major else shape
    if len(shape) > 1 and 0 not in shape and dtype.kind not in "US" and current().takes(bytes_of(shape, dtype)):
        return _on_disk(stream, what, path, member, stored, dtype, column_major)
    array = in_memory(stored, dtype, what)
    _read_all(stream, array, what)
    if dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} has texts that are not of UTF-8: {error}") from error
    elif not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array.T if column_major else array


def _read_all(stream: IO[bytes], array: np.ndarray, what: str) -> None:
    """Fill an array with what comes next in the stream."""
    buffer = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done : done + 2**26])  # type: ignore[attr-defined]
        if not count:
            raise ValueError(f"{what} is truncated: {len(buffer) - done:,} bytes or more are missing.")
        done += count


def _on_disk(
    stream: IO[bytes],
    what: str,
    path: Path,
    member: zipfile.ZipInfo | None,
    stored: tuple[int, ...],
    dtype: np.dtype,
    column_major: bool,
) -> OnDisk:
    begin, status = stream.tell(), path.stat()
    there = (status.st_size if member is None else member.file_size) - begin
    if there < bytes_of(stored, dtype):
        raise ValueError(f"{what} is truncated: {there} of {bytes_of(stored, dtype)} bytes are there.")
    inside = None if member is None else member.filename
    identity = ("file", str(path.absolute()), inside, dtype.str, list(stored), begin)
    origin = Origin(identity, key_of(status.st_size, status.st_mtime_ns))
    if member is None:
        array = OnDisk(path, stored, dtype, begin)
        array.origin = origin
    else:
        row = bytes_of(stored[1:], dtype)

        def unpacked(place: slice) -> np.ndarray:
            stream.seek(begin + place.start * row)  # of what is read already nothing is read again
            part = np.empty((place.stop - place.start, *stored[1:]), dtype)
            _read_all(stream, part, what)
            return part

        array = copies.copied(origin, stored, dtype, what, unpacked)
    if not column_major and dtype.isnative:
        return copies.looked_at(array, what) if member is None else array
    rows, native = array.mapped().T if column_major else array, dtype.newbyteorder("=")
    how = origin.then("in order", column_major)
    return copies.copied(how, rows.shape, native, what, lambda place: rows[place].astype(native))
