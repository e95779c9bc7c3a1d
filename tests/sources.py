"""Pictures and arrays for the tests of data."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_vae.data import Arrays

RNG = np.random.default_rng(0)


def picture(path: Path, size=(8, 8), mode="RGB", color=None, **options) -> Path:
    """Write an image file of `size` (height, width); random pixels unless `color` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if color is not None:
        image = Image.new(mode, size[::-1], color)
    else:
        shape = size if mode == "L" else (*size, len(mode))
        image = Image.fromarray(RNG.integers(0, 256, shape, np.uint8), mode)
    image.save(path, **options)
    return path


def rows_of(dataset: tf.data.Dataset) -> np.ndarray:
    """All examples of a dataset of tensors or of tuples, of which the first part counts."""
    return np.concatenate([np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in dataset])


def numbered(count: int, **options) -> Arrays:
    return Arrays(np.arange(count, dtype=np.float32)[:, np.newaxis], **options)
