"""Series as curves, read back as pixels."""

import numpy as np
import PIL.Image
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from small_models import make_vae

from keras_vae import likelihoods, networks, pictures
from keras_vae.pictures import tiles

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)
T = np.linspace(0.0, 1.0, 24)
SERIES = np.stack([np.sin(9 * T), 100.0 + np.cos(9 * T)], axis=-1).astype("float32")


def pixels(figure, tmp_path):
    tiles.saved(figure, tmp_path / "x.png")
    with PIL.Image.open(tmp_path / "x.png") as image:
        return np.asarray(image.convert("RGB")).astype(int)


def where(picture, colour, tolerance=40):
    return np.abs(picture - np.array(colour)).max(axis=-1) < tolerance


def said(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_each_channel_is_a_curve_in_its_own_range(tmp_path):
    figure = tiles.draw_tiles(SERIES[None, None], title="two")
    assert "channels blue -1 to 1, orange 99 to 101 against steps 0 to 23" in said(figure)
    picture = pixels(figure, tmp_path)[45:]
    for colour in (BLUE, ORANGE):
        rows = np.flatnonzero(where(picture, colour).any(axis=1))
        # Over 80% of the height of the cell, whatever the units.
        assert np.ptp(rows) > 0.7 * (len(picture) - 10)


def test_channels_of_one_unit_share_a_range(tmp_path):
    figure = tiles.draw_tiles(np.stack([SERIES[:, 0], 0.6 * SERIES[:, 0]], axis=-1)[None, None])
    assert "values -1 to 1, channels blue and orange, against steps 0 to 23" in said(figure)
    picture = pixels(figure, tmp_path)[30:]
    blue, orange = (np.ptp(np.flatnonzero(where(picture, colour).any(axis=1))) for colour in (BLUE, ORANGE))
    assert 0.5 < orange / blue < 0.7


def test_a_gap_is_a_gap(tmp_path):
    holed = SERIES.copy()
    holed[8:16, 0] = np.nan
    picture = pixels(tiles.draw_tiles(holed[None, None]), tmp_path)[30:]
    columns = where(picture, BLUE).any(axis=0)
    width = len(columns)
    assert not columns[int(0.4 * width) : int(0.6 * width)].any()
    assert columns[: width // 3].any() and columns[2 * width // 3 :].any()
    assert where(picture, ORANGE).any(axis=0)[int(0.4 * width) : int(0.6 * width)].any()


def test_a_channel_that_is_missing_everywhere_is_left_out(tmp_path):
    picture = pixels(tiles.draw_tiles(np.where([True, False], SERIES, np.nan)[None, None]), tmp_path)
    assert where(picture, BLUE).any() and not where(picture, ORANGE).any()


@pytest.mark.parametrize(
    ("shape", "expected"), [((24, 1), False), ((24, 6), False), ((24, 7), True), ((28, 28), True), ((5, 5, 2), True)]
)
def test_few_channels_are_curves_and_many_a_gray_image(shape, expected):
    assert pictures.is_image(shape) == expected


def test_reconstructions_and_imputations_lie_over_the_data(tmp_path):
    vae = make_vae(networks.conv, (4,), SERIES.shape, 2, likelihoods.Normal(SERIES.shape), missing=True)
    vae.build()
    holed = np.repeat(SERIES[None], 3, axis=0)
    holed[:, 8:16, 0] = np.nan
    figure = pictures.reconstructions(vae, holed)
    assert "data (pale) and their reconstructions (strong)" in said(figure)
    figure = pictures.imputations(vae, holed, draws=2)
    assert "Examples with gaps (pale), and what the model puts there (strong)" in said(figure)
    *_, blue, orange = [part for part in figure.axes[0].collections if isinstance(part, LineCollection)]
    there = [[np.isfinite(path.vertices).all(axis=1).sum() for path in part.get_paths()] for part in (blue, orange)]
    # Nothing over what is given, then eight steps and one at each side of them; the second channel has no gaps.
    assert there == [[0, 10, 10, 10] * 3, [0] * 12]
    # One band an example, in the first channel.
    assert sum(isinstance(part, PolyCollection) for part in figure.axes[0].collections) == 3


def test_a_band_is_a_shade_between_its_edges_in_its_own_tile(tmp_path):
    x = np.zeros((1, 2, 24), "float32")
    low, high = np.full((2, 1, 2, 24), np.nan, "float32")
    low[0, 1, 8:16], high[0, 1, 8:16] = -1.0, 3.0
    picture = pixels(tiles.draw_tiles(x, bands=(low, high)), tmp_path)[30:]
    shade = where(picture, (242, 190, 190), 12)
    width = picture.shape[1]
    assert not shade[:, : width // 2].any()
    rows, columns = np.nonzero(shade)
    # All of the range, 80% of the height, and a third of the steps.
    assert np.ptp(rows) > 0.7 * len(picture)
    assert 0.1 * width < np.ptp(columns) < 0.2 * width
