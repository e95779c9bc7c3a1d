"""The look at what users give to a model, before any work: the same at every method, for fit as for inference.

Arrays are looked at whole. Inside of a graph, where there are no values yet, shapes and types are.
"""

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions
from keras_vae.data import batches

FORMS = "an array of numbers, as float32"


def examples(vae: Any, x: Any) -> Any:
    """The data as float32 [B, *event_shape], checked: an array, or of a tensor a tensor, for the sake of gradients.

    Args:
        vae: the model.
        x: an array, tensor, frame or nested list.

    Raises:
        ValueError: for anything else, a wrong shape or type, NaN or infinity, values outside the likelihood's support.
    """
    likelihood = vae.decoder.likelihood
    if tf.is_symbolic_tensor(x):
        likelihood.check_shape(x.shape if x.shape.rank is not None else [None, *likelihood.event_shape])
        check_dtype(x)
        return tf.cast(x, tf.float32)
    array = as_array("x", x)
    likelihood.check(array)
    return tf.cast(x, tf.float32) if tf.is_tensor(x) else array.astype("float32", copy=False)


def check_dtype(x: Any) -> None:
    """Refuse a tensor of integers, or of anything else that is no number with a fraction.

    Raises:
        ValueError: naming its type.
    """
    if tf.is_tensor(x) and not (x.dtype.is_floating or x.dtype.is_bool):
        raise ValueError(f"The data have dtype {x.dtype.name}; likelihoods take float32.")


def latents(vae: Any, z: Any) -> tf.Tensor:
    """Latents as a float32 tensor [..., L], checked.

    Raises:
        ValueError: for what is no array of finite numbers, and another last axis.
    """
    size = vae.prior.latent_dim
    if not tf.is_symbolic_tensor(z):
        array = as_array("z", z)
        if array.dtype.kind not in "fbiuV" or array.dtype.names is not None:
            raise ValueError(f"z must be numbers, float32 of shape [..., {size}], not of dtype {array.dtype}.")
        with np.errstate(over="ignore"):
            array = array.astype("float32", copy=False)
        if not np.isfinite(array).all():
            raise ValueError(f"z must be finite: {np.sum(~np.isfinite(array))} of its values are NaN or infinite.")
        z = z if tf.is_tensor(z) else array
    if tf.TensorShape(z.shape).rank == 0 or z.shape[-1] not in (None, size):
        raise ValueError(
            f"z must have shape [..., {size}], one number for each latent dimension, not {tuple(z.shape)}."
        )
    return tf.cast(z, tf.float32)


def as_array(name: str, values: Any) -> np.ndarray:
    """An array, tensor, frame or nested list as an array of numbers, strings or bools; never of objects.

    Raises:
        ValueError: for what is none, is ragged or sparse, or has masked values.
    """
    if isinstance(values, tf.distribute.DistributedValues):
        values = values.values[0]
    if isinstance(values, (tf.SparseTensor, tf.RaggedTensor)) or hasattr(values, "tocsr"):
        remedy = "make it dense: tf.sparse.to_dense(x), or x.toarray() of a matrix of scipy"
        if isinstance(values, tf.RaggedTensor):
            remedy = "a model needs examples of one shape: values.to_tensor() fills up"
        raise ValueError(f"{name} is {type(values).__name__}; {remedy}.")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} is an array with masked values, which no model knows: fill them, x.filled(value).")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no array: {error}. Give {FORMS}.") from None
    if array.dtype == object:
        kind = type(values).__name__
        raise ValueError(f"{name} must be {FORMS}, not {kind}{' of objects' if array.ndim else ''}.")
    return array


def is_bulk(data: Any) -> bool:
    """Whether data come in batches: a dataset, (x, y), {"image": x, "condition": c}, or another iterable of batches."""
    kinds = (tf.data.Dataset, keras.utils.PyDataset, tf.distribute.DistributedDataset, types.GeneratorType, Mapping)
    return isinstance(data, (*kinds, tuple))


