"""How far samples are from the data in the features of a network: KID and FID.

    evaluation.kid(test, vae.sample(2000, seed=0))     # KID(value=0.31, standard_error=0.01, ...)
    evaluation.fid(test, vae.sample(2000, seed=0))     # FID(value=42.1, bias=1.3, standard_error=0.9, ...)

Values are to be compared with each other where the features, the real images and their number are the same. They say
nothing beside published ones, which are of the features of an Inception network.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_vae.evaluation.sample_quality.features import BLOCK, Features, alike, features_of, name_of

# Of the jackknife that leaves out one group after the other.
GROUPS = 20
# Of a normal distribution, in standard deviations: 95% lie within.
WITHIN = 1.96


@dataclasses.dataclass(frozen=True)
class KID:
    """The kernel distance of two sets of examples.

    Attributes:
        value: the unbiased estimate, 0 on average for two sets of one distribution, and so below 0 at times.
        standard_error: by leaving out each example once (the jackknife). Where the two distributions are the same it is
            too large by about a half.
        num_real: number of real examples.
        num_drawn: number of drawn ones.
        num_features: d.
        features: the name of what they are features of.
    """

    value: float
    standard_error: float
    num_real: int
    num_drawn: int
    num_features: int
    features: str

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95% confidence, by a normal distribution."""
        return self.value - WITHIN * self.standard_error, self.value + WITHIN * self.standard_error


def kid(real: Any, drawn: Any, features: Features | None = None) -> KID:
    """The kernel inception distance of Binkowski et al. 2018, "Demystifying MMD GANs": the squared maximum mean
    discrepancy of the features of two sets, under the kernel k(a, b) = (a.b / d + 1)^3.

        sum_{i != j} k(a_i, a_j) / m (m - 1) + sum_{i != j} k(b_i, b_j) / n (n - 1) - 2 sum_{i, j} k(a_i, b_j) / m n

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise, such as `vae.sample(2000, seed=0)`.
        features: what makes features of a batch [B, ...]: any function, or a Keras model, such as a classifier of your
            data without its last layer, or a `networks.FeatureNetwork` that was adapted to them. It gives a matrix
            [B, d], maps [B, h, w, c], of which the means over the places are taken, or a list of these. None takes
            `image_features`, which need nothing to be fetched or trained: they tell colours, contrasts, sharpness,
            textures and where they are, but know no objects.

    Raises:
        ValueError: for fewer than two examples, other shapes than the real ones, features that are no matrix or not
            finite, and for `features=None` with data that are no images in [0, 1].
    """
    a, b = (features_of(x, features) for x in alike("kid", real, drawn))
    m, n = len(a), len(b)
    within_a, within_b = _sums(a, a, leave_out_self=True), _sums(b, b, leave_out_self=True)
    of_a, of_b = _sums(a, b), _sums(b, a)
    total_a, total_b, across = within_a.sum(), within_b.sum(), of_a.sum()

    def estimate(total_a: Any, m: int, total_b: Any, n: int, across: Any) -> Any:
        return total_a / (m * max(m - 1, 1)) + total_b / (n * max(n - 1, 1)) - 2.0 * across / (m * n)

    without_a = estimate(total_a - 2.0 * within_a, m - 1, total_b, n, across - of_a)
    without_b = estimate(total_a, m, total_b - 2.0 * within_b, n - 1, across - of_b)
    variance = (m - 1) * without_a.var() + (n - 1) * without_b.var()
    value = float(estimate(total_a, m, total_b, n, across))
    return KID(value, float(np.sqrt(variance)), m, n, a.shape[1], name_of(features))


@dataclasses.dataclass(frozen=True)
class FID:
    """The Frechet distance of two sets of examples.

    Attributes:
        value: of the means and covariances of the two sets. It is too large, by about `bias`, and more so the fewer
            examples there are: two sets of one distribution are not at 0.
        bias: how much, to the first order in one over the number of examples: by the jackknife.
        standard_error: of both `value` and `corrected`, by the same.
        num_real: number of real examples.
        num_drawn: number of drawn ones.
        num_features: d.
        features: the name of what they are features of.
    """

    value: float
    bias: float
    standard_error: float
    num_real: int
    num_drawn: int
    num_features: int
    features: str

    @property
    def corrected(self) -> float:
        """value - bias: comparable between different numbers of examples, as long as these are several times d."""
        return self.value - self.bias

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95% confidence around `corrected`, by a normal distribution."""
        return self.corrected - WITHIN * self.standard_error, self.corrected + WITHIN * self.standard_error


def fid(real: Any, drawn: Any, features: Features | None = None) -> FID:
    """The Frechet inception distance of Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a
    local Nash equilibrium": the squared 2-Wasserstein distance of two Gaussians with the means m and covariances C of
    the features of two sets.

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))

    Its expectation exceeds the distance of the distributions by a term in one over the number of examples, which
    differs from model to model (Chong and Forsyth 2020, "Effectively unbiased FID and Inception Score and where to find
    them"). So compare values of equal numbers only, or `corrected` ones. For the bias and the error, one of 20 groups
    of each set after the other is left out.

    Args:
        real: data, array or finite dataset.
        drawn: samples, likewise, such as `vae.sample(10_000, seed=0)`: several times as many as there are features.
        features: as in `kid`.

    Raises:
        ValueError: for fewer than three examples, and as `kid`.
    """
    a, b = (features_of(x, features) for x in alike("fid", real, drawn, at_least=3))
    value = _frechet(a, b)
    count = min(GROUPS, len(a), len(b))
    left_out = np.array(
        [_frechet(np.delete(a, np.s_[g::count], 0), np.delete(b, np.s_[g::count], 0)) for g in range(count)]
    )
    bias = (count - 1) * (left_out.mean() - value)
    error = np.sqrt((count - 1) * left_out.var())
    return FID(value, float(bias), float(error), len(a), len(b), a.shape[1], name_of(features))


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    shift = a.mean(axis=0) - b.mean(axis=0)
    # C = R'R for each, and the eigenvalues of C_a C_b are the squares of the singular values of R_a R_b'.
    roots = [np.linalg.qr(x - x.mean(axis=0), mode="r") / np.sqrt(len(x) - 1) for x in (a, b)]
    together = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(shift @ shift + sum(np.sum(root**2) for root in roots) - 2.0 * together)


def _sums(a: np.ndarray, b: np.ndarray, leave_out_self: bool = False) -> np.ndarray:
    """sum_j k(a_i, b_j) for each i, [len(a)], in blocks of rows."""
    found = np.empty(len(a))
    for start in range(0, len(a), BLOCK):
        kernel = (a[start : start + BLOCK] @ b.T / a.shape[1] + 1.0) ** 3
        found[start : start + BLOCK] = kernel.sum(axis=1)
        if leave_out_self:
            found[start : start + BLOCK] -= np.diagonal(kernel, start)
    return found
