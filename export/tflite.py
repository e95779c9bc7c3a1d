"""`to_tflite`: the model for devices in one file, or in two by size, verified before they appear."""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import files, internals
from keras_vae.arguments import check_choice
from keras_vae.distributions import mixtures
from keras_vae.export import calibration as typical
from keras_vae.export import metadata, publish
from keras_vae.export.errors import ExportError, TargetError, lacking, of_matrices
from keras_vae.export.proof import battery
from keras_vae.export.proof.on_examples import indices
from keras_vae.export.proof.on_examples.ranks import SIGNATURE, check_ranks
from keras_vae.export.proof.report import FILE, Report, dump
from keras_vae.export.proof.tflite_checks import QUANTIZATIONS, check_tflite
from keras_vae.export.saved_model import describe, eager, now, precision_note, reason_of, trace, write_functions
from keras_vae.export.signatures import Outputs, signatures
from keras_vae.export.source import Source, in_float32, load, with_static_reshapes
from keras_vae.models.vae import VAE

# The encoder stands in the decoder's file where its weights take at most so many bytes there, else in its own.
LARGEST_GUEST = 2**20
# Of the probability of the likeliest category: another one that has so much may be given in its place.
NEARLY = 0.8
ENCODER = ("auto", "inside", "beside", "none")
_OF_IMAGES = ("encode", "encode_indices", "reconstruct", "score")
_ALWAYS = ("serving_default", "decode", "sample")


@dataclasses.dataclass(frozen=True)
class _Function:
    """A signature of the file: what it computes, and which of `keras_vae.export.signatures` it is."""

    of: str
    function: Callable[..., Outputs]
    inputs: dict[str, tf.TensorSpec]


def to_tflite(
    vae_or_path: Source,
    file: str | os.PathLike[str],
    quantization: str | None = None,
    *,
    encoder: str = "auto",
    calibration: Any = None,
    calibration_size: int = typical.LEAST_DRAWS,
    seed: int = 0,
    examples: Any = None,
) -> Report:
    """Writes the model as TFLite of builtin ops only, after it passed every check.

    The signatures are those of the SavedModel, each with a batch of 1 and of 64, which share their weights: `decode_1`,
    `decode_64`, `sample_1` and so on; a browser takes no others. `serving_default` (of `decode`) and `sample` take any
    batch. Left out is, with the reason in the report, what builtin ops cannot compute, or not closely enough. An
    existing file is replaced at the end. `export.json` beside the file holds what was measured.

    Args:
        vae_or_path: a `keras_vae.VAE`, a `.keras` file, or a run folder with a `vae.keras`.
        file: where to write.
        quantization: None for float32; "float16" and "dynamic" (8 bits) store the weights in fewer bits; "int8" also
            computes in 8 bits, with ranges seen on draws from the model's prior, and on the calibration.
        encoder: where `encode` and `reconstruct` go: "inside" the file, into one "beside" it (`encoder.tflite` beside
            `decoder.tflite`, without `reconstruct`, which needs both), "none", or "auto": inside as long as the
            encoder's weights take at most 1 MiB of the file.
        calibration: examples of the data, at least 192, which the encoder needs in "int8": an array, (x, condition), or
            batches. The last 64 are compared.
        calibration_size: number of draws, and of examples at most: at least 2,048, since a z beyond the ranges that
            were seen saturates.
        seed: of the draws.
        examples: held-out examples of a model with codes, as in `to_saved_model`.

    Returns:
        The report; its `encoder` is that of the second file, if there is one.

    Raises:
        ExportError: unknown quantization, a source that is no finite, built VAE, a decoder that builtin ops cannot
            compute, int8 without calibration of a model whose condition is no label, an encoder that was asked for and
            cannot be had.
        TargetError: the path is a folder.
        VerificationError: a check failed. After any error nothing is left behind.
    """
    if quantization not in QUANTIZATIONS:
        raise ExportError(f"quantization must be one of {', '.join(map(repr, QUANTIZATIONS))}, not {quantization!r}")
    if calibration_size < typical.LEAST_DRAWS:
        raise ExportError(f"calibration_size must be at least {typical.LEAST_DRAWS}: with fewer draws outer z saturate")
    try:
        check_choice("encoder", encoder, ENCODER)
    except ValueError as error:
        raise ExportError(str(error)) from None
    if quantization == "int8" and encoder in ("inside", "beside") and calibration is None:
        raise ExportError(
            f'encoder="{encoder}" in int8 needs the ranges of real examples: calibration=images, at least '
            f'{typical.LEAST_EXAMPLES + typical.COMPARED}, or quantization="dynamic", which needs none'
        )
    path = Path(file).expanduser()
    _read_record(path.parent / FILE)
    with contextlib.ExitStack() as turn:
        with contextlib.ExitStack() as staged:
            temporary = staged.enter_context(publish.staged_file(path))
            original = load(vae_or_path)
            vae = with_static_reshapes(in_float32(original))
            condition = vae.decoder.condition
            is_open = quantization == "int8" and condition is not None and condition.num_classes is None
            if is_open and calibration is None:
                raise ExportError(
                    f"int8 needs typical conditions, and {condition} does not say which: calibration=(images, "
                    'conditions), or quantization="dynamic"'
                )
            shown = None
            if quantization == "int8" and calibration is not None and (is_open or encoder != "none"):
                try:
                    shown = typical.examples(vae, calibration, calibration_size)
                except typical.TooFew:
                    if is_open or encoder != "auto":
                        raise
            device = _Device(original, vae, quantization, encoder, shown, calibration_size, seed, examples)
            inside, beside = device.halves()
            report = device.write(inside, temporary, path)
            if beside:
                other = path.with_name(_name_of_encoder(path))
                temporary = staged.enter_context(publish.staged_file(other))
                report.encoder = device.write(beside, temporary, other)
                report.facts["encoder_file"] = other.name
            report.left_out = device.left_out
            # From here to the end nobody else publishes in this folder, whose exports share one record.
            turn.enter_context(publish.in_turn(path.parent))
        _record(path, report)
    return report


