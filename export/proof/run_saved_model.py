"""Runs a SavedModel the way TensorFlow Serving does: C++ loader, no Python TensorFlow, no XLA.

A child process runs it (see `child.py` beside it). It imports numpy and the standard library only. The C++ loader is
the one inside the TensorFlow wheel (``libtensorflow_cc``), called through its C API. ``import tensorflow`` after that
in the same process crashes, hence the process of its own.
"""

import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CODES = {
    0: "OK",
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    15: "DATA_LOSS",
}
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 6: "int8", 9: "int64", 10: "bool", 19: "float16"}
ENUMS = {name: number for number, name in DTYPES.items()}


class TensorFlowError(RuntimeError):
    """A status other than OK; ``code`` is its name, such as ``INVALID_ARGUMENT``."""

    def __init__(self, code: int, message: str):
        self.code = CODES.get(code, f"CODE_{code}")
        super().__init__(f"{self.code}: {message}")


class TensorInfo(NamedTuple):
    """One input or output of a signature: the tensor's name in the graph, its dtype, its shape (None = any)."""

    name: str
    dtype: str
    shape: list[int | None] | None


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def library_path() -> Path:
    """Where the TensorFlow wheel keeps its C++ library, found without importing TensorFlow.

    Raises:
        FileNotFoundError: there is no TensorFlow, or it comes without that library (Windows).
    """
    spec = importlib.util.find_spec("tensorflow")
    for folder in spec.submodule_search_locations or () if spec else ():
        for name in ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib"):
            if (Path(folder) / name).exists():
                return Path(folder) / name
    raise FileNotFoundError("the installed TensorFlow has no libtensorflow_cc, so its C++ loader cannot be tried here")


