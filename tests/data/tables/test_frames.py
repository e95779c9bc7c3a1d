"""Tables with columns of several kinds: what is inferred, what comes back, and what is refused."""

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from keras_vae import data

COLOURS = ["blå", "grön", "röd"]


def table(n=300):
    rng = np.random.default_rng(0)
    return pyarrow.table(
        {
            "höjd": rng.normal(170.0, 10.0, n).astype("float32"),
            "income": np.exp(rng.normal(size=n)).astype("float32"),
            "visits": rng.poisson(9, n) * 2,
            "smokes": [["no", "yes"][k] for k in rng.integers(2, size=n)],
            "member": rng.integers(2, size=n).astype(bool),
            "colour": [COLOURS[k] for k in rng.integers(3, size=n)],
            "code": rng.integers(1, 4, n),
            "constant": np.full(n, 5),
            "year": rng.integers(1990, 2020, n),
        }
    )


SCHEMA = {
    "höjd": "real",
    "income": "positive",
    "visits": "count",
    "smokes": {"binary": ["no", "yes"]},
    "member": "binary",
    "colour": {"category": COLOURS},
    "code": {"category": [1, 2, 3]},
    "constant": {"category": [5]},
    "year": "real",
}


def read(source, **options):
    (dataset,) = [data.load(source, test_split=0, **options)]
    return np.concatenate([batch.numpy() for batch in dataset]), dataset.schema


def test_what_the_columns_hold_is_inferred():
    assert data.schema_of(table()) == SCHEMA
    assert list(data.schema_of(table())) == list(SCHEMA)


@pytest.mark.parametrize("kind", ["frame", "csv", "parquet"])
def test_a_table_comes_back_with_its_types(tmp_path, kind):
    source = table()
    x, schema = read(source)
    made = data.frame(x, schema)
    assert made.column("visits").type == pyarrow.int64()
    assert made.column("member").type == pyarrow.bool_()
    for name in source.column_names:
        assert made.column(name).to_pylist() == source.column(name).to_pylist(), name
    path = tmp_path / f"table.{kind}"
    if kind == "csv":
        from pyarrow import csv

        csv.write_csv(source, path)
    elif kind == "parquet":
        parquet.write_table(source, path)
    again, schema = read(made if kind == "frame" else path, schema=None if kind == "csv" else schema)
    np.testing.assert_array_equal(again, x)
    assert schema == SCHEMA


