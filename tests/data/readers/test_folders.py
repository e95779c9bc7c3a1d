"""Data: folders of images, also unreadable ones."""

import contextlib
import os
import shutil
import socket
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sources import picture, rows_of

from keras_vae import data
from keras_vae.data.storage import keeping

pytestmark = pytest.mark.usefixtures("own_cache")


def test_class_folders_in_train_and_test(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for label, name in enumerate(("cat", "dog")):
            for k in range(count):
                picture(tmp_path / split / name / f"{k}.png", color=(10 * k, 100 * label, 0))
    splits = data.read_splits(tmp_path, labels=True)
    assert splits.class_names == ("cat", "dog")
    assert (len(splits.train), len(splits.test)) == (12, 6)
    x, y = next(iter(splits.test.dataset(6)))
    assert x.shape == (6, 8, 8, 3)
    assert y.numpy().tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(np.rint(x[:, 0, 0] * 255), [[10 * k, 100 * c, 0] for c in (0, 1) for k in range(3)])


def test_a_flat_folder_of_all_formats_is_held_out_from(tmp_path):
    for k, suffix in enumerate(("png", "jpg", "jpeg", "bmp", "gif", "webp", "PNG", "JPG")):
        picture(tmp_path / f"{k}.{suffix}", color=(20 * k, 20 * k, 20 * k))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image either")
    picture(tmp_path / ".cache" / "thumbnail.png")
    picture(tmp_path / "__MACOSX" / "0.png")
    splits = data.read_splits(tmp_path, test_split=0.25)
    assert (len(splits.train), len(splits.test)) == (6, 2)
    values = np.concatenate([rows_of(split.dataset(2))[:, 0, 0, 0] for split in (splits.train, splits.test)])
    assert np.sort(values) * 255 == pytest.approx(np.arange(8) * 20, abs=2)
    with pytest.raises(ValueError, match=r"8 images .* are in none, the first .*0.png"):
        data.load(tmp_path, 1, labels=True)


def images_in(folder: Path, **options) -> np.ndarray:
    """The images of folder/train, in the order of their files."""
    if not (folder / "test").exists():
        shutil.copytree(folder / "train", folder / "test", symlinks=True)
    return rows_of(data.read_splits(folder, **options).train.dataset(8))


def test_gray_files_stay_gray_unless_one_has_colour(tmp_path):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    picture(tmp_path / "train/a.png", mode="L")
    picture(tmp_path / "train/b.png", mode="1", color=1)
    picture(tmp_path / "train/c.gif", mode="L", color=200)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "train/d.png")
    Image.new("L", (8, 8), 77).convert("P").save(tmp_path / "train/e.png")
    images = images_in(tmp_path)
    assert images.shape == (5, 8, 8, 1)
    assert (images[1] == 1.0).all()
    assert np.rint(images[2] * 255) == pytest.approx(200)
    assert images[3].ravel() * 65535 == pytest.approx(ramp.ravel(), abs=129)  # half a level of 8 bits
    assert (np.rint(images[4] * 255) == 77).all()
    picture(tmp_path / "train/f.png", color=(255, 0, 0))
    coloured = images_in(tmp_path)
    assert coloured.shape == (6, 8, 8, 3)
    assert np.array_equal(coloured[:5], np.repeat(images, 3, axis=-1))
    assert np.array_equal(coloured[5, 0, 0], [1.0, 0.0, 0.0])


def test_transparent_pixels_show_white(tmp_path):
    picture(tmp_path / "train/a.png", mode="RGBA", color=(255, 0, 0, 0))
    picture(tmp_path / "train/b.png", mode="RGBA", color=(255, 0, 0, 255))
    picture(tmp_path / "train/c.png", mode="LA", color=(0, 127))
    picture(tmp_path / "train/d.png", mode="P", color=0, transparency=0)
    picture(tmp_path / "train/e.webp", mode="RGBA", color=(0, 0, 255, 0), lossless=True)
    pixels = np.rint(images_in(tmp_path)[:, 0, 0] * 255).astype(int)
    assert pixels.tolist() == [[255] * 3, [255, 0, 0], [128] * 3, [255] * 3, [255] * 3]


