"""Runs an exported file in a fresh process that has never seen the code that wrote it."""

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).resolve().parent
FORBIDDEN = {
    "saved_model": ("tensorflow", "keras", "tf_keras", "tensorflow_probability", "keras_vae"),
    "tflite": ("tensorflow", "keras", "tf_keras", "tensorflow_probability", "keras_vae"),
}


@dataclass
class Call:
    """One request: a signature and its inputs by name, run ``1 + repeat`` times in a row."""

    signature: str
    inputs: dict[str, np.ndarray]
    repeat: int = 0


@dataclass
class Result:
    """What came back: ``status`` is OK or the error's name, ``seconds`` has one number per run."""

    status: str
    message: str
    seconds: list[float]
    outputs: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the call gave outputs."""
        return self.status == "OK"


@dataclass
class Response:
    """The answers of one fresh process.

    ``load`` is OK or the loader's message. ``signatures`` maps a name to (inputs, outputs), each of them a mapping of
    names to (dtype, shape), where None in a shape means any size.
    """

    load: str
    signatures: dict[str, tuple[dict[str, tuple[str, list[int | None]]], dict[str, tuple[str, list[int | None]]]]]
    results: list[Result]


class FreshProcessError(RuntimeError):
    """The fresh process died, or was not the kind of process it should have been."""


def run(path: Path, calls: list[Call], *, timeout: float = 600.0) -> Response:
    """Makes the calls on an exported model in a new process without TensorFlow's, Keras's or this package's Python.

    Args:
        path: a SavedModel's version folder (C++ loader, XLA disabled) or a ``.tflite`` file (``ai-edge-litert``).
        calls: what to run, in this order, in one process.
        timeout: seconds after which the process is killed.

    Raises:
        FreshProcessError: the process crashed, took too long, or imported a module that it must do without.
    """
    kind = "saved_model" if Path(path).is_dir() else "tflite"
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for number, call in enumerate(calls):
        keys = {name: f"{number}:{name}" for name in call.inputs}
        arrays.update({keys[name]: np.asarray(value) for name, value in call.inputs.items()})
        listed.append({"signature": call.signature, "inputs": keys, "repeat": call.repeat})
    request = json.dumps({"model": str(Path(path).resolve()), "calls": listed}).encode()
    with tempfile.TemporaryDirectory(prefix="keras_vae_") as folder:
        request_file, response_file = Path(folder) / "request.npz", Path(folder) / "response.npz"
        np.savez(request_file, allow_pickle=False, calls=np.frombuffer(request, np.uint8), **arrays)
        command = [sys.executable, "-P", str(_HERE / "child.py"), kind, str(request_file), str(response_file)]
        try:
            process = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise FreshProcessError(f"{path} did not answer within {timeout:.0f} s in a fresh process") from error
        if process.returncode or not response_file.exists():
            tail = process.stderr.decode(errors="replace").strip()[-2000:]
            how = (
                f"exit code {process.returncode}"
                if process.returncode >= 0
                else f"a crash, signal {-process.returncode}"
            )
            raise FreshProcessError(f"the fresh process that ran {path} ended with {how}:\n{tail}")
        with np.load(response_file) as answer:
            response: dict[str, Any] = json.loads(bytes(answer["response"]))
            results = [
                Result(r["status"], r["message"], r["seconds"], {n: answer[k] for n, k in r.get("outputs", {}).items()})
                for r in response["results"]
            ]
    present = [name for name in FORBIDDEN[kind] if name in response["modules"]]
    if present:
        raise FreshProcessError(f"the fresh process imported {present}, so what it ran proves nothing")
    signatures = {
        name: (
            {key: (dtype, shape) for key, (dtype, shape) in inputs.items()},
            {key: (dtype, shape) for key, (dtype, shape) in outputs.items()},
        )
        for name, (inputs, outputs) in response.get("signatures", {}).items()
    }
    return Response(response["load"], signatures, results)


def run_both(path: Path, calls: list[Call], others: list[Call]) -> tuple[Response, Response]:
    """Two fresh processes at the same time, which therefore cannot hand each other anything.

    Raises:
        FreshProcessError: from either of them.
    """
    with ThreadPoolExecutor(max_workers=2) as threads:
        first, second = threads.submit(run, path, calls), threads.submit(run, path, others)
        return first.result(), second.result()
