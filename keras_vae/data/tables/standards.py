"""Columns of a table as networks see them: standardised numbers, and categories as one-hot vectors."""

import numpy as np
import tensorflow as tf

from keras_vae.data.tables import schema as schemas

# What is seen of numbers, in deviations from the mean, at most: an outlier says that it is one.
FARTHEST = 10.0
SMALLEST = 1e-30


def moments(fields: tuple[schemas.Field, ...], examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the columns by which they are standardised; 0 and 1 of those that are not.

    Args:
        fields: the columns.
        examples: [n, D], NaN where values are missing.
    """
    place, scale = np.zeros(len(fields), "float32"), np.ones(len(fields), "float32")
    for at, field in enumerate(fields):
        values = there(examples, at)
        if field.kind not in ("real", "positive", "count") or not len(values):
            continue
        if field.kind == "positive":
            values = np.log(np.maximum(values, SMALLEST))
        elif field.kind == "count":
            values = np.log1p(np.maximum(values, 0.0))
        place[at] = values.mean()
        # Of a constant column any scale is as good as another that float32 can tell from its mean.
        scale[at] = values.std() if values.std() > 1e-6 * max(1.0, abs(values.mean())) else 1.0
    return place, scale


def standardised(
    fields: tuple[schemas.Field, ...], x: tf.Tensor, place: tf.Tensor, scale: tf.Tensor
) -> list[tf.Tensor]:
    """Each column as it is seen, [..., 1], of a category [..., K].

    Numbers are standardised, within 10 deviations of the mean; of positive ones it is log x, of counts log(1 + x). A
    category is a one-hot vector, a binary column -1 or 1.

    Args:
        fields: the columns.
        x: rows of them, [..., D].
        place: [D], of `moments`.
        scale: [D], of `moments`.
    """
    seen = []
    for at, field in enumerate(fields):
        value = x[..., at : at + 1]
        if field.kind == "category":
            numbers = tf.constant(np.arange(len(field.values)), x.dtype)
            value = tf.cast(tf.abs(value - numbers) < 0.5, x.dtype)
        elif field.kind == "binary":
            value = 2.0 * value - 1.0
        else:
            if field.kind == "positive":
                value = tf.math.log(tf.maximum(value, SMALLEST))
            elif field.kind == "count":
                value = tf.math.log1p(tf.maximum(value, 0.0))
            value = tf.clip_by_value((value - place[at]) / scale[at], -FARTHEST, FARTHEST)
        seen.append(value)
    return seen


def there(examples: np.ndarray, at: int) -> np.ndarray:
    """The values of a column that are there, float64."""
    values = examples[:, at].astype("float64")
    return values[np.isfinite(values)]


def check_rows(fields: tuple[schemas.Field, ...], x: np.ndarray) -> None:
    """Refuse values that are none of their column's; NaN is a value that is missing.

    Args:
        fields: the columns.
        x: rows of them, [N, D].

    Raises:
        ValueError: naming the column.
    """
    for at, field in enumerate(fields):
        column = x[:, at][~np.isnan(x[:, at])]
        bad = np.isinf(column)
        if field.kind == "positive":
            bad |= column <= 0
        elif field.kind != "real":
            highest = {"count": np.inf, "binary": 1}.get(field.kind, len(field.values) - 1)
            bad |= (column < 0) | (column > highest) | (column != np.rint(column))
        if bad.any():
            raise ValueError(f"Column {field.name!r} is {field.kind}, and holds {column[bad][0]:g}.")
