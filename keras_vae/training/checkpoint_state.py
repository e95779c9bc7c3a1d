"""What of a model, its optimizer and its callbacks goes into a checkpoint or a model file."""

import inspect
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import files, internals

# Before the name of its run, in a model file.
STAMP = "keras_vae run "


def save(vae: Any, path: Path, run: str | None = None) -> None:
    """Write a `.keras` file such that `path` always holds a whole one.

    Args:
        vae: the model.
        path: of the file.
        run: the name of the run that it belongs to, which `run_of` reads: the comment of the archive.

    Raises:
        OSError: if the disk refuses.
        ValueError: if the weights are not finite.
    """
    check_finite(vae)
    with files.whole_file(path) as temporary:
        vae.save(temporary)
        if run is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = f"{STAMP}{run}".encode()


def run_of(path: Path) -> str | None:
    """The run that a model file belongs to; None if it does not say, or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            comment = archive.comment.decode("utf-8", "replace")
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return comment.removeprefix(STAMP) if comment.startswith(STAMP) else None


def check_finite(vae: Any) -> None:
    """See that a model is worth keeping.

    Raises:
        ValueError: if the weights are not finite.
    """
    bad = [
        v.path
        for v in vae.trainable_variables
        if not np.isfinite(keras.ops.convert_to_numpy(v).astype("float32")).all()
    ]
    if bad:
        raise ValueError(f"{len(bad)} weights hold NaN or infinity: {', '.join(bad[:3])}")


def variables(vae: Any) -> dict[str, Any]:
    """All variables that decide how training goes on, by name."""
    named = {f"model.{index}": variable for index, variable in enumerate(vae.variables)}
    named |= {f"optimizer.{index}": variable for index, variable in enumerate(vae.optimizer.variables)}
    return {**named, "skipped": vae.skip_counts.counts}


def meanings(part: keras.Layer) -> list[dict[str, Any]]:
    """What the weights of layers mean, where that has changed since there were files: see `set_meanings`."""
    return [{name: getattr(layer, name) for name in layer.before} for layer in _changed(part)]


def set_meanings(part: keras.Layer, found: list[dict[str, Any]] | None) -> None:
    """Let weights that are taken over mean what they did.

    Args:
        part: a model or a layer, whose layers declare in `before` the attributes that decide it, with their values in
            files that do not tell.
        found: what `meanings` gave of the same part where the weights come from; None for such a file.
    """
    layers = _changed(part)
    for layer, values in zip(layers, found or [dict(layer.before) for layer in layers], strict=True):
        for name, value in values.items():
            setattr(layer, name, value)


def _changed(part: keras.Layer) -> list[Any]:
    return [layer for layer in internals.layers_of(part) if getattr(layer, "before", None)]


def metric_variables(vae: Any) -> dict[str, Any]:
    """Variables of the running means of an epoch, by name."""
    variables = [variable for metric in vae.metrics for variable in metric.variables]
    return {f"metric.{index}": variable for index, variable in enumerate(variables)}


def value_of(variable: Any) -> np.ndarray:
    """A variable as an array."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def number(variable: Any) -> int:
    """A variable that counts, as an int."""
    return int(keras.ops.convert_to_numpy(variable))


def assign(variable: Any, value: np.ndarray) -> None:
    """Put into a variable what `value_of` gave, read back from a file."""
    # NumPy reads back bfloat16 as two bytes without a meaning.
    dtype = tf.as_dtype(keras.backend.standardize_dtype(variable.dtype)).as_numpy_dtype
    variable.assign(value.view(dtype) if value.dtype.kind == "V" else value)


def list_of(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray] | None:
    """The arrays `name.0`, `name.1` and so on; None if there are none."""
    found = [arrays[f"{name}.{index}"] for index in range(sum(key.startswith(f"{name}.") for key in arrays))]
    return found or None


def is_list_of_arrays(value: Any) -> bool:
    """Whether a callback holds weights, such as the best ones, under this attribute."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, (np.ndarray, np.generic)) for item in value)


def plain_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The numbers and words that a callback holds, but for the arguments it was made with."""
    arguments = inspect.signature(type(callback)).parameters
    state = {}
    for name, value in vars(callback).items():
        plain = value.item() if isinstance(value, np.generic) else value
        if name not in arguments and (plain is None or isinstance(plain, (bool, int, float, str))):
            state[name] = plain
    return state