class _Device:
    """One export: the functions of a model for devices, and the files that are made of them."""

    def __init__(
        self,
        original: VAE,
        vae: VAE,
        quantization: str | None,
        encoder: str,
        shown: typical.Feeds | None,
        calibration_size: int,
        seed: int,
        examples: Any,
    ):
        self.left_out: dict[str, str] = {}
        self._vae, self._quantization, self._encoder = vae, quantization, encoder
        self._described = describe(original, vae)
        self._table = signatures(vae)
        self._drawn = {}
        if quantization == "int8":
            self._drawn = typical.draws(vae, calibration_size, seed, typical.conditions(vae, shown, calibration_size))
        self._shown = shown
        last = {} if shown is None else typical.compared(shown)
        self._given = {**typical.draws(vae, battery.MAX_ROWS, seed + 1, last.get("condition")), **last}
        self._codes = indices.expected(vae, indices.requests(vae, self._given), examples)
        self._notes = self._without_matrices()
        self._functions = self._offered()
        self._eight_bits = typical.EightBits(vae, {name: function.of for name, function in self._functions.items()})
        self._traced: dict[str, Any] = {}
        for name, function in self._functions.items():
            if function.of not in self.left_out:
                try:
                    self._traced[name] = trace(function.function, function.inputs, strict=function.of not in _ALWAYS)
                except Exception as error:  # whatever tracing the user's own parts raises is the reason
                    self._leave_out(function.of, error)

    def _leave_out(self, of: str, reason: Exception | str) -> None:
        reason = lacking(reason) or reason
        asked = of == "encode" and self._encoder in ("inside", "beside")
        if of in _ALWAYS or asked:
            what = "decoder's mean" if of in _ALWAYS else f"signature {of}"
            raise ExportError(f"TFLite's builtin ops cannot compute this {what}: {reason}") from (
                reason if isinstance(reason, Exception) else None
            )
        self.left_out[of] = reason if isinstance(reason, str) else reason_of(reason)

    def _without_matrices(self) -> list[str]:
        """Takes the scale from `encode` where no builtin ops can compute it, and says so."""
        encode = self._table["encode"]
        try:
            graph = trace(encode.function, encode.inputs).graph
        except Exception:  # the reason is found again where the functions are traced
            return []
        names = of_matrices(op.type for op in graph.get_operations())
        if not names or "scale" not in graph.structured_outputs:
            return []

        def without_scale(**inputs: tf.Tensor) -> Outputs:
            return {name: value for name, value in encode.function(**inputs).items() if name != "scale"}

        self._table["encode"] = dataclasses.replace(encode, function=without_scale)
        return [f"encode: without scale, for which builtin ops have no {', '.join(names)}"]

    def _offered(self) -> dict[str, _Function]:
        """The functions that the model may have, before any of them is tried."""
        table, functions = self._table, {}
        in_8_bits = {
            "sample": "in an int8 file its random numbers would be rounded to 8 bits as well",
            "log_likelihood": "in an int8 file its sums would be rounded to 8 bits",
            "decode_indices": "in an int8 file the vectors would be rounded to 8 bits",
        }
        for of, signature in table.items():
            if self._quantization == "int8" and of in in_8_bits:
                self.left_out[of] = in_8_bits[of]
            elif self._quantization == "int8" and of in _OF_IMAGES and self._vae.missing and of != "score":
                self.left_out[of] = "8 bits have no number for a missing value"
            elif not signature.builtin:
                self.left_out[of] = signature.note
            elif of in _OF_IMAGES and self._encoder == "none":
                self.left_out[of] = 'encoder="none"'
            elif of in _OF_IMAGES and self._quantization == "int8" and self._shown is None:
                least = typical.LEAST_EXAMPLES + typical.COMPARED
                self.left_out[of] = f"in int8 it needs the ranges of real examples: calibration=, at least {least}"
            else:
                if of == "decode":
                    functions["serving_default"] = _Function(of, _resizable(signature.function), signature.inputs)
                if of == "sample":
                    functions["sample"] = _Function(of, _resizable(signature.function), signature.inputs)
                for rows in battery.BATCHES:
                    inputs = signature.inputs.items()
                    fixed = {key: tf.TensorSpec([rows, *s.shape[1:]], s.dtype, s.name) for key, s in inputs}
                    functions[f"{of}_{rows}"] = _Function(of, mixtures.in_float32(_fixed(signature.function)), fixed)
        return functions

    def halves(self) -> tuple[list[str], list[str]]:
        """The names of the functions in the file, and of those in the one beside it."""
        weights = sum(weight.size for weight in self._weights(f"encode_{battery.BATCHES[0]}"))
        apart = self._encoder == "beside" or (
            self._encoder == "auto" and weights * metadata.WIDTHS[self._quantization or "float32"] > LARGEST_GUEST
        )
        if not apart:
            return list(self._traced), []
        if any(self._functions[name].of == "reconstruct" for name in self._traced):
            self.left_out["reconstruct"] = 'it needs both files: decode what encode gives, or write encoder="inside"'
        names = [name for name in self._traced if self._functions[name].of not in self.left_out]
        of_images = [name for name in names if self._functions[name].of in _OF_IMAGES]
        return [name for name in names if name not in of_images], of_images

    def write(self, names: Sequence[str], temporary: Path, path: Path) -> Report:
        """Converts these functions into a file, which passed every check.

        Raises:
            ExportError: one of them that the file must have cannot be converted.
            VerificationError: or fails a check.
        """
        with tempfile.TemporaryDirectory(prefix="keras_vae_") as folder:
            write_functions(self._vae, {name: self._traced[name] for name in names}, Path(folder))
            names = list(names)
            while True:
                content = self._convert(Path(folder), names)
                temporary.write_bytes(metadata.write(content, self._facts(names)))
                report = check_tflite(
                    temporary, self._expected(names), self._given, codes=self._codes, table=self._rows(names)
                )
                if self._shown is not None and report.harmless and SIGNATURE in names:
                    check_ranks(report, temporary, self._scores, self._shown)
                wrong = {
                    self._functions[name].of: check.detail
                    for check in report.checks
                    if not check.passed and (name := check.name.rpartition(" ")[2]) in names
                }
                if self._quantization == "int8" and self._eight_bits.more_exact(wrong, self._num_weights):
                    continue
                wrong = {of: detail for of, detail in wrong.items() if of not in _ALWAYS and self._encoder == "auto"}
                if not wrong:
                    break
                self.left_out |= wrong
                names = [name for name in names if self._functions[name].of not in wrong]
        report.facts = self._described | {"quantization": self._quantization}
        report.notes += precision_note(self._described) + self._notes * any("encode" in name for name in names)
        if self._quantization == "int8":
            report.notes += self._eight_bits.notes([self._functions[name].of for name in names])
        report.files = {path.name: report.files[temporary.name]}
        report.path = path
        return report.require(f"The export to {path}", '; try quantization="dynamic"' * (self._quantization == "int8"))

    def _num_weights(self, of: str) -> int:
        names = [name for name, function in self._functions.items() if function.of == of]
        return sum(weight.size for weight in self._weights(*names))

    def _convert(self, folder: Path, names: list[str]) -> bytes:
        """The file with these functions, less those that cannot be in it: the list is shortened by them."""
        try:
            return self._converted(folder, names)
        except Exception:  # the converter raises its own class, ValueError or RuntimeError, by op
            for of in dict.fromkeys(self._functions[name].of for name in names):
                try:
                    self._converted(folder, [name for name in names if self._functions[name].of == of])
                except Exception as error:
                    self._leave_out(of, error)
            names[:] = [name for name in names if self._functions[name].of not in self.left_out]
            return self._converted(folder, names)

    def _converted(self, folder: Path, names: list[str]) -> bytes:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = False
        if self._quantization is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self._quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if self._quantization == "int8":
            shown = {}
            for name in names:
                feeds = self._drawn if self._functions[name].of == "decode" else typical.kept(self._shown or {})
                shown[name] = {key: feeds[key] for key in self._functions[name].inputs}
            converter.representative_dataset = lambda: typical.batches(names, shown)
        with warnings.catch_warnings():
            # The converter calibrates by an interpreter that its own package has deprecated.
            warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
            if self._quantization == "int8" and self._eight_bits.are_partly_in_float(names):
                return internals.partly_quantized(converter, self._eight_bits.prepared)
            content: bytes = converter.convert()
        return content

    def _weights(self, *names: str) -> list[Any]:
        """The weights of decoder and encoder that these functions read."""
        read = {id(v) for name in names if name in self._traced for v in self._traced[name].graph.variables}
        all_of_them = [*self._vae.decoder.weights, *self._vae.encoder.weights]
        return [keras.ops.convert_to_numpy(weight) for weight in all_of_them if id(weight.value) in read]

    def _facts(self, names: Sequence[str]) -> dict[str, Any]:
        facts, support = self._described, self._vae.decoder.likelihood.support
        weights = self._weights(*(name for name in names if self._functions[name].of != "sample"))
        return {
            **{name: facts[name] for name in ("keras_vae", "latent_dim", "event_shape", "likelihood", "prior")},
            **({} if facts["class_names"] is None else {"class_names": facts["class_names"]}),
            "value_range": [float(end) if np.isfinite(end) else None for end in support],
            "quantization": self._quantization or "float32",
            "num_weights": sum(weight.size for weight in weights),
            "weights_sha256": hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in weights)).hexdigest(),
        }

    @property
    def _is_of_rows(self) -> bool:
        return self._vae.decoder.likelihood.schema is not None

    def _rows(self, names: Sequence[str]) -> battery.Rows | None:
        """How rows of a table are compared; None of other data."""
        if not self._is_of_rows:
            return None
        likelihood = self._vae.decoder.likelihood
        given = {name: self._given.get(name) for name in ("z", "x", "condition")}
        p = {"decode": self._vae.decode(given["z"], given["condition"])}
        if given["x"] is not None and self._vae.num_levels == 1:
            z = self._vae.encoder.posterior.point(self._vae.encode(given["x"], given["condition"]))
            p["reconstruct"] = self._vae.decode(z, given["condition"])
        mean = np.asarray(p["decode"].mean())
        kinds = [field.kind for field in likelihood.fields]
        # The means of a column that the code says nothing about may all be zero.
        least = [
            float(scale) if kind == "real" else 0.0
            for kind, scale in zip(kinds, np.asarray(likelihood.scale), strict=True)
        ]
        found = np.maximum(np.abs(mean).max(axis=0), least)
        found[found == 0.0] = 1.0
        found[[kind == "binary" for kind in kinds]] = 1.0
        found[[kind == "category" for kind in kinds]] = np.nan
        likely = {of: columns.nearly_likeliest(NEARLY).numpy() for of, columns in p.items()}
        of = {name: self._functions[name].of for name in names}
        return battery.Rows(found, {name: likely[key] for name, key in of.items() if key in likely})

    def _scores(self, given: battery.Arrays) -> np.ndarray:
        return next(iter(eager(self._table["score"], (len(given["x"]),), given).values()))["score"]

    def _expected(self, names: Sequence[str]) -> battery.Expected:
        of = {name: self._functions[name].of for name in names}
        answers = {key: eager(self._table[key], battery.BATCHES, self._given) for key in dict.fromkeys(of.values())}
        ends = {f"_{rows}": rows for rows in battery.BATCHES}
        found: battery.Expected = {}
        for name, key in of.items():
            rows = ends.get(name.removeprefix(key))
            found[name] = answers[key] if rows is None else {rows: answers[key][rows]}
        return found


