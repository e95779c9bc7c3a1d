"""Loading a model from somebody who is not trusted: nothing in the file is executed, and no size in it is believed."""

import contextlib
import io
import json
import math
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_vae.models.vae import VAE

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
MAX_BYTES = 2**32
MAX_CONFIG_BYTES = 2**24
# Weights hardly compress, so a member that grows by more than this was made to.
MAX_EXPANSION = 100
# Numbers of a config up to this are taken for harmless: layers of that many units are made for real data.
FREE_SIZE = 2**16
# Values of one example, likewise: convolutions have few weights for large images.
FREE_VALUES = 2**24
# Numbers that count or seed something, and so take no memory.
COUNTERS = (
    *("seed", "step", "stage", "switch_on", "iteration", "warmup", "patience", "frequency", "boundaries", "period"),
    *("num_examples", "object_id"),
)
# Keras modules whose classes and functions compute; others read files, fetch from the web or change settings.
MODULES = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "regularizers",
    "src",
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
# What zipfile raises of a damaged archive; NotImplementedError is of an unknown compression.
FAILURES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, RuntimeError, RecursionError)


class UnsafeFile(ValueError):
    """A model file that is not loaded, because it may harm, or is damaged."""


class _Damaged(UnsafeFile):
    pass


def load(path: str | os.PathLike[str], compile: bool = True, max_bytes: int = MAX_BYTES) -> VAE:
    """A VAE from a `.keras` file, without trust in whoever made it.

    `keras.saving.load_model` also executes nothing from the file, but believes the sizes in it. This looks before it
    loads: at the members of the archive and what they grow to, at the names of all classes and functions, at all sizes
    in the config, and at the shapes of all weights, which it compares with those that are in the file.

    Args:
        path: of the file.
        compile: whether to restore optimizer and settings of `compile`, to train on.
        max_bytes: of the whole file when unpacked.

    Raises:
        UnsafeFile: naming the file and what is wrong with it. No code of the file has run, and no memory beyond the
            size of the file was taken.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    with _named(path):
        config, shapes = _examine(path, max_bytes)
        _check_config(config, shapes)
        _check_weights(config, shapes)
        model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    if not isinstance(model, VAE):
        raise UnsafeFile(f"{path} holds a {type(model).__name__}, and no VAE.")
    return model


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the file is said with its name."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _Damaged as error:
        raise UnsafeFile(f"{path} is damaged: {error}") from error
    except UnsafeFile as error:
        raise UnsafeFile(f"{path} is not loaded: {error}") from error
    except (OSError, ValueError, TypeError, *FAILURES) as error:
        what = str(error).partition("\n")[0][:300] or type(error).__name__
        raise UnsafeFile(f"{path} cannot be loaded: it is damaged, or no model of this version ({what})") from error


def _examine(path: Path, max_bytes: int) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
    """The config, and the shapes of all arrays."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UnsafeFile("it is not a regular file")
    if not zipfile.is_zipfile(path):
        raise _Damaged("it is no .keras file, or the end of it is missing")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = sorted(member.filename for member in members)
        if names != sorted((CONFIG, WEIGHTS, METADATA)):
            raise UnsafeFile(f"it holds {names[:5]}; a model is {CONFIG}, {WEIGHTS} and {METADATA}")
        declared = sum(member.file_size for member in members)
        if declared > max_bytes:
            raise UnsafeFile(f"unpacked it has {declared:,} bytes; at most {max_bytes:,} are taken (max_bytes)")
        for member in members:
            if member.file_size > MAX_EXPANSION * max(member.compress_size, 1024):
                raise UnsafeFile(f"{member.filename} grows from {member.compress_size:,} to {member.file_size:,} bytes")
        if archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
            raise UnsafeFile(f"its {CONFIG} is larger than {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(archive.read(CONFIG))
        if not isinstance(config, dict):
            raise UnsafeFile(f"its {CONFIG} is no mapping")
        return config, _shapes(archive.read(WEIGHTS))


def _shapes(content: bytes) -> list[tuple[int, ...]]:
    """The shapes of the arrays in an HDF5 file, all of which must be plain numbers that the file holds itself."""
    shapes: list[tuple[int, ...]] = []
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
                if math.prod(item.shape) * item.dtype.itemsize > len(content):
                    raise UnsafeFile(f"{name!r} among its weights has shape {item.shape}, more than the file can hold")
                shapes.append(tuple(item.shape))
    return shapes


def _check_config(config: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """Only classes and functions that compute, and no size that has no weights to go with it."""
    stored = max(FREE_SIZE, sum(math.prod(shape) for shape in shapes))
    todo: list[tuple[str, Any]] = [("", config)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            _check_class(value)
            todo += [(str(name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            sizes = [n for n in value if isinstance(n, int) and not isinstance(n, bool)]
            if "shape" in key and math.prod(max(abs(n), 1) for n in sizes) > max(stored, FREE_VALUES):
                raise UnsafeFile(f"{key}={sizes} is larger than all its weights together")
            todo += [(key, inner) for inner in value if "shape" not in key or not isinstance(inner, int)]
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            if any(word in key for word in COUNTERS):
                continue
            if "num_layers" in key and value > max(len(shapes), 1):
                raise UnsafeFile(f"{key}={value}, but there are weights for fewer layers")
            if isinstance(value, int) and abs(value) > stored:
                raise UnsafeFile(f"{key}={value} is larger than all its weights together")


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
    if parts[0] == "keras" and len(parts) > 1 and parts[1] not in MODULES:
        raise UnsafeFile(f"{shown} is no part of a model")
    registered = function if isinstance(function, str) else config.get("registered_name") or name
    if parts[0] not in ("", "keras", "builtins") and keras.saving.get_registered_object(str(registered)) is None:
        raise UnsafeFile(f"{shown} is neither of Keras nor registered (kv.register, in a module that is imported)")
    if name in ("__numpy__", "__tensor__") and str(config.get("config", {}).get("dtype")) not in PLAIN_TYPES:
        raise UnsafeFile(f"{shown} is no array of numbers")


def _check_weights(config: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """The model would have no more weights than are there. Its variables are made without their values."""
    with warnings.catch_warnings(), keras.StatelessScope():
        warnings.simplefilter("ignore")  # of odd models, of which more is said elsewhere
        model = keras.saving.deserialize_keras_object({**config, "compile_config": None}, safe_mode=True)
        needed = sum(math.prod(variable.shape) for variable in model.variables)
    # Lone numbers, such as counts, and seeds of dropout may not be stored.
    stored = sum(math.prod(shape) for shape in shapes)
    if needed > stored + 64 * len(model.variables):
        raise UnsafeFile(f"its config asks for {needed:,} weights, and it holds {stored:,}")
