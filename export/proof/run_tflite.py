"""Runs a TFLite file the way a device does: ``ai-edge-litert``, no TensorFlow.

A child process runs it (see `child.py` beside it). It imports numpy and ``ai_edge_litert`` only.
"""

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class LiteRTError(RuntimeError):
    """What LiteRT answered in place of a result; ``code`` is the name of its exception."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.code = type(error).__name__


def prepare() -> None:
    """The runtime was loaded with this module; no file was looked at yet."""


class Model:
    """An interpreter of a ``.tflite`` file.

    Raises:
        LiteRTError: the file cannot be loaded.
    """

    def __init__(self, file: str):
        self._file = file
        try:
            self._interpreter = Interpreter(model_path=file)
            runners = {name: self._runner(name) for name in self._interpreter.get_signature_list()}
            self.signatures: Any = {
                name: [_described(side) for side in (runner.get_input_details(), runner.get_output_details())]
                for name, runner in runners.items()
            }
        except (ValueError, RuntimeError) as error:
            raise LiteRTError(error) from error

    def run(self, signature: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature by name.

        Raises:
            LiteRTError: it refused the inputs.
        """
        try:
            return {name: np.array(array) for name, array in self._runner(signature)(**feeds).items()}
        except (ValueError, RuntimeError) as error:
            self._interpreter = Interpreter(model_path=self._file)  # the failed call leaves the old one half-allocated
            raise LiteRTError(error) from error

    def _runner(self, signature: str) -> Any:
        return self._interpreter.get_signature_runner(signature)


def _described(side: dict[str, Any]) -> dict[str, list]:
    return {
        key: [np.dtype(d["dtype"]).name, [None if n < 0 else int(n) for n in d["shape_signature"]]]
        for key, d in side.items()
    }
