"""Loading a model from somebody who is not trusted: nothing in the file is executed, and no size in it is believed."""

import contextlib
import io
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_vae.models.storage import model_files, sizes
from keras_vae.models.storage.model_files import CHECKSUMS, CONFIG, MEMBERS, UNUSED, WEIGHTS, NotAsSaved
from keras_vae.models.vae import VAE

MAX_BYTES = 2**32
MAX_CONFIG_BYTES = 2**24
# Weights hardly compress, so a member that grows by more than this was made to.
MAX_EXPANSION = 100
# Numbers that one example may need at once: the 512 MB of a megapixel with 128 channels. And for each number in the
# file, as a prior made of many pseudo-inputs needs them.
MAX_VALUES, VALUES_PER_STORED = 2**27, 16
# Keras modules whose classes and functions compute; others read files, fetch from the web or change settings.
MODULES = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "regularizers",
)
# Layers that hold code, or read other files.
REFUSED = (
    "FlaxLayer",
    "IndexLookup",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
    "__lambda__",
    "__typespec__",
)
PLAIN_TYPES = ("bool", "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")


class UnsafeFile(ValueError):
    """A model file that is not loaded, because it may harm, or is damaged."""


def load(
    path: str | os.PathLike[str], compile: bool = True, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES
) -> VAE:
    """A VAE from a `.keras` file, without trust in whoever made it.

    `keras.saving.load_model` also executes nothing from the file, but believes the sizes in it. This looks before it
    loads: at the members of the archive, what they grow to and whether they are what was saved, at the names of all
    classes and functions, at the weights that the model would have, which it compares with those that are in the
    file, and at the sizes of all that it would compute for one example. Both are counted without being made.

    Args:
        path: of the file.
        compile: whether to restore the optimizer, to train on.
        max_bytes: of the whole file when unpacked.
        max_values: numbers in the largest tensor that one example needs. A large file may need more in proportion: 16
            for each number in it.

    Raises:
        UnsafeFile: naming the file and what is wrong with it. No code of the file has run, and no memory beyond the
            size of the file was taken.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    with _named(path):
        config, shapes = _examine(path, max_bytes)
        _check_classes(config)
        _check_layers(config, len(shapes))
        stored = sum(math.prod(shape) for shape in shapes)
        sizes.check(lambda: _made(config), shapes, max(max_values, VALUES_PER_STORED * stored))
        model: VAE = keras.saving.load_model(path, compile=compile, safe_mode=True)
    return model


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the file is said with its name."""
    try:
        yield
    except FileNotFoundError:
        raise
    except model_files.NotAsSaved as error:
        raise UnsafeFile(f"{path} is damaged: {error}.") from error
    except (UnsafeFile, sizes.TooLarge) as error:
        raise UnsafeFile(f"{path} is not loaded: {error}.") from error
    except Exception as error:  # of Keras, TensorFlow, HDF5 and zip, of any kind
        # TensorFlow writes some of its errors in bold.
        what = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())[:200] or type(error).__name__
        raise UnsafeFile(f"{path} cannot be loaded: it is damaged, or no model of this version ({what}).") from error


