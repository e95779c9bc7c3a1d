"""Data that are read whole and in order, with the names of their files; tables and single files."""

import numpy as np
import pytest
from sources import picture, rows_of

from keras_vae import data


def gray(path, level):
    return picture(path, mode="L", color=100 + level)


def levels(dataset):
    return np.rint(rows_of(dataset)[:, 0, 0, 0] * 255 - 100).astype(int).tolist()


def test_a_folder_is_read_whole_in_order_with_its_names(tmp_path):
    for level, name in enumerate(["b.png", "a.png", "cats/2.png", "cats/10.png", "dogs/deep/1.png"], 1):
        gray(tmp_path / name, level)
    whole = data.load(tmp_path, batch_size=2, test_split=0)
    assert whole.file_names == ("a.png", "b.png", "cats/10.png", "cats/2.png", "dogs/deep/1.png")
    assert levels(whole) == [2, 1, 4, 3, 5]
    assert levels(whole) == [2, 1, 4, 3, 5]
    train, _ = data.load(tmp_path, batch_size=2, test_split=0.4)
    assert train.file_names is None


def test_splits_of_a_folder_are_read_one_after_another_with_their_labels(tmp_path):
    for level, name in enumerate(["train/x/1.png", "train/y/1.png", "test/y/2.png"], 1):
        gray(tmp_path / name, level)
    whole = data.load(tmp_path, test_split=0, labels=True)
    assert whole.file_names == ("test/y/2.png", "train/x/1.png", "train/y/1.png") and whole.class_names == ("x", "y")
    ((images, labels),) = whole
    assert labels.numpy().tolist() == [1, 0, 1]
    assert np.rint(images[:, 0, 0, 0] * 255 - 100).astype(int).tolist() == [3, 1, 2]


def test_what_lies_beside_the_splits_of_a_folder_is_read_too(tmp_path):
    for level, name in enumerate(["train/x/1.png", "test/y/2.png", "cats/b.png"], 1):
        gray(tmp_path / name, level)
    (tmp_path / "cats/photo.heic").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"not read, by their suffix: 1 \.heic"):
        whole = data.load(tmp_path, test_split=0, labels=True)
    assert whole.file_names == ("cats/b.png", "test/y/2.png", "train/x/1.png") and levels(whole) == [3, 2, 1]
    assert whole.class_names == ("cats", "x", "y")
    (tmp_path / "cats/photo.heic").unlink()
    gray(tmp_path / "c.png", 4)
    assert levels(data.load(tmp_path, test_split=0)) == [4, 3, 2, 1]
    with pytest.raises(ValueError, match=r"1 images in .* are in none"):
        data.load(tmp_path, test_split=0, labels=True)


def test_names_follow_their_examples_into_subsets(tmp_path):
    for level in range(4):
        gray(tmp_path / f"{level}.png", level)
    examples = data.read_all(tmp_path)
    assert examples.subset([2, 0]).names == ("2.png", "0.png")
    assert examples.subset([2, 0]).dataset(9).file_names == ("2.png", "0.png")
    assert data.read_all(np.zeros((3, 2, 2), np.uint8)).names is None


def test_files_are_read_in_the_order_in_which_they_are_given(tmp_path):
    paths = [gray(tmp_path / name, level) for level, name in enumerate(["b.png", "a.png"], 7)]
    whole = data.load([str(path) for path in paths], test_split=0)
    assert levels(whole) == [7, 8] and whole.file_names == tuple(path.as_posix() for path in paths)
    assert levels(data.load(paths[1], test_split=0)) == [8]
    with pytest.raises(ValueError, match="no image file: several paths are image files"):
        data.load([paths[0], tmp_path], test_split=0)
    with pytest.raises(FileNotFoundError, match="no file"):
        data.load([tmp_path / "c.png"], test_split=0)
    with pytest.raises(ValueError, match="A list is one of image files"):
        data.load([1, 2], test_split=0)


def test_the_splits_of_arrays_are_joined():
    named = {"x_train": np.full((3, 2, 2), 250, np.uint8), "x_test": np.full((2, 2, 2), 9, np.uint8)}
    named |= {"y_train": np.array([0, 1, 2]), "y_test": np.array([2, 1])}
    whole = data.load(named, test_split=0, labels=True)
    ((images, labels),) = whole
    assert labels.numpy().tolist() == [0, 1, 2, 2, 1] and images.shape == (5, 2, 2, 1)
    with pytest.raises(ValueError, match="leaves none for a validation_split"):
        data.load(named, test_split=0, validation_split=0.5)


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "a,b\n1,2\n\n3,4\n", "a;b\n1;2\n3;4\n", "\ufeffa\tb\n1\t2\n3\t4"])
def test_tables_are_vectors(tmp_path, text):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(rows_of(data.load(tmp_path / "table.csv", test_split=0)), [[1, 2], [3, 4]])


def test_every_other_column_of_a_table_is_a_value(tmp_path):
    (tmp_path / "table.csv").write_text("x,y,targets\n1,2,3\n4,5,6\n")
    np.testing.assert_array_equal(rows_of(data.load(tmp_path / "table.csv", test_split=0)), [[1, 2, 3], [4, 5, 6]])


def test_a_table_may_have_labels(tmp_path):
    (tmp_path / "table.csv").write_text("Label,a,b\n1,0.5,2\n0,3,4\n")
    whole = data.load(tmp_path / "table.csv", test_split=0, labels=True)
    ((x, y),) = whole
    np.testing.assert_array_equal(x, [[0.5, 2], [3, 4]])
    assert y.numpy().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", "Line 3 of .* has 'x' in column 'b', which is no number"),
        ("a,b\n1_000,2\n", "Line 2 of .* has '1_000' in column 'a', which is no number"),
        ("1,2\n3\n", "Line 2 of .* has 1 cells, and those before have 2"),
        ("a,b\n", "has no rows of numbers"),
        ("", "has no rows of numbers"),
        ("label\n1\n", "no values beside the label"),
        ("1,nan\n2,3\n", "NaN or infinite values, first in row 0"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_by_its_line(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path / "table.csv", test_split=0)
