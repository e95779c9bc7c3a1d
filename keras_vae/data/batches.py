"""What a model does with data before Keras sees them: a look at the first batches, a summary, a way to serve arrays."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.arrays import Arrays

# Keras's own batch size for arrays.
DEFAULT_BATCH_SIZE = 32
# Batches that are looked at in place of all, of data that may never end; and the bytes of them that are kept.
MANY_BATCHES = 100
MANY_BYTES = 2**28
# Keys of a batch that carries more than examples: what the model is conditioned on, what it is to give, and which
# values of the examples are there.
IMAGE, CONDITION, TARGET, MASK = "image", "condition", "target", "mask"


class Batch(NamedTuple):
    """A batch taken apart; None for what it does not have.

    Attributes:
        x: the examples, which the encoder sees.
        condition: what the model is conditioned on.
        target: what the likelihood is of, if that is not x.
        weight: of the examples.
    """

    x: Any
    condition: Any = None
    target: Any = None
    weight: Any = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a model starts from: see `summarize`.

    Attributes:
        mean: mean of the data, [...].
        spread: their standard deviation around it, in the root mean square over all values.
        low: smallest value, [...].
        high: largest value, [...].
        examples: a random choice of different examples, [n, ...], in their order.
        observed: the same, with NaN where values are missing.
    """

    mean: np.ndarray
    spread: float
    low: np.ndarray
    high: np.ndarray
    examples: np.ndarray
    observed: np.ndarray


def summarize(data: Any, num_examples: int = 0, targets: bool = False, missing: bool = False) -> Summary:
    """One pass over the data, the first 100 batches of those that may never end.

    Args:
        data: what `keras.Model.fit` takes as `x`.
        num_examples: how many examples to choose, each with the same chance; all of them if there are fewer. The same
            data give the same choice.
        targets: whether the numbers are those of the targets that come with the examples.
        missing: whether NaN stands for missing values: the numbers are then of the others, and the chosen examples
            have means in their place.

    Raises:
        ValueError: if there are none whose values are finite; examples with others are left out.
    """
    random = np.random.default_rng(0)
    number, count, total, squares = 0, np.zeros(()), np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf), np.full((), -np.inf)
    chosen: list[np.ndarray] = []
    ranks = np.zeros(0)  # random numbers; those with the lowest are chosen
    for whole in itertools.islice(_batches(data, 256), MANY_BATCHES if may_be_endless(data) else None):
        batch = examples(whole)
        of_interest = _array(split(whole, targets=True).target) if targets else batch
        # One NaN would spoil the means, and with them the model.
        finite = _finite_rows(batch, missing)
        if of_interest is not batch:
            finite &= _finite_rows(of_interest)
        batch, of_interest = batch[finite], of_interest[finite]
        if len(batch) == 0:
            continue
        values, number, there = of_interest.astype("float64"), number + len(batch), len(batch)
        low, high = (
            np.fmin(low, np.fmin.reduce(values, axis=0)),
            np.fmax(high, np.fmax.reduce(values, axis=0)),
        )
        if missing:
            is_there = ~np.isnan(values)
            values, there = np.where(is_there, values, 0.0), is_there.sum(axis=0)
        count, total, squares = count + there, total + values.sum(axis=0), squares + (values**2).sum(axis=0)
        ranks = np.concatenate([ranks, random.random(len(batch))])
        best = np.sort(np.argsort(ranks)[:num_examples])
        kept = len(chosen)
        chosen = [chosen[i] if i < kept else np.array(batch[i - kept]) for i in best]
        ranks = ranks[best]
    if not number or not np.any(count):
        raise ValueError("There are no data to adapt to: no batch holds an example whose values are all finite.")
    if np.any(count == 0):  # a value that is missing everywhere is taken to be as the others are
        total, squares = (np.where(count == 0, x.sum() / count.sum(), x) for x in (total, squares))
        count = np.maximum(count, 1)
        low = np.where(np.isfinite(low), low, low[np.isfinite(low)].min())
        high = np.where(np.isfinite(high), high, high[np.isfinite(high)].max())
    mean = total / count
    spread = math.sqrt(max(0.0, float(np.mean(squares / count - mean**2))))
    examples_chosen = np.reshape(chosen, (len(chosen), *mean.shape)).astype("float32")
    observed = examples_chosen
    if missing:
        examples_chosen = np.where(np.isnan(examples_chosen), mean.astype("float32"), examples_chosen)
    return Summary(mean, spread, low, high, examples_chosen, observed)


