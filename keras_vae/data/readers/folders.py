"""Images from a folder of the user's files, which may be of any size, damaged or hostile."""

import logging
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from keras_vae.arguments import readable
from keras_vae.data import gray_levels
from keras_vae.data.examples import Examples, Fit, Size, Source, empty, fit_of, resized
from keras_vae.data.gray_levels import Range, Scale
from keras_vae.data.readers.image_files import SUFFIXES, Header, decode, pillow_warnings, read_header

# Of images that are not read: to leave them out in silence would be to lose data.
OTHER_IMAGES = (
    *(".apng", ".avif", ".dcm", ".exr", ".heic", ".heif", ".hdr", ".jfif", ".jp2", ".jpe", ".jxl", ".npy", ".npz"),
    *(".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga"),
)
FILES_PER_TASK = 64
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
OnBadFile = Literal["error", "skip"]
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class _File(NamedTuple):
    path: Path
    label: str | None = None  # the class folder
    name: str = ""  # relative to the folder of the split


class _Storage(NamedTuple):
    """How images are kept: whole numbers up to `white`, or floats in [0, 1] where it is None."""

    size: Size
    channels: int
    white: int | None
    scales: dict[str, Scale]  # of each kind of file
    fit: Fit = "crop"

    @property
    def dtype(self) -> type:
        return np.float32 if self.white is None else gray_levels.level_type(self.white)


def load_folder(
    folder: Path,
    resize: Size | None,
    labels: bool,
    on_bad_file: OnBadFile,
    value_range: Range = None,
    fit: Fit | None = None,
) -> Source:
    """The image files under `folder`, upright, of one size, gray if all are gray and RGB otherwise, over white.

    Files of 8 bits and less are kept as uint8. Those of 16 keep their depth, as uint16, unless others are among them.

    Args:
        folder: holds image files, or class folders of them, or folders train/ and test/ (and validation/) of either. A
            folder that holds nothing but one other, as an unpacked archive does, stands for that. Hidden files and
            files that are no images by their suffix are ignored; links are followed once.
        resize: (height, width); None for the most frequent size.
        labels: whether to number the class folders, in the order of their names.
        on_bad_file: "skip" leaves unreadable files out, with a warning that counts them.
        value_range: (black, white); None for what the depth of the files says, see `gray_levels.scale_of_files`.
        fit: how images of another shape get that size, see `examples.resized`; None for "crop", with a warning.

    Raises:
        FileNotFoundError: without any image file.
        ValueError: for an unreadable file (named), images outside class folders or in a single one if labels are asked
            for, values outside of `value_range`, or more images than fit into memory.
    """
    shown = repr(str(folder))
    failures: dict[Path, Exception] = {}

    def fail(file: _File, error: Exception) -> None:
        if on_bad_file == "error":
            what = "folder" if file.path.is_dir() else "image file"
            raise ValueError(
                f'Cannot read the {what} {str(file.path)!r}: {error}. Remove it, or pass on_bad_file="skip" to '
                "leave such files out."
            ) from error
        logger.info("skipped %r: %s", str(file.path), error)
        failures[file.path] = error

    others: Counter[str] = Counter()
    try:
        files = _find_splits(folder, fail, others)
    except OSError as error:
        raise ValueError(f"Cannot read the folder {str(error.filename or folder)!r}: {error.strerror}.") from error
    everything = [file for split in files.values() for file in split]
    if others:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        warnings.warn(f"Files in {shown} are not read, by their suffix: {counted}.", stacklevel=2)
    if not everything:
        raise FileNotFoundError(f"No image files in the folder {shown}: looked for {', '.join(SUFFIXES)}.")
    class_names = _class_names(everything, shown) if labels else None
    total = len(everything) + len(failures)
    with pillow_warnings():
        headers = dict(_attempt(lambda file: read_header(file.path), everything, fail))
        if not headers:
            raise ValueError(f"None of the {len(everything)} image files in {shown} can be read.")
        _say_frames(headers, shown)
        size = resize or _common_size([header.size for header in headers.values()], shown)
        channels = 1 if all(header.is_gray for header in headers.values()) else 3
        storage = _storage(headers, size, channels, value_range, fail, shown)
        sizes = Counter(header.size for header in headers.values())
        storage = storage._replace(fit=fit_of(sizes, size, fit, shown))
        readable = {name: [file for file in split if file in headers] for name, split in files.items()}
        splits = _decode_splits(readable, headers, storage, class_names, value_range, fail, shown)
    if "train" not in splits:
        raise ValueError(f"None of the image files for training in {shown} can be read.")
    if failures:
        path, first = next(iter(failures.items()))
        warnings.warn(
            f"Left out {len(failures)} unreadable of {total} image files in {shown}, the first {str(path)!r}: {first}",
            stacklevel=2,
        )
    return Source(splits, class_names)