def test_photographs_are_turned_upright(tmp_path):
    upright = np.zeros((6, 4, 3), np.uint8)
    upright[:3] = 255  # white above, black below
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the viewer must rotate by 90 degrees clockwise
    lying = Image.fromarray(np.rot90(upright))
    picture(tmp_path / "train/c.png", size=(6, 4), color=(9, 9, 9))
    lying.save(make(tmp_path / "train/a.jpg"), exif=exif, quality=100)
    lying.save(make(tmp_path / "train/b.png"), exif=exif)
    lying.save(make(tmp_path / "train/b.tif"), exif=exif)
    lying.save(make(tmp_path / "train/b.tiff"), exif=exif, compression="tiff_lzw")
    lying.save(make(tmp_path / "train/b.webp"), exif=exif, lossless=True)
    images = images_in(tmp_path)  # and all sizes are equal, so there is no warning
    for image in images[:5]:
        assert image == pytest.approx(upright / 255, abs=0.05)


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_files_of_different_sizes_get_the_most_frequent_one(tmp_path):
    picture(tmp_path / "train/a.png", size=(12, 8), color=(100, 50, 0))
    for k in range(3):
        picture(tmp_path / f"train/b{k}.png", size=(6, 4), color=(100, 50, 0))
    with pytest.warns(UserWarning, match=r"8 images .* 2 different sizes. All are resized to 6x4 \(height x width\)"):
        images = images_in(tmp_path)
    assert images.shape == (4, 6, 4, 3)
    assert (np.rint(images * 255) == [100, 50, 0]).all()
    assert images_in(tmp_path, resize=(3, 2)).shape == (4, 3, 2, 3)  # and no warning: it was asked for


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(FileNotFoundError, match=r"No image files in the folder .*png"):
        data.load(tmp_path)
    with pytest.raises(ValueError, match=r"notes.txt' is neither"):
        data.load(tmp_path / "notes.txt")


def test_folders_beside_train_are_not_left_out_silently(tmp_path):
    for name in ("train", "extra"):
        for k in range(3):
            picture(tmp_path / name / f"{k}.png")
    with pytest.warns(UserWarning, match=r"ignored: \['extra'\]"):
        assert len(data.read_splits(tmp_path).train) == 2


