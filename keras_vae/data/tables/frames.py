"""Tables as float32 [N, D], by their schema, and back again.

A table is a `pyarrow.Table`, or whatever gives one through Arrow's interface: DataFrames of pandas and polars.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.data.readers import tables as texts
from keras_vae.data.tables import inferred
from keras_vae.data.tables import schema as schemas

SUFFIXES = (".csv", ".parquet")
# What is said of a value that is none of its column's.
SHOWN = 5


def is_frame(data: Any) -> bool:
    """Whether this is a table: a DataFrame of pandas or polars, or a table of PyArrow."""
    return hasattr(data, "__arrow_c_stream__")


def table(source: Any) -> Any:
    """A `pyarrow.Table` of a frame, or of a .csv or Parquet file.

    Raises:
        ValueError: for what is none, and columns without names, or of which two have the same.
    """
    import pyarrow

    if is_frame(source):
        found = source if isinstance(source, pyarrow.Table) else pyarrow.table(source)
        what = "The table"
    else:
        path = Path(source).expanduser()
        what = repr(str(path))
        found = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    # Columns that pandas has written beside the index of its rows.
    found = found.select([at for at, name in enumerate(found.column_names) if not name.startswith("__index_level_")])
    names = found.column_names
    if not names or found.num_rows == 0:
        raise ValueError(f"{what} has {found.num_rows} rows and {len(names)} columns: there is nothing to learn from.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} has more than one column {twice[0]!r}: give each a name of its own.")
    if "" in names:
        raise ValueError(
            f"{what} has a column without a name, number {1 + names.index('')}: give it one, or leave it out."
        )
    return found


def schema_of(frame: Any) -> dict[str, Any]:
    """What the columns of a table seem to hold, to be looked at and changed where it is wrong.

    Truth values, and texts such as yes and no, are binary; other texts are categories, and so are numbers of which
    there are 10 at most. Whole numbers from 0 on are counts, if they vary as counts do; numbers above 0 that are
    skewed, and less so as logarithms, are positive. All others are real. A constant is a category of one.

    Args:
        frame: a DataFrame of pandas or polars, a table of PyArrow, or the path of a .csv or Parquet file.

    Raises:
        ValueError: naming a column that can be none of these: of dates, of nothing, of texts that are all different.
    """
    found = table(frame)
    return schemas.plain(tuple(inferred.field(name, found.column(name)) for name in found.column_names))


def array(source: Any, schema: Mapping[str, Any], missing: bool = False) -> np.ndarray:
    """The columns of a schema, in its order, as float32 [N, D]: see `likelihoods.Mixed`.

    Args:
        source: as of `schema_of`.
        schema: of the columns; others in the table are left out.
        missing: whether values may be missing: NaN.

    Raises:
        ValueError: naming the column that is not there, or that holds something else than the schema says.
    """
    found, columns = table(source), schemas.fields(schema)
    absent = [field.name for field in columns if field.name not in found.column_names]
    if absent:
        raise ValueError(f"The table has no column {absent[0]!r}: it has {found.column_names}.")
    x = np.empty((found.num_rows, len(columns)), "float32")
    for at, field in enumerate(columns):
        x[:, at] = _numbers(field, found.column(field.name))
        gaps = int(np.isnan(x[:, at]).sum())
        if gaps and not missing:
            raise ValueError(
                f"Column {field.name!r} has {gaps} cells without a value. If these are missing: missing=True (in a "
                "config: data.missing), for VAE(..., missing=True)."
            )
    return x


def frame(x: Any, schema: Mapping[str, Any]) -> Any:
    """Rows as a table with the types of the schema: counts are whole numbers, categories have their values.

    `data.frame(vae.sample(100, noise=True), schema)`; `.to_pandas()` makes a DataFrame of it. Means of the model become
    the nearest value that there is. NaN is a null.

    Args:
        x: [N, D].
        schema: of its columns.

    Returns:
        A `pyarrow.Table`: float32 of numbers, int64 of counts, bool of binary columns, dictionaries of categories.

    Raises:
        ValueError: for x of another shape.
    """
    import pyarrow

    columns, values = schemas.fields(schema), np.asarray(x, "float32")
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise ValueError(f"x has shape {values.shape}, and the schema has {len(columns)} columns: [N, {len(columns)}].")
    arrays = []
    for at, field in enumerate(columns):
        gaps = np.isnan(values[:, at])
        column = np.where(gaps, 0.0, values[:, at])
        if field.kind in ("real", "positive"):
            arrays.append(pyarrow.array(column, pyarrow.float32(), mask=gaps))
            continue
        # Counts beyond what 64 bits hold are those of a model that knows nothing of them.
        whole = np.clip(np.rint(column.astype("float64")), 0, 2.0**62).astype("int64")
        if field.kind == "count":
            arrays.append(pyarrow.array(whole, mask=gaps))
        elif not field.values:
            arrays.append(pyarrow.array(whole > 0, mask=gaps))
        else:
            numbers = pyarrow.array(np.minimum(whole, len(field.values) - 1).astype("int32"), mask=gaps)
            arrays.append(pyarrow.DictionaryArray.from_arrays(numbers, pyarrow.array(list(field.values))))
    return pyarrow.table(arrays, names=[field.name for field in columns])


def cells(written: Any) -> list[list[str]]:
    """The rows of a table as texts, the header first; what is missing is an empty cell."""
    columns = [written.column(name) for name in written.column_names]

    # Numbers of 32 bits with as many digits as tell them apart.
    def said(value: Any, of_floats: bool) -> str:
        return "" if value is None else str(np.float32(value)) if of_floats else str(value)

    parts = [[said(value, str(column.type) == "float") for value in column.to_pylist()] for column in columns]
    return [list(written.column_names), *map(list, zip(*parts, strict=True))]


def is_mixed(path: Path) -> bool:
    """Whether a file is a table with a header and columns of texts beside, or instead of, those of numbers."""
    if path.suffix.lower() == ".parquet":
        return True
    try:
        found = _read_csv(path)
    except ValueError:
        return False  # said by the reader of numbers, which knows the line
    return any(inferred.is_of_texts(found.column(at)) for at in range(found.num_columns)) and _has_names(path)


def _has_names(path: Path) -> bool:
    with path.open(encoding=texts.ENCODING, newline="") as stream:
        first = next(csv.reader(stream, delimiter=_delimiter(path)), [])
    return bool(first) and not any(inferred.number(cell) is not None for cell in first)


def _delimiter(path: Path) -> str:
    with path.open(encoding=texts.ENCODING, newline="") as stream:
        return max(texts.DELIMITERS, key=stream.readline().count)


def _read_csv(path: Path) -> Any:
    import pyarrow
    from pyarrow import csv as reader

    gaps = sorted({form for gap in texts.GAPS for form in (gap, gap.upper(), gap.capitalize())})
    try:
        return reader.read_csv(
            path,
            parse_options=reader.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True),
            convert_options=reader.ConvertOptions(null_values=[*gaps, "NaN", "N/A"], strings_can_be_null=True),
        )
    except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no table of text in UTF-8: {error}.") from None


def _read_parquet(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{str(path)!r} is damaged or no Parquet file: {error}.") from None


def _numbers(field: schemas.Field, column: Any) -> np.ndarray:
    """A column as the numbers that stand for its values, float64 [N], NaN for none."""
    values = inferred.pythonic(column)
    if field.kind in ("category", "binary"):
        known = {inferred.text(value): k for k, value in enumerate(field.values)}
        if not known:
            known = {inferred.text(value): k for k in (0, 1) for value in (k, bool(k))}
        found = [np.nan if value is None else known.get(inferred.text(value), -1) for value in values]
        if -1 in found:
            strange = [value for value, k in zip(values, found, strict=True) if k == -1]
            among = ", ".join(repr(value) for value in list(field.values)[:SHOWN] or [0, 1])
            more = f" and {len(field.values) - SHOWN} more" if len(field.values) > SHOWN else ""
            raise ValueError(
                f"Column {field.name!r} holds {strange[0]!r}, which is none of its values: {among}{more}. Add it to "
                "the schema, of a model that is trained with it, or leave out such rows."
            )
        return np.array(found, "float64")
    numbers = [None if value is None else inferred.number(value) for value in values]
    wrong = [value for value, made in zip(values, numbers, strict=True) if value is not None and made is None]
    if wrong:
        raise ValueError(f"Column {field.name!r} is {field.kind}, and holds {wrong[0]!r}, which is no number.")
    made = np.array([np.nan if value is None else value for value in numbers], "float64")
    there = made[~np.isnan(made)]
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(there.astype("float32")).all()
    if not is_finite:
        raise ValueError(f"Column {field.name!r} holds numbers that are infinite, or too large for 32 bits.")
    bad = {"positive": there <= 0.0, "count": (there < 0.0) | (there != np.rint(there))}.get(field.kind)
    if bad is not None and bad.any():
        raise ValueError(
            f"Column {field.name!r} is {field.kind}, and holds {there[bad][0]:g}: if that is right, let it be real."
        )
    return made
