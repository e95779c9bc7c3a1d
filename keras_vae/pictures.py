"""Pictures of a trained model, as matplotlib figures and PNG files.

Every function returns a `matplotlib.figure.Figure`, touches no global state of matplotlib, and writes a PNG file if it
is given a `path`. Images are drawn without smoothing, every pixel of the data as a square of whole screen pixels, gray
or in colour; what is no image is drawn as curves. Values are clipped to `value_range`, [0, 1] unless told otherwise.
"""

import csv
import io
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from keras_vae import codes, features, latents, seeds
from keras_vae.vae import VAE

PathLike = str | os.PathLike[str]

DPI = 100
# Screen pixels: the most that a grid of images takes if its pixels are enlarged; the gap between two images; the height
# of a line of text.
WIDTH, HEIGHT, GAP, LINE = 840, 1120, 2, 20
FONT = 9
CHARACTER = 7.8  # width of a character of that size, generously
# Examples that decide the order of traversals.
ORDERED_BY = 2000
CURVES = ("elbo", "log_likelihood", "kl")


def samples(
    vae: VAE,
    n: int = 64,
    seed: int = 0,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    density: features.CodeDensity | None = None,
) -> Figure:
    """Draws from the model: means of p(x|z), z ~ p(z).

    Args:
        vae: the model.
        n: number of draws.
        seed: of the draws; the same seed gives the same picture.
        density: takes the place of the prior; what makes a plain autoencoder generate.
        path: PNG file to write.
        value_range: values drawn as black and white.
    """
    n = _check_count(n)
    images = vae.sample(n, seed=seed) if density is None else _decode(vae, density.sample(n, seed))
    tiles = _grid(images, math.ceil(math.sqrt(n)))
    return _saved(draw_tiles(tiles, value_range=value_range), path)


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
    x, _ = codes.gather(data, _check_count(n))
    reconstructed = vae.reconstruct(x)
    columns = min(len(x), 8)
    if not is_image(x.shape[1:]):
        tiles = _grid(x, columns)
        return _saved(draw_tiles(tiles, title="black: data, red: model", overlay=_grid(reconstructed, columns)), path)
    above, below = _grid(x, columns), _grid(reconstructed, columns)
    tiles = np.stack([above, below], axis=1).reshape(-1, *above.shape[1:])
    return _saved(draw_tiles(tiles, row_labels=["data", "model"] * len(above), value_range=value_range), path)


