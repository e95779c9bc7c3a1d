"""What a model of tables has learned of columns and of pairs of them: real rows against drawn ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_vae.data.class_names import names_of
from keras_vae.data.tables.schema import Field, fields
from keras_vae.evaluation.statistics import gather, given
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import DPI, FONT, PathLike, Picture, saved

REAL, DRAWN = "tab:blue", "tab:orange"
# Columns in a picture, and in one of pairs.
MARGINALS, PAIRS = 24, 6
BINS = 24
# Bars with names below them; of more categories they are numbers.
NAMED = 8
LONGEST = 12


def marginals(vae: VAE, data: Any, max_examples: int = 5000, seed: int = 0, path: PathLike | None = None) -> Figure:
    """Each column: the histogram of real rows, and of as many drawn ones, with the decoder's own noise.

    Args:
        vae: a model of `likelihoods.Mixed`.
        data: real rows, better those of a test.
        max_examples: rows at most.
        seed: of the draws.
        path: PNG file to write.

    Raises:
        ValueError: for a model of other data.
    """
    columns, real, drawn = _rows(vae, data, max_examples, seed)
    shown = columns[:MARGINALS]
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    figure = Picture(figsize=(2.5 * across, 2.0 * down + 0.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for at, field in enumerate(shown):
        axes = figure.add_subplot(down, across, at + 1)
        _marginal(axes, field, real[:, at], drawn[:, at], with_key=at == 0)
        _title(axes.set_title(" "), field.name)
    _title(figure.suptitle(" "), f"{len(real):,} real rows, and {len(drawn):,} drawn ones{_more(columns, shown)}")
    return saved(figure, path)


def pairs(
    vae: VAE,
    data: Any,
    columns: Sequence[str] | None = None,
    max_examples: int = 1000,
    seed: int = 0,
    path: PathLike | None = None,
) -> Figure:
    """Every two columns as points: below the diagonal of real rows, above it of drawn ones, on it both as histograms.

    Args:
        vae: a model of `likelihoods.Mixed`.
        data: real rows, better those of a test.
        columns: the names of those to show; the six that depend most on others, in the real rows, unless given.
        max_examples: rows at most.
        seed: of the draws.
        path: PNG file to write.

    Raises:
        ValueError: for a model of other data, and columns that it does not have.
    """
    known, real, drawn = _rows(vae, data, max_examples, seed)
    names = [field.name for field in known]
    unknown = [name for name in columns or () if name not in names]
    if unknown:
        raise ValueError(f"The table has no column {unknown[0]!r}: it has {names}.")
    chosen = _dependent(known, real) if columns is None else [names.index(name) for name in columns]
    size = len(chosen)
    figure = Picture(figsize=(1.7 * size + 0.5, 1.6 * size + 0.6), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rng = np.random.default_rng(0)
    limits = [_limits(known[at], real[:, at], drawn[:, at]) for at in chosen]
    for row, below in enumerate(chosen):
        for place, beside in enumerate(chosen):
            axes = figure.add_subplot(size, size, row * size + place + 1)
            axes.tick_params(labelsize=FONT - 3)
            if row == place:
                _marginal(axes, known[below], real[:, below], drawn[:, below])
            else:
                rows, colour = (real, REAL) if row > place else (drawn, DRAWN)
                x, y = (_spread(known[at], rows[:, at], rng) for at in (beside, below))
                axes.scatter(x, y, s=4.0, linewidths=0, alpha=0.5, color=colour)
                axes.set_ylim(*limits[row])
                _ticks(axes, known[below], "y")
                _ticks(axes, known[beside], "x")
            axes.set_xlim(*limits[place])
            if row < size - 1:
                axes.set_xticklabels([])
            else:
                _title(axes.set_xlabel(" "), known[beside].name)
            if place:
                axes.set_yticklabels([])
            else:
                _title(axes.set_ylabel(" "), known[below].name)
                if row == 0:
                    axes.set_yticks([])
    _title(figure.suptitle(" "), f"{len(real):,} real rows below the diagonal (blue), {len(drawn):,} drawn ones above")
    return saved(figure, path)


def _rows(vae: VAE, data: Any, most: int, seed: int) -> tuple[tuple[Field, ...], np.ndarray, np.ndarray]:
    schema = vae.decoder.likelihood.schema
    if schema is None:
        raise ValueError(
            f"This is a picture of tables, and {type(vae.decoder.likelihood).__name__} is a likelihood of other data: "
            "likelihoods.Mixed(schema)."
        )
    real, own = gather(data, most)
    condition = given(vae, own, data if names_of(data) else None)
    return fields(schema), real, vae.sample(len(real), seed=seed, condition=condition, noise=True)


def _marginal(axes: Any, field: Field, real: np.ndarray, drawn: np.ndarray, with_key: bool = False) -> None:
    axes.tick_params(labelsize=FONT - 3)
    axes.set_yticks([])
    real, drawn = real[np.isfinite(real)], drawn[np.isfinite(drawn)]
    if field.kind in ("binary", "category"):
        number = max(2, len(field.values))
        for offset, values, colour in ((-0.2, real, REAL), (0.2, drawn, DRAWN)):
            shares = np.bincount(values.astype(int), minlength=number) / max(1, len(values))
            axes.bar(np.arange(number) + offset, shares, 0.4, color=colour)
    else:
        low, high = _limits(field, real, drawn)
        edges = np.linspace(low, high, BINS + 1)
        if field.kind == "count" and high - low <= BINS:
            edges = np.arange(np.floor(low) - 0.5, high + 1.0)
        for values, colour, filled in ((real, REAL, True), (drawn, DRAWN, False)):
            weights = np.full(len(values), 1.0 / max(1, len(values)))
            kind = "stepfilled" if filled else "step"
            axes.hist(values, edges, weights=weights, histtype=kind, color=colour, alpha=0.5 if filled else 1.0)
        axes.set_xlim(low, high)
    _ticks(axes, field, "x")
    if with_key:
        for at, (label, colour) in enumerate((("real", REAL), ("drawn", DRAWN))):
            axes.text(
                0.97,
                0.95 - 0.14 * at,
                label,
                color=colour,
                fontsize=FONT,
                ha="right",
                va="top",
                transform=axes.transAxes,
            )


def _limits(field: Field, real: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    if field.kind in ("binary", "category"):
        return -0.6, max(2, len(field.values)) - 0.4
    both = np.concatenate([real[np.isfinite(real)], drawn[np.isfinite(drawn)]])
    if not len(both):
        return 0.0, 1.0
    # Of one draw far out, all else would be a line.
    low, high = np.quantile(both, [0.002, 0.998])
    margin = 0.03 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _ticks(axes: Any, field: Field, axis: str) -> None:
    if field.kind not in ("binary", "category"):
        return
    values = [str(value)[:LONGEST] for value in field.values] or ["no", "yes"]
    if len(values) > NAMED:
        return
    is_wide = sum(map(len, values)) > 14
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    options = {"rotation": 30, "ha": "right"} if is_wide and axis == "x" else {}
    for label in set_ticks(range(len(values)), values, fontsize=FONT - 3, **options):
        label.label1.set_parse_math(False)


def _spread(field: Field, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers of categories, each anywhere around its place: points that are alike would hide each other."""
    if field.kind not in ("binary", "category"):
        return values
    return values + rng.uniform(-0.3, 0.3, len(values))


def _dependent(columns: tuple[Field, ...], real: np.ndarray) -> list[int]:
    """The columns whose largest rank correlation with another is largest, in their order."""
    if len(columns) <= PAIRS:
        return list(range(len(columns)))
    filled = np.where(np.isnan(real), np.nanmedian(real, axis=0), real)
    ranks = filled.argsort(axis=0).argsort(axis=0).astype("float64") + 1e-9 * np.arange(len(filled))[:, np.newaxis]
    found = np.abs(np.corrcoef(ranks.T)) - np.eye(len(columns))
    return sorted(np.argsort(-found.max(axis=0), kind="stable")[:PAIRS].tolist())


def _title(text: Any, said: str) -> None:
    # As a label, matplotlib would set what has dollars as maths.
    text.set_parse_math(False)
    text.set_text(said)
    text.set_fontsize(FONT)


def _more(columns: Sequence[Any], shown: Sequence[Any]) -> str:
    return f": {len(shown)} of {len(columns)} columns" if len(shown) < len(columns) else ""
