"""Exports what a run folder holds, for the command line and the end of a training job."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_vae.export import ExportError, Report, to_saved_model, to_tflite
from keras_vae.export.proof.report import print_reports
from keras_vae.export.proof.tflite_checks import QUANTIZATIONS
from keras_vae.export.publish import check_version
from keras_vae.export.source import load
from keras_vae.models.vae import VAE

FORMATS = ("saved_model", "tflite")


def export_run(
    run_folder: str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    quantizations: Sequence[str | None] = (None,),
    version: int | None = None,
    examples: Any = None,
    held_out: Any = None,
    vae: VAE | None = None,
) -> list[Report]:
    """Exports ``RUN/vae.keras`` into ``RUN/export`` and prints one table.

    ``RUN/export/saved_model/N`` is served by TensorFlow Serving; ``RUN/export/decoder.tflite``,
    ``decoder_float16.tflite``, ``decoder_dynamic.tflite`` and ``decoder_int8.tflite`` run on devices, with an
    ``encoder.tflite`` and so on beside them where the encoder is large. Every export is tried, whatever became of the
    others.

    Args:
        run_folder: a folder written by `keras-vae train`.
        formats: of "saved_model", "tflite".
        quantizations: of None (or "none"), "float16", "dynamic", "int8", for TFLite.
        version: of the SavedModel; the highest one plus 1 unless given.
        examples: training data, without which an int8 file has no encoder.
        held_out: test data, better 1,000 examples, whose codes must be the same in every file, of a model with codes.
        vae: the run's model, where it is loaded already.

    Returns:
        A report for each export.

    Raises:
        ExportError: an unknown format or quantization, a version that cannot be written, no model to export, or an
            export that failed; the message has the reason of each.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(f"format must be one of {', '.join(FORMATS)}, not {', '.join(unknown) or 'nothing'}")
    kinds = [None if kind == "none" else kind for kind in quantizations]
    unknown = [str(kind) for kind in kinds if kind not in QUANTIZATIONS]
    if unknown or not kinds:
        raise ExportError(
            f"quantization must be one of none, float16, dynamic, int8, not {', '.join(unknown) or 'nothing'}"
        )
    run = Path(run_folder).expanduser()
    served = run / "export" / "saved_model"
    if "saved_model" in formats:
        check_version(served, version)
    elif version is not None:
        raise ExportError("a version is of the format saved_model, which is not among those to write: leave it out")
    source = load(run if vae is None else vae)
    name = re.sub(r"[^\w.-]", "_", run.resolve().name).lstrip("._-") or "vae"
    exports: list[Callable[[], Report]] = []
    if "saved_model" in formats:
        exports.append(lambda: to_saved_model(source, served, version, name=name, examples=held_out))
    if "tflite" in formats:
        for kind in kinds:
            file = run / "export" / f"decoder{f'_{kind}' if kind else ''}.tflite"
            exports.append(
                lambda file=file, kind=kind: to_tflite(  # type: ignore[misc]
                    source, file, kind, calibration=examples, examples=held_out
                )
            )
    reports, failures = [], []
    for export in exports:
        try:
            report = export()
            reports += [report, *([report.encoder] if report.encoder is not None else [])]
        except ExportError as error:
            failures.append(str(error))
    if reports:
        print_reports(reports, run / "export")
    if failures:
        raise ExportError("\n".join(failures))
    return reports