def interpolations(
    vae: VAE,
    data: Any,
    n: int = 8,
    steps: int = 9,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """From one example to another: means of p(x|z) on the straight line between the points of their posteriors.

    Args:
        vae: the model.
        data: a data set; its first 2 n examples make the pairs.
        n: number of pairs, one for each row, with the data themselves at both ends.
        steps: number of points on the line, both ends included.
        path: PNG file to write.
        value_range: values drawn as black and white.
    """
    x, _ = codes.gather(data, 2 * _check_count(n))
    if len(x) < 2:
        raise ValueError("An interpolation needs two examples, and the data have one.")
    n = len(x) // 2
    ends = np.asarray(vae.encoder.posterior.point(vae.encode(x[: 2 * n])))
    at = np.linspace(0.0, 1.0, max(2, steps), dtype="float32")
    lines = (1 - at)[:, None] * ends[:n, None] + at[:, None] * ends[n:, None]
    tiles = np.concatenate([x[:n, None], _decode(vae, lines), x[n : 2 * n, None]], axis=1)
    labels = ["data", *(f"{t:.2g}" for t in at), "data"]
    return _saved(draw_tiles(tiles, column_labels=labels, value_range=value_range), path)


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
    levels = ((np.arange(_check_count(n)) + 0.5) / n).astype("float32")
    z = _prior_grid(vae, levels)
    return _saved(draw_tiles(_decode(vae, z), value_range=value_range, gap=0), path)


def traversals(
    vae: VAE,
    data: Any,
    steps: int = 11,
    span: float = 3.0,
    max_dims: int = 16,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    found: codes.Statistics | None = None,
) -> Figure:
    """What each latent dimension does: one row each, from -span to +span standard deviations of the prior.

    The other dimensions stay where the first example of the data has them. Rows are ordered by the mean KL of their
    dimension over the data, which stands beside them in nats; where the KL does not split into dimensions, by the
    variance of the posterior's mean.

    Args:
        vae: the model.
        data: a data set; up to 2,000 examples give the KL.
        steps: number of columns.
        span: range, in standard deviations of the prior; an interval's ends cut it short.
        max_dims: number of rows at most.
        path: PNG file to write.
        value_range: values drawn as black and white.
        found: what `codes.statistics` found in the data, if that is known already.
    """
    found = found or codes.statistics(vae, codes.gather(data, ORDERED_BY)[0])
    by_kl = found.kl_per_dim is not None
    worth = found.variance_of_means if found.kl_per_dim is None else found.kl_per_dim
    order = np.argsort(-worth)[:max_dims]
    mean, deviation = _prior_moments(vae)
    low, high = vae.prior.support
    reach = min(span, float(np.min((high - mean) / deviation)), float(np.min((mean - low) / deviation)))
    at = np.linspace(-reach, reach, steps)
    z = np.tile(found.points[0].astype("float32"), (len(order), steps, 1))
    for row, dim in enumerate(order):
        z[row, :, dim] = np.clip(mean[dim] + at * deviation[dim], low, high)
    labels = [f"z{dim}  {worth[dim]:.2f}" for dim in order]
    title = f"rows by {'KL in nats' if by_kl else 'variance of means'}; columns in standard deviations of the prior"
    columns = [f"{a:+.1f}" if a else "0" for a in np.round(at, 1)]
    tiles = _decode(vae, z)
    return _saved(draw_tiles(tiles, labels, columns, title, value_range=value_range), path)


def latent_scatter(
    vae: VAE, data: Any, labels: Any = None, max_examples: int = 5000, path: PathLike | None = None
) -> Figure:
    """The points of the posteriors in the plane, coloured by label: all of z if it has two dimensions, else its PCA.

    Args:
        vae: the model.
        data: a data set, with or without labels.
        labels: [N], in place of the data's own. Up to 20 different integers or texts are classes, anything else is a
            scale of colours.
        max_examples: number of points at most.
        path: PNG file to write.
    """
    x, own = codes.gather(data, max_examples)
    labels = own if labels is None else np.asarray(labels)[: len(x)]
    z, _ = codes.points(vae, x)
    figure = Figure(figsize=(6.4, 5.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = ("z0", "z1")
    if z.shape[1] > 2:
        pca = PCA(2).fit(z)
        share = pca.explained_variance_ratio_
        z, names = pca.transform(z), (f"component 1 ({share[0]:.0%})", f"component 2 ({share[1]:.0%})")
        axes.set_title(f"posterior means, PCA of {len(pca.mean_)} dimensions", fontsize=FONT + 1)
    else:
        axes.set_title("posterior means", fontsize=FONT + 1)
    first, second = z[:, 0], z[:, 1] if z.shape[1] > 1 else np.zeros(len(z))
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1] if z.shape[1] > 1 else "")
    size = 6.0 if len(z) > 1000 else 12.0
    classes = np.unique(labels) if labels is not None and labels.ndim == 1 else np.array([])
    if labels is None or labels.ndim != 1:
        axes.scatter(first, second, s=size, linewidths=0, alpha=0.6)
    elif len(classes) <= 20 and labels.dtype.kind not in "f":
        colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
        for index, label in enumerate(classes):
            member = labels == label
            name = label.decode() if isinstance(label, bytes) else str(label)
            axes.scatter(first[member], second[member], s=size, linewidths=0, color=colours(index), label=name)
        figure.legend(loc="outside right upper", markerscale=3.0, fontsize=FONT, frameon=False)
    else:
        drawn = axes.scatter(first, second, s=size, linewidths=0, c=labels, cmap="viridis")
        figure.colorbar(drawn, ax=axes)
    return _saved(figure, path)


def kl_per_dimension(
    vae: VAE, data: Any, path: PathLike | None = None, found: codes.Statistics | None = None
) -> Figure:
    """The mean KL(q(z_l|x) || p(z_l)) of each latent dimension over the data, in nats, as bars in descending order.

    Dimensions that are not active (variance of their posterior mean at most 0.01, Burda et al. 2016) are gray.

    Args:
        vae: a model whose posterior and prior factorise over the dimensions.
        data: a finite data set.
        path: PNG file to write.
        found: what `codes.statistics` found in the data, if that is known already.

    Raises:
        ValueError: if the KL does not split into dimensions.
    """
    found = found or codes.statistics(vae, data)
    if found.kl_per_dim is None:
        raise ValueError(
            "The KL of this model does not split into latent dimensions: that needs a posterior and a prior that "
            "factorise, such as posteriors.MultivariateNormalDiag and priors.StandardNormal."
        )
    order = np.argsort(-found.kl_per_dim)
    active = found.active[order]
    figure = Figure(figsize=(min(12.0, max(4.5, 0.28 * len(order) + 1.5)), 3.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    at = np.arange(len(order))
    axes.bar(at, found.kl_per_dim[order], color=np.where(active, "tab:blue", "0.7"))
    axes.set_xlim(-0.6, len(order) - 0.4)
    axes.set_ylim(0.0, max(0.1, 1.05 * float(found.kl_per_dim.max())))
    shown = at[:: max(1, math.ceil(len(order) / 40))]
    axes.set_xticks(shown, [str(order[i]) for i in shown], fontsize=FONT - 2)
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("KL (nats)")
    axes.set_title(f"{found.rate:.1f} nats, {active.sum()} of {len(order)} dimensions active", fontsize=FONT + 1)
    return _saved(figure, path)


def training_curves(history: Any, path: PathLike | None = None) -> Figure:
    """ELBO, log-likelihood and KL against the epoch, for training and validation, in nats per example.

    The vertical range leaves out the first tenth of the epochs, whose values would hide all later ones.

    Args:
        history: a mapping from names to lists, the `keras.callbacks.History` that `fit` returns, or the path of a CSV
            file as `keras.callbacks.CSVLogger` writes it.
        path: PNG file to write.

    Raises:
        ValueError: if none of the names is there.
    """
    columns = read_history(history)
    names = [name for name in CURVES if name in columns or f"val_{name}" in columns]
    if not names:
        raise ValueError(f"The history has none of {', '.join(CURVES)}, but {', '.join(columns) or 'nothing'}.")
    figure = Figure(figsize=(3.6 * len(names), 3.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        settled = []
        for key, label, style in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
            if key in columns:
                values = columns[key]
                epochs = np.arange(1, len(values) + 1)
                axes.plot(epochs, values, style, label=label, marker="." if len(values) < 3 else None)
                settled.append(values[len(values) // 10 :])
        joined = np.concatenate(settled)
        joined = joined[np.isfinite(joined)]
        if len(joined) and np.ptp(joined) > 0:
            axes.set_ylim(joined.min() - 0.05 * np.ptp(joined), joined.max() + 0.05 * np.ptp(joined))
        axes.set_title(f"{name} (nats)", fontsize=FONT + 1)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=FONT - 1, frameon=False)
    return _saved(figure, path)


def read_history(history: Any) -> dict[str, np.ndarray]:
    """The columns of a history, as `training_curves` takes it, in float64; what is no number is NaN."""
    if isinstance(history, (str, os.PathLike)):
        with Path(history).open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    else:
        columns = getattr(history, "history", history)
    return {name: np.array([_number(value) for value in values]) for name, values in columns.items()}


def all_pictures(
    vae: VAE,
    data: Any,
    labels: Any = None,
    history: Any = None,
    directory: PathLike = "pictures",
    seed: int = 0,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> list[Path]:
    """Every picture that applies to the model, as PNG files.

    Args:
        vae: the model.
        data: a finite data set, with or without labels; the test data as a rule.
        labels: [N], in place of the data's own.
        history: see `training_curves`; None or an empty one leaves that picture out.
        directory: where to write; made if need be. Files of the same names are replaced.
        seed: of the samples.
        value_range: values drawn as black and white.

    Returns:
        The paths, in the order of writing.
    """
    folder, written = Path(directory), []

    def draw(name: str, function: Callable[..., Figure], *args: Any, **kwargs: Any) -> None:
        written.append(folder / f"{name}.png")
        function(*args, path=written[-1], **kwargs)

    draw("samples", samples, vae, seed=seed, value_range=value_range)
    draw("reconstructions", reconstructions, vae, data, value_range=value_range)
    if type(vae).infer is VAE.infer:
        draw("interpolations", interpolations, vae, data, value_range=value_range)
        draw("latent_scatter", latent_scatter, vae, data, labels)
        if vae.prior.latent_dim == 2:
            draw("manifold", manifold, vae, value_range=value_range)
        if codes.is_deterministic(vae) and len(codes.gather(data, 100)[0]) == 100:
            # Its prior is not where its codes are, and the two pictures show it.
            density = features.CodeDensity(vae, data)
            draw("samples_of_code_density", samples, vae, seed=seed, value_range=value_range, density=density)
        elif not codes.is_deterministic(vae):
            found = codes.statistics(vae, data)
            draw("traversals", traversals, vae, data, value_range=value_range, found=found)
            if found.kl_per_dim is not None:
                draw("kl_per_dimension", kl_per_dimension, vae, data, found=found)
    if history is not None and any(name.removeprefix("val_") in CURVES for name in read_history(history)):
        draw("training_curves", training_curves, history)
    return written


def _decode(vae: VAE, z: np.ndarray) -> np.ndarray:
    """Means of p(x|z), [..., *event_shape], for z [..., L], a few hundred at a time."""
    flat = np.asarray(z, "float32").reshape(-1, z.shape[-1])
    parts = [np.asarray(vae.decode(flat[start : start + 256]).mean()) for start in range(0, len(flat), 256)]
    return np.concatenate(parts).reshape(*z.shape[:-1], *vae.decoder.event_shape)


def _prior_grid(vae: VAE, levels: np.ndarray) -> np.ndarray:
    """[n, n, 2]: points whose coordinates are the quantiles `levels`; the second grows upwards."""
    p = vae.prior.distribution(encoder=vae.encoder)
    univariate, forward = latents.marginals(p), lambda z: z
    if univariate is None and hasattr(p, "bijector"):
        univariate, forward = latents.marginals(p.distribution), p.bijector.forward
    try:
        if univariate is None:
            raise NotImplementedError
        quantiles = np.asarray(univariate.quantile(levels[:, None]))
    except NotImplementedError:
        draws = np.asarray(p.sample(10_000, seed=seeds.as_pair(0)))
        quantiles, forward = np.quantile(draws, levels, axis=0), lambda z: z
    across, up = np.meshgrid(quantiles[:, 0], quantiles[::-1, 1])
    return np.asarray(forward(np.stack([across, up], axis=-1).astype("float32")))


def _prior_moments(vae: VAE) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the prior, [L] each, of 10,000 draws where TFP has no formula."""
    p = vae.prior.distribution(encoder=vae.encoder)
    try:
        return np.asarray(p.mean()), np.asarray(p.stddev())
    except NotImplementedError:
        draws = np.asarray(p.sample(10_000, seed=seeds.as_pair(0)))
        return draws.mean(axis=0), draws.std(axis=0)


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value).reshape(()))
    except ValueError:
        return math.nan


# The grid that most pictures are.


def draw_tiles(
    tiles: np.ndarray,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    overlay: np.ndarray | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    gap: int = GAP,
) -> Figure:
    """A grid of images or curves with labels, and no axes.

    Args:
        tiles: [R, C, *event_shape]. Events H x W x 1 and H x W are gray, H x W x 3 colour; other numbers of channels
            stand side by side in gray; vectors are curves over their index. NaN leaves a tile empty.
        row_labels: R texts at the left, or none.
        column_labels: C texts at the top, or none.
        title: text above all.
        overlay: other tiles of the same shape, drawn dashed over the curves.
        value_range: values of black and white; values beyond are clipped.
        gap: screen pixels between images.

    Raises:
        ValueError: for events that are neither image nor vector, and an empty grid.
    """
    tiles = np.asarray(tiles, "float32")
    if 0 in tiles.shape:
        raise ValueError(f"There is nothing to draw: the grid of tiles has shape {tiles.shape}.")
    if not is_image(tiles.shape[2:]):
        return _draw_curves(tiles, row_labels, column_labels, title, overlay)
    mosaic = _mosaic(_as_rgb(tiles, value_range), gap)
    figure, axes = _sheet(mosaic.shape[1], mosaic.shape[0], row_labels, column_labels, title)
    axes.imshow(mosaic, interpolation="none", aspect="auto", extent=(0, len(tiles[0]), len(tiles), 0))
    return figure


def is_image(event_shape: Sequence[int]) -> bool:
    """Whether examples of this shape are drawn as images: H x W or H x W x C; vectors are not.

    Raises:
        ValueError: if they are no vectors either.
    """
    if len(event_shape) not in (1, 2, 3):
        raise ValueError(
            f"Pictures show images (H, W, C) or (H, W) and vectors (D,), not examples of shape {tuple(event_shape)}."
        )
    return len(event_shape) > 1


def _check_count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n must be a positive int, not {n!r}.")
    return int(n)


def _grid(examples: np.ndarray, columns: int) -> np.ndarray:
    """[N, ...] -> [R, columns, ...], the last row filled up with NaN: empty tiles."""
    examples = np.asarray(examples, "float32")
    rows = math.ceil(len(examples) / columns)
    grid = np.full((rows * columns, *examples.shape[1:]), np.nan, "float32")
    grid[: len(examples)] = examples
    return grid.reshape(rows, columns, *examples.shape[1:])


def _as_rgb(tiles: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """[R, C, H, W, 3] uint8; a tile that is NaN all over becomes white, single NaN pixels red."""
    low, high = value_range
    if tiles.ndim == 4:
        tiles = tiles[..., None]
    if tiles.shape[-1] not in (1, 3):
        tiles = np.moveaxis(tiles, -1, -2).reshape(*tiles.shape[:3], -1, 1)  # H x (C W): side by side
    missing = np.isnan(tiles).any(-1)
    scaled = np.clip((np.nan_to_num(tiles, posinf=high, neginf=low) - low) / (high - low), 0.0, 1.0)
    rgb = np.broadcast_to(np.round(255 * scaled).astype("uint8"), (*tiles.shape[:-1], 3)).copy()
    rgb[missing] = (255, 0, 0)
    rgb[missing.all(axis=(2, 3))] = 255
    return rgb


def _mosaic(rgb: np.ndarray, gap: int) -> np.ndarray:
    """One picture [pixels, pixels, 3] from [R, C, H, W, 3], each pixel enlarged to a square of whole screen pixels."""
    rows, columns, height, width, _ = rgb.shape
    scale = max(1, min(WIDTH // (columns * width), HEIGHT // (rows * height), 11))
    cell = (height * scale + gap, width * scale + gap)
    picture = np.full((rows * cell[0] - gap, columns * cell[1] - gap, 3), 255, "uint8")
    enlarged = rgb.repeat(scale, axis=2).repeat(scale, axis=3)
    for row in range(rows):
        for column in range(columns):
            top, left = row * cell[0], column * cell[1]
            picture[top : top + cell[0] - gap, left : left + cell[1] - gap] = enlarged[row, column]
    return picture


def _draw_curves(
    tiles: np.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    overlay: np.ndarray | None,
) -> Figure:
    rows, columns, size = tiles.shape
    shown = tiles if overlay is None else np.stack([tiles, np.asarray(overlay, "float32")])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    note = f"each cell: values {low:.3g} to {high:.3g} against index 0 to {size - 1}"
    width = max(WIDTH, 40 * columns)
    height = rows * min(max(40, width // columns * 2 // 3), 160)
    title = f"{title} ({note})" if title else note
    figure, axes = _sheet(width, height, row_labels, column_labels, title)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    lines = [[(column, 0), (column, rows)] for column in range(columns + 1)]
    lines += [[(0, row), (columns, row)] for row in range(rows + 1)]
    axes.add_collection(LineCollection(lines, colors="0.85", linewidths=0.8))
    styles = [(tiles, "black", "solid"), (overlay, "tab:red", "dashed")]
    for values, colour, style in styles[: 1 if overlay is None else 2]:
        at = 0.04 + 0.92 * (np.arange(size) + 0.5) / size
        up = 0.1 + 0.8 * (np.asarray(values) - low) / ((high - low) or 1.0)
        x = np.arange(columns)[None, :, None] + np.broadcast_to(at, tiles.shape)
        y = np.arange(rows)[:, None, None] + 1.0 - up
        curves = np.stack([x, y], axis=-1).reshape(-1, size, 2)
        if size == 1:
            axes.plot(curves[:, 0, 0], curves[:, 0, 1], ".", color=colour)
        axes.add_collection(LineCollection(list(curves), colors=colour, linestyles=style, linewidths=1.0))
    return figure


def _sheet(
    width: int, height: int, row_labels: Sequence[str], column_labels: Sequence[str], title: str
) -> tuple[Figure, Any]:
    """A figure around axes of exactly width x height screen pixels, with labels at the left and at the top."""
    margin = 6
    left = margin + int(max((CHARACTER * len(label) for label in row_labels), default=0)) + (4 if row_labels else 0)
    top = margin + LINE * (bool(title) + bool(column_labels))
    total_width = max(left + width + margin, int(CHARACTER * len(title)) + 2 * margin)
    total_height = top + height + margin
    figure = Figure(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / total_width, margin / total_height, width / total_width, height / total_height))
    axes.set_axis_off()

    def at(x: float, y: float, label: str, align: str) -> None:
        figure.text(x / total_width, 1.0 - y / total_height, label, ha=align, va="center", fontsize=FONT)

    for index, label in enumerate(row_labels):
        at(left - 5, top + (index + 0.5) * height / len(row_labels), label, "right")
    widest = max((CHARACTER * len(label) for label in column_labels), default=0)
    if widest > width / max(1, len(column_labels)):
        # Too narrow for all: the ends and the middle.
        shown = {0, len(column_labels) // 2, len(column_labels) - 1}
        column_labels = [label if index in shown else "" for index, label in enumerate(column_labels)]
    for index, label in enumerate(column_labels):
        at(left + (index + 0.5) * width / len(column_labels), top - LINE / 2 + 1, label, "center")
    if title:
        at(margin if not row_labels else left, margin + LINE / 2 - 3, title, "left")
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, gray if it has no colours."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with PIL.Image.open(drawn) as image:
        rgb = np.asarray(image.convert("RGB"))
    is_gray = bool((rgb == rgb[..., :1]).all())
    PIL.Image.fromarray(rgb[..., 0] if is_gray else rgb).save(small, format="png", optimize=True)
    return small.getvalue()


def _saved(figure: Figure, path: PathLike | None) -> Figure:
    """Write the PNG, whole or not at all."""
    if path is None:
        return figure
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"Pictures are PNG files: give a path that ends in .png, not {str(path)!r}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = png(figure)
    descriptor, name = tempfile.mkstemp(suffix=".png", prefix=".", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return figure
