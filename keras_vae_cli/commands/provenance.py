"""Of what a report is: which code, which versions, which command, when, on what."""

import ctypes
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae
from keras_vae_cli.settings import Settings

NAME = "keras-vae"
# What CUDA programs load, and one of the libraries that the extra `gpu` brings.
DRIVER, LIBRARY = "libcuda.so.1", "nvidia-cudnn-cu12"


def provenance(settings: Settings, **options: Any) -> dict[str, Any]:
    """What a report needs to be made again, JSON-ready.

    `date` (UTC), `command` as it was typed, `commit` of the code (None outside of a checkout, and of what was not
    installed from one) and whether it was `changed` since, `versions`, and `seed` and `config`, every resolved value.

    Args:
        settings: of the run.
        options: of the command, beside its settings; a seed of its own comes before that of the training.
    """
    commit, changed = _commit(Path(keras_vae.__file__).resolve().parent)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "commit": commit,
        "changed": changed,
        "versions": {
            "python": platform.python_version(),
            "keras_vae": keras_vae.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tensorflow_probability": tfp.__version__,
            "numpy": np.__version__,
        },
        "seed": settings.train.seed,
        "config": settings.model_dump(mode="json"),
        **options,
    }


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join([NAME, *sys.argv[1:]])


def in_a_line(found: dict[str, Any]) -> str:
    """The same for people: versions, commit and seed."""
    versions = found["versions"]
    commit = f" of commit {found['commit'][:10]}" if found["commit"] else ""
    changed = ", with changes" if found["changed"] else ""
    return (
        f"keras_vae {versions['keras_vae']}{commit}{changed}; TensorFlow {versions['tensorflow']}, Keras "
        f"{versions['keras']}, TFP {versions['tensorflow_probability']}; seed {found['seed']}"
    )


def device_in_a_line() -> str:
    """On what TensorFlow computes and, if on the CPU, what is missing for a GPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]
        return f"On {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}: {', '.join(dict.fromkeys(names))}."
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return "On the CPU: $CUDA_VISIBLE_DEVICES hides all GPUs."
    if not _loads(DRIVER):
        return f"On the CPU: there is no driver of an NVIDIA GPU ({DRIVER})."
    try:
        importlib.metadata.distribution(LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        return "On the CPU: there is an NVIDIA driver, but not the libraries for it: pip install '.[gpu]' brings them."
    return (
        "On the CPU: TensorFlow finds no GPU, in spite of a driver and its libraries. With TF_CPP_MIN_LOG_LEVEL=0 "
        "before the command it tells why."
    )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _commit(package: Path) -> tuple[str | None, bool | None]:
    """The commit of the package's files and whether they differ from it; (None, None) where nobody knows."""
    root = package.parent
    if (root / ".git").exists() and (root / "pyproject.toml").is_file():
        try:
            head = _git(root, "rev-parse", "HEAD").strip()
            return head, bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
        except (OSError, subprocess.SubprocessError):
            return None, None
    try:
        text = importlib.metadata.distribution(NAME).read_text("direct_url.json") or "{}"
        return json.loads(text).get("vcs_info", {}).get("commit_id"), None
    except (importlib.metadata.PackageNotFoundError, ValueError, OSError):
        return None, None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True, timeout=20
    ).stdout
