"""What a model does with data before Keras sees them: a look at the first batch, a summary, a way to serve arrays."""

import dataclasses
import itertools
import math
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.arrays import Arrays

# Keras's own batch size for arrays.
DEFAULT_BATCH_SIZE = 32
# Batches of endless data that are looked at in place of all.
MANY_BATCHES = 100
# Keys of a batch that carries what the model is conditioned on.
IMAGE, CONDITION = "image", "condition"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a model starts from: see `summarize`.

    Attributes:
        mean: mean of the data, [...].
        spread: their standard deviation around it, in the root mean square over all values.
        low: smallest value, [...].
        high: largest value, [...].
        examples: a random choice of different examples, [n, ...], in their order.
    """

    mean: np.ndarray
    spread: float
    low: np.ndarray
    high: np.ndarray
    examples: np.ndarray


def summarize(data: Any, num_examples: int = 0) -> Summary:
    """One pass over the data, the first 100 batches of endless ones.

    Args:
        data: what `keras.Model.fit` takes as `x`.
        num_examples: how many examples to choose, each with the same chance; all of them if there are fewer. The same
            data give the same choice.

    Raises:
        ValueError: if there are none whose values are finite; examples with others are left out.
    """
    random = np.random.default_rng(0)
    count, total, squares = 0, np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf), np.full((), -np.inf)
    chosen: list[np.ndarray] = []
    ranks = np.zeros(0)  # random numbers; those with the lowest are chosen
    for batch in batches(data, limit=MANY_BATCHES if is_endless(data) else None):
        # One NaN would spoil the means, and with them the model.
        batch = batch[np.isfinite(batch).all(axis=tuple(range(1, batch.ndim)))]
        if len(batch) == 0:
            continue
        values = batch.astype("float64")
        count, total, squares = count + len(batch), total + values.sum(axis=0), squares + (values**2).sum(axis=0)
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        ranks = np.concatenate([ranks, random.random(len(batch))])
        best = np.sort(np.argsort(ranks)[:num_examples])
        kept = len(chosen)
        chosen = [chosen[i] if i < kept else np.array(batch[i - kept]) for i in best]
        ranks = ranks[best]
    if not count:
        raise ValueError("There are no data to adapt to: no batch holds an example whose values are all finite.")
    mean = total / count
    spread = math.sqrt(max(0.0, float(np.mean(squares / count - mean**2))))
    examples = np.reshape(chosen, (len(chosen), *mean.shape)).astype("float32")
    return Summary(mean, spread, low, high, examples)


def unpack(batch: Any, conditional: bool) -> tuple[Any, Any, Any]:
    """The examples, their conditions and their weights (None where there are none), of a batch in any form.

    Args:
        batch: x, (x, y) or (x, y, sample_weight), where x is an array or {"image": array, "condition": array}.
        conditional: whether y is the condition where x holds none; else y is ignored.

    Raises:
        ValueError: for a mapping of other keys.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    if not isinstance(x, Mapping):
        return x, y if conditional else None, weight
    if IMAGE not in x or set(x) - {IMAGE, CONDITION}:
        raise ValueError(
            f'Data in the form of a mapping are {{"{IMAGE}": x, "{CONDITION}": c}}; these have the keys {list(x)}.'
        )
    return x[IMAGE], x.get(CONDITION), weight


def first_batch(data: Any) -> tuple[Any, Any]:
    """The first batch, and the data to use from then on.

    Args:
        data: what `keras.Model.fit` takes as `x`: array, tensor, `tf.data.Dataset`, `keras.utils.PyDataset`, generator
            or other iterable; batches may be (x, y) or (x, y, sample_weight).

    Returns:
        (the batch as it is, or None if there are no data, `data`). A generator loses its first batch to the look, and
        comes back as one that yields it again.
    """
    if isinstance(data, types.GeneratorType):
        batch = next(data, None)
        if batch is None:
            return None, data
        return batch, _resumed(batch, data)
    batch = next(_batches(data, DEFAULT_BATCH_SIZE), None)
    return batch, data


