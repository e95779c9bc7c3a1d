"""A look at data before they are used: their first batch, and all of them in batches."""

import itertools
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


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
