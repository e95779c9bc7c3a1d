"""How much memory is free, for this process and those of its container."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# Where Linux says what a container may take: the limit, what is taken, and which line of the statistics is memory that
# is given back at once, of both versions of control groups.
GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
MEMORY = Path("/proc/meminfo")
OF_THIS_PROCESS = Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, and within the limit of the container if there is one.

    None where the system does not tell.
    """
    found = [size for size in (_of_machine(), *_of_groups()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _of_groups() -> Iterator[int]:
    """What is left of each limit that holds for this process: of its own group and of those above it."""
    try:
        paths = [line.rpartition(":")[2].strip("/") for line in OF_THIS_PROCESS.read_text().splitlines()]
    except OSError:
        return
    for root, limit, taken, given_back in GROUPS:
        folders = {root / part for path in paths for part in (path, *map(str, Path(path).parents))}
        for folder in folders | {root}:
            try:
                most = int((folder / limit).read_text())  # "max" is no number
                lines = map(str.split, (folder / "memory.stat").read_text().splitlines())
                free = sum(int(line[1]) for line in lines if line[:1] == [given_back])
                yield max(0, most - int((folder / taken).read_text()) + free)
            except (OSError, ValueError):
                continue
