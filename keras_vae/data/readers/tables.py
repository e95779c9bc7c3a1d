"""Tables of numbers from .csv files."""

import csv
import math
from pathlib import Path

import numpy as np

ENCODING = "utf-8-sig"  # with or without the mark that spreadsheets write
DELIMITERS = ",;\t"
# Of the column that is no value; x and y are coordinates as likely as not.
LABELS = ("label", "labels")
# What stands in a table where a value is missing.
GAPS = ("", "na", "n/a", "nan", "null", "none", "?")


def read_table(path: Path, missing: bool = False) -> dict[str, np.ndarray]:
    """The rows of a .csv file as vectors, "images" [N, D]; a column `label` or `labels` as "labels".

    A first row that is no numbers is the header. Columns are parted by commas, semicolons or tabs.

    Args:
        path: of the file.
        missing: whether cells that are empty, or say NA, null, none, nan or ?, are values that are missing: NaN.

    Raises:
        ValueError: naming the line, for a cell that is no number and a row of another length; without any row.
    """
    shown = repr(str(path))
    rows, _ = _read(path)
    numbered = [(number, row) for number, row in enumerate(rows, 1) if row]
    header = [cell.strip() for cell in numbered.pop(0)[1]] if _has_header(numbered) else None
    if not numbered:
        raise ValueError(f"{shown} has no rows of numbers.")
    width = len(header or numbered[0][1])
    values = np.empty((len(numbered), width), np.float64)
    for index, (number, row) in enumerate(numbered):
        if len(row) != width:
            raise ValueError(f"Line {number} of {shown} has {len(row)} cells, and those before have {width}.")
        try:
            values[index] = [math.nan if missing and _is_gap(cell) else _number(cell) for cell in row]
        except ValueError:
            at = next(place for place, cell in enumerate(row) if not (_is_number(cell) or (missing and _is_gap(cell))))
            column = f"column {header[at]!r}" if header else f"column {at + 1}"
            if _is_gap(row[at]):
                raise ValueError(
                    f"Line {number} of {shown} has {row[at]!r} in {column}. If such cells are values that are missing: "
                    "missing=True (in a config: data.missing)."
                ) from None
            raise ValueError(
                f"Line {number} of {shown} has {row[at]!r} in {column}, which is no number: leave out such columns."
            ) from None
    of_labels = [at for at, name in enumerate(header or []) if name.lower() in LABELS]
    if not of_labels:
        return {"images": values}
    if np.isnan(values[:, of_labels[0]]).any():
        raise ValueError(f"{shown} has rows without a label: give each one, or leave the column out.")
    labels, rest = values[:, of_labels[0]], np.delete(values, of_labels[0], axis=1)
    if not rest.shape[1]:
        raise ValueError(f"{shown} has no column but {header}: there are no values beside the label.")
    return {"images": rest, "labels": labels.astype(np.int64) if (labels == np.rint(labels)).all() else labels}


def fill_gaps(path: Path, values: np.ndarray) -> tuple[list[list[str]], str]:
    """A table with values where they were missing, and all else as it stands in the file.

    Args:
        path: of a file that `read_table` has read.
        values: [N, ...], for all values of each row, missing or not.

    Returns:
        Its rows, with the header and the labels if there are any, and what parts the columns.
    """
    rows, delimiter = _read(path)
    numbered = [(number, row) for number, row in enumerate(rows, 1) if row]
    header = numbered.pop(0)[1] if _has_header(numbered) else []
    label = next((at for at, name in enumerate(header) if name.strip().lower() in LABELS), None)
    filled = [header] if header else []
    for (_, row), own in zip(numbered, values.reshape(len(values), -1).astype(str).tolist(), strict=True):
        if label is not None:
            own.insert(label, "")
        filled.append([value if _is_gap(cell) else cell for cell, value in zip(row, own, strict=True)])
    return filled, delimiter


def _read(path: Path) -> tuple[list[list[str]], str]:
    with path.open(encoding=ENCODING, newline="") as stream:
        try:
            first = stream.readline()
            stream.seek(0)
            delimiter = max(DELIMITERS, key=first.count)
            return list(csv.reader(stream, delimiter=delimiter)), delimiter
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{str(path)!r} is no table of text in UTF-8: {error}.") from None


def _has_header(numbered: list[tuple[int, list[str]]]) -> bool:
    """Whether the first row says something that is no number; a row with gaps does not."""
    # pandas writes an empty cell above its index, and numbers columns without names.
    if numbered and numbered[0][1][0] == "" and numbered[0][1][1:] == [str(k) for k in range(len(numbered[0][1]) - 1)]:
        return True
    return bool(numbered) and any(not _is_number(cell) and not _is_gap(cell) for cell in numbered[0][1])


def _is_gap(cell: str) -> bool:
    return cell.strip().lower() in GAPS


def _number(cell: str) -> float:
    if "_" in cell:  # Python's own way to write thousands
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True
