"""Samples that have run away: white, black, glaring."""

from pathlib import Path

import numpy as np

from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder
from measures import kid

RARE = 0.05


def measure(run: Path) -> float:
    """The share, 0 to 1, of 2,000 samples more of whose values are black or white than in 95% of the test images.

    0.05 is that of the data. The samples are those of `kid`.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return share(gather(splits.test.dataset(500), kid.MOST)[0], kid.drawn(vae, kid.MOST))


def share(real: np.ndarray, drawn: np.ndarray) -> float:
    """The share of the drawn images that are stranger than 95% of the real ones."""
    usual, found = (((x < 0.01) | (x > 0.99)).reshape(len(x), -1).mean(axis=1) for x in (real, drawn))
    return float(np.mean(found > np.quantile(usual, 1.0 - RARE)))
