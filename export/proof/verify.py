"""Checks of an exported SavedModel or TFLite file: a static look, then fresh processes that run it.

Nothing here trusts the code that wrote the file. `verify` takes files of any origin: it runs nothing but operations
that are known to be harmless, in processes that may not take much.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.arguments import check_count, check_number
from keras_vae.export import publish
from keras_vae.export.errors import ExportError
from keras_vae.export.proof import battery, fresh, warmup
from keras_vae.export.proof.battery import Expected, Plan, Tolerance
from keras_vae.export.proof.fresh import GENEROUS, Call, FreshProcessError, Limits, Result
from keras_vae.export.proof.graph_checks import check_graph, declared_bytes, read_signatures, served
from keras_vae.export.proof.on_examples import indices
from keras_vae.export.proof.on_examples.ranks import ROWS, SIGNATURE, check_ranks, scores_of
from keras_vae.export.proof.report import FILE, Check, Report, check_recorded, measure_files
from keras_vae.export.proof.tflite_checks import check_tflite
from keras_vae.export.proof.warmup import Record
from keras_vae.export.reproducible import read_saved_model
from keras_vae.export.source import Source, in_float32, load

TOLERANCE = Tolerance(1e-5, 1e-5, 1e-5)
# What `log_likelihood` was called.
_BEFORE = "log_prob"
# Other forms of the same model, which a loader may prefer to the one that is looked at.
_OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")


def verify(
    path: str | os.PathLike[str],
    *,
    memory: int | None = None,
    seconds: float | None = None,
    against: Source | None = None,
    examples: Any = None,
) -> Report:
    """Checks an export by a static look and by running it in fresh processes.

    A SavedModel runs in the C++ loader of TensorFlow Serving with XLA disabled, a `.tflite` file in `ai-edge-litert`;
    neither process imports TensorFlow's Python, Keras or this package. Every signature runs at batches 0, 1 and 64,
    twice, in two processes; with NaN and infinity in one row; and with inputs that it must refuse.

    The file may come from anybody. It is run only if all operations of all its functions are on a list of harmless ones
    (`keras_vae.export.proof.permitted`), on the CPU, in an empty folder, and with limits. This is no sandbox: who finds
    a mistake in a kernel of TensorFlow or LiteRT is not kept out.

    Args:
        path: a version folder, a folder of versions (the highest is taken), or a `.tflite` file.
        memory: bytes that running it may take; 1.3 GB and eight times its size unless given. Heeded on Linux.
        seconds: after which each process is ended; 120 and one for each MiB unless given.
        against: for a `.tflite` file with the signature `score`, such a file of the same model in float32: the scores
            must tell anomalies as well, to within an AUROC of 0.005, on the examples and on the same with some of the
            values of each mixed with those of others. Of a model with codes, the model, its `.keras` file or its run:
            the indices must be the same, ties aside, of 1,000 of the examples. A tie is told by the distances: the
            vector would have to move by no more than the rounding of the file to have the other code. Without the
            model no tie can be told, and the indices of the requests above are compared with each other.
        examples: then, normal examples [N, ...], at least 64 and better 512; or {"x": these, "condition": theirs}. Of
            codes, held-out ones: an array, (x, condition), or batches; unless given, what the decoder makes of codes
            drawn at random.

    Returns:
        The report; all its checks passed.

    Raises:
        ExportError: there is nothing to verify at this path, or a limit is no positive number.
        VerificationError: a check failed; the message says which, `report` holds all of them.
    """
    target = Path(path)
    if target.is_dir():
        numbered = publish.versions(target)
        if numbered and not (target / "saved_model.pb").exists():
            *_, target = numbered.values()
        limits = _limits(sum(_held(file) for file in _files(target)), memory, seconds)
        report = check_saved_model(target, limits=limits, codes=_codes(against, examples))
    elif target.is_file():
        limits = _limits(_held(target), memory, seconds)
        is_file = isinstance(against, (str, os.PathLike)) and Path(against).suffix == ".tflite"
        report = check_tflite(target, limits=limits, codes=None if is_file else _codes(against, examples))
        if is_file:
            _compare(report, target, Path(os.fspath(against)), examples, limits)  # type: ignore[arg-type]
    elif os.path.lexists(target):
        raise ExportError(
            f"{path} is neither a folder nor a regular file: give a SavedModel's folder or a .tflite file"
        )
    else:
        raise ExportError(f"{path} does not exist: give a SavedModel's folder or a .tflite file")
    return report.require(str(target))


def _codes(model: Source | None, examples: Any) -> indices.Expected | None:
    if model is None:
        return None
    vae = in_float32(load(model))
    if isinstance(examples, Mapping):
        examples = (examples["x"], examples["condition"]) if "condition" in examples else examples["x"]
    found = indices.expected(vae, indices.requests(vae), examples)
    if found is None:
        raise ExportError("against= is a model with codes, or for scores a .tflite file; this model has no codes")
    return found


def _compare(report: Report, file: Path, other: Path, examples: Any, limits: Limits) -> None:
    shown = {
        name: np.asarray(x) for name, x in (examples if isinstance(examples, Mapping) else {"x": examples}).items()
    }
    if not other.is_file() or other.suffix != ".tflite" or shown["x"].ndim < 2 or len(shown["x"]) < ROWS:
        raise ExportError(f"against= is a .tflite file, with examples= [N, ...], N at least {ROWS}, of normal ones")
    beside = check_tflite(other, limits=limits).require(str(other))
    missing = [str(path) for path, of in ((file, report), (other, beside)) if SIGNATURE not in of.errors]
    if missing:
        raise ExportError(f"{missing[0]} has no signature {SIGNATURE}: a large encoder, with score, has its own file")
    check_ranks(report, file, lambda given: scores_of(other, given, limits), shown, limits)


def _limits(size: int, memory: int | None, seconds: float | None) -> Limits:
    usual = Limits.for_strangers(size)
    try:
        return Limits(
            usual.memory if memory is None else check_count("memory, in bytes,", memory),
            usual.seconds if seconds is None else check_number("seconds", seconds, above=0),
        )
    except ValueError as error:
        raise ExportError(str(error)) from None


def _held(file: Path) -> int:
    """Bytes on the disk, where the system says so: a file with holes is longer than what it holds."""
    found = file.stat()
    return min(found.st_size, 512 * getattr(found, "st_blocks", found.st_size))


def _files(directory: Path) -> list[Path]:
    return [file for file in _within(directory) if file.is_file()]


def _within(directory: Path) -> list[Path]:
    """All that is in a SavedModel's folder; another may be as large as a disk."""
    return list(directory.rglob("*")) if (directory / "saved_model.pb").is_file() else []


