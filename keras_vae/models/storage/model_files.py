"""What stands in a `.keras` file beside what Keras writes: checksums of its members."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_vae import files, internals

CONFIG, WEIGHTS, METADATA, CHECKSUMS = "config.json", "model.weights.h5", "metadata.json", "checksums.json"
MEMBERS = (CONFIG, WEIGHTS, METADATA)
# Settings of `compile` that a VAE has no use for, and that may be of any size.
UNUSED = ("loss", "loss_weights", "metrics", "weighted_metrics")


class NotAsSaved(ValueError):
    """A file that does not hold what was written."""


def refuse_quantization(self: Any, mode: Any = None, config: Any = None, **kwargs: Any) -> None:
    """Takes the place of `keras.Model.quantize`: most layers are made from recipes, which know no integers, when a file
    is loaded.

    Raises:
        ValueError: naming what can be done.
    """
    raise ValueError(
        f"A {type(self).__name__} cannot be quantized in place: it could be saved, and not be loaded. Quantize what is "
        'exported: keras_vae.export.to_tflite(vae, "decoder.tflite", quantization="int8").'
    )


def check_quantization(vae: Any) -> None:
    """Refuse a model with quantized layers that would not be loaded; those of a network of the user's own would be.

    Raises:
        ValueError: naming them.
    """
    networks = [getattr(part, "network", None) for part in (vae.encoder, vae.decoder, vae.prior)]
    own = {id(layer) for each in networks if isinstance(each, keras.Layer) for layer in internals.layers_of(each)}
    for layer in internals.layers_of(vae):
        if getattr(layer, "quantization_mode", None) and id(layer) not in own:
            raise ValueError(
                f"The layer {layer.path} is quantized, and a file of it could not be loaded. Quantize what is "
                'exported: keras_vae.export.to_tflite(vae, "decoder.tflite", quantization="int8").'
            )


def save(path: Any, write: Callable[[Any], None], overwrite: bool = True, zipped: bool | None = None) -> None:
    """Write a `.keras` file, whole or not at all, and put the checksums of its members into it.

    Args:
        path: of the file.
        write: Keras's own way to write it.
        overwrite: False leaves it to Keras to ask about a file that is there.
        zipped: False is for Keras's other form, a folder; names with :// are places elsewhere, Keras's to write to.

    Raises:
        OSError: if it cannot be written, or `path` is there and no regular file.
        ValueError: for a file of another kind, naming what can be done.
    """
    if zipped is False or "://" in str(path):
        write(path)
        return
    if not str(path).endswith(".keras"):
        raise ValueError(
            f"A VAE is saved in a .keras file, not in {path}: vae.save({str(Path(path).with_suffix('.keras'))!r}) "
            f"keeps all of it, vae.save_weights({str(Path(path).with_suffix('.weights.h5'))!r}) its weights alone, and "
            "keras_vae.export writes models to serve."
        )
    if not overwrite and Path(path).exists():
        write(path)
        return
    with files.whole_file(path) as temporary:
        write(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            sums = {name: _checksum(archive, name) for name in archive.namelist()}
            archive.writestr(CHECKSUMS, json.dumps(sums))


def check(archive: zipfile.ZipFile) -> None:
    """Compare the members of an archive with their checksums, if it has any: files of plain Keras do not.

    Raises:
        NotAsSaved: naming a member that is not what was saved.
    """
    if CHECKSUMS not in archive.namelist():
        return
    sums = json.loads(archive.read(CHECKSUMS))
    members = set(archive.namelist()) - {CHECKSUMS}
    if not isinstance(sums, dict) or set(sums) != members:
        raise NotAsSaved(f"its {CHECKSUMS} is not about its members")
    for name in sorted(members):
        if sums[name] != _checksum(archive, name):
            raise NotAsSaved(f"its {name} is not what was saved: the checksums differ")


def _checksum(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while block := member.read(2**20):
            digest.update(block)
    return digest.hexdigest()
