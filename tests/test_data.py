"""Data: every source to batches, the order and the noise of batches, and bad input."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from keras_vae import data
from keras_vae.data import Arrays
from keras_vae.datasets import digits, examples, named, own, shapes

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_VAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def picture(path: Path, size=(8, 8), mode="RGB", color=None, **options) -> Path:
    """Write an image file of `size` (height, width); random pixels unless `color` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if color is not None:
        image = Image.new(mode, size[::-1], color)
    else:
        shape = size if mode == "L" else (*size, len(mode))
        image = Image.fromarray(RNG.integers(0, 256, shape, np.uint8), mode)
    image.save(path, **options)
    return path


def rows_of(dataset: tf.data.Dataset) -> np.ndarray:
    """All examples of a dataset of tensors or of tuples, of which the first part counts."""
    return np.concatenate([np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in dataset])


def numbered(count: int, **options) -> Arrays:
    return Arrays(np.arange(count, dtype=np.float32)[:, np.newaxis], **options)


# --- Arrays: order, noise, memory


def test_a_dataset_serves_every_example_once_with_its_extras():
    weights = np.linspace(0.0, 1.0, 10)
    arrays = Arrays(np.arange(10, dtype=np.float32)[:, np.newaxis], np.arange(10), weights)
    batches = list(arrays.dataset(4, shuffle=True))
    assert [len(x) for x, _, _ in batches] == [4, 4, 2]
    order = np.concatenate([y for _, y, _ in batches])
    assert sorted(order) == list(range(10))
    assert np.array_equal(np.concatenate([x for x, _, _ in batches])[:, 0], order)
    assert np.array_equal(np.concatenate([w for _, _, w in batches]), weights[order])


def test_every_iteration_is_another_order_and_the_sequence_repeats_for_the_seed():
    first, second, other = (numbered(50).dataset(8, seed=seed, shuffle=True) for seed in (1, 1, 2))
    epochs = [rows_of(first) for _ in range(3)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    assert all(np.array_equal(epoch, rows_of(second)) for epoch in epochs)
    assert not np.array_equal(epochs[0], rows_of(other))


def test_without_shuffling_the_order_is_kept():
    assert np.array_equal(rows_of(numbered(10).dataset(3))[:, 0], np.arange(10))
    assert np.array_equal(rows_of(numbered(10).stream(3, shuffle=False).take(8))[:, 0], [*range(10), *range(10)])


@pytest.mark.parametrize("start_step", [1, 6, 7, 8, 23])
def test_a_stream_started_later_gives_the_same_batches_bit_for_bit(start_step):
    arrays = Arrays(RNG.random((50, 4), np.float32), np.arange(50), binarize="dynamic")
    assert arrays.steps_per_epoch(8) == 7
    whole = list(arrays.stream(8, seed=3).take(start_step + 9))
    resumed = list(arrays.stream(8, seed=3, start_step=start_step).take(9))
    for (x, y), (x_resumed, y_resumed) in zip(whole[start_step:], resumed, strict=True):
        assert np.array_equal(x, x_resumed)
        assert np.array_equal(y, y_resumed)


def test_every_epoch_of_a_stream_holds_all_examples_in_another_order():
    stream = numbered(50).stream(8, seed=0)
    assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
    epochs = rows_of(stream.take(21)).reshape(3, 50)
    assert all(np.array_equal(np.sort(epoch), np.arange(50)) for epoch in epochs)
    assert len({epoch.tobytes() for epoch in epochs}) == 3


def test_dropping_the_remainder_gives_batches_of_static_size():
    arrays = numbered(50)
    dataset = arrays.dataset(8, drop_remainder=True)
    assert dataset.element_spec == tf.TensorSpec((8, 1), tf.float32)
    assert [len(x) for x in dataset] == [8] * 6 == [8] * arrays.steps_per_epoch(8, drop_remainder=True)
    with pytest.raises(ValueError, match="batch_size=51 gives no batch of the 50"):
        arrays.dataset(51, drop_remainder=True)


def test_levels_are_divided_exactly():
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    served = rows_of(Arrays(levels, divisor=255.0).dataset(100)).ravel()
    assert np.array_equal(served, np.arange(256, dtype=np.float32) / np.float32(255))


def test_threshold_is_one_half():
    levels = np.array([0, 127, 128, 255], np.uint8)[:, np.newaxis]
    served = rows_of(Arrays(levels, divisor=255.0, binarize="threshold").dataset(4))
    assert served.ravel().tolist() == [0.0, 0.0, 1.0, 1.0]


def test_dynamic_binarization_draws_anew_with_the_pixel_as_probability():
    probabilities = np.tile(np.array([0.0, 0.25, 0.5, 1.0], np.float32), (4000, 1))
    dataset = Arrays(probabilities, binarize="dynamic").dataset(500, seed=5)
    first, second = rows_of(dataset), rows_of(dataset)
    assert set(np.unique(first)) == {0.0, 1.0}
    assert np.abs(first.mean(axis=0) - probabilities[0]).max() < 0.04  # 5 standard deviations
    assert (first[:, 2] != second[:, 2]).mean() == pytest.approx(0.5, abs=0.04)
    # Neither rows of a batch nor batches share their noise.
    assert len({batch.tobytes() for batch in first.reshape(8, 500, 4)}) == 8
    assert abs(np.corrcoef(first[:-1, 2], first[1:, 2])[0, 1]) < 0.08


def test_binarizing_once_repeats_itself_and_carries_extras_and_subsets():
    arrays = Arrays(RNG.random((3000, 4), np.float32), np.arange(3000)).subset(np.arange(0, 3000, 2))
    once, again, other = (rows_of(arrays.binarized_once(seed).dataset(64)) for seed in (0, 0, 1))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)
    assert once.mean(axis=0) == pytest.approx(rows_of(arrays.dataset(64)).mean(axis=0), abs=0.07)
    labels = np.concatenate([y for _, y in arrays.binarized_once(0).dataset(64)])
    assert np.array_equal(labels, np.arange(0, 3000, 2))


