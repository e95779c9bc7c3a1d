"""One image file: what its header says, and its pixels as they are stored, upright and over white."""

import contextlib
import io
import stat
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from keras_vae.data.examples import Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
# A file may pretend to be of any of Pillow's fifty formats; only the decoders of these are let near it.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_SIDE = 16_384
# More than the pixels of the largest image take.
MAX_BYTES = 4 * 2**30
GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
DEEP_GRAY_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
EXIF_ORIENTATION = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_BITS_PER_SAMPLE = 258


class Header(NamedTuple):
    """What is known of a file before its pixels are decoded.

    Attributes:
        size: (height, width), upright.
        is_gray: whether it has no colours.
        kind: "bytes" of 8 bits or less, "deep" of up to 16, "floats" of numbers on no scale.
        has_more: whether there are more frames or pages than the first.
    """

    size: Size
    is_gray: bool
    kind: str
    has_more: bool


class Pixels(NamedTuple):
    """A decoded image.

    Attributes:
        values: [height, width, C], C = 1 or 3, in uint8, uint16 or float32.
        checksum: of the bytes of the file.
    """

    values: np.ndarray
    checksum: int


@contextlib.contextmanager
def pillow_warnings() -> Iterator[None]:
    """Make Pillow's warning of a decompression bomb an error, and keep its remarks on odd metadata quiet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_header(path: Path) -> Header:
    """The header of a file.

    Raises:
        Exception: of many types, if it is no image of the formats that are read.
    """
    _require_file(path)
    with path.open("rb") as stream, _opened(stream) as image:
        height, width = image.height, image.width
        # Of TIFF, Pillow has turned the size itself.
        if image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8):
            height, width = width, height
        is_gray, kind = _is_gray(image), _kind(image, stream)
        return Header((height, width), is_gray, kind, _has_more(image))


def decode(path: Path) -> Pixels:
    """The first frame or page, as it is stored but for orientation, transparency, palette and colour space.

    Raises:
        Exception: of many types, if it cannot be decoded.
    """
    _require_file(path)
    content = path.read_bytes()
    checksum = zlib.crc32(content)
    stream = io.BytesIO(content)
    with _opened(stream) as opened:
        kind = _kind(opened, stream)
        if kind == "deep" and opened.mode not in DEEP_GRAY_MODES:
            return Pixels(_deep_colours(content, _orientation(opened)), checksum)
        image: Image.Image = ImageOps.exif_transpose(opened)
        if kind != "bytes":
            return Pixels(_numbers(image), checksum)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if _is_gray(opened) else "RGB")
    values = np.asarray(image)
    return Pixels(values[..., np.newaxis] if values.ndim == 2 else values, checksum)


def _require_file(path: Path) -> None:
    status = path.stat()
    # A pipe would block for ever when opened.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size / 2**30:.1f} GB; at most {MAX_BYTES // 2**30} are read")


@contextlib.contextmanager
def _opened(stream: IO[bytes]) -> Iterator[Image.Image]:
    """The image with only its header read, if its size is sane."""
    with Image.open(stream, formats=FORMATS) as image:
        if max(image.size) > MAX_SIDE:
            raise ValueError(f"{image.width}x{image.height} pixels; at most {MAX_SIDE} a side are read")
        yield image


def _orientation(image: Image.Image) -> int:
    # Asking a PNG for EXIF data decodes it all, unless they stand in the header.
    has_exif = image.format != "PNG" or "exif" in image.info
    return int(image.getexif().get(EXIF_ORIENTATION, 1)) if has_exif else 1


def _is_gray(image: Image.Image) -> bool:
    tile = getattr(image, "tile", None)
    if image.format == "PNG" and tile and str(tile[0].args).startswith("LA;16"):
        return True  # opened as RGBA
    if image.mode in ("P", "PA"):
        palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        return bool((palette == palette[:, :1]).all())
    return image.mode in GRAY_MODES


def _kind(image: Image.Image, stream: IO[bytes]) -> str:
    if image.mode == "F":
        return "floats"
    if image.mode in DEEP_GRAY_MODES:
        return "deep"
    # Pillow keeps the upper byte of each of these colours.
    if image.format == "PNG":
        position = stream.tell()
        stream.seek(0)
        start = stream.read(25)
        stream.seek(position)
        return "deep" if start.startswith(PNG_SIGNATURE) and start[24] == 16 else "bytes"
    if image.format == "TIFF" and max(getattr(image, "tag_v2", {}).get(TIFF_BITS_PER_SAMPLE, (8,))) > 8:
        raise ValueError("a TIFF file of more than 8 bits a colour; save it as PNG, or the images as an .npy file")
    return "bytes"


def _has_more(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first frame may be damaged, and is not used
        return False


def _numbers(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)[..., np.newaxis]
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError("it has NaN or infinite values")
        return values.astype(np.float32)
    if values.min() < 0 or values.max() > 2**16 - 1:
        raise ValueError(f"values from {values.min()} to {values.max()}; whole numbers of up to 16 bits are read")
    return values.astype(np.uint16)


def _deep_colours(content: bytes, orientation: int) -> np.ndarray:
    """uint16 [height, width, 1 or 3] of a PNG with 16 bits a colour."""
    values = tf.io.decode_png(content, dtype=tf.uint16).numpy()
    if values.shape[-1] in (2, 4):
        colours, alpha = values[..., :-1], values[..., -1:].astype(np.float64) / (2**16 - 1)
        is_opaque = alpha.min() == 1.0
        values = colours if is_opaque else np.rint(colours * alpha + (2**16 - 1) * (1.0 - alpha)).astype(np.uint16)
    if orientation in (5, 6, 7, 8):
        values = values.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values
