"""The calls that every exported model must pass, and the verdict on their results."""

from typing import Any, NamedTuple

import numpy as np

from keras_vae.export import fresh, requests
from keras_vae.export.report import Check, Report

BATCHES = (1, 64)
REPEAT = 20
Expected = dict[str, dict[int, dict[str, np.ndarray]]]  # signature -> rows -> outputs


class Tolerance(NamedTuple):
    """Errors that pass, by `requests.errors`: largest and mean against eager Keras, largest between runs of one row."""

    largest: float
    mean: float
    rows: float


class Plan:
    """The calls that every exported model must pass, and the verdict on their results.

    Args:
        signatures: name -> (inputs, outputs) as the fresh process reported them.
        refusal: the status of a refused call; any error if empty.
        given: inputs by name, [64, ...], to take instead of `requests.good`.
    """

    def __init__(self, signatures: dict[str, Any], refusal: str = "", given: dict[str, np.ndarray] | None = None):
        self.signatures = signatures
        self.refusal = refusal
        given = given or {}
        self.good_calls: list[fresh.Call] = []
        self._places: list[tuple[str, str]] = []
        self._specs = {name: inputs for name, (inputs, _) in signatures.items()}
        self._fixed: dict[str, int] = {
            name: size
            for name, specs in self._specs.items()
            if (size := next((shape[0] for _, shape in specs.values() if shape and shape[0] is not None), None))
        }
        extra: list[fresh.Call] = []
        extra_places: list[tuple[str, str]] = []
        for name, specs in self._specs.items():
            for rows in self.batches(name):
                self.good_calls.append(fresh.Call(name, requests.good(specs, rows, given), repeat=REPEAT))
                self._places.append((name, str(rows)))
            if name not in self._fixed:
                extra.append(fresh.Call(name, requests.good(specs, 0, given)))
                extra_places.append((name, "0"))
            rows = self._fixed.get(name, 8)
            for value in (np.nan, np.inf) if rows > requests.BAD_ROW else ():
                arrays = requests.poisoned(specs, value, rows, given)
                if arrays is not None:
                    extra.append(fresh.Call(name, arrays))
                    extra_places.append((name, str(value)))
            for what, arrays in requests.bad(specs, self._fixed.get(name) or 2, given).items():
                extra.append(fresh.Call(name, arrays))
                extra_places.append((name, what))
        self.calls = self.good_calls + extra
        self._places += extra_places

    def batches(self, signature: str) -> tuple[int, ...]:
        """The batch sizes at which a signature is run."""
        size = self._fixed.get(signature)
        return (size,) if size else BATCHES

    def judge(
        self,
        report: Report,
        results: list[fresh.Result],
        again: list[fresh.Result],
        expected: Expected,
        tolerance: Tolerance,
    ) -> None:
        """Adds checks, errors and milliseconds to the report.

        Args:
            report: is added to.
            results: of `calls`.
            again: of `good_calls`, from another process.
            expected: what the good calls must give, if known.
            tolerance: for the comparisons.
        """
        found = dict(zip(self._places, results, strict=False))
        repeated = dict(zip(self._places, again, strict=False))
        for name in sorted(self.signatures):
            report.errors[name] = {}
            report.milliseconds[name] = {}
            problems = self._problems(report, name, found, repeated, expected.get(name, {}), tolerance)
            report.checks.append(Check(f"runs {name}", not problems, "; ".join(problems)))
            accepted = [
                f"{what} gave {result.status}"
                for (signature, what), result in found.items()
                if signature == name and ": " in what and not self._is_refusal(result)
            ]
            detail = "; ".join(accepted) + (f", not {self.refusal or 'an error'}" if accepted else "")
            report.checks.append(Check(f"refuses bad requests to {name}", not accepted, detail))

    def _is_refusal(self, result: fresh.Result) -> bool:
        return result.status == self.refusal if self.refusal else not result.ok

    def _problems(
        self,
        report: Report,
        name: str,
        found: dict[tuple[str, str], fresh.Result],
        repeated: dict[tuple[str, str], fresh.Result],
        expected: dict[int, dict[str, np.ndarray]],
        tolerance: Tolerance,
    ) -> list[str]:
        problems = []
        batches = self.batches(name)
        for rows in batches:
            result = found[name, str(rows)]
            if not result.ok:
                return [f"batch {rows}: {result.message}"]
            report.milliseconds[name][str(rows)] = 1e3 * float(np.median(result.seconds[1:])) / rows
            for output, array in result.outputs.items():
                if array.shape[:1] != (rows,):
                    problems.append(f"batch {rows}: {output} has shape {array.shape}")
                elif np.isnan(array).any() or (output == "mean" and not np.isfinite(array).all()):
                    problems.append(f"batch {rows}: {output} holds NaN or infinity")
            other = repeated[name, str(rows)]
            drift, _ = requests.errors(other.outputs, result.outputs)
            if drift > tolerance.rows:
                problems.append(f"batch {rows}: two processes differ by {drift:.1e} for the same request")
            if rows in expected:
                largest, mean = requests.errors(result.outputs, expected[rows])
                report.errors[name] |= {f"batch {rows}, max": largest, f"batch {rows}, mean": mean}
                if not (largest <= tolerance.largest and mean <= tolerance.mean):
                    problems.append(
                        f"batch {rows}: {largest:.1e} from eager Keras, {mean:.1e} in the mean, more than "
                        f"{tolerance.largest:g} and {tolerance.mean:g}"
                    )
        if problems:
            return problems
        large = found[name, str(batches[-1])].outputs
        if len(batches) > 1:
            alone = found[name, str(batches[0])].outputs
            apart, _ = requests.errors({key: array[: batches[0]] for key, array in large.items()}, alone)
            if apart > tolerance.rows:
                problems.append(f"a row alone differs by {apart:.1e} from the same row in a batch")
        if (name, "0") in found:
            empty = found[name, "0"]
            if not empty.ok or any(array.shape[:1] != (0,) for array in empty.outputs.values()):
                problems.append(f"batch 0: {empty.message or 'the result is not empty'}")
        for value in ("nan", "inf"):
            if (name, value) in found:
                problems += self._spread(value, found[name, value], large, tolerance.rows)
        return problems

    @staticmethod
    def _spread(value: str, result: fresh.Result, clean: dict[str, np.ndarray], tolerance: float) -> list[str]:
        if not result.ok:
            return [f"{value} in one row fails the whole batch: {result.message}"]
        rows = len(next(iter(result.outputs.values())))
        others = [row for row in range(min(rows, len(next(iter(clean.values()))))) if row != requests.BAD_ROW]
        apart, _ = requests.errors(
            {key: array[others] for key, array in result.outputs.items()},
            {key: array[others] for key, array in clean.items()},
        )
        return [f"{value} in one row changes other rows by {apart:.1e}"] if apart > tolerance else []
