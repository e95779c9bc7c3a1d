"""`keras-vae info --bug`: what whoever mends a fault asks for first, as text for a report."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_vae_cli.looks.runs import read

PACKAGES = (
    *("keras-vae", "tensorflow", "keras", "tf_keras", "tensorflow-probability", "tensorflow-datasets", "numpy"),
    *("ai-edge-litert", "nvidia-cudnn-cu12", "torch", "jax"),
)
# What changes how TensorFlow and Keras start and compute.
VARIABLES = (
    *("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_GPU_ALLOCATOR"),
    *("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_DETERMINISTIC_OPS", "OMP_NUM_THREADS"),
)
# Of these settings nobody else's business is where they are.
OF_PLACES = ("path", "start_from", "data_dir", "cache")


def report(run: Path | None) -> str:
    """Versions, machine and, of a run, its config and how far it came, in Markdown; folders of the user's are left out.

    Raises:
        ConfigError: if the run folder is damaged.
    """
    return "\n".join(["```", *_surroundings(), *([] if run is None else _run(run)), "```"])


def _surroundings() -> Iterator[str]:
    yield f"python {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}"
    yield f"{platform.machine()}, {os.cpu_count()} processors"
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    yield f"installed in {'a virtual environment' if sys.prefix != sys.base_prefix else 'the Python of the system'}"


def _run(path: Path) -> Iterator[str]:
    found = read(path)
    settings = found.settings.model_dump(mode="json", exclude_defaults=True)
    for section in settings.values():
        for name in OF_PLACES:
            if isinstance(section, dict) and section.get(name) is not None:
                section[name] = "..."
    yield f"config {json.dumps(settings)}"
    by = found.report.get("trained_by", {})
    if by:
        yield f"trained by keras_vae {by.get('versions', {}).get('keras_vae')}, commit {by.get('commit')}"
    training = found.report.get("training", {})
    state = "finished" if found.is_finished else "not finished"
    yield f"{state}, {training.get('steps', 'no')} steps, {training.get('skipped_steps', 0)} skipped"
