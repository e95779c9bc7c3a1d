"""A picture of a hierarchy: what each level of latents decides."""

from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_vae import seeds
from keras_vae.conditions import handed
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, named, saved

# Rows of the picture at most: very deep hierarchies show levels evenly apart.
MAX_ROWS = 8


def fixed_levels(
    vae: VAE,
    columns: int = 10,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    condition: Any = None,
) -> Figure:
    """Draws that share the latents of the first k levels from the top: one row for each k, beginning with none.

    All rows share the first draw, and the noise of the levels that are free: what still changes along a row is decided
    by the levels below k, what no longer does, by those above. Means of p(x|z).

    Args:
        vae: a hierarchy.
        columns: number of draws in a row.
        seed: of the draws.
        path: PNG file to write.
        value_range: values drawn as black and white.
        condition: of a conditional model: one for all draws; None takes zeros (the first class).

    Raises:
        ValueError: for a model with one level of latents.
    """
    fixed, images = shared_draws(vae, columns, seed, condition)
    labels = [f"{number} of {vae.num_levels}" for number in fixed]
    title = "how many levels are held, from the top; along a row the others are drawn anew"
    if condition is None and vae.condition is not None and vae.condition.names:
        title = f"{named(vae.condition.names)[0]}: {title}"
    return saved(draw_tiles(images, labels, title=title, value_range=value_range), path)


def shared_draws(vae: VAE, columns: int, seed: int = 0, condition: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of levels that the draws of each row share, [R], and the images, [R, columns, *event_shape].

    Raises:
        ValueError: for a model with one level of latents.
    """
    if vae.num_levels == 1:
        raise ValueError("fixed_levels shows what each level of a hierarchy decides; this model has one level.")
    if condition is None and vae.condition is not None:
        condition = vae.condition.zeros(1)[0]
    given = handed.given(vae.condition, condition, columns)
    p = vae.prior.distribution(encoder=vae.encoder, condition=handed.condition_for(vae.prior, given))
    pair = seeds.as_pair(seed)
    drawn = [p.sample(() if p.batch_shape.rank else columns, seed=pair)]
    for index, size in enumerate(vae.decoder.noise_sizes):
        drawn.append(tf.random.stateless_normal([columns, size], seeds.fold_in(pair, index + 1)))
    fixed = np.unique(np.linspace(0, len(drawn) - 1, min(MAX_ROWS, len(drawn))).round().astype(int))
    images = []
    for number in fixed:
        top, *below = [tf.repeat(part[:1], columns, axis=0) if i < number else part for i, part in enumerate(drawn)]
        likelihood = vae.decoder.draw(top, below, handed.condition_for(vae.decoder, given))
        images.append(np.asarray(likelihood.mean()))
    return fixed, np.stack(images)
