"""Which image files lie in a folder: their splits, their classes and their names."""

import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_vae.arguments import readable
from keras_vae.data.readers.image_files import SUFFIXES
from keras_vae.data.storage.counter import Counter as Counted

# Of images that are not read: to leave them out in silence would be to lose data.
OTHER_IMAGES = (
    *(".apng", ".avif", ".dcm", ".exr", ".heic", ".heif", ".hdr", ".jfif", ".jp2", ".jpe", ".jxl", ".npy", ".npz"),
    *(".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".svg", ".tga"),
)
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}


class File(NamedTuple):
    """An image file that was found."""

    path: Path
    label: str | None = None  # the class folder
    name: str = ""  # relative to the folder of the split


def named_in(file: File, folder: Path) -> File:
    """The same, named by its path relative to the folder."""
    return file._replace(name=unicodedata.normalize("NFC", file.path.relative_to(folder).as_posix()))


def find_splits(
    folder: Path, fail: Callable[[File, Exception], None], others: Counter[str], whole: bool = False
) -> dict[str, list[File]]:
    """The image files of each split, in the order of their paths; of a folder without splits all are "train".

    Args:
        folder: where to look.
        fail: is told of folders that cannot be read.
        others: counts the suffixes of images of formats that are not read.
        whole: whether all files are "train", those beside a train folder too; in the folders of splits they keep the
            labels that they have there.
    """
    folder = _unwrapped(folder)
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
    found = {}
    for split, names in SPLIT_FOLDERS.items():
        roots = [path for path in folders if path.name.lower() in names]
        files = [file for root in roots for file in _find(root, fail, others, root.name if len(roots) > 1 else "")]
        if files:
            found[split] = files
    if "train" not in found:
        others.clear()
        return {"train": _find(folder, fail, others)}
    if whole:
        others.clear()
        known_as = {file.path: file for split in found.values() for file in split}
        return {"train": [known_as.get(file.path, file) for file in _find(folder, fail, others)]}
    known = {name for names in SPLIT_FOLDERS.values() for name in names}
    ignored = [path.name for path in folders if path.name.lower() not in known]
    if ignored:
        warnings.warn(
            f"{str(folder)!r} has a train folder, so these folders beside it are ignored: {ignored}", stacklevel=3
        )
    return found


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one that it only wraps: no image lies beside it, and folders are in it.

    A folder that holds images, and is alone, is a class; one that is called like a split is that split.
    """
    seen = set()
    while True:
        folders, has_images = _inside(folder)
        if has_images or len(folders) != 1 or folder.resolve() in seen:
            return folder
        seen.add(folder.resolve())
        (only,) = folders
        is_split = any(only.name.lower() in names for names in SPLIT_FOLDERS.values())
        try:
            inner, has_images = _inside(only)
        except OSError:  # said when its files are looked for
            return folder
        if is_split or has_images or not inner:
            return folder
        folder = only


def _inside(folder: Path) -> tuple[list[Path], bool]:
    """The visible folders in a folder, and whether there are images beside them."""
    visible = [path for path in folder.iterdir() if not _is_hidden(path)]
    folders = [path for path in visible if path.is_dir()]
    return folders, any(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in visible)


def _find(root: Path, fail: Callable[[File, Exception], None], others: Counter[str], prefix: str = "") -> list[File]:
    """All image files under `root`, in the order of their paths; each folder once, however it is linked.

    `fail` is told of folders that cannot be read; images of formats that are not read are counted in `others`.
    """
    root = _unwrapped(root) if root.is_dir() else root
    files = []
    visited = set()
    to_visit = [root]
    with Counted(f"looking for images in {str(root)!r}") as counted:
        while to_visit:
            folder = to_visit.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
                inside = sorted(folder.iterdir(), reverse=True)
            except OSError as error:
                fail(File(folder), error)
                continue
            for path in inside:
                if _is_hidden(path):
                    continue
                if path.is_dir():
                    to_visit.append(path)
                elif path.suffix.lower() in SUFFIXES:
                    parts = path.relative_to(root).parts
                    name = unicodedata.normalize("NFC", "/".join((prefix, *parts) if prefix else parts))
                    label = unicodedata.normalize("NFC", readable(parts[0])) if len(parts) > 1 else None
                    files.append(File(path, label, name))
                elif path.suffix.lower() in OTHER_IMAGES:
                    others[path.suffix.lower()] += 1
            counted.reached(len(files))
    return sorted(files)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))


def classes_of(files: list[File], shown: str, least: int = 2) -> tuple[str, ...]:
    """The names of the class folders, sorted.

    Args:
        files: those found.
        shown: how to call the folder in an error.
        least: the number of classes that there must be.

    Raises:
        ValueError: for files outside of class folders, and too few classes.
    """
    outside = [file.path for file in files if file.label is None]
    if outside:
        raise ValueError(
            f"Labels are the names of class folders, but {len(outside)} images in {shown} are in none, the first "
            f"{str(outside[0])!r}. Sort the images into class folders, or pass labels=False."
        )
    names = tuple(sorted({file.label for file in files if file.label is not None}))
    if len(names) < least:
        raise ValueError(
            f"Labels are the names of class folders, but all {len(files)} images in {shown} are in one, {names[0]!r}. "
            "Give the folder that holds the folders of all classes, or pass labels=False."
        )
    moved = [name for k, name in enumerate(names) if name.isdecimal() and int(name) < len(names) and int(name) != k]
    if moved:
        warnings.warn(
            f"The class folders in {shown} have numbers for names, and are numbered in the order of these as texts: "
            f"the label of {moved[0]!r} is {names.index(moved[0])}. Ask for a class by name, as in "
            f'condition="{moved[0]}".',
            stacklevel=3,
        )
    return names
