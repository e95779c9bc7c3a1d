"""Data: arrays and the files that hold them, also damaged and hostile ones."""

import io
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from sources import rows_of

from keras_vae import data

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("own_cache")


def test_images_get_a_channel_axis_and_bytes_are_scaled(tmp_path):
    images = RNG.integers(0, 256, (30, 7, 5), np.uint8)
    np.save(tmp_path / "images.npy", images)
    for source in (images, tmp_path / "images.npy", str(tmp_path / "images.npy"), tf.constant(images)):
        train, test = data.load(source, 10)
        assert train.element_spec.shape.as_list() == [None, 7, 5, 1]
        together = np.concatenate([rows_of(train), rows_of(test)])
        expected = images[..., np.newaxis].astype(np.float32) / np.float32(255)
        assert sorted(x.tobytes() for x in together) == sorted(x.tobytes() for x in expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.uint8])
def test_vectors_keep_their_values(dtype):
    vectors = RNG.normal(0.0, 50.0, (30, 3)).clip(0).astype(dtype)
    source = data.read_splits(vectors)
    served = np.concatenate([rows_of(split.dataset(10)) for split in (source.train, source.test)])
    assert served.dtype == np.float32
    assert sorted(served.tolist()) == sorted(vectors.astype(np.float32).tolist())


@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_of_named_arrays(tmp_path, compress):
    arrays = {
        "x_train": RNG.random((40, 4, 4, 3)),
        "y_train": np.arange(40),
        "x_test": np.asfortranarray(RNG.random((10, 4, 4, 3))),
        "y_test": np.arange(10),
    }
    (np.savez_compressed if compress else np.savez)(tmp_path / "all.npz", **arrays)
    train, test = data.load(tmp_path / "all.npz", 8, labels=True)
    x, y = next(iter(train))
    assert np.array_equal(x, arrays["x_train"][y].astype(np.float32))
    assert np.array_equal(rows_of(test), arrays["x_test"].astype(np.float32))


def test_boolean_images_are_black_and_white():
    images = RNG.random((20, 4, 4)) < 0.5
    _, test = data.load({"train": images, "test": images}, 10)
    assert np.array_equal(rows_of(test)[..., 0], images.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 2, 2), -1, np.int8), r"numbers from -1 to -1 in the given arrays.*value_range=\(-1, -1\)"),
        (np.full((4, 2, 2), 70_000), "numbers from 70000 to 70000 .* at most 65535"),
        (np.zeros((4, 2, 2), complex), "dtype complex128"),
        (np.array([["a"], ["b"]]), "dtype <U1"),
        (np.array([[None], [None]]), "dtype object"),
        (np.full((4, 2, 2), 255.0), "values from 255 to 255"),
        (np.full((4, 2, 2), -1.0), "values from -1 to -1"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((0, 2, 2)), r"shape \(0, 2, 2\)"),
        (np.array([[0.0], [0.0], [np.nan]]), "NaN or infinite values, first in row 2"),
        (np.array([[[0.0]], [[np.inf]]]), "NaN or infinite values, first in row 1"),
    ],
)
def test_unusable_arrays_say_what_is_wrong(array, message):
    with pytest.raises(ValueError, match=message):
        data.load(array, 1)


def test_archives_without_images_or_with_too_few_labels_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=np.zeros((4, 2, 2)), other=np.zeros(3))
    with pytest.raises(ValueError, match=r"\['other', 'pictures'\]. Name one of them x_train"):
        data.load(tmp_path / "a.npz", 1)
    np.savez(tmp_path / "b.npz", images=np.zeros((4, 2, 2)), labels=np.zeros(3))
    with pytest.raises(ValueError, match=r"'labels' .* 4 images"):
        data.load(tmp_path / "b.npz", 1, labels=True)
    with pytest.raises(ValueError, match=r"splits .* differ in the shape"):
        data.load({"x_train": np.zeros((4, 2, 2)), "x_test": np.zeros((4, 3, 3))}, 1)


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_damaged_and_hostile_array_files_are_named(tmp_path):
    np.save(tmp_path / "pickle.npy", np.array([Payload()], object), allow_pickle=True)
    np.savez(tmp_path / "pickle.npz", images=np.array([Payload()], object))
    np.save(tmp_path / "whole.npy", np.zeros((100, 4, 4)))
    content = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(content[:-10])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez_compressed(tmp_path / "flipped.npz", images=RNG.random((100, 4, 4)))
    flipped = bytearray((tmp_path / "flipped.npz").read_bytes())
    flipped[3000:3100] = bytes(100)
    (tmp_path / "flipped.npz").write_bytes(flipped)
    # A file of a few bytes that claims to hold 8 TB.
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**23, 1024, 1024)})
    (tmp_path / "bomb.npy").write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    messages = {
        "pickle.npy": "nothing is unpickled",
        "pickle.npz": "nothing is unpickled",
        "short.npy": "truncated",
        "text.npy": "no numpy array",
        "text.npz": "no .npz file",
        "flipped.npz": "damaged",
        "bomb.npy": "truncated",
        "bomb.npz": "truncated",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            data.load(tmp_path / name, 1)


def test_resizing_keeps_images_on_their_levels():
    levels = RNG.integers(0, 256, (10, 8, 8, 1), np.uint8)
    on_grid = levels.astype(np.float32) / np.float32(255)
    for images in (levels, on_grid):
        _, test = data.load({"train": images, "test": images}, 5, resize=(5, 6), fit="stretch")
        served = rows_of(test)
        assert served.shape == (10, 5, 6, 1)
        assert np.array_equal(served, np.rint(served * 255).astype(np.float32) / np.float32(255))
        assert served.mean() == pytest.approx(on_grid.mean(), abs=0.05)
    off_grid = RNG.random((10, 8, 8, 1)).astype(np.float32)
    _, test = data.load({"train": off_grid, "test": off_grid}, 5, resize=(5, 6), fit="pad")
    assert np.abs(rows_of(test) * 255 - np.rint(rows_of(test) * 255)).max() > 0.1
    with pytest.raises(ValueError, match="holds vectors"):
        data.load(np.zeros((10, 4)), 5, resize=(2, 2))


def test_pairs_as_from_keras_datasets():
    images = 5 * np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2)
    classes = np.arange(12) % 3
    train, test = data.load((images, classes), 4, labels=True)
    assert sum(len(x) for x, _ in train) in (10, 11) and sum(len(x) for x, _ in test) in (1, 2)
    # CIFAR's labels come as a column.
    train, test = data.load(((images, classes[:, None]), (images[:5], classes[:5, None])), 4, condition="label")
    assert np.array_equal(np.concatenate([y for _, y in test]), classes[:5])
    assert np.array_equal(np.sort(np.concatenate([y for _, y in train])), np.sort(classes))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((np.zeros((6, 2, 2)), np.zeros((4, 2, 2))), "by name"),
        ((np.zeros((6, 2, 2)), np.zeros(4)), "a label for each"),
        ((np.zeros((6, 2, 2)),), "A tuple is"),
        (((np.zeros((6, 2, 2)), np.zeros(6)), np.zeros(6)), "A tuple is"),
        ((), "A tuple is"),
    ],
)
def test_other_tuples_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        data.load(given, 1)
