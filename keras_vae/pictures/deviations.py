"""What p(x|z) says beyond its mean: draws with noise, and the standard deviation of every pixel."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_vae import seeds
from keras_vae.arguments import check_count
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, is_image, saved

# Of a likelihood whose standard deviation has no formula, that of so many draws.
DRAWS = 64


def spread(
    vae: VAE,
    n: int = 8,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    condition: Any = None,
) -> Figure:
    """For n draws z ~ p(z), in rows: the means of p(x|z), one draw from each, and the standard deviations.

    The means are what `samples` shows; the draws are of the model itself, those of `vae.sample(noise=True)`. The third
    row runs from black, none, to white, the largest deviation of the picture, which stands beside it in the units of
    the data. Where all pixels have the same deviation the title says which, and there is no third row.

    Args:
        vae: a model of images.
        n: number of draws.
        seed: of the draws.
        path: PNG file to write.
        value_range: values drawn as black and white in the first two rows.
        condition: of a conditional model, one for all or [n, ...].

    Raises:
        ValueError: for data that are no images.
    """
    if not is_image(vae.decoder.event_shape):
        raise ValueError(f"The spread is drawn of images, and these data have the shape {vae.decoder.event_shape}.")
    pair = seeds.as_pair(seed)
    p = vae.generate(check_count("n", n), pair, condition).likelihood
    mean, drawn = np.asarray(p.mean()), np.asarray(p.sample(seed=seeds.fold_in(pair, 1)))
    try:
        deviation = np.broadcast_to(np.asarray(p.stddev()), mean.shape)
    except NotImplementedError:  # TFP has no formula
        deviation = np.asarray(p.sample(DRAWS, seed=seeds.fold_in(pair, 2))).std(axis=0)
    black, white = value_range
    largest = float(deviation.max())
    rows, labels = [mean, drawn], ["mean", "draw"]
    if np.all(deviation == largest):
        title = f"p(x|z) for draws of z: its mean, and a draw from it; sigma is {largest:.2g} in every pixel"
    else:
        rows.append(black + (white - black) * deviation / largest)
        labels.append(f"sigma, to {largest:.2g}")
        title = "p(x|z) for draws of z: its mean, a draw from it, its standard deviation sigma"
    return saved(draw_tiles(np.stack(rows), labels, title=title, value_range=value_range), path)
