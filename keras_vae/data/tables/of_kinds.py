"""Tables with columns of several kinds, as examples."""

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from keras_vae.data.examples import Examples, Source
from keras_vae.data.storage.keeping import empty
from keras_vae.data.tables import frames
from keras_vae.data.tables import schema as schemas
from keras_vae.data.tables.standards import check_rows, moments


def load_table(source: Any, schema: Mapping[str, Any] | Literal["infer"] | None, missing: bool = False) -> Source:
    """The rows of a table, with its schema.

    Args:
        source: a frame, or the path of a .csv or Parquet file.
        schema: of its columns; None, or "infer", for what they seem to hold.
        missing: whether values may be missing.

    Raises:
        ValueError: naming the column that is wrong.
    """
    table = frames.table(source)
    if schema is None or isinstance(schema, str):
        schema = frames.schema_of(table)
    schema = schemas.plain(schemas.fields(schema))
    made = frames.array(table, schema, missing)
    x = empty(made.shape, np.float32, "The table")
    np.copyto(x, made)
    checksums = np.array([zlib.crc32(row.data) for row in x], np.uint32)
    return Source({"train": Examples(x, checksums=checksums)}, schema=schema)


def load_rows(rows: Any, schema: Any, missing: bool = False) -> Source:
    """Rows that are numbers already, as `likelihoods.Mixed` takes them, with their schema.

    Args:
        rows: [N, D], of numbers: of a category 0, 1, ... for the first, the second, ... of its values.
        schema: of the columns, in their order.
        missing: whether values may be missing: NaN.

    Raises:
        ValueError: for arrays of another shape, values that are none of their column's, and a schema that is to be
            inferred: arrays have no names.
    """
    if isinstance(schema, str):
        raise ValueError(
            'An array has no names of columns, of which a schema could be inferred: give it, {"age": "count", "sex": '
            '{"binary": ["f", "m"]}}, in a config as data.schema; or give a .csv or .parquet file.'
        )
    columns, x = schemas.fields(schema), np.asarray(rows)
    if x.ndim != 2 or x.shape[1] != len(columns) or x.dtype.kind not in "fiub" or not len(x):
        raise ValueError(
            f"The schema has {len(columns)} columns, and the array {x.dtype} of shape {x.shape}: give rows of numbers, "
            f"[N, {len(columns)}]."
        )
    kept = empty(x.shape, np.float32, "The table")
    with np.errstate(over="ignore"):
        np.copyto(kept, x, casting="unsafe")
    check_rows(columns, kept)
    gaps = np.isnan(kept).sum(axis=0)
    if gaps.any() and not missing:
        at = int(gaps.argmax())
        raise ValueError(
            f"Column {columns[at].name!r} has {gaps[at]} cells without a value. If these are missing: missing=True (in "
            "a config: data.missing), for VAE(..., missing=True)."
        )
    checksums = np.array([zlib.crc32(row.data) for row in kept], np.uint32)
    return Source({"train": Examples(kept, checksums=checksums)}, schema=schemas.plain(columns))


def conditioned(source: Source, columns: Sequence[str]) -> Source:
    """The rows without some columns, and what stands in these beside them.

    Of binary columns and categories alone that is a label, of which each combination is a class; else it is their
    values, [N, D].

    Args:
        source: of a table.
        columns: their names.

    Raises:
        ValueError: for data without such columns, and rows without a value there.
    """
    schema = source.schema or {}
    taken, kept = split_schema(schema, columns)
    order = list(schema)
    splits = {}
    for name, split in source.splits.items():
        values = split.images[:, [order.index(column) for column in taken]]
        gaps = np.isnan(values).any(axis=0)
        if gaps.any():
            raise ValueError(
                f"Column {list(taken)[int(gaps.argmax())]!r} is a condition, and has cells without a value."
            )
        if are_classes(taken):
            values = np.ravel_multi_index(tuple(values.astype(np.int64).T), _sizes(taken)).astype(np.int64)
        x = empty((len(values), len(kept)), np.float32, "The table")
        np.copyto(x, split.images[:, [order.index(column) for column in kept]])
        splits[name] = split._replace(images=x, labels=values)
    return source._replace(splits=splits, schema=kept, class_names=_names(taken) if are_classes(taken) else None)


def described(source: Source, taken: Mapping[str, Any]) -> dict[str, Any]:
    """Columns with numbers among them, as arguments of `conditions.TableColumns`: standardised by the training rows.

    Args:
        source: of `conditioned`.
        taken: the schema of the columns.
    """
    columns = schemas.fields(taken)
    place, scale = moments(columns, np.asarray(source.splits["train"].labels))
    return {"name": "TableColumns", "schema": schemas.plain(columns), "place": place.tolist(), "scale": scale.tolist()}


def are_classes(taken: Mapping[str, Any]) -> bool:
    """Whether all of the columns are binary or categories, so that what stands in them is a label."""
    return all(field.kind in ("binary", "category") for field in schemas.fields(taken))


def with_condition(x: np.ndarray, labels: np.ndarray, schema: Mapping[str, Any], columns: Sequence[str]) -> np.ndarray:
    """Rows with the columns that were taken out as their condition, [N, D].

    Args:
        x: the rows without these.
        labels: [N], or the values of the columns, [N, D].
        schema: of all columns.
        columns: the names of those that were taken out.
    """
    taken, kept = split_schema(schema, columns)
    of_columns = np.unravel_index(labels, _sizes(taken)) if are_classes(taken) else np.asarray(labels).T
    values = dict(zip(taken, of_columns, strict=True))
    values |= dict(zip(kept, np.asarray(x).T, strict=True))
    return np.stack([values[column] for column in schema], axis=1).astype("float32")


def split_schema(schema: Mapping[str, Any], columns: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of the columns that are a condition, in their order, and that of the others.

    Raises:
        ValueError: for columns that are not there, and where none is left.
    """
    absent = [column for column in columns if column not in schema]
    if absent or not columns:
        has = f"the table has {list(schema)}" if schema else "the data are no table whose columns have kinds"
        raise ValueError(f"condition={list(columns)} names columns of a table, and {has}.")
    kept = {column: kind for column, kind in schema.items() if column not in columns}
    if not kept:
        raise ValueError(f"condition={list(columns)} leaves no column to learn.")
    taken = {column: schema[column] for column in schema if column in columns}
    if are_classes(taken) and not 2 <= math.prod(_sizes(taken)) <= schemas.MOST_CATEGORIES:
        raise ValueError(
            f"condition={list(columns)} has {math.prod(_sizes(taken)):,} combinations: 2 to 1,000, please."
        )
    return taken, kept


def _sizes(taken: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(len(field.values) or 2 for field in schemas.fields(taken))


def _names(taken: Mapping[str, Any]) -> tuple[str, ...]:
    columns = schemas.fields(taken)
    values = [[str(value) for value in field.values] or ["false", "true"] for field in columns]
    if len(columns) == 1:
        return tuple(values[0])
    named = [[f"{field.name}={value}" for value in of] for field, of in zip(columns, values, strict=True)]
    return tuple(", ".join(combination) for combination in itertools.product(*named))
