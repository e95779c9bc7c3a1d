"""What `fit` does with its data before Keras sees them: a look at the first batch, and a faster way to serve arrays."""

import itertools
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.datasets.arrays import Arrays

# Keras's own batch size for arrays.
DEFAULT_BATCH_SIZE = 32


def first_batch(data: Any) -> tuple[Any, Any]:
    """The examples of the first batch, and the data to use from then on.

    Args:
        data: what `keras.Model.fit` takes as `x`: array, tensor, `tf.data.Dataset`, `keras.utils.PyDataset`, generator
            or other iterable; batches may be (x, y) or (x, y, sample_weight).

    Returns:
        (array [B, ...] or None if there are no data, `data`). A generator loses its first batch to the look, and comes
        back as one that yields it again.
    """
    if isinstance(data, types.GeneratorType):
        batch = next(data, None)
        if batch is None:
            return None, data
        return _examples(batch), _resumed(batch, data)
    batch = next(batches(data), None)
    return batch, data


def batches(data: Any, batch_size: int = 256, limit: int | None = None) -> Iterator[np.ndarray]:
    """The examples of `data` in batches, without labels and weights; of endless data, at most `limit` batches."""
    return itertools.islice(_batches(data, batch_size), limit)


def is_endless(data: Any) -> bool:
    """Whether iterating over `data` never ends."""
    return isinstance(data, tf.data.Dataset) and int(data.cardinality()) == tf.data.INFINITE_CARDINALITY


def serve_arrays(options: dict[str, Any], seed: int) -> dict[str, Any]:
    """The arguments of `fit` with NumPy arrays replaced by a dataset that gathers whole batches from memory.

    Keras's own way costs a wait for the autotuner at the end of every epoch. Labels are left out: a VAE ignores them.

    Args:
        options: keyword arguments of `keras.Model.fit`.
        seed: of the order of the examples, new in every epoch.
    """
    x, weight = options.get("x"), options.get("sample_weight")
    needs_keras = [options.get(name) for name in ("validation_split", "class_weight", "steps_per_epoch")]
    if not isinstance(x, np.ndarray) or len(x) == 0 or any(needs_keras):
        return options
    batch_size = options.get("batch_size") or DEFAULT_BATCH_SIZE
    extras = [] if weight is None else [np.asarray(weight)] * 2  # (x, y, sample_weight), whatever y
    dataset = Arrays(x, *extras, share=True).dataset(batch_size, seed=seed, shuffle=bool(options.get("shuffle", True)))
    kept = {name: value for name, value in options.items() if name not in ("y", "sample_weight", "batch_size")}
    validation_batch_size = options.get("validation_batch_size") or batch_size
    return {**kept, "x": dataset, "shuffle": False, "validation_batch_size": validation_batch_size}


def _batches(data: Any, batch_size: int) -> Iterator[np.ndarray]:
    if isinstance(data, (tuple, list)) or is_array(data):
        array = data if is_array(data) else data[0]
        for start in range(0, len(array), batch_size):
            yield np.asarray(array[start : start + batch_size])
    elif isinstance(data, keras.utils.PyDataset):
        for index in range(data.num_batches or 0):
            yield _examples(data[index])
    elif data is not None:
        for batch in data:
            yield _examples(batch)


def is_array(data: Any) -> bool:
    """Whether `data` is one array or tensor that holds all examples."""
    return hasattr(data, "shape") and hasattr(data, "dtype") and not isinstance(data, tf.data.Dataset)


def _examples(batch: Any) -> np.ndarray:
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(x, tf.distribute.DistributedValues):
        x = x.values[0]
    return np.asarray(x)


def _resumed(batch: Any, rest: Iterator) -> Iterator:
    yield batch
    yield from rest
