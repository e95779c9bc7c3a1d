"""`to_tflite`: one file with the decoder for devices, verified before it appears."""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import files
from keras_vae.conditions import condition_for
from keras_vae.export import metadata, publish
from keras_vae.export.errors import ExportError, TargetError
from keras_vae.export.proof import battery
from keras_vae.export.proof.report import FILE, Report, dump
from keras_vae.export.proof.tflite_checks import QUANTIZATIONS, check_tflite
from keras_vae.export.saved_model import describe, eager, now, precision_note, trace, write_functions
from keras_vae.export.signatures import Outputs, condition_spec, signatures
from keras_vae.export.source import Source, in_float32, load, with_static_reshapes
from keras_vae.models.vae import VAE
from keras_vae.seeds import as_pair

Functions = dict[str, tuple[Callable[..., Outputs], dict[str, tf.TensorSpec]]]
MIN_CALIBRATION = 2048
_CALIBRATION_BATCH = 64


def to_tflite(
    vae_or_path: Source,
    file: str | os.PathLike[str],
    quantization: str | None = None,
    *,
    calibration_size: int = MIN_CALIBRATION,
    seed: int = 0,
) -> Report:
    """Writes the decoder as a TFLite file of builtin ops only, after it passed every check.

    Signatures: `serving_default` (z [any, L]), `decode_1` and `decode_64` (fixed batches, faster), which share their
    weights and give `mean` [batch, *event_shape] as float32; and `sample` (seed int32 [any, 2] -> `z`, `mean`, with the
    z of the SavedModel) where the prior can be drawn from by builtin ops and the file is not int8. An existing file is
    replaced at the end. Those of a conditional model take `condition` too. `export.json` beside the file holds what was
    measured.

    Args:
        vae_or_path: a `keras_vae.VAE`, a `.keras` file, or a run folder with a `vae.keras`.
        file: where to write.
        quantization: None for float32; "float16" and "dynamic" (8 bits) store the weights in fewer bits; "int8" also
            computes in 8 bits, with ranges seen on draws from the model's prior.
        calibration_size: number of those draws, at least 2,048: a z beyond the ranges that were seen saturates.
        seed: of those draws.

    Returns:
        The report.

    Raises:
        ExportError: unknown quantization, a source that is no finite, built VAE, a decoder that builtin ops cannot
            compute, or int8 of a model whose condition is no label.
        TargetError: the path is a folder.
        VerificationError: a check failed. After any error nothing is left behind.
    """
    if quantization not in QUANTIZATIONS:
        raise ExportError(f"quantization must be one of {', '.join(map(repr, QUANTIZATIONS))}, not {quantization!r}")
    if calibration_size < MIN_CALIBRATION:
        raise ExportError(f"calibration_size must be at least {MIN_CALIBRATION}: with fewer draws outer z saturate")
    path = Path(file).expanduser()
    _read_record(path.parent / FILE)
    with contextlib.ExitStack() as turn:
        with publish.staged_file(path) as temporary:
            original = load(vae_or_path)
            vae = with_static_reshapes(in_float32(original))
            condition = vae.decoder.condition
            if quantization == "int8" and condition is not None and condition.num_classes is None:
                raise ExportError(
                    f'int8 needs typical conditions, and {condition} does not say which: quantization="dynamic"'
                )
            functions, left_out = _functions(vae, quantization)
            facts = describe(original, vae)
            content = _convert(vae, functions, quantization, calibration_size, seed)
            temporary.write_bytes(metadata.write(content, _facts(vae, facts, quantization)))
            given = _draws(vae, battery.MAX_ROWS, seed + 1)
            report = check_tflite(temporary, _reference(vae, functions, given), given)
            report.facts = facts | {"quantization": quantization}
            report.left_out = left_out
            report.notes += precision_note(facts)
            report.files = {path.name: report.files[temporary.name]}
            remedy = '; try quantization="dynamic"' if quantization == "int8" else ""
            report.require(f"The export to {path}", remedy)
            # From here to the end nobody else publishes in this folder, whose exports share one record.
            turn.enter_context(publish.in_turn(path.parent))
        _record(path, report)
    report.path = path
    return report


def _record(file: Path, report: Report) -> None:
    """Writes down what was found of a file that stands now, beside what stands there of others."""
    record = _read_record(file.parent / FILE)
    record["models"][file.name] = {"created": now(), **report.to_dict()}
    record["models"] = dict(sorted(record["models"].items()))
    files.write_text(file.parent / FILE, dump(record))


def _read_record(file: Path) -> dict[str, Any]:
    if not os.path.lexists(file):
        return {"format": "tflite", "models": {}}
    publish.check_beside(file)
    try:
        record: dict[str, Any] = json.loads(file.read_text())
        if record["format"] == "tflite" and isinstance(record["models"], dict):
            return record
    except (ValueError, KeyError, TypeError):
        pass
    raise TargetError(f"{file} belongs to something else: export into another folder")


