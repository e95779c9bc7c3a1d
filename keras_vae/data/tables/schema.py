"""Schemas of tables: what each column holds, name -> kind, as plain values that a config and a saved model can hold."""

from collections.abc import Mapping
from typing import Any, NamedTuple

KINDS = ("real", "positive", "count", "binary", "category")
# Of a column of categories, by their numbers 0, 1, 2, ... if they have no names.
MOST_CATEGORIES = 1000
Value = str | int | float


class Field(NamedTuple):
    """One column.

    Attributes:
        name: of the column.
        kind: one of `KINDS`.
        values: the names of the categories, or of the two values of a binary column; () for 0 and 1 themselves.
    """

    name: str
    kind: str
    values: tuple[Value, ...] = ()


def fields(schema: Any) -> tuple[Field, ...]:
    """The columns that a schema describes.

        {"age": "count", "income": "positive", "married": "binary", "sex": {"binary": ["f", "m"]},
         "colour": {"category": ["blue", "green", "red"]}}

    Args:
        schema: name -> kind; of a category, {"category": its values}, texts or numbers, and so of binary columns whose
            two values have names.

    Raises:
        ValueError: naming the column, for what is no such mapping.
    """
    if not isinstance(schema, Mapping) or not schema:
        raise ValueError(
            f'A schema is a mapping of at least one column: {{"age": "count", "colour": {{"category": ["blue", "red"]'
            f"}}}}; not {schema!r}."
        )
    return tuple(_field(name, kind) for name, kind in schema.items())


def plain(columns: tuple[Field, ...]) -> dict[str, Any]:
    """The schema of columns, for JSON and YAML."""
    return {field.name: {field.kind: list(field.values)} if field.values else field.kind for field in columns}


def listed(schema: Any) -> str:
    """A schema in words: a line for each column."""
    columns = fields(schema)
    width = max(len(field.name) for field in columns)
    lines = []
    for field in columns:
        values = ", ".join(map(str, field.values[:6])) + (", ..." if len(field.values) > 6 else "")
        lines.append(f"  {field.name:{width}}  {field.kind}{f': {values}' if values else ''}")
    return "\n".join(lines)


def _field(name: Any, kind: Any) -> Field:
    if not isinstance(name, str) or not name:
        raise ValueError(f"The columns of a schema have names, and {name!r} is none: write it as text.")
    values: Any = ()
    if isinstance(kind, Mapping):
        if len(kind) != 1:
            raise ValueError(f"Column {name!r} of the schema has {len(kind)} kinds: give one, {{kind: values}}.")
        kind, values = next(iter(kind.items()))
    if kind not in KINDS:
        raise ValueError(f"Column {name!r} of the schema is {kind!r}: a kind is one of {', '.join(KINDS)}.")
    if isinstance(values, (str, Mapping)) or not hasattr(values, "__iter__"):
        raise ValueError(f"The values of column {name!r} are a list, such as {{{kind}: [a, b]}}; not {values!r}.")
    found = tuple(value.item() if hasattr(value, "item") else value for value in values)
    if found and kind not in ("binary", "category"):
        raise ValueError(f"Column {name!r} is {kind}, and such columns have no list of values.")
    bad = [value for value in found if isinstance(value, bool) or not isinstance(value, (str, int, float))]
    if bad or any(value != value for value in found):
        raise ValueError(f"The values of column {name!r} are texts or numbers, and not {(bad or found)[0]!r}.")
    if len(set(map(str, found))) < len(found):
        raise ValueError(f"Two of the values of column {name!r} are alike: {list(found)}.")
    if kind == "category" and not 1 <= len(found) <= MOST_CATEGORIES:
        raise ValueError(
            f"Column {name!r} has {len(found)} categories: give 1 to {MOST_CATEGORIES}, {{category: [a, b]}}."
        )
    if kind == "binary" and len(found) not in (0, 2):
        raise ValueError(f"Column {name!r} is binary, with {len(found)} values: give two, [no, yes], or none.")
    return Field(name, kind, found)
