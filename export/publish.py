"""Writing so that a reader sees a whole version or none, however the writer ends."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_vae.export.errors import ExportError, TargetError

_PREFIX = ".tmp-"


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
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ExportError(f"version must be a positive integer, as TensorFlow Serving reads it, not {version!r}")
    if version in versions(base):
        raise TargetError(
            f"{base / str(version)} exists, and a served version is never overwritten: leave out the version to write "
            f"{next_version(base)}, or delete the folder first"
        )
    return version


@contextlib.contextmanager
def staged_version(base: Path, version: int) -> Iterator[Path]:
    """A temporary folder ``.tmp-N`` beside the version, renamed to ``N`` at the end; removed after an error.

    TensorFlow Serving looks at folders named by numbers only. Temporaries that a killed export left behind are removed
    first. Folders are locked while they are written to, where the system can do that.

    Raises:
        ExportError: another process exports to this folder right now.
        TargetError: the version appeared meanwhile.
    """
    made = _make_folders(base)
    try:
        with _locked(base):
            for stale in base.glob(f"{_PREFIX}*"):
                shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
            folder = base / f"{_PREFIX}{version}"
            folder.mkdir()
            try:
                yield folder
                _sync(folder)
                if version in versions(base):
                    raise TargetError(f"{base / str(version)} was written by someone else meanwhile: export again")
                folder.rename(base / str(version))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def staged_file(file: Path) -> Iterator[Path]:
    """A temporary file beside ``file``, which it replaces at the end; removed after an error.

    Raises:
        TargetError: ``file`` is a folder, or lies below a file.
    """
    if file.is_dir():
        raise TargetError(f"{file} is a folder: give the name of a file")
    for path in file.parents:
        if path.exists() and not path.is_dir():
            raise TargetError(f"{path} is a file, so nothing can be written below it: give another path")
    made = _make_folders(file.parent)
    temporary = file.with_name(f"{_PREFIX}{file.name}")
    try:
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def write_text(file: Path, text: str) -> None:
    """Writes a text file at once."""
    with staged_file(file) as temporary:
        temporary.write_text(text)


def _make_folders(folder: Path) -> list[Path]:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(f"another process is exporting to {folder}: wait until it is done") from error
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
