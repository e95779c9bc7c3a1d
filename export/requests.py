"""Requests for a signature: good ones, and the bad ones that it must refuse or survive."""

from collections.abc import Mapping, Sequence

import numpy as np

Specs = Mapping[str, tuple[str, Sequence[int | None]]]  # name -> (dtype, shape with None for any size)
Arrays = dict[str, np.ndarray]
BAD_ROW = 3
MAX_ROWS = 64


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


def errors(served: Arrays, expected: Arrays) -> tuple[float, float]:
    """The largest and the mean of |served - expected| / max(1, max |expected|), dimensionless, worst output first.

    Infinite where names or shapes differ, or only one of two values is a number.
    """
    if set(served) != set(expected):
        return float("inf"), float("inf")
    found = [_error(served[name], expected[name]) for name in expected]
    return max(largest for largest, _ in found), max(mean for _, mean in found)


def _error(served: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    if served.shape != expected.shape:
        return float("inf"), float("inf")
    if not served.size:
        return 0.0, 0.0
    a, b = served.astype(np.float64), expected.astype(np.float64)
    scale = max(1.0, float(np.max(np.abs(b), where=np.isfinite(b), initial=0.0)))
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b) / scale
    difference[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max()), float(difference.mean())
