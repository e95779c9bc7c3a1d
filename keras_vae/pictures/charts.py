"""Pictures with axes: points of posteriors in the plane, KL per dimension, training curves."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_vae.data.class_names import names_of
from keras_vae.evaluation.normality.held_out import HeldOut
from keras_vae.evaluation.statistics import LatentStatistics, gather, given, latent_statistics, points
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import DPI, FONT, PathLike, Picture, as_rgb, is_image, named, saved

CURVES = ("elbo", "log_likelihood", "kl")


def latent_scatter(
    vae: VAE, data: Any, labels: Any = None, max_examples: int = 5000, path: PathLike | None = None
) -> Figure:
    """The points of the posteriors in the plane, coloured by label: all of z if it has two dimensions, else its PCA.

    Args:
        vae: the model.
        data: a data set, with or without labels.
        labels: [N], in place of the data's own. Up to 20 different integers or texts are classes, in the legend by
            name where the data or the model know it; anything else is a scale of colours.
        max_examples: number of points at most.
        path: PNG file to write.
    """
    x, own = gather(data, max_examples)
    z, _ = points(vae, (x, given(vae, own, data)))
    of_classes = None if labels is not None else names_of(data) or (vae.condition and vae.condition.names)
    labels = own if labels is None else np.asarray(labels)[: len(x)]
    figure = Picture(figsize=(6.4, 5.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = ("z0", "z1")
    # Codes that are all equal have no components.
    if z.shape[1] > 2 and np.ptp(z, axis=0).any():
        from sklearn.decomposition import PCA

        pca = PCA(2).fit(z)
        share = pca.explained_variance_ratio_
        z, names = pca.transform(z), (f"component 1 ({share[0]:.0%})", f"component 2 ({share[1]:.0%})")
        title = f"where the data lie in z: posterior means, PCA of {len(pca.mean_)} dimensions"
    else:
        title = "where the data lie in z: posterior means"
    axes.set_title(title, fontsize=FONT + 1)
    first, second = z[:, 0], z[:, 1] if z.shape[1] > 1 else np.zeros(len(z))
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1] if z.shape[1] > 1 else "")
    size = 6.0 if len(z) > 1000 else 12.0
    classes = np.unique(labels) if labels is not None and labels.ndim == 1 else np.array([])
    if labels is None or labels.ndim != 1:
        axes.scatter(first, second, s=size, linewidths=0, alpha=0.6)
    elif len(classes) <= 20 and labels.dtype.kind not in "f":
        colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
        texts = [label.decode() if isinstance(label, bytes) else str(label) for label in classes]
        if of_classes and labels.dtype.kind in "iu" and classes[0] >= 0 and classes[-1] < len(of_classes):
            drawn_names = named(of_classes)
            texts = [drawn_names[label] for label in classes]
        for index, label in enumerate(classes):
            member = labels == label
            axes.scatter(first[member], second[member], s=size, linewidths=0, color=colours(index), label=str(index))
        legend = figure.legend(loc="outside right upper", markerscale=3.0, fontsize=FONT, frameon=False)
        for entry, name in zip(legend.get_texts(), texts, strict=True):
            # As a label, matplotlib would leave out what begins with an underscore, and set what has dollars as maths.
            entry.set_parse_math(False)
            entry.set_text(name)
    else:
        drawn = axes.scatter(first, second, s=size, linewidths=0, c=labels, cmap="viridis")
        figure.colorbar(drawn, ax=axes)
    return saved(figure, path)


def kl_per_dimension(
    vae: VAE, data: Any, path: PathLike | None = None, found: LatentStatistics | None = None
) -> Figure:
    """The mean KL(q(z_l|x) || p(z_l)) of each latent dimension over the data, in nats, as bars in descending order.

    Dimensions that are not active (variance of their posterior mean at most 0.01, Burda et al. 2016) are gray.

    Args:
        vae: a model whose posterior and prior factorise over the dimensions.
        data: a finite data set.
        path: PNG file to write.
        found: what `latent_statistics` found in the data, if that is known already.

    Raises:
        ValueError: if the KL does not split into dimensions.
    """
    found = found or latent_statistics(vae, data)
    if found.kl_per_dim is None:
        raise ValueError(
            "The KL of this model does not split into latent dimensions: that needs a posterior and a prior that "
            "factorise, such as posteriors.MultivariateNormalDiag and priors.StandardNormal."
        )
    order = np.argsort(-found.kl_per_dim)
    active = found.active[order]
    figure = Picture(figsize=(min(12.0, max(4.5, 0.28 * len(order) + 1.5)), 3.2), dpi=DPI, layout="constrained")
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
    title = f"KL of each latent dimension\n{found.rate:.1f} nats, {active.sum()} of {len(order)} dimensions active"
    axes.set_title(title, fontsize=FONT + 1)
    return saved(figure, path)


def scores(
    given: np.ndarray,
    held_out: HeldOut | None = None,
    examples: Any = None,
    threshold: float | None = None,
    kind: str = "score",
    names: Sequence[str] | None = None,
    n: int = 16,
    path: PathLike | None = None,
) -> Figure:
    """How the scores of examples lie beside those of held-out ones, and the examples that score lowest.

    Args:
        given: scores, [N]; see `evaluation.scores`.
        held_out: those of normal examples.
        examples: [N, *event_shape], of which the lowest are drawn where they are images.
        threshold: below which an example is not normal, a line.
        kind: what the scores are.
        names: of the examples, [N].
        n: how many of the lowest.
        path: PNG file to write.
    """
    shown = examples is not None and is_image(examples.shape[1:])
    order = np.argsort(given, kind="stable")[: n if shown else 0]
    lowest = [] if examples is None else [np.asarray(examples[index]) for index in order]
    columns = 8
    rows = math.ceil(len(order) / columns)
    figure = Picture(figsize=(8.4, 3.0 + 1.25 * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[2.6, *[1.0] * rows])
    axes = figure.add_subplot(grid[0, :])
    normal = np.array([]) if held_out is None else held_out.spread(1000)
    # A few scores far out would leave nothing to see of the others.
    low, high = np.quantile(np.concatenate([given, normal]), [0.01, 1.0])
    bins = np.linspace(low - 0.02 * (high - low), high + 0.02 * (high - low) + 1e-9, 61).tolist()
    for values, label in ((normal, "held-out examples"), (given, "given examples")):
        if len(values):
            inside = np.clip(values, bins[0], bins[-1])
            axes.hist(inside, bins, weights=np.full(len(values), 1 / len(values)), alpha=0.6, label=label)
    if threshold is not None and bins[0] <= threshold <= bins[-1]:
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    axes.set_xlabel(f"{kind} (nats); what scores still lower is in the first bar")
    axes.set_ylabel("share")
    axes.legend(fontsize=FONT, frameon=False)
    for place, index in enumerate(order):
        tile = figure.add_subplot(grid[1 + place // columns, place % columns])
        tile.imshow(as_rgb(lowest[place][np.newaxis, np.newaxis], (0.0, 1.0))[0, 0])
        tile.set_axis_off()
        name = "" if names is None else f"\n{named([Path(names[index]).name])[0]}"
        tile.set_title(f"{given[index]:.1f}{name}", fontsize=FONT - 2, parse_math=False)
    return saved(figure, path)


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
    figure = Picture(figsize=(3.6 * len(names), 3.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        settled = []
        for key, label, style in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
            if key in columns:
                values = columns[key]
                epochs = columns["epoch"] + 1 if "epoch" in columns else np.arange(1, len(values) + 1)
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
    return saved(figure, path)


def read_history(history: Any) -> dict[str, np.ndarray]:
    """The columns of a history, as `training_curves` takes it, in float64; what is no number is NaN.

    Raises:
        ValueError: for a file that is no table.
    """
    columns: Mapping[str, Any]
    if isinstance(history, (str, os.PathLike)):
        columns = _csv_columns(Path(history))
    else:
        columns = getattr(history, "history", history)
    return {name: np.array([_number(value) for value in values]) for name, values in columns.items()}


def _csv_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of a file of commas, or of semicolons; a cell that is missing is None."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        text = file.read().replace("\0", "")
    first = text.partition("\n")[0]
    try:
        reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in first and "," not in first else ",")
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV file: {error}") from None
    return {name: [row[name] for row in rows] for name in reader.fieldnames or []}


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value).reshape(()))
    except (ValueError, TypeError):
        return math.nan
