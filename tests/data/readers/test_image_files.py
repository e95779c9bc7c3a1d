"""Data: what one image file holds, of every depth, colour space and format."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sources import picture, rows_of

from keras_vae import data

RNG = np.random.default_rng(0)
RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def served(folder: Path, **options) -> np.ndarray:
    """The images of folder/train, in the order of their files."""
    test = folder / "test"
    if not test.exists():
        test.symlink_to("train")
    return rows_of(data.read_splits(folder, **options).train.dataset(8))


def write(path: Path, values: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png" and values.dtype == np.uint16 and values.ndim == 3:
        path.write_bytes(tf.io.encode_png(values).numpy())  # Pillow writes no 16-bit colours
    else:
        Image.fromarray(values).save(path, **options)
    return path


def deep(bits: int, *channels: int) -> np.ndarray:
    values = RNG.integers(0, 2**bits, (8, 8, *channels)).astype(np.uint16)
    values.flat[:2] = 0, 2**bits - 1
    return values


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_files_keep_their_true_depth(tmp_path, bits, suffix):
    images = [deep(bits) for _ in range(3)]
    images[1] //= 3  # a dark one shares the scale of the others
    for k, values in enumerate(images):
        write(tmp_path / f"train/{k}{suffix}", values)
    if bits == 16:
        found = served(tmp_path)
    else:
        with pytest.warns(
            UserWarning, match=rf"from 0 to {2**bits - 1} in the 16-bit files .*: {2**bits - 1} is taken"
        ):
            found = served(tmp_path)
    np.testing.assert_array_equal(found[..., 0], np.stack(images).astype(np.float32) / np.float32(2**bits - 1))
    np.testing.assert_array_equal(served(tmp_path, value_range=(0, 2**bits - 1)), found)
    eight = served(tmp_path, value_range=(0, 2**bits - 1), levels=256)
    np.testing.assert_allclose(eight * 255, np.rint(found * 255), atol=1e-4)
    assert served(tmp_path, value_range=(0, 2**bits - 1), resize=(4, 5), fit="crop").shape == (3, 4, 5, 1)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_colours_are_no_upper_bytes(tmp_path, channels):
    values = deep(12, channels)
    if channels in (2, 4):
        values[..., -1] = 65535
    write(tmp_path / "train/a.png", values)
    found = served(tmp_path, value_range=(0, 4095))
    shown = values[..., : 1 if channels == 2 else 3]
    np.testing.assert_array_equal(found[0], shown.astype(np.float32) / np.float32(4095))
    values[..., -1] = 0 if channels in (2, 4) else values[..., -1]
    write(tmp_path / "train/a.png", values)
    if channels in (2, 4):  # transparent pixels show white
        assert (served(tmp_path) == 1.0).all()


def test_eight_bits_in_deep_files_and_deep_files_among_others(tmp_path):
    values = (RAMP * 255).astype(np.uint16)
    write(tmp_path / "a/train/a.png", values)
    with pytest.warns(UserWarning, match="0 to 255 in the 16-bit files .*: 255 is taken for white"):
        np.testing.assert_array_equal(served(tmp_path / "a")[0, ..., 0], values / np.float32(255))
    write(tmp_path / "b/train/a.png", (RAMP * 4095).astype(np.uint16))
    write(tmp_path / "b/train/b.png", (RAMP * 255).astype(np.uint8))
    with pytest.warns(UserWarning, match="4095 is taken for white"):
        first, second = served(tmp_path / "b")
    np.testing.assert_array_equal(first * 255, np.rint(first * 255))
    assert np.abs(first - second).max() <= 1 / 255


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16", "LA"])
def test_masks_of_zero_and_one_are_black_and_white(tmp_path, mode):
    masks = RNG.integers(0, 2, (5, 8, 8)).astype(np.uint8)
    for k, mask in enumerate(masks):
        if mode == "LA":
            Image.merge("LA", [Image.fromarray(mask), Image.new("L", (8, 8), 255)]).save(
                write(tmp_path / f"train/{k}.png", mask)
            )
        else:
            values = mask.astype(np.uint16) if mode == "I;16" else np.repeat(mask[..., None], 3, -1)
            write(tmp_path / f"train/{k}.png", mask if mode == "L" else values)
    found = served(tmp_path)
    np.testing.assert_array_equal(found[..., 0], masks)
    # As those of bools: gray where a resized pixel covers both.
    gray = served(tmp_path, resize=(4, 4))
    assert gray.mean() == pytest.approx(masks.mean(), abs=0.02) and len(np.unique(gray)) > 10


def test_dark_pictures_are_not_brightened(tmp_path):
    for k in range(4):
        write(tmp_path / f"train/{k}.png", RNG.integers(0, 61, (8, 8, 3), np.uint8))
    assert served(tmp_path).max() == np.float32(60) / np.float32(255)
    for k in range(4):
        write(tmp_path / f"train/{k}.png", RNG.integers(0, 17, (8, 8), np.uint8))
    with pytest.warns(UserWarning, match=r"0 to 16 in the files .*255 is taken for white. Write value_range"):
        found = served(tmp_path)
    np.testing.assert_allclose(served(tmp_path, value_range=(0, 16)), found * 255 / 16, rtol=1e-6)
    with pytest.raises(ValueError, match=r"0\.png' do not lie within value_range=\(0, 3\)"):
        served(tmp_path, value_range=(0, 3))


def test_black_pictures_stay_black(tmp_path):
    for k in range(3):
        picture(tmp_path / f"train/{k}.png", mode="L", color=0)
    assert (served(tmp_path) == 0.0).all()


def test_floating_point_tiffs(tmp_path):
    for k in range(3):
        write(tmp_path / f"train/{k}.tif", (RAMP * 0.5).astype(np.float32))
    write(tmp_path / "train/z.png", (RAMP * 255).astype(np.uint8))
    found = served(tmp_path)
    np.testing.assert_array_equal(found[0, ..., 0], (RAMP * 0.5).astype(np.float32))
    np.testing.assert_allclose(found[3, ..., 0], np.floor(RAMP * 255) / 255, atol=1e-7)
    write(tmp_path / "train/1.tif", (RAMP * 1000).astype(np.float32))
    with pytest.raises(ValueError, match=r"0 to 1000 in .*1\.tif.*value_range=\(0, 1000\)"):
        served(tmp_path)
    (tmp_path / "train/z.png").unlink()
    np.testing.assert_allclose(served(tmp_path, value_range=(0, 1000))[1, ..., 0], RAMP, atol=1e-6)
    write(tmp_path / "train/1.tif", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"1\.tif': it has NaN"):
        served(tmp_path)


def test_tiffs_that_would_lose_something_are_named(tmp_path):
    picture(tmp_path / "train/a.png")
    write(tmp_path / "train/b.tif", np.full((8, 8), 70_000, np.int32))
    with pytest.raises(ValueError, match=r"b\.tif': values from 70000 to 70000; whole numbers of up to 16 bits"):
        served(tmp_path)
    # Three samples of 16 bits, as no library here writes them: little-endian, no compression, one strip.
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 8), (279, 4, 1, 384), (284, 3, 1, 1)]
    directory = np.array([len(tags)], "<u2").tobytes() + b"".join(
        np.array([tag, kind], "<u2").tobytes() + np.array([count, value], "<u4").tobytes()
        for tag, kind, count, value in tags
    )
    content = b"II*\0\x08\0\0\0" + directory + bytes(4)
    content += np.array([16] * 3, "<u2").tobytes()
    (tmp_path / "train/b.tif").write_bytes(content.ljust(140, b"\0") + deep(12, 3).tobytes())
    with pytest.raises(ValueError, match=r"b\.tif': a TIFF file of more than 8 bits a colour; save it as PNG"):
        served(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_read_and_it_is_said(tmp_path, suffix):
    frames = [Image.new("L", (8, 8), level) for level in (200, 40, 90)]
    (tmp_path / "train").mkdir()
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"train/a.{suffix}", save_all=True, append_images=frames[1:], **options)
    picture(tmp_path / "train/b.png", mode="L", color=10)
    with pytest.warns(UserWarning, match=rf"2 of the files in .* several frames or pages, such as .*a\.{suffix}'"):
        found = served(tmp_path)
    assert np.rint(found[:, 0, 0, 0] * 255).tolist() == [200, 10]


def test_colour_spaces(tmp_path):
    picture(tmp_path / "train/a.jpg", mode="CMYK", color=(0, 255, 255, 0), quality=100)
    picture(tmp_path / "train/b.tif", mode="CMYK", color=(0, 255, 255, 0))
    picture(tmp_path / "train/c.jpg", mode="YCbCr", color=(76, 85, 255), quality=100)
    Image.new("RGB", (8, 8), "red").convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "train/d.gif")
    np.testing.assert_allclose(served(tmp_path)[:, 0, 0], [[1, 0, 0]] * 4, atol=0.02)


def test_every_orientation_of_deep_colours_is_turned_as_that_of_others(tmp_path):
    values = deep(16, 3)[:6]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        write(tmp_path / f"{orientation}/train/deep.png", values)
        folder = tmp_path / f"{orientation}/train"
        content = (folder / "deep.png").read_bytes()
        chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        with_exif = len(chunk[4:]).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        (folder / "deep.png").write_bytes(content[:33] + with_exif + content[33:])
        Image.fromarray((values >> 8).astype(np.uint8)).save(folder / "flat.png", exif=exif)
        found = served(tmp_path / str(orientation))
        np.testing.assert_allclose(found[0], found[1], atol=1 / 200)


def test_files_of_other_kinds_are_left_out_and_pictures_among_them_named(tmp_path):
    for k in range(3):
        picture(tmp_path / f"train/{k}.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "labels.csv", "__MACOSX/._0.png"):
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).write_bytes(b"other")
    assert len(served(tmp_path)) == 3
    for name in ("a.heic", "b.HEIC", "c.dcm"):
        (tmp_path / "train" / name).write_bytes(b"other")
    with pytest.warns(UserWarning, match=r"not read, by their suffix: 2 \.dcm, 4 \.heic"):  # train and test
        assert len(served(tmp_path)) == 3


def test_an_unwanted_file_does_not_hang_or_grow(tmp_path):
    picture(tmp_path / "train/a.png")
    os.mkfifo(tmp_path / "train/b.tif")
    picture(tmp_path / "train/c.png")
    os.truncate(tmp_path / "train/c.png", 5 * 2**30)  # a file with a hole takes no place on the disk
    with pytest.warns(UserWarning, match="Left out 4"):  # train and test
        assert len(served(tmp_path, on_bad_file="skip")) == 1
