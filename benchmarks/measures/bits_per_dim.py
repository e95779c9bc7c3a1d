"""-log2 p(x) of the test data for each value of an image."""

from pathlib import Path

from keras_vae_cli.commands import run_folder
from measures import log_likelihood


def measure(run: Path) -> float:
    """-log2 p(x) / D of the test images in bits, D the values of an image, by 5,000 importance samples for each.

    Raises:
        ValueError: of a model of continuous values: their density is no number of bits.
    """
    bits = run_folder.load_model(run).decoder.likelihood.bits_per_dim(log_likelihood.measure(run))
    if bits is None:
        raise ValueError(f"{run} is of continuous values, and has no bits per dimension: promise log_likelihood.")
    return float(bits)
