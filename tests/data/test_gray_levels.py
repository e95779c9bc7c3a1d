"""Data: which numbers are black and white, in arrays of every type."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sources import rows_of

from keras_vae import data, likelihoods

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("own_cache")


def served(source, **options) -> np.ndarray:
    """The training images, in their order."""
    return rows_of(data.read_splits(source, **options).train.dataset(100))


def whole(high: int, dtype=np.uint8) -> np.ndarray:
    """Images of whole numbers from 0 to `high`, both of which occur."""
    images = RNG.integers(0, high + 1, (40, 6, 6)).astype(dtype)
    images[0, 0, :2] = 0, high
    return images


@pytest.mark.parametrize(
    ("high", "white", "dtype"),
    [
        (1, 1, np.uint8),
        (1, 1, np.int64),
        (255, 255, np.uint8),
        (200, 255, np.int64),
        (100, 255, np.uint8),
        (255, 255, np.uint16),
        (40_000, 65_535, np.uint16),
        (65_535, 65_535, np.int32),
    ],
)
def test_the_usual_ranges_are_scaled_without_a_word(high, white, dtype):
    images = whole(high, dtype)
    expected = images[..., None].astype(np.float32) / np.float32(white)
    np.testing.assert_array_equal(served({"train": images, "test": images}), expected)


@pytest.mark.parametrize(
    ("high", "white", "dtype"),
    [
        (2, 2, np.uint8),
        (10, 10, np.int8),
        (15, 15, np.uint8),
        (16, 16, np.uint8),
        (16, 16, np.int64),
        (31, 31, np.uint8),
        (63, 63, np.uint8),
        (127, 127, np.int8),
        (60, 255, np.uint8),
        (1000, 1023, np.uint16),
        (4000, 4095, np.uint16),
        (4095, 4095, np.int32),
        (9000, 16_383, np.uint16),
    ],
)
def test_other_ranges_are_scaled_by_their_depth_and_it_is_said(high, white, dtype):
    images = whole(high, dtype)
    with pytest.warns(UserWarning, match=f"numbers from 0 to {high} in the given arrays: {white} is taken for white"):
        found = served({"train": images, "test": images})
    np.testing.assert_array_equal(found, images[..., None].astype(np.float32) / np.float32(white))
    # The user's word counts, and needs no comment.
    np.testing.assert_array_equal(served({"train": images, "test": images}, value_range=(0, white)), found)
    if white < 256:
        likelihoods.DiscretizedLogistic(found.shape[1:], levels=white + 1).check_values(found)


def test_scikit_learns_digits_are_as_bright_as_ours():
    images = load_digits().images
    ours = served("digits")
    with pytest.warns(UserWarning, match="0 to 16 .* 16 is taken for white"):
        bytes_ = served({"train": images.astype(np.uint8), "test": images.astype(np.uint8)})
    floats = served({"train": images, "test": images}, value_range=(0, 16))
    np.testing.assert_array_equal(bytes_, floats)
    assert bytes_.max() == 1.0 and bytes_.mean() == pytest.approx(ours.mean(), abs=0.003)
    with pytest.raises(ValueError, match=r"values from 0 to 16 in the given arrays: .*value_range=\(0, 16\)"):
        served(images)


def test_the_range_is_that_of_all_splits_together(tmp_path):
    dark, bright = whole(1), whole(255)
    for source in ({"x_train": dark, "x_val": dark, "x_test": bright}, tmp_path / "all.npz"):
        if source == tmp_path / "all.npz":
            np.savez(source, x_train=dark, x_test=bright)
        np.testing.assert_array_equal(served(source), dark[..., None] / np.float32(255))
    np.save(tmp_path / "masks.npy", dark)
    assert served(tmp_path / "masks.npy").mean() == pytest.approx(dark.mean(), abs=0.05)


@pytest.mark.parametrize(
    ("images", "value_range"),
    [
        (RNG.uniform(-1, 1, (20, 4, 4)), (-1, 1)),
        (RNG.uniform(0, 255, (20, 4, 4, 3)).astype(np.float32), (0, 255)),
        (RNG.integers(-128, 128, (20, 4, 4)).astype(np.int8), (-128, 127)),
        (RNG.integers(100, 201, (20, 4, 4)).astype(np.uint8), (100, 200)),
        (RNG.integers(0, 100_000, (20, 4, 4)), (0, 100_000)),
        (RNG.uniform(-5, 5, (20, 3)), (-5, 5)),
        (load_digits().data[:20].astype(np.uint8), (0, 16)),
    ],
)
def test_the_user_says_what_is_black_and_white(images, value_range):
    low, high = value_range
    found = served({"train": images, "test": images}, value_range=value_range)
    np.testing.assert_allclose(found.reshape(images.shape), (images - float(low)) / (high - low), atol=2e-7)
    narrow = (float(images.min()) + 1e-3, high)
    with pytest.raises(ValueError, match=r"in the given arrays do not lie within value_range="):
        served({"train": images, "test": images}, value_range=narrow)


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (np.linspace(-1, 1, 80), r"\(-1, 1\)"),
        (np.linspace(0, 255, 80), r"\(0, 255\)"),
        (np.linspace(3, 9, 80), r"\(3, 9\)"),
    ],
)
def test_floats_elsewhere_are_refused_with_what_to_write(images, advice):
    with pytest.raises(
        ValueError, match=f"Floating-point values .* in the given arrays.*value_range={advice}|{advice}"
    ):
        data.load(images.reshape(20, 2, 2), 2)


@pytest.mark.parametrize("white", [1, 15, 255, 4095])
def test_resized_images_stay_on_their_levels_and_below_white(white):
    images = np.zeros((20, 18, 18), np.uint16 if white > 255 else np.uint8)
    images[:, 6:12] = white  # the interpolation overshoots at the edges
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = served({"train": images, "test": images}, resize=(13, 14), fit="stretch")
    levels = 255 if white == 1 else white
    assert found.min() == 0.0 and found.max() == 1.0
    np.testing.assert_allclose(found * levels, np.rint(found * levels), atol=1e-3)
    assert found.mean() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("levels", [2, 17, 256, 4096])
def test_images_are_rounded_to_levels(levels):
    images = RNG.random((20, 4, 4, 1)).astype(np.float32)
    found = served({"train": images, "test": images}, levels=levels)
    expected = np.rint(images.astype(np.float64) * (levels - 1)) / (levels - 1)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    likelihoods.DiscretizedLogistic((4, 4, 1), levels=levels).check_values(found)
    with pytest.raises(ValueError, match=r"vectors .*levels="):
        served(images[:, 0, :, 0], levels=levels)


def test_conditions_of_images_on_other_levels_are_as_bright_as_the_images():
    images = np.full((20, 4, 4, 3), 12, np.uint8)
    given = {"name": "low_resolution", "factor": 2}
    splits = data.read_splits({"train": images, "test": images}, value_range=(0, 16), condition=given)
    x, c = next(iter(splits.train.dataset(20)))
    assert np.all(x == 0.75) and np.all(c == 0.75) and c.dtype == np.float32
    gray = data.read_splits({"train": images, "test": images}, value_range=(0, 16), condition="gray")
    np.testing.assert_allclose(next(iter(gray.train.dataset(20)))[1], 0.75, atol=1e-6)


def test_binarization_is_of_the_scaled_values():
    images = np.repeat(np.arange(17, dtype=np.uint8), 16).reshape(17, 4, 4)
    threshold = served({"train": images, "test": images}, value_range=(0, 16), binarize="threshold")
    np.testing.assert_array_equal(threshold[:, 0, 0, 0], np.arange(17) >= 8)
    many = np.full((2000, 2, 2), 12, np.uint16)
    for options in ({"value_range": (0, 16)}, {"value_range": (0, 16), "levels": 256}):
        splits = data.read_splits({"train": many, "test": many}, binarize="dynamic", **options)
        assert rows_of(splits.train.dataset(500)).mean() == pytest.approx(0.75, abs=0.025)
        assert rows_of(splits.test.dataset(500)).mean() == pytest.approx(0.75, abs=0.025)


def test_colours_become_brightness():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    expected = np.rint(pixels @ np.array([0.299, 0.587, 0.114]))
    (bright,) = data.load(pixels, gray=True, test_split=0.0)
    np.testing.assert_array_equal(np.rint(255 * bright[..., 0]), expected)
    (of_floats,) = data.load(pixels.astype("float32") / np.float32(255), gray=True, test_split=0.0)
    np.testing.assert_allclose(of_floats[..., 0], pixels @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-6)
    # Of 32 levels, too; and gray images stay as they are.
    (coarse,) = data.load(pixels // 8, gray=True, value_range=(0, 31), test_split=0.0)
    np.testing.assert_allclose(coarse[..., 0], (pixels // 8) @ np.array([0.299, 0.587, 0.114]) / 31, atol=1e-6)
    (same,) = data.load(pixels[..., :1], gray=True, test_split=0.0)
    np.testing.assert_array_equal(np.rint(255 * same), pixels[..., :1])
    with pytest.raises(ValueError, match="gray=True is for images"):
        data.load(np.zeros((20, 3), "float32"), gray=True)
    with pytest.raises(ValueError, match="brightness"):
        data.load(pixels[..., :2], gray=True)
    with pytest.raises(ValueError, match="gray must be True or False"):
        data.load(pixels, gray="yes")
