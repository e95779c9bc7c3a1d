"""The likelihood of rows of a table, whose columns are of several kinds."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.data.tables import schema as schemas
from keras_vae.data.tables.standards import moments, standardised, there
from keras_vae.likelihoods.columns import COUNTS, Columns, num_params
from keras_vae.likelihoods.likelihood import Likelihood, logit, percent
from keras_vae.likelihoods.observed import MayMiss
from keras_vae.serialization import Serializable, register

# Rows from which means and deviations are taken: their errors, below a hundredth of a deviation, change nothing.
ROWS = 20_000
# The smallest number that a file with constants in float16 holds.
LEAST = 2.0**-24


@register
class Mixed(Likelihood):
    """Rows of a table: one distribution for each column, independent given z. See `likelihoods.columns.Columns`.

    x is [B, D], float32: numbers and counts as they are, 0 or 1 of a binary column, the number 0, 1, ... of a category;
    NaN where a value is missing, of `VAE(..., missing=True)`. `data.load` makes it of a table, and `data.frame` a table
    of it.

    Columns are standardised inside, by the mean and the deviation of the data that the model is adapted to (of log x of
    positive columns, of log(1 + x) of counts), which are weights that no training changes. log p is in the units of the
    data all the same: of a column that is a thousand times as large it is log 1000 smaller. The encoder sees the
    standardised columns too, and categories as one-hot vectors; see `view`.

    Args:
        schema: name -> "real", "positive", "count", "binary" or "category", the last as {"category": its values}, and
            so binary columns whose values have names: {"binary": ["no", "yes"]}.

    Raises:
        ValueError: naming the column that is none of these.
    """

    num_examples = ROWS
    advice = "A column of numbers of which many are equal may have no density: make it a category, or a count."

    def __init__(self, schema: Mapping[str, Any], **kwargs: Any) -> None:
        self.fields = schemas.fields(schema)
        super().__init__((len(self.fields),), **kwargs)
        self.schema = schemas.plain(self.fields)
        self.place = self.add_weight(
            name="place", shape=self.event_shape, initializer="zeros", trainable=False, dtype="float32"
        )
        self.scale = self.add_weight(
            name="scale", shape=self.event_shape, initializer="ones", trainable=False, dtype="float32"
        )

    @property
    def params_shape(self) -> tuple[int, ...]:
        """One number for each parameter of each column."""
        return (sum(map(num_params, self.fields)),)

    def distribution(self, *params: tf.Tensor) -> tfd.Distribution:
        """The columns, from their parameters [..., P], their places [D] and their scales [D]."""
        of_columns, place, scale = params
        return Columns(of_columns, place, scale, self.fields, self.missing)

    def view(self) -> keras.layers.Layer:
        """Standardised columns, one-hot vectors of categories, and beside them, if values may be missing, a mask."""
        return SeenColumns(schemas.plain(self.fields))

    def adapt_to(self, examples: np.ndarray) -> None:
        """Standardise by the mean and the deviation of each column.

        Args:
            examples: [n, D], NaN where values are missing.
        """
        place, scale = moments(self.fields, examples)
        self.place.assign(place)
        self.scale.assign(scale)
        self.__dict__["__bias__"] = _bias(self.fields, examples)

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray | None:
        """Each column as if it were independent of z: as wide as the data, as often as in these."""
        bias: np.ndarray | None = vars(self).get("__bias__")
        return bias

    def outside(self, x: Any) -> Any:
        """Which values are none of their column's: not positive, no count, neither 0 nor 1, no number of a category."""
        highest = [_highest(field) for field in self.fields]
        # Nothing is compared with infinity, which a file that keeps its constants in float16 does not have.
        is_high, is_low = np.isfinite(highest), np.array([field.kind != "real" for field in self.fields])
        high = np.where(is_high, highest, 0.0).astype("float32")
        is_whole = np.array([field.kind not in ("real", "positive") for field in self.fields])
        is_positive = np.array([field.kind == "positive" for field in self.fields])
        rounded = tf.round(x) if tf.is_tensor(x) else np.round(x)
        return (is_low & (x < 0.0)) | (is_high & (x > high)) | (is_whole & (x != rounded)) | (is_positive & (x <= 0.0))

    def with_density(self, x: tf.Tensor) -> tf.Tensor:
        """Zeros of positive columns as 6e-8: unlikely, but no reason for an export to give no number."""
        is_positive = np.array([field.kind == "positive" for field in self.fields])
        return tf.where(is_positive & (x == 0.0), LEAST, x)

    def refusal(self, share: float, found: str) -> str:
        """What the columns may hold."""
        return (
            f"{percent(share)} of the values are not what the schema says of their columns: positive numbers, counts "
            "0, 1, 2, ..., 0 or 1 of binary columns, and numbers 0 to K - 1 of K categories."
        )

    def check_values(self, x: np.ndarray) -> None:
        """Refuse values that are none of their column's.

        Raises:
            ValueError: naming the column.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            bad = np.asarray(self.outside(x)) & ~np.isnan(x)
        if not bad.any():
            return
        at = int(np.argmax(bad.any(axis=0)))
        field, value = self.fields[at], float(x[bad[:, at], at][0])
        raise ValueError(f"Column {field.name!r} is {_meant(field)}, and holds {value:g}. {_remedy(field)}")

    def _split(self, inputs: list[tf.Tensor]) -> tfd.Distribution:
        return self.distribution(*inputs)


@register
class SeenColumns(MayMiss, Serializable, keras.layers.Layer):
    """Rows of a table as an encoder sees them, [B, D] -> [B, F]: see `Mixed`.

    Numbers are standardised, within 10 deviations of the mean; of positive ones it is log x, of counts log(1 + x). A
    category is a one-hot vector, a binary column -1 or 1. Where values may be missing, there are zeros in their place,
    and 1 for each that is there, 0 for each that is not, behind all columns.

    Args:
        schema: as of `Mixed`.
    """

    def __init__(self, schema: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.fields = schemas.fields(schema)
        shape = (len(self.fields),)
        self.place = self.add_weight(name="place", shape=shape, initializer="zeros", trainable=False, dtype="float32")
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones", trainable=False, dtype="float32")

    def adapt_to(self, examples: np.ndarray) -> None:
        """Standardise by the mean and the deviation of each column, as `Mixed` does."""
        place, scale = moments(self.fields, examples)
        self.place.assign(place)
        self.scale.assign(scale)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """What is seen."""
        is_there = ~tf.math.is_nan(x)
        x = tf.where(is_there, x, tf.zeros_like(x))
        place, scale = tf.convert_to_tensor(self.place), tf.convert_to_tensor(self.scale)
        seen = [
            value * tf.cast(is_there[..., at : at + 1], x.dtype) if self.missing else value
            for at, value in enumerate(standardised(self.fields, x, place, scale))
        ]
        return tf.concat([*seen, *([tf.cast(is_there, x.dtype)] if self.missing else [])], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """[..., F]."""
        size = sum(len(field.values) if field.kind == "category" else 1 for field in self.fields)
        return (*input_shape[:-1], size + (len(self.fields) if self.missing else 0))


def _bias(fields: tuple[schemas.Field, ...], examples: np.ndarray) -> np.ndarray:
    parts: list[np.ndarray] = []
    for at, field in enumerate(fields):
        values = there(examples, at)
        if field.kind == "binary":
            parts.append(np.array([logit((values.sum() + 0.5) / (len(values) + 1.0))]))
        elif field.kind == "category":
            counts = np.bincount(values.astype(int), minlength=len(field.values))[: len(field.values)] + 0.5
            parts.append(np.log(counts / counts.sum()))
        elif field.kind == "count" and len(values):
            mean, variance = max(float(values.mean()), 1e-3), float(values.var())
            failures = mean**2 / (variance - mean) if variance > mean else COUNTS.high
            place, scale = (float(found[at]) for found in moments(fields, examples))
            failures = float(np.clip(failures, 2.0 * COUNTS.low, 0.5 * COUNTS.high))
            parts.append(np.array([(np.log(mean) - place) / scale, np.log(failures)]))
        else:
            parts.append(np.zeros(num_params(field)))
    return np.concatenate(parts).astype("float32")


def _highest(field: schemas.Field) -> float:
    if field.kind == "binary":
        return 1.0
    return len(field.values) - 1.0 if field.kind == "category" else np.inf


def _meant(field: schemas.Field) -> str:
    if field.kind == "category":
        return f"one of {len(field.values)} categories, by the numbers 0 to {len(field.values) - 1}"
    meant = {"positive": "of numbers above 0", "count": "of counts, 0, 1, 2, ...", "binary": "binary, 0 or 1"}
    return meant[field.kind]


def _remedy(field: schemas.Field) -> str:
    if field.kind in ("positive", "count"):
        return f"If that is right, the schema is not: {{{field.name}: real}}."
    return "data.load makes such numbers of the values of a table, given the schema."
