"""Makes a SavedModel's bytes depend on the model alone.

TensorFlow numbers traced functions by a counter of the whole process, and draws a random id for the fingerprint: two
exports of one model would differ. Functions are renumbered in the order in which they were traced, and the id follows
from the content.
"""

import re
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2

from keras_vae import internals

_LARGEST = 2**31
_NUMBERED = re.compile(r"(__(?:inference|forward|backward)_.*?)_(\d+)$")


def make_canonical(directory: Path) -> None:
    """Rewrites ``saved_model.pb`` and ``fingerprint.pb`` of a SavedModel just written to ``directory``."""
    file = directory / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in model.meta_graphs:
        functions = graph.graph_def.library.function
        ordered = sorted(functions, key=lambda function: _number(function.signature.name))
        names = {function.signature.name: "" for function in ordered}
        for rank, name in enumerate(names):
            match = _NUMBERED.match(name)
            names[name] = f"{match[1]}_{rank}" if match else name
        _rename(graph, names)
        for function in functions:
            for argument in function.arg_attr.values():
                # The captured variables' places in memory order, written as if they were names.
                if argument.attr["_user_specified_name"].s.isdigit() or not argument.attr["_user_specified_name"].s:
                    del argument.attr["_user_specified_name"]
        by_name = sorted(functions, key=lambda function: _number(function.signature.name))
        copies = [type(function).FromString(function.SerializeToString(deterministic=True)) for function in by_name]
        del functions[:]
        functions.extend(copies)
    file.write_bytes(model.SerializeToString(deterministic=True))
    _write_fingerprint(directory)


def _number(name: str) -> tuple[int, str]:
    match = _NUMBERED.match(name)
    return (int(match[2]), name) if match else (-1, name)


def _rename(message: Message, names: dict[str, str]) -> None:
    """Replaces every string of a message, at any depth and in map keys, that is a key of ``names``."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _rename_map(value, field.message_type.fields_by_name["value"], names)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else (value,):
                _rename(item, names)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if not field.is_repeated:
                if value in names:
                    setattr(message, field.name, names[value])
            else:
                for index, item in enumerate(value):
                    value[index] = names.get(item, item)


def _rename_map(entries: Any, value_field: FieldDescriptor, names: dict[str, str]) -> None:
    if value_field.type == FieldDescriptor.TYPE_MESSAGE:
        for key in list(entries):
            _rename(entries[key], names)
            if names.get(key, key) != key:
                # Two passes: a new name may be another entry's old one.
                entries[f"\0{names[key]}"].CopyFrom(entries[key])
                del entries[key]
        for key in [key for key in entries if isinstance(key, str) and key.startswith("\0")]:
            entries[key[1:]].CopyFrom(entries[key])
            del entries[key]
    elif value_field.type == FieldDescriptor.TYPE_STRING:
        for key in list(entries):
            entries[key] = names.get(entries[key], entries[key])


def _write_fingerprint(directory: Path) -> None:
    """Computes the fingerprint anew, with an id that is its own checksum instead of a random number."""
    file = directory / "fingerprint.pb"
    if not file.exists():
        return

    fingerprint = fingerprint_pb2.FingerprintDef.FromString(internals.write_fingerprint(str(directory)))
    fingerprint.uuid = str(fingerprint.saved_model_checksum)
    file.write_bytes(fingerprint.SerializeToString(deterministic=True))


def read_saved_model(directory: Path) -> saved_model_pb2.SavedModel:
    """The SavedModel protocol buffer of a folder.

    Raises:
        ValueError: there is none, or it cannot be parsed.
    """
    file = directory / "saved_model.pb"
    try:
        if file.exists() and not file.is_file():
            raise ValueError(f"{file} is no regular file, so it is not opened")
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"{file} is no SavedModel: none is larger than 2 GiB")
        return saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    except DecodeError as error:
        raise ValueError(f"{file} is no SavedModel: {error}") from error
