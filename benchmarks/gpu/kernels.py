"""The kernels that take longest, of a trace that `jax.profiler` has written."""

import collections
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Events of the host that hold others, or wait for them.
HOLDERS = re.compile(r"^(Thunk|Tfrt|PjRt|PyClient|Cpu|XlaModule|ExecuteHelper|end: |\$|Wait|ThreadpoolListener|jit)|::")


def longest(folder: Path, steps: int, n: int = 5) -> list[dict[str, Any]]:
    """The `n` kernels with the most time, each with microseconds a step and its share of the time of all.

    Raises:
        RuntimeError: if there is no trace, or nothing in it.
    """
    times: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for name, nanoseconds in _kernels(folder):
        times[name] += nanoseconds
        calls[name] += 1
    total = sum(times.values())
    if not total:
        raise RuntimeError(f"the trace in {folder} has no kernels")
    return [
        {"name": name, "us": time / 1e3 / steps, "share": time / total, "calls": calls[name] / steps}
        for name, time in times.most_common(n)
    ]


def _kernels(folder: Path) -> list[tuple[str, float]]:
    errors = []
    for read, pattern in ((_from_planes, "*.xplane.pb"), (_from_json, "*.trace.json.gz")):
        paths = sorted(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)
        try:
            events = list(read(paths[-1])) if paths else []
        except Exception as error:
            errors.append(f"{pattern}: {type(error).__name__}: {error}")
            continue
        # Kernels of a device if there are any: the host only starts them.
        for on_device in (True, False):
            found = [(name, time) for is_device, name, time in events if is_device is on_device]
            if found:
                return found
        errors.append(f"{pattern}: {len(paths)} files, {len(events)} events")
    raise RuntimeError("; ".join(errors))


def _from_planes(path: Path) -> Iterator[tuple[bool, str, float]]:
    import jax

    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        is_device = plane.name.startswith("/device:") and "CUSTOM" not in plane.name
        if not is_device and plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            if is_device and not line.name.startswith("Stream"):
                continue  # sums over the streams
            for event in line.events:
                if is_device or not HOLDERS.search(event.name):
                    yield is_device, event.name, float(event.duration_ns)


def _from_json(path: Path) -> Iterator[tuple[bool, str, float]]:
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    places: dict[tuple[int, int | None], str] = {}
    for event in events:
        if event.get("ph") == "M" and event.get("name") in ("process_name", "thread_name"):
            key = (event["pid"], event.get("tid") if event["name"] == "thread_name" else None)
            places[key] = event["args"]["name"]
    for event in events:
        if event.get("ph") != "X":
            continue
        is_device = places.get((event["pid"], None), "").startswith("/device:")
        if is_device and not places.get((event["pid"], event["tid"]), "").startswith("Stream"):
            continue
        if is_device or not HOLDERS.search(event["name"]):
            yield is_device, event["name"], 1e3 * float(event.get("dur", 0.0))
