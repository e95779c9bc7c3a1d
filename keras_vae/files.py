"""A file or folder that is written whole or not at all, a look at a place before long work, and the lock of a folder.

What is written stands beside its destination, under a name of its own that begins with `.writing-`, until it is
complete and on the disk; then one rename puts it in its place. Whatever happens before, the destination is as it was.
The name tells the machine and the process, so that the next writer removes what a killed one has left, and nothing of a
living one.

The lock of a folder is the system's, which lets go of it however the process ends; a file in the folder says who holds
it. On file systems that have no locks the file itself is the lock: it counts for as long as the process that it names
lives.
"""

import contextlib
import datetime
import errno
import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFIX = ".writing-"
OLD = f"{PREFIX}old-"
HOST = f"{zlib.crc32(platform.node().encode()):08x}"
# Of other machines it is not known which processes live: seconds after which what they write is taken for left behind.
ABANDONED_AFTER = 24 * 3600.0
LOCK = ".lock"
# What file systems without locks answer.
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# Bytes that must find room where something is going to be written.
ROOM = 2**12


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
    with _named(target.parent), made(target.parent):
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
    with _named(target.parent):
        _check_free(target, replace)
    with _named(target.parent), made(target.parent):
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


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """What the system says of a temporary name, or of no name, is said of the folder."""
    try:
        yield
    except OSError as error:
        is_full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or PREFIX in str(error.filename) or str(error.filename) == str(folder):
            raise type(error)(cannot_write(folder, error)) from error
        raise


def check_folder(path: str | os.PathLike[str]) -> None:
    """See that files can be written to a folder, or that it can be made, before long work is done for them.

    Raises:
        OSError: naming the folder, the reason and what to do. Nothing is left of the attempt.
    """
    target = place = Path(path)
    try:
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(f"{place} is no folder, and one is needed there: move it, or give another path")
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(ROOM))
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"{cannot_write(target, error)}") from error


def check_file(path: str | os.PathLike[str]) -> None:
    """See that a file, if there is one, is a regular file that can be read.

    Raises:
        OSError: naming the file, the reason and what to do.
    """
    try:
        if os.path.lexists(path) and not Path(path).is_file():
            raise FileExistsError(f"{path} is no file, and one is needed there: move it, or give another path")
        if os.path.lexists(path):
            with Path(path).open("rb"):
                pass
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"{path} cannot be read ({error.strerror}): give yourself the right to read it") from error


def cannot_write(folder: str | os.PathLike[str], error: OSError) -> str:
    """What is said where a folder cannot be written to."""
    remedies = {
        errno.ENOSPC: "make room on the disk",
        errno.EDQUOT: "make room in your quota",
        errno.EFBIG: "the system allows no file of that size there, see ulimit -f",
        errno.EROFS: "it lies on a disk that can only be read: work on a copy elsewhere",
    }
    remedy = remedies.get(error.errno or 0, "give yourself the right to write there, or work on a copy elsewhere")
    return f"{folder} cannot be written to ({error.strerror or error}): {remedy}"


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
    """Hold the lock of a folder; it goes with the process, however that ends.

    Raises:
        Busy: if another process holds it, saying which and what to do.
    """
    note, me = folder / LOCK, _this_process()
    handle = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
    try:
        if handle is not None and _is_locked_by_the_system(handle, folder):
            note.write_text(json.dumps(me), encoding="utf-8")
        else:
            _write_if_free(note, me, folder)
        try:
            yield
        finally:
            # Somebody may have moved the folder, or taken the lock of a process that was asleep for a day.
            if _holder(note) == me:
                with contextlib.suppress(OSError):
                    note.unlink()
    finally:
        if handle is not None:
            os.close(handle)


def _is_locked_by_the_system(handle: int, folder: Path) -> bool:
    """False where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(folder) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def _write_if_free(note: Path, me: dict[str, Any], folder: Path) -> None:
    holder = _holder(note)
    if holder is not None and _lives(holder, note):
        raise _busy(folder)
    note.unlink(missing_ok=True)
    try:
        with note.open("x", encoding="utf-8") as file:
            file.write(json.dumps(me))
    except FileExistsError as error:
        raise _busy(folder) from error


def _this_process() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "machine": platform.node(),
        "began": _beginning(os.getpid()),
        "since": datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name or "python", *sys.argv[1:2]]),
    }


def _beginning(process: int) -> str | None:
    """When a process began, in ticks since the start of the machine, where the system tells: numbers come again."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return None


def _holder(note: Path) -> dict[str, Any] | None:
    """Who the file says holds the lock; None if there is none, or it was cut off."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("process"), int) else None


def _lives(holder: dict[str, Any], note: Path) -> bool:
    """Whether a process may still be writing; of other machines that is unknown, until its lock is a day old."""
    if holder.get("machine") != platform.node():
        with contextlib.suppress(OSError):
            return time.time() - note.stat().st_mtime < ABANDONED_AFTER
        return False
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's process
        pass
    return _beginning(holder["process"]) == holder.get("began")


def _busy(folder: Path) -> Busy:
    holder = _holder(folder / LOCK) or {}
    who = f"process {holder['process']}" if holder else "another process"
    who += f" on {holder['machine']}" if holder.get("machine") else ""
    who += f" ({holder['command']})" if holder.get("command") else ""
    since = f" since {holder['since']}" if holder.get("since") else ""
    rest = ""
    if holder and holder.get("machine") != platform.node():
        rest = f"; if there is no such process any more, delete {folder / LOCK}"
    return Busy(f"{who} has been writing to {folder}{since}: wait until it is done, or end it{rest}")


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
