"""Whether a nearest neighbour tells drawn from real examples."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_vae.evaluation.sample_quality.features import alike, features_of, values


@dataclasses.dataclass(frozen=True)
class TwoSampleTest:
    """How often a nearest neighbour tells drawn from real examples.

    Attributes:
        accuracy: share of all examples whose nearest neighbour is of their own kind, 0.5 on average for two sets of one
            distribution.
        standard_error: sqrt(a (1 - a) / 2 n), as if the examples were told independently of each other.
        of_real: share of the real ones alone. Low where drawn ones lie among them, and low too where they all lie near
            few.
        of_drawn: of the drawn ones: high where they are more like each other than like any real one.
        num_each: n.
    """

    accuracy: float
    standard_error: float
    of_real: float
    of_drawn: float
    num_each: int


def nearest_neighbours(
    real: Any, drawn: Any, features: Callable[[np.ndarray], Any] | None = None, seed: int = 0
) -> TwoSampleTest:
    """The leave-one-out accuracy of a nearest neighbour that says whether an example is drawn: Lopez-Paz and Oquab
    2017, "Revisiting classifier two-sample tests"; Xu et al. 2018, "An empirical study on evaluation metrics of
    generative adversarial networks".

    A model that repeats its training data passes it beside them: give real data that it has not seen. Distances are
    Euclidean, of the values as they are unless `features` are given. Between large pictures such distances say little
    of what is seen; there `kid` is better.

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise. Of the larger set as many as the smaller one has are taken, at random.
        features: as in `kid`.
        seed: of the choice.

    Raises:
        ValueError: for fewer than two examples, other shapes than the real ones, and features that are no matrix or not
            finite.
    """
    from sklearn.neighbors import NearestNeighbors

    a, b = (features_of(x, features or values) for x in alike("nearest_neighbours", real, drawn))
    n = min(len(a), len(b))
    a, b = (x[np.sort(np.random.default_rng(seed).permutation(len(x))[:n])] for x in (a, b))
    # Without a query scikit-learn gives each point's neighbour among the others.
    nearest = NearestNeighbors(n_neighbors=1).fit(np.concatenate([a, b])).kneighbors(return_distance=False)[:, 0]
    told = (nearest < n) == (np.arange(2 * n) < n)
    accuracy = float(told.mean())
    error = float(np.sqrt(accuracy * (1.0 - accuracy) / (2 * n)))
    return TwoSampleTest(accuracy, error, float(told[:n].mean()), float(told[n:].mean()), n)