def test_arrays_refuse_what_cannot_be_served():
    with pytest.raises(ValueError, match=r"\[3, 2\] rows"):
        Arrays(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(ValueError, match="0 to 2 cannot be binarized"):
        Arrays(np.array([[0.0], [2.0]]), binarize="dynamic")
    with pytest.raises(ValueError, match="'sometimes' is not known"):
        Arrays(np.zeros((3, 1)), binarize="sometimes")


def test_arrays_do_not_change_with_the_array_they_were_made_from():
    values = examples.empty((4, 1), np.float32, "values")
    values[:] = 1.0
    arrays, sharing = Arrays(values), Arrays(values, share=True)
    values[:] = 2.0
    assert rows_of(arrays.dataset(4)).ravel().tolist() == [1.0] * 4
    assert rows_of(sharing.dataset(4)).ravel().tolist() == [2.0] * 4


SUBPROCESS = """
import json, resource
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_vae.data import Arrays
from keras_vae.datasets.examples import empty

result = {}
arrays = Arrays(np.arange(50, dtype=np.float32)[:, np.newaxis])
dataset = arrays.dataset(8, seed=1, shuffle=True)
result["epochs"] = [[x for batch in dataset for x in batch.numpy().ravel().tolist()] for _ in range(2)]
noisy = Arrays(np.full((50, 1), 0.5, np.float32), binarize="dynamic").stream(8, seed=1, start_step=9).take(3)
result["stream"] = [x for batch in noisy for x in batch.numpy().ravel().tolist()]

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
batches = [strategy.experimental_local_results(b) for b in strategy.experimental_distribute_dataset(arrays.dataset(8))]
result["distributed"] = [[part.numpy().ravel().tolist() for part in batch] for batch in batches]

size = 2**28
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
values = empty((2**18, 2**10), np.uint8, "values")
values[:] = 1
big = Arrays(values, share=True, divisor=255.0)
iterators = [iter(big.dataset(128, shuffle=True)), iter(big.stream(128))]
for _ in range(5):
    for iterator in iterators:
        next(iterator)
result["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / size
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def other_process():
    done = subprocess.run([sys.executable, "-c", SUBPROCESS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_same_seed_gives_the_same_epochs_in_another_process(other_process):
    dataset = numbered(50).dataset(8, seed=1, shuffle=True)
    assert [rows_of(dataset).ravel().tolist() for _ in range(2)] == other_process["epochs"]
    noisy = Arrays(np.full((50, 1), 0.5, np.float32), binarize="dynamic").stream(8, seed=1).take(12)
    assert np.concatenate(list(noisy.skip(9))).ravel().tolist() == other_process["stream"]


def test_mirrored_replicas_share_every_batch(other_process):
    batches = other_process["distributed"]
    assert batches[0] == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    assert sorted(x for batch in batches for part in batch for x in part) == list(range(50))


def test_memory_holds_the_data_once_however_many_datasets_are_open(other_process):
    # No lower bound: the system may have taken back pages that were not looked at lately.
    assert other_process["memory"] < 1.5


# --- digits


def test_digits_are_those_of_scikit_learn_in_a_fixed_split():
    train, test = data.load("digits", batch_size=100, labels=True)
    assert train.element_spec[0] == tf.TensorSpec((None, 8, 8, 1), tf.float32)
    assert [int(dataset.cardinality()) for dataset in (train, test)] == [15, 4]
    served = [
        (x, y) for dataset in (train, test) for xs, ys in dataset for x, y in zip(xs.numpy(), ys.numpy(), strict=True)
    ]
    assert len(served) == 1797
    bundled = load_digits()
    levels = np.rint(bundled.images * 255 / 16).astype(np.float32) / np.float32(255)
    assert sorted((x.tobytes(), y) for x, y in served) == sorted(
        (x.tobytes(), y) for x, y in zip(levels, bundled.target, strict=True)
    )
    # Users compare results on the test split, so it must never change.
    chosen = levels[np.random.RandomState(0).permutation(1797)[:360]]
    assert sorted(x.tobytes() for x in rows_of(test.map(lambda x, y: x))) == sorted(x.tobytes() for x in chosen)


def test_digits_keep_to_their_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "theirs"))
    data.load("digits")
    assert not (tmp_path / "theirs").exists()
    assert sorted(path.name for path in (tmp_path / "ours/tfds").iterdir()) == ["digits"]
    monkeypatch.setattr(own, "_write", lambda builder: pytest.fail("prepared a second time"))
    data.load("digits")


def test_the_default_cache_follows_the_xdg_convention(monkeypatch):
    monkeypatch.delenv("KERAS_VAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert own.cache_folder() == Path("/somewhere/keras_vae/tfds")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert own.cache_folder() == Path("/home/someone/.cache/keras_vae/tfds")


def test_digits_work_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "file"))
    assert len(data.open_source("digits").train) == 1437


def test_two_processes_may_prepare_digits_at_once(tmp_path, monkeypatch):
    write = own._write

    def slow_write(builder):
        write(builder)
        monkeypatch.setattr(own, "_write", write)
        with digits.prepared(tmp_path):  # another process overtakes this one
            pass

    monkeypatch.setattr(own, "_write", slow_write)
    assert len(data.open_source("digits", data_dir=tmp_path).test) == 360
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_preparation_that_fails_leaves_nothing_half_done(tmp_path, monkeypatch):
    def broken_write(builder):
        Path(builder.data_path).mkdir(parents=True)
        (Path(builder.data_path) / "dataset_info.json").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(own, "_write", broken_write)
        data.load("digits", data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(data.open_source("digits", data_dir=tmp_path).test) == 360


def test_shapes_are_all_combinations_of_the_factors_and_stay_inside_the_image():
    name = "shapes/size=16,scales=2,orientations=4,positions=3"
    splits = data.open_source(name, labels=True)
    (train,) = splits.train.dataset(len(splits.train))
    (test,) = splits.test.dataset(len(splits.test))
    images, factors = (np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(train, test, strict=True))
    assert images.shape == (216, 16, 16, 1) and factors.shape == (216, 5)
    assert len({tuple(row) for row in factors}) == 216 and factors.max(axis=0).tolist() == [2, 1, 3, 2, 2]
    assert set(np.unique(images)) == {0.0, 1.0}
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert not border.any()
    grid = shapes.Grid.parse(name)
    np.testing.assert_array_equal(images[..., 0], shapes.render(factors, grid))
    # To the right and downwards with the position; larger with the scale.
    rows, columns = (np.tensordot(images[..., 0], np.indices((16, 16))[k], 2) for k in (0, 1))
    area = images.sum(axis=(1, 2, 3))
    for k, values in ((3, columns / area), (4, rows / area), (1, area)):
        means = [values[factors[:, k] == value].mean() for value in np.unique(factors[:, k])]
        assert np.all(np.diff(means) > 1.0)


def test_rendered_shapes_have_the_areas_of_the_formulas():
    grid = shapes.Grid(size=256, scales=1, orientations=8, positions=2)
    factors = np.array([[shape, 0, angle, 0, 1] for shape in range(3) for angle in range(8)])
    areas = shapes.render(factors, grid).sum(axis=(1, 2)).reshape(3, 8) / (0.2 * 256) ** 2
    heart = 3.6616  # of (x^2 + y^2 - 1)^3 = x^2 y^3, by numerical integration
    np.testing.assert_allclose(areas, np.broadcast_to([[2.0], [np.pi / 2], [heart / 1.3**2]], (3, 8)), rtol=0.02)


def test_grids_that_make_no_sense_are_refused():
    for name in ("shapes/colour=3", "shapes/size=4", "shapes/positions=0", "shapes/size=16,size=32", "shapes/x"):
        with pytest.raises(ValueError, match="size"):
            data.load(name)


# --- splits and options of load


def test_dynamic_binarization_leaves_the_test_images_fixed():
    train, validation, test = data.load("digits", binarize="dynamic", validation_split=0.1, seed=1)
    _, other_seed = data.load("digits", binarize="dynamic", seed=2)
    for dataset in (validation, test):
        assert set(np.unique(rows_of(dataset))) == {0.0, 1.0}
        assert np.array_equal(rows_of(dataset), rows_of(dataset))
    assert np.array_equal(rows_of(test), rows_of(other_seed))
    assert rows_of(train).sum() != rows_of(train).sum()


def test_held_out_examples_follow_from_the_seed_and_overlap_nowhere():
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    splits = [
        [
            set(np.rint(rows_of(d).ravel() * 255).astype(int))
            for d in data.load(images, 10, seed=seed, validation_split=0.25)
        ]
        for seed in (0, 0, 1)
    ]
    train, validation, test = splits[0]
    assert (len(train), len(validation), len(test)) == (68, 22, 10)
    assert train | validation | test == set(range(100))
    assert splits[0] == splits[1]
    assert splits[0][2] != splits[2][2]


def test_test_batches_keep_every_row_when_training_drops_some():
    images = RNG.integers(0, 256, (100, 4, 4, 1), np.uint8)
    train, test = data.load(images, 32, drop_remainder=True, test_split=0.35)
    assert [len(x) for x in train] == [32, 32]
    assert [len(x) for x in test] == [32, 3]


def test_own_splits_of_the_source_are_used():
    images = {f"x_{name}": np.full((20, 2, 2), k, np.uint8) for k, name in enumerate(("train", "val", "test"))}
    with_validation = [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10, validation_split=0.5)]
    assert with_validation == pytest.approx([0, 1, 2])
    assert [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10)] == pytest.approx([0, 2])
    del images["x_test"]
    assert [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10)] == pytest.approx([0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 91}, "90 training examples"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"binarize": "yes"}, "binarize='yes'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"validation_split": 1.0}, "validation_split=1.0"),
        ({"test_split": -0.1}, "test_split=-0.1"),
        ({"resize": 64}, "resize=64"),
        ({"resize": (0, 8)}, "height, width"),
        ({"on_bad_file": "ignore"}, "on_bad_file='ignore'"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(np.zeros((100, 2, 2), np.uint8), **options)


def test_splits_that_leave_nothing_are_refused():
    images = np.zeros((10, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="no test split: give test_split"):
        data.load(images, 1, test_split=0.0)
    with pytest.raises(ValueError, match="leaves no training examples of the 10"):
        data.load(images, 1, test_split=0.99)
    with pytest.raises(ValueError, match="no labels for train"):
        data.load(images, 1, labels=True)


# --- arrays and their files


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
    source = data.open_source(vectors)
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
        (np.zeros((4, 2, 2), np.int64), r"dtype int64.*astype\(\"uint8\"\)"),
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
        "bomb.npy": "8192.0 GB",
        "bomb.npz": "8192.0 GB",
    }
    for name, message in messages.items():
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            data.load(tmp_path / name, 1)


def test_resizing_keeps_images_on_their_levels():
    levels = RNG.integers(0, 256, (10, 8, 8, 1), np.uint8)
    on_grid = levels.astype(np.float32) / np.float32(255)
    for images in (levels, on_grid):
        _, test = data.load({"train": images, "test": images}, 5, resize=(5, 6))
        served = rows_of(test)
        assert served.shape == (10, 5, 6, 1)
        assert np.array_equal(served, np.rint(served * 255).astype(np.float32) / np.float32(255))
        assert served.mean() == pytest.approx(on_grid.mean(), abs=0.05)
    off_grid = RNG.random((10, 8, 8, 1)).astype(np.float32)
    _, test = data.load({"train": off_grid, "test": off_grid}, 5, resize=(5, 6))
    assert np.abs(rows_of(test) * 255 - np.rint(rows_of(test) * 255)).max() > 0.1
    with pytest.raises(ValueError, match="holds vectors"):
        data.load(np.zeros((10, 4)), 5, resize=(2, 2))


# --- folders of images


def test_class_folders_in_train_and_test(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for label, name in enumerate(("cat", "dog")):
            for k in range(count):
                picture(tmp_path / split / name / f"{k}.png", color=(10 * k, 100 * label, 0))
    splits = data.open_source(tmp_path, labels=True)
    assert splits.class_names == ("cat", "dog")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    x, y = next(iter(splits.test.dataset(6)))
    assert x.shape == (6, 8, 8, 3)
    assert y.numpy().tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(np.rint(x[:, 0, 0] * 255), [[10 * k, 100 * c, 0] for c in (0, 1) for k in range(3)])


def test_a_flat_folder_of_all_formats_is_held_out_from(tmp_path):
    for k, suffix in enumerate(("png", "jpg", "jpeg", "bmp", "gif", "webp", "PNG", "JPG")):
        picture(tmp_path / f"{k}.{suffix}", color=(20 * k, 20 * k, 20 * k))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image either")
    picture(tmp_path / ".cache" / "thumbnail.png")
    picture(tmp_path / "__MACOSX" / "0.png")
    splits = data.open_source(tmp_path, test_split=0.25)
    assert (len(splits.train), len(splits.test)) == (6, 2)
    values = np.concatenate([rows_of(split.dataset(2))[:, 0, 0, 0] for split in (splits.train, splits.test)])
    assert np.sort(values) * 255 == pytest.approx(np.arange(8) * 20, abs=2)
    with pytest.raises(ValueError, match=r"8 images .* are in none, the first .*0.png"):
        data.load(tmp_path, 1, labels=True)


def images_in(folder: Path, **options) -> np.ndarray:
    """The images of folder/train, in the order of their files."""
    if not (folder / "test").exists():
        shutil.copytree(folder / "train", folder / "test", symlinks=True)
    return rows_of(data.open_source(folder, **options).train.dataset(8))


def test_gray_files_stay_gray_unless_one_has_colour(tmp_path):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    picture(tmp_path / "train/a.png", mode="L")
    picture(tmp_path / "train/b.png", mode="1", color=1)
    picture(tmp_path / "train/c.gif", mode="L", color=200)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "train/d.png")
    Image.new("L", (8, 8), 77).convert("P").save(tmp_path / "train/e.png")
    images = images_in(tmp_path)
    assert images.shape == (5, 8, 8, 1)
    assert (images[1] == 1.0).all()
    assert np.rint(images[2] * 255) == pytest.approx(200)
    assert images[3].ravel() * 65535 == pytest.approx(ramp.ravel(), abs=129)  # half a level of 8 bits
    assert (np.rint(images[4] * 255) == 77).all()
    picture(tmp_path / "train/f.png", color=(255, 0, 0))
    coloured = images_in(tmp_path)
    assert coloured.shape == (6, 8, 8, 3)
    assert np.array_equal(coloured[:5], np.repeat(images, 3, axis=-1))
    assert np.array_equal(coloured[5, 0, 0], [1.0, 0.0, 0.0])


def test_transparent_pixels_show_white(tmp_path):
    picture(tmp_path / "train/a.png", mode="RGBA", color=(255, 0, 0, 0))
    picture(tmp_path / "train/b.png", mode="RGBA", color=(255, 0, 0, 255))
    picture(tmp_path / "train/c.png", mode="LA", color=(0, 127))
    picture(tmp_path / "train/d.png", mode="P", color=0, transparency=0)
    picture(tmp_path / "train/e.webp", mode="RGBA", color=(0, 0, 255, 0), lossless=True)
    pixels = np.rint(images_in(tmp_path)[:, 0, 0] * 255).astype(int)
    assert pixels.tolist() == [[255] * 3, [255, 0, 0], [128] * 3, [255] * 3, [255] * 3]


def test_photographs_are_turned_upright(tmp_path):
    upright = np.zeros((6, 4, 3), np.uint8)
    upright[:3] = 255  # white above, black below
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the viewer must rotate by 90 degrees clockwise
    lying = Image.fromarray(np.rot90(upright))
    picture(tmp_path / "train/c.png", size=(6, 4), color=(9, 9, 9))
    lying.save(make(tmp_path / "train/a.jpg"), exif=exif, quality=100)
    lying.save(make(tmp_path / "train/b.png"), exif=exif)
    images = images_in(tmp_path)  # and all sizes are equal, so there is no warning
    for image in images[:2]:
        assert image == pytest.approx(upright / 255, abs=0.05)


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_files_of_different_sizes_get_the_most_frequent_one(tmp_path):
    picture(tmp_path / "train/a.png", size=(5, 9), color=(100, 50, 0))
    for k in range(3):
        picture(tmp_path / f"train/b{k}.png", size=(6, 4), color=(100, 50, 0))
    with pytest.warns(UserWarning, match=r"8 images .* 2 different sizes. All are resized to 6x4 \(height x width\)"):
        images = images_in(tmp_path)
    assert images.shape == (4, 6, 4, 3)
    assert (np.rint(images * 255) == [100, 50, 0]).all()
    assert images_in(tmp_path, resize=(3, 2)).shape == (4, 3, 2, 3)  # and no warning: it was asked for


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(FileNotFoundError, match=r"No image files in the folder .*png"):
        data.load(tmp_path)
    with pytest.raises(ValueError, match=r"notes.txt' is neither"):
        data.load(tmp_path / "notes.txt")


def test_folders_beside_train_are_not_left_out_silently(tmp_path):
    for name in ("train", "extra"):
        for k in range(3):
            picture(tmp_path / name / f"{k}.png")
    with pytest.warns(UserWarning, match=r"ignored: \['extra'\]"):
        assert len(data.open_source(tmp_path).train) == 2


def write_unreadable(folder: Path) -> list[str]:
    """Files that are no images whatever their names say; returns the names."""
    whole = picture(folder / "whole.jpg", size=(64, 64)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("<html>404 not found</html>")
    # An Encapsulated PostScript file would make Pillow start another program.
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    Image.new("1", (50_000, 1)).save(folder / "wide.png")
    Image.new("1", (12_000, 9_000)).save(folder / "bomb.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):  # its path has a maximal length
        server.bind("socket.png")
    return [
        "truncated.jpg",
        "empty.png",
        "text.png",
        "script.png",
        "wide.png",
        "bomb.png",
        "loop.png",
        "broken.png",
        "pipe.png",
        "device.png",
        "socket.png",
    ]


def test_unreadable_files_are_named(tmp_path):
    for name in write_unreadable(tmp_path / "all"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (tmp_path / "all" / name).rename(folder / name)
        picture(folder / "zzz.png", size=(64, 64))
        with pytest.raises(ValueError, match=f"Cannot read the image file .*{name}.*on_bad_file"):
            data.load(folder, 1)


def test_unreadable_files_can_be_skipped_and_are_counted(tmp_path):
    bad = write_unreadable(tmp_path / "train/a")
    for k in range(4):
        picture(tmp_path / f"train/b/{k}.png", size=(64, 64), color=(k, k, k))
    picture(tmp_path / "test/b/0.png", size=(64, 64))
    with pytest.warns(UserWarning, match=f"Left out {len(bad)} unreadable of {len(bad) + 6} image files"):
        splits = data.open_source(tmp_path, on_bad_file="skip", labels=True)
    images, labels = next(iter(splits.train.dataset(9)))
    assert labels.numpy().tolist() == [0, 1, 1, 1, 1]
    assert np.rint(images[1:, 0, 0, 0] * 255).tolist() == [0, 1, 2, 3]
    for path in (
        tmp_path / "test/b/0.png",
        *(tmp_path / f"train/b/{k}.png" for k in range(4)),
        tmp_path / "train/a/whole.jpg",
    ):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"None of the .* can be read"):
        data.open_source(tmp_path, on_bad_file="skip")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_and_a_file_without_permission_are_named_or_skipped(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/2.png", "c/3.png"):
        picture(tmp_path / name)
    closed = (tmp_path / "b", tmp_path / "c/3.png")
    for path in closed:
        path.chmod(0)
    try:
        with pytest.raises(ValueError, match=r"Cannot read the folder .*Permission denied"):
            data.open_source(tmp_path)
        with pytest.warns(UserWarning, match="Left out 2 unreadable of 4"):
            splits = data.open_source(tmp_path, on_bad_file="skip")
        assert len(splits.train) + len(splits.test) == 2
    finally:
        for path in closed:
            path.chmod(0o700)


def test_folders_that_contain_themselves_are_walked_once(tmp_path):
    for k in range(4):
        picture(tmp_path / f"cat/{k}.png")
    (tmp_path / "cat/again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dog").symlink_to(tmp_path / "cat", target_is_directory=True)
    splits = data.open_source(tmp_path)
    assert len(splits.train) + len(splits.test) == 4


def test_file_names_that_are_no_text_are_no_obstacle(tmp_path):
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n.png"))
    for path in (strange, tmp_path / "a.png"):
        picture(tmp_path / "b.png").rename(path)
    splits = data.open_source(tmp_path, test_split=0.5)
    assert len(splits.train) + len(splits.test) == 2
    strange.write_bytes(b"")
    with pytest.raises(ValueError, match="Cannot read") as caught:
        data.open_source(tmp_path)
    assert r"\udcff\udcfe\n.png" in str(caught.value).encode().decode()


def test_images_that_would_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    for k in range(3):
        picture(tmp_path / f"{k}.png", size=(64, 64))
    monkeypatch.setattr(examples, "_available_memory", lambda: 3 * 64 * 64 * 3 - 1)
    with pytest.raises(ValueError, match=r"The 3 images .* memory are free.*resize"):
        data.open_source(tmp_path)
    assert data.open_source(tmp_path, resize=(32, 32)).train.event_shape == (32, 32, 3)


# --- names and TensorFlow Datasets


class TinyPicturesForTests(tfds.core.GeneratorBasedBuilder):
    """Ten images of different sizes, labelled, in train and validation."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "picture": tfds.features.Image(shape=(None, None, 3)),
                    "kind": tfds.features.ClassLabel(names=["plain", "fancy"]),
                    "words": tfds.features.Sequence(tfds.features.Text()),
                }
            ),
            supervised_keys=("picture", "kind"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(10)), "validation": self._generate_examples(range(10, 14))}

    def _generate_examples(self, numbers):
        for k in numbers:
            yield k, {"picture": np.full((8 + k, 9, 3), k, np.uint8), "kind": k % 2, "words": ["a"] * k}


