"""Runs an exported file in a fresh process that has never seen the code that wrote it.

The process works in an empty folder that is removed, is told nothing of the environment but what it needs to start,
sees no GPU, and is ended with all that it has started when it takes too long. Of a file of unknown origin it also gets
a limit of memory (`Limits`), which it puts on itself before it looks at the file.
"""

import contextlib
import json
import os
import re
import signal
import site
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.export.proof.child import NO_MEMORY
from keras_vae.export.proof.report import Check

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
    names to (dtype, shape), where None in a shape means any size. ``limited`` is false if a limit of memory was asked
    for and the system has none.
    """

    load: str
    signatures: dict[str, tuple[dict[str, tuple[str, list[int | None]]], dict[str, tuple[str, list[int | None]]]]]
    results: list[Result]
    limited: bool = True


class FreshProcessError(RuntimeError):
    """The fresh process died, or was not the kind of process it should have been.

    ``kind`` is memory or time where it was ended by that limit, else process.
    """

    def __init__(self, message: str, kind: str = "process"):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What a fresh process may take.

    Attributes:
        memory: bytes, beyond what the runtime takes before it sees the file, or None for all that there is; also of
            the largest file that it may write. It holds on Linux.
        seconds: until it is ended.
    """

    memory: int | None = None
    seconds: float = 600.0

    @classmethod
    def for_strangers(cls, size: int) -> "Limits":
        """Of a file of unknown origin with this many bytes, in which constants may be packed.

        An export of 34 MB for pictures of 64 x 64 x 3 took 0.82 GB, one of 0.4 MB 0.25 GB.
        """
        return cls(5 * 2**28 + 8 * size, 120.0 + size / 2**20)


_NO_REASON = re.compile(r"\(\w+\) failed to (invoke|prepare)")
# For what was made here.
GENEROUS = Limits()
# Threads have stacks, which count as memory.
_MOST_THREADS = 8
# What the process needs to find Python's modules and the system's libraries, and to be as talkative as this one.
_PASSED_ON = re.compile(
    r"PATH|PYTHONHOME|(LD|DYLD)_LIBRARY_PATH|SYSTEMROOT|LANG|LC_\w+|TF_CPP_MIN_LOG_LEVEL|TF_ENABLE_ONEDNN_OPTS"
    r"|TF_NUM_\w+_THREADS|OMP_NUM_THREADS|COVERAGE_\w+",
    re.IGNORECASE,
)


def run(path: Path, calls: list[Call], limits: Limits = GENEROUS) -> Response:
    """Makes the calls on an exported model in a new process without TensorFlow's, Keras's or this package's Python.

    Args:
        path: a SavedModel's version folder (C++ loader, XLA disabled) or a ``.tflite`` file (``ai-edge-litert``).
        calls: what to run, in this order, in one process.
        limits: of what it may take.

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
    grant = {"memory": limits.memory, "seconds": limits.seconds}
    request = json.dumps({"model": str(Path(path).resolve()), "calls": listed, **grant}).encode()
    with tempfile.TemporaryDirectory(prefix="keras_vae_") as folder:
        request_file, response_file = Path(folder) / "request.npz", Path(folder) / "response.npz"
        np.savez(request_file, allow_pickle=False, calls=np.frombuffer(request, np.uint8), **arrays)
        command = [sys.executable, "-P", str(_HERE / "child.py"), kind, str(request_file), str(response_file)]
        code, said = _ended(command, Path(folder), limits)
        if code is None or -code == getattr(signal, "SIGXCPU", 0):
            raise FreshProcessError(
                f"it did not answer within {limits.seconds:.0f} s and was ended; if it is honest and large, "
                "verify(path, seconds=...) gives it more",
                "time",
            )
        if code or not response_file.exists():
            if limits.memory is not None and NO_MEMORY.search(said):
                raise FreshProcessError(too_much(limits.memory), "memory")
            how = f"exit code {code}" if code >= 0 else f"a crash, signal {-code}"
            raise FreshProcessError(f"the fresh process that ran {path} ended with {how}:\n{said}")
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
    return Response(response["load"], signatures, results, response["limited"])


def _ended(command: list[str], folder: Path, limits: Limits) -> tuple[int | None, str]:
    """The exit code of a command, None if it was ended for its time, and the end of what it said."""
    work, said = folder / "work", folder / "stderr.txt"
    work.mkdir()
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        code = None
        try:
            code = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if code is None:
                # It leads a group of its own, where the system has groups: what it has started ends with it.
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
                process.wait()
    with said.open("rb") as stderr:
        stderr.seek(max(0, said.stat().st_size - 2000))
        return code, stderr.read().decode(errors="replace").strip()


def _environment(work: Path) -> dict[str, str]:
    """What the process is told of this one's environment, in which there may be secrets."""
    given = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    threads = str(min(_MOST_THREADS, os.cpu_count() or 1))
    given = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, **given}
    # Its home is elsewhere, and its folder too: modules are where they were.
    paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    given |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUSERBASE": site.getuserbase()}
    given |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(work))
    # TensorFlow's own allocator waits for ten seconds whenever it is refused memory.
    return {**given, "CUDA_VISIBLE_DEVICES": "-1", "MALLOC_ARENA_MAX": "2", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}


def check_memory(good: Response, limits: Limits) -> list[Check]:
    """A failed check if a good request was refused its memory, or may have been; nothing otherwise."""
    said = [good.load, *(f"{result.status}: {result.message}" for result in good.results if not result.ok)]
    if limits.memory is None:
        return []
    if any(NO_MEMORY.search(text) for text in said):
        return [Check("memory", False, too_much(limits.memory))]
    if any(_NO_REASON.search(text) for text in said):
        # LiteRT says no more than this.
        return [Check("memory", False, f"it failed at a good request, most likely since {too_much(limits.memory)}")]
    return []


def notes(response: Response) -> list[str]:
    """What is said of limits that were not there."""
    return [] if response.limited else ["it was run without a limit of memory, which this system does not have"]


def too_much(memory: int) -> str:
    """What is said of a file that asks for more memory than it may take."""
    return (
        f"it asked for more than the {memory / 1e9:.1f} GB of memory that it may take here; if it is honest and large, "
        "verify(path, memory=...) gives it more"
    )


def run_both(
    path: Path,
    calls: list[Call],
    others: list[Call],
    limits: Limits = GENEROUS,
) -> tuple[Response, Response]:
    """Two fresh processes at the same time, which therefore cannot hand each other anything.

    Raises:
        FreshProcessError: from either of them.
    """
    with ThreadPoolExecutor(max_workers=2) as threads:
        first, second = threads.submit(run, path, calls, limits), threads.submit(run, path, others, limits)
        return first.result(), second.result()
