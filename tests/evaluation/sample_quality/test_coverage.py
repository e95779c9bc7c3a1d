import numpy as np
import pytest

from keras_vae import evaluation


def identity(x):
    return x


def normal(seed, count, at=0.0, dims=3):
    return np.random.default_rng(seed).normal(size=(count, dims)) + at


def by_definition(real, drawn, k):
    def radius(x):
        return [sorted(np.linalg.norm(x - one, axis=1))[k] for one in x]  # the first is its own

    def share(of, among, radii):
        return np.mean([any(np.linalg.norm(one - c) <= r for c, r in zip(among, radii, strict=True)) for one in of])

    return share(drawn, real, radius(real)), share(real, drawn, radius(drawn))


@pytest.mark.parametrize("k", [1, 3])
def test_they_are_what_the_definition_says(k):
    real, drawn = normal(0, 70), normal(1, 55, at=0.8)
    found = evaluation.precision_recall(real, drawn, identity, neighbours=k)
    assert (found.precision, found.recall) == pytest.approx(by_definition(real, drawn, k))
    assert 0 < found.precision < 1 and 0 < found.recall < 1
    assert (found.num_real, found.num_drawn, found.num_features, found.neighbours) == (70, 55, 3, k)
    assert found.value == (found.precision, found.recall) and found.features == "identity"


def test_identical_and_disjoint_sets():
    x = normal(0, 600)  # more than a block
    same = evaluation.precision_recall(x, x.copy(), identity)
    assert (same.precision, same.recall) == (1.0, 1.0) and same.precision_error < 0.02
    apart = evaluation.precision_recall(x, normal(1, 200, at=100.0), identity)
    assert (apart.precision, apart.recall) == (0.0, 0.0)
    # Rounding of large numbers decides nothing.
    far = evaluation.precision_recall(x + 1e4, x + 1e4, identity)
    assert (far.precision, far.recall) == (1.0, 1.0)


def test_some_of_the_modes_are_good_and_not_all():
    modes = np.array([0.0, 40.0, 80.0, 120.0])
    real = np.concatenate([normal(k, 100, at=mode) for k, mode in enumerate(modes)])
    drawn = np.concatenate([normal(9, 200, at=modes[0]), normal(10, 200, at=modes[1])])
    found = evaluation.precision_recall(real, drawn, identity)
    assert found.precision > 0.85
    assert 0.4 < found.recall <= 0.5
    # The other way round all of the data are covered, and half of the draws are nowhere.
    other = evaluation.precision_recall(drawn, real, identity)
    assert (other.precision, other.recall) == (found.recall, found.precision)


def test_the_errors_are_what_the_shares_scatter_by():
    found = [
        evaluation.precision_recall(normal(2 * k, 150), normal(2 * k + 1, 150, at=0.5), identity) for k in range(60)
    ]
    for name in ("precision", "recall"):
        values = np.array([getattr(one, name) for one in found])
        errors = np.array([getattr(one, f"{name}_error") for one in found])
        assert 0.6 < errors.mean() / values.std() < 1.6
    low, high = found[0].interval[0]
    assert 0.0 <= low < found[0].precision < high <= 1.0


def test_too_few_examples_are_refused():
    with pytest.raises(ValueError, match="precision_recall needs 8 examples at least, and drawn has 7"):
        evaluation.precision_recall(normal(0, 20), normal(1, 7), identity)
    with pytest.raises(ValueError, match="neighbours must be an int >= 1"):
        evaluation.precision_recall(normal(0, 20), normal(1, 20), identity, neighbours=0)
