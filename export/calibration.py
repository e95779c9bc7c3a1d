"""What a model is shown before its ranges are written down in 8 bits: draws from its prior, and examples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.conditions.handed import condition_for
from keras_vae.data.batches import is_endless, unpack, whole_batches
from keras_vae.export.errors import ExportError
from keras_vae.export.proof import battery
from keras_vae.export.signatures import condition_spec
from keras_vae.models import inputs
from keras_vae.models.vae import VAE
from keras_vae.seeds import as_pair

Feeds = dict[str, np.ndarray]
LEAST_DRAWS, LEAST_EXAMPLES = 2048, 128
# Examples that are kept from the calibration, so that the file is compared on others.
COMPARED = battery.MAX_ROWS
_BATCH = 64


class TooFew(ExportError):
    """There are examples, but not enough of them."""


def draws(vae: VAE, rows: int, seed: int, conditions: np.ndarray | None = None) -> Feeds:
    """Seeded draws from the model's own prior, `z` float32 [rows, L], given every class in turn if it has any.

    Args:
        vae: the model.
        rows: how many.
        seed: of the draws.
        conditions: [rows, ...], to be given instead.
    """
    given = typical_conditions(vae, rows) if conditions is None else {"condition": conditions}
    condition = tf.constant(given["condition"]) if given else None
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
    z = p.sample(() if p.batch_shape.rank else rows, seed=as_pair(seed))
    return {"z": np.asarray(z, dtype="float32"), **given}


def typical_conditions(vae: VAE, rows: int) -> Feeds:
    """`condition` [rows, ...]: every class in turn, or what the battery gives; nothing for a model without one."""
    if vae.condition is None:
        return {}
    specs = {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in condition_spec(vae).items()}
    given = battery.good(specs, battery.MAX_ROWS)
    if vae.condition.num_classes is not None:
        given["condition"] = np.arange(battery.MAX_ROWS, dtype="int32") % vae.condition.num_classes
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in given.items()}


def conditions(vae: VAE, shown: Feeds | None, rows: int) -> np.ndarray | None:
    """Those of the examples, [rows, ...], in turn; None of a model without, and of labels, which are all known."""
    if not shown or "condition" not in shown or vae.condition.num_classes is not None:
        return None
    given = kept(shown)["condition"]
    return np.resize(given, (rows, *given.shape[1:]))


def examples(vae: VAE, data: Any, most: int) -> Feeds:
    """The first examples of the data, `x` [N, *event_shape], with their `condition` if the model has one.

    Args:
        vae: the model.
        data: an array, (x, condition), or batches of these, such as a `tf.data.Dataset`.
        most: N at most, beside those that are kept for comparisons.

    Raises:
        TooFew: fewer than 192 of them have no missing values.
        ExportError: data that never end, or are none of this model.
    """
    shown = read(vae, data, most + COMPARED, "calibration")
    # Values that are missing have no ranges.
    whole = np.isfinite(shown["x"]).reshape(len(shown["x"]), -1).all(axis=1)
    count = int(whole.sum())
    if count < LEAST_EXAMPLES + COMPARED:
        raise TooFew(
            f"calibration: {count} complete examples are too few for the ranges of 8 bits: give at least "
            f"{LEAST_EXAMPLES + COMPARED}"
        )
    return {name: array[whole][: most + COMPARED] for name, array in shown.items()}


def read(vae: VAE, data: Any, most: int, name: str) -> Feeds:
    """The first examples of the data, `x` [N, *event_shape], with their `condition` if the model has one.

    Args:
        vae: the model.
        data: an array, (x, condition), or batches of these, such as a `tf.data.Dataset`.
        most: N at most, rounded up to whole batches.
        name: of the argument.

    Raises:
        ExportError: data that never end, are none of this model, or none at all.
    """
    if is_endless(data):
        raise ExportError(f"{name}: the data never end: give a finite dataset, for example data.take(100)")
    found: list[np.ndarray] = []
    beside: list[np.ndarray] = []
    try:
        for batch in whole_batches(data, _BATCH):
            x, y, _ = unpack(batch, conditional=True)
            found.append(np.asarray(inputs.examples(vae, x)))
            if vae.condition is not None:
                if y is None:
                    raise ValueError(f"the model is conditioned on {vae.condition}: give (x, condition)")
                beside.append(np.asarray(y).astype(vae.condition.dtype))
            if sum(map(len, found)) >= most:
                break
    except (ValueError, TypeError) as error:
        raise ExportError(f"{name}: {error}") from error
    if not sum(map(len, found)):
        raise ExportError(f"{name}: there are no examples")
    return {"x": np.concatenate(found), **({"condition": np.concatenate(beside)} if beside else {})}


def kept(shown: Feeds) -> Feeds:
    """The examples whose ranges are taken: all but the last."""
    return {name: array[:-COMPARED] for name, array in shown.items()}


def compared(shown: Feeds) -> Feeds:
    """The last examples, on which the file is compared."""
    return {name: array[-COMPARED:] for name, array in shown.items()}


def batches(names: Sequence[str], shown: Mapping[str, Feeds]) -> Iterator[tuple[str, Feeds]]:
    """Inputs for each signature in turn, since each has ranges of its own.

    Args:
        names: of the signatures; `NAME_1` takes one row at a time.
        shown: by the name of a signature, its inputs.
    """
    for start in range(0, max(len(_rows(feeds)) for feeds in shown.values()), _BATCH):
        for name in names:
            feeds = shown[name]
            if start >= len(_rows(feeds)):
                continue
            rows = np.arange(start, start + _BATCH) % len(_rows(feeds))
            batch = {key: array[rows] for key, array in feeds.items()}
            if not name.endswith("_1"):
                yield name, batch
                continue
            for row in range(_BATCH):
                yield name, {key: array[row : row + 1] for key, array in batch.items()}


def _rows(feeds: Feeds) -> np.ndarray:
    return next(iter(feeds.values()))
