"""Rows that a model of a table draws, beside those of models that anybody can fit: marginals and correlations.

    keras-vae train table --run runs/table
    python benchmarks/tables.py runs/table

Against the test rows, of columns of numbers: the distance of Kolmogorov and Smirnov of each column (largest difference
of two distribution functions), and the differences of all correlations of two columns. Rows are drawn of

- the model, with its own noise;
- a Gaussian with the mean and the full covariance of the training rows;
- the training rows, each column shuffled for itself, which has their marginals and no correlation;
- the training rows as they are: what is left is the noise of so few test rows.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from keras_vae.data.tables.schema import fields
from keras_vae_cli.commands import run_folder

DRAWS = 20_000
NUMBERS = ("real", "positive", "count")


def compared(drawn: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Distances of drawn rows [M, D] to test rows [N, D], both of numbers: of marginals, and of correlations.

    Raises:
        ValueError: for rows of one column, which have no correlations.
    """
    if drawn.shape[1] < 2:
        raise ValueError("Correlations are those of two columns of numbers or more.")
    ks = [stats.ks_2samp(drawn[:, at], test[:, at]).statistic for at in range(drawn.shape[1])]
    pairs = np.triu_indices(drawn.shape[1], 1)
    apart = np.abs(np.corrcoef(drawn.T) - np.corrcoef(test.T))[pairs]
    return {
        "KS, mean": float(np.mean(ks)),
        "KS, largest": float(np.max(ks)),
        "correlations, mean": float(apart.mean()),
        "correlations, largest": float(apart.max()),
    }


def baselines(train: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of models without a VAE, fitted to training rows [N, D]."""
    return {
        "Gaussian, full covariance": rng.multivariate_normal(train.mean(axis=0), np.cov(train.T), DRAWS),
        "independent columns": np.stack([rng.choice(column, DRAWS) for column in train.T], axis=1),
        "training rows themselves": train,
    }


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    columns = [at for at, field in enumerate(fields(splits.schema)) if field.kind in NUMBERS]
    train, test = (
        np.concatenate([np.asarray(batch) for batch in part.dataset(256)])[:, columns].astype("float64")
        for part in (splits.train, splits.test)
    )
    drawn = {"the model": vae.sample(DRAWS, seed=0, noise=True)[:, columns].astype("float64")}
    drawn |= baselines(train, np.random.default_rng(0))
    print(f"{len(columns)} columns of numbers, {len(train)} training and {len(test)} test rows")
    for name, rows in drawn.items():
        found = compared(rows, test)
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |")


if __name__ == "__main__":
    main()
