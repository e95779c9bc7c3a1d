"""The file: what it begins with, what it was made by, and what tells that it is whole.

8 bytes  KVAE, 0, B, B, and the version of the format
4 bytes  length of the header
header   JSON, deflated: see `Contents`; lengths of the parts that follow
words    of the coder, 32 bits each, the lowest byte first
others   conditions and names, deflated
4 bytes  CRC-32 of everything before
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.models.vae import VAE

MAGIC = b"KVAE\0BB\1"
# Variables that choose how oneDNN computes.
ONEDNN = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
# Shorter than the files of other programs: an empty file, or the page of an error, is no file of ours that was cut off.
LEAST = len(MAGIC) + 8


class Undecodable(ValueError):
    """A file that does not decode."""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file holds.

    The arithmetic of networks is the same, bit for bit, on the same processor, with the same versions of TensorFlow and
    of the coder, the same number of threads, and batches of the same size. Batches are made so. The others are written
    down, and named where the file does not decode; they are not asked for, as the numbers may come out the same all the
    same, and two checks at the end tell whether they did: the stack is as it was begun, and the examples have their
    checksum.

    Attributes:
        num_examples: N.
        rows: of a batch of the networks.
        bits: of the grid of latents.
        refine_steps: of the fit of posteriors.
        untouched: words of the generator below those in the file.
        model: the fingerprint of the model.
        made_by: what was computed with.
        checksum: of the levels of all values.
        words: of the coder, uint32.
        condition: [N, ...], or None.
        names: of the examples, or None.
    """

    num_examples: int
    rows: int
    bits: int
    refine_steps: int
    untouched: int
    model: str
    made_by: dict[str, str]
    checksum: str
    words: np.ndarray
    condition: np.ndarray | None
    names: tuple[str, ...] | None

    @classmethod
    def of(
        cls,
        vae: VAE,
        codec: Any,
        k: np.ndarray,
        words: np.ndarray,
        untouched: int,
        condition: np.ndarray | None,
        names: Sequence[str] | None,
    ) -> "Contents":
        """What was coded by a model here."""
        return cls(
            num_examples=len(k),
            rows=codec.networks.rows,
            bits=codec.bits,
            refine_steps=codec.networks.refine_steps,
            untouched=untouched,
            model=fingerprint(vae),
            made_by=machinery(),
            checksum=checksum(k),
            words=words,
            condition=condition,
            names=None if names is None else tuple(names),
        )

    def written(self) -> tuple[bytes, dict[str, int]]:
        """The bytes of the file, and how many of them are for what."""
        body = self.words.astype("<u4").tobytes()
        condition = b"" if self.condition is None else zlib.compress(self._condition_bytes(), 9)
        names = b"" if self.names is None else zlib.compress("\0".join(self.names).encode(), 9)
        header = {
            "n": self.num_examples,
            "rows": self.rows,
            "bits": self.bits,
            "base": self.untouched,
            "model": self.model,
            "by": self.made_by,
            "crc": self.checksum,
            "len": [len(body), len(condition), len(names)],
        }
        if self.refine_steps:
            header["fit"] = self.refine_steps
        if self.condition is not None:
            header["c"] = [self.condition.dtype.str, list(self.condition.shape[1:])]
        packed = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
        content = b"".join((MAGIC, struct.pack("<I", len(packed)), packed, body, condition, names))
        content += struct.pack("<I", zlib.crc32(content))
        sizes = {"examples": len(body), "conditions": len(condition), "names": len(names)}
        return content, {**sizes, "header": len(content) - sum(sizes.values())}

    def _condition_bytes(self) -> bytes:
        assert self.condition is not None
        # Labels of a few classes want a byte each.
        is_small = self.condition.dtype.kind in "iu" and self.condition.size and self.condition.min() >= 0
        if is_small and self.condition.max() < 256:
            return b"\1" + self.condition.astype("u1").tobytes()
        return b"\0" + self.condition.tobytes()

    def check_model(self, vae: VAE) -> None:
        """Refuse a model that is not the one by which the file was made.

        Raises:
            Undecodable: saying so.
        """
        if self.model != fingerprint(vae):
            raise Undecodable(
                f"The file was made by another model (its weights have the fingerprint {self.model}, and those of this "
                f"one {fingerprint(vae)}): decompress it with the run, or the .keras file, that it was compressed with."
            )

    def compute_alike(self) -> None:
        """Let TensorFlow use as many threads as when the file was made, unless it has computed something already."""
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.threading.set_intra_op_parallelism_threads(int(self.made_by["threads"]))

    def _with_threads(self, here: dict[str, str]) -> str:
        then = self.made_by.get("threads")
        if then == here["threads"]:
            return ""
        return (
            f" To have {then} threads, set TF_NUM_INTRAOP_THREADS={then} in the environment before TensorFlow is "
            "imported; keras-vae decompress does it by itself."
        )

    def does_not_decode(self) -> str:
        """What is said where the checks at the end fail."""
        here, there = machinery(), self.made_by
        others = [
            f"{name} {there.get(name, 'as usual')} (here {here.get(name, 'as usual')})"
            for name in (*there, *(name for name in here if name not in there))
            if here.get(name) != there.get(name)
        ]
        if others:
            return (
                "The file does not decode here, and nothing is kept of it: the networks give other numbers than when "
                f"it was made. It was made by {', '.join(others)}: decompress it there.{self._with_threads(here)}"
            )
        return (
            "The file does not decode, and nothing is kept of it: the networks gave other numbers than when it "
            "was made, though versions and processor are the same. Does something else in this process change how "
            "TensorFlow computes, such as XLA or the precision of products?"
        )