def split(batch: Any, conditional: bool = False, targets: bool | None = False) -> Batch:
    """A batch in any form, taken apart.

    Args:
        batch: x, (x, y) or (x, y, sample_weight), where x is an array or a mapping of "image", and of "condition" and
            "target" where there are any.
        conditional: whether y is the condition where x holds none.
        targets: whether the batch must bring a target, as y or in the mapping; None where it may, and nobody asks.

    Raises:
        ValueError: for a mapping of other keys, and for a target that is missing or that nobody would look at.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(tuple(batch) if isinstance(batch, list) else batch)
    if isinstance(x, Mapping):
        if IMAGE not in x or set(x) - {IMAGE, CONDITION, TARGET, MASK}:
            raise ValueError(
                f'Data in the form of a mapping are {{"{IMAGE}": x, "{CONDITION}": c, "{TARGET}": t, "{MASK}": m}}, '
                f"all but x where the model has them; these have the keys {list(x)}."
            )
        condition, target = x.get(CONDITION), x.get(TARGET, y if targets else None)
        if target is not None and targets is False:
            raise ValueError("The data bring a target, and the model was made without: VAE(..., targets=True).")
        x = x[IMAGE] if x.get(MASK) is None else masked(x[IMAGE], x[MASK])
    else:
        condition, target = y if conditional and not targets else None, y if targets else None
    if targets and target is None:
        raise ValueError(
            f'A model with targets=True learns from pairs: (x, target), or {{"{IMAGE}": x, "{TARGET}": target}}, with '
            f'"{CONDITION}" too if it has one. Here the targets are missing.'
        )
    return Batch(x, condition, target if targets else None, weight)


def masked(x: Any, mask: Any) -> Any:
    """x with NaN where the mask, of its shape, is 0 or False.

    Raises:
        ValueError: for a mask of another shape.
    """
    if not tf.is_tensor(x):
        x, mask = np.asarray(x), np.asarray(mask)
    if x.dtype == bool:
        x = tf.cast(x, tf.float32) if tf.is_tensor(x) else x.astype("float32")
    is_real = x.dtype.is_floating if tf.is_tensor(x) else x.dtype.kind in "fV"
    if not is_real:
        raise ValueError(
            f"x with a mask must be floats, and has {x.dtype}: x.astype('float32'), pixels divided by 255."
        )
    if tuple(x.shape) != tuple(mask.shape):
        raise ValueError(
            f"The mask has shape {tuple(mask.shape)}, and x has {tuple(x.shape)}: it says of each value whether it is "
            "there, 1, or missing, 0."
        )
    if tf.is_tensor(x):
        return tf.where(tf.cast(mask, tf.bool), x, tf.cast(math.nan, x.dtype))
    return np.where(mask.astype(bool), x, np.asarray(math.nan, x.dtype))


def unpack(batch: Any, conditional: bool) -> tuple[Any, Any, Any]:
    """The examples, their conditions and their weights (None where there are none), of a batch in any form.

    Args:
        batch: as of `split`.
        conditional: whether y is the condition where x holds none; else y is ignored.

    Raises:
        ValueError: for a mapping of other keys.
    """
    x, condition, _, weight = split(batch, conditional, targets=None)
    return x, condition, weight


def first_batches(data: Any, limit: int = 1) -> tuple[list[Any], Any]:
    """The first batches, as they are, and the data to use from then on: nothing is lost by the look.

    Args:
        data: what `keras.Model.fit` takes as `x`: array, tensor, `tf.data.Dataset`, `keras.utils.PyDataset`, generator
            or other iterable; batches may be (x, y) or (x, y, sample_weight).
        limit: how many, at most.

    Returns:
        (the batches, `data`). An iterator comes back as a generator that yields them again, and a dataset of unknown
        size, which perhaps can be run through only once, as one whose first iteration does.
    """
    if isinstance(data, Iterator):
        seen = _few(data, limit)
        return seen, _of_tuples(_resumed(seen, data))
    if isinstance(data, tf.data.Dataset) and int(data.cardinality()) == tf.data.UNKNOWN_CARDINALITY:
        return _opened(data, limit)
    return list(itertools.islice(_batches(data, DEFAULT_BATCH_SIZE), limit)), data


class WithY(keras.utils.PyDataset):
    """A PyDataset of (x, None, sample_weight) as one of (x, zeros, sample_weight): Keras does not serve the None.

    Args:
        data: the dataset.
    """

    def __init__(self, data: keras.utils.PyDataset) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self.data = data

    @property
    def num_batches(self) -> int | None:
        """As of `data`."""
        return self.data.num_batches

    def __getitem__(self, index: int) -> Any:
        x, _, weight = self.data[index]
        return x, np.zeros(len(weight), "uint8"), weight

    def on_epoch_begin(self) -> None:
        """Tell it."""
        self.data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell it."""
        self.data.on_epoch_end()


