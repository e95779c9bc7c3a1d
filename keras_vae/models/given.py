"""The data that `fit` and `evaluate` are given: in the forms that Keras serves without losing anything, looked at."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions
from keras_vae.data import batches
from keras_vae.models import inputs


def take_arrays(vae: Any, options: dict[str, Any], class_weight: Any = None) -> None:
    """Bring x, y and sample_weight, where they are arrays, tensors, frames or lists, into forms that Keras serves.

    Keras leaves weights out where there is no y: zeros then stand for it.

    Args:
        vae: the model.
        options: arguments of `fit` or `evaluate` by name, changed in place.
        class_weight: what was given to `fit`, for which labels are needed.

    Raises:
        ValueError: for what is no array of numbers, is sparse or ragged, for other numbers of examples, weights that are
            not one number >= 0 for each example, and images as y that nobody would look at.
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
    """The same for `validation_data`: an array, a mapping, or a tuple of x, y and weights."""
    data = options.get("validation_data")
    if data is None:
        return
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
    named = {"x": batch.x, "condition": batch.condition, "target": batch.target}
    found = {name: inputs.as_array(name, value) for name, value in named.items() if value is not None}
    if any(array.ndim == 0 for array in found.values()):
        raise ValueError("x, and what comes with it, must be arrays of examples, not single numbers.")
    x = found.pop("x")
    size = len(x)
    if batch.condition is not None and not is_conditional:
        conditions.given(None, batch.condition)
    labels = None if y is None or isinstance(batch.x, Mapping) else y
    if class_weight is not None:
        if pairs or (labels is None and "condition" not in found):
            raise ValueError("class_weight is for labels, and there are none: give y, or sample_weight.")
    if is_conditional and pairs:
        x, y = {batches.IMAGE: x, batches.CONDITION: found["condition"], batches.TARGET: found["target"]}, None
    elif found:
        (y,) = found.values()
    elif y is not None:
        y = inputs.as_array("y", y)
        if class_weight is None:
            refuse_ignored_images(x, y)
    lengths = {name: len(array) for name, array in found.items()} | ({} if y is None else {"y": len(y)})
    if any(length != size for length in lengths.values()):
        raise ValueError(f"x has {size} examples, and there are {lengths}: one of each belongs to an example.")
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
    images = inputs.as_array("x", values[0])
    if vae.targets:
        vae.decoder.likelihood.check_shape(images.shape)
        if images.dtype.kind not in "fbV" or not np.isfinite(images).all():
            raise ValueError("x must be floats that are all finite: x.astype('float32'), and np.isfinite(x) finds them.")
        images = inputs.examples(vae, values[2])
    else:
        inputs.examples(vae, images)
        other = keras.utils.unpack_x_y_sample_weight(tuple(whole) if isinstance(whole, list) else whole)[1]
        if other is not None and vae.condition is None and not holds_all:
            refuse_ignored_images(images, _local(other))
    if values[3] is not None:
        _weights(values[3], len(images), may_be_zero=not holds_all)
    conditions.given(vae.condition, values[1], len(images))
    if isinstance(x, keras.utils.PyDataset) and values[3] is not None and whole[1] is None:
        x = batches.WithY(x)
    return seen, x


def refuse_ignored_images(x: np.ndarray, y: Any) -> None:
    """Refuse a y that looks like images to be learnt, of a model that ignores it.

    Raises:
        ValueError: naming the remedy.
    """
    y = np.asarray(y)
    if y is not x and y.shape == x.shape and x.ndim > 1 and not np.array_equal(x, y):
        raise ValueError(
            "y has the shape of x and other values, as the clean images of a denoising autoencoder have, and this model "
            "would ignore it. To learn p(y) from x: VAE(..., targets=True). To learn p(x): leave y out."
        )


def data_of(data: Any) -> Any:
    """Data in any form that can be iterated over in batches: tensors, frames, matrices and lists are arrays.

    Raises:
        ValueError: for what is none of these, sparse or ragged.
    """
    _refuse_sparse_elements(data)
    if isinstance(data, Iterator):
        return map(_dense, data)
    return data if _comes_in_batches(data) or isinstance(data, (tuple, Mapping)) else inputs.as_array("data", data)


def _comes_in_batches(data: Any) -> bool:
    """Whether it is a dataset, or another iterable of batches, and not arrays of all examples."""
    if inputs.is_bulk(data):
        return not isinstance(data, (tuple, Mapping))
    of_numbers = isinstance(data, (list, str, tf.SparseTensor, tf.RaggedTensor)) or hasattr(data, "shape")
    return hasattr(data, "__iter__") and not of_numbers


def _dense(batch: Any) -> Any:
    inputs.as_array("x", batches.split(batch, targets=None).x)
    return batch


def _local(values: Any) -> Any:
    return values.values[0] if isinstance(values, tf.distribute.DistributedValues) else values


def _refuse_sparse_elements(data: Any) -> None:
    for spec in tf.nest.flatten(getattr(data, "element_spec", ())):
        if isinstance(spec, (tf.SparseTensorSpec, tf.RaggedTensorSpec)):
            how = "tf.sparse.to_dense(x)" if isinstance(spec, tf.SparseTensorSpec) else "x.to_tensor()"
            raise ValueError(
                f"The dataset gives {type(spec).__name__.removesuffix('Spec')}s, and a model needs dense examples of one "
                f"shape: data.map(lambda x: {how})."
            )


def _weights(weight: Any, size: int, may_be_zero: bool = False) -> np.ndarray:
    """Weights of examples, [N] in float32.

    Raises:
        ValueError: unless there is one number >= 0 for each, and not all are 0.
    """
    weight = inputs.as_array("sample_weight", weight)
    if weight.dtype.kind not in "fiubV" or weight.shape not in ((size,), (size, 1)):
        hint = ""
        if weight.ndim > 1 and len(weight) == size:
            hint = " Weights of single values would make no likelihood: give each example the weight that it has as a whole."
        raise ValueError(
            f"sample_weight must be one number for each of the {size} examples, not {weight.dtype} of shape "
            f"{weight.shape}.{hint}"
        )
    weight = weight.reshape(-1).astype("float32")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError("sample_weight must be finite numbers >= 0: what is to be left out has the weight 0.")
    if size and not may_be_zero and not weight.any():
        raise ValueError("sample_weight is 0 for all examples: there is nothing left to average over.")
    return weight
