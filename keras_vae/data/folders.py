"""Images from a folder of the user's files, which may be of any size, damaged or hostile."""

import contextlib
import logging
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps

from keras_vae.data.examples import Examples, Size, Source, empty, resized

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
# A file may pretend to be of any of Pillow's fifty formats; only the decoders of these are let near it.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_SIDE = 16_384
FILES_PER_TASK = 64
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
EXIF_ORIENTATION = 0x0112
OnBadFile = Literal["error", "skip"]
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class _File(NamedTuple):
    path: Path
    label: str | None  # the class folder


class _Header(NamedTuple):
    size: Size
    is_gray: bool


def load_folder(folder: Path, resize: Size | None, labels: bool, on_bad_file: OnBadFile) -> Source:
    """The image files under `folder`, upright, of one size, gray if all are gray and RGB otherwise, over white.

    Args:
        folder: holds image files, or class folders of them, or folders train/ and test/ (and validation/) of either.
            Hidden files and files that are no images by their suffix are ignored; links are followed once.
        resize: (height, width); None for the most frequent size.
        labels: whether to number the class folders, in the order of their names.
        on_bad_file: "skip" leaves unreadable files out, with a warning that counts them.

    Raises:
        FileNotFoundError: without any image file.
        ValueError: for an unreadable file (named), images outside class folders if labels are asked for, or more
            images than fit into memory.
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

    files = _find_splits(folder, fail)
    everything = [file for split in files.values() for file in split]
    if not everything:
        raise FileNotFoundError(f"No image files in the folder {shown}: looked for {', '.join(SUFFIXES)}.")
    class_names = _class_names(everything, shown) if labels else None
    total = len(everything) + len(failures)
    with _pillow_warnings():
        headers = dict(_attempt(_read_header, everything, fail))
        if not headers:
            raise ValueError(f"None of the {len(everything)} image files in {shown} can be read.")
        size = resize or _common_size([header.size for header in headers.values()], shown)
        channels = 1 if all(header.is_gray for header in headers.values()) else 3
        splits = {}
        for name, split in files.items():
            readable = [file for file in split if file in headers]
            splits[name] = _decode_all(readable, size, channels, class_names, fail, shown)
    splits = {name: split for name, split in splits.items() if len(split.images)}
    if "train" not in splits:
        raise ValueError(f"None of the image files for training in {shown} can be read.")
    if failures:
        path, error = next(iter(failures.items()))
        warnings.warn(
            f"Left out {len(failures)} unreadable of {total} image files in {shown}, the first {str(path)!r}: {error}",
            stacklevel=2,
        )
    return Source(splits, class_names)


def _find_splits(folder: Path, fail: Callable[[_File, Exception], None]) -> dict[str, list[_File]]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        files = [file for path in folders if path.name.lower() in names for file in _find(path, fail)]
        if files:
            found[split] = files
    if "train" not in found:
        return {"train": _find(folder, fail)}
    known = {name for names in SPLIT_FOLDERS.values() for name in names}
    ignored = [path.name for path in folders if path.name.lower() not in known]
    if ignored:
        warnings.warn(
            f"{str(folder)!r} has a train folder, so these folders beside it are ignored: {ignored}", stacklevel=3
        )
    return found


def _find(root: Path, fail: Callable[[_File, Exception], None]) -> list[_File]:
    """All image files under `root`, in the order of their paths; each folder once, however it is linked.

    `fail` is told of folders that cannot be read.
    """
    files = []
    visited = set()
    to_visit = [root]
    while to_visit:
        folder = to_visit.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        try:
            inside = sorted(folder.iterdir(), reverse=True)
        except OSError as error:
            fail(_File(folder, None), error)
            continue
        for path in inside:
            if _is_hidden(path):
                continue
            if path.is_dir():
                to_visit.append(path)
            elif path.suffix.lower() in SUFFIXES:
                parts = path.relative_to(root).parts
                files.append(_File(path, parts[0] if len(parts) > 1 else None))
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
    return tuple(sorted({file.label for file in files if file.label is not None}))


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


def _decode_all(
    files: list[_File],
    size: Size,
    channels: int,
    class_names: tuple[str, ...] | None,
    fail: Callable[[_File, Exception], None],
    shown: str,
) -> Examples:
    images = empty((len(files), *size, channels), np.uint8, f"The {len(files)} images in {shown}")
    good: list[_File] = []
    for file, image in _attempt(lambda file: _decode(file, size, channels), files, fail):
        images[len(good)] = image
        good.append(file)
    labels = None
    if class_names is not None:
        number = {name: k for k, name in enumerate(class_names)}
        labels = np.array([number[file.label] for file in good if file.label is not None], np.int64)
    return Examples(images[: len(good)], labels)


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


@contextlib.contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Make Pillow's warning of a decompression bomb an error, and keep its remarks on odd metadata quiet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _opened(file: _File) -> Iterator[Image.Image]:
    """The image with only its header read, if its size is sane."""
    # A pipe would block for ever when opened.
    if not stat.S_ISREG(file.path.stat().st_mode):
        raise ValueError("not a regular file")
    with Image.open(file.path, formats=FORMATS) as image:
        if max(image.size) > MAX_SIDE:
            raise ValueError(f"{image.width}x{image.height} pixels; at most {MAX_SIDE} a side are read")
        yield image


def _read_header(file: _File) -> _Header:
    with _opened(file) as image:
        height, width = image.height, image.width
        # Asking a PNG for EXIF data decodes it all, unless they stand in the header.
        has_exif = image.format != "PNG" or "exif" in image.info
        if has_exif and image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8):
            height, width = width, height
        return _Header((height, width), _is_gray(image))


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in GRAY_MODES


def _decode(file: _File, size: Size, channels: int) -> np.ndarray:
    """uint8 [*size, channels]."""
    with _opened(file) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):
            levels = np.rint(np.asarray(image, np.float64) / 257)
            image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
        elif image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image)
    return resized(pixels[..., np.newaxis] if channels == 1 else pixels, size)
