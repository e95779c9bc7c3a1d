"""The child process that runs an exported file: reads calls, makes them, writes what came back.

This file is a *script*, started by path (:mod:`keras_vae.export.proof.fresh` does it, writes the request and reads the
response). It imports numpy, the standard library and one of the two runners beside it; nothing of TensorFlow's, Keras's
or this package's Python.

    python -P child.py saved_model|tflite REQUEST.npz RESPONSE.npz
"""

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def runner(kind: str) -> Any:
    """The module `run_KIND.py` in this folder, which must not be on the path: its other files have common names."""
    spec = importlib.util.spec_from_file_location(f"run_{kind}", Path(__file__).with_name(f"run_{kind}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(kind: str, request_file: str, response_file: str) -> None:
    """Loads the model, makes every call of the request, writes what came back."""
    with np.load(request_file) as request:
        calls = json.loads(bytes(request["calls"]))
        arrays = {key: request[key] for key in request.files}
    response: dict[str, Any] = {"results": []}
    outputs: dict[str, np.ndarray] = {}
    model: Any = None
    try:
        model = runner(kind).Model(calls["model"])
        response["load"], response["signatures"] = "OK", model.signatures
    except (RuntimeError, ValueError) as error:
        response["load"] = str(error)
    for number, call in enumerate(calls["calls"] if model else ()):
        feeds = {name: arrays[key] for name, key in call["inputs"].items()}
        result: dict[str, Any] = {"status": "OK", "message": "", "seconds": [], "outputs": {}}
        try:
            produced: dict[str, np.ndarray] = {}
            for _ in range(1 + call["repeat"]):
                start = time.perf_counter()
                produced = model.run(call["signature"], feeds)
                result["seconds"].append(time.perf_counter() - start)
            for name, array in produced.items():
                result["outputs"][name] = key = f"{number}:{name}"
                outputs[key] = array
        except RuntimeError as error:
            result.update(status=getattr(error, "code", type(error).__name__), message=str(error))
        response["results"].append(result)
    response["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    outputs["response"] = np.frombuffer(json.dumps(response).encode(), np.uint8)
    np.savez(response_file, allow_pickle=False, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
