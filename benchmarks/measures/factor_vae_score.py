"""Whether the latent that does not vary names the factor that does not."""

from pathlib import Path

import disentanglement

from keras_vae.disentanglement import factor_vae_score


def measure(run: Path) -> float:
    """The score of Kim and Mnih 2018, 0 to 1, of the latents of all sprites and the factors that made them.

    Latents that say nothing get about one over the number of factors that change.
    """
    columns, factors, classes = disentanglement.columns_and_factors(run)
    return factor_vae_score(columns, factors, discrete_codes=classes)
