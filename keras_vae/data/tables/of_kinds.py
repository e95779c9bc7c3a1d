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


def conditioned(source: Source, columns: Sequence[str]) -> Source:
    """The rows without some columns, and what stands in these as their label: of several, each combination is a class.

    Args:
        source: of a table.
        columns: their names.

    Raises:
        ValueError: for data without such columns, columns of numbers, and rows without a value there.
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
        labels = np.ravel_multi_index(tuple(values.astype(np.int64).T), _sizes(taken))
        x = empty((len(values), len(kept)), np.float32, "The table")
        np.copyto(x, split.images[:, [order.index(column) for column in kept]])
        splits[name] = split._replace(images=x, labels=labels.astype(np.int64))
    return source._replace(splits=splits, schema=kept, class_names=_names(taken))


def with_condition(x: np.ndarray, labels: np.ndarray, schema: Mapping[str, Any], columns: Sequence[str]) -> np.ndarray:
    """Rows with the columns that were taken out as their condition, [N, D].

    Args:
        x: the rows without these.
        labels: [N].
        schema: of all columns.
        columns: the names of those that were taken out.
    """
    taken, kept = split_schema(schema, columns)
    values = dict(zip(taken, np.unravel_index(labels, _sizes(taken)), strict=True))
    values |= dict(zip(kept, np.asarray(x).T, strict=True))
    return np.stack([values[column] for column in schema], axis=1).astype("float32")


def split_schema(schema: Mapping[str, Any], columns: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of the columns that are a condition, in their order, and that of the others.

    Raises:
        ValueError: for columns that are not there or hold numbers, and where none is left.
    """
    absent = [column for column in columns if column not in schema]
    if absent or not columns:
        has = f"the table has {list(schema)}" if schema else "the data are no table whose columns have kinds"
        raise ValueError(f"condition={list(columns)} names columns of a table, and {has}.")
    for field in schemas.fields({column: schema[column] for column in columns}):
        if field.kind not in ("binary", "category"):
            raise ValueError(
                f"Column {field.name!r} is {field.kind}: columns that are conditions are binary or categories. Give it "
                "in groups, as a category."
            )
    kept = {column: kind for column, kind in schema.items() if column not in columns}
    if not kept:
        raise ValueError(f"condition={list(columns)} leaves no column to learn.")
    taken = {column: schema[column] for column in schema if column in columns}
    if not 2 <= math.prod(_sizes(taken)) <= schemas.MOST_CATEGORIES:
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
