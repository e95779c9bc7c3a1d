"""What every source hands over: checked images, in memory or on disk, with their labels."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from keras_vae.data.storage.copies import converted
from keras_vae.data.storage.on_disk import ends, is_on_disk, parts

Size = tuple[int, int]  # height, width
# How a picture of another shape is brought to a size.
Fit = Literal["crop", "pad", "stretch"]
# A picture of which less is cut away than this counts as of the same shape.
HARDLY = 0.01


class Examples(NamedTuple):
    """One split.

    Attributes:
        images: [N, H, W, C], uint8 or uint16 (k stands for k / white) or float32 in [0, 1]; or vectors [N, D] or series
            [N, steps, channels], uint8 or float32, which stand for themselves. In memory, or on disk, see
            `storage.on_disk`.
        labels: [N, ...], or None; what stands in their place may be on disk too.
        white: the level of white in images of whole numbers.
        names: of the files, relative to the folder of the split; None for what has no names.
        checksums: uint32 [N], of the content of each file or row; None for data that follow from their name.
    """

    images: Any
    labels: Any = None
    white: int = 255
    names: tuple[str, ...] | None = None
    checksums: np.ndarray | None = None

    @property
    def divisor(self) -> float:
        """What `images` are divided by."""
        return float(self.white) if self.images.ndim == 4 and self.images.dtype.kind == "u" else 1.0


class Source(NamedTuple):
    """What one source holds.

    Attributes:
        splits: by name: "train", and "validation" and "test" if the source has them.
        class_names: the name of label k at index k; None if unknown.
        name: with the version, of a dataset by name; None for files and arrays.
        schema: of the columns of a table, see `data.tables.schema`; None of what is none.
    """

    splits: dict[str, Examples]
    class_names: tuple[str, ...] | None = None
    name: str | None = None
    schema: dict[str, Any] | None = None


def checked_images(array: Any, what: str, missing: bool = False) -> Any:
    """The array as images [N, H, W, C] or vectors [N, D] of finite numbers, whole ones or float32.

    Args:
        array: images [N, H, W, C] or [N, H, W], or vectors [N, D]. Of bools, true is white.
        what: how to call it in an error.
        missing: whether NaN stands for missing values.

    Raises:
        ValueError: for a wrong shape or type, for infinite values, and for NaN unless values may be missing.
    """
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"{what} has shape {array.shape}; images are [N, H, W, C] or [N, H, W] and vectors [N, D], with N > 0."
        )
    is_image = array.ndim > 2
    if array.ndim == 3:
        array = array.of_shape((*array.shape, 1)) if is_on_disk(array) else array[..., np.newaxis]
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return converted(array, array.shape, np.uint8, what, ["bytes"], lambda part: part)
    is_whole = np.issubdtype(array.dtype, np.integer)
    if is_whole and is_image:
        return array
    if not (is_whole or np.issubdtype(array.dtype, np.floating)):
        raise ValueError(f"{what} has dtype {array.dtype}; images are whole numbers or floats.")
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # said below
            array = converted(array, array.shape, np.float32, what, ["float32"], lambda part: part.astype(np.float32))
    if not np.isfinite(ends(array, missing)).all():  # both are NaN if any value is, or if all of them are
        row, has_gaps = _first_bad(array, missing)
        if row is None:
            raise ValueError(f"{what} has no values: all are missing.")
        named, hint = "infinite", ""
        if not missing:
            named = "NaN or infinite"
            if has_gaps:
                hint = " If NaN stands for values that are missing: missing=True (in a config: data.missing)."
        raise ValueError(f"{what} has {named} values, first in row {row}. Remove or repair such examples.{hint}")
    return array


def _first_bad(array: Any, missing: bool) -> tuple[int | None, bool]:
    """The first row with values that are none, and whether any value of all is NaN."""
    first, has_gaps = None, False
    for start, part in parts(array):
        bad = (np.isinf(part) if missing else ~np.isfinite(part)).reshape(len(part), -1).any(axis=1)
        if first is None and bad.any():
            first = start + int(np.argmax(bad))
        has_gaps = has_gaps or bool(np.isnan(part).any())
    return first, has_gaps


def checked_labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """The labels, if they are numbers and as many as there are images; a column of class indices as a vector.

    Raises:
        ValueError: otherwise.
    """
    if labels.ndim == 0 or len(labels) != count:
        raise ValueError(f"{what} has shape {labels.shape}, but there are {count} images: one label for each, please.")
    if not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise ValueError(f"{what} has dtype {labels.dtype}; labels are numbers (class indices or factors).")
    is_column = labels.ndim == 2 and labels.shape[1] == 1 and np.issubdtype(labels.dtype, np.integer)
    return labels[:, 0] if is_column else labels


def resized(image: np.ndarray, size: Size, fit: Fit = "crop") -> np.ndarray:
    """One image [h, w, C], whole numbers or float32, at another size: bicubic with antialiasing, channel by channel.

    Args:
        image: of any size.
        size: (height, width) of the result.
        fit: what is done where its shape, height to width, is another: "crop" takes as much of the middle as has the
            right shape, "pad" takes all and fills up the sides with the median of the outermost pixels, a colour that
            the picture has, and "stretch" distorts.
    """
    if image.shape[:2] == tuple(size):
        return image
    source = image if image.dtype in (np.uint8, np.float32) else image.astype(np.float32)
    height, width = image.shape[:2]
    inner = _inside((height, width), size) if fit == "pad" else (size[0], size[1])
    box = None
    if fit == "crop" and height * size[1] != width * size[0]:
        high, wide = _kept((height, width), size)
        # Halves of pixels are cut as well: nothing moves to a side.
        box = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    channels = [
        Image.fromarray(np.ascontiguousarray(source[:, :, c])).resize(inner[::-1], Image.Resampling.BICUBIC, box)
        for c in range(image.shape[2])
    ]
    result = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    if source is not image:
        result = np.clip(np.rint(result), 0, np.iinfo(image.dtype).max).astype(image.dtype)
    return result if inner == tuple(size) else _framed(result, size, _edge_colour(image))


def _kept(have: Sequence[int], want: Size) -> tuple[float, float]:
    """Height and width of the largest part in the shape of `want`."""
    return min(have[0], have[1] * want[0] / want[1]), min(have[1], have[0] * want[1] / want[0])


def _inside(have: Sequence[int], want: Size) -> Size:
    """Height and width of the whole picture inside of `want`, with margins of whole pixels that are the same on both
    sides wherever a pixel is left between them."""
    scale = min(want[0] / have[0], want[1] / have[1])
    sides = [full - 2 * round((full - side * scale) / 2) for full, side in zip(want, have, strict=True)]
    return max(1, sides[0]), max(1, sides[1])


def _edge_colour(image: np.ndarray) -> np.ndarray:
    """The median of the outermost pixels in each channel, [C]; of two in the middle the lower, which is there."""
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return np.sort(edge, axis=0)[(len(edge) - 1) // 2]


def _framed(image: np.ndarray, size: Size, colour: np.ndarray) -> np.ndarray:
    result = np.empty((*size, image.shape[2]), image.dtype)
    result[...] = colour
    top, left = ((full - side) // 2 for full, side in zip(size, image.shape[:2], strict=True))
    result[top : top + image.shape[0], left : left + image.shape[1]] = image
    return result


def fit_of(sizes: Mapping[Size, int], size: Size, fit: Fit | None, what: str) -> Fit:
    """How images of these sizes are brought to `size`; what the user has not chosen is said, where it matters.

    Args:
        sizes: how many images there are of each.
        size: (height, width) that all get.
        fit: what the user has said; None for "crop".
        what: how to call the images.
    """
    shares = {have: np.prod(_kept(have, size)) / np.prod(have) for have in sizes}
    others = {have: share for have, share in shares.items() if share < 1.0 - HARDLY}
    if fit is None and others:
        count, total = sum(sizes[have] for have in others), sum(sizes.values())
        (height, width), share = min(others.items(), key=lambda item: item[1])
        least = f"; of the furthest, {height}x{width}, {share:.0%} is left" if share < 0.5 else ""
        warnings.warn(
            f"{count:,} of the {total:,} images in {what} have another shape than {size[0]}x{size[1]} (height x "
            f'width), and are cropped to the middle{least}. fit="pad" keeps all of each, fit="stretch" distorts them '
            "(in a config: data.fit).",
            stacklevel=3,
        )
    return fit or "crop"


def resized_images(images: Any, size: Size, what: str, white: int = 255, fit: Fit = "crop") -> Any:
    """Images [N, h, w, C] at another size, in [0, white]; those on the grid k / 255 or k / white stay on it.

    Args:
        images, size, fit: as of `resized`.
        what: how to call them in an error.
        white: the level of white.

    Raises:
        ValueError: for vectors, which have no size, and for a result too large for the memory.
    """
    if images.ndim != 4:
        raise ValueError(f"{what} holds vectors of shape {images.shape}; resize={tuple(size)} is for images.")
    if images.shape[1:3] == tuple(size):
        return images
    if images.dtype.kind == "f" and np.isnan(ends(images)).any():
        raise ValueError(
            f"{what} has images of shape {images.shape[1:3]} with missing values, whose holes would grow with "
            f"resize={tuple(size)}: bring them to that size before."
        )
    is_on_grid = images.dtype.kind == "f" and all(_on_grid(part) for _, part in parts(images))

    def made(part: np.ndarray) -> np.ndarray:
        resized_ones = np.stack([resized(image, size, fit) for image in part])
        # The interpolation overshoots.
        clipped = np.clip(resized_ones, 0, white if images.dtype.kind == "u" else 1.0)
        return np.rint(clipped * 255) / 255 if is_on_grid else clipped

    how = ["resized", *map(int, size), fit, white]
    return converted(images, (len(images), *size, images.shape[3]), images.dtype, what, how, made)


def _on_grid(images: np.ndarray) -> bool:
    levels = images * 255
    return bool(np.abs(levels - np.rint(levels)).max() < 1e-3)
