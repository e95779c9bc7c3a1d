"""Distances of drawn rows, against cases that are known."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "tables.py"
SPEC = importlib.util.spec_from_file_location("benchmark_of_tables", PATH)
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


def test_distances_are_those_of_laws_that_are_known():
    rng = np.random.default_rng(0)
    test = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], 20_000)
    of = {name: tables.compared(rows, test) for name, rows in tables.baselines(test, rng).items()}
    assert set(of["training rows themselves"].values()) == {0.0}
    assert of["independent columns"]["correlations, mean"] == pytest.approx(0.8, abs=0.02)
    assert of["independent columns"]["KS, largest"] < 0.02
    assert max(of["Gaussian, full covariance"].values()) < 0.03
    # Of N(0, 1) and N(1, 1) the largest difference of distribution functions is 2 Phi(1/2) - 1.
    assert tables.compared(test + np.array([1.0, 0.0]), test)["KS, largest"] == pytest.approx(0.3829, abs=0.01)
