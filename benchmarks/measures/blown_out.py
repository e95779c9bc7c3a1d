"""Samples that have run away: white, black, glaring."""

from pathlib import Path

import numpy as np
from measures import kid

from keras_vae import evaluation
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder


def measure(run: Path) -> float:
    """The share, 0 to 1, of 2,000 samples that are stranger than every test image.

    How strange: the root mean square of the features of `evaluation.kid`, standardised by the test images. The samples
    are those of `kid`.
    """
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    return share(gather(splits.test.dataset(500), kid.MOST)[0], kid.drawn(vae, kid.MOST))


def share(real: np.ndarray, drawn: np.ndarray) -> float:
    """The share of the drawn images that are stranger than every real one."""
    known, found = evaluation.image_features(real), evaluation.image_features(drawn)
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-6
    limit, strange = (np.sqrt(np.mean(((x - mean) / deviation) ** 2, axis=1)) for x in (known, found))
    return float(np.mean(strange > limit.max()))
