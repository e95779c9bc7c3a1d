"""Names of classes, from the data to the datasets that are made of them."""

import keras
import numpy as np
import pytest
from sources import picture, rows_of

from keras_vae import data
from keras_vae.data.class_names import names_of

IMAGES = np.arange(100, 130, dtype=np.uint8).reshape(30, 1, 1, 1)
LABELS = np.arange(30) % 3
NAMES = ("cats", "dogs", "größte Fische")


def labels_by_pixel(dataset):
    pairs = [pair for images, labels in dataset for pair in zip(images, labels, strict=True)]
    return {int(np.rint(x[0, 0, 0] * 255)): int(y) for x, y in pairs}


def folder_of(root, names):
    for label, name in enumerate(names):
        for k in range(8):
            picture(root / name / f"{k}.png", size=(2, 2), mode="L", color=10 * label + k)
    return root


def test_names_of_class_folders_are_those_of_the_labels(tmp_path):
    train, test = data.load(folder_of(tmp_path, NAMES), 5, labels=True)
    assert train.class_names == test.class_names == NAMES
    assert all(pixel // 10 == label for pixel, label in labels_by_pixel(train).items())
    assert data.load(tmp_path, 5)[0].class_names is None
    theirs = keras.utils.image_dataset_from_directory(tmp_path, image_size=(2, 2), verbose=False)
    assert names_of(theirs) == NAMES and names_of(train.take(1)) is None and names_of(IMAGES) is None


def test_data_are_numbered_in_the_order_that_is_wanted(tmp_path):
    wanted = ("dogs", "birds", NAMES[2], "cats")
    train, _ = data.load(folder_of(tmp_path, NAMES), 5, labels=True, class_names=wanted)
    assert train.class_names == wanted
    assert all(wanted[label] == NAMES[pixel // 10] for pixel, label in labels_by_pixel(train).items())
    with pytest.raises(ValueError, match=r"has the classes 'dogs', which are none of those wanted: 'cats', 'birds'"):
        data.load(tmp_path, 5, labels=True, class_names=("cats", "birds", NAMES[2]))


def test_names_of_arrays(tmp_path):
    arrays = {"images": IMAGES, "labels": LABELS}
    np.savez(tmp_path / "a.npz", **arrays, class_names=np.array(NAMES))
    np.savez(tmp_path / "b.npz", **arrays, names=np.array([f"{k}.png" for k in range(30)] * 2))  # of something else
    assert data.load(tmp_path / "a.npz", 5, labels=True)[0].class_names == NAMES
    assert data.load(tmp_path / "b.npz", 5, labels=True)[0].class_names is None
    assert data.load(tmp_path / "a.npz", 5)[0].class_names is None
    assert data.load({**arrays, "names": list(NAMES)}, 5, labels=True)[0].class_names == NAMES
    assert data.load(arrays, 5, labels=True, class_names=NAMES)[0].class_names == NAMES
    texts = np.array(NAMES)[::-1][LABELS]
    for given in (texts, texts.astype(object), texts[:, None]):
        train, _ = data.load((IMAGES, given), 5, labels=True)
        assert train.class_names == NAMES and all((k - 100) % 3 == 2 - y for k, y in labels_by_pixel(train).items())


def test_names_that_cannot_be_are_refused(tmp_path):
    arrays = {"images": IMAGES, "labels": LABELS}
    for source, options, message in (
        (arrays, {"class_names": ["a", "b"]}, "there are 2, and the labels of the given data are 0 to 2"),
        (arrays, {"class_names": ["a", "b", "a"]}, "the classes 0 and 2 are both called 'a'"),
        (arrays, {"class_names": ["é", "b", "e\u0301"]}, "both called"),
        (arrays, {"class_names": ["a", "b", "c\nd"]}, "'c.nd' cannot be the name of class 2"),
        (arrays, {"class_names": ["a", "b", "c" * 256]}, "1 to 255 characters"),
        (arrays, {"class_names": ["a", "b", 3]}, "must be a list of texts"),
        (arrays, {"class_names": "abc"}, "must be a list of texts"),
        (arrays, {"class_names": NAMES, "labels": False}, "give labels=True"),
        ({**arrays, "labels": LABELS / 2}, {"class_names": NAMES}, "other numbers"),
        ({**arrays, "class_names": NAMES[:2]}, {}, "has 2 names, and the largest label is 2"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": ["a"] * 30}, {}, "and others names"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load(source, 5, **{"labels": True, **options})
    # Pickles are not read, as names neither.
    np.savez(tmp_path / "c.npz", **arrays, class_names=np.array(NAMES, object))
    with pytest.raises(ValueError, match="nothing is unpickled"):
        data.load(tmp_path / "c.npz", 5, labels=True)


def test_folders_with_numbers_for_names_are_told_apart_from_labels(tmp_path):
    with pytest.warns(UserWarning, match="the label of '10' is 2. Ask for a class by name"):
        splits = data.read_splits(folder_of(tmp_path, [str(k) for k in range(11)]), labels=True)
    assert splits.class_names[:3] == ("0", "1", "10") and splits.train.class_names == splits.class_names


def test_folders_of_any_name(tmp_path):
    odd = ["_back$ground$", "a\tb", "cafe\u0301", "猫", "x" * 200]
    splits = data.read_splits(folder_of(tmp_path, odd), labels=True, condition=None)
    assert splits.class_names == ("_back$ground$", r"a\tb", "café", "x" * 200, "猫")
    described = data.read_splits(tmp_path, condition="label").condition
    assert described == {"name": "Label", "num_classes": 5, "names": list(splits.class_names)}


@pytest.mark.usefixtures("own_cache")
def test_names_that_are_numbers_stay_names():
    train, _ = data.load("digits", labels=True)
    assert train.class_names == tuple("0123456789")
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    named, _ = data.load("digits", labels=True, class_names=words)
    assert named.class_names == words
    assert rows_of(named).shape == rows_of(train).shape
    with pytest.raises(ValueError, match="class_names are of classes"):
        data.load("shapes/size=8,scales=1,orientations=1,positions=2", labels=True, class_names=words)
