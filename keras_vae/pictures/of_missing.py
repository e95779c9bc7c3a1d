"""What a model puts where values are missing."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_vae.arguments import check_count
from keras_vae.evaluation.statistics import gather, given
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, saved

# Imputations whose mean is drawn.
AVERAGED = 32


def imputations(
    vae: VAE,
    data: Any,
    n: int = 8,
    draws: int = 5,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Examples with holes, in red, and what may have been there: draws of `VAE.impute`, and the mean of 32.

    Args:
        vae: a model with `missing=True`.
        data: array, `tf.data.Dataset` or other iterable of batches, with NaN where values are missing; its first `n`
            examples.
        n: number of examples, a row for each.
        draws: number of draws beside each.
        seed: of the draws.
        path: PNG file to write.
        value_range: values drawn as black and white.

    Raises:
        ValueError: for a model that knows of no missing values.
    """
    x, y = gather(data, check_count("n", n))
    drawn = vae.impute(x, max(check_count("draws", draws), AVERAGED), seed=seed, condition=given(vae, y, data))
    tiles = np.stack([x, *drawn[:draws], drawn.mean(axis=0)], axis=1)
    columns = ["given", *[f"draw {number + 1}" for number in range(draws)], "mean"]
    title = "Examples with holes, and what the model puts there"
    return saved(draw_tiles(tiles, column_labels=columns, title=title, value_range=value_range), path)
