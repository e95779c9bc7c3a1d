"""What a column of a table seems to hold."""

from typing import Any

import numpy as np

from keras_vae.data.tables.schema import MOST_CATEGORIES, Field

# As many different numbers are categories, where each is there so many times on average.
FEW, TIMES = 10, 20
# Texts of which each is there less often are names, or free text.
OFTEN = 2
# Pairs of texts of which the second is a yes.
YES = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("off", "on"), ("absent", "present"))


def pythonic(column: Any) -> list[Any]:
    """The values of a column of PyArrow; None for nulls and for NaN."""
    return [None if value is None or value != value else value for value in column.to_pylist()]


def number(value: Any) -> float | None:
    """A value as a number, True as 1; None of what is none."""
    try:
        found = None if isinstance(value, str) and "_" in value else float(value)
    except (TypeError, ValueError):
        return None
    return None if found is None or found != found else found


def text(value: Any) -> str:
    """What two values have in common that are the same, one of a file and one of a schema: 1, 1.0 and "1"."""
    found = number(value) if not isinstance(value, bool) else None
    return str(value).strip() if found is None else repr(found)


def is_of_texts(column: Any) -> bool:
    """Whether a column holds texts or truth values, and no number among them."""
    values = [value for value in pythonic(column) if value is not None]
    return bool(values) and all(
        isinstance(value, bool) or (isinstance(value, str) and number(value.replace("_", "")) is None)
        for value in values
    )


def field(name: str, column: Any) -> Field:
    """The column with the kind that it seems to have; see `frames.schema_of`.

    Raises:
        ValueError: naming it, if it can be none.
    """
    values = [value for value in pythonic(column) if value is not None]
    remedy = "Leave it out, or say what it is by the schema."
    if not values:
        raise ValueError(f"Column {name!r} has no values: all are missing. {remedy}")
    if odd := [value for value in values if not isinstance(value, (bool, int, float, str))]:
        raise ValueError(f"Column {name!r} holds {type(odd[0]).__name__}, such as {odd[0]}: no numbers. {remedy}")
    different = sorted(set(values), key=lambda value: (str(type(value)), value))
    if all(isinstance(value, bool) for value in values):
        return Field(name, "binary")
    if all(isinstance(value, str) for value in values):
        return _of_texts(name, different, len(values), remedy)
    numbers = [number(value) for value in values]
    if None in numbers or not all(isinstance(value, (int, float)) for value in values):
        raise ValueError(f"Column {name!r} holds {type(values[0]).__name__}, such as {values[0]}: no numbers. {remedy}")
    return _of_numbers(name, np.array(numbers, "float64"), different)


def _of_texts(name: str, different: list[str], count: int, remedy: str) -> Field:
    for pair in YES:
        if sorted(value.strip().lower() for value in different) == sorted(pair):
            no, yes = sorted(different, key=lambda value: pair.index(value.strip().lower()))
            return Field(name, "binary", (no, yes))
    if len(different) > MOST_CATEGORIES or (len(different) > FEW and count < OFTEN * len(different)):
        raise ValueError(
            f"Column {name!r} holds {len(different):,} different texts in {count:,} rows, such as {different[0]!r}: "
            f"these are no categories. {remedy}"
        )
    return Field(name, "category", tuple(different))


def _of_numbers(name: str, x: np.ndarray, different: list[Any]) -> Field:
    if set(different) == {0, 1}:
        return Field(name, "binary")
    if len(different) == 1 or (len(different) <= FEW and len(x) >= TIMES * len(different)):
        return Field(name, "category", tuple(int(v) if v == int(v) else float(v) for v in different if np.isfinite(v)))
    is_whole = bool((x == np.rint(x)).all())
    # Less varied than that, they are years or codes: no negative binomial is as narrow.
    if is_whole and x.min() >= 0.0 and x.var() >= 0.5 * x.mean():
        return Field(name, "count")
    if x.min() > 0.0 and x.std() > 0.0:
        skew, of_logs = _skew(x), _skew(np.log(x))
        if skew > 0.5 and abs(of_logs) < skew:
            return Field(name, "positive")
    return Field(name, "real")


def _skew(x: np.ndarray) -> float:
    deviation = x.std()
    return float((((x - x.mean()) / deviation) ** 3).mean()) if deviation > 0.0 else 0.0
