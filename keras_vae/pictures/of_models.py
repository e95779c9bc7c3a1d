"""Pictures of a trained model, as matplotlib figures and PNG files.

Every function returns a `matplotlib.figure.Figure`, touches no global state of matplotlib, and writes a PNG file if it
is given a `path`. Images are drawn without smoothing, every pixel of the data as a square of whole screen pixels, gray
or in colour; what is no image is drawn as curves. Values are clipped to `value_range`, [0, 1] unless told otherwise.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.arguments import check_count
from keras_vae.conditions import handed
from keras_vae.data.examples import resized
from keras_vae.distributions.gaussian import marginals
from keras_vae.evaluation.downstream import CodeDensity
from keras_vae.evaluation.statistics import LatentStatistics, gather, given, is_deterministic, latent_statistics
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, columns_of, draw_tiles, is_image, named, overlaid, saved, tiled

# Classes in a picture of samples at most: more rows are too small to see.
MOST_CLASSES = 32
# Answers whose mean is drawn beside them, at least.
AVERAGED = 16
# Examples that decide the order of traversals.
ORDERED_BY = 2000


def samples(
    vae: VAE,
    n: int = 64,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    density: CodeDensity | None = None,
    condition: Any = None,
) -> Figure:
    """Draws from the model: means of p(x|z), z ~ p(z).

    A plain autoencoder has no codes where its prior is; the picture says so, and takes a density of its codes. Of a
    model conditioned on a label, one row for each class, by name where it has one, unless a condition is given; of more
    than 32 classes so many, evenly spread.

    Args:
        vae: the model.
        n: number of draws.
        seed: of the draws; the same seed gives the same picture.
        density: takes the place of the prior; what makes a plain autoencoder generate.
        condition: of a conditional model, one for all or [n, ...]; of fewer, that many draws. A class may be given by
            name.
        path: PNG file to write.
        value_range: values drawn as black and white.
    """
    n = check_count("n", n)
    if condition is None and vae.condition is not None and vae.condition.num_classes is not None:
        number = vae.condition.num_classes
        classes = np.unique(np.linspace(0, number - 1, min(number, MOST_CLASSES)).round().astype(int))
        columns = max(1, n // len(classes))
        images = vae.sample(len(classes) * columns, seed=seed, condition=np.repeat(classes, columns))
        names, title = _class_labels(vae), "drawn from the model, a row for each class"
        if len(classes) < number:
            title = f"drawn from the model, {len(classes)} of {number} classes"
        rows = [names[label] for label in classes]
        return saved(draw_tiles(tiled(images, columns), rows, title=title, value_range=value_range), path)
    condition = condition if vae.condition is None else vae.condition.numbers(condition)
    if vae.condition is not None and np.ndim(condition) > len(vae.condition.shape):
        n, condition = min(n, len(condition)), condition[:n]
    images = vae.sample(n, seed=seed, condition=condition) if density is None else _decode(vae, density.sample(n, seed))
    tiles = tiled(images, math.ceil(math.sqrt(n)))
    title = "drawn from the model: means of p(x|z), z from the prior"
    if vae.condition is not None:
        one = np.ndim(condition) == len(vae.condition.shape)
        title = f"drawn from the model, {'all for one condition' if one else 'each for its condition'}"
    if is_deterministic(vae):
        title = (
            "decoded from the prior, which nothing ties to the codes"
            if density is None
            else "drawn from a density of the codes"
        )
    return saved(draw_tiles(tiles, title=title, value_range=value_range), path)


def reconstructions(
    vae: VAE, data: Any, n: int = 16, path: PathLike | None = None, value_range: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """Examples of the data above their reconstructions: means of p(x|z) at the point of q(z|x).

    Args:
        vae: the model.
        data: array, `tf.data.Dataset` or other iterable of batches, with or without labels; its first `n` examples.
        n: number of examples.
        path: PNG file to write.
        value_range: values drawn as black and white.
    """
    x, y = gather(data, check_count("n", n))
    reconstructed = vae.reconstruct(x, condition=given(vae, y, data))
    columns = min(len(x), columns_of(x.shape[1:]))
    if not is_image(x.shape[1:]):
        tiles = tiled(x, columns)
        title = "data ({}) and their reconstructions ({})".format(*overlaid(x.shape[1:]))
        return saved(draw_tiles(tiles, title=title, overlay=tiled(reconstructed, columns)), path)
    above, below = tiled(x, columns), tiled(reconstructed, columns)
    tiles = np.stack([above, below], axis=1).reshape(-1, *above.shape[1:])
    title = "data, and below what the model makes of them"
    return saved(draw_tiles(tiles, ["data", "model"] * len(above), title=title, value_range=value_range), path)


def answers(
    vae: VAE,
    data: Any,
    n: int = 8,
    draws: int = 6,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """What a conditional model answers: a row has a condition, the truth, and draws, means of p(x|z, c), z ~ p(z|c).

    Of conditions that are images, it has bicubic interpolation too, where they are smaller, and the mean of all draws,
    16 at least.

    Args:
        vae: a conditional model.
        data: a data set with conditions; its first `n` examples.
        n: number of rows.
        draws: number of answers to each condition.
        seed: of the draws.
        path: PNG file to write.
        value_range: values drawn as black and white.

    Raises:
        ValueError: for a model without a condition.
    """
    if vae.condition is None:
        raise ValueError("Answers are drawn of conditional models, and this one has no condition: pictures.samples.")
    x, y = gather(data, check_count("n", n))
    c = np.asarray(handed.given(vae.condition, given(vae, y, data), len(x)))
    restores = vae.condition.is_image and is_image(x.shape[1:])
    made = max(draws, AVERAGED) if restores else draws
    drawn = vae.sample(len(x) * made, seed=seed, condition=np.repeat(c, made, axis=0))
    drawn = drawn.reshape(len(x), made, *x.shape[1:])
    tiles = [x[:, None], drawn[:, :draws]]
    columns, names = ["truth", *["answer"] * draws], []
    if restores:
        shown = np.asarray(vae.condition.features(tf.constant(c)))
        rows, across = (np.arange(want) * have // want for want, have in zip(x.shape[1:3], c.shape[1:3], strict=True))
        # Drawn in the size and with the channels of the data.
        enlarged = shown[:, rows][:, :, across]
        if enlarged.shape[-1] != x.shape[-1]:
            enlarged = np.repeat(enlarged.mean(axis=-1, keepdims=True), x.shape[-1], axis=-1)
        tiles, columns = [*tiles, drawn.mean(axis=1, keepdims=True)], [*columns, "mean"]
        if c.shape[1:3] != x.shape[1:3]:
            smooth = np.stack([resized(image, x.shape[1:3]) for image in shown])
            smooth = smooth if smooth.shape[-1] == x.shape[-1] else np.repeat(smooth[..., :1], x.shape[-1], axis=-1)
            tiles, columns = [np.clip(smooth, 0.0, 1.0)[:, None], *tiles], ["bicubic", *columns]
        tiles, columns = [enlarged[:, None], *tiles], ["given", *columns]
    elif c.ndim == 1:
        of_classes = _class_labels(vae)
        names = [of_classes[value] for value in c] if of_classes else [str(value) for value in c]
    joined = np.concatenate(tiles, axis=1)
    title = "what was given, the truth, and answers" if restores else "the truth, and answers to its condition"
    return saved(draw_tiles(joined, names, columns, title, value_range=value_range), path)


def interpolations(
    vae: VAE,
    data: Any,
    n: int = 8,
    steps: int = 9,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """From one example to another: means of p(x|z) on the straight line between the points of their posteriors.

    Of a conditional model, all of a row with the condition of its first example. Of a hierarchy the top level moves,
    the levels below are at the means of their priors: the ends of a line are no reconstructions.

    Args:
        vae: the model.
        data: a data set; its first 2 n examples make the pairs.
        n: number of pairs, one for each row, with the data themselves at both ends.
        steps: number of points on the line, both ends included.
        path: PNG file to write.
        value_range: values drawn as black and white.
    """
    x, y = gather(data, 2 * check_count("n", n))
    if len(x) < 2:
        raise ValueError("An interpolation needs two examples, and the data have one.")
    n = len(x) // 2
    condition = given(vae, y, data)
    of_pairs = None if condition is None else condition[: 2 * n]
    ends = np.asarray(vae.encoder.posterior.point(vae.encode(x[: 2 * n], of_pairs)))
    at = np.linspace(0.0, 1.0, max(2, steps), dtype="float32")
    lines = (1 - at)[:, None] * ends[:n, None] + at[:, None] * ends[n:, None]
    between = [_decode(vae, line, None if condition is None else condition[row]) for row, line in enumerate(lines)]
    tiles = np.concatenate([x[:n, None], np.stack(between), x[n : 2 * n, None]], axis=1)
    labels = ["data", *(f"{t:.2g}" for t in at), "data"]
    of_classes = _class_labels(vae)
    rows = [of_classes[label] for label in condition[:n]] if of_classes and condition is not None else []
    title = "from one example to another, on the line between their codes"
    if condition is not None:
        title += ", under the condition of the first"
    return saved(draw_tiles(tiles, rows, labels, title, value_range=value_range), path)


def manifold(
    vae: VAE, n: int = 20, path: PathLike | None = None, value_range: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """The whole latent space of a model with two latent dimensions: means of p(x|z) on a grid of n x n points z.

    The grid is even in probability: the inverse of the prior's distribution function is applied to both coordinates, as
    in appendix A of Kingma and Welling 2014. Of a prior that has none, the quantiles of 10,000 draws take its place,
    and of a flow the grid of its base.

    Args:
        vae: a model with latent_dim 2.
        n: number of points on each side.
        path: PNG file to write.
        value_range: values drawn as black and white.

    Raises:
        ValueError: for any other latent_dim.
    """
    if vae.prior.latent_dim != 2:
        raise ValueError(
            f"A manifold is drawn of models with two latent dimensions, and this one has {vae.prior.latent_dim}: train "
            "one with latent_dim 2, or use pictures.traversals and pictures.interpolations."
        )
    probabilities = ((np.arange(check_count("n", n)) + 0.5) / n).astype("float32")
    z = _prior_grid(vae, probabilities)
    title = "the plane of z, decoded where the prior has equal shares"
    return saved(draw_tiles(_decode(vae, z), title=title, value_range=value_range, gap=0), path)


def traversals(
    vae: VAE,
    data: Any,
    steps: int = 11,
    span: float = 3.0,
    max_dims: int = 16,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    found: LatentStatistics | None = None,
    names: Mapping[int, str] | None = None,
    directions: Mapping[str, Any] | None = None,
) -> Figure:
    """What each latent dimension does: one row each, from -span to +span standard deviations of the prior.

    The other dimensions stay where the first example of the data has them. Rows are ordered by the mean KL of their
    dimension over the data, which stands beside them in nats; where the KL does not split into dimensions, by the
    variance of the posterior's mean. A one-hot in z has one row, in which its classes follow each other. Of a
    hierarchy the rows are those of the top level, the levels below at the means of their priors.

    With `directions`, the rows are these instead: from -span to +span times a vector, beside the first example's z.

        turn = evaluation.directions(vae, test, {"head turns": measured})
        pictures.traversals(vae, test, span=2, directions=turn)

    Args:
        vae: the model.
        data: a data set; up to 2,000 examples give the KL.
        steps: number of columns.
        span: range, in standard deviations of the prior; an interval's ends cut it short.
        max_dims: number of rows at most.
        path: PNG file to write.
        value_range: values drawn as black and white.
        found: what `latent_statistics` found in the data, if that is known already.
        names: of dimensions, beside their numbers.
        directions: a name and a vector [L] for each row, such as `evaluation.directions` gives.

    Raises:
        ValueError: for names of dimensions that the model does not have, directions of another size than z, and
            directions in a z that is not all of real numbers.
    """
    x, y = gather(data, ORDERED_BY)
    condition = given(vae, y, data)
    first = None if condition is None else condition[:1]
    size = vae.prior.latent_dim
    names = dict(names or {})
    if not set(names) <= set(range(size)):
        raise ValueError(f"The dimensions of this model are 0 ... {size - 1}, and names are given to {sorted(names)}.")
    if directions is not None:
        z, at, labels = _along(vae, x[:1], first, directions, span, steps)
        title = "one direction in z at a time; columns: multiples of it"
    else:
        found = found or latent_statistics(vae, (x, condition))
        z, at, labels = _by_dimension(vae, found, first, span, steps, max_dims, names)
        by = "the variance of its mean" if found.kl_per_dim is None else "its KL in nats"
        title = f"one dimension of z at a time; beside it {by}, above standard deviations of the prior"
    of_classes = _class_labels(vae)
    if of_classes and first is not None:
        title = f"{of_classes[first[0]]}: {title}"
    elif first is not None:
        title = f"for one condition, {title}"
    columns = [f"{a:+.1f}" if a else "0" for a in np.round(at, 1)]
    tiles = _decode(vae, z, None if first is None else first[0])
    return saved(draw_tiles(tiles, labels, columns, title, value_range=value_range), path)


def _along(
    vae: VAE, x: np.ndarray, condition: Any, directions: Mapping[str, Any], span: float, steps: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """z [rows, steps, L] along each direction from the point of x [1, ...], the multiples, and the names."""
    size = vae.prior.latent_dim
    if _one_hots(vae):
        raise ValueError("Directions lead through real numbers, and a part of this model's z is a one-hot.")
    if not directions:
        raise ValueError("There are no directions: give a name and a vector for each row.")
    for name, direction in directions.items():
        if np.shape(direction) != (size,):
            raise ValueError(f"The direction {name!r} must be a vector [{size}], as z is, not {np.shape(direction)}.")
    origin = np.asarray(vae.encoder.posterior.point(vae.encode(x, condition)))[0, :size]
    at = np.linspace(-span, span, steps)
    vectors = np.stack([np.asarray(direction, "float32") for direction in directions.values()])
    z = np.clip(origin + at[:, None] * vectors[:, None, :], *vae.prior.bounds)
    return z.astype("float32"), at, list(directions)


def _by_dimension(
    vae: VAE,
    found: LatentStatistics,
    first: np.ndarray | None,
    span: float,
    steps: int,
    max_dims: int,
    names: Mapping[int, str],
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """z [rows, steps, L] for each dimension, the steps, and labels."""
    worth = found.variance_of_means if found.kl_per_dim is None else found.kl_per_dim
    # Of a hierarchy, z is that of the top level: its groups come first.
    worth = worth[: vae.prior.latent_dim]
    one_hots = _one_hots(vae)
    of_one_hots = {dim for start, size in one_hots for dim in range(start, start + size)}
    order = [dim for dim in np.argsort(-worth).tolist() if dim not in of_one_hots][: max_dims - len(one_hots)]
    mean, deviation = _prior_moments(vae, first)
    low, high = vae.prior.bounds
    room = np.minimum(high - mean, mean - low)[order] / deviation[order]
    reach = float(np.min(room, initial=span))
    at = np.linspace(-reach, reach, steps)
    origin = found.points[0, : vae.prior.latent_dim].astype("float32")
    for start, size in one_hots:
        origin[start : start + size] = np.eye(size)[origin[start : start + size].argmax()]
    z = np.tile(origin, (len(order) + len(one_hots), steps, 1))
    for row, dim in enumerate(order):
        z[row, :, dim] = np.clip(mean[dim] + at * deviation[dim], low[dim], high[dim])
    labels = [f"{names[dim]} (z{dim})" if dim in names else f"z{dim}" for dim in order]
    labels = [f"{label}  {worth[dim]:.2f}" for label, dim in zip(labels, order, strict=True)]
    for row, (start, size) in enumerate(one_hots, start=len(order)):
        z[row, :, start : start + size] = np.eye(size)[np.arange(steps) * size // steps]
        labels.append(f"1 of {size}")
    return z, at, labels


def _class_labels(vae: VAE) -> list[str]:
    """What stands beside the pictures of each class: its name, or else its number; nothing without classes."""
    if vae.condition is None or vae.condition.num_classes is None:
        return []
    return named(vae.condition.names or [str(label) for label in range(vae.condition.num_classes)])


def _one_hots(vae: VAE) -> list[tuple[int, int]]:
    """First dimension and size of every one-hot in z."""
    found, start = [], 0
    for kind, size in vae.prior.blocks:
        if kind == "one-hot":
            found.append((start, size))
        start += size
    return found


def _decode(vae: VAE, z: np.ndarray, condition: Any = None) -> np.ndarray:
    """Means of p(x|z), [..., *event_shape], for z [..., L] and one condition, a few hundred at a time."""
    flat = np.asarray(z, "float32").reshape(-1, z.shape[-1])
    parts = [np.asarray(vae.decode(flat[start : start + 256], condition).mean()) for start in range(0, len(flat), 256)]
    return np.concatenate(parts).reshape(*z.shape[:-1], *vae.decoder.event_shape)


def _prior_grid(vae: VAE, probabilities: np.ndarray) -> np.ndarray:
    """[n, n, 2]: points whose coordinates are quantiles of these probabilities; the second grows upwards."""
    p = vae.prior.distribution(encoder=vae.encoder)
    univariate, forward = marginals(p), lambda z: z
    if univariate is None and hasattr(p, "bijector"):
        univariate, forward = marginals(p.distribution), p.bijector.forward
    quantiles = None if univariate is None else _quantiles(univariate, probabilities)
    if quantiles is None:
        draws = np.asarray(p.sample(10_000, seed=seeds.as_pair(0)))
        quantiles, forward = np.quantile(draws, probabilities, axis=0), lambda z: z
    across, up = np.meshgrid(quantiles[:, 0], quantiles[::-1, 1])
    return np.asarray(forward(np.stack([across, up], axis=-1).astype("float32")))


def _quantiles(univariate: tfd.Distribution, probabilities: np.ndarray) -> np.ndarray | None:
    """[n, L]; None where TFP has no formula."""
    try:
        return np.asarray(univariate.quantile(probabilities[:, None]))
    except NotImplementedError:  # TFP has no formula; the caller takes quantiles of draws
        return None


def _prior_moments(vae: VAE, condition: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the prior, [L] each, of 10,000 draws where TFP has no formula."""
    given = handed.given(vae.condition, condition)
    p = vae.prior.distribution(encoder=vae.encoder, condition=handed.condition_for(vae.prior, given))
    try:
        mean, deviation = np.asarray(p.mean()), np.asarray(p.stddev())
        return (mean[0], deviation[0]) if p.batch_shape.rank else (mean, deviation)
    except NotImplementedError:  # TFP has no formula
        draws = np.asarray(p.sample(10_000, seed=seeds.as_pair(0)))
        return draws.mean(axis=0), draws.std(axis=0)
