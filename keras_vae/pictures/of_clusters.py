"""The clusters of a model whose prior is a mixture."""

from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_vae import seeds
from keras_vae.arguments import check_count
from keras_vae.evaluation.statistics import gather, points
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, saved

MOST_ROWS = 30


def clusters(
    vae: VAE,
    data: Any,
    n: int = 8,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """A row for each component of the prior: means of p(x|z) at its mean and at draws from it, and examples of it.

    The examples are those members (see `responsibilities`) whose codes lie where the component is densest; a component
    without so many has empty tiles. Rows are ordered by the weight of the component, which stands beside them.

    Args:
        vae: a model with `priors.NormalMixture`, or another prior of clusters.
        data: a finite data set.
        n: number of draws, and of examples.
        seed: of the draws.
        path: PNG file to write.
        value_range: values drawn as black and white.

    Raises:
        ValueError: for another prior.
    """
    if not vae.prior.num_clusters:
        raise ValueError(
            f"{type(vae.prior).__name__} has no clusters: train a model with priors.NormalMixture(latent_dim, "
            "num_components)."
        )
    tiles, rows, columns = _grid(vae, data, check_count("n", n), seed)
    title = "a row for each component of the prior, with its weight: its mean, draws from it, data that are its own"
    return saved(draw_tiles(tiles, rows, columns, title, value_range=value_range), path)


def _grid(vae: VAE, data: Any, n: int, seed: int) -> tuple[np.ndarray, list[str], list[str]]:
    """The tiles [R, 2 n + 2, *event_shape], and the labels of rows and columns."""
    x, y = gather(data)
    z, _ = points(vae, x if y is None else (x, y))
    p = vae.prior.distribution(encoder=vae.encoder)
    weights = tf.nn.softmax(p.mixture_distribution.logits_parameter()).numpy()
    order = np.argsort(-weights, kind="stable")[:MOST_ROWS]
    components = p.components_distribution
    drawn = components.sample(n, seed=seeds.as_pair(seed)).numpy()
    codes = np.concatenate([components.mean().numpy()[np.newaxis], drawn])[:, order]
    shown = vae.decode(codes.reshape(-1, codes.shape[-1])).mean().numpy()
    tiles = np.full((len(order), 2 * n + 2, *x.shape[1:]), np.nan, "float32")
    tiles[:, : n + 1] = shown.reshape(n + 1, len(order), *x.shape[1:]).swapaxes(0, 1)
    member = vae.prior.responsibilities(z).numpy().argmax(axis=-1)
    for row, component in enumerate(order):
        mine = np.flatnonzero(member == component)
        density = components[int(component)].log_prob(z[mine]).numpy()
        nearest = mine[np.argsort(-density, kind="stable")[:n]]
        tiles[row, n + 2 : n + 2 + len(nearest)] = x[nearest]
    rows = [f"c = {component}  {weights[component]:.1%}" for component in order]
    columns = ["mean", *["draw"] * n, "", *["data"] * n]
    return tiles, rows, columns
