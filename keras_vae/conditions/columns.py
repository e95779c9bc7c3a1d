"""Columns of a table as what a model is conditioned on."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from keras_vae.conditions.condition import Condition
from keras_vae.data.tables import schema as schemas
from keras_vae.data.tables.inferred import number, text
from keras_vae.data.tables.standards import check_rows, standardised
from keras_vae.serialization import register


@register
class TableColumns(Condition):
    """Values of some columns of a table, [B, D], in the units of the data; see `likelihoods.Mixed` of the others.

    A network sees numbers standardised, (x - place) / scale: of positive ones log x, of counts log(1 + x), within 10
    deviations; binary columns as -1 or 1, categories as one-hot vectors. So p(x|c) is of rows that have these values,
    whatever these are: nothing is rejected.

    A condition is given as an array, or by names: {"age": 40, "sex": "f"}, or a list of such mappings.

    Args:
        schema: of the columns, as of `likelihoods.Mixed`.
        place: [D], by which they are standardised; zeros unless given.
        scale: [D], positive; ones unless given.

    Raises:
        ValueError: for numbers that are not one for each column.
    """

    def __init__(
        self, schema: Mapping[str, Any], place: Sequence[float] | None = None, scale: Sequence[float] | None = None
    ) -> None:
        self.fields = schemas.fields(schema)
        size = len(self.fields)
        self.shape = (size,)
        self.place = [0.0] * size if place is None else [float(value) for value in place]
        self.scale = [1.0] * size if scale is None else [float(value) for value in scale]
        if len(self.place) != size or len(self.scale) != size or not all(0.0 < value < np.inf for value in self.scale):
            raise ValueError(
                f"place and scale are a number for each of {size} columns, and scales are positive; not {place} and "
                f"{scale}."
            )
        self.schema = schemas.plain(self.fields)
        vars(self)["__arguments__"].update(schema=self.schema, place=self.place, scale=self.scale)

    @classmethod
    def of(cls, data: Any) -> Self:
        """The condition of a dataset of `data.load(..., condition=["age"])`.

        Raises:
            ValueError: for a dataset that has none.
        """
        found = getattr(data, "condition", None)
        if not isinstance(found, Mapping) or found.get("name") != cls.__name__:
            raise ValueError(
                "The data have no columns of numbers as a condition: data.load(..., condition=['age']). What is made "
                "of a dataset by map, take and the like does not know them any more."
            )
        return cls(**{name: value for name, value in found.items() if name != "name"})

    @property
    def names_of_columns(self) -> list[str]:
        """In their order."""
        return [field.name for field in self.fields]

    @property
    def features_shape(self) -> tuple[int, ...]:
        """One number for each column, for a category one for each of its values."""
        return (sum(len(field.values) if field.kind == "category" else 1 for field in self.fields),)

    def features(self, values: tf.Tensor) -> tf.Tensor:
        """[B, F], float32."""
        place, scale = tf.constant(self.place, tf.float32), tf.constant(self.scale, tf.float32)
        return tf.concat(standardised(self.fields, tf.cast(values, tf.float32), place, scale), axis=-1)

    def zeros(self, n: int) -> np.ndarray:
        """Conditions that can be, [n, D]: 1 of positive columns, 0 of others."""
        return np.tile(np.array([[float(field.kind == "positive") for field in self.fields]], self.dtype), (n, 1))

    def numbers(self, values: Any) -> Any:
        """Values by the names of their columns as an array, [D], or [B, D] of a list of them.

        Raises:
            ValueError: naming a column that is not there, is left out, or holds something else than the schema says.
        """
        if isinstance(values, Mapping):
            return self._row(values)
        if isinstance(values, (list, tuple)) and values and all(isinstance(value, Mapping) for value in values):
            return np.stack([self._row(value) for value in values])
        return values

    def check(self, values: np.ndarray) -> None:
        """Refuse values that are missing, and those that are none of their column's.

        Raises:
            ValueError: naming the column.
        """
        if not np.issubdtype(values.dtype, np.number):
            raise ValueError(f"The condition is {self}: numbers, or values by names; not {values.dtype}.")
        for at, field in enumerate(self.fields):
            if not np.isfinite(values[:, at]).all():
                raise ValueError(f"Column {field.name!r} is a condition, and has values that are missing or infinite.")
        check_rows(self.fields, values)

    def _row(self, values: Mapping[str, Any]) -> np.ndarray:
        unknown = [name for name in values if name not in self.names_of_columns]
        if unknown:
            raise ValueError(f"The condition has no column {unknown[0]!r}: it has {self.names_of_columns}.")
        left_out = [name for name in self.names_of_columns if values.get(name) is None]
        if left_out:
            raise ValueError(f"Column {left_out[0]!r} is a condition, and has no value: give one, {left_out[0]}=...")
        return np.array([_number(field, values[field.name]) for field in self.fields], self.dtype)

    def __str__(self) -> str:
        return f"TableColumns({', '.join(f'{field.name}: {field.kind}' for field in self.fields)})"


def _number(field: schemas.Field, value: Any) -> float:
    if field.kind in ("binary", "category"):
        of = field.values or (0, 1)
        known = {text(one): at for at, one in enumerate(of)} | ({} if field.values else {"False": 0, "True": 1})
        if text(value) not in known:
            raise ValueError(f"Column {field.name!r} holds one of {list(of)}, not {value!r}.")
        return float(known[text(value)])
    found = number(value)
    if found is None:
        raise ValueError(f"Column {field.name!r} is {field.kind}, and {value!r} is no number.")
    return found
