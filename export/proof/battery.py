"""The calls that every exported model must pass: good requests, bad ones, and the verdict on the answers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_vae.export.proof.child import NOT_MADE
from keras_vae.export.proof.fresh import Call, Result
from keras_vae.export.proof.report import Check, Report

BATCHES = (1, 64)
# A score decodes many draws.
REPEAT, REPEAT_SCORE = 20, 3
Expected = dict[str, dict[int, dict[str, np.ndarray]]]  # signature -> rows -> outputs


class Tolerance(NamedTuple):
    """Errors that pass, by `battery.errors`: largest and mean against eager Keras, largest between runs of one row."""

    largest: float
    mean: float
    rows: float


class Rows(NamedTuple):
    """How rows of a table are compared.

    Attributes:
        units: of the columns of `mean`, [D]: errors there are in these, so that a column of thousands does not hide the
            others; NaN of a category, which in one row of ten, or in one row, may be another.
        likely: by signature, which categories are nearly as likely as the likeliest, [64, D, K]: any of them may be
            given. A signature that is not there has none.
    """

    units: np.ndarray
    likely: Mapping[str, np.ndarray]


class Plan:
    """The calls that every exported model must pass, and the verdict on their results.

    Args:
        signatures: name -> (inputs, outputs) as the fresh process reported them.
        refusal: the status of a refused call; any error if empty.
        given: inputs by name, [64, ...], to take instead of `battery.good`.
        memory: bytes that the calls may take here, or None for all that there is.

    Raises:
        ValueError: an input is of a type or shape that is not tried.
    """

    def __init__(
        self,
        signatures: dict[str, Any],
        refusal: str = "",
        given: dict[str, np.ndarray] | None = None,
        memory: int | None = None,
    ):
        _check_sizes(signatures, memory)
        self.signatures = signatures
        self.refusal = refusal
        self._codes: Any = None
        given = given or {}
        self.good_calls: list[Call] = []
        self._places: list[tuple[str, str]] = []
        self._specs = {name: inputs for name, (inputs, _) in signatures.items()}
        self._fixed: dict[str, int] = {
            name: size
            for name, specs in self._specs.items()
            if (size := next((shape[0] for _, shape in specs.values() if shape and shape[0] is not None), None))
        }
        extra: list[Call] = []
        extra_places: list[tuple[str, str]] = []
        for name, specs in self._specs.items():
            for rows in self.batches(name):
                self.good_calls.append(Call(name, good(specs, rows, given), repeat=_repeats(name)))
                self._places.append((name, str(rows)))
            if name not in self._fixed:
                extra.append(Call(name, good(specs, 0, given)))
                extra_places.append((name, "0"))
            rows = self._fixed.get(name, 8)
            for value in (np.nan, np.inf) if rows > BAD_ROW else ():
                arrays = poisoned(specs, value, rows, given)
                if arrays is not None:
                    extra.append(Call(name, arrays))
                    extra_places.append((name, str(value)))
            for what, arrays in bad(specs, self._fixed.get(name) or 2, given).items():
                extra.append(Call(name, arrays))
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
        results: list[Result],
        again: list[Result],
        expected: Expected,
        tolerance: Tolerance,
        codes: Any = None,
        table: Rows | None = None,
    ) -> None:
        """Adds checks, errors and milliseconds to the report.

        Args:
            report: is added to.
            results: of `calls`.
            again: of `good_calls`, from another process.
            expected: what the good calls must give, if known.
            tolerance: for the comparisons.
            codes: the `Indices` of the good calls, if known: by their vectors ties are told.
            table: how its rows are compared, if it has any.
        """
        self._codes = codes
        found = dict(zip(self._places, results, strict=False))
        repeated = dict(zip(self._places, again, strict=False))
        for name in sorted(self.signatures):
            report.errors[name] = {}
            report.milliseconds[name] = {}
            problems = self._problems(report, name, found, repeated, expected.get(name, {}), tolerance, table)
            report.checks.append(Check(f"runs {name}", not problems, "; ".join(problems)))
            accepted = [
                f"{what} gave {result.status}"
                for (signature, what), result in found.items()
                if signature == name and ": " in what and not self._is_refusal(result)
            ]
            detail = "; ".join(accepted) + (f", not {self.refusal or 'an error'}" if accepted else "")
            report.checks.append(Check(f"refuses bad requests to {name}", not accepted, detail))

    def _is_refusal(self, result: Result) -> bool:
        if result.status == NOT_MADE:
            return True
        return result.status == self.refusal if self.refusal else not result.ok

    def _problems(
        self,
        report: Report,
        name: str,
        found: dict[tuple[str, str], Result],
        repeated: dict[tuple[str, str], Result],
        expected: dict[int, dict[str, np.ndarray]],
        tolerance: Tolerance,
        table: Rows | None,
    ) -> list[str]:
        problems = []
        batches = self.batches(name)
        if not self.signatures[name][1]:
            return ["it has no output"]
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
            drift, _ = errors(other.outputs, result.outputs, self._codes)
            if drift > tolerance.rows:
                problems.append(f"batch {rows}: two processes differ by {drift:.1e} for the same request")
            if rows in expected:
                largest, mean = errors(result.outputs, expected[rows], self._codes, table=table, signature=name)
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
            apart, _ = errors(
                {key: array[: batches[0]] for key, array in large.items()}, alone, self._codes, table=table
            )
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

    def _spread(self, value: str, result: Result, clean: dict[str, np.ndarray], tolerance: float) -> list[str]:
        if not result.ok:
            return [f"{value} in one row fails the whole batch: {result.message}"]
        sizes = {array.shape[:1] for array in result.outputs.values()}
        if len(sizes) != 1 or sizes == {()}:
            return [f"{value} in one row changes the number of rows"]
        rows = len(next(iter(result.outputs.values())))
        others = [row for row in range(min(rows, len(next(iter(clean.values()))))) if row != BAD_ROW]
        apart, _ = errors(
            {key: array[others] for key, array in result.outputs.items()},
            {key: array[others] for key, array in clean.items()},
            self._codes,
            others,
        )
        return [f"{value} in one row changes other rows by {apart:.1e}"] if apart > tolerance else []


def _repeats(signature: str) -> int:
    return REPEAT_SCORE if signature.startswith("score") else REPEAT


Specs = Mapping[str, tuple[str, Sequence[int | None]]]  # name -> (dtype, shape with None for any size)
Arrays = dict[str, np.ndarray]
BAD_ROW = 3
# Of indices whose vectors are not known, the share that differs is the error, and no less than this.
LEAST_SHARE = 1e-4
# Share of the rows of a table in which the likeliest category may be another, by the rounding of its logits.
LIKELY = 0.1
MAX_ROWS = 64
TRIED = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool")
_MOST_AXES = 16
# What a value in a row of inputs takes in this process: some 100 rows in the calls, and twice 64 while they are made.
_BYTES_PER_VALUE = 1280


def _check_sizes(signatures: dict[str, Any], memory: int | None) -> None:
    values = 0
    for name, (inputs, _) in signatures.items():
        for key, (dtype, shape) in inputs.items():
            if dtype not in TRIED:
                raise ValueError(f"the input {key} of {name} is of the type {dtype}, which is not tried here")
            if len(shape) > _MOST_AXES:
                raise ValueError(f"the input {key} of {name} has {len(shape)} dimensions")
            values += math.prod(size or 1 for size in shape[1:])
    if memory is not None and values * _BYTES_PER_VALUE > memory:
        raise ValueError(f"a row of its inputs has {values:,} values, more than are tried here: see verify(memory=...)")


def good(specs: Specs, rows: int, given: Mapping[str, np.ndarray] | None = None) -> Arrays:
    """Seeded inputs unless given: standard normal numbers, zeros and ones for `x`, `condition` and
    `indices`, integers for seeds.

    Zeros and ones lie on the grid of levels of every discrete likelihood. The first rows of a larger batch are those of
    a smaller one.
    """
    arrays = {}
    for name, (dtype, shape) in sorted(specs.items()):
        if given and name in given:
            arrays[name] = given[name][:rows].astype(dtype)
            continue
        size = (MAX_ROWS, *(n or 1 for n in shape[1:]))
        generator = np.random.default_rng(sum(map(ord, name)))
        if name in ("x", "condition", "indices"):
            values: np.ndarray = generator.integers(0, 2, size)
        elif np.issubdtype(np.dtype(dtype), np.integer):
            values = generator.integers(-(2**31), 2**31, size)
        else:
            values = generator.standard_normal(size)
        arrays[name] = np.asarray(values[:rows], dtype=dtype)
    return arrays


def poisoned(specs: Specs, value: float, rows: int = 8, given: Mapping[str, np.ndarray] | None = None) -> Arrays | None:
    """Good inputs with one row of ``value`` (NaN or infinity); None where all inputs are integers."""
    arrays = good(specs, rows, given)
    floats = [array for array in arrays.values() if np.issubdtype(array.dtype, np.floating)]
    for array in floats:
        array[BAD_ROW] = value
    return arrays if floats else None


def bad(specs: Specs, rows: int = 2, given: Mapping[str, np.ndarray] | None = None) -> dict[str, Arrays]:
    """Inputs that must be refused, by what is wrong with them: for each input its last size, its rank, its dtype."""
    wrong: dict[str, Arrays] = {}
    for name in sorted(specs):
        arrays = good(specs, rows, given)
        array = arrays[name]
        other = np.int32 if np.issubdtype(array.dtype, np.floating) else np.float32
        variants = {
            "last dimension too large": np.concatenate([array, array[..., :1]], axis=-1),
            "last dimension too small": array[..., :-1],
            "rank too small": array[0],
            "rank too large": array[np.newaxis],
            "wrong dtype": array.astype(other),
        }
        if len(specs) > 1 and rows > 1:
            variants["other number of rows"] = array[:1]
        wrong.update({f"{name}: {what}": {**arrays, name: variant} for what, variant in variants.items()})
    return wrong


def errors(
    served: Arrays,
    expected: Arrays,
    codes: Any = None,
    rows: Any = slice(None),
    table: Rows | None = None,
    signature: str = "",
) -> tuple[float, float]:
    """The largest and the mean of |served - expected| / max(1, max |expected|), dimensionless, worst output first.

    Infinite where names or shapes differ, or only one of two values is a number. Whole numbers are indices: of those
    that differ the error is how far what is quantised would have to move, in the same unit, as `codes` say it; where
    nobody can, their share.

    Args:
        served: outputs by name.
        expected: likewise.
        codes: the `Indices` of these examples, if known.
        rows: which of them these are.
        table: how `mean` is compared, if these are rows of a table.
        signature: which gave them.
    """
    if set(served) != set(expected):
        return float("inf"), float("inf")
    found = [
        _error(served[name], expected[name], codes, rows)
        if table is None or name != "mean"
        else _error_of_rows(served[name], expected[name], table.units, table.likely.get(signature))
        for name in expected
    ]
    return max(largest for largest, _ in found), max(mean for _, mean in found)


def _error_of_rows(
    served: np.ndarray, expected: np.ndarray, units: np.ndarray, likely: np.ndarray | None
) -> tuple[float, float]:
    is_category = np.isnan(units)
    if served.shape != expected.shape or served.shape[1:] != units.shape:
        return float("inf"), float("inf")
    differs = served != expected
    if likely is not None:
        number = np.clip(np.nan_to_num(served), 0, likely.shape[-1] - 1).astype(int)
        differs &= ~np.take_along_axis(likely[: len(served)], number[..., np.newaxis], axis=-1)[..., 0]
    others = differs[:, is_category].sum(axis=0)
    if others.size and others.max() > max(1.0, LIKELY * len(served)):
        return float("inf"), float("inf")
    if is_category.all():
        return 0.0, 0.0
    a, b = (values[:, ~is_category] / units[~is_category] for values in (served, expected))
    return _error(a, b, None, slice(None))


def _error(served: np.ndarray, expected: np.ndarray, codes: Any, rows: Any) -> tuple[float, float]:
    if served.shape != expected.shape:
        return float("inf"), float("inf")
    if not served.size:
        return 0.0, 0.0
    if served.dtype.kind == expected.dtype.kind == "i":
        if codes is not None and served.shape[1:] == codes.indices.shape[1:]:
            apart = codes.error(served, expected, rows)
            return float(apart.max()), float(apart.mean())
        share = float(np.mean(served != expected))
        return (max(share, LEAST_SHARE),) * 2 if share else (0.0, 0.0)
    a, b = served.astype(np.float64), expected.astype(np.float64)
    scale = max(1.0, float(np.max(np.abs(b), where=np.isfinite(b), initial=0.0)))
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b) / scale
    difference[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max()), float(difference.mean())
