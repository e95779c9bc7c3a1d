"""How near reconstructions are to the images."""

from pathlib import Path

import numpy as np

from keras_vae.evaluation import image_restoration
from keras_vae.evaluation.statistics import gather
from keras_vae_cli.commands import run_folder
from measures import kid


def measure(run: Path) -> float:
    """10 log10(1 / MSE) in decibels, of the mean squared error of the reconstructions of 2,000 test images."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    x = gather(splits.test.dataset(500), kid.MOST)[0]
    return image_restoration.psnr(x, np.clip(vae.reconstruct(x), 0.0, 1.0))