def read(content: bytes) -> Contents:
    """The contents of a file.

    Raises:
        Undecodable: for what is no such file, or not all of it, or changed.
    """
    if len(content) < LEAST or not content.startswith(MAGIC[:-1]):
        raise Undecodable("This is no file of keras-vae compress: it does not begin as one.")
    if content[len(MAGIC) - 1] != MAGIC[-1]:
        raise Undecodable(
            f"The file has format {content[len(MAGIC) - 1]} of keras-vae compress, and this version reads {MAGIC[-1]}: "
            "decompress it with the version that made it."
        )
    if zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise Undecodable(
            "The file is damaged or cut off: its checksum is not that of its contents. Copy it anew from where it was "
            "made."
        )
    try:
        return _parsed(content)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, zlib.error) as error:
        raise Undecodable(f"The file is damaged: its header says what cannot be ({error}).") from error


def _parsed(content: bytes) -> Contents:
    first = len(MAGIC) + 4
    last = first + struct.unpack("<I", content[first - 4 : first])[0]
    header = json.loads(zlib.decompress(content[first:last]))
    parts, at = [], last
    for size in header["len"]:
        parts.append(content[at : at + size])
        at += size
    if at != len(content) - 4:
        raise ValueError("lengths that are not those of the file")
    n = int(header["n"])
    condition = None
    if "c" in header:
        dtype, shape = header["c"]
        raw = zlib.decompress(parts[1])
        stored = np.frombuffer(raw[1:], "u1" if raw[:1] == b"\1" else dtype)
        condition = stored.astype(dtype).reshape(n, *shape)
    names = tuple(zlib.decompress(parts[2]).decode().split("\0")) if parts[2] else None
    return Contents(
        num_examples=n,
        rows=int(header["rows"]),
        bits=int(header["bits"]),
        refine_steps=int(header.get("fit", 0)),
        untouched=int(header["base"]),
        model=header["model"],
        made_by=dict(header["by"]),
        checksum=header["crc"],
        words=np.frombuffer(parts[0], "<u4").astype(np.uint32),
        condition=condition,
        names=names,
    )


def checksum(k: np.ndarray) -> str:
    """CRC-32 of the levels of all values, uint16."""
    return f"{zlib.crc32(np.ascontiguousarray(k.astype('<u2')).tobytes()):08x}"


def fingerprint(vae: VAE) -> str:
    """16 hexadecimal digits of what a model computes with: its parts, their names and the numbers of their weights."""
    import hashlib

    digest = hashlib.sha256()
    for part in (vae.encoder, vae.decoder, vae.prior):
        digest.update(type(part).__name__.encode())
        for weight in part.weights:
            values = np.ascontiguousarray(weight.numpy())
            digest.update(f"{values.dtype.str}{values.shape}".encode())
            digest.update(values.tobytes())
    digest.update(f"{type(vae.decoder.likelihood).__name__}{vae.decoder.likelihood.event_shape}".encode())
    return digest.hexdigest()[:16]


def machinery() -> dict[str, str]:
    """What the numbers of networks depend on, beside weights and batches."""
    devices = [device.device_type for device in tf.config.get_visible_devices()]
    chosen = {name: os.environ[name] for name in ONEDNN if name in os.environ}
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "constriction": importlib.metadata.version("constriction"),
        "on": "GPU" if "GPU" in devices else "CPU",
        "processor": f"{platform.machine()} {_processor()}",
        "threads": str(threads()),
        **chosen,
    }


def threads() -> int:
    """Threads that one operation of TensorFlow is shared by."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    return int(asked or os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
