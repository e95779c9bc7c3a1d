"""What scores normal data have: quantiles of held-out ones, by which thresholds and ranks are taken."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from keras_vae.arguments import check_number

# Close together at the ends, where thresholds are.
LEVELS = (0.0, 0.001, 0.002, 0.005, *(round(0.01 * k, 2) for k in range(1, 100)), 0.995, 0.998, 0.999, 1.0)
DIGITS = 7


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Scores of normal examples that the model has not learned from, as quantiles: what is kept beside a model.

    Attributes:
        quantiles: at `LEVELS`, ascending.
        num_examples: of how many examples they are.
        mean: of their scores.
    """

    quantiles: tuple[float, ...]
    num_examples: int
    mean: float

    @classmethod
    def of(cls, scores: Any) -> Self:
        """The quantiles of scores [N].

        Raises:
            ValueError: for none, or not one number each.
        """
        values = finite_scores("scores", scores)
        quantiles = np.quantile(values, LEVELS)
        return cls(tuple(float(f"{q:.{DIGITS}g}") for q in quantiles), len(values), float(values.mean()))

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Self:
        """What `as_dict` gave.

        Raises:
            ValueError, TypeError, KeyError: for anything else.
        """
        quantiles = tuple(float(q) for q in numbers["quantiles"])
        if len(quantiles) != len(LEVELS) or list(quantiles) != sorted(quantiles):
            raise ValueError(f"{len(quantiles)} quantiles, and {len(LEVELS)} ascending ones were kept.")
        return cls(quantiles, int(numbers["num_examples"]), float(numbers["mean"]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"num_examples": self.num_examples, "mean": self.mean, "quantiles": list(self.quantiles)}

    def threshold(self, quantile: float = 0.01) -> float:
        """The score that a share of `quantile` of normal examples lies below."""
        return float(np.interp(check_number("quantile", quantile, at_least=0, at_most=1), LEVELS, self.quantiles))

    def spread(self, n: int) -> np.ndarray:
        """n scores that are spread as those of the examples were, ascending."""
        return np.interp((np.arange(n) + 0.5) / n, LEVELS, self.quantiles)

    def ranks(self, scores: Any) -> np.ndarray:
        """The share of normal examples that score lower, [N] from 0 to 1: the less, the less normal.

        Of a normal example it is as a p-value: at most t in a share of t of cases.
        """
        values = np.asarray(scores, "float64")
        # Of equal quantiles the first is taken: few score lower.
        inside = np.interp(values, *_distinct(self.quantiles))
        return np.where(np.isnan(values), math.nan, np.where(values < self.quantiles[0], 0.0, inside))


def threshold(scores: Any, quantile: float = 0.01) -> float:
    """The score below which a share of `quantile` of normal examples lies: below it, an example is not normal.

    Args:
        scores: of normal examples that the model has not learned from, [N]: on training data they would be too high.
        quantile: share of normal examples that are called anomalies, from 0 to 1.

    Raises:
        ValueError: for no scores, or another share.
    """
    return float(
        np.quantile(finite_scores("scores", scores), check_number("quantile", quantile, at_least=0, at_most=1))
    )


def finite_scores(name: str, scores: Any) -> np.ndarray:
    """Scores as float64 [N].

    Raises:
        ValueError: for none, more than one number for each example, and what is not finite.
    """
    values = np.asarray(scores, "float64")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite numbers [N], one for each example, not of shape {values.shape}.")
    return values


def _distinct(quantiles: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    values, first = np.unique(np.array(quantiles), return_index=True)
    return values, np.array(LEVELS)[first]
