"""The true log p(x) of `oscillations`, which a measure compares models with."""

import importlib
from pathlib import Path

import numpy as np

from keras_vae.data.series import oscillations

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_true_density_does_not_depend_on_the_samples_and_lies_below_that_of_the_known_factors(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    below_truth = importlib.import_module("measures.below_truth")
    x, factors = oscillations.make(6, 5)
    found = below_truth.truth(x, factors, 4000)
    monkeypatch.setattr(below_truth, "WIDER", 1.8)
    np.testing.assert_allclose(below_truth.truth(x, factors, 20_000, seed=1), found, atol=0.15)
    noise = (x - oscillations.clean(factors)) / oscillations.NOISE
    known = -0.5 * (noise**2).sum(axis=(1, 2)) - 128 * np.log(oscillations.NOISE * np.sqrt(2 * np.pi))
    # What the factors of one series are worth: they are found to about a hundredth of their range each.
    assert np.all((known - found > 8.0) & (known - found < 30.0))