def test_what_is_missing_is_nan_and_null(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1.5,x\n,y\n3,?\n")
    x, schema = read(path, missing=True)
    np.testing.assert_array_equal(x, [[1.5, 0], [np.nan, 1], [3, np.nan]])
    assert data.frame(x, schema).to_pylist()[1:] == [{"a": None, "b": "y"}, {"a": 3.0, "b": None}]
    with pytest.raises(ValueError, match="Column 'a' has 1 cells without a value"):
        read(path)


def test_means_become_the_nearest_value_that_there_is():
    schema = {"n": "count", "b": "binary", "c": {"category": ["x", "y"]}}
    made = data.frame([[-0.4, 0.7, 1.0], [2.6, 0.2, 0.0]], schema)
    assert made.to_pylist() == [{"n": 0, "b": True, "c": "y"}, {"n": 3, "b": False, "c": "x"}]


def test_a_table_of_numbers_is_what_it_was_unless_asked(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n" + "".join(f"{k * 7 % 40},{k / 3}\n" for k in range(100)))
    assert read(path)[1] is None
    assert read(path, schema="infer")[1] == {"a": "count", "b": "real"}


@pytest.mark.parametrize(
    ("text", "schema", "message"),
    [
        ("a,a\n1,x\n2,y\n", None, "more than one column 'a'"),
        ("a,b\n,x\n,y\n", None, "Column 'a' has no values"),
        ("a,b\n2020-01-01,x\n2020-01-02,y\n", None, "Column 'a' holds date"),
        (
            "a,b\n1,x\n2,z\n",
            {"b": {"category": ["x", "y"]}},
            "Column 'b' holds 'z', which is none of its values: 'x', 'y'",
        ),
        ("a,b\n-1,x\n2,y\n", {"a": "positive"}, "Column 'a' is positive, and holds -1"),
        ("a,b\n1.5,x\n2,y\n", {"a": "count"}, "Column 'a' is count, and holds 1.5"),
        ("a,b\n1e60,x\n2,y\n", {"a": "real"}, "Column 'a' holds numbers that are infinite, or too large"),
        ("a,b\n1,x\n2,y\n", {"b": "real"}, "Column 'b' is real, and holds 'x', which is no number"),
        ("a,b\n1,x\n2,y\n", {"c": "real"}, "The table has no column 'c'"),
        ("a,b\n1,x\n2,y,3\n", {"a": "real"}, "Expected 2 columns, got 3"),
        ("a,b\n", {"a": "real"}, "has 0 rows"),
        ("", "infer", "is no table of text"),
        ("a,b\n1,x\n", {"a": "number"}, "Column 'a' of the schema is 'number': a kind is one of real, positive"),
        ("a,b\n1,x\n", {"b": {"category": []}}, "Column 'b' has 0 categories"),
        ("a,b\n1,x\n", {"b": {"binary": ["x"]}}, "Column 'b' is binary, with 1 values"),
        ("a,b\n1,x\n", {}, "A schema is a mapping of at least one column"),
        ("a,b\n1,x\n", "guess", "schema is a mapping of the columns to their kinds"),
    ],
)
def test_what_is_no_such_table_is_refused_by_its_column(tmp_path, text, schema, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(path, schema=schema)


def test_free_text_is_no_category():
    free = pyarrow.table({"a": [f"text {k}" for k in range(50)]})
    with pytest.raises(ValueError, match="Column 'a' holds 50 different texts in 50 rows"):
        data.schema_of(free)


def test_the_table_of_the_package_has_columns_of_all_kinds():
    train, test = data.load("diabetes", batch_size=100)
    kinds = [next(iter(kind)) if isinstance(kind, dict) else kind for kind in train.schema.values()]
    assert set(kinds) == {"real", "positive", "count", "binary", "category"}
    assert sum(len(batch) for dataset in (train, test) for batch in dataset) == 442


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_libraries_are_read_as_they_are(library):
    module = pytest.importorskip(library)
    random = np.random.default_rng(0)
    columns = {
        "age": random.integers(18, 90, 200),
        "income": random.lognormal(10.0, 1.0, 200),
        "town": np.array(["Bonn", "Jena", "Ulm"])[random.integers(0, 3, 200)],
        "smokes": random.random(200) < 0.3,
    }
    frame = module.DataFrame(columns)
    splits = data.read_splits(frame)
    expected = {"age": "count", "income": "positive", "town": {"category": ["Bonn", "Jena", "Ulm"]}, "smokes": "binary"}
    assert splits.schema == expected
    rows = np.concatenate(list(data.read_all(frame).dataset(64)))
    back = data.frame(rows, expected).to_pydict()
    for name, column in columns.items():
        assert back[name] == (pytest.approx(column, rel=1e-6) if name == "income" else column.tolist())


@pytest.mark.parametrize("odd", [{"a": 1}, [1, 2]])
def test_cells_that_are_no_single_values_are_refused_by_the_name_of_their_column(odd):
    with pytest.raises(ValueError, match="Column 'nested' holds"):
        data.read_splits(pyarrow.table({"x": [1.5, 2.5, 0.5] * 20, "nested": [odd] * 60}))


def test_rows_of_an_array_are_a_table_by_a_schema(tmp_path):
    schema = {"height": "real", "visits": "count", "colour": {"category": ["blue", "red"]}}
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(170, 10, 50), rng.poisson(4, 50), rng.integers(0, 2, 50)], axis=1)
    np.save(tmp_path / "rows.npy", x)
    for source in (x, tmp_path / "rows.npy"):
        train, _ = data.load(source, schema=schema, batch_size=8)
        assert train.schema == schema
    whole = data.read_all(tmp_path / "rows.npy", schema=schema)
    table = data.read_all(data.frame(x, schema), schema=schema)
    np.testing.assert_array_equal(*(np.concatenate(list(rows.dataset(16))) for rows in (whole, table)))
    for wrong, message in (
        ({"schema": "infer"}, "An array has no names of columns"),
        ({"schema": {"height": "real"}}, "The schema has 1 columns, and the array float64 of shape"),
        ({"schema": {**schema, "height": "count"}}, "Column 'height' is count, and holds"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load(tmp_path / "rows.npy", **wrong)
    x[3, 0] = np.nan
    with pytest.raises(ValueError, match="Column 'height' has 1 cells without a value"):
        data.load(x, schema=schema)
    np.savez(tmp_path / "rows.npz", x=x)
    with pytest.raises(ValueError, match="a schema is of one array of rows"):
        data.load(tmp_path / "rows.npz", schema=schema)
