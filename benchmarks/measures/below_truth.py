"""How far a model of `oscillations` stays below the law that made them."""

from pathlib import Path

import numpy as np

from keras_vae import load
from keras_vae.data.series import oscillations
from keras_vae_cli.commands import run_folder

# Test series; importance samples of z for each.
EXAMPLES, OF_MODEL = 250, 1000
# Importance samples of the factors of each series; Gauss-Newton steps to the middle of them; how much wider than the
# Gaussian approximation they lie.
SAMPLES, STEPS, WIDER = 2000, 8, 1.3


def measure(run: Path) -> float:
    """True minus estimated log p(x), the mean over the first 250 test series in nats: 0 is a perfect model.

    The model's is `VAE.log_prob` of 1,000 importance samples for each; for the true one see `truth`.
    """
    x, factors = (part[:EXAMPLES] for part in oscillations.make(oscillations.TEST, 1))
    found = load(Path(run) / run_folder.MODEL).log_prob(x, OF_MODEL, seed=0)
    return float(np.mean(truth(x, factors) - found))


def truth(x: np.ndarray, factors: np.ndarray, num_samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """log p(x) of oscillations in nats, [N]: the integral of p(x | factors) p(factors) over the factors.

    By importance sampling from Gaussians around the modes, whose covariance is that of the linearized model. The modes
    are found from the factors that made the series: other modes are too far below them to count.

    Args:
        x: [N, 64, 2].
        factors: those that made them, [N, 5].
        num_samples: for each series.
        seed: of the samples.
    """
    random = np.random.default_rng(seed)
    low, high = np.array(list(oscillations.FACTORS.values())).T
    found = np.empty(len(x))
    for row, (series, start) in enumerate(zip(x.astype("float64"), factors, strict=True)):
        mode, deviations = _mode(series, start, low, high)
        z = WIDER * random.standard_normal((num_samples, len(start)))
        drawn = mode + z @ deviations.T
        log_q = -0.5 * np.sum((z / WIDER) ** 2, axis=1) - len(start) * np.log(WIDER * np.sqrt(2 * np.pi))
        log_q -= np.linalg.slogdet(deviations)[1]
        # The phase goes round: any of its values is inside.
        inside = np.all(((drawn >= low) & (drawn <= high))[:, [0, 1, 2, 4]], axis=1)
        log_p = np.where(inside, _log_given(series, drawn) - np.log(high - low).sum(), -np.inf)
        weights = log_p - log_q
        largest = weights.max()
        found[row] = largest + np.log(np.mean(np.exp(weights - largest)))
    return found


def _log_given(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """log p(x | factors) of one series, for factors [..., 5]."""
    error = (x - oscillations.clean(factors)) / oscillations.NOISE
    return -0.5 * np.sum(error**2, axis=(-2, -1)) - x.size * np.log(oscillations.NOISE * np.sqrt(2 * np.pi))


def _mode(x: np.ndarray, start: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the factors of one series most probably lie, and a root of their covariance, by Gauss-Newton steps."""
    at = start
    for _ in range(STEPS):
        shifts = 1e-5 * np.eye(len(at))
        slopes = (oscillations.clean(at + shifts) - oscillations.clean(at - shifts)).reshape(len(at), -1) / 2e-5
        precision = slopes @ slopes.T / oscillations.NOISE**2
        error = (x - oscillations.clean(at)).ravel() / oscillations.NOISE**2
        at = at + np.linalg.solve(precision, slopes @ error)
        at = np.where(np.isin(np.arange(len(at)), 3), at, np.clip(at, low, high))
    return at, np.linalg.cholesky(np.linalg.inv(precision))
