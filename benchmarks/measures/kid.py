"""Whether samples look like the data."""

from pathlib import Path

import numpy as np

from keras_vae import evaluation
from keras_vae.evaluation.statistics import gather
from keras_vae.models.vae import VAE
from keras_vae_cli.commands import run_folder

MOST = 2000


def measure(run: Path) -> float:
    """`evaluation.kid` of the first 2,000 test images and as many samples, with its own features; without a unit.

    The samples are means of p(x|z), with seed 0, as in pictures/samples.png.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return of(vae, gather(splits.test.dataset(500), MOST)[0])


def of(vae: VAE, real: np.ndarray) -> float:
    """The KID of a model's samples, as many as there are real images."""
    return evaluation.kid(real, drawn(vae, len(real))).value


def drawn(vae: VAE, n: int) -> np.ndarray:
    """Samples as they are shown."""
    return np.clip(vae.sample(n, seed=0), 0.0, 1.0)