def is_endless(data: Any) -> bool:
    """Whether iterating over `data` never ends."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return isinstance(data, tf.data.Dataset) and int(data.cardinality()) == tf.data.INFINITE_CARDINALITY


def may_be_endless(data: Any) -> bool:
    """Whether nobody can say that iterating over `data` ends."""
    if isinstance(data, tf.data.Dataset):
        return int(data.cardinality()) < 0
    return isinstance(data, Iterator) or is_endless(data)


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
        for index in itertools.count() if data.num_batches is None else range(data.num_batches):
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
    """The examples of a batch, without conditions, targets, labels and weights."""
    return _array(split(batch, targets=None).x)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.values[0] if isinstance(values, tf.distribute.DistributedValues) else values)


def _finite_rows(batch: np.ndarray, missing: bool = False) -> np.ndarray:
    good = ~np.isinf(batch) if missing else np.isfinite(batch)
    return good.all(axis=tuple(range(1, batch.ndim)))


def _few(batches: Iterator[Any], limit: int) -> list[Any]:
    """The next batches, no more than `limit` nor than memory should hold."""
    seen: list[Any] = []
    size = 0
    while len(seen) < limit and size < MANY_BYTES:
        batch = next(batches, None)
        if batch is None:
            break
        seen.append(batch)
        size += examples(batch).nbytes
    return seen


def _resumed(seen: list[Any], rest: Iterator) -> Iterator:
    yield from seen
    yield from rest


def _of_tuples(batches: Iterator[Any]) -> Iterator[tuple]:
    """Batches as Keras takes them from a generator."""
    for batch in batches:
        yield tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _opened(data: tf.data.Dataset, limit: int) -> tuple[list[Any], tf.data.Dataset]:
    """The first batches of a dataset, and one whose first iteration goes on where these end."""
    iterator = iter(data)
    seen = _few(iterator, limit)
    state: dict[str, Any] = {"kept": _resumed(seen, iterator), "is_first": False}

    def first() -> Iterator:
        kept = state.pop("kept", ())
        state["is_first"] = kept != ()
        yield from kept

    def again() -> Iterator[bool]:
        yield not state["is_first"]

    # Through Python go only the batches of the first iteration; the others are the dataset's own.
    later = tf.data.Dataset.from_generator(again, output_signature=tf.TensorSpec((), tf.bool))
    later = later.flat_map(lambda is_later: data.take(tf.where(is_later, tf.constant(-1, tf.int64), 0)))
    result = tf.data.Dataset.from_generator(first, output_signature=data.element_spec).concatenate(later)
    return seen, result.prefetch(2).with_options(data.options())
