"""Checks of an exported SavedModel or TFLite file: a static look, then fresh processes that run it.

Nothing here trusts the code that wrote the file: `verify` takes files of any origin.
"""

import json
import os
from pathlib import Path

from keras_vae.export import publish
from keras_vae.export.errors import ExportError
from keras_vae.export.proof import battery, fresh, warmup
from keras_vae.export.proof.battery import Expected, Plan, Tolerance
from keras_vae.export.proof.fresh import Call, FreshProcessError, Result
from keras_vae.export.proof.graph_checks import check_graph, read_signatures
from keras_vae.export.proof.report import FILE, Check, Report, changed_files, measure_files
from keras_vae.export.proof.tflite_checks import check_tflite
from keras_vae.export.proof.warmup import Record

TOLERANCE = Tolerance(1e-5, 1e-5, 1e-5)


def verify(path: str | os.PathLike[str]) -> Report:
    """Checks an export by a static look and by running it in fresh processes.

    A SavedModel runs in the C++ loader of TensorFlow Serving with XLA disabled, a `.tflite` file in `ai-edge-litert`;
    neither process imports TensorFlow's Python, Keras or this package. Every signature runs at batches 0, 1 and 64,
    twice, in two processes; with NaN and infinity in one row; and with inputs that it must refuse.

    Args:
        path: a version folder, a folder of versions (the highest is taken), or a `.tflite` file.

    Returns:
        The report; all its checks passed.

    Raises:
        ExportError: there is nothing to verify at this path.
        VerificationError: a check failed; the message says which, `report` holds all of them.
    """
    target = Path(path)
    if target.is_dir():
        numbered = publish.versions(target)
        if numbered and not (target / "saved_model.pb").exists():
            target = target / str(numbered[-1])
        report = check_saved_model(target)
    elif target.is_file():
        report = check_tflite(target)
    else:
        raise ExportError(f"{path} does not exist: give a SavedModel's folder or a .tflite file")
    return report.require(str(target))


def check_saved_model(directory: Path, expected: Expected | None = None) -> Report:
    """All checks of a version folder; a failed one is in the report, not raised.

    Args:
        directory: holds `saved_model.pb`.
        expected: what the signatures must give for `battery.good` of so many rows, if known.
    """
    report = Report(directory, "saved_model", checks=check_graph(directory))
    files = [file for file in directory.rglob("*") if file.is_file() and file.name != FILE]
    report.files = measure_files(directory, files)
    report.checks += _check_recorded(directory, directory / FILE)
    try:
        records = warmup.read(directory)
    except ValueError as error:
        records = []
        report.checks.append(Check("warm-up", False, str(error)))
    try:
        plan = Plan(read_signatures(directory), refusal="INVALID_ARGUMENT")
    except ValueError as error:
        report.checks.append(Check("signatures", False, str(error)))
        return report
    replay = [Call(record.signature, record.inputs) for record in records]
    try:
        response, again = fresh.run_both(directory, plan.calls + replay, plan.good_calls)
    except FreshProcessError as error:
        report.checks.append(Check("C++ loader", False, str(error)))
        return report
    loaded = response.load == "OK"
    report.checks.append(Check("C++ loader", loaded, "loads with XLA disabled" if loaded else response.load))
    if not loaded:
        return report
    plan.judge(report, response.results, again.results, expected or {}, TOLERANCE)
    if records:
        _judge_replay(report, records, response.results[len(plan.calls) :])
    return report


def _judge_replay(report: Report, records: list[Record], results: list[Result]) -> None:
    problems = []
    for record, result in zip(records, results, strict=True):
        apart = battery.errors(result.outputs, record.outputs)[0] if result.ok else float("inf")
        if record.outputs and not apart <= TOLERANCE.largest:
            problems.append(f"{record.signature}: {result.message or f'{apart:.1e} from the recorded answer'}")
        errors = report.errors.setdefault(record.signature, {})
        errors["warm-up"] = max(apart, errors.get("warm-up", 0.0))
    detail = "; ".join(problems) or f"{len(records)} requests replayed"
    report.checks.append(Check("warm-up", not problems, detail))


def _check_recorded(root: Path, record: Path) -> list[Check]:
    """Whether the files are those that the export wrote down, if it did."""
    if not record.exists():
        return []
    try:
        recorded = json.loads(record.read_text())["files"]
    except (ValueError, KeyError, TypeError) as error:
        return [Check("export.json", False, f"cannot be read: {error}")]
    changed = changed_files(root, recorded)
    return [Check("export.json", not changed, f"changed since the export: {', '.join(changed)}" if changed else "")]
