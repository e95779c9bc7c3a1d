"""Data: the order and the noise of batches, and the memory they take."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from sources import numbered, rows_of

from keras_vae.data import Arrays
from keras_vae.data.storage import keeping

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("own_cache")


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


def test_half_of_the_mirrored_images_are_turned_with_their_conditions():
    images = RNG.integers(0, 256, (400, 2, 4, 3), np.uint8)
    small, labels = images.reshape(400, 2, 2, 2, 3).mean(axis=3), np.arange(400)
    arrays = Arrays(images, small, labels, divisor=255.0).mirrored().subset(np.arange(1, 400))
    dataset = arrays.dataset(50)
    shares = []
    for _ in range(2):
        x, c, y = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
        assert np.array_equal(y, labels[1:])
        turned = ~(x == images[1:] / np.float32(255)).all(axis=(1, 2, 3))
        there = np.where(turned[:, None, None, None], images[1:, :, ::-1], images[1:]) / np.float32(255)
        assert np.array_equal(x, there) and 0.4 < turned.mean() < 0.6
        np.testing.assert_allclose(c, x.reshape(399, 2, 2, 2, 3).mean(axis=3) * 255, rtol=1e-5)
        shares.append(turned)
    assert not np.array_equal(*shares)
    whole, resumed = (list(arrays.stream(50, start_step=step).take(3)) for step in (0, 1))
    assert all(np.array_equal(x, y) for x, y in zip(whole[1], resumed[0], strict=True))
    with pytest.raises(ValueError, match="mirror is for images"):
        numbered(50).mirrored()


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
    with pytest.raises(ValueError, match="not 'sometimes'"):
        Arrays(np.zeros((3, 1)), binarize="sometimes")


def test_arrays_do_not_change_with_the_array_they_were_made_from():
    values = keeping.empty((4, 1), np.float32, "values")
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
from keras_vae.data.storage.keeping import empty

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


@pytest.mark.slow
def test_the_same_seed_gives_the_same_epochs_in_another_process(other_process):
    dataset = numbered(50).dataset(8, seed=1, shuffle=True)
    assert [rows_of(dataset).ravel().tolist() for _ in range(2)] == other_process["epochs"]
    noisy = Arrays(np.full((50, 1), 0.5, np.float32), binarize="dynamic").stream(8, seed=1).take(12)
    assert np.concatenate(list(noisy.skip(9))).ravel().tolist() == other_process["stream"]


@pytest.mark.slow
def test_mirrored_replicas_share_every_batch(other_process):
    batches = other_process["distributed"]
    assert batches[0] == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    assert sorted(x for batch in batches for part in batch for x in part) == list(range(50))


@pytest.mark.slow
def test_memory_holds_the_data_once_however_many_datasets_are_open(other_process):
    # No lower bound: the system may have taken back pages that were not looked at lately.
    assert other_process["memory"] < 1.5