def write_unreadable(folder: Path) -> list[str]:
    """Files that are no images whatever their names say; returns the names."""
    whole = picture(folder / "whole.jpg", size=(64, 64)).read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("<html>404 not found</html>")
    # An Encapsulated PostScript file would make Pillow start another program.
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    Image.new("1", (50_000, 1)).save(folder / "wide.png")
    Image.new("1", (12_000, 9_000)).save(folder / "bomb.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):  # its path has a maximal length
        server.bind("socket.png")
    return [
        "truncated.jpg",
        "empty.png",
        "text.png",
        "script.png",
        "wide.png",
        "bomb.png",
        "loop.png",
        "broken.png",
        "pipe.png",
        "device.png",
        "socket.png",
    ]


def test_unreadable_files_are_named(tmp_path):
    for name in write_unreadable(tmp_path / "all"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (tmp_path / "all" / name).rename(folder / name)
        picture(folder / "zzz.png", size=(64, 64))
        with pytest.raises(ValueError, match=f"Cannot read the image file .*{name}.*on_bad_file"):
            data.load(folder, 1)


def test_unreadable_files_can_be_skipped_and_are_counted(tmp_path):
    bad = write_unreadable(tmp_path / "train/a")
    for k in range(4):
        picture(tmp_path / f"train/b/{k}.png", size=(64, 64), color=(k, k, k))
    picture(tmp_path / "test/b/0.png", size=(64, 64))
    with pytest.warns(UserWarning, match=f"Left out {len(bad)} unreadable of {len(bad) + 6} image files"):
        splits = data.read_splits(tmp_path, on_bad_file="skip", labels=True)
    images, labels = next(iter(splits.train.dataset(9)))
    assert labels.numpy().tolist() == [0, 1, 1, 1, 1]
    assert np.rint(images[1:, 0, 0, 0] * 255).tolist() == [0, 1, 2, 3]
    for path in (
        tmp_path / "test/b/0.png",
        *(tmp_path / f"train/b/{k}.png" for k in range(4)),
        tmp_path / "train/a/whole.jpg",
    ):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"None of the .* can be read"):
        data.read_splits(tmp_path, on_bad_file="skip")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_and_a_file_without_permission_are_named_or_skipped(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/2.png", "c/3.png"):
        picture(tmp_path / name)
    closed = (tmp_path / "b", tmp_path / "c/3.png")
    for path in closed:
        path.chmod(0)
    try:
        with pytest.raises(ValueError, match=r"Cannot read the folder .*Permission denied"):
            data.read_splits(tmp_path)
        with pytest.warns(UserWarning, match="Left out 2 unreadable of 4"):
            splits = data.read_splits(tmp_path, on_bad_file="skip")
        assert len(splits.train) + len(splits.test) == 2
    finally:
        for path in closed:
            path.chmod(0o700)


def test_folders_that_contain_themselves_are_walked_once(tmp_path):
    for k in range(4):
        picture(tmp_path / f"cat/{k}.png")
    (tmp_path / "cat/again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dog").symlink_to(tmp_path / "cat", target_is_directory=True)
    splits = data.read_splits(tmp_path)
    assert len(splits.train) + len(splits.test) == 4


def test_file_names_that_are_no_text_are_no_obstacle(tmp_path):
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\n.png"))
    for path in (strange, tmp_path / "a.png"):
        picture(tmp_path / "b.png").rename(path)
    splits = data.read_splits(tmp_path, test_split=0.5)
    assert len(splits.train) + len(splits.test) == 2
    strange.write_bytes(b"")
    with pytest.raises(ValueError, match="Cannot read") as caught:
        data.read_splits(tmp_path)
    assert r"\udcff\udcfe\n.png" in str(caught.value).encode().decode()


def test_images_that_would_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    for k in range(3):
        picture(tmp_path / f"{k}.png", size=(64, 64))
    monkeypatch.setattr(keeping, "available_memory", lambda: 3 * 64 * 64 * 3 - 1)
    with pytest.raises(ValueError, match=r"The 3 images .* memory are free.*data.memory.*resize"):
        data.read_splits(tmp_path, memory="ram")
    assert data.read_splits(tmp_path, memory="ram", resize=(32, 32)).train.event_shape == (32, 32, 3)


@pytest.mark.parametrize("wrapper", ["pictures", "pictures/pictures", "a/b/c"])
def test_a_folder_that_only_wraps_others_is_no_class(tmp_path, wrapper):
    for label, name in enumerate(("cats", "dogs")):
        for k in range(4):
            picture(tmp_path / wrapper / name / "deeper" / f"{k}.png", mode="L", color=100 * label)
    picture(tmp_path / "__MACOSX" / wrapper / "cats" / "._0.png")
    (tmp_path / "readme.txt").write_text("unpacked from pictures.zip")
    splits = data.read_splits(tmp_path, labels=True)
    assert splits.class_names == ("cats", "dogs")
    x, y = next(iter(splits.train.dataset(99)))
    assert np.array_equal(np.rint(x[:, 0, 0, 0] * 255), 100 * y)
    (tmp_path / "train").mkdir()
    for path in [path for path in tmp_path.iterdir() if path.name != "train"]:
        path.rename(tmp_path / "train" / path.name)
    shutil.copytree(tmp_path / "train", tmp_path / "inner/in/test")
    shutil.move(tmp_path / "train", tmp_path / "inner/in/train")
    splits = data.read_splits(tmp_path, labels=True)
    assert splits.class_names == ("cats", "dogs") and (len(splits.train), len(splits.test)) == (8, 8)


def test_a_single_class_is_refused_where_labels_are_asked_for(tmp_path):
    for k in range(4):
        picture(tmp_path / f"pictures/{k}.png")
    for options in ({"labels": True}, {"condition": "label"}):
        with pytest.raises(ValueError, match=r"all 4 images in .* are in one, 'pictures'. .*labels=False"):
            data.read_splits(tmp_path, **options)
    assert len(data.read_splits(tmp_path).train) == 3
    for split, name in (("train", "good"), ("test", "good"), ("test", "bad")):
        picture(tmp_path / f"other/{split}/{name}/0.png")
    splits = data.read_splits(tmp_path / "other", labels=True)
    assert splits.class_names == ("bad", "good") and len(splits.train) == 1


def test_names_are_the_same_however_a_system_writes_their_accents(tmp_path):
    for form in ("NFC", "NFD"):
        for k in range(30):
            name = unicodedata.normalize(form, f"é{k}")
            picture(tmp_path / form / f"{name}.png", mode="L", color=k * 8)
    composed, other = (data.read_splits(tmp_path / form) for form in ("NFC", "NFD"))
    assert np.array_equal(rows_of(composed.test.dataset(30)), rows_of(other.test.dataset(30)))
    assert composed.fingerprint == other.fingerprint


def test_links_to_files_are_read(tmp_path):
    for k in range(3):
        picture(tmp_path / f"real/{k}.png", mode="L", color=k)
        (tmp_path / "links").mkdir(exist_ok=True)
        (tmp_path / f"links/{k}.PNG").symlink_to(tmp_path / f"real/{k}.png")
    splits = data.read_splits(tmp_path / "links", value_range=(0, 2))
    assert len(splits.train) + len(splits.test) == 3