def example_batches(vae: Any, data: Any, condition: Any, rows: int) -> Iterator[tuple[np.ndarray, tf.Tensor | None]]:
    """All of the data in batches of at most `rows`: float32 [b, *event_shape] and their conditions, checked.

    Arrays are looked at whole before the first batch is given; a dataset batch by batch.

    Args:
        vae: the model.
        data: an array, or what `is_bulk`.
        condition: of an array, one for each example, or one for all; the others bring their own.
        rows: number of examples in a batch at most.

    Raises:
        ValueError: for data, or conditions, that the model cannot take, and data that never end.
    """
    for x, c in _parts(vae, data, condition):
        for start in range(0, len(x), rows):
            yield x[start : start + rows], None if c is None else c[start : start + rows]


def _parts(vae: Any, data: Any, condition: Any) -> Iterator[tuple[np.ndarray, tf.Tensor | None]]:
    if not is_bulk(data):
        x = examples(vae, data)
        yield x, conditions.given(vae.condition, condition, len(x))
        return
    if condition is not None:
        raise ValueError("Data in batches bring their conditions with them: give condition=... with an array only.")
    if isinstance(data, (Mapping, tuple)):
        x, c, _ = batches.unpack(data, vae.condition is not None)
        yield from _parts(vae, x, c)
        return
    if batches.is_endless(data):
        raise ValueError("The data never end: give a finite dataset, for example data.take(100).")
    for number, batch in enumerate(batches.whole_batches(data, batches.DEFAULT_BATCH_SIZE)):
        yield _checked(vae, number, batch)


def _checked(vae: Any, number: int, batch: Any) -> tuple[np.ndarray, tf.Tensor | None]:
    """The examples and conditions of a batch in any form.

    Raises:
        ValueError: naming the batch.
    """
    try:
        x, c, _ = batches.unpack(tuple(batch) if isinstance(batch, list) else batch, vae.condition is not None)
        x = examples(vae, np.asarray(x))
        return x, conditions.given(vae.condition, c, len(x))
    except ValueError as error:
        raise ValueError(f"Batch {number} of the data: {error}") from None


def predict(vae: Any, run: Callable[..., np.ndarray], x: Any, args: Any, kwargs: Any) -> np.ndarray:
    """What `run`, `keras.Model.predict`, gives for data that are looked at: arrays before, batches when they come.

    Raises:
        ValueError: for data, or conditions, that the model cannot take.
    """
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset, types.GeneratorType)):
        # Keras gives each replica its part of a dataset, and can do so with that of the user only.
        if vae.distribute_strategy.num_replicas_in_sync > 1:
            return run(x, *args, **kwargs)
        refusals: list[ValueError] = []
        try:
            return run(_watched(vae, x, refusals), *args, **kwargs)
        except (tf.errors.OpError, ValueError):
            # TensorFlow wraps what is raised in a pipeline.
            if refusals:
                raise refusals[0] from None
            raise
    if x is None or isinstance(x, tf.distribute.DistributedDataset):
        return run(x, *args, **kwargs)
    # A list is of numbers: Keras would take two images for x and y.
    x, condition, _ = batches.unpack(x, vae.condition is not None) if is_bulk(x) else (x, None, None)
    x = examples(vae, x)
    given = conditions.given(vae.condition, condition, len(x))
    if not len(x):
        return np.zeros((0, *vae.decoder.event_shape), "float32")
    return run(x if given is None else {batches.IMAGE: x, batches.CONDITION: given}, *args, **kwargs)


def _watched(vae: Any, data: Any, refusals: list[ValueError]) -> Any:
    """The same batches, each looked at when it comes; what is refused is remembered."""

    def looked_at() -> Iterator[Any]:
        for number, batch in enumerate(batches.whole_batches(data, batches.DEFAULT_BATCH_SIZE)):
            try:
                _checked(vae, number, batch)
            except ValueError as error:
                refusals.append(error)
                raise
            # Keras takes tuples of a generator only.
            yield batch if isinstance(data, tf.data.Dataset) or isinstance(batch, tuple) else (batch,)

    if not isinstance(data, tf.data.Dataset):
        return looked_at()
    watched = tf.data.Dataset.from_generator(looked_at, output_signature=data.element_spec)
    return watched.apply(tf.data.experimental.assert_cardinality(data.cardinality())).with_options(data.options())
