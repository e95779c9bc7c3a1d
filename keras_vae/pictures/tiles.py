"""Grids of images or curves as matplotlib figures without axes, and figures as PNG files: what pictures are made of."""

import functools
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import PIL.Image
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from keras_vae import files

PathLike = str | os.PathLike[str]
DPI = 100
# Screen pixels: the most that a grid of images takes if its pixels are enlarged; the gap between two images; the height
# of a line of text.
WIDTH, HEIGHT, GAP, LINE = 840, 1120, 2, 20
FONT, BETWEEN = 9, 6  # and between two texts side by side
# Images of at most so many pixels a side are enlarged smoothly.
SMOOTH = 12
# Series of at most so many channels are drawn as curves, in these colours.
CURVES = ("blue", "orange", "green", "purple", "brown", "cyan")
# Channels whose values all lie within so many times the range of each share one.
ALIKE = 2.0
# Characters of a name that are drawn at most.
LONGEST = 24


def draw_tiles(
    tiles: np.ndarray,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    overlay: np.ndarray | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    gap: int = GAP,
    bands: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """A grid of images or curves with labels, and no axes.

    Args:
        tiles: [R, C, *event_shape]. Events H x W x 1 and H x W are gray, H x W x 3 colour; other numbers of channels
            stand side by side in gray; vectors are curves over their index, and so are series, steps x channels, with a
            curve for each channel, in a range of its own if they differ much. Events of two axes are series where the
            second is at most 6, and else gray images, in which more channels can be told apart. NaN leaves a tile, or
            part of a curve, out.
        row_labels: R texts at the left, or none.
        column_labels: C texts at the top, or none.
        title: text above all, of one line or several.
        overlay: other tiles of the same shape, drawn over the curves: dashed in red, or of several channels in strong
            colours over pale ones.
        value_range: values of black and white; values beyond are clipped.
        gap: screen pixels between images.
        bands: lower and upper edges of shades behind the curves, of the same shape as the tiles; NaN where there
            is none.

    Raises:
        ValueError: for events that are neither image nor vector, and an empty grid.
    """
    tiles = np.asarray(tiles, "float32")
    if 0 in tiles.shape:
        raise ValueError(f"There is nothing to draw: the grid of tiles has shape {tiles.shape}.")
    if not is_image(tiles.shape[2:]):
        return _draw_curves(tiles, row_labels, column_labels, title, overlay, bands)
    mosaic = _mosaic(as_rgb(tiles, value_range), gap)
    figure, axes = _sheet(mosaic.shape[1], mosaic.shape[0], row_labels, column_labels, title)
    axes.imshow(mosaic, interpolation="none", aspect="auto", extent=(0, len(tiles[0]), len(tiles), 0))
    return figure


def is_image(event_shape: Sequence[int]) -> bool:
    """Whether examples of this shape are drawn as images: H x W x C, or H x W for W > 6; vectors and series are not.

    Raises:
        ValueError: if they are none of these.
    """
    if len(event_shape) not in (1, 2, 3):
        raise ValueError(
            f"Pictures show images (H, W, C) or (H, W), series (T, C) and vectors (D,), not examples of shape "
            f"{tuple(event_shape)}."
        )
    return len(event_shape) == 3 or (len(event_shape) == 2 and event_shape[1] > len(CURVES))


def tiled(examples: np.ndarray, columns: int) -> np.ndarray:
    """[N, ...] -> [R, columns, ...], the last row filled up with NaN: empty tiles."""
    examples = np.asarray(examples, "float32")
    rows = math.ceil(len(examples) / columns)
    grid = np.full((rows * columns, *examples.shape[1:]), np.nan, "float32")
    grid[: len(examples)] = examples
    return grid.reshape(rows, columns, *examples.shape[1:])


def named(names: Sequence[str]) -> list[str]:
    """The names of classes as they can be drawn, all different.

    Of long ones the middle is left out. One with a character that the font lacks has its number instead:
    `matplotlib.rcParams["font.family"]` may name a font that has it.
    """
    known = _characters(tuple(matplotlib.rcParams["font.family"]))
    short = [name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[1 - LONGEST // 2 :]}" for name in names]
    return [
        f"class {number}" if set(map(ord, text)) - known else f"{number} {text}" if short.count(text) > 1 else text
        for number, text in enumerate(short)
    ]


@functools.cache
def _characters(family: tuple[str, ...]) -> frozenset[int]:
    font = font_manager.findfont(font_manager.FontProperties(family=list(family)))
    return frozenset(font_manager.get_font(font).get_charmap())


def _width(text: str) -> int:
    """Screen pixels that a line of text takes."""
    font = font_manager.FontProperties(size=FONT)
    return math.ceil(RendererAgg(1, 1, DPI).get_text_width_height_descent(text, font, ismath=False)[0])


def as_rgb(tiles: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
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
    """One picture [pixels, pixels, 3] from [R, C, H, W, 3], each pixel enlarged to a square of whole screen pixels.

    Of images of a few pixels squares are all that one sees: those are enlarged smoothly.
    """
    rows, columns, height, width, _ = rgb.shape
    scale = max(1, min(WIDTH // (columns * width), HEIGHT // (rows * height), 11))
    cell = (height * scale + gap, width * scale + gap)
    picture = np.full((rows * cell[0] - gap, columns * cell[1] - gap, 3), 255, "uint8")
    enlarged = _smooth(rgb, scale) if max(height, width) <= SMOOTH else rgb.repeat(scale, axis=2).repeat(scale, axis=3)
    for row in range(rows):
        for column in range(columns):
            top, left = row * cell[0], column * cell[1]
            picture[top : top + cell[0] - gap, left : left + cell[1] - gap] = enlarged[row, column]
    return picture


def _smooth(rgb: np.ndarray, scale: int) -> np.ndarray:
    rows, columns, height, width, _ = rgb.shape
    size = (width * scale, height * scale)
    tiles = [
        PIL.Image.fromarray(tile).resize(size, PIL.Image.Resampling.BICUBIC)
        for tile in rgb.reshape(-1, height, width, 3)
    ]
    return np.stack([np.asarray(tile) for tile in tiles]).reshape(rows, columns, height * scale, width * scale, 3)


def _draw_curves(
    tiles: np.ndarray,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    overlay: np.ndarray | None,
    bands: tuple[np.ndarray, np.ndarray] | None,
) -> Figure:
    is_series = tiles.ndim == 4
    below, *above = (np.asarray(part, "float32") for part in (tiles, overlay) if part is not None)
    edges = [np.asarray(part, "float32") for part in bands or ()]
    if not is_series:
        below, *above = (part[..., np.newaxis] for part in (below, *above))
        edges = [part[..., np.newaxis] for part in edges]
    rows, columns, size, channels = below.shape
    colours = CURVES[:channels] if channels > 1 else ("black",)
    ends = [_ends(np.stack([below, *above, *edges])[..., channel]) for channel in range(channels)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if high - low <= ALIKE * min(high - low for low, high in ends):
        ends = [(low, high)] * channels
        said = f"values {low:.3g} to {high:.3g}" + (f", channels {' and '.join(colours)}," if channels > 1 else "")
    else:
        own = [f"{colour} {low:.3g} to {high:.3g}" for colour, (low, high) in zip(colours, ends, strict=True)]
        said = f"channels {', '.join(own)}"
    note = f"each cell: {said} against {'steps' if is_series else 'index'} 0 to {size - 1}"
    width = max(WIDTH, 40 * columns)
    height = rows * min(max(40, width // columns * 2 // 3), 160)
    title = f"{title}\n{note}" if title else note
    figure, axes = _sheet(width, height, row_labels, column_labels, title)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    lines = [[(column, 0), (column, rows)] for column in range(columns + 1)]
    lines += [[(0, row), (columns, row)] for row in range(rows + 1)]
    axes.add_collection(LineCollection(lines, colors="0.85", linewidths=0.8))

    def placed(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        at = 0.04 + 0.92 * (np.arange(size) + 0.5) / size
        up = 0.1 + 0.8 * (values - low) / ((high - low) or 1.0)
        return np.arange(columns)[None, :, None] + np.broadcast_to(at, values.shape), (
            np.arange(rows)[:, None, None] + 1.0 - up
        )

    def draw(values: np.ndarray, low: float, high: float, **style: Any) -> None:
        x, y = placed(values, low, high)
        curves = np.stack([x, y], axis=-1).reshape(-1, size, 2)
        if size == 1:
            axes.plot(curves[:, 0, 0], curves[:, 0, 1], ".", color=style["colors"])
        axes.add_collection(LineCollection(list(curves), linewidths=1.0, **style))

    for channel, (colour, (low, high)) in enumerate(zip(colours, ends, strict=True)):
        pale = {"alpha": 0.4} if above and channels > 1 else {}
        draw(below[..., channel], low, high, colors=f"tab:{colour}" if channels > 1 else colour, **pale)
    for channel, (colour, (low, high)) in enumerate(zip(colours, ends, strict=True)):
        strong = {"colors": f"tab:{colour}"} if channels > 1 else {"colors": "tab:red", "linestyles": "dashed"}
        for values in above:
            draw(values[..., channel], low, high, **strong)
        if edges:
            (x, bottom), (_, top) = (placed(edge[..., channel], low, high) for edge in edges)
            for row, column in np.argwhere(np.isfinite(bottom).any(axis=-1)):
                cell = (x[row, column], bottom[row, column], top[row, column])
                shade = f"tab:{colour}" if channels > 1 else "tab:red"
                axes.fill_between(*cell, color=shade, alpha=0.3, linewidth=0)
    return figure


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest of the numbers."""
    there = values[np.isfinite(values)]
    return (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)


def columns_of(event_shape: Sequence[int]) -> int:
    """How many examples stand side by side: 8, or 4 series, whose curves need the room."""
    return 4 if len(event_shape) == 2 and not is_image(event_shape) else 8


def overlaid(event_shape: Sequence[int]) -> tuple[str, str]:
    """What the tiles look like, and what an overlay does, where both are curves: for titles."""
    return ("pale", "strong") if len(event_shape) == 2 and event_shape[1] > 1 else ("black", "red")


def _sheet(
    width: int, height: int, row_labels: Sequence[str], column_labels: Sequence[str], title: str
) -> tuple[Figure, Any]:
    """A figure around axes of exactly width x height screen pixels, with labels at the left and at the top."""
    margin = 6
    left = margin + max(map(_width, row_labels), default=0) + (4 if row_labels else 0)
    titles = title.splitlines()
    top = margin + LINE * (len(titles) + bool(column_labels))
    longest = max(map(_width, titles), default=0)
    total_width = max(left + width, (left if row_labels else margin) + longest) + margin
    total_height = top + height + margin
    figure = Picture(figsize=(total_width / DPI, total_height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / total_width, margin / total_height, width / total_width, height / total_height))
    axes.set_axis_off()

    def at(x: float, y: float, label: str, align: str) -> None:
        figure.text(
            x / total_width, 1.0 - y / total_height, label, ha=align, va="center", fontsize=FONT, parse_math=False
        )

    for index, label in enumerate(row_labels):
        at(left - 5, top + (index + 0.5) * height / len(row_labels), label, "right")
    widest = max(map(_width, column_labels), default=0)
    if widest + BETWEEN > width / max(1, len(column_labels)):
        # Too narrow for all: the ends and the middle.
        shown = {0, len(column_labels) // 2, len(column_labels) - 1}
        column_labels = [label if index in shown else "" for index, label in enumerate(column_labels)]
    for index, label in enumerate(column_labels):
        at(left + (index + 0.5) * width / len(column_labels), top - LINE / 2 + 1, label, "center")
    for index, line in enumerate(titles):
        at(margin if not row_labels else left, margin + (index + 0.5) * LINE - 3, line, "left")
    return figure, axes


class Picture(Figure):
    """A figure that notebooks show as it is written to files."""

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file, gray if it has no colours."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with PIL.Image.open(drawn) as image:
        rgb = np.asarray(image.convert("RGB"))
    is_gray = bool((rgb == rgb[..., :1]).all())
    PIL.Image.fromarray(rgb[..., 0] if is_gray else rgb).save(small, format="png", optimize=True)
    return small.getvalue()


def saved(figure: Figure, path: PathLike | None) -> Figure:
    """Write the PNG, whole or not at all."""
    if path is None:
        return figure
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"Pictures are PNG files: give a path that ends in .png, not {str(path)!r}.")
    files.write_bytes(target, png(figure))
    return figure
