"""Images as PNG files, one each, without margins or enlargement."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import PIL.Image

from keras_vae import files
from keras_vae.data.storage.on_disk import is_on_disk


def write_images(
    images: Any,
    folder: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    replace: bool = False,
    beside: Mapping[str, str] | None = None,
    written: Callable[[Path], Any] | None = None,
    check: Callable[[], Any] | None = None,
) -> list[Path]:
    """Write each image to a PNG file of its own; the folder is there with all of them, or not at all.

        pictures.write_images(vae.sample(5000, seed=0), "samples")

    Args:
        images: [N, H, W] or [N, H, W, C] in [0, 1], C = 1 or 3; values beyond are clipped, and all are rounded to 8
            bits.
        folder: which must not be there, or be empty.
        names: of the files, relative to the folder; their suffixes become .png. None numbers them.
        replace: whether a folder that is there gives way, with all that is in it.
        beside: texts of other files in the folder, by name.
        written: is called with the path of each file.
        check: is called when all are written, and nothing has been replaced: what it raises leaves the folder as it is.

    Returns:
        The paths, in the order of the images.

    Raises:
        ValueError: for what is no image, and another number of names.
        FileExistsError: if the folder is there, or was empty and holds something by the time that all are written.
    """
    images = _checked(images, names)
    target = Path(folder)
    is_empty = target.is_dir() and not any(target.iterdir())
    inside = _inside(len(images), names)
    with files.whole_folder(target, replace=replace or is_empty) as temporary:
        for name, image in zip(inside, images, strict=True):
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8)
            PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
            if written is not None:
                written(target / name)
        for name, text in (beside or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
        if not replace and target.is_dir() and any(target.iterdir()):
            raise FileExistsError(f"{target} was empty, and holds something now: give another name")
        if check is not None:
            check()
    return [target / name for name in inside]


def paths(images: Any, folder: str | os.PathLike[str], names: Sequence[str] | None = None) -> list[Path]:
    """Where `write_images` would write each of them.

    Raises:
        ValueError: as `write_images`.
    """
    return [Path(folder) / name for name in _inside(len(_checked(images, names)), names)]


def _checked(images: Any, names: Sequence[str] | None) -> Any:
    if not is_on_disk(images):
        images = np.asarray(images)
        images = images[..., np.newaxis] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"PNG files hold images [N, H, W, C] with C = 1 or 3, not an array of shape {images.shape}.")
    if names is not None and len(names) != len(images):
        raise ValueError(f"There are {len(names)} names for {len(images)} images: give one for each.")
    return images


def _inside(count: int, names: Sequence[str] | None) -> list[str]:
    if names is not None:
        return png_names(names)
    width = max(5, len(str(count - 1)))
    return [f"{index:0{width}d}.png" for index in range(count)]


def png_names(names: Sequence[str]) -> list[str]:
    """Names of PNG files inside of a folder, all different, for files of these names, which may lie elsewhere.

    Those that end in .png already stay as they are, wherever they stand among others.
    """
    taken: set[str] = set()
    found = [""] * len(names)
    for index in sorted(range(len(names)), key=lambda index: not names[index].endswith(".png")):
        name = names[index]
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            path = PurePosixPath(path.name)
        numbered = (path.with_name(f"{path.stem}-{number}.png") for number in itertools.count(2))
        choices = itertools.chain([path.with_suffix(".png"), path.with_name(f"{path.name}.png")], numbered)
        found[index] = next(choice for choice in map(str, choices) if choice not in taken)
        taken.add(found[index])
    return found
