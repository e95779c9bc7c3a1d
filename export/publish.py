"""Writing so that a reader sees a whole version or none, however the writer ends."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_vae import files
from keras_vae.arguments import check_count
from keras_vae.export.errors import ExportError, TargetError

# TensorFlow Serving reads the name of a folder as an int64; white space, a plus and leading zeros are read over.
LARGEST_VERSION = 2**63 - 1
_VERSION = re.compile(r"\s*\+?[0-9]+\s*", re.ASCII)
# Seconds to wait for another export that writes to the same record.
_PATIENCE = 600.0


def next_version(base: Path) -> int:
    """The highest version in a folder of versions plus one; 1 in an empty or missing folder.

    Raises:
        TargetError: there is no higher one.
    """
    highest = max(versions(base), default=0)
    if highest >= LARGEST_VERSION:
        raise TargetError(
            f"{base} has the version {highest}, the highest that TensorFlow Serving can read: give another directory, "
            "or a version that is free"
        )
    return highest + 1


def versions(base: Path) -> dict[int, Path]:
    """The versions that TensorFlow Serving would see in a folder, ascending, with their places.

    A name such as 007 is version 7; a number above 2^63 - 1 is none.
    """
    if not base.is_dir():
        return {}
    named = [child for child in sorted(base.iterdir()) if _VERSION.fullmatch(child.name) and len(child.name) < 1000]
    found = {int(child.name): child for child in named if int(child.name) <= LARGEST_VERSION}
    return dict(sorted(found.items()))


def check_version(base: Path, version: int | None) -> int:
    """The version to write.

    Raises:
        ExportError: the version is no integer from 1 to 2^63 - 1.
        TargetError: it exists already, or the base is a file or a link to nothing.
    """
    for path in (base, *base.parents):
        if os.path.lexists(path) and not path.is_dir():
            raise TargetError(
                f"{path} is a file, and versions need a folder: give another directory"
                if path.exists()
                else f"{path} is a link to nothing, and versions need a folder: remove it, or give another directory"
            )
    if version is None:
        return next_version(base)
    try:
        version = check_count("version, which TensorFlow Serving reads,", version, at_most=LARGEST_VERSION)
    except ValueError as error:
        raise ExportError(str(error)) from None
    there = versions(base).get(version)
    if there is not None:
        raise TargetError(
            f"{there} exists, and a served version is never overwritten: leave out the version to write the one after "
            "the highest, or delete the folder first"
        )
    return version


def check_beside(*places: Path) -> None:
    """Refuses places of files that are neither free nor regular files, before long work.

    Raises:
        TargetError: naming the first.
    """
    for place in places:
        if place.exists() and not place.is_file():
            raise TargetError(f"{place} is no regular file, and one is to be written there: remove it first")


@contextlib.contextmanager
def staged_version(base: Path, version: int, texts: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A temporary folder beside the version, renamed to ``N`` at the end; removed after an error.

    TensorFlow Serving looks at folders named by numbers only. Folders are locked while they are written to, where the
    system can do that.

    Args:
        base: the folder of versions.
        version: N.
        texts: file name -> content of the files beside the versions, which are written once the version stands. The
            mapping may still be filled inside of the context.

    Raises:
        ExportError: another process exports to this folder right now.
        TargetError: the version appeared meanwhile.
    """
    try:
        with files.made(base), files.locked(base):
            with files.whole_folder(base / str(version)) as folder:
                yield folder
            for name, text in (texts or {}).items():
                files.write_text(base / name, text)
    except files.Busy as error:
        raise ExportError(f"another process is exporting to {base}: wait until it is done") from error
    except FileExistsError as error:
        if isinstance(error, ExportError):
            raise
        raise TargetError(f"{base / str(version)} was written by someone else meanwhile: export again") from error


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """One export after another: waits until no other one writes to the records of this folder.

    Raises:
        ExportError: another process keeps it for ten minutes.
    """
    until = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(files.locked(folder))
                break
            except files.Busy as error:
                if time.monotonic() > until:
                    raise ExportError(f"another process keeps writing to {folder}: export again") from error
                time.sleep(0.05)
        yield


@contextlib.contextmanager
def staged_file(file: Path) -> Iterator[Path]:
    """A temporary file beside ``file``, which it replaces at the end; removed after an error.

    Raises:
        TargetError: ``file`` is a folder or another thing that is no regular file, or lies below a file.
    """
    try:
        with files.whole_file(file) as temporary:
            yield temporary
    except (FileExistsError, NotADirectoryError) as error:
        if isinstance(error, ExportError):
            raise
        raise TargetError(str(error)) from error
