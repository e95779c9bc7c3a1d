"""The look at what users give to a model, before any work: the same at every method, for fit as for inference.

Arrays are looked at whole. Inside of a graph, where there are no values yet, shapes and types are.
"""

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from keras_vae.conditions import handed
from keras_vae.data import batches

Method = TypeVar("Method", bound=Callable[..., Any])

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
    # Of a model of targets, x is what the encoder sees: only shaped like what the likelihood is of.
    likelihood.check(array, of_support=not vae.targets)
    return tf.cast(x, tf.float32) if tf.is_tensor(x) else array.astype("float32", copy=False)


def _check_given(vae: Any, x: Any, given: tf.Tensor | None) -> None:
    """Refuse conditions that a likelihood which has to do with them finds at odds with the data.

    Raises:
        ValueError: naming the remedy.
    """
    if vae.decoder.likelihood.needs_condition and not vae.targets:
        vae.decoder.likelihood.check_given(np.asarray(x), np.asarray(vae.condition.features(given)))


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
        raise ValueError(
            f"{name} is an array with masked values: fill them, x.filled(value). A model with missing=True takes NaN "
            "in their place, x.filled(np.nan)."
        )
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
        given = handed.given(vae.condition, condition, len(x))
        _check_given(vae, x, given)
        yield x, given
        return
    if condition is not None:
        raise ValueError("Data in batches bring their conditions with them: give condition=... with an array only.")
    handed.check_names_of(vae.condition, data)
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
        given = handed.given(vae.condition, c, len(x))
        _check_given(vae, x, given)
        return x, given
    except ValueError as error:
        raise ValueError(f"Batch {number} of the data: {error}") from None


def predict(vae: Any, run: Callable[..., np.ndarray], x: Any, **options: Any) -> np.ndarray:
    """What `run`, `keras.Model.predict`, gives for data that are looked at: arrays before, batches when they come.

    Raises:
        ValueError: for data, or conditions, that the model cannot take.
    """
    handed.check_names_of(vae.condition, x)
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset, types.GeneratorType)):
        # Keras gives each replica its part of a dataset, and can do so with that of the user only.
        if vae.distribute_strategy.num_replicas_in_sync > 1:
            return run(x, **options)
        refusals: list[ValueError] = []
        try:
            return run(_watched(vae, x, refusals), **options)
        except (tf.errors.OpError, ValueError):
            # TensorFlow wraps what is raised in a pipeline.
            if refusals:
                raise refusals[0] from None
            raise
    if x is None or isinstance(x, tf.distribute.DistributedDataset):
        return run(x, **options)
    # A list is of numbers: Keras would take two images for x and y.
    x, condition, _ = batches.unpack(x, vae.condition is not None) if is_bulk(x) else (x, None, None)
    x = examples(vae, x)
    given = handed.given(vae.condition, condition, len(x))
    if not len(x):
        return np.zeros((0, *vae.decoder.event_shape), "float32")
    return run(x if given is None else {batches.IMAGE: x, batches.CONDITION: given}, **options)


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


# What `fit` and `evaluate` are given: in the forms that Keras serves without losing anything, looked at.


def take_arrays(vae: Any, options: dict[str, Any], class_weight: Any = None) -> None:
    """Bring x, y and sample_weight, where they are arrays, tensors, frames or lists, into forms that Keras serves.

    Keras leaves weights out where there is no y: zeros then stand for it.

    Args:
        vae: the model.
        options: arguments of `fit` or `evaluate` by name, changed in place.
        class_weight: what was given to `fit`, for which labels are needed.

    Raises:
        ValueError: for what is no array of numbers, is sparse or ragged, for other numbers of examples, weights that
            are not one number >= 0 for each example, and images as y that nobody would look at.
    """
    x = options.get("x")
    if x is None:
        raise ValueError("There are no data: x is None.")
    if _comes_in_batches(x):
        _refuse_sparse_elements(x)
        return
    x, y, weight = arrays(vae, x, options.get("y"), options.get("sample_weight"), class_weight)
    options.update({"x": x, "y": y, "sample_weight": weight})


