"""What other programs make of the same images: a table of bits for each value.

keras-vae decompress RUN FILE -o images.npz
python benchmarks/compression.py images.npz

Of black and white images gzip, bzip2 and xz get the bits, eight in a byte, of others a byte for each value; PNG and
WebP (lossless) get each image alone, and all of them side by side in one.
"""

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = {"PNG": {"optimize": True}, "WebP": {"lossless": True, "quality": 100, "method": 6}}


def mosaic(images: np.ndarray) -> np.ndarray:
    """[N, H, W, C] as one image, nearly square; black where there are none left."""
    n, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    full = np.zeros((rows * columns, height, width, channels), images.dtype)
    full[:n] = images
    tiled = full.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return tiled.reshape(rows * height, columns * width, channels)


def size(pixels: np.ndarray, kind: str) -> int:
    """Bytes of a file of one image [H, W, C] of 8 bits."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if kind == "PNG" and set(np.unique(pixels)) <= {0, 255} and pixels.shape[-1] == 1:
        image = image.convert("1")
    stream = io.BytesIO()
    image.save(stream, kind, **IMAGES[kind])
    found = Image.open(io.BytesIO(stream.getvalue())).convert(image.mode)
    assert np.array_equal(np.asarray(found), np.asarray(image)), f"{kind} has lost something"
    return stream.tell()


def rates(images: np.ndarray) -> dict[str, float]:
    """Bits for each value by each of them, of images [N, H, W, C] in [0, 1]."""
    pixels = np.rint(images * 255).astype("uint8")
    is_binary = set(np.unique(pixels)) <= {0, 255}
    raw = np.packbits(pixels > 0).tobytes() if is_binary else pixels.tobytes()
    found = {
        "nothing": len(raw),
        "gzip": len(gzip.compress(raw, 9)),
        "bzip2": len(bz2.compress(raw, 9)),
        "xz": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
    }
    for kind in IMAGES:
        found[f"{kind}, each alone"] = sum(size(image, kind) for image in pixels)
        found[f"{kind}, one mosaic"] = size(mosaic(pixels), kind)
    return {name: 8 * count / pixels.size for name, count in found.items()}


if __name__ == "__main__":
    print("| by | bits/dim |\n|---|---|")
    for name, rate in rates(np.load(Path(sys.argv[1]))["images"]).items():
        print(f"| {name} | {rate:.4f} |")
