"""What a model puts where values are missing."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_vae.arguments import check_count
from keras_vae.evaluation.statistics import gather, given
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, is_image, overlaid, saved

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

    Of series and vectors the holes are gaps in the curves, over which the draws are drawn; around the mean is the band
    between the 5% and the 95% quantile of the 32, in which nine of ten values lie if the model is right.

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
    filled = np.stack([*drawn[:draws], drawn.mean(axis=0)], axis=1)
    columns = ["given", *[f"draw {number + 1}" for number in range(draws)], "mean"]
    title = "Examples with holes, and what the model puts there"
    if is_image(x.shape[1:]):
        tiles = np.concatenate([x[:, None], filled], axis=1)
        return saved(draw_tiles(tiles, column_labels=columns, title=title, value_range=value_range), path)
    tiles = np.repeat(x[:, None], len(columns), axis=1)
    over = np.concatenate(
        [np.full_like(x[:, None], np.nan), np.where(_in_or_beside(x)[:, None], filled, np.nan)], axis=1
    )
    title = "Examples with gaps ({}), and what the model puts there ({})".format(*overlaid(x.shape[1:]))
    band = np.full((2, *over.shape), np.nan, "float32")
    quantiles = np.quantile(drawn, [0.05, 0.95], axis=0, method="weibull")
    # Beyond the gap there is no doubt: the band is as wide there as the curve.
    band[:, :, -1] = np.where(_in_or_beside(x), quantiles, np.nan)
    columns[-1] = "mean, 90% band"
    tiled = draw_tiles(tiles, column_labels=columns, title=title, overlay=over, bands=(band[0], band[1]))
    return saved(tiled, path)


def _in_or_beside(x: np.ndarray) -> np.ndarray:
    """Where curves x [N, steps, ...] have gaps, and the steps on both sides of them, to which the fillings lead."""
    gaps = np.isnan(x)
    near = gaps.copy()
    near[:, 1:] |= gaps[:, :-1]
    near[:, :-1] |= gaps[:, 1:]
    return near