def _examine(path: Path, max_bytes: int) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """The config, and the shapes of all arrays."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnsafeFile("it is not a regular file")
    if not zipfile.is_zipfile(path):
        raise NotAsSaved("it is no .keras file, or the end of it is missing")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = sorted(member.filename for member in members)
        if names not in (sorted(MEMBERS), sorted((*MEMBERS, CHECKSUMS))):
            raise UnsafeFile(f"it holds {names[:5]}; a model is {', '.join(MEMBERS[:-1])} and {MEMBERS[-1]}")
        declared = sum(member.file_size for member in members)
        if declared > max_bytes:
            raise UnsafeFile(f"unpacked it has {declared:,} bytes; at most {max_bytes:,} are taken (max_bytes)")
        for member in members:
            if member.file_size > MAX_EXPANSION * max(member.compress_size, 1024):
                raise UnsafeFile(f"{member.filename} grows from {member.compress_size:,} to {member.file_size:,} bytes")
            if member.filename != WEIGHTS and member.file_size > MAX_CONFIG_BYTES:
                raise UnsafeFile(f"its {member.filename} is larger than {MAX_CONFIG_BYTES:,} bytes")
        model_files.check(archive)
        config = json.loads(archive.read(CONFIG))
        if not isinstance(config, dict):
            raise UnsafeFile(f"its {CONFIG} is no mapping")
        return config, _shapes(archive.read(WEIGHTS))


def _shapes(content: bytes) -> list[tuple[int, ...]]:
    """The shapes of the arrays in an HDF5 file, all of which must be plain numbers that the file holds itself."""
    shapes: list[tuple[int, ...]] = []
    total = 0
    with h5py.File(io.BytesIO(content), "r") as file:
        groups, visited = [file], set()
        while groups:
            group = groups.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in visited:
                raise UnsafeFile("the groups of its weights contain each other")
            visited.add(address)
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise UnsafeFile(f"{name!r} among its weights is a link")
                item = group[name]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if item.external or item.is_virtual or item.dtype.kind not in "biufV" or item.dtype.hasobject:
                    raise UnsafeFile(f"{name!r} among its weights is no array of numbers in the file")
                total += math.prod(item.shape) * item.dtype.itemsize
                if total > len(content):
                    raise UnsafeFile(f"{name!r} among its weights has shape {item.shape}, more than the file can hold")
                shapes.append(tuple(item.shape))
    return shapes


def _mappings(config: Any) -> Iterator[dict[str, Any]]:
    """All mappings in a config, but for what is not used."""
    todo = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            yield value
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _check_classes(config: dict[str, Any]) -> None:
    """Only classes and functions that compute, and an optimizer where one belongs."""
    compiled = config.get("compile_config")
    compiled = compiled if isinstance(compiled, dict) else {}
    # What a VAE has no use for is not looked at, because it is not made either.
    for value in _mappings({**config, "compile_config": {k: v for k, v in compiled.items() if k not in UNUSED}}):
        _check_class(value)
    for value in _mappings(compiled.get("optimizer")):
        module = str(value.get("module") or "keras.optimizers")
        if value.get("class_name") and module.startswith("keras") and not module.startswith("keras.optimizers"):
            raise UnsafeFile(f"{module}.{value['class_name']} is no part of an optimizer")


def _check_layers(config: dict[str, Any], arrays: int) -> None:
    """Parts of this package that make as many layers as a number says: each layer has weights."""
    layers: float = 0
    for value in _mappings(config):
        given = value.get("config")
        if isinstance(given, dict) and str(value.get("registered_name")).startswith("keras_vae>"):
            counts = [given.get(name) for name in ("num_layers", "blocks")]
            repeated = len(given["filters"]) if isinstance(given.get("filters"), list) else 1
            layers += sum(repeated * count for count in counts if isinstance(count, (int, float)))
    if not layers <= max(arrays, 1):
        raise UnsafeFile(f"its config asks for {layers:,} layers, and it holds {arrays:,} arrays of weights")


def _made(config: dict[str, Any]) -> VAE:
    """The model of a config, built, without an optimizer."""
    model = keras.saving.deserialize_keras_object({**config, "compile_config": None}, safe_mode=True)
    if not isinstance(model, VAE):
        raise UnsafeFile(f"it holds a {type(model).__name__}, and no VAE")
    return model


def _check_class(config: dict[str, Any]) -> None:
    name, module = config.get("class_name"), config.get("module")
    if name is None and module is None:
        return
    shown = ".".join(str(part) for part in (module, config.get("config") if name == "function" else name) if part)
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        raise UnsafeFile(f"{shown} is the name of no class")
    function = config.get("config") if name == "function" else None
    if any(part in REFUSED for part in (name, config.get("registered_name"), function)):
        raise UnsafeFile(f"{shown} holds code, or reads other files")
    parts = (module or "").split(".")
    if parts[:2] == ["keras", "src"]:
        del parts[1]
    if parts[0] == "keras" and len(parts) > 1 and parts[1] not in MODULES:
        raise UnsafeFile(f"{shown} is no part of a model")
    registered = function if isinstance(function, str) else config.get("registered_name") or name
    if parts[0] not in ("", "keras", "builtins") and keras.saving.get_registered_object(str(registered)) is None:
        raise UnsafeFile(f"{shown} is neither of Keras nor registered (kv.register, in a module that is imported)")
    if name in ("__numpy__", "__tensor__") and str(config.get("config", {}).get("dtype")) not in PLAIN_TYPES:
        raise UnsafeFile(f"{shown} is no array of numbers")
