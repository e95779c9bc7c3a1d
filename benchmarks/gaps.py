"""How often what is hidden in a series lies in the intervals of what a model puts there.

keras-vae train series --set data.name=oscillations/gaps=0.5 data.missing=true --run runs/gaps
python benchmarks/gaps.py runs/gaps --count 150
"""

import argparse
from pathlib import Path

import numpy as np

from keras_vae.data.series import oscillations
from keras_vae_cli.commands import run_folder

SHARE, DRAWS = 0.5, 100


def covered(drawn: np.ndarray, truth: np.ndarray, hidden: np.ndarray, method: str) -> tuple[float, float]:
    """The share of hidden values in the 90% intervals of the draws, and its standard error, over series.

    Args:
        drawn: [K, N, T, C].
        truth: [N, T, C].
        hidden: [N, T, C], which values were.
        method: of `np.quantile`.
    """
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0, method=method)
    inside = (low <= truth) & (truth <= high) & hidden
    counts = hidden.sum(axis=(1, 2))
    kept = counts > 0
    # Values of one series depend on each other.
    inside, counts = inside.sum(axis=(1, 2))[kept], counts[kept]
    share = inside.sum() / counts.sum()
    spread = (inside - share * counts).std(ddof=1) * np.sqrt(len(counts)) / counts.sum()
    return float(share), float(spread)


def main() -> None:
    """Print the shares of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=150, help="test series")
    given = parser.parse_args()
    vae = run_folder.load_model(given.run)
    truth = oscillations.make(oscillations.TEST, 1)[0][: given.count]
    hidden = oscillations.gaps(oscillations.TEST, SHARE, 1)[: given.count]
    drawn = vae.impute(np.where(hidden, np.float32(np.nan), truth), DRAWS, seed=0)
    error = np.sqrt(np.mean((drawn.mean(axis=0) - truth)[hidden] ** 2))
    print(f"mean of {DRAWS} draws: {error:.3f} off, in the root mean square")
    for method in ("weibull", "linear"):
        share, spread = covered(drawn, truth, hidden, method)
        print(f"method={method}: {100 * share:.1f} +- {100 * spread:.1f}% of {hidden.sum():,} values inside")


if __name__ == "__main__":
    main()
