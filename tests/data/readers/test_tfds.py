"""Data: names, and the datasets of TensorFlow Datasets."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sources import picture

from keras_vae import data
from keras_vae.data.readers import tfds as named

pytestmark = pytest.mark.usefixtures("own_cache")


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


class DeepForTests(tfds.core.GeneratorBasedBuilder):
    """Images of 12 bits in 16."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16, encoding_format="png")
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": image}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4095), "test": self._generate_examples(1000)}

    def _generate_examples(self, level):
        for i in range(4):
            yield i, {"image": np.full((4, 4, 1), level, np.uint16)}


def test_a_dataset_of_more_than_8_bits(tmp_path):
    tfds.disable_progress_bar()
    DeepForTests(data_dir=tmp_path).download_and_prepare()
    for options in ({}, {"resize": (2, 3), "fit": "stretch"}):
        with pytest.warns(UserWarning, match="images of 'deep_for_tests': 4095 is taken for white"):
            splits = data.read_splits("deep_for_tests", data_dir=tmp_path, **options)
        assert np.all(next(iter(splits.train.dataset(4))) == 1.0)
        assert np.all(next(iter(splits.test.dataset(4))) == np.float32(1000) / np.float32(4095))
    with pytest.raises(ValueError, match=r"1000 to 4095 .* do not lie within"):
        data.read_splits("deep_for_tests", data_dir=tmp_path, value_range=(0, 255))


@pytest.mark.parametrize("is_known", [True, False])
def test_several_labels_make_a_vector_of_factors(is_known, tmp_path, monkeypatch):
    tfds.disable_progress_bar()
    SpritesForTests(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setattr(named, "ZERO_ONE", ("sprites_for_tests",) if is_known else ())
    splits = data.read_splits("sprites_for_tests", data_dir=tmp_path, labels=True, test_split=0.5)
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
        data.read_splits("tiny_pictures_for_tests", data_dir=tfds_folder)
    with pytest.raises(ValueError, match=r"no images: its features are \['number'\]"):
        data.read_splits("numbers_for_tests", data_dir=tfds_folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))
    with pytest.warns(
        UserWarning, match="14 of the 14 images in 'tiny_pictures_for_tests' have another shape than 6x5"
    ):
        splits = data.read_splits("tiny_pictures_for_tests", labels=True, resize=(6, 5))
    assert splits.class_names == ("plain", "fancy")
    assert (len(splits.train), len(splits.test)) == (10, 4)  # validation takes the place of test
    for split in (splits.train, splits.test):
        x, y = next(iter(split.dataset(10)))
        assert x.shape[1:] == (6, 5, 3)
        assert np.array_equal(np.rint(x[:, 0, 0, 0] * 255) % 2, y)


def test_gray_drawings_that_are_kept_as_rgb_have_one_channel_if_that_is_asked_for(tfds_folder):
    """As those of omniglot are."""
    options = {"data_dir": tfds_folder, "resize": (8, 8), "fit": "stretch", "test_split": 0.0}
    gray, colour = (data.load("tiny_pictures_for_tests", gray=gray, **options) for gray in (True, False))
    (one,), (three,) = gray, colour
    assert one.shape == (14, 8, 8, 1) and np.array_equal(one, three[..., :1])


@pytest.mark.parametrize("form", ["tfrecord", "array_record", "parquet"])
def test_a_folder_that_tensorflow_datasets_has_written_whatever_its_format(form, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "cache"))
    builder = TinyPicturesForTests(data_dir=tmp_path / "tfds", file_format=form)
    builder.download_and_prepare()
    options = {"resize": (8, 8), "fit": "stretch", "labels": True}
    splits = data.read_splits(str(builder.data_path), **options)
    assert splits.class_names == ("plain", "fancy") and (len(splits.train), len(splits.test)) == (10, 4)
    x, y = next(iter(splits.train.dataset(10)))
    numbers = np.rint(x[:, 0, 0, 0] * 255).astype(int)
    assert sorted(numbers) == list(range(10)) and np.array_equal(numbers % 2, y)
    # Interrupted after six, it goes on with the seventh.
    check, seen = named.checked_images, []

    def interrupted(pixels, what, missing=False):
        if len(seen) == 6:
            raise KeyboardInterrupt
        seen.append(int(pixels[0, 0, 0, 0]))
        return check(pixels, what, missing)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(named, "checked_images", interrupted)
        data.read_splits(str(builder.data_path), memory="disk", **options)
    monkeypatch.setattr(named, "checked_images", lambda pixels, *rest: seen.append(int(pixels[0, 0, 0, 0])) or pixels)
    for _ in range(2):
        again = data.read_splits(str(builder.data_path), memory="disk", **options)
        assert seen[:10] == numbers.tolist() and len(seen) == 10 + 4
        for one, other in zip(splits.train.dataset(10), again.train.dataset(10), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert again.fingerprint == splits.fingerprint and again.train.on_disk


def test_a_folder_whose_dataset_cannot_be_opened_is_named(tmp_path):
    (tmp_path / named.PREPARED).write_text("{")
    with pytest.raises(ValueError, match="cannot be opened"):
        data.read_splits(tmp_path)


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
        assert data.read_splits("digits").train.event_shape == (8, 8, 1)
    for path in ("./digits", Path("digits"), "my_pictures"):
        assert data.read_splits(path).train.event_shape == (8, 8, 3)
