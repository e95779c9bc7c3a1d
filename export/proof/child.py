"""The child process that runs an exported file: reads calls, makes them, writes what came back.

This file is a *script*, started by path (:mod:`keras_vae.export.proof.fresh` does it, writes the request and reads the
response). It imports numpy, the standard library and one of the two runners beside it; nothing of TensorFlow's, Keras's
or this package's Python.

    python -P child.py saved_model|tflite REQUEST.npz RESPONSE.npz

What it runs may come from anybody. Before it looks at the file it takes from itself, where the system can do that, more
memory, processor time, written bytes and open files than it was granted.
"""

import importlib.util
import json
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

# The status of calls after one that was refused its memory.
NOT_MADE = "NOT_MADE"
# What is said of memory that was refused; the last by TensorFlow of a constant.
NO_MEMORY = re.compile(
    r"bad_alloc|MemoryError|out of memory|OOM|cannot allocate|failed to allocate|parse tensor from proto", re.IGNORECASE
)


def runner(kind: str) -> Any:
    """The module `run_KIND.py` in this folder, which must not be on the path: its other files have common names."""
    spec = importlib.util.spec_from_file_location(f"run_{kind}", Path(__file__).with_name(f"run_{kind}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def confine(memory: int, seconds: float) -> bool:
    """Limits this process from here on, without a way back; false where the system has no limit of memory.

    Args:
        memory: bytes, beyond what it has taken already; also the largest file that it may write.
        seconds: of all processors together, for each processor.
    """
    try:
        import resource
    except ImportError:  # Windows
        return False
    page = resource.getpagesize()
    statistics = Path("/proc/self/statm")
    taken = int(statistics.read_text().split()[0]) * page if statistics.exists() else 0
    limits = {"CORE": 0, "NOFILE": 256, "FSIZE": memory, "CPU": math.ceil(seconds * (os.cpu_count() or 1))}
    if taken:
        # Elsewhere it is neither known what was taken nor, on macOS, is the limit heeded.
        limits["AS"] = taken + memory
    for name, most in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    return "AS" in limits


def main(kind: str, request_file: str, response_file: str) -> None:
    """Loads the model, makes every call of the request, writes what came back."""
    with np.load(request_file) as request:
        calls = json.loads(bytes(request["calls"]))
        arrays = {key: request[key] for key in request.files}
    response: dict[str, Any] = {"results": []}
    outputs: dict[str, np.ndarray] = {}
    model: Any = None
    runtime = runner(kind)
    runtime.prepare()
    limited = calls["memory"] is None or confine(calls["memory"], calls["seconds"])
    try:
        model = runtime.Model(calls["model"])
        response["load"], response["signatures"] = "OK", model.signatures
    except MemoryError:
        response["load"] = "MemoryError: it takes too much memory"
    except (RuntimeError, ValueError, LookupError) as error:
        response["load"] = str(error)
    full = False
    for number, call in enumerate(calls["calls"] if model else ()):
        feeds = {name: arrays[key] for name, key in call["inputs"].items()}
        result: dict[str, Any] = {"status": "OK", "message": "", "seconds": [], "outputs": {}}
        if full:
            response["results"].append({**result, "status": NOT_MADE, "message": "not made after that"})
            continue
        try:
            produced: dict[str, np.ndarray] = {}
            for _ in range(1 + call["repeat"]):
                start = time.perf_counter()
                produced = model.run(call["signature"], feeds)
                result["seconds"].append(time.perf_counter() - start)
            for name, array in produced.items():
                if array.dtype.kind not in "fiub":
                    raise TypeError(f"{name} holds no numbers but {array.dtype.name}")
                result["outputs"][name] = key = f"{number}:{name}"
                outputs[key] = array
        except (RuntimeError, ValueError, LookupError, TypeError, MemoryError) as error:
            result["outputs"] = {}
            full = calls["memory"] is not None and NO_MEMORY.search(f"{type(error).__name__}: {error}") is not None
            result.update(status=getattr(error, "code", type(error).__name__), message=str(error))
        response["results"].append(result)
    response["limited"] = limited
    response["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    outputs["response"] = np.frombuffer(json.dumps(response).encode(), np.uint8)
    np.savez(response_file, allow_pickle=False, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