def _find_splits(
    folder: Path, fail: Callable[[_File, Exception], None], others: Counter[str]
) -> dict[str, list[_File]]:
    folder = _unwrapped(folder)
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        roots = [path for path in folders if path.name.lower() in names]
        files = [file for root in roots for file in _find(root, fail, others, root.name if len(roots) > 1 else "")]
        if files:
            found[split] = files
    if "train" not in found:
        others.clear()
        return {"train": _find(folder, fail, others)}
    known = {name for names in SPLIT_FOLDERS.values() for name in names}
    ignored = [path.name for path in folders if path.name.lower() not in known]
    if ignored:
        warnings.warn(
            f"{str(folder)!r} has a train folder, so these folders beside it are ignored: {ignored}", stacklevel=3
        )
    return found


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one that it only wraps: no image lies beside it, and folders are in it.

    A folder that holds images, and is alone, is a class; one that is called like a split is that split.
    """
    seen = set()
    while True:
        folders, has_images = _inside(folder)
        if has_images or len(folders) != 1 or folder.resolve() in seen:
            return folder
        seen.add(folder.resolve())
        (only,) = folders
        is_split = any(only.name.lower() in names for names in SPLIT_FOLDERS.values())
        try:
            inner, has_images = _inside(only)
        except OSError:  # said when its files are looked for
            return folder
        if is_split or has_images or not inner:
            return folder
        folder = only


def _inside(folder: Path) -> tuple[list[Path], bool]:
    """The visible folders in a folder, and whether there are images beside them."""
    visible = [path for path in folder.iterdir() if not _is_hidden(path)]
    folders = [path for path in visible if path.is_dir()]
    return folders, any(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in visible)


def _find(root: Path, fail: Callable[[_File, Exception], None], others: Counter[str], prefix: str = "") -> list[_File]:
    """All image files under `root`, in the order of their paths; each folder once, however it is linked.

    `fail` is told of folders that cannot be read; images of formats that are not read are counted in `others`.
    """
    root = _unwrapped(root) if root.is_dir() else root
    files = []
    visited = set()
    to_visit = [root]
    while to_visit:
        folder = to_visit.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            inside = sorted(folder.iterdir(), reverse=True)
        except OSError as error:
            fail(_File(folder), error)
            continue
        for path in inside:
            if _is_hidden(path):
                continue
            if path.is_dir():
                to_visit.append(path)
            elif path.suffix.lower() in SUFFIXES:
                parts = path.relative_to(root).parts
                name = unicodedata.normalize("NFC", "/".join((prefix, *parts) if prefix else parts))
                label = unicodedata.normalize("NFC", readable(parts[0])) if len(parts) > 1 else None
                files.append(_File(path, label, name))
            elif path.suffix.lower() in OTHER_IMAGES:
                others[path.suffix.lower()] += 1
    return sorted(files)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))


def _class_names(files: list[_File], shown: str) -> tuple[str, ...]:
    outside = [file.path for file in files if file.label is None]
    if outside:
        raise ValueError(
            f"Labels are the names of class folders, but {len(outside)} images in {shown} are in none, the first "
            f"{str(outside[0])!r}. Sort the images into class folders, or pass labels=False."
        )
    names = tuple(sorted({file.label for file in files if file.label is not None}))
    if len(names) == 1:
        raise ValueError(
            f"Labels are the names of class folders, but all {len(files)} images in {shown} are in one, {names[0]!r}. "
            "Give the folder that holds the folders of all classes, or pass labels=False."
        )
    moved = [name for k, name in enumerate(names) if name.isdecimal() and int(name) < len(names) and int(name) != k]
    if moved:
        warnings.warn(
            f"The class folders in {shown} have numbers for names, and are numbered in the order of these as texts: "
            f"the label of {moved[0]!r} is {names.index(moved[0])}. Ask for a class by name, as in "
            f'condition="{moved[0]}".',
            stacklevel=3,
        )
    return names


def _say_frames(headers: dict[_File, Header], shown: str) -> None:
    more = [file for file, header in headers.items() if header.has_more]
    if more:
        warnings.warn(
            f"{len(more)} of the files in {shown} hold several frames or pages, such as {str(more[0].path)!r}: the "
            "first of each is read. To use all, save them as files of their own or as one .npy file.",
            stacklevel=3,
        )


def _common_size(sizes: list[Size], shown: str) -> Size:
    counts = Counter(sizes)
    size, count = counts.most_common(1)[0]
    if len(counts) > 1:
        warnings.warn(
            f"The {len(sizes)} images in {shown} have {len(counts)} different sizes. All are resized to "
            f"{size[0]}x{size[1]} (height x width), the size of {count} of them; choose with resize=(height, width).",
            stacklevel=3,
        )
    return size


def _storage(
    headers: dict[_File, Header],
    size: Size,
    channels: int,
    value_range: Range,
    fail: Callable[[_File, Exception], None],
    shown: str,
) -> _Storage:
    """How to keep the images, after a look at the range of those of more than 8 bits."""
    kinds = {header.kind for header in headers.values()}
    if value_range is not None:
        scale = Scale(*value_range)
        white = int(scale.white) if scale.is_grid and "floats" not in kinds else None
        return _Storage(size, channels, 255 if white == 1 else white, dict.fromkeys(kinds, scale))
    scales = {"bytes": Scale(0.0, 255.0), "floats": Scale(0.0, 1.0)}
    if "deep" in kinds:
        deep = [file for file, header in headers.items() if header.kind == "deep"]
        ranges = [extremes for _, extremes in _attempt(lambda file: _extremes(decode(file.path).values), deep, fail)]
        if ranges:
            low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
            scales["deep"] = gray_levels.scale_of_files(low, high, True, f"the 16-bit files in {shown}")
    if "floats" in kinds:
        return _Storage(size, channels, None, scales)
    if kinds == {"deep"} and scales["deep"].white > 1:
        return _Storage(size, channels, int(scales["deep"].white), scales)
    return _Storage(size, channels, 255, scales)


def _decode_splits(
    files: dict[str, list[_File]],
    headers: dict[_File, Header],
    storage: _Storage,
    class_names: tuple[str, ...] | None,
    value_range: Range,
    fail: Callable[[_File, Exception], None],
    shown: str,
) -> dict[str, Examples]:
    """All images by split; those without a readable one are left out."""
    found, ranges = {}, []
    for name, split in files.items():
        decoded, low, high = _decode_all(split, headers, storage, class_names, value_range, fail, shown)
        if len(decoded.images):
            found[name] = decoded
            ranges.append((low, high))
    if (
        {headers[file].kind for split in files.values() for file in split} == {"bytes"}
        and value_range is None
        and found
    ):
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        scale = gray_levels.scale_of_files(low, high, False, f"the files in {shown}")
        if scale != storage.scales["bytes"]:  # seen only now, and an image that was resized is not what it was
            masks = storage._replace(scales={**storage.scales, "bytes": scale})
            return _decode_splits(files, headers, masks, class_names, (0.0, 1.0), fail, shown)
    return found


def _decode_all(
    files: list[_File],
    headers: dict[_File, Header],
    storage: _Storage,
    class_names: tuple[str, ...] | None,
    value_range: Range,
    fail: Callable[[_File, Exception], None],
    shown: str,
) -> tuple[Examples, float, float]:
    """The images of a split, and the range that their values had in the files."""
    shape = (len(files), *storage.size, storage.channels)
    images = empty(shape, storage.dtype, f"The {len(files)} images in {shown}")
    checksums = np.zeros(len(files), np.uint32)
    good: list[_File] = []
    lowest, highest = np.inf, -np.inf

    def read(file: _File) -> tuple[np.ndarray, int, tuple[float, float]]:
        values, checksum = decode(file.path)
        return _stored(values, storage.scales[headers[file].kind], storage), checksum, _extremes(values)

    for file, (image, checksum, (low, high)) in _attempt(read, files, fail):
        if value_range is not None:
            gray_levels.check_inside(low, high, value_range, repr(str(file.path)))
        elif headers[file].kind == "floats":
            gray_levels.check_unit(low, high, repr(str(file.path)))
        images[len(good)], checksums[len(good)] = image, checksum
        lowest, highest = min(lowest, low), max(highest, high)
        good.append(file)
    labels = None
    if class_names is not None:
        number = {name: k for k, name in enumerate(class_names)}
        labels = np.array([number[file.label] for file in good if file.label is not None], np.int64)
    examples = Examples(
        images[: len(good)],
        labels,
        255 if storage.white is None else storage.white,
        tuple(file.name for file in good),
        checksums[: len(good)],
    )
    return examples, lowest, highest


def _extremes(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _stored(values: np.ndarray, scale: Scale, storage: _Storage) -> np.ndarray:
    """An image in the size, the colours and the numbers of the storage."""
    if values.dtype.kind != "u" or storage.white is None or scale != Scale(0.0, storage.white):
        # What lies outside is refused when the file's range is checked.
        values = np.clip((values - np.float64(scale.black)) / (scale.white - scale.black), 0.0, 1.0)
        values = values if storage.white is None else np.rint(values * storage.white)
    image = resized(values.astype(storage.dtype, copy=False), storage.size, storage.fit)
    if storage.white != np.iinfo(np.uint8).max:  # the interpolation overshoots
        image = np.clip(image, 0, 1.0 if storage.white is None else storage.white)
    return np.broadcast_to(image, (*storage.size, storage.channels))


def _attempt(
    read: Callable[[_File], Result], files: list[_File], fail: Callable[[_File, Exception], None]
) -> Iterator[tuple[_File, Result]]:
    """(file, read(file)) for each file, in order; where it raises, `fail` is told instead."""

    def attempt(files: list[_File]) -> list[Result | Exception]:
        results: list[Result | Exception] = []
        for file in files:
            try:
                results.append(read(file))
            except Exception as error:  # Pillow raises errors of many types on damaged files
                results.append(error)
        return results

    tasks = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        # As many tasks at a time as workers: decoded images do not pile up, and an error ends the work soon.
        for start in range(0, len(tasks), workers):
            round_ = tasks[start : start + workers]
            for task, results in zip(round_, pool.map(attempt, round_), strict=True):
                for file, result in zip(task, results, strict=True):
                    if isinstance(result, Exception):
                        fail(file, result)
                    else:
                        yield file, result
