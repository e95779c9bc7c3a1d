"""Writing so that a reader sees a whole version or none, however the writer ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from keras_vae import files
from keras_vae.arguments import check_count
from keras_vae.export.errors import ExportError, TargetError


def next_version(base: Path) -> int:
    """The highest version in a folder of versions plus one; 1 in an empty or missing folder."""
    return max(versions(base), default=0) + 1


def versions(base: Path) -> list[int]:
    """The versions that TensorFlow Serving would see in a folder: its children whose names are numbers."""
    if not base.is_dir():
        return []
    return sorted(int(child.name) for child in base.iterdir() if child.name.isascii() and child.name.isdigit())


def check_version(base: Path, version: int | None) -> int:
    """The version to write.

    Raises:
        ExportError: the version is no positive integer.
        TargetError: it exists already, or the base is a file.
    """
    for path in (base, *base.parents):
        if path.exists() and not path.is_dir():
            raise TargetError(f"{path} is a file, and versions need a folder: give another directory")
    if version is None:
        return next_version(base)
    try:
        check_count("version, which TensorFlow Serving reads,", version)
    except ValueError as error:
        raise ExportError(str(error)) from None
    if version in versions(base):
        raise TargetError(
            f"{base / str(version)} exists, and a served version is never overwritten: leave out the version to write "
            f"{next_version(base)}, or delete the folder first"
        )
    return version


@contextlib.contextmanager
def staged_version(base: Path, version: int) -> Iterator[Path]:
    """A temporary folder beside the version, renamed to ``N`` at the end; removed after an error.

    TensorFlow Serving looks at folders named by numbers only. Folders are locked while they are written to, where the
    system can do that.

    Raises:
        ExportError: another process exports to this folder right now.
        TargetError: the version appeared meanwhile.
    """
    try:
        with files.made(base), files.locked(base), files.whole_folder(base / str(version)) as folder:
            yield folder
    except files.Busy as error:
        raise ExportError(f"another process is exporting to {base}: wait until it is done") from error
    except FileExistsError as error:
        if isinstance(error, ExportError):
            raise
        raise TargetError(f"{base / str(version)} was written by someone else meanwhile: export again") from error


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


def write_text(file: Path, text: str) -> None:
    """Writes a text file at once."""
    with staged_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