# LiteRT resizes inputs to whatever it is given. A concatenation refuses another rank or last dimension.
def _with_zeros(tensor: tf.Tensor) -> tf.Tensor:
    return tf.concat([tensor, tf.zeros([1, *tensor.shape[1:]], tensor.dtype)], axis=0)


def _fixed(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    def computed(**tensors: tf.Tensor) -> Outputs:
        return function(**{name: _with_zeros(tensor)[:-1] for name, tensor in tensors.items()})

    return computed


def _resizable(function: Callable[..., Outputs]) -> Callable[..., Outputs]:
    # Several kernels of LiteRT fail on an empty batch, so the row of zeros is computed too.
    def padded(**tensors: tf.Tensor) -> Outputs:
        outputs = function(**{name: _with_zeros(tensor) for name, tensor in tensors.items()})
        return {name: output[:-1] for name, output in outputs.items()}

    return padded


def _name_of_encoder(path: Path) -> str:
    """`encoder_int8.tflite` for `decoder_int8.tflite`, `digits_encoder.tflite` for `digits.tflite`."""
    if "decoder" in path.stem:
        return path.name.replace("decoder", "encoder", 1)
    return f"{path.stem}_encoder{path.suffix}"


def _record(file: Path, report: Report) -> None:
    """Writes down what was found of files that stand now, beside what stands there of others.

    A second file of the export before, which this one does not have, goes: it would not fit the first.
    """
    record = _read_record(file.parent / FILE)
    models = record["models"]
    before = models.get(file.name)
    second = before.get("encoder_file") if isinstance(before, dict) else None
    if isinstance(second, str) and second in models and second != report.facts.get("encoder_file"):
        del models[second]
        (file.parent / Path(second).name).unlink(missing_ok=True)
    for one in (report, report.encoder):
        if one is not None:
            models[file.name if one is report else one.path.name] = {"created": now(), **one.to_dict()}
    record["models"] = dict(sorted(models.items()))
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
