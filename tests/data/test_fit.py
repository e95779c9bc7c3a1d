"""Pictures of another shape than that of all: cropped, padded or stretched."""

import warnings

import numpy as np
import pytest
from PIL import Image
from sources import rows_of

from keras_vae import data
from keras_vae.data.examples import resized

SIZES = [(200, 100), (100, 200), (120, 121), (90, 31)]


def disc(height, width, radius, dtype=np.uint8, paper=0, ink=255):
    """A disc in the middle of the picture, [h, w, 1]."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 <= radius**2
    return np.where(inside, ink, paper).astype(dtype)[..., np.newaxis]


def measured(image):
    """Centre and diameters of a bright disc: of one, the standard deviation along an axis is a quarter of these."""
    weight = image.mean(axis=-1).astype("float64")
    places = np.stack(np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5)
    centre = np.tensordot(places, weight, axes=2) / weight.sum()
    variance = np.tensordot((places - centre[:, None, None]) ** 2, weight, axes=2) / weight.sum()
    return centre, 4 * np.sqrt(variance)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("want", [(28, 28), (32, 48)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_disc_stays_round_and_in_the_middle(size, want, fit):
    height, width = size
    radius = 0.4 * min(height, width) if fit == "pad" else 0.4 * min(height, width, height * want[1] / want[0]) * 0.6
    image = resized(disc(height, width, radius), want, fit)
    assert image.shape == (*want, 1) and image.dtype == np.uint8
    centre, diameters = measured(image)
    scales = (want[0] / height, want[1] / width)
    scale = max(scales) if fit == "crop" else min(scales)
    np.testing.assert_allclose(centre, np.array(want) / 2, atol=0.5 if fit == "pad" else 0.1)
    np.testing.assert_allclose(diameters, 2 * radius * scale, rtol=0.06, atol=0.4)


def test_stretching_distorts():
    _, diameters = measured(resized(disc(200, 100, 40), (28, 28), "stretch"))
    np.testing.assert_allclose(diameters, [11.2, 22.4], atol=0.4)


def test_margins_have_a_colour_of_the_edge():
    for paper, ink in ((255, 0), (0, 255), (37, 90)):
        image = resized(disc(100, 200, 40, paper=paper, ink=ink), (28, 28), "pad")
        assert (image[:7] == paper).all() and (image[-7:] == paper).all() and abs(int(image[14, 14, 0]) - ink) <= 8
    # Half of the edge is 0 and half is 1: no colour between the two.
    halves = np.zeros((4, 8, 1), np.uint8)
    halves[:, 4:] = 1
    assert set(np.unique(resized(halves, (8, 8), "pad")[0])) <= {0, 1}


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_lines_of_single_pixels(fit):
    line = np.linspace(0, 255, 50).astype(np.uint8)[np.newaxis, :, np.newaxis]
    for image, axis in ((line, 0), (line.transpose(1, 0, 2), 1)):
        found = resized(image, (28, 28), fit)
        assert found.shape == (28, 28, 1)
        spread = int(found.max()) - int(found.min())
        # The two pixels in the middle, or all of the line.
        assert spread < 10 if fit == "crop" else spread > 240
        if fit == "pad":
            assert (np.delete(found, (13, 14), axis=axis) == 124).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_numbers_of_every_type_stay_in_their_range(dtype, fit):
    white = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    images = np.stack([disc(20, 40, 8, dtype, ink=white)] * 20)
    train, test = data.load(images, 4, resize=(8, 8), fit=fit, levels=None if dtype == np.float32 else 256)
    found = np.concatenate([rows_of(train), rows_of(test)])
    assert found.shape == (20, 8, 8, 1) and found.min() == 0.0 and found.max() <= 1.0 and found[0, 4, 4, 0] > 0.9
    np.testing.assert_allclose(found * 255, np.rint(found * 255), atol=1e-3)


def folder_of(path, sizes):
    path.mkdir(exist_ok=True)
    for number, (height, width) in enumerate(sizes):
        Image.fromarray(disc(height, width, 0.4 * min(height, width))[..., 0]).save(path / f"{number}.png")
    return path


def test_what_is_not_chosen_is_said(tmp_path):
    folder = folder_of(tmp_path / "a", [(20, 40)] * 6 + [(40, 20)] * 2 + [(16, 16)] * 11 + [(1, 50)])
    message = r"9 of the 20 images in .* another shape than 8x8 .* cropped to the middle; of the furthest, 1x50, 2% is"
    with pytest.warns(UserWarning, match=message):
        train, test = data.load(folder, 2, resize=(8, 8), binarize="threshold")
    found = np.concatenate([rows_of(train), rows_of(test)])
    assert np.sum(found.mean(axis=(1, 2, 3)) > 0.4) >= 19  # the discs fill their pictures
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fit in ("crop", "pad", "stretch"):
            data.load(folder, 2, resize=(8, 8), fit=fit)
        data.load(folder_of(tmp_path / "b", [(16, 16), (100, 101), (8, 8)] * 4), 2, resize=(8, 8))
    with pytest.warns(UserWarning, match="20 of the 20 images in the given arrays"):
        data.load(np.zeros((20, 8, 6), np.uint8), 2, resize=(8, 8))
    with pytest.raises(ValueError, match="fit must be one of None, 'crop', 'pad', 'stretch', not 'squeeze'"):
        data.load(folder, 2, fit="squeeze")


def test_turned_pictures_and_conditions_are_cropped_alike(tmp_path):
    lying = Image.fromarray(disc(20, 40, 8)[..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(20):
        lying.convert("RGB").save(tmp_path / f"{number}.png", **({"exif": exif} if number % 2 else {}))
    x, c = next(iter(data.load(tmp_path, 18, resize=(16, 16), fit="crop", condition="gray")[0]))
    for images in (x, c):
        for image in np.asarray(images):
            centre, diameters = measured(image)
            np.testing.assert_allclose(centre, 8.0, atol=0.1)
            np.testing.assert_allclose(diameters, 12.8, atol=0.4)
