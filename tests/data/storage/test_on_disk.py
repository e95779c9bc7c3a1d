"""Arrays in files: what is read is what was written, and a file that changes is an error and no other data."""

import os

import numpy as np
import pytest
import tensorflow as tf

from keras_vae.data.storage import keeping
from keras_vae.data.storage.on_disk import OnDisk, ends, fill, first, in_words, parts, rows_at_once

RNG = np.random.default_rng(0)


def written(values, folder):
    return fill(keeping.temporary(values.shape, values.dtype, folder), values, lambda part: part)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 256, (50, 5, 4, 3), np.uint8),
        RNG.integers(0, 65536, (50, 3, 3, 1), np.uint16),
        RNG.standard_normal((50, 7)).astype("float32"),
        RNG.integers(0, 9, 50),
    ],
)
@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(3, 9),
        slice(40, None, 3),
        [4],
        [7, 7, 3, 49, 0, 1, 2],
        np.arange(50)[::-1],
        5,
        np.int64(6),
        [],
    ],
)
def test_rows_are_those_of_the_array(values, index, tmp_path):
    array, index = written(values, tmp_path), np.array(index, int) if isinstance(index, list) else index
    assert len(array) == 50 and (array.ndim, array.nbytes) == (values.ndim, values.nbytes)
    found = array[index]
    assert found.dtype == values.dtype and np.array_equal(found, values[index])
    chosen = RNG.random(50) < 0.3
    assert np.array_equal(array[chosen], values[chosen])
    assert np.array_equal(np.asarray(array), values) and np.array_equal(np.stack(list(array)), values)
    assert np.array_equal(first(array, 20)[:], values[:20])
    assert list(tmp_path.iterdir()) == []


def test_a_row_or_several_are_written_in_their_place(tmp_path):
    array, values = written(np.zeros((6, 2, 2), np.uint8), tmp_path), np.zeros((6, 2, 2), np.uint8)
    for index, new in ((1, [[1, 2], [3, 4]]), (slice(3, 5), 7), (slice(5, 9), [[[9, 9], [8, 8]]])):
        array[index] = new
        values[index] = new
    assert np.array_equal(array[:], values)


def test_work_goes_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vae.data.storage.on_disk.PART", 40)
    values = RNG.standard_normal((13, 3)).astype("float32")
    array = written(values, tmp_path)
    assert rows_at_once(array) == 3 and [len(part) for _, part in parts(array)] == [3, 3, 3, 3, 1]
    assert ends(array) == (values.min(), values.max())
    values[4, 1] = np.nan
    array = written(values, tmp_path)
    assert np.isnan(ends(array)).all() and ends(array, missing=True) == (np.nanmin(values), np.nanmax(values))
    assert rows_at_once(np.zeros((2, 100))) == 1


@pytest.mark.parametrize("rows", [[-1], [50], [0, 99]])
def test_a_row_that_is_not_there_is_an_error(rows, tmp_path):
    with pytest.raises(IndexError, match="of an array of 50"):
        written(np.zeros((50, 2)), tmp_path).rows(np.array(rows))


def test_a_file_that_is_cut_off_or_written_to_is_an_error(tmp_path):
    path = tmp_path / "values.bin"
    np.arange(20, dtype=np.uint8).tofile(path)
    array = OnDisk(path, (10, 2), np.uint8)
    assert array[9].tolist() == [18, 19]
    np.arange(20, 40, dtype=np.uint8).tofile(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(OSError, match=r"values.bin' was changed while its data were in use"):
        array[9]
    with path.open("rb", buffering=0) as file, pytest.raises(OSError, match="end after 20 bytes"):
        OnDisk(file, (11, 2), np.uint8)[8:]


def test_what_tensorflow_says_of_a_file_is_said_as_it_was_found(tmp_path):
    path = tmp_path / "values.bin"
    np.arange(20, dtype=np.uint8).tofile(path)
    array = OnDisk(path, (10, 2), np.uint8)
    path.write_bytes(b"")
    with (
        pytest.raises(OSError, match=r"^'.*values.bin' was changed while its data were in use: start again$"),
        in_words(),
    ):
        tf.numpy_function(array.rows, [[1]], tf.uint8)
    with pytest.raises(tf.errors.UnknownError, match="another"), in_words():
        raise tf.errors.UnknownError(None, None, "another")


def test_a_file_that_is_removed_is_read_on(tmp_path):
    path = tmp_path / "values.bin"
    np.arange(20, dtype=np.uint8).tofile(path)
    array = OnDisk(path, (10, 2), np.uint8)
    path.unlink()
    assert array[9].tolist() == [18, 19]


def test_a_map_of_a_whole_file_is_read_from_the_file(tmp_path):
    values = RNG.standard_normal((9, 4)).astype("float32")
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(OnDisk.of_memmap(mapped)[:], values)
    assert OnDisk.of_memmap(mapped[2:]) is None
    assert OnDisk.of_memmap(mapped.T) is None
    assert OnDisk.of_memmap(np.load(tmp_path / "x.npy", mmap_mode="c")) is None
    np.save(tmp_path / "y.npy", values.astype(">f4"))
    assert OnDisk.of_memmap(np.load(tmp_path / "y.npy", mmap_mode="r")) is None
