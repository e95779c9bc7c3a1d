"""What arrays of series must be."""

import math
from typing import Any

from keras_vae.data.examples import checked_images
from keras_vae.data.storage.on_disk import is_on_disk

NOT_SERIES = (
    "series=True is of arrays [N, steps, channels], in memory or in an .npy or .npz file, and of 'oscillations'. "
    "The rows of a table are vectors: reshape them to such an array."
)


def checked_series(array: Any, what: str, missing: bool = False) -> Any:
    """The array as series [N, steps, channels] of finite numbers, which keep their values.

    Args:
        array: the series.
        what: how to call it in an error.
        missing: whether NaN stands for missing values.

    Raises:
        ValueError: for another number of axes, series of different lengths, and what `checked_images` refuses.
    """
    if array.dtype.hasobject:
        raise ValueError(
            f"{what} is no array of numbers, as where series differ in length: fill them up with NaN to one length, "
            "and say missing=True (in a config: data.missing)."
        )
    if array.ndim == 2:
        raise ValueError(
            f"{what} has shape {array.shape}; series are [N, steps, channels]. If these are N series of one channel: "
            f"x[..., None], of shape {(*array.shape, 1)}. If they are N vectors: without series=True."
        )
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"{what} has shape {array.shape}; series are [N, steps, channels], with none of them 0.")
    if is_on_disk(array):
        flat = array.of_shape((len(array), math.prod(array.shape[1:])))
        return checked_images(flat, what, missing).of_shape(array.shape)
    return checked_images(array.reshape(len(array), -1), what, missing).reshape(array.shape)
