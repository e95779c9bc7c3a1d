"""Images as PNG files: their values, their names, and folders that are whole or not there."""

import time

import numpy as np
import pytest
from PIL import Image

from keras_vae import data, pictures
from keras_vae.pictures.image_files import png_names

GRAY = np.linspace(-0.1, 1.1, 3 * 4 * 5).reshape(3, 4, 5).astype("float32")


def test_every_image_is_a_file_that_is_read_again(tmp_path):
    colours = np.random.default_rng(0).random((3, 4, 5, 3), "float32")
    for images in (GRAY, GRAY[..., None], colours):
        folder = tmp_path / str(images.shape)
        moved = []
        paths = pictures.write_images(images, folder, written=moved.append)
        assert paths == moved == [folder / f"0000{k}.png" for k in range(3)]
        expected = np.clip(images.reshape(3, 4, 5, -1), 0, 1)
        np.testing.assert_allclose(
            np.concatenate(list(data.load(folder, test_split=0))), expected, atol=0.5 / 255 + 1e-6
        )
    with Image.open(tmp_path / str(GRAY.shape) / "00000.png") as image:
        assert image.mode == "L"


@pytest.mark.parametrize(
    ("names", "inside"),
    [
        (["a/x.jpg", "b/x.jpg", "y"], ["a/x.png", "b/x.png", "y.png"]),
        (["x.jpg", "x.png", "x.bmp"], ["x.jpg.png", "x.png", "x.bmp.png"]),
        (["x.jpg", "x.bmp", "x.gif"], ["x.png", "x.bmp.png", "x.gif.png"]),
        (["/home/x.png", "../x.png", "/x.png"], ["x.png", "x.png.png", "x-2.png"]),
        (["a/../../x.png", "v1.0", "b"], ["x.png", "v1.png", "b.png"]),
    ],
)
def test_names_stay_inside_of_the_folder_and_differ(names, inside, tmp_path):
    assert png_names(names) == inside
    pictures.write_images(GRAY, tmp_path / "new", names)
    assert sorted(str(p.relative_to(tmp_path / "new")) for p in tmp_path.rglob("*.png")) == sorted(inside)


def test_many_names_take_no_time():
    began = time.process_time()
    assert len(png_names([f"{k}.jpg" for k in range(20_000)])) == 20_000
    assert time.process_time() - began < 5.0


def test_what_is_there_stays_unless_it_may_give_way(tmp_path):
    (tmp_path / "empty").mkdir()
    pictures.write_images(GRAY, tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is there already"):
        pictures.write_images(GRAY, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"

    def fail(path):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        pictures.write_images(GRAY, tmp_path / "new", written=fail)
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "mine"}
    pictures.write_images(GRAY, tmp_path / "mine", replace=True)
    assert {path.suffix for path in (tmp_path / "mine").iterdir()} == {".png"}


def test_what_comes_while_images_are_written_stays(tmp_path):
    notes = tmp_path / "new/notes.txt"
    notes.parent.mkdir()
    with pytest.raises(FileExistsError, match="holds something now"):
        pictures.write_images(GRAY, notes.parent, written=lambda _: notes.write_text("years of work"))
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "notes.txt"]

    def refuse():
        raise ValueError("not mine")

    with pytest.raises(ValueError, match="not mine"):
        pictures.write_images(GRAY, notes.parent, replace=True, check=refuse)
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "notes.txt"]


@pytest.mark.parametrize("images", [np.zeros((2, 8)), np.zeros((2, 8, 8, 2)), np.zeros((2, 2, 8, 8, 3))])
def test_what_is_no_image_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match="PNG files hold images"):
        pictures.write_images(images, tmp_path / "new")
    with pytest.raises(ValueError, match="1 names for 3 images"):
        pictures.write_images(GRAY, tmp_path / "new", ["a"])
