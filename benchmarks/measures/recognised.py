"""Whether a model that draws digits on demand draws the digits that it is asked for."""

from pathlib import Path

import conditional_digits
import numpy as np

from keras_vae import data
from keras_vae_cli.commands import run_folder

SAMPLES = 10_000


def measure(run: Path) -> float:
    """The share, 0 to 1, of 10,000 samples (means of p(x|z)) that a judge takes for the digit asked for.

    As many of each digit. The judge is a small convolutional network, trained on the MNIST training images; it takes
    98.9% of the real test digits for what they are.
    """
    splits = data.read_splits("mnist", labels=True)
    x, y = next(iter(splits.train.dataset(len(splits.train)).as_numpy_iterator()))
    judge = conditional_digits.classifier(x, y, 6 * conditional_digits.STEPS)
    asked = np.arange(SAMPLES) % 10
    samples = conditional_digits.drawn(run_folder.load_model(run), asked, 0)
    return conditional_digits.accuracy(judge, samples, asked)
