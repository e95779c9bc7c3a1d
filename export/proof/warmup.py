"""Warm-up requests for TensorFlow Serving, with the answers that are expected: the export's own reference.

The file is a TFRecord of ``tensorflow.serving.PredictionLog``. The messages are written field by field, since their
Python classes come only with ``tensorflow-serving-api``:

    PredictionLog.predict_log = 6;  PredictLog.request = 1, .response = 2
    PredictRequest.model_spec = 1, .inputs = 2;  PredictResponse.outputs = 1;  both of them map<string, TensorProto>
    ModelSpec.name = 1, .signature_name = 3
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_vae.export.proof.run_saved_model import wire_fields

FILE = Path("assets.extra") / "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Record:
    """One request with its answer: arrays by name."""

    model: str
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def write(directory: Path, records: list[Record]) -> None:
    """Writes the records below a SavedModel's folder."""
    (directory / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / FILE)) as writer:
        for record in records:
            spec = _field(1, record.model.encode()) + _field(3, record.signature.encode())
            request = _field(1, spec) + _tensors(2, record.inputs)
            writer.write(_field(6, _field(1, request) + _field(2, _tensors(1, record.outputs))))


def read(directory: Path) -> list[Record]:
    """The records of a SavedModel's folder, none if it has no such file.

    Raises:
        ValueError: the file is damaged, or a record is no request for a prediction.
    """
    if not (directory / FILE).exists():
        return []
    try:
        return [_parse(record.numpy()) for record in tf.data.TFRecordDataset(str(directory / FILE))]
    except (tf.errors.OpError, KeyError, ValueError) as error:
        raise ValueError(f"{FILE} is damaged: {error}") from error


def _parse(message: bytes) -> Record:
    log = dict(wire_fields(dict(wire_fields(message))[6]))
    spec = dict(wire_fields(dict(wire_fields(log[1]))[1]))
    return Record(spec[1].decode(), spec[3].decode(), _arrays(log[1], 2), _arrays(log.get(2, b""), 1))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensors(number: int, arrays: dict[str, np.ndarray]) -> bytes:
    entries = (
        _field(1, name.encode()) + _field(2, tf.make_tensor_proto(array).SerializeToString(deterministic=True))
        for name, array in sorted(arrays.items())
    )
    return b"".join(_field(number, entry) for entry in entries)


def _arrays(message: bytes, number: int) -> dict[str, np.ndarray]:
    arrays = {}
    for found, entry in wire_fields(message):
        if found == number:
            pair = dict(wire_fields(entry))
            arrays[pair[1].decode()] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(pair[2]))
    return arrays