@functools.cache
def prepare() -> ctypes.CDLL:
    """The library, loaded; no file was looked at yet."""
    library = ctypes.CDLL(str(library_path()))
    pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    prototypes: dict[str, tuple[Any, list[Any]]] = {
        "TF_NewStatus": (pointer, []),
        "TF_DeleteStatus": (None, [pointer]),
        "TF_GetCode": (integer, [pointer]),
        "TF_Message": (ctypes.c_char_p, [pointer]),
        "TF_NewGraph": (pointer, []),
        "TF_NewSessionOptions": (pointer, []),
        "TF_NewBuffer": (ctypes.POINTER(_Buffer), []),
        "TF_LoadSessionFromSavedModel": (
            pointer,
            [pointer, pointer, ctypes.c_char_p, pointer, integer] + [pointer] * 3,
        ),
        "TF_GraphOperationByName": (pointer, [pointer, ctypes.c_char_p]),
        "TF_AllocateTensor": (pointer, [integer, pointer, integer, size]),
        "TF_DeleteTensor": (None, [pointer]),
        "TF_TensorData": (pointer, [pointer]),
        "TF_TensorByteSize": (size, [pointer]),
        "TF_TensorType": (integer, [pointer]),
        "TF_NumDims": (integer, [pointer]),
        "TF_Dim": (ctypes.c_int64, [pointer, integer]),
        "TF_SessionRun": (
            None,
            [pointer] * 4 + [integer] + [pointer] * 2 + [integer, pointer, integer] + [pointer] * 2,
        ),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    # tensorflow::DisableXlaCompilation(), called by the TensorFlow Serving binary before it loads anything.
    library._ZN10tensorflow21DisableXlaCompilationEv()
    return library


class Model:
    """A session on a SavedModel, loaded by the C++ loader with the tag ``serve``.

    Args:
        directory: the folder holding ``saved_model.pb``.

    Raises:
        TensorFlowError: the loader refused it.
    """

    def __init__(self, directory: str):
        self._library = library = prepare()
        self._status = library.TF_NewStatus()
        self._graph = library.TF_NewGraph()
        meta_graph = library.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        options = library.TF_NewSessionOptions()
        self._session = library.TF_LoadSessionFromSavedModel(
            options, None, directory.encode(), tags, 1, self._graph, meta_graph, self._status
        )
        self._check()
        content = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self._infos = parse_signatures(content)

    @property
    def signatures(self) -> dict[str, list[dict[str, list[Any]]]]:
        """Inputs and outputs of each signature, by name, with dtype and shape."""
        return {
            name: [{key: [info.dtype, info.shape] for key, info in side.items()} for side in sides]
            for name, sides in self._infos.items()
        }

    def _check(self) -> None:
        code = self._library.TF_GetCode(self._status)
        if code:
            raise TensorFlowError(code, self._library.TF_Message(self._status).decode(errors="replace"))

    def _output(self, tensor_name: str) -> _Output:
        operation, _, index = tensor_name.partition(":")
        handle = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        if not handle:
            raise TensorFlowError(5, f"the graph has no operation {operation!r}")
        return _Output(handle, int(index or 0))

    def _to_tensor(self, array: np.ndarray) -> int:
        array = np.asarray(array, order="C")
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self._library.TF_AllocateTensor(ENUMS[array.dtype.name], shape, array.ndim, array.nbytes)
        if array.nbytes:
            ctypes.memmove(self._library.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
        return tensor

    def _to_array(self, tensor: int) -> np.ndarray:
        library = self._library
        shape = [library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))]
        number = library.TF_TensorType(tensor)
        if number not in DTYPES:
            raise TensorFlowError(12, f"an output of type {number} is not looked at here")
        data = ctypes.string_at(library.TF_TensorData(tensor), library.TF_TensorByteSize(tensor))
        return np.frombuffer(data, DTYPES[number]).reshape(shape).copy()

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature by name, for inputs by name.

        Raises:
            TensorFlowError: unknown signature or input, or the session's own answer to a bad feed.
        """
        if signature not in self._infos:
            raise TensorFlowError(5, f"no signature {signature!r}; there are {sorted(self._infos)}")
        expected, produced = self._infos[signature]
        if set(inputs) != set(expected):
            raise TensorFlowError(3, f"inputs {sorted(inputs)} given, {sorted(expected)} expected")
        library = self._library
        feeds = [self._output(expected[name].name) for name in inputs]
        fetches = [self._output(info.name) for info in produced.values()]
        values = [self._to_tensor(array) for array in inputs.values()]
        results = (ctypes.c_void_p * len(fetches))()
        try:
            library.TF_SessionRun(
                self._session,
                None,
                (_Output * len(feeds))(*feeds),
                (ctypes.c_void_p * len(values))(*values),
                len(feeds),
                (_Output * len(fetches))(*fetches),
                results,
                len(fetches),
                None,
                0,
                None,
                self._status,
            )
            self._check()
            return {name: self._to_array(result) for name, result in zip(produced, results, strict=True)}
        finally:
            for tensor in [*values, *filter(None, results)]:
                library.TF_DeleteTensor(tensor)


def wire_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The (field number, value) pairs of a serialized protocol buffer: int for numbers, bytes for the rest.

    Raises:
        ValueError: the bytes are not a protocol buffer.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            if position >= len(message):
                raise ValueError("truncated protocol buffer")
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(kind)
        if length is None:
            if kind != 2:
                raise ValueError(f"unknown wire type {kind} in a protocol buffer")
            length = varint()
        if position + length > len(message):
            raise ValueError("truncated protocol buffer")
        yield key >> 3, message[position : position + length]
        position += length


def _wire_map(message: bytes, field: int) -> Iterator[tuple[str, bytes]]:
    for number, entry in wire_fields(message):
        if number == field:
            pair = dict(wire_fields(entry))
            yield pair[1].decode(), pair.get(2, b"")


def _tensor_info(message: bytes) -> TensorInfo:
    fields = dict(wire_fields(message))
    shape: list[int | None] | None = []
    for number, value in wire_fields(fields.get(3, b"")):
        if number == 3 and value:
            shape = None
        elif number == 2 and shape is not None:
            size = dict(wire_fields(value)).get(1, 0)
            shape.append(None if size >= 1 << 63 else size)
    return TensorInfo(fields[1].decode(), DTYPES.get(fields.get(2, 0), str(fields.get(2, 0))), shape)


def parse_signatures(meta_graph: bytes) -> dict[str, tuple[dict[str, TensorInfo], dict[str, TensorInfo]]]:
    """The signatures of a serialized ``MetaGraphDef``: name -> (inputs, outputs), without ``__saved_model_init_op``."""
    signatures = {}
    for name, definition in _wire_map(meta_graph, 5):
        if name != "__saved_model_init_op":
            inputs, outputs = (
                {key: _tensor_info(value) for key, value in sorted(_wire_map(definition, n))} for n in (1, 2)
            )
            signatures[name] = inputs, outputs
    return signatures
