"""A file or folder that is written whole or not at all, and the lock of a folder that is written to.

What is written stands beside its destination, under a name of its own that begins with `.writing-`, until it is
complete and on the disk; then one rename puts it in its place. Whatever happens before, the destination is as it was.
The name tells the machine and the process, so that the next writer removes what a killed one has left, and nothing of a
living one.
"""

import contextlib
import errno
import os
import platform
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

PREFIX = ".writing-"
OLD = f"{PREFIX}old-"
HOST = f"{zlib.crc32(platform.node().encode()):08x}"
# Of other machines it is not known which processes live: seconds after which what they write is taken for left behind.
ABANDONED_AFTER = 24 * 3600.0
# What file systems without locks answer.
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


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
    with made(target.parent):
        _remove_leftovers(target.parent)
        temporary = _beside(target)
        try:
            yield temporary
            if target.exists():
                shutil.copymode(target, temporary)
            _to_disk(temporary)
            temporary.replace(target)
            _to_disk(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str], replace: bool = False) -> Iterator[Path]:
    """An empty folder beside `path` which becomes `path` at the end of the context.

    Args:
        path: of the folder.
        replace: whether one that is there gives way.

    Raises:
        FileExistsError: if `path` is there, and is no folder or may not give way.
        NotADirectoryError: if a folder on the way to it is a file.
        OSError: if the disk refuses. After any error nothing is left of the attempt.
    """
    target = Path(path)
    _check_free(target, replace)
    with made(target.parent):
        _remove_leftovers(target.parent)
        temporary, old = _beside(target), target.with_name(f"{OLD}{target.name}")
        try:
            temporary.mkdir()
            yield temporary
            for inner in (*temporary.rglob("*"), temporary):
                _to_disk(inner)
            # It may have come meanwhile.
            _check_free(target, replace)
            if os.path.lexists(target):
                target.rename(old)
            temporary.rename(target)
            _to_disk(target.parent)
        finally:
            if old.is_dir() and not target.exists():
                old.rename(target)
            for rest in (temporary, old):
                shutil.rmtree(rest, ignore_errors=True)


def _check_free(target: Path, replace: bool) -> None:
    if os.path.lexists(target) and (not replace or target.is_symlink() or not target.is_dir()):
        raise FileExistsError(f"{target} is there already: give another name, or remove it first")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _beside(target: Path) -> Path:
    return target.with_name(f"{PREFIX}{HOST}-{os.getpid()}-{secrets.token_hex(3)}-{target.name}")


def _remove_leftovers(folder: Path) -> None:
    """Remove what writers in a folder have left that are no more; put back what one had moved aside."""
    for rest in folder.glob(f"{PREFIX}*"):
        if rest.name.startswith(OLD):
            target = rest.with_name(rest.name.removeprefix(OLD))
            if not os.path.lexists(target):
                # Its writer was killed between the two renames.
                rest.rename(target)
                continue
        elif _is_in_use(rest):
            continue
        if rest.is_dir() and not rest.is_symlink():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)


def _is_in_use(temporary: Path) -> bool:
    host, pid, *_ = (*temporary.name.removeprefix(PREFIX).split("-"), "", "")
    try:
        if host != HOST or not pid.isdigit():
            return time.time() - temporary.lstat().st_mtime < ABANDONED_AFTER
        os.kill(int(pid), 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    except OSError:  # somebody else's process
        return True
    return True


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
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A folder with those above it; what of them was missing is removed again after an error.

    Raises:
        NotADirectoryError: if one of them is a file, or a link to nothing.
    """
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise NotADirectoryError(f"{place} is a file, so nothing can be written below it: give another path")
            break
        if place.is_symlink():
            raise NotADirectoryError(
                f"{place} is a link to nothing, so nothing can be written below it: remove it, or give another path"
            )
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
    except OSError as error:
        # Some file systems keep no folders in memory that they could write.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
