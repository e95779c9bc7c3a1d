"""Checks of a TFLite file: a static look at its operators, then a fresh process with `ai-edge-litert`."""

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.export import metadata
from keras_vae.export.proof import fresh
from keras_vae.export.proof.battery import Expected, Plan, Rows, Tolerance
from keras_vae.export.proof.fresh import GENEROUS, FreshProcessError, Limits
from keras_vae.export.proof.on_examples import indices
from keras_vae.export.proof.report import HARMLESS, Check, Report, check_recorded, measure_files

QUANTIZATIONS = (None, "float16", "dynamic", "int8")
TOLERANCES = {
    "float32": Tolerance(1e-5, 1e-5, 1e-5),
    "float16": Tolerance(5e-3, 5e-3, 1e-5),
    "dynamic": Tolerance(0.1, 5e-3, 1e-2),
    "int8": Tolerance(0.25, 1e-2, 1e-2),
}
_LARGEST = 2**31
_STATE = re.compile(r"^(VAR_HANDLE|READ_VARIABLE|ASSIGN_VARIABLE|HASHTABLE\w*)$")
_RANDOM = re.compile(r"^(RANDOM_\w+|MULTINOMIAL)$")


def check_tflite(
    file: Path,
    expected: Expected | None = None,
    given: dict[str, np.ndarray] | None = None,
    limits: Limits = GENEROUS,
    codes: indices.Expected | None = None,
    table: Rows | None = None,
) -> Report:
    """All checks of a TFLite file; a failed one is in the report, not raised.

    Args:
        file: to be looked at and run.
        expected: what the signatures must give, if known.
        given: the inputs that `expected` is for, by name, where they are not `battery.good`.
        limits: of the processes that run it.
        codes: which indices it must give, of a model with codes, if known.
        table: how its rows are compared, if it is one.
    """
    report = Report(file, "tflite", files=measure_files(file.parent, [file]))
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError("none is larger than 2 GiB")
        content = file.read_bytes()
        facts, operators, dangers = metadata.read(content), metadata.operators(content), metadata.outside(content)
        signatures = metadata.signatures(content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        report.checks.append(Check("file", False, f"{file.name} is no TFLite model: {error}"))
        return report
    report.facts = facts
    report.checks += _static(content, facts, operators, dangers) + check_recorded(
        file.parent, "models", file.name, "files"
    )
    if not report.harmless:
        return report.not_run(signatures)
    tolerance = TOLERANCES[facts.get("quantization", "float32")]
    try:
        listed = fresh.run(file, [], limits)
        loaded = listed.load == "OK" and bool(listed.signatures)
        report.checks.append(
            Check("LiteRT", loaded, "" if loaded else f"{listed.load}, {len(listed.signatures)} signatures")
        )
        if not loaded:
            return report
        plan = Plan(listed.signatures, given=given, memory=limits.memory)
        shown = codes.shown.calls(listed.signatures) if codes else []
        response, again = fresh.run_both(file, plan.calls + shown, plan.good_calls, limits)
    except FreshProcessError as error:
        report.checks.append(Check({"process": "LiteRT"}.get(error.kind, error.kind), False, str(error)))
        return report
    except ValueError as error:
        report.checks.append(Check("signatures", False, str(error)))
        return report
    report.checks += fresh.check_memory(again, limits)
    report.notes += fresh.notes(again)
    plan.judge(report, response.results, again.results, expected or {}, tolerance, codes and codes.good, table)
    if codes:
        codes.shown.judge(report, shown, response.results[len(plan.calls) :], tolerance)
    return report


def _static(content: bytes, facts: dict[str, Any], operators: set[str], dangers: list[str]) -> list[Check]:
    custom = sorted(name for name in operators if name.startswith("CUSTOM"))
    stateful = sorted(name for name in operators if _STATE.match(name))
    random = sorted(name for name in operators if _RANDOM.match(name))
    checks = [
        Check(HARMLESS, not dangers, f"not run, since it has {', '.join(dangers[:4])}" if dangers else ""),
        Check("builtin ops only", not custom, f"the file needs {', '.join(custom)}" if custom else ""),
        Check("no variable", not stateful, f"the file has {', '.join(stateful)}" if stateful else ""),
        Check("no random state", not random, f"the file has {', '.join(random)}" if random else ""),
    ]
    if "num_weights" in facts:
        least = int(0.9 * facts["num_weights"] * metadata.WIDTHS[facts.get("quantization", "float32")])
        detail = f"{len(content):,} bytes, at least {least:,} for {facts['num_weights']:,} weights"
        checks.append(Check("size", len(content) >= least, detail))
    return checks
