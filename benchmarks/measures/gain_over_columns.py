"""What a model of a table knows of its rows beyond what the columns say each for itself."""

from pathlib import Path

import numpy as np
from scipy import optimize, stats

from keras_vae.data.tables.schema import Field, fields
from keras_vae_cli.commands import run_folder

SAMPLES = 1000


def measure(run: Path) -> float:
    """The mean of log p(x) over the test rows in nats, by 1,000 importance samples for each, less that of independent
    columns: each with the distribution of its kind whose likelihood is greatest in the training rows.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    train, test = (_values(part) for part in (splits.train, splits.test))
    baseline = columns_log_prob(fields(splits.schema), train, test)
    return float(np.mean(vae.log_prob(test, num_samples=SAMPLES, seed=0)) - baseline.mean())


def columns_log_prob(columns: tuple[Field, ...], train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """log p of each test row, [N], of independent columns that were fitted to the training rows."""
    return np.sum([_of_column(field, train[:, k], test[:, k]) for k, field in enumerate(columns)], axis=0)


def _of_column(field: Field, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    if field.kind == "real":
        return stats.norm(train.mean(), train.std()).logpdf(test)
    if field.kind == "positive":
        return stats.norm(np.log(train).mean(), np.log(train).std()).logpdf(np.log(test)) - np.log(test)
    if field.kind == "count":
        mean = train.mean()

        def loss(log_r: float) -> float:
            r = np.exp(log_r)
            return -stats.nbinom(r, r / (r + mean)).logpmf(train).sum()

        r = np.exp(optimize.minimize_scalar(loss, bounds=(-5.0, 12.0), method="bounded").x)
        return stats.nbinom(r, r / (r + mean)).logpmf(test)
    number = max(2, len(field.values))
    counts = np.bincount(train.astype(int), minlength=number) + 0.5
    return np.log(counts / counts.sum())[test.astype(int)]


def _values(part) -> np.ndarray:
    return np.concatenate([np.asarray(x[0] if isinstance(x, tuple) else x) for x in part.dataset(256)])