def check_saved_model(
    directory: Path,
    expected: Expected | None = None,
    limits: Limits = GENEROUS,
    codes: indices.Expected | None = None,
) -> Report:
    """All checks of a version folder; a failed one is in the report, not raised.

    Args:
        directory: holds `saved_model.pb`.
        expected: what the signatures must give for `battery.good` of so many rows, if known.
        limits: of the processes that run it.
        codes: which indices it must give, of a model with codes, if known.
    """
    report = Report(directory, "saved_model")
    number = directory.name
    if number.isascii() and number.isdigit() and len(number) < 1000 and int(number) > publish.LARGEST_VERSION:
        detail = f"TensorFlow Serving reads no version above {publish.LARGEST_VERSION}: rename the folder {number}"
        report.checks.append(Check("version", False, detail))
    special = [path.name for path in _within(directory) if not path.is_file() and not path.is_dir()]
    others = [name for name in _OTHER_FORMS if os.path.lexists(directory / name)]
    try:
        if special:
            raise ValueError(f"{', '.join(sorted(special)[:4])}: no regular file, so it is not opened")
        if others:
            raise ValueError(f"beside saved_model.pb stands {', '.join(others)}, and only the former is looked at")
        model = read_saved_model(directory)
    except ValueError as error:
        report.checks.append(Check("file", False, str(error)))
        return report
    report.checks += check_graph(directory, model)
    report.files = measure_files(directory, [file for file in _files(directory) if file.name != FILE])
    report.checks += check_recorded(directory, "files")
    try:
        records = warmup.read(directory)
    except ValueError as error:
        records = []
        report.checks.append(Check("warm-up", False, str(error)))
    if not report.harmless:
        return report.not_run(name for graph in model.meta_graphs for name in served(graph))
    declared = declared_bytes(model)
    if limits.memory is not None and declared > limits.memory:
        detail = f"not run, since its constants alone take {declared / 1e9:.1f} GB: {fresh.too_much(limits.memory)}"
        report.checks.append(Check("memory", False, detail))
        return report
    try:
        signatures = read_signatures(model)
        if _BEFORE in signatures:
            report.notes.append(
                f"an export of before: its `{_BEFORE}` is log p(x given z), which is called `log_likelihood` now; "
                "export the model again for clients that ask for it by that name"
            )
        plan = Plan(signatures, refusal="INVALID_ARGUMENT", memory=limits.memory)
    except ValueError as error:
        report.checks.append(Check("signatures", False, str(error)))
        return report
    replay = [Call(record.signature, record.inputs) for record in records]
    try:
        shown = codes.shown.calls(signatures) if codes else []
        response, again = fresh.run_both(directory, plan.calls + replay + shown, plan.good_calls, limits)
    except FreshProcessError as error:
        report.checks.append(Check({"process": "C++ loader"}.get(error.kind, error.kind), False, str(error)))
        return report
    loaded = response.load == "OK" and again.load == "OK"
    detail = "loads with XLA disabled" if loaded else max(response.load, again.load, key=lambda text: text != "OK")
    report.checks.append(Check("C++ loader", loaded, detail))
    report.checks += fresh.check_memory(again, limits)
    report.notes += fresh.notes(again)
    if not loaded:
        return report
    plan.judge(report, response.results, again.results, expected or {}, TOLERANCE, codes and codes.good)
    after = len(plan.calls) + len(replay)
    if records:
        _judge_replay(report, records, response.results[len(plan.calls) : after], codes and codes.good)
    if codes:
        codes.shown.judge(report, shown, response.results[after:], TOLERANCE)
    return report


def _judge_replay(report: Report, records: list[Record], results: list[Result], codes: Any) -> None:
    problems = []
    for record, result in zip(records, results, strict=True):
        apart = battery.errors(result.outputs, record.outputs, codes)[0] if result.ok else float("inf")
        if record.outputs and not apart <= TOLERANCE.largest:
            problems.append(f"{record.signature}: {result.message or f'{apart:.1e} from the recorded answer'}")
        errors = report.errors.setdefault(record.signature, {})
        errors["warm-up"] = max(apart, errors.get("warm-up", 0.0))
    detail = "; ".join(problems) or f"{len(records)} requests replayed"
    report.checks.append(Check("warm-up", not problems, detail))
