import numpy as np
import pytest
import scipy.linalg

from keras_vae import evaluation

DIMS = 5


def identity(x):
    return x


def gaussians(seed, count, mean, root):
    return np.random.default_rng(seed).normal(size=(count, len(mean))) @ root.T + mean


def distance(mean_a, cov_a, mean_b, cov_b):
    """The squared 2-Wasserstein distance of two Gaussians."""
    together = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2.0 * together)


ROOT = np.tril(np.random.default_rng(0).normal(size=(DIMS, DIMS))) + 2.0 * np.eye(DIMS)


@pytest.mark.parametrize(("shift", "root"), [(1.5, np.eye(DIMS)), (0.0, 1.5 * np.eye(DIMS)), (0.5, ROOT)])
def test_shifted_and_scaled_gaussians_are_as_far_apart_as_they_are(shift, root):
    origin, there = np.zeros(DIMS), np.full(DIMS, shift)
    expected = distance(origin, np.eye(DIMS), there, root @ root.T)
    found = [
        evaluation.fid(gaussians(2 * k, 400, origin, np.eye(DIMS)), gaussians(2 * k + 1, 300, there, root), identity)
        for k in range(40)
    ]
    values = np.array([one.corrected for one in found])
    assert abs(values.mean() - expected) < 3.5 * values.std() / np.sqrt(len(values))
    assert 0.7 < np.mean([one.standard_error for one in found]) / values.std() < 1.4
    # Of 95% confidence.
    assert sum(one.interval[0] < expected < one.interval[1] for one in found) >= 34


def test_of_one_distribution_it_is_above_zero_by_its_bias_which_falls_with_the_number():
    origin, means = np.zeros(DIMS), []
    for count in (100, 200):
        pairs = [(gaussians(2 * k, count, origin, ROOT), gaussians(2 * k + 1, count, origin, ROOT)) for k in range(40)]
        found = [evaluation.fid(*pair, identity) for pair in pairs]
        values, corrected = (np.array([getattr(one, name) for one in found]) for name in ("value", "corrected"))
        assert values.min() > 0
        assert abs(corrected.mean()) < 3.5 * corrected.std() / np.sqrt(len(corrected)) + 0.05 * values.mean()
        means.append(values.mean())
    # As one over the number.
    assert 1.6 < means[0] / means[1] < 2.5


def test_it_is_the_formula_with_means_and_covariances():
    for count in (60, 4):  # the second of fewer examples than features
        a, b = gaussians(0, count, np.zeros(DIMS), ROOT), gaussians(1, count + 3, np.ones(DIMS), np.eye(DIMS))
        moments = [(x.mean(axis=0), np.cov(x.T)) for x in (a, b)]
        found = evaluation.fid(a, b, identity)
        assert found.value == pytest.approx(distance(*moments[0], *moments[1]), rel=1e-5)
        assert (found.num_real, found.num_drawn, found.num_features) == (count, count + 3, DIMS)
        assert found.features == "identity"
    assert evaluation.fid(a, a, identity).value == pytest.approx(0.0, abs=1e-9)


def test_it_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="fid needs three examples at least, and drawn has 2"):
        evaluation.fid(np.zeros((5, 2)), np.zeros((2, 2)), identity)
