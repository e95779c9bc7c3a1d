"""Thresholds, ranks, and how well scores tell anomalies."""

import numpy as np
import pytest
from scipy import stats

from keras_vae import evaluation
from keras_vae.evaluation.normality import HeldOut
from keras_vae.evaluation.normality.held_out import LEVELS


def test_so_many_new_normal_examples_lie_below_the_threshold_as_were_asked_for():
    rng = np.random.default_rng(0)
    held_out, new = rng.normal(size=20_000), rng.normal(size=20_000)
    kept = HeldOut.from_dict(HeldOut.of(held_out).as_dict())
    for quantile in (0.01, 0.05, 0.5):
        error = 4 * np.sqrt(2 * quantile * (1 - quantile) / 20_000)
        for limit in (evaluation.threshold(held_out, quantile), kept.threshold(quantile)):
            assert np.mean(new < limit) == pytest.approx(quantile, abs=error)
    assert stats.kstest(kept.ranks(new), "uniform").statistic < 0.02
    assert kept.num_examples == 20_000 and kept.mean == pytest.approx(held_out.mean())


def test_ranks_are_shares_of_held_out_examples_that_score_lower():
    kept = HeldOut.of(np.arange(1001.0))
    np.testing.assert_allclose(kept.ranks([-5, 0, 250, 1000, 2000, np.nan]), [0, 0, 0.25, 1, 1, np.nan])
    equal = HeldOut.of(np.full(10, 3.0))
    np.testing.assert_array_equal(equal.ranks([2.0, 3.0, 4.0]), [0, 0, 0])
    assert len(kept.spread(100)) == 100 and kept.spread(100).mean() == pytest.approx(500, rel=1e-3)


def test_damaged_quantiles_are_refused():
    numbers = HeldOut.of(np.arange(10.0)).as_dict()
    for wrong in ({**numbers, "quantiles": [1.0]}, {**numbers, "quantiles": list(LEVELS[::-1])}):
        with pytest.raises(ValueError, match="quantiles"):
            HeldOut.from_dict(wrong)
    for wrong in ([], [[1.0]], [np.nan]):
        with pytest.raises(ValueError, match="scores"):
            evaluation.threshold(wrong)
    with pytest.raises(ValueError, match="quantile"):
        evaluation.threshold([1.0], 1.5)


def test_auroc_of_gaussians_is_the_closed_form_and_its_interval_covers_it():
    """Two normals one deviation apart: P(a > b) = Phi(1 / sqrt 2)."""
    rng, exact, covered = np.random.default_rng(0), stats.norm.cdf(1 / np.sqrt(2)), 0
    for _ in range(10):
        found = evaluation.detection(rng.normal(1, size=150), rng.normal(size=60), resamples=100)
        low, high = found.auroc_interval
        assert low <= found.auroc <= high
        covered += low <= exact <= high
    assert covered >= 7
    assert found.prevalence == pytest.approx(60 / 210) and found.num_normal == 150 and found.num_anomalous == 60
    assert "AUROC" in str(found)
    perfect = evaluation.detection([2.0, 3.0], [0.0, 1.0], resamples=20)
    assert perfect.auroc == perfect.auprc == 1 and perfect.auroc_interval == (1, 1)
    for normal, anomalous in (([], [1.0]), ([1.0], []), ([np.inf], [1.0])):
        with pytest.raises(ValueError, match="finite"):
            evaluation.detection(normal, anomalous)