class NumbersForTests(tfds.core.GeneratorBasedBuilder):
    """A dataset without images."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"number": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"number": 0}


class SpritesForTests(tfds.core.GeneratorBasedBuilder):
    """The features of TFDS's dsprites, whose images hold zeros and ones."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        names = ("label_x_position", "label_shape", "label_hue", "label_scale")
        labels = {name: tfds.features.ClassLabel(num_classes=9) for name in names}
        image = tfds.features.Image(shape=(4, 4, 1))
        features = {"image": image, **labels, "value_scale": np.float32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(8):
            labels = {"label_shape": i, "label_scale": 1, "label_x_position": 2, "label_hue": 3, "value_scale": 0.5}
            yield i, {"image": np.eye(4, dtype=np.uint8)[..., np.newaxis], **labels}


def test_several_labels_make_a_vector_of_factors(tmp_path, monkeypatch):
    tfds.disable_progress_bar()
    SpritesForTests(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setattr(named, "ZERO_ONE", ("sprites_for_tests",))
    splits = data.open_source("sprites_for_tests", data_dir=tmp_path, labels=True, test_split=0.5)
    ((x, y),) = splits.train.dataset(4)
    np.testing.assert_array_equal(x[0, ..., 0], np.eye(4))
    assert len(set(y[:, 0].numpy())) == 4 and y[:, 1:].numpy().tolist() == [[1, 2, 3]] * 4
    assert splits.class_names is None


@pytest.fixture
def tfds_folder(tmp_path):
    tfds.disable_progress_bar()
    for builder in (TinyPicturesForTests, NumbersForTests):
        builder(data_dir=tmp_path).download_and_prepare()
    return tmp_path


def test_a_dataset_of_tensorflow_datasets_by_name(tfds_folder, monkeypatch):
    with pytest.raises(ValueError, match=r"different sizes.*resize=\(64, 64\)"):
        data.open_source("tiny_pictures_for_tests", data_dir=tfds_folder)
    with pytest.raises(ValueError, match=r"no images: its features are \['number'\]"):
        data.open_source("numbers_for_tests", data_dir=tfds_folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))
    splits = data.open_source("tiny_pictures_for_tests", labels=True, resize=(6, 5))
    assert splits.class_names == ("plain", "fancy")
    assert (len(splits.train), len(splits.test)) == (10, 4)  # validation takes the place of test
    for split in (splits.train, splits.test):
        x, y = next(iter(split.dataset(10)))
        assert x.shape[1:] == (6, 5, 3)
        assert np.array_equal(np.rint(x[:, 0, 0, 0] * 255) % 2, y)


def test_mnist():
    if not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("needs MNIST in the folder that TFDS_DATA_DIR names")
    train, validation, test = data.load("mnist", 1000, labels=True, validation_split=0.1)
    assert [int(d.cardinality()) for d in (train, validation, test)] == [54, 6, 10]
    x, y = next(iter(test))
    assert x.shape == (1000, 28, 28, 1)
    assert (float(tf.reduce_min(x)), float(tf.reduce_max(x))) == (0.0, 1.0)
    assert np.bincount(y, minlength=10).min() > 80


def test_a_dataset_that_cannot_be_downloaded(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(FileNotFoundError, match=r"'cifar10' is not prepared in .*cannot be downloaded.*TFDS_DATA_DIR"):
        data.load("cifar10", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'cifar10' is not prepared in .*download=False"):
        data.load("cifar10", data_dir=tmp_path, download=False)


def test_an_unknown_name_gets_near_matches_and_what_is_accepted():
    with pytest.raises(ValueError, match=r"'mnits'.* Did you mean 'mnist'.*'digits'.*folder of images.*arrays"):
        data.load("mnits")
    with pytest.raises(ValueError, match=r"'digit'.* Did you mean 'digits'"):
        data.load("digit")
    with pytest.raises(ValueError, match=r"9\.9\.9"):
        data.load("mnist:9.9.9")
    with pytest.raises(ValueError, match="not int"):
        data.load(3)


@pytest.mark.parametrize("path", ["./nowhere", "nowhere.npz", "~/nowhere_at_all", Path("nowhere")])
def test_a_missing_path_is_named(path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.load(path)


def test_a_dataset_comes_before_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "my_pictures"):
        for k in range(3):
            picture(tmp_path / name / f"{k}.png")
    with pytest.warns(UserWarning, match=r"'digits' is a dataset and a folder here.*'./digits'"):
        assert data.open_source("digits").train.event_shape == (8, 8, 1)
    for path in ("./digits", Path("digits"), "my_pictures"):
        assert data.open_source(path).train.event_shape == (8, 8, 3)
