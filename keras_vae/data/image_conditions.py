"""Conditions that are computed from the images themselves: what a model is to restore them from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_vae.data.examples import Examples
from keras_vae.data.storage.copies import converted

# ITU-R BT.601: the weights of red, green and blue in the brightness, as in the "L" of image libraries.
LUMA = np.array([0.299, 0.587, 0.114], "float32")
NAMES = ("label", "gray", "low_resolution")


def derive(examples: Examples, condition: Mapping[str, Any]) -> Any:
    """The condition of each image [N, H, W, C]: uint8 of those on 256 levels, float32 in [0, 1] of others.

    "gray" is the brightness [N, H, W, 1], "low_resolution" the mean of blocks of `factor` x `factor` pixels.

    Raises:
        ValueError: for images that have no such condition.
    """
    images = examples.images
    if condition["name"] == "gray":
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"Only colour images [N, H, W, 3] have a brightness, not those of shape {images.shape}.")
        return _in_chunks(examples, (*images.shape[:3], 1), "gray", lambda part: (part @ LUMA)[..., np.newaxis])
    factor = condition["factor"]
    if images.ndim != 4 or images.shape[1] % factor or images.shape[2] % factor:
        raise ValueError(
            f"condition low_resolution with factor {factor} is for images whose height and width are multiples of it, "
            f"not for shape {images.shape[1:]}: give resize=(height, width)."
        )
    n, height, width, channels = images.shape
    small = (height // factor, width // factor)

    def averaged(part: np.ndarray) -> np.ndarray:
        return part.reshape(len(part), small[0], factor, small[1], factor, channels).mean(axis=(2, 4))

    return _in_chunks(examples, (n, *small, channels), "low_resolution", averaged)


def without_colours(examples: Examples, what: str) -> Examples:
    """The brightness of colour images, as of `derive`; gray images as they are.

    Raises:
        ValueError: for what are no images.
    """
    if examples.images.ndim != 4:
        raise ValueError(f"gray=True is for images, and {what} holds examples of shape {examples.images.shape[1:]}.")
    if examples.images.shape[-1] == 1:
        return examples
    return examples._replace(images=derive(examples, {"name": "gray"}), white=255)


def _in_chunks(examples: Examples, shape: tuple[int, ...], name: str, function: Any) -> Any:
    images, keeps_bytes = examples.images, examples.images.dtype == np.uint8 and examples.white == 255

    def derived(part: np.ndarray) -> np.ndarray:
        values = function(part.astype("float32"))
        return np.rint(values) if keeps_bytes else values / np.float32(examples.divisor)

    how = ["condition", name, list(shape[1:]), keeps_bytes, examples.divisor]
    dtype = np.uint8 if keeps_bytes else np.float32
    return converted(images, shape, dtype, "The conditions", how, derived)
