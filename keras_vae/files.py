"""A file or folder that is written whole or not at all, and the lock of a folder that is written to.

What is written stands beside its destination under a name that begins with `.writing-` until it is complete and on the
disk; then one rename puts it in its place. Whatever happens before, the destination is as it was. Names are the same in
every process, so that what a killed one left is written over: two writers of one folder need `locked`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".writing-"


class Busy(OSError):
    """Another process is writing to this folder."""


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, in the folder of `path`, whose file becomes `path` at the end of the context.

    A symbolic link is followed: the file that it points to is replaced, and the link stays.

    Raises:
        FileExistsError: if `path` is there and no regular file, such as a folder, a device or a pipe.
        NotADirectoryError: if a folder on the way to it is a file.
        OSError: if the disk refuses. After any error nothing is left of the attempt.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise FileExistsError(f"{path} is a folder: give the name of a file")
    if os.path.lexists(target) and not target.is_file():
        raise FileExistsError(f"{path} is no regular file but a device, pipe or socket: it is not replaced")
    temporary = target.with_name(PREFIX + target.name)
    with made(target.parent):
        try:
            temporary.unlink(missing_ok=True)
            yield temporary
            _to_disk(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], replace: bool = False) -> Iterator[Path]:
    """An empty folder beside `path` which becomes `path` at the end of the context.

    What earlier attempts have left in the same folder is removed first.

    Args:
        path: of the folder.
        replace: whether one that is there gives way.

    Raises:
        FileExistsError: if `path` is there, and is no folder or may not give way.
        NotADirectoryError: if a folder on the way to it is a file.
        OSError: if the disk refuses. After any error nothing is left of the attempt.
    """
    target = Path(path)
    temporary, old = target.with_name(PREFIX + target.name), target.with_name(f"{PREFIX}old-{target.name}")
    with made(target.parent):
        try:
            remove_leftovers(target.parent)
            temporary.mkdir()
            yield temporary
            for inner in (*temporary.rglob("*"), temporary):
                _to_disk(inner)
            if os.path.lexists(target):
                if not replace or target.is_symlink() or not target.is_dir():
                    raise FileExistsError(f"{target} is there already: give another name, or remove it first")
                target.rename(old)
            temporary.rename(target)
            _to_disk(target.parent)
        finally:
            for rest in (temporary, old):
                shutil.rmtree(rest, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left of their attempts in a folder."""
    for rest in folder.glob(f"{PREFIX}*"):
        if rest.is_dir() and not rest.is_symlink():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where the system has locks; it goes with the process, however that ends.

    Raises:
        Busy: if another process holds it.
    """
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
            raise Busy(f"another process is writing to {folder}: wait until it is done") from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A folder with those above it; what of them was missing is removed again after an error.

    Raises:
        NotADirectoryError: if one of them is a file.
    """
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise NotADirectoryError(f"{place} is a file, so nothing can be written below it: give another path")
            break
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):  # not empty any more: somebody else's
                place.rmdir()
        raise


def _to_disk(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
