"""Images from a folder of the user's files, which may be of any size, damaged or hostile."""

import logging
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from keras_vae.arguments import readable
from keras_vae.data import gray_levels
from keras_vae.data.examples import Examples, Fit, Size, Source, fit_of, resized
from keras_vae.data.gray_levels import Range, Scale
from keras_vae.data.readers.files_in_folders import File, classes_of, find_splits, named_in
from keras_vae.data.readers.image_files import SUFFIXES, Header, decode, pillow_warnings, read_header
from keras_vae.data.readers.many_files import attempt, each, keys_of, place_of
from keras_vae.data.storage.entries import entry
from keras_vae.data.storage.on_disk import first

KINDS = ("bytes", "deep", "floats")
OnBadFile = Literal["error", "skip"]
logger = logging.getLogger(__name__)


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
    whole: bool = False,
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
        whole: whether all images are one split, "train", in the order of their paths and named relative to `folder`.

    Raises:
        FileNotFoundError: without any image file.
        ValueError: for an unreadable file (named), images outside class folders or in a single one if labels are asked
            for, values outside of `value_range`, or more images than fit into memory.
    """
    shown = repr(str(folder))
    failures = _Failures(on_bad_file)
    others: Counter[str] = Counter()
    try:
        files = find_splits(folder, failures, others, whole)
    except OSError as error:
        raise ValueError(f"Cannot read the folder {str(error.filename or folder)!r}: {error.strerror}.") from error
    if whole:
        files = {"train": sorted(named_in(file, folder) for file in files["train"])}
    if others:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        warnings.warn(f"Files in {shown} are not read, by their suffix: {counted}.", stacklevel=2)
    if not any(files.values()):
        raise FileNotFoundError(f"No image files in the folder {shown}: looked for {', '.join(SUFFIXES)}.")
    return _load(files, shown, failures, resize, labels, value_range, fit)


def load_files(
    paths: list[Path],
    resize: Size | None,
    labels: bool,
    on_bad_file: OnBadFile,
    value_range: Range = None,
    fit: Fit | None = None,
) -> Source:
    """Image files as one split, "train", in the order in which they were given, otherwise as `load_folder` reads them.

    The label of each is the folder that it lies in, its name the path as it was given.

    Raises:
        FileNotFoundError: for a file that does not exist.
        ValueError: as `load_folder`; for a file that is no image by its suffix.
    """
    files = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            raise ValueError(
                f"{str(path)!r} is no image file: several paths are image files ({', '.join(SUFFIXES)}); a folder, or "
                "an .npy, .npz or .csv file, is given alone."
            )
        label = unicodedata.normalize("NFC", readable(path.absolute().parent.name))
        files.append(File(path, label, unicodedata.normalize("NFC", path.as_posix())))
    others = f" and {len(paths) - 1} others" if len(paths) > 1 else ""
    shown = f"{str(paths[0])!r}{others}"
    return _load({"train": files}, shown, _Failures(on_bad_file), resize, labels, value_range, fit, least=1)


class _Failures(dict[Path, Exception]):
    """Files that cannot be read, and why: an error, unless they are to be skipped."""

    def __init__(self, on_bad_file: OnBadFile) -> None:
        super().__init__()
        self.on_bad_file = on_bad_file

    def __call__(self, file: File, error: Exception) -> None:
        if self.on_bad_file == "error":
            what = "folder" if file.path.is_dir() else "image file"
            raise ValueError(
                f'Cannot read the {what} {str(file.path)!r}: {error}. Remove it, or pass on_bad_file="skip" to '
                "leave such files out."
            ) from error
        logger.info("skipped %r: %s", str(file.path), error)
        self[file.path] = error


def _load(
    files: dict[str, list[File]],
    shown: str,
    fail: _Failures,
    resize: Size | None,
    labels: bool,
    value_range: Range,
    fit: Fit | None,
    least: int = 2,
) -> Source:
    """The images of files that were found; labels of at least so many classes."""
    everything = [file for split in files.values() for file in split]
    names = classes_of(everything, shown, least) if labels else None
    total = len(everything) + len(fail)
    with pillow_warnings():
        headers = _headers(everything, fail, shown)
        if not headers:
            raise ValueError(f"None of the {len(everything)} image files in {shown} can be read.")
        _say_frames(headers, shown)
        size = resize or _common_size([header.size for header in headers.values()], shown)
        channels = 1 if all(header.is_gray for header in headers.values()) else 3
        storage = _storage(headers, size, channels, value_range, fail, shown)
        sizes = Counter(header.size for header in headers.values())
        storage = storage._replace(fit=fit_of(sizes, size, fit, shown))
        readable = {name: [file for file in split if file in headers] for name, split in files.items()}
        splits = _decode_splits(readable, headers, storage, names, value_range, fail, shown)
    if "train" not in splits:
        raise ValueError(f"None of the image files for training in {shown} can be read.")
    if fail:
        path, first = next(iter(fail.items()))
        warnings.warn(
            f"Left out {len(fail)} unreadable of {total} image files in {shown}, the first {str(path)!r}: {first}",
            stacklevel=2,
        )
    return Source(splits, names)


def _say_frames(headers: dict[File, Header], shown: str) -> None:
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
    headers: dict[File, Header],
    size: Size,
    channels: int,
    value_range: Range,
    fail: Callable[[File, Exception], None],
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
        ranges = []
        for file, extremes in attempt(lambda file: _extremes(decode(file.path).values), deep):
            if isinstance(extremes, Exception):
                fail(file, extremes)
            else:
                ranges.append(extremes)
        if ranges:
            low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
            scales["deep"] = gray_levels.scale_of_files(low, high, True, f"the 16-bit files in {shown}")
    if "floats" in kinds:
        return _Storage(size, channels, None, scales)
    if kinds == {"deep"} and scales["deep"].white > 1:
        return _Storage(size, channels, int(scales["deep"].white), scales)
    return _Storage(size, channels, 255, scales)


def _decode_splits(
    files: dict[str, list[File]],
    headers: dict[File, Header],
    storage: _Storage,
    class_names: tuple[str, ...] | None,
    value_range: Range,
    fail: Callable[[File, Exception], None],
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


def _headers(files: list[File], fail: Callable[[File, Exception], None], shown: str) -> dict[File, Header]:
    """The headers of the files that have one."""
    identity = ("headers", place_of(files))
    with entry(identity, lambda: keys_of(files), len(files), what="The headers") as made:
        columns = [
            made.column(name, np.int32) for name in ("height", "width", "is_gray", "kind", "has_more", "is_good")
        ]
        for number, header in each(lambda file: read_header(file.path), files, made, fail, f"looking at {shown}"):
            row = (*header.size, header.is_gray, KINDS.index(header.kind), header.has_more, True)
            for column, value in zip(columns, row, strict=True):
                column[number] = value
    found = {}
    for number in np.flatnonzero(columns[-1]).tolist():
        height, width, is_gray, kind, has_more = (int(column[number]) for column in columns[:-1])
        found[files[number]] = Header((height, width), bool(is_gray), KINDS[kind], bool(has_more))
    return found


def _decode_all(
    files: list[File],
    headers: dict[File, Header],
    storage: _Storage,
    class_names: tuple[str, ...] | None,
    value_range: Range,
    fail: Callable[[File, Exception], None],
    shown: str,
) -> tuple[Examples, float, float]:
    """The images of a split, and the range that their values had in the files."""

    def read(file: File) -> tuple[np.ndarray, int, tuple[float, float]]:
        values, checksum = decode(file.path)
        return _stored(values, storage.scales[headers[file].kind], storage), checksum, _extremes(values)

    shape = (*storage.size, storage.channels)
    identity = ("images", place_of(files), *storage, value_range)
    what = f"The {len(files)} images in {shown}"
    with entry(identity, lambda: keys_of(files), len(files), shape, storage.dtype, what) as made:
        checksums, is_good = made.column("checksum", np.uint32), made.column("is_good", bool)
        lows, highs = made.column("low", np.float64), made.column("high", np.float64)
        count = int(is_good[: made.done].sum())
        where = shown if made.place is None else f"{shown} into {made.place}"
        for number, (image, checksum, (low, high)) in each(
            read, files, made, fail, f"reading {where}", int(np.prod(shape)) * np.dtype(storage.dtype).itemsize
        ):
            if value_range is not None:
                gray_levels.check_inside(low, high, value_range, repr(str(files[number].path)))
            elif headers[files[number]].kind == "floats":
                gray_levels.check_unit(low, high, repr(str(files[number].path)))
            made.rows[count] = image
            checksums[number], is_good[number], lows[number], highs[number] = checksum, True, low, high
            count += 1
    good = [files[number] for number in np.flatnonzero(is_good)]
    labels = None
    if class_names is not None:
        numbers = {name: k for k, name in enumerate(class_names)}
        labels = np.array([numbers[file.label] for file in good if file.label is not None], np.int64)
    examples = Examples(
        first(made.rows, count),
        labels,
        255 if storage.white is None else storage.white,
        tuple(file.name for file in good),
        checksums[is_good],
    )
    return examples, float(lows[is_good].min(initial=np.inf)), float(highs[is_good].max(initial=-np.inf))


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
