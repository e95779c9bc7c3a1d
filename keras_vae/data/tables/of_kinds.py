"""Tables with columns of several kinds, as examples."""

import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from keras_vae import schema as schemas
from keras_vae.data.examples import Examples, Source, empty
from keras_vae.data.tables import frames


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
