"""Data: the splits and the options of `data.load`."""

import numpy as np
import pytest
from sources import rows_of

from keras_vae import data

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("own_cache")


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
    assert (len(train), len(validation), len(test)) == (67, 23, 10)
    assert train | validation | test == set(range(100))
    assert splits[0] == splits[1]
    assert splits[0][2] != splits[2][2]


def test_test_batches_keep_every_row_when_training_drops_some():
    images = RNG.integers(0, 256, (100, 4, 4, 1), np.uint8)
    train, test = data.load(images, 32, drop_remainder=True, test_split=0.35)
    assert [len(x) for x in train] == [32, 32]
    assert [len(x) for x in test] == [32, 3]


def test_own_splits_of_the_source_are_used():
    images = {f"x_{name}": np.full((20, 2, 2), 100 * k, np.uint8) for k, name in enumerate(("train", "val", "test"))}
    with_validation = [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10, validation_split=0.5)]
    assert with_validation == pytest.approx([0, 100, 200])
    assert [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10)] == pytest.approx([0, 200])
    del images["x_test"]
    assert [rows_of(d)[0, 0, 0, 0] * 255 for d in data.load(images, 10)] == pytest.approx([0, 100])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 91}, "90 training examples"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"binarize": "yes"}, "binarize must be one of None, 'threshold', 'dynamic', not 'yes'"),
        ({"seed": -1}, "seed must be an int >= 0, not -1"),
        ({"seed": 1.5}, "seed must be an int >= 0, not 1.5"),
        ({"validation_split": 1.0}, "validation_split must be a number at least 0 and below 1, not 1.0"),
        ({"test_split": -0.1}, "test_split must be a number at least 0 and below 1, not -0.1"),
        ({"resize": 64}, "resize must be .height, width., each from 1 to 16384, not 64"),
        ({"resize": (0, 8)}, "height, width"),
        ({"on_bad_file": "ignore"}, "on_bad_file must be one of 'error', 'skip', not 'ignore'"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(np.zeros((100, 2, 2), np.uint8), **options)


def test_splits_that_leave_nothing_are_refused():
    images = np.zeros((10, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="no test split: give test_split"):
        data.read_splits(images, test_split=0.0)
    with pytest.raises(ValueError, match="leaves no training examples of the 10"):
        data.load(images, 1, test_split=0.99)
    with pytest.raises(ValueError, match="no labels for train"):
        data.load(images, 1, labels=True)