def take_validation(vae: Any, options: dict[str, Any]) -> None:
    """The same for `validation_data`: an array, a mapping, or a tuple of x, y and weights.

    Raises:
        ValueError: as `take_arrays`, and for an iterator that would be used up before the last epoch.
    """
    data = options.get("validation_data")
    if data is None:
        return
    epochs = options.get("epochs", 1) - options.get("initial_epoch", 0)
    if isinstance(data, Iterator) and epochs > 1 and not options.get("validation_steps"):
        raise ValueError(
            f"validation_data is a {type(data).__name__}, which is used up after the first of {epochs} epochs: give an "
            "array, a dataset or a PyDataset, which can be run through again."
        )
    if _comes_in_batches(data):
        _refuse_sparse_elements(data)
        return
    x, y, weight = arrays(vae, *keras.utils.unpack_x_y_sample_weight(data))
    options["validation_data"] = (x, y, weight) if weight is not None else (x, y) if y is not None else (x,)


def arrays(vae: Any, x: Any, y: Any = None, weight: Any = None, class_weight: Any = None) -> tuple[Any, Any, Any]:
    """x, y and weights as arrays: y is what the model learns from beside x, or stands there for the weights' sake."""
    if isinstance(x, tuple):
        raise ValueError("x is a tuple: give its parts by their names, fit(x, y, sample_weight=w).")
    is_conditional, pairs = vae.condition is not None, vae.targets
    batch = batches.split((x, y, weight), is_conditional, pairs)
    given = batch.condition if vae.condition is None else vae.condition.numbers(batch.condition)
    named = {"x": batch.x, "condition": given, "target": batch.target}
    found = {name: as_array(name, value) for name, value in named.items() if value is not None}
    if any(array.ndim == 0 for array in found.values()):
        raise ValueError("x, and what comes with it, must be arrays of examples, not single numbers.")
    x = found.pop("x")
    size = len(x)
    if not size:
        raise ValueError("x holds no examples.")
    if batch.condition is not None and not is_conditional:
        handed.given(None, batch.condition)
    labels = None if y is None or isinstance(batch.x, Mapping) else y
    if class_weight is not None and (pairs or (labels is None and "condition" not in found)):
        raise ValueError("class_weight is for labels, and there are none: give y, or sample_weight.")
    if is_conditional and pairs:
        x, y = {batches.IMAGE: x, batches.CONDITION: found["condition"], batches.TARGET: found["target"]}, None
    elif found:
        (y,) = found.values()
    elif y is not None:
        y = as_array("y", y)
        if class_weight is None:
            refuse_ignored_images(x, y)
    lengths = {name: len(array) for name, array in found.items()} | ({} if y is None else {"y": len(y)})
    if any(length != size for length in lengths.values()):
        raise ValueError(f"x has {size} examples, and there are {lengths}: one of each belongs to an example.")
    if y is not None and class_weight is None and not (is_conditional or pairs):
        # Labels are ignored, and Keras takes no strings.
        y = np.zeros(size, "uint8")
    if weight is not None:
        weight = _weights(weight, size)
        y = np.zeros(size, "uint8") if y is None else y
    return x, y, weight


def look_at(vae: Any, options: Mapping[str, Any], limit: int = 1) -> tuple[list[Any], Any]:
    """The first batches, the first of them checked with its conditions and targets, and the data to use from then on.

    Of arrays all examples are looked at.

    Args:
        vae: the model.
        options: of x, and y beside it where x is an array; x may be a tuple of both.
        limit: how many batches.

    Raises:
        ValueError: for data outside the likelihood's support or of another shape, and for wrong conditions.
    """
    x, y = options.get("x"), options.get("y")
    seen, x = batches.first_batches(x, limit)
    if not seen:
        return seen, x
    holds_all = isinstance(x, (tuple, list, Mapping)) or batches.is_array(x)
    whole = seen[0] if not holds_all else x if y is None else (x, y)
    batch = batches.split(whole, vae.condition is not None, vae.targets)
    values = [None if part is None else _local(part) for part in batch]
    images = as_array("x", values[0])
    if vae.targets:
        vae.decoder.likelihood.check_shape(images.shape)
        if images.dtype.kind not in "fbV" or not np.isfinite(images).all():
            raise ValueError("x must be finite floats: x.astype('float32'), and np.isfinite(x) tells which are not.")
        images = examples(vae, values[2])
    else:
        examples(vae, images)
        other = keras.utils.unpack_x_y_sample_weight(tuple(whole) if isinstance(whole, list) else whole)[1]
        if other is not None and vae.condition is None and not holds_all:
            refuse_ignored_images(images, _local(other))
    if values[3] is not None:
        _weights(values[3], len(images), may_be_zero=not holds_all)
    given = handed.given(vae.condition, values[1], len(images))
    _check_given(vae, images, given)
    if isinstance(x, keras.utils.PyDataset) and values[3] is not None and whole[1] is None:
        x = batches.WithY(x)
    return seen, x


