"""Checkpoints on disk: each is whole or not there; old ones make room; damaged ones are recognised and set aside."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files

ARRAYS, STATE = "arrays.npz", "state.json"
KEPT = 2
PREFIX, ASIDE = "step-", "damaged-"


class Damaged(ValueError):
    """A checkpoint that is not as it was written."""


def write(folder: Path, step: int, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a checkpoint in `folder`, then remove all but the last few.

    Whenever the process, the disk or the machine fails, the last whole checkpoint stays.

    Raises:
        OSError: if it cannot be written; nothing is left of the attempt.
    """
    target = folder / f"{PREFIX}{step:09d}"
    with files.whole_folder(target, replace=True) as temporary:
        np.savez(temporary / ARRAYS, allow_pickle=False, **dict(arrays))
        content = json.dumps({"state": state, "sha256": _file_digest(temporary / ARRAYS)}, default=_plain)
        text = json.dumps({"sha256": _digest(content.encode()), "content": content})
        (temporary / STATE).write_text(text, encoding="utf-8")
    for old in paths(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """State and arrays of a checkpoint.

    Raises:
        Damaged: if a file is missing, cut off or changed.
    """
    try:
        outer = json.loads((path / STATE).read_text(encoding="utf-8"))
        if _digest(outer["content"].encode()) != outer["sha256"]:
            raise Damaged(f"{STATE} was changed")
        content = json.loads(outer["content"])
        if _file_digest(path / ARRAYS) != content["sha256"]:
            raise Damaged(f"{ARRAYS} is cut off or was changed")
        with np.load(path / ARRAYS, allow_pickle=False) as file:
            return content["state"], dict(file)
    except OSError as error:
        raise Damaged(f"{Path(error.filename or path).name}: {error.strerror or error}") from error
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{STATE} is cut off or was changed") from error


def newest(folder: Path, report: Callable[[str], Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """The newest whole checkpoint of `folder`, or None. Damaged ones are reported, renamed and skipped."""
    for path in paths(folder):
        try:
            return read(path)
        except Damaged as error:
            report(f"The checkpoint {path} is damaged and skipped: {error}.")
            with contextlib.suppress(OSError):
                path.rename(path.with_name(ASIDE + path.name))
    return None


def paths(folder: Path) -> list[Path]:
    """The checkpoints of `folder`, the newest first."""
    return sorted(folder.glob(f"{PREFIX}*"), reverse=True)


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
