"""What data a model was trained on: enough to tell whether data that are read later are the same, and what changed."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_vae.data.examples import Examples, Source

# Of more examples than this only the number and one checksum are kept.
MOST_LISTED = 100_000
SHOWN = 3


def fingerprint(source: Source) -> dict[str, Any]:
    """The data by their content, in values that JSON holds: not by the place where they lie, nor by their order.

    Of a dataset by name: its version and the sizes of its splits. Of files: names and checksums of their bytes. Of rows
    of arrays: checksums. Beside them the shape, the white and the classes.
    """
    train = source.splits["train"]
    return {
        "name": source.name,
        "shape": list(train.images.shape[1:]),
        "white": int(train.divisor),
        "classes": list(source.class_names or ()),
        "splits": {name: _of_split(split) for name, split in source.splits.items()},
    }


def _of_split(split: Examples) -> dict[str, Any]:
    found: dict[str, Any] = {"count": len(split.images)}
    if split.checksums is not None:
        checksums = split.checksums.astype(">u4").tobytes().hex()
        if len(split.images) <= MOST_LISTED:
            found |= {"names": None if split.names is None else list(split.names), "checksums": checksums}
        else:
            text = "\n".join((checksums, *(split.names or ()))).encode("utf-8", "surrogateescape")
            found["digest"] = hashlib.blake2b(text, digest_size=16).hexdigest()
        if split.names is None and split.labels is not None:
            found["labels"] = zlib.crc32(np.ascontiguousarray(split.labels).data)
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What has changed from one fingerprint to another, in sentences; none if they are of the same data."""
    found = []
    for key, called in (("name", "the dataset"), ("shape", "the shape of an example"), ("white", "the level of white")):
        if before.get(key) != after.get(key):
            found.append(f"{called} was {_written(before.get(key))}, and is {_written(after.get(key))}")
    old, new = before.get("classes") or [], after.get("classes") or []
    if old != new:
        found += [f"the class {name!r} is gone" for name in old if name not in new]
        found += [f"the class {name!r} is new" for name in new if name not in old]
        if set(old) == set(new):
            found.append("the classes have another order")
    splits = before.get("splits", {}), after.get("splits", {})
    for name in dict.fromkeys((*splits[0], *splits[1])):
        if name not in splits[1]:
            found.append(f"the {name} split is gone")
        elif name not in splits[0]:
            found.append(f"the {name} split is new")
        else:
            prefix = f"{name}: " if len(splits[0]) > 1 or len(splits[1]) > 1 else ""
            found += [prefix + line for line in _between(splits[0][name], splits[1][name])]
    return found


def _between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if old == new:
        return []
    counts = f"{old['count']:,} examples before, {new['count']:,} now"
    if "checksums" not in old or "checksums" not in new:
        same = old["count"] == new["count"]
        return ["the examples are others, or in another order" if same else counts]
    if (old["names"] is None) != (new["names"] is None):
        return ["files before, arrays now" if new["names"] is None else "arrays before, files now"]
    thing = "row" if old["names"] is None else "file"
    mine, theirs = _by_name(old), _by_name(new)
    lines = [
        _listed([name for name in theirs if name not in mine], thing, "more"),
        _listed([name for name in mine if name not in theirs], thing, "fewer"),
        _listed([name for name in mine if theirs.get(name, mine[name]) != mine[name]], thing, "changed"),
    ]
    if old.get("labels") != new.get("labels") and mine == theirs:
        lines.append("the labels are others")
    return [line for line in lines if line] + ([] if old["count"] == new["count"] else [counts])


def _by_name(split: Mapping[str, Any]) -> dict[str, str]:
    text = split["checksums"]
    checksums = [text[start : start + 8] for start in range(0, len(text), 8)]
    return dict(zip(split["names"] or map(str, range(len(checksums))), checksums, strict=False))


def _listed(names: Sequence[str], thing: str, change: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names):,} {thing}{'s' if len(names) > 1 else ''} {change}: {shown}"


def _written(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
