"""Examples in memory or on disk, served in batches."""

import copy
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_choice
from keras_vae.data.storage import keeping
from keras_vae.data.storage.on_disk import OnDisk, ends, fill, is_on_disk, rows_at_once

Binarize = Literal["threshold", "dynamic"]
# Keeps the random numbers of the data apart from those that a model draws from the same seed.
STREAM = 0x64617461
MIRROR = 0x6D6972
fold_in = tf.random.experimental.stateless_fold_in


class Arrays:
    """Examples, and the datasets that serve them in batches.

    All datasets of one object, and of its subsets, share its memory. Of arrays on disk (see `storage.on_disk`) a
    dataset reads the rows of each batch when it is made; the batches are the same. A batch is a float32 tensor
    `values / divisor` of shape [B, ...], or a tuple of it and the batches of the extras, which keep their type.

    Args:
        values: [N, ...]; kept as uint8 or uint16 if it is, else as float32. A `np.memmap` of these types stays on disk.
        *extras: arrays [N, ...] that go along, such as labels or sample weights.
        divisor: 255 for images in uint8: the level of white in whole numbers.
        binarize: None; "threshold" for 1 where the value is at least 0.5 and 0 elsewhere; "dynamic" for a new Bernoulli
            draw, with the value as its probability, whenever a batch is made.
        class_names: the name of label k at index k, where the extras are labels of classes that have names; the
            datasets have it as an attribute.
        names: of the examples, such as those of their files; the datasets that serve them in order have them as an
            attribute `file_names`.
        schema: of the columns, where the values are rows of a table; the datasets have it as an attribute.
        share: whether to use the memory of `values` itself where possible; it must not be written to afterwards.

    Raises:
        ValueError: for arrays of different lengths or none, and values outside [0, 1] that are to be binarized.
    """

    def __init__(
        self,
        values: Any,
        *extras: Any,
        divisor: float = 1.0,
        binarize: Binarize | None = None,
        class_names: tuple[str, ...] | None = None,
        names: tuple[str, ...] | None = None,
        share: bool = False,
        schema: dict[str, Any] | None = None,
    ) -> None:
        arrays = [_rows_of(array) for array in (values, *extras)]
        lengths = [len(array) if array.ndim else 0 for array in arrays]
        if len(set(lengths)) > 1 or lengths[0] == 0:
            raise ValueError(f"Arrays of the same length, at least 1, are needed; these have {lengths} rows.")
        self._names = names
        self._values = _shareable(arrays[0], share)
        self._columns = [
            _shared(self._values) if isinstance(self._values, np.ndarray) else self._values,
            *(_on_host(extra) if isinstance(extra, np.ndarray) else extra for extra in arrays[1:]),
        ]
        self._divisor = divisor
        self.class_names = class_names
        self.schema = schema
        # What stands beside the examples, as `data.Splits.condition` says it; the datasets have it as an attribute.
        self.condition: dict[str, Any] | None = None
        self._binarize = check_choice("binarize", binarize, (None, *get_args(Binarize)))
        self._mirror = False
        self._rows = np.arange(lengths[0], dtype=np.int64)
        is_inside = self._values.dtype.kind == "u" and np.iinfo(self._values.dtype).max <= divisor
        if binarize is not None and not is_inside:
            low, high = (end / divisor for end in ends(self._values))
            if not (low >= 0.0 and high <= 1.0):
                raise ValueError(f"Values from {low:g} to {high:g} cannot be binarized: probabilities lie in [0, 1].")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self._values.shape[1:]

    @property
    def on_disk(self) -> tuple[int, str] | None:
        """How many bytes of the values are read from disk, and the folder; None of values in memory."""
        values = self._values
        return (values.nbytes, str(values.place)) if is_on_disk(values) else None

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the examples, in their order; None if they have none."""
        return None if self._names is None else tuple(self._names[row] for row in self._rows)

    def subset(self, rows: Any) -> "Arrays":
        """The examples at `rows` (indices [M]), in that order, without a copy of the data."""
        part = copy.copy(self)
        part._rows = self._rows[np.asarray(rows, np.int64)]
        return part

    def mirrored(self) -> "Arrays":
        """The same images, each turned left to right with probability 1/2, anew whenever a batch is made.

        Extras that are images, such as conditions, are turned with theirs.

        Raises:
            ValueError: for what is no image [height, width, channels].
        """
        if len(self.event_shape) != 3:
            raise ValueError(f"mirror is for images [height, width, channels]: these data have {self.event_shape}.")
        turned = copy.copy(self)
        turned._mirror = True
        return turned

    def binarized_once(self, seed: int = 0) -> "Arrays":
        """A binarized copy: one Bernoulli draw for each value, the same for the same seed."""
        generator = np.random.default_rng(seed)
        shape, what = (len(self), *self.event_shape), "The binarized data"
        drawn: Any = keeping.like(self._values, shape, np.uint8, what)
        step = rows_at_once(self._values)
        for start in range(0, len(self), step):
            probabilities = self._values[self._rows[start : start + step]] / np.float32(self._divisor)
            drawn[start : start + step] = generator.random(probabilities.shape, np.float32) < probabilities
        extras = [
            keeping.taken(extra if is_on_disk(extra) else np.asarray(extra), self._rows) for extra in self._columns[1:]
        ]
        return Arrays(drawn, *extras, class_names=self.class_names, names=self.names, share=True)

    def steps_per_epoch(self, batch_size: int, drop_remainder: bool = False) -> int:
        """The number of batches in which all examples are served once.

        Raises:
            ValueError: if there are none.
        """
        if batch_size < 1 or (drop_remainder and batch_size > len(self)):
            raise ValueError(f"batch_size={batch_size} gives no batch of the {len(self)} examples.")
        return len(self) // batch_size if drop_remainder else -(-len(self) // batch_size)

    def dataset(
        self, batch_size: int, seed: int = 0, shuffle: bool = False, drop_remainder: bool = False
    ) -> tf.data.Dataset:
        """All examples once. If shuffled, mirrored or dynamically binarized, every iteration over it is another one.

        The sequence of iterations follows from `seed` alone, in every process.
        """
        steps = self.steps_per_epoch(batch_size, drop_remainder)
        epochs = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64))
        if shuffle or self._mirror or self._binarize == "dynamic":
            epochs = _new_number_each_iteration(tf.constant(_signed(seed), tf.int64))
        serve = self._server(batch_size, seed, shuffle, drop_remainder)

        @tf.autograph.experimental.do_not_convert
        def whole(epoch: tf.Tensor) -> tf.data.Dataset:
            return serve(epoch, tf.constant(0, tf.int64))

        dataset = _served(epochs.flat_map(whole), steps)
        # A run that is to be resumed needs the batches from any step on.
        dataset.as_stream = functools.partial(
            self.stream, batch_size, seed, shuffle=shuffle, drop_remainder=drop_remainder
        )
        dataset.class_names = self.class_names
        dataset.schema = self.schema
        dataset.condition = self.condition
        dataset.file_names = None if shuffle else self.names
        return dataset

    def stream(
        self, batch_size: int, seed: int = 0, start_step: int = 0, shuffle: bool = True, drop_remainder: bool = False
    ) -> tf.data.Dataset:
        """Epoch after epoch without end, each in another order if shuffled.

        Every batch follows from `seed` and its step alone, so a stream that starts at step n gives, bit for bit, what
        one from the beginning gives from step n on.
        """
        start_epoch, start_batch = divmod(start_step, self.steps_per_epoch(batch_size, drop_remainder))
        serve = self._server(batch_size, seed, shuffle, drop_remainder)

        @tf.autograph.experimental.do_not_convert
        def batches(epoch: tf.Tensor) -> tf.data.Dataset:
            return serve(epoch, tf.where(epoch == start_epoch, tf.constant(start_batch, tf.int64), 0))

        stream = _served(tf.data.Dataset.counter(start_epoch).flat_map(batches), tf.data.INFINITE_CARDINALITY)
        stream.class_names = self.class_names
        stream.schema = self.schema
        stream.condition = self.condition
        return stream

    def _server(
        self, batch_size: int, seed: int, shuffle: bool, drop_remainder: bool
    ) -> Callable[[tf.Tensor, tf.Tensor], tf.data.Dataset]:
        """A function of (epoch, b) that gives the batches of that epoch from number b on."""
        steps = self.steps_per_epoch(batch_size, drop_remainder)
        # Eager tensors are captured by reference; made inside the functions, they would be constants of their graphs.
        rows = _on_host(self._rows)
        columns = self._columns

        # Nothing here depends on a tensor's value, and AutoGraph's rewriting takes a third of a second.
        @tf.autograph.experimental.do_not_convert
        def serve(epoch: tf.Tensor, first: tf.Tensor) -> tf.data.Dataset:
            key = fold_in(tf.constant([_signed(seed), STREAM], tf.int64), epoch)
            order = tf.random.experimental.stateless_shuffle(rows, key) if shuffle else rows

            def batch(index: tf.Tensor) -> Any:
                chosen = order[index * batch_size : (index + 1) * batch_size]
                if drop_remainder:
                    chosen = tf.ensure_shape(chosen, [batch_size])
                gathered = [_gathered(column, chosen) for column in columns]
                if self._mirror:
                    turn = tf.random.stateless_uniform(tf.shape(chosen), fold_in(fold_in(key, index), MIRROR)) < 0.5
                    gathered = [_turned(each, turn) for each in gathered]
                values, *extras = gathered
                values = tf.cast(values, tf.float32) / self._divisor
                if self._binarize == "threshold":
                    values = tf.cast(values >= 0.5, tf.float32)
                elif self._binarize == "dynamic":
                    noise = tf.random.stateless_uniform(tf.shape(values), fold_in(key, index))
                    values = tf.cast(noise < values, tf.float32)
                return (values, *extras) if extras else values

            return tf.data.Dataset.range(first, steps).map(batch)

        return serve


@tf.function(autograph=False)
def _new_number_each_iteration(seed: tf.Tensor) -> tf.data.Dataset:
    # The seed of this function's own graph: the result does not depend on tf.random.set_seed.
    tf.compat.v1.set_random_seed(STREAM)
    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)


def _served(batches: tf.data.Dataset, cardinality: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # The autotuner makes the end of every epoch wait for its next wake-up, up to seconds.
    options.autotune.enabled = False
    # The graph rewrites find nothing to improve here, and copy all captured data for every iterator.
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(2).with_options(options)


def _rows_of(array: Any) -> Any:
    """An array in memory, or one of which rows are read from a file."""
    if is_on_disk(array):
        return array
    if isinstance(array, np.memmap):
        return OnDisk.of_memmap(array) or array
    return np.asarray(array)


def _gathered(column: Any, chosen: tf.Tensor) -> tf.Tensor:
    if not is_on_disk(column):
        return tf.gather(column, chosen)
    rows = tf.numpy_function(column.rows, [chosen], column.dtype)
    return tf.ensure_shape(rows, [chosen.shape[0], *column.shape[1:]])


def _shareable(values: Any, share: bool) -> Any:
    """The values as uint8, uint16 or float32, in memory that TensorFlow can use too or on disk."""
    dtype = values.dtype if values.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    if values.dtype == dtype and (is_on_disk(values) or (share and keeping.is_shareable(values))):
        return values
    result = keeping.like(values, values.shape, dtype, "The data")
    if isinstance(values, np.ndarray):
        np.copyto(result, values, casting="same_kind")
        return result
    return fill(result, values, lambda part: part.astype(dtype))


def _turned(values: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, C], turned left to right where `turn` [B] says so; what is no image as it is."""
    if values.shape.rank != 4:
        return values
    return tf.where(turn[:, tf.newaxis, tf.newaxis, tf.newaxis], values[:, :, ::-1], values)


def _shared(values: np.ndarray) -> tf.Tensor:
    # tf.constant would make one or two copies.
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


def _on_host(array: np.ndarray) -> tf.Tensor:
    with tf.device("/CPU:0"):
        return tf.constant(array)


def _signed(seed: int) -> int:
    """The last 64 bits of the seed as an int64."""
    bits = int(seed) & (2**64 - 1)
    return bits - 2**64 if bits >= 2**63 else bits
