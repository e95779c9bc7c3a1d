"""Data with missing values: NaN in arrays, empty cells in tables."""

import numpy as np
import pytest
from sources import rows_of

from keras_vae import data
from keras_vae.data.readers import tables

pytestmark = pytest.mark.usefixtures("own_cache")
GAP = np.nan


def test_nan_in_arrays_stays_nan_where_values_may_be_missing():
    vectors = np.array([[1.0, GAP], [GAP, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(rows_of(data.load(vectors, test_split=0, missing=True)), vectors)
    images = np.full((10, 3, 3), 0.5)
    images[:, 1, 1] = GAP
    train, test = data.load(images, 2, missing=True, seed=0)
    for rows in (rows_of(train), rows_of(test)):
        assert np.isnan(rows[:, 1, 1]).all() and np.isnan(rows).sum() == len(rows)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        ([[1.0, GAP]], {}, r"NaN or infinite values, first in row 0\. .* missing=True \(in a config: data.missing\)"),
        ([[1.0, 2.0], [np.inf, GAP]], {"missing": True}, r"has infinite values, first in row 1\."),
        ([[GAP, GAP]], {"missing": True}, "has no values: all are missing"),
        ([[0.0, 1.0]], {"missing": True, "binarize": "dynamic"}, "missing=True and binarize"),
        ([[0.0, 1.0]], {"missing": True, "levels": 4}, "missing=True and levels"),
        ([[[0.5, GAP], [0.5, 0.5]]], {"missing": True, "resize": (4, 4)}, "whose holes would grow"),
    ],
)
def test_what_stands_for_nothing_is_refused(array, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(np.array(array), test_split=0, **options)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "nan", "NULL", " none ", "?"])
def test_gaps_of_tables(tmp_path, cell):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b\n{cell},1\n2,{cell}\n3,4\n")
    rows = rows_of(data.load(path, test_split=0, missing=True))
    np.testing.assert_array_equal(rows, [[GAP, 1], [2, GAP], [3, 4]])
    with pytest.raises(ValueError, match=r"missing=True \(in a config: data.missing\)"):
        data.load(path, test_split=0)


def test_a_table_is_filled_and_else_stays_as_it_is(tmp_path):
    path, values = tmp_path / "table.csv", np.array([[0.5, 7], [2, 8], [9, 10]], "float32")
    path.write_text("a;Label; b \n;2;1.50\n2e0;0;NA\n\n?;1;\n")
    rows, delimiter = tables.fill_gaps(path, values)
    assert delimiter == ";"
    assert rows == [["a", "Label", " b "], ["0.5", "2", "1.50"], ["2e0", "0", "8.0"], ["9.0", "1", "10.0"]]
    path.write_text(",1.50\n2,\n")
    assert tables.fill_gaps(path, values[:2]) == ([["0.5", "1.50"], ["2", "8.0"]], ",")


def test_a_first_row_with_gaps_is_no_header_and_one_of_names_with_a_gap_is(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("1,,3\n4,5,6\n")
    assert rows_of(data.load(path, test_split=0, missing=True)).shape == (2, 3)
    path.write_text(",0,1\n0,5,6\n1,,9\n")  # as pandas writes columns without names
    np.testing.assert_array_equal(rows_of(data.load(path, test_split=0, missing=True)), [[0, 5, 6], [1, GAP, 9]])
    path.write_text(",b,c\n4,5,6\n7,,9\n")
    np.testing.assert_array_equal(rows_of(data.load(path, test_split=0, missing=True)), [[4, 5, 6], [7, GAP, 9]])


def test_a_label_may_not_be_missing(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,label\n1,0\n2,\n")
    with pytest.raises(ValueError, match="rows without a label"):
        data.load(path, test_split=0, missing=True, labels=True)
