"""Warm-up requests for TensorFlow Serving, with the answers that are expected: the export's own reference.

The file is a TFRecord of ``tensorflow.serving.PredictionLog``. The Python classes of its messages come only with
``tensorflow-serving-api``; those made here have the same numbers, and only the fields that are used.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2

_FIELDS: dict[str, dict[str, Any]] = {
    "ModelSpec": {"name": 1, "signature_name": 3},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "map")},
    "PredictResponse": {"outputs": (1, "map")},
    "PredictLog": {"request": (1, "PredictRequest"), "response": (2, "PredictResponse")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
}


def _prediction_log() -> Any:
    """The class of the message, made of the table above: strings, messages of the table, and maps to tensors."""
    package, kinds = "keras_vae.serving", descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="keras_vae/prediction_log.proto", package=package, syntax="proto3")
    file.dependency.append(tensor_pb2.DESCRIPTOR.name)
    tensor = f".{tensor_pb2.TensorProto.DESCRIPTOR.full_name}"
    for message_name, fields in _FIELDS.items():
        message = file.message_type.add(name=message_name)
        for name, described in fields.items():
            if isinstance(described, int):
                message.field.add(name=name, number=described, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
                continue
            number, kind = described
            label, type_name = kinds.LABEL_OPTIONAL, f".{package}.{kind}"
            if kind == "map":
                entry = message.nested_type.add(name=f"{name.title()}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
                entry.field.add(
                    name="value", number=2, type=kinds.TYPE_MESSAGE, type_name=tensor, label=kinds.LABEL_OPTIONAL
                )
                label, type_name = kinds.LABEL_REPEATED, f".{package}.{message_name}.{entry.name}"
            message.field.add(name=name, number=number, type=kinds.TYPE_MESSAGE, type_name=type_name, label=label)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.PredictionLog"))


PREDICTION_LOG = _prediction_log()
# Values of a tensor that are not written out, and bytes of the file.
MOST_REPEATED, LARGEST = 2**8, 2**28
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
            log = PREDICTION_LOG()
            request, response = log.predict_log.request, log.predict_log.response
            request.model_spec.name, request.model_spec.signature_name = record.model, record.signature
            for tensors, arrays in ((request.inputs, record.inputs), (response.outputs, record.outputs)):
                for name, array in arrays.items():
                    tensors[name].CopyFrom(tf.make_tensor_proto(array))
            writer.write(log.SerializeToString(deterministic=True))


def read(directory: Path) -> list[Record]:
    """The records of a SavedModel's folder, none if it has no such file.

    Raises:
        ValueError: the file is damaged, or a record is no request for a prediction.
    """
    if not (directory / FILE).exists():
        return []
    try:
        _check_frames(directory / FILE)
        return [_parse(record.numpy()) for record in tf.data.TFRecordDataset(str(directory / FILE))]
    except (tf.errors.OpError, DecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{FILE} is damaged: {error}") from error


def _check_frames(file: Path) -> None:
    """Refuses a file that says of a record that it is longer than the file: room for it would be made first."""
    size = file.stat().st_size
    if size > LARGEST:
        raise ValueError(f"it has {size:,} bytes")
    with file.open("rb") as stream:
        while header := stream.read(12):
            length = int.from_bytes(header[:8], "little")
            if stream.tell() + length + 4 > size:
                raise ValueError("a record is longer than the file")
            stream.seek(length + 4, os.SEEK_CUR)


def _parse(message: bytes) -> Record:
    log = PREDICTION_LOG.FromString(message)
    if not log.HasField("predict_log"):
        raise ValueError("a record is no request for a prediction")
    request, response = log.predict_log.request, log.predict_log.response
    spec = request.model_spec
    return Record(spec.name, spec.signature_name, _arrays(request.inputs), _arrays(response.outputs))


def _arrays(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    for name, tensor in tensors.items():
        # A single value may stand for all of a shape of any size.
        declared = math.prod(axis.size for axis in tensor.tensor_shape.dim)
        written = [len(value) for field, value in tensor.ListFields() if field.is_repeated]
        if declared > max(MOST_REPEATED, len(tensor.tensor_content), *written, 0):
            raise ValueError(f"{name!r} has {declared:,} values and does not write them out")
        if not tf.dtypes.as_dtype(tensor.dtype).is_numpy_compatible or tensor.dtype == tf.string.as_datatype_enum:
            raise ValueError(f"{name!r} holds no numbers")
    return {name: tf.make_ndarray(tensor) for name, tensor in tensors.items()}
