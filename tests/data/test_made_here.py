"""Data: digits and rendered shapes, which need no download."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import ConvexHull
from sklearn.datasets import load_digits
from sources import rows_of

from keras_vae import data
from keras_vae.data import made_here, shapes
from keras_vae.data.digits import prepared
from keras_vae.data.shapes import FactorGrid, factors_of, render

pytestmark = pytest.mark.usefixtures("own_cache")


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
    monkeypatch.setattr(made_here, "_write", lambda builder: pytest.fail("prepared a second time"))
    data.load("digits")


def test_the_default_cache_follows_the_xdg_convention(monkeypatch):
    monkeypatch.delenv("KERAS_VAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert made_here.cache_folder() == Path("/somewhere/keras_vae/tfds")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert made_here.cache_folder() == Path("/home/someone/.cache/keras_vae/tfds")


def test_digits_work_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_VAE_CACHE", str(tmp_path / "file"))
    assert len(data.read_splits("digits").train) == 1437


def test_two_processes_may_prepare_digits_at_once(tmp_path, monkeypatch):
    write = made_here._write

    def slow_write(builder):
        write(builder)
        monkeypatch.setattr(made_here, "_write", write)
        with prepared(tmp_path):  # another process overtakes this one
            pass

    monkeypatch.setattr(made_here, "_write", slow_write)
    assert len(data.read_splits("digits", data_dir=tmp_path).test) == 360
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_preparation_that_fails_leaves_nothing_half_done(tmp_path, monkeypatch):
    def broken_write(builder):
        Path(builder.data_path).mkdir(parents=True)
        (Path(builder.data_path) / "dataset_info.json").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(made_here, "_write", broken_write)
        data.load("digits", data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(data.read_splits("digits", data_dir=tmp_path).test) == 360


def test_shapes_are_all_combinations_of_the_factors_and_stay_inside_the_image():
    name = "shapes/size=16,scales=2,orientations=4,positions=3"
    splits = data.read_splits(name, labels=True)
    (train,) = splits.train.dataset(len(splits.train))
    (test,) = splits.test.dataset(len(splits.test))
    images, factors = (np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(train, test, strict=True))
    assert images.shape == (216, 16, 16, 1) and factors.shape == (216, 5)
    assert len({tuple(row) for row in factors}) == 216 and factors.max(axis=0).tolist() == [2, 1, 3, 2, 2]
    assert set(np.unique(images)) == {0.0, 1.0}
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert not border.any()
    grid = FactorGrid.parse(name)
    np.testing.assert_array_equal(images[..., 0], render(factors, grid))
    # Whoever looks at the first few sees all kinds.
    assert all(len(np.unique(column)) > 1 for column in factors[:12].T)
    # To the right and downwards with the position; larger with the scale.
    rows, columns = (np.tensordot(images[..., 0], np.indices((16, 16))[k], 2) for k in (0, 1))
    area = images.sum(axis=(1, 2, 3))
    for k, values in ((3, columns / area), (4, rows / area), (1, area)):
        means = [values[factors[:, k] == value].mean() for value in np.unique(factors[:, k])]
        assert np.all(np.diff(means) > 1.0)


def test_rendered_shapes_have_the_areas_of_the_formulas():
    grid = FactorGrid(size=256, scales=1, orientations=8, positions=2)
    factors = np.array([[shape, 0, angle, 0, 1] for shape in range(3) for angle in range(8)])
    areas = render(factors, grid).sum(axis=(1, 2)).reshape(3, 8) / 256**2
    angle = np.linspace(0.0, 2.0 * np.pi, 2000)
    disc = np.stack([0.0675 + 0.085 * np.cos(angle), 0.06 + 0.085 * np.sin(angle)], axis=1)
    hull = ConvexHull(np.concatenate([disc, [[0.0, -0.1335]]]))
    # Of what lies right of the axis; the left half is its mirror image.
    at = np.random.default_rng(0).uniform((0.0, -0.15), (0.16, 0.15), (20_000, 2))
    inside = np.all(hull.equations[:, :2] @ at.T + hull.equations[:, 2:] <= 0.0, axis=0)
    heart = 2.0 * np.mean(inside) * 0.16 * 0.3
    expected = [[0.3**2], [np.pi * 0.2 * 0.1125], [heart]]
    np.testing.assert_allclose(areas, np.broadcast_to(expected, (3, 8)), rtol=0.025)


def test_sprites_have_the_proportions_of_dsprites():
    """Pixels of the sprites in the picture of its README, upright, by scale."""
    grid = FactorGrid(size=64, scales=6, orientations=40, positions=32)
    shown = {0: [100, 144, 196, 256, 324, 400], 1: [76, 104, 144, 184, 228, 288], 2: [58, 84, 108, 140, 182, 222]}
    for shape, areas in shown.items():
        factors = np.array([[shape, scale, 0, 0, 0] for scale in range(6)])
        np.testing.assert_allclose(render(factors, grid).sum(axis=(1, 2)), areas, rtol=0.06 if shape else 0.0)
    # The first and the last centre, which are those of the square's pixels.
    factors = np.array([[0, 5, 0, 0, 0], [0, 5, 0, 31, 31]])
    for image, centre in zip(render(factors, grid), (15.5, 47.5), strict=True):
        assert [places.mean() for places in np.nonzero(image)] == [centre, centre]


def everywhere(factors, grid):
    """The definition, at every pixel of every image."""
    shape, scale, orientation, column, row = factors.T
    unit = grid.size * np.linspace(1.0, 0.5, grid.scales)[::-1][scale][:, None, None]
    angle = (2.0 * np.pi * orientation / grid.orientations)[:, None, None]
    centres = np.linspace(0.25 * grid.size, 0.75 * grid.size, grid.positions)
    pixels = np.arange(grid.size) + 0.5
    right = (pixels - centres[column][:, None])[:, None, :] / unit
    up = (centres[row][:, None] - pixels)[:, :, None] / unit
    x, y = np.cos(angle) * right + np.sin(angle) * up, np.cos(angle) * up - np.sin(angle) * right
    # Of the heart, as seen from its tip: the disc, its tangents, and what lies between.
    centre = np.array([0.0675, 0.06 + 0.1335])
    far = np.hypot(*centre)
    aperture = np.arcsin(0.085 / far)
    from_tip = np.hypot(x, y + 0.1335)
    turned = abs(np.arctan2(abs(x), y + 0.1335) - np.arctan2(*centre))
    before = from_tip * np.cos(turned) <= far * np.cos(aperture) ** 2
    disc = np.hypot(abs(x) - 0.0675, y - 0.06) <= 0.085
    inside = [np.maximum(abs(x), abs(y)) <= 0.15, np.hypot(x / 0.2, y / 0.1125) <= 1.0]
    inside.append(disc | (before & (turned <= aperture)))
    return np.select([shape[:, None, None] == k for k in range(3)], inside)


@pytest.mark.parametrize("name", ["size=64,scales=6,orientations=40,positions=32", "size=9,positions=5", "size=33"])
def test_sprites_are_those_of_the_definition(name):
    grid = FactorGrid.parse(f"shapes/{name}")
    numbers = np.random.default_rng(0).choice(np.prod(grid.counts), 1500, replace=False)
    factors = factors_of(numbers, grid)
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(factors.T), grid.counts), numbers)
    np.testing.assert_array_equal(render(factors, grid), everywhere(factors, grid))


def test_shapes_on_disk_are_those_in_memory_and_rendered_once(tmp_path, monkeypatch):
    name = "shapes/size=16,scales=2,orientations=8,positions=8"
    kept = {"memory": "disk", "cache": tmp_path}

    def images(**options):
        (batch,) = data.read_all(name, **options).dataset(4000)
        return np.asarray(batch)

    np.testing.assert_array_equal(images(**kept), images())
    monkeypatch.setattr(shapes, "render", lambda *_: pytest.fail("rendered a second time"))
    np.testing.assert_array_equal(images(**kept), images(**kept))


def test_shapes_of_another_size_are_resized_and_keep_their_levels():
    (batch,) = data.read_all("shapes/positions=2", resize=(32, 32)).dataset(4000)
    assert batch.shape == (360, 32, 32, 1) and float(tf.reduce_max(batch)) == 1.0
    with pytest.warns(UserWarning, match="cropped"):
        data.read_splits("shapes/positions=1", resize=(32, 16))
    with pytest.raises(ValueError, match="value_range"):
        data.read_splits("shapes/positions=1", value_range=(0, 1))


def test_grids_that_make_no_sense_are_refused():
    for name in ("shapes/colour=3", "shapes/size=4", "shapes/positions=0", "shapes/size=16,size=32", "shapes/x"):
        with pytest.raises(ValueError, match="size"):
            data.load(name)