def batches(data: Any, batch_size: int = 256, limit: int | None = None) -> Iterator[np.ndarray]:
    """The examples of `data` in batches, without labels and weights; of endless data, at most `limit` batches."""
    return itertools.islice(map(examples, _batches(data, batch_size)), limit)


def is_endless(data: Any) -> bool:
    """Whether iterating over `data` never ends."""
    return isinstance(data, tf.data.Dataset) and int(data.cardinality()) == tf.data.INFINITE_CARDINALITY


def serve_arrays(options: dict[str, Any], seed: int, conditional: bool = False) -> dict[str, Any]:
    """The arguments of `fit` with NumPy arrays replaced by a dataset that gathers whole batches from memory.

    Keras's own way costs a wait for the autotuner at the end of every epoch. Labels are left out, unless the model is
    conditioned on them.

    Args:
        options: keyword arguments of `keras.Model.fit`.
        seed: of the order of the examples, new in every epoch.
        conditional: whether `y` is served too.
    """
    x, weight = options.get("x"), options.get("sample_weight")
    needs_keras = [options.get(name) for name in ("validation_split", "class_weight", "steps_per_epoch")]
    if not isinstance(x, np.ndarray) or len(x) == 0 or any(needs_keras):
        return options
    batch_size = options.get("batch_size") or DEFAULT_BATCH_SIZE
    weights = [] if weight is None else [np.asarray(weight)]
    # (x, y, sample_weight), whatever y.
    extras = [np.asarray(options.get("y")), *weights] if conditional else weights * 2
    dataset = Arrays(x, *extras, share=True).dataset(batch_size, seed=seed, shuffle=bool(options.get("shuffle", True)))
    kept = {name: value for name, value in options.items() if name not in ("y", "sample_weight", "batch_size")}
    validation_batch_size = options.get("validation_batch_size") or batch_size
    return {**kept, "x": dataset, "shuffle": False, "validation_batch_size": validation_batch_size}


def _batches(data: Any, batch_size: int) -> Iterator[Any]:
    if isinstance(data, (Mapping, tuple, list)) or is_array(data):
        for start in range(0, count(data), batch_size):
            yield rows(data, start, start + batch_size)
    elif isinstance(data, keras.utils.PyDataset):
        for index in range(data.num_batches or 0):
            yield data[index]
    elif data is not None:
        yield from data


def whole_batches(data: Any, batch_size: int) -> Iterator[Any]:
    """All batches of `data` in the form in which they come; those of arrays have `batch_size` examples."""
    return _batches(data, batch_size)


def count(data: Any) -> int:
    """The number of examples in data that are an array, or (x, y) and mappings of arrays."""
    while not is_array(data):
        data = examples(data)
    return len(data)


def rows(data: Any, start: int, stop: int) -> Any:
    """The examples from `start` to `stop` of such data, in the same form."""
    if isinstance(data, Mapping):
        return {name: rows(part, start, stop) for name, part in data.items()}
    if isinstance(data, (tuple, list)) and not is_array(data):
        return tuple(None if part is None else rows(part, start, stop) for part in data)
    return np.asarray(data[start:stop])


def is_array(data: Any) -> bool:
    """Whether `data` is one array or tensor that holds all examples."""
    return hasattr(data, "shape") and hasattr(data, "dtype") and not isinstance(data, tf.data.Dataset)


def examples(batch: Any) -> np.ndarray:
    """The examples of a batch, without conditions, labels and weights."""
    x, _, _ = unpack(tuple(batch) if isinstance(batch, list) else batch, conditional=False)
    if isinstance(x, tf.distribute.DistributedValues):
        x = x.values[0]
    return np.asarray(x)


def _resumed(batch: Any, rest: Iterator) -> Iterator:
    yield batch
    yield from rest