def _functions(vae: VAE, quantization: str | None) -> tuple[Functions, dict[str, str]]:
    """The functions with their input specs, and what is left out."""
    latent_dim = vae.prior.latent_dim
    table = signatures(vae)

    # LiteRT resizes inputs to whatever it is given. A concatenation refuses another rank or last dimension.
    def with_zeros(tensor: tf.Tensor) -> tf.Tensor:
        return tf.concat([tensor, tf.zeros([1, *tensor.shape[1:]], tensor.dtype)], axis=0)

    def fixed(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        return lambda **tensors: function(**{name: with_zeros(tensor)[:-1] for name, tensor in tensors.items()})

    def resizable(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        # Several kernels of LiteRT fail on an empty batch, so the row of zeros is computed too.
        def padded(**tensors: tf.Tensor) -> Outputs:
            outputs = function(**{name: with_zeros(tensor) for name, tensor in tensors.items()})
            return {name: output[:-1] for name, output in outputs.items()}

        return padded

    def decode(z: tf.Tensor, condition: tf.Tensor | None = None) -> Outputs:
        return {"mean": vae.decoder(z, condition=condition, training=False).mean()}

    functions: Functions = {}
    for name, rows, checked in (("serving_default", None, resizable), ("decode_1", 1, fixed), ("decode_64", 64, fixed)):
        specs = {"z": tf.TensorSpec([rows, latent_dim], tf.float32, "z")}
        if vae.decoder.condition is not None:
            specs.update(condition_spec(vae, rows))
        functions[name] = checked(decode), specs
    left_out = {}
    if quantization == "int8":
        left_out["sample"] = "in an int8 file its random numbers would be rounded to 8 bits as well"
    elif not table["sample"].builtin:
        left_out["sample"] = table["sample"].note
    else:
        functions["sample"] = resizable(table["sample"].function), table["sample"].inputs
    return functions, left_out


def _draws(vae: VAE, rows: int, seed: int) -> dict[str, np.ndarray]:
    """Seeded draws from the model's own prior, `z` float32 [rows, L], given every class in turn if it has any."""
    given = {}
    if vae.condition is not None:
        specs = {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in condition_spec(vae).items()}
        given = battery.good(specs, battery.MAX_ROWS)
        if vae.condition.num_classes is not None:
            given["condition"] = np.arange(battery.MAX_ROWS, dtype="int32") % vae.condition.num_classes
        given = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in given.items()}
    condition = tf.constant(given["condition"]) if given else None
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
    z = p.sample(() if p.batch_shape.rank else rows, seed=as_pair(seed))
    return {"z": np.asarray(z, dtype="float32"), **given}


def _convert(
    vae: VAE,
    functions: Functions,
    quantization: str | None,
    calibration_size: int,
    seed: int,
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="keras_vae_") as folder:
        write_functions(vae, {name: trace(*function) for name, function in functions.items()}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = False
        if quantization is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "int8":
            draws = _draws(vae, calibration_size, seed)
            inputs = functions["serving_default"][1]
            converter.representative_dataset = lambda: _calibration({name: draws[name] for name in inputs})
        try:
            with warnings.catch_warnings():
                # The converter calibrates by an interpreter that its own package has deprecated.
                warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
                content: bytes = converter.convert()
        except Exception as error:  # the converter raises its own class, ValueError or RuntimeError, by op
            raise ExportError(f"TFLite's builtin ops cannot compute this decoder's mean: {error}") from error
    return content


def _calibration(draws: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The draws for each signature, since each has ranges of its own."""
    for start in range(0, len(draws["z"]), _CALIBRATION_BATCH):
        rows = np.arange(start, start + _CALIBRATION_BATCH) % len(draws["z"])
        batch = {name: array[rows] for name, array in draws.items()}
        yield "serving_default", batch
        yield "decode_64", batch
        for row in range(_CALIBRATION_BATCH):
            yield "decode_1", {name: array[row : row + 1] for name, array in batch.items()}


def _facts(vae: VAE, facts: dict[str, Any], quantization: str | None) -> dict[str, Any]:
    weights = [np.ascontiguousarray(keras.ops.convert_to_numpy(weight)) for weight in vae.decoder.weights]
    support = vae.decoder.likelihood.support
    return {
        **{name: facts[name] for name in ("keras_vae", "latent_dim", "event_shape", "likelihood", "prior")},
        **({} if facts["class_names"] is None else {"class_names": facts["class_names"]}),
        "value_range": [float(end) if np.isfinite(end) else None for end in support],
        "quantization": quantization or "float32",
        "num_weights": sum(weight.size for weight in weights),
        "weights_sha256": hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest(),
    }


def _reference(
    vae: VAE, functions: Functions, given: dict[str, np.ndarray]
) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    decode, sample = signatures(vae)["decode"], signatures(vae)["sample"]
    reference = {"serving_default": eager(decode, (1, 64), given)}
    reference["decode_1"] = {1: reference["serving_default"][1]}
    reference["decode_64"] = {64: reference["serving_default"][64]}
    if "sample" in functions:
        reference["sample"] = eager(sample, (1, 64), given)
    return reference
