"""Results as files, and where they may be written."""

from pathlib import Path

import numpy as np
import pytest

from keras_vae.pictures import tiles
from keras_vae_cli import settings
from keras_vae_cli.commands import build, run_folder, train
from keras_vae_cli.commands.products import samples, written
from keras_vae_cli.commands.products.opened import Opened
from keras_vae_cli.errors import ConfigError


class Arriving:
    """Images that take their time: meanwhile somebody saves a file."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 2

    def __array__(self, dtype=None, copy=None):
        self.path.write_text("years of work")
        return np.zeros((2, 4, 4), "float32")


def test_what_comes_during_the_work_stays(tmp_path):
    opened = Opened(tmp_path, None, None, run_folder.make_console())
    written.write_folder(opened, np.zeros((2, 4, 4)), tmp_path / "made", False)
    thesis = tmp_path / "made/thesis.txt"
    with pytest.raises(ConfigError, match=r"has not written thesis\.txt"):
        written.write_folder(opened, Arriving(thesis), tmp_path / "made", True)
    assert thesis.read_text() == "years of work"
    for suffix in ("npz", "npy"):
        path = tmp_path / f"mine.{suffix}"
        with pytest.raises(ConfigError, match="is there by now, and was not touched"):
            written.write_arrays(path, {"x": Arriving(path)}, False)
        assert path.read_text() == "years of work"
        written.write_arrays(path, {"x": np.ones(3)}, True)
        assert path.read_bytes() != b"years of work"
    path = tmp_path / "mine.png"
    path.write_text("years of work")
    figure = tiles.draw_tiles(tiles.tiled(np.zeros((2, 4, 4, 1), "float32"), 2))
    with pytest.raises(ConfigError, match="is there by now"):
        written.write_picture(path, figure, False)
    assert path.read_text() == "years of work"
    written.write_picture(path, figure, True)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["codes.NPZ", "codes.NPY", "codes.CSV"])
def test_suffixes_may_be_large(tmp_path, name):
    written.write_arrays(tmp_path / name, {"means": np.ones((2, 3), "float32")}, False)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).stat().st_size > 0


def test_a_place_that_cannot_be_written_to_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="is no folder, and one is needed there"):
        # There is no model either, which is said later.
        samples.sample(tmp_path / "nowhere", tmp_path / "file/new.npz", 3)


@pytest.mark.parametrize(
    ("shape", "condition", "place"),
    [
        ((8, 8, 1), None, "drawn"),
        ((8, 8, 3), {"name": "Label", "num_classes": 3}, "drawn"),
        ((3,), None, "drawn.npz"),
        ((8, 8, 2), None, "drawn.npz"),
        ((8, 8, 1), {"name": "Vector", "size": 2}, None),
        ((8, 8, 3), {"name": "Image", "shape": [8, 8, 1]}, None),
    ],
)
def test_the_command_that_training_names_next_can_be_given(shape, condition, place):
    small = ["model.encoder={name: mlp, units: [4]}", "model.decoder={name: mlp, units: [4]}", "model.latent_dim=2"]
    small += ["model.likelihood=Normal", "model.prior=StandardNormal", "data.binarize=null"]
    vae = build.make_vae(settings.load(None, small), shape, condition)
    line = train._sampling(vae, Path("my run"))
    assert line == ("" if place is None else f"       keras-vae sample -n 100 -o {place} 'my run'\n")
    if place is not None:
        written.check_images(Opened(Path(), vae, None, run_folder.make_console()), Path(place).suffix)
