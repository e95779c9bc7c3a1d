"""The file of the test images: bits for each value, by `keras-vae compress --refine-steps 100`."""

from pathlib import Path

import numpy as np

from keras_vae import compression
from keras_vae_cli.commands import run_folder

REFINE_STEPS = 100


def measure(run: Path) -> float:
    """All bytes of the file, decoded again and compared, with its header and the bits that it begins with."""
    _, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))
    x = np.concatenate([np.asarray(batch) for batch in splits.test.dataset(256)])
    return compression.compress(vae, x, refine_steps=REFINE_STEPS).bits_per_dim
