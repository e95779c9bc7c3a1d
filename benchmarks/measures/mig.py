"""Whether single latents stand for single factors."""

from pathlib import Path

import disentanglement

from keras_vae.disentanglement import mig


def measure(run: Path) -> float:
    """The mutual information gap, 0 to 1, of the latents of all sprites and the factors that made them."""
    columns, factors, classes = disentanglement.columns_and_factors(run)
    return mig(columns, factors, discrete_codes=classes)
