"""Files of 8 bits: what a model is shown before its ranges are written down, and what stays in float32."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.conditions.handed import condition_for
from keras_vae.data.batches import is_endless, unpack, whole_batches
from keras_vae.export import metadata
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
# How a signature is computed: in 8 bits; its products with weights alone in 8 bits; in float32.
ALL, PRODUCTS, NONE = range(3)
# Weights that a signature may have in float32 of its own, in bytes: they make the file larger.
LARGEST_OWN = 2**20
NOTES = {
    PRODUCTS: "{}: of it products with weights alone are computed in 8 bits, which are too few for the rest",
    NONE: "{}: in float32, for which 8 bits are too few, or have no number for a missing value",
}


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
    if vae.condition is None or vae.condition.num_classes is not None or not shown:
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


class EightBits:
    """How each signature of a file is computed: at first as is known of its kind, and more exactly where that fails.

    8 bits would round the sums of a score, and of rows of a table what is in the units of its columns: one of thousands
    beside one of hundredths. A score of values that may be missing has no number for those in 8 bits.

    Args:
        vae: the model.
        of: the name of each signature of the file, and of that of `signatures.signatures` which it is.
    """

    def __init__(self, vae: VAE, of: Mapping[str, str]) -> None:
        self._of = of
        is_of_rows = vae.decoder.likelihood.schema is not None
        self._kinds = dict.fromkeys(of.values(), PRODUCTS if is_of_rows else ALL)
        self._kinds["score"] = NONE if vae.missing else PRODUCTS
        self._at_first = dict(self._kinds)

    def are_partly_in_float(self, names: Iterable[str]) -> bool:
        """Whether there is one among these signatures that is not all in 8 bits."""
        return any(self._kinds[self._of[name]] != ALL for name in names)

    def more_exact(self, wrong: Iterable[str], num_weights: Callable[[str], int]) -> bool:
        """Compute what was found wrong more exactly, if that is possible of any of it; whether it is.

        Args:
            wrong: of `signatures.signatures`.
            num_weights: of one of them.
        """
        changed = False
        for key in wrong:
            kind = self._kinds[key]
            may = kind == ALL or (key != "decode" and kind == PRODUCTS and 4 * num_weights(key) <= LARGEST_OWN)
            self._kinds[key] += may
            changed |= may
        return changed

    def notes(self, keys: Iterable[str]) -> list[str]:
        """What is to be said of these, which are in the file."""
        changed = [key for key in dict.fromkeys(keys) if self._kinds[key] != self._at_first[key]]
        changed += ["score"] * ("score" not in changed and self._kinds["score"] == NONE and "score" in keys)
        return [NOTES[self._kinds[key]].format(key) for key in changed]

    def prepared(self, calibrated: bytes) -> tuple[bytes, set[str]]:
        """A calibrated model as it is to be quantised, and the names of the tensors whose operators are in float32."""
        in_float: set[str] = set()
        for name, key in self._of.items():
            if self._kinds[key] != ALL:
                in_float |= metadata.results(calibrated, name, products=self._kinds[key] == NONE)
        return metadata.without_ranges(calibrated, in_float), in_float
