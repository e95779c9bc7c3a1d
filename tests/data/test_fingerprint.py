"""Data: whether they are the same as before, and what has changed."""

import json
import shutil

import numpy as np
import pytest
from sources import picture

from keras_vae import data
from keras_vae.data import fingerprint
from keras_vae.data.fingerprint import differences

pytestmark = pytest.mark.usefixtures("own_cache")
RNG = np.random.default_rng(0)


def of(source, **options) -> dict:
    """As a file gives it back."""
    return json.loads(json.dumps(data.read_splits(source, **options).fingerprint))


@pytest.fixture
def folder(tmp_path):
    for k in range(8):
        picture(tmp_path / f"all/{'ab'[k % 2]}/{k}.png")
    return tmp_path / "all"


def test_the_same_files_elsewhere_and_with_other_settings_are_the_same(folder, tmp_path):
    before = of(folder, labels=True)
    shutil.copytree(folder, tmp_path / "elsewhere/all")
    assert differences(before, of(tmp_path / "elsewhere/all", labels=True)) == []
    assert differences(before, of(tmp_path / "elsewhere", labels=True, seed=5, validation_split=0.3)) == []
    assert "all" not in json.dumps(before)


def test_files_that_are_new_gone_or_changed_are_named(folder):
    before = of(folder, labels=True)
    for k in range(10, 50):
        picture(folder / f"a/{k}.png")
    (folder / "b/1.png").unlink()
    picture(folder / "b/3.png")
    after = of(folder, labels=True)
    assert differences(before, after) == [
        "40 files more: a/10.png, a/11.png, a/12.png, ...",
        "1 file fewer: b/1.png",
        "1 file changed: b/3.png",
        "8 examples before, 47 now",
    ]
    (folder / "b").rename(folder / "c")
    found = differences(after, of(folder, labels=True))
    assert found[:2] == ["the class 'b' is gone", "the class 'c' is new"] and "3 files more: c/3.png" in found[2]


def test_other_splits_shapes_and_levels_are_told(tmp_path):
    images = RNG.integers(0, 256, (20, 4, 4), np.uint8)
    before = of({"x_train": images, "x_test": images})
    assert differences(before, of({"x_train": images, "x_test": images[:15]})) == [
        "test: 5 rows fewer: 15, 16, 17, ...",
        "test: 20 examples before, 15 now",
    ]
    assert differences(before, of({"x_train": images, "x_test": images, "x_val": images})) == [
        "the validation split is new"
    ]
    assert differences(before, of(images)) == ["the test split is gone"]
    assert differences(before, of({"x_train": images, "x_test": images}, value_range=(0, 300))) != []
    changed = images.copy()
    changed[3, 0, 0] ^= 1
    assert differences(of(images), of(changed)) == ["1 row changed: 3"]
    assert "the shape of an example was 4x4x1, and is 4x4x3" in differences(of(images), of(np.stack([images] * 3, -1)))
    labels = np.arange(20)
    first, second = of((images, labels), labels=True), of((images, labels[::-1]), labels=True)
    assert differences(first, second) == ["the labels are others"]


def test_a_dataset_by_name_is_known_by_its_version_and_sizes():
    found = of("digits")
    assert found["name"] == "digits/1.0.0" and found["splits"] == {"train": {"count": 1437}, "test": {"count": 360}}
    other = of("shapes/size=8,scales=1,orientations=1,positions=2")
    assert differences(found, other)[0].startswith("the dataset was digits/1.0.0, and is shapes/")


def test_of_many_examples_only_a_digest_is_kept(folder, monkeypatch):
    monkeypatch.setattr(fingerprint, "MOST_LISTED", 5)
    before = of(folder)
    assert len(json.dumps(before)) < 400
    picture(folder / "b/3.png")
    assert differences(before, of(folder)) == ["the examples are others, or in another order"]
    picture(folder / "b/9.png")
    assert differences(before, of(folder)) == ["8 examples before, 9 now"]