def refuse_ignored_images(x: np.ndarray, y: Any) -> None:
    """Refuse a y that looks like images to be learnt, of a model that ignores it.

    Raises:
        ValueError: naming the remedy.
    """
    y = np.asarray(y)
    if y is not x and y.shape == x.shape and x.ndim > 1 and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
        raise ValueError(
            "y has the shape of x and other values, as the clean images of a denoising autoencoder have, and this "
            "model would ignore it. To learn p(y) from x: VAE(..., targets=True). To learn p(x): leave y out."
        )


def data_of(data: Any) -> Any:
    """Data in any form that can be iterated over in batches: tensors, frames, matrices and lists are arrays.

    Raises:
        ValueError: for what is none of these, sparse or ragged.
    """
    _refuse_sparse_elements(data)
    if isinstance(data, Iterator):
        return map(_dense, data)
    return data if _comes_in_batches(data) or isinstance(data, (tuple, Mapping)) else as_array("data", data)


def _comes_in_batches(data: Any) -> bool:
    """Whether it is a dataset, or another iterable of batches, and not arrays of all examples."""
    if is_bulk(data):
        return not isinstance(data, (tuple, Mapping))
    of_numbers = isinstance(data, (list, str, tf.SparseTensor, tf.RaggedTensor)) or hasattr(data, "shape")
    return hasattr(data, "__iter__") and not of_numbers


def _dense(batch: Any) -> Any:
    as_array("x", batches.split(batch, targets=None).x)
    return batch


def _local(values: Any) -> Any:
    return values.values[0] if isinstance(values, tf.distribute.DistributedValues) else values


def _refuse_sparse_elements(data: Any) -> None:
    for spec in tf.nest.flatten(getattr(data, "element_spec", ())):
        if isinstance(spec, (tf.SparseTensorSpec, tf.RaggedTensorSpec)):
            how = "tf.sparse.to_dense(x)" if isinstance(spec, tf.SparseTensorSpec) else "x.to_tensor()"
            raise ValueError(
                f"The dataset gives {type(spec).__name__.removesuffix('Spec')}s, and a model needs dense examples of "
                f"one shape: data.map(lambda x: {how})."
            )


def _weights(weight: Any, size: int, may_be_zero: bool = False) -> np.ndarray:
    """Weights of examples, [N] in float32.

    Raises:
        ValueError: unless there is one number >= 0 for each, and not all are 0.
    """
    weight = as_array("sample_weight", weight)
    if weight.dtype.kind not in "fiubV" or weight.shape not in ((size,), (size, 1)):
        hint = ""
        if weight.ndim > 1 and len(weight) == size:
            hint = " Weights of single values would make no likelihood: give each example one weight as a whole."
        raise ValueError(
            f"sample_weight must be one number for each of the {size} examples, not {weight.dtype} of shape "
            f"{weight.shape}.{hint}"
        )
    with np.errstate(over="ignore"):
        weight = weight.reshape(-1).astype("float32")
        total = weight.sum()
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("sample_weight must be finite numbers >= 0: what is to be left out has the weight 0.")
    if size and not may_be_zero and not weight.any():
        raise ValueError("sample_weight is 0 for all examples: there is nothing left to average over.")
    if not np.isfinite(total) or 0 < total < np.finfo("float32").tiny:
        raise ValueError(
            f"sample_weight has the sum {total:g} in float32, by which nothing can be divided: only ratios of weights "
            "matter, so scale them, sample_weight / sample_weight.max()."
        )
    return weight


def refuse_targets(vae: Any) -> None:
    """Refuse a model of targets where log p(x) is asked for.

    Raises:
        ValueError: with the remedy.
    """
    if vae.targets:
        raise ValueError(
            "A model with targets=True is one of the targets, given x: it has no log p(x). vae.evaluate(pairs) gives "
            "the bound on log p(target | x)."
        )


def like(method: Callable[..., Any]) -> Callable[[Method], Method]:
    """Decorates a method that takes what Keras's takes: help and editors then show the arguments of that one.

    `functools.wraps` does the same, but to type checkers what it gives is no method, and `self` an argument.
    """

    def decorated(own: Method) -> Method:
        functools.update_wrapper(own, method, assigned=())
        return own

    return decorated


def named(method: Callable[..., Any], vae: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a method by name."""
    options = inspect.signature(method).bind_partial(vae, *args, **kwargs).arguments
    del options["self"]
    return options
