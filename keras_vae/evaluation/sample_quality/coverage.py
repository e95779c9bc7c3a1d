"""Whether samples lie among the data, and the data among the samples: precision and recall."""

import dataclasses
from typing import Any

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.evaluation.sample_quality.distances import WITHIN
from keras_vae.evaluation.sample_quality.features import BLOCK, Features, alike, features_of, name_of

HALVES = 40


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Shares of examples that lie where the other ones are.

    Attributes:
        precision: share of the drawn examples among real ones: are they good?
        precision_error: its standard error.
        recall: share of the real examples among drawn ones: are they varied?
        recall_error: its standard error.
        neighbours: k.
        num_real: number of real examples.
        num_drawn: number of drawn ones.
        num_features: d.
        features: the name of what they are features of.
    """

    precision: float
    precision_error: float
    recall: float
    recall_error: float
    neighbours: int
    num_real: int
    num_drawn: int
    num_features: int
    features: str

    @property
    def value(self) -> tuple[float, float]:
        """Precision and recall."""
        return self.precision, self.recall

    @property
    def standard_error(self) -> tuple[float, float]:
        """Of precision and of recall."""
        return self.precision_error, self.recall_error

    @property
    def interval(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of 95% confidence, by a normal distribution, of precision and of recall; within [0, 1]."""
        precision, recall = (
            (max(0.0, value - WITHIN * error), min(1.0, value + WITHIN * error))
            for value, error in zip(self.value, self.standard_error, strict=True)
        )
        return precision, recall


def precision_recall(real: Any, drawn: Any, features: Features | None = None, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall of Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing
    generative models".

    The place of a set is the union of balls around the features of its examples, each as large as the distance to the
    example's k-th nearest neighbour in the set. Precision is the share of drawn examples in the place of the real ones,
    recall the share of real examples in the place of the drawn ones. Both grow with the number of examples, and two
    sets of one distribution do not come to 1: compare them with those of two sets of real examples, as many.

    The errors are what the shares scatter by in 40 random halves of both sets, each with its own balls: what becomes of
    a ball when one example is left out is all or nothing, and the usual jackknife fails (Shao and Wu 1989, "A general
    theory for jackknife variance estimation").

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise; as many as real ones.
        features: as in `kid`.
        neighbours: k.

    Raises:
        ValueError: for fewer than 2 k + 2 examples, and as `kid`.
    """
    k = check_count("neighbours", neighbours)
    a, b = (features_of(x, features) for x in alike("precision_recall", real, drawn, at_least=2 * k + 2))
    # Distances of features that are far from 0 would be differences of large numbers.
    middle = a.mean(axis=0)
    a, b = a - middle, b - middle
    of_a, of_b = (_halves(len(x), seed) for seed, x in enumerate((a, b)))
    p, p_error = _with_error(_inside(b, a, _radii(a, k, of_a)), of_b)
    r, r_error = _with_error(_inside(a, b, _radii(b, k, of_b)), of_a)
    return PrecisionRecall(p, p_error, r, r_error, k, len(a), len(b), a.shape[1], name_of(features))


def _halves(n: int, seed: int) -> np.ndarray:
    """[1 + H, n]: which of the examples are there: all, and then one half after the other."""
    random = np.random.default_rng(seed)
    ranks = np.stack([random.permutation(n) for _ in range(HALVES)])
    return np.concatenate([np.ones((1, n), bool), ranks < (n + 1) // 2])


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|^2, [len(a), len(b)]."""
    found = np.sum(a**2, axis=1)[:, np.newaxis] + np.sum(b**2, axis=1) - 2.0 * a @ b.T
    return np.maximum(found, 0.0, out=found)


def _radii(x: np.ndarray, k: int, present: np.ndarray) -> np.ndarray:
    """[1 + H, N]: squared distances to the k-th nearest of the others that are there; -1 of those that are not."""
    radii = np.empty(present.shape)
    for start in range(0, len(x), BLOCK):
        squares = _squares(x[start : start + BLOCK], x)
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf
        for half, there in enumerate(present):
            radii[half, start : start + BLOCK] = np.partition(squares[:, there], k - 1, axis=1)[:, k - 1]
    # What rounding makes of equal examples.
    return np.where(present, radii + 1e-12 * np.square(x).sum(axis=1).max(), -1.0)


def _inside(x: np.ndarray, others: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """[1 + H, N]: whether each x is in one of the balls around the others that are there."""
    found = np.empty((len(radii), len(x)), bool)
    for start in range(0, len(x), BLOCK):
        squares = _squares(x[start : start + BLOCK], others)
        for half, radius in enumerate(radii):
            found[half, start : start + BLOCK] = (squares <= radius).any(axis=1)
    return found


def _with_error(inside: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    shares = np.array([row[there].mean() for row, there in zip(inside, present, strict=True)])
    # Leaving out d of n, the jackknife's variance is (n - d) / d times that of the halves, whose factor is one.
    return float(shares[0]), float(shares[1:].std())
