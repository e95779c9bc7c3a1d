"""How well scores tell anomalies from what is normal, with intervals."""

import dataclasses
from typing import Any

import numpy as np

from keras_vae.arguments import check_count, check_number
from keras_vae.evaluation.normality.held_out import finite_scores

RESAMPLES, CONFIDENCE = 500, 0.95


@dataclasses.dataclass(frozen=True)
class Detection:
    """Anomalies against normal examples, by their scores.

    Attributes:
        auroc: the probability that a normal example scores higher than an anomaly, ties counted half.
        auroc_interval: of other examples of both kinds.
        auprc: average precision of the anomalies; of scores that tell nothing it is their share, `prevalence`.
        auprc_interval: likewise.
        prevalence: share of anomalies.
        num_normal: number of normal examples.
        num_anomalous: number of anomalies.
    """

    auroc: float
    auroc_interval: tuple[float, float]
    auprc: float
    auprc_interval: tuple[float, float]
    prevalence: float
    num_normal: int
    num_anomalous: int

    def __str__(self) -> str:
        """A line."""
        (a, b), (c, d) = self.auroc_interval, self.auprc_interval
        return (
            f"AUROC {self.auroc:.3f} (95%: {a:.3f} to {b:.3f}), AUPRC {self.auprc:.3f} ({c:.3f} to {d:.3f}; by chance "
            f"{self.prevalence:.3f}), {self.num_anomalous:,} anomalies among {self.num_normal:,} normal examples"
        )


def detection(
    normal: Any, anomalous: Any, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Detection:
    """AUROC and AUPRC of scores, with bootstrap intervals (percentiles over resamples of each kind by itself).

    Args:
        normal: scores of normal examples, [N]; higher is more normal.
        anomalous: scores of anomalies, [M].
        confidence: of the intervals.
        resamples: number of resamples.
        seed: of the resamples.

    Raises:
        ValueError: for no scores of one kind, and what is not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    good, bad = finite_scores("normal", normal), finite_scores("anomalous", anomalous)
    confidence = check_number("confidence", confidence, above=0, below=1)
    rng, found = np.random.default_rng(seed), []
    is_bad = np.concatenate([np.zeros(len(good)), np.ones(len(bad))])

    def both(good: np.ndarray, bad: np.ndarray) -> tuple[float, float]:
        values = -np.concatenate([good, bad])
        return float(roc_auc_score(is_bad, values)), float(average_precision_score(is_bad, values))

    for _ in range(check_count("resamples", resamples)):
        found.append(both(rng.choice(good, len(good)), rng.choice(bad, len(bad))))
    ends = np.quantile(found, [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence], axis=0)
    auroc, auprc = both(good, bad)
    intervals = [(float(low), float(high)) for low, high in ends.T]
    return Detection(auroc, intervals[0], auprc, intervals[1], len(bad) / len(is_bad), len(good), len(bad))
