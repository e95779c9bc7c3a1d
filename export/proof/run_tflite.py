"""Runs a TFLite file the way a device does: ``ai-edge-litert``, no TensorFlow.

This file is a *script*, started by path in a fresh process (:mod:`keras_vae.export.proof.fresh` does it, and describes
the request and the response). It imports numpy, ``ai_edge_litert`` and the standard library only.

    python -P run_tflite.py REQUEST.npz RESPONSE.npz
"""

import json
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(request_file: str, response_file: str) -> None:
    """Loads the model, makes every call of the request, writes what came back."""
    with np.load(request_file) as request:
        calls = json.loads(bytes(request["calls"]))
        arrays = {key: request[key] for key in request.files}
    response: dict[str, Any] = {"results": []}
    outputs: dict[str, np.ndarray] = {}
    interpreter: Any = None
    try:
        interpreter = Interpreter(model_path=calls["model"])
        response["load"] = "OK"
        response["signatures"] = {}
        for name in interpreter.get_signature_list():
            runner = interpreter.get_signature_runner(name)
            response["signatures"][name] = [
                {
                    key: [np.dtype(d["dtype"]).name, [None if n < 0 else int(n) for n in d["shape_signature"]]]
                    for key, d in side.items()
                }
                for side in (runner.get_input_details(), runner.get_output_details())
            ]
    except (ValueError, RuntimeError) as error:
        response["load"] = f"{type(error).__name__}: {error}"
    for number, call in enumerate(calls["calls"] if interpreter else ()):
        feeds = {name: arrays[key] for name, key in call["inputs"].items()}
        result: dict[str, Any] = {"status": "OK", "message": "", "seconds": []}
        try:
            runner = interpreter.get_signature_runner(call["signature"])
            for _ in range(1 + call["repeat"]):
                start = time.perf_counter()
                produced = runner(**feeds)
                result["seconds"].append(time.perf_counter() - start)
            result["outputs"] = {}
            for name, array in produced.items():
                result["outputs"][name] = key = f"{number}:{name}"
                outputs[key] = np.array(array)
        except (ValueError, RuntimeError) as error:
            result.update(status=type(error).__name__, message=str(error))
            interpreter = Interpreter(model_path=calls["model"])  # a failed call leaves the old one half-allocated
        response["results"].append(result)
    response["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    outputs["response"] = np.frombuffer(json.dumps(response).encode(), np.uint8)
    np.savez(response_file, allow_pickle=False, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
