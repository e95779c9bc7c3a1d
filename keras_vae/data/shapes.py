"""Sprites with the factors of dSprites, rendered here, deterministically and without a network.

Not dSprites itself (Matthey et al. 2017), whose pictures TFDS downloads under the name `dsprites`: the factors have the
same meanings, and the sprites the proportions of those that its README shows
(https://github.com/google-deepmind/dsprites-dataset), but pixels differ at their edges, and there are fewer by default.
A number should say which of the two it comes from.
"""

import dataclasses
import math
import re
from collections import Counter as Sizes
from typing import Any

import numpy as np

from keras_vae.data.examples import Examples, Fit, Size, Source, fit_of, resized_images
from keras_vae.data.storage.counter import Counter
from keras_vae.data.storage.entries import entry

SHAPES = ("square", "ellipse", "heart")
# In the order of dSprites.
FACTORS = ("shape", "scale", "orientation", "x_position", "y_position")
# In units of the side of the image, of sprites of scale one. Half the side of the square, half axes of the ellipse; the
# heart is two discs and all that lies between them and its tip.
HALF_SIDE = 0.15
HALF_AXES = (0.2, 0.1125)
DISC, AWAY, ABOVE, TIP = 0.085, 0.0675, 0.06, 0.1335
# A circle around each of them, and how far from the border their centres stay.
RADIUS, MARGIN = 0.2125, 0.25
# Rendered at once.
CHUNK = 256
NAME, VERSION = "shapes", 4


@dataclasses.dataclass(frozen=True)
class FactorGrid:
    """The values that the factors take: all combinations make the data.

    Attributes:
        size: side of the images in pixels.
        scales: number of scales, linearly spaced in [0.5, 1].
        orientations: number of angles, linearly spaced in [0, 2 pi), counterclockwise.
        positions: number of horizontal and of vertical positions, linearly spaced; no sprite leaves the image.
    """

    size: int = 64
    scales: int = 3
    orientations: int = 10
    positions: int = 16

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of values of each of `FACTORS`."""
        return (len(SHAPES), self.scales, self.orientations, self.positions, self.positions)

    @classmethod
    def parse(cls, name: str) -> "FactorGrid":
        """The grid of a name such as "shapes" or "shapes/size=32,positions=8"; what is not said has its default.

        Raises:
            ValueError: for anything else.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        match = re.fullmatch(r"shapes(?:/(\w+=\d+(?:,\w+=\d+)*))?", name)
        pairs = [pair.split("=") for pair in (match.group(1) or "").split(",") if pair] if match else []
        given = {key: int(value) for key, value in pairs}
        if not match or len(given) < len(pairs) or set(given) - set(names):
            raise ValueError(
                f"{name!r} is not understood: give 'shapes', or 'shapes/size=32,positions=8' with any of "
                f"{', '.join(names)}."
            )
        for key, value in given.items():
            if not (8 <= value <= 1024 if key == "size" else 1 <= value <= 256):
                raise ValueError(f"{name!r}: size is from 8 to 1024, the numbers of values from 1 to 256.")
        return cls(**given)

    def __str__(self) -> str:
        return f"size{self.size}-scales{self.scales}-orientations{self.orientations}-positions{self.positions}"


def render(factors: np.ndarray, grid: FactorGrid) -> np.ndarray:
    """Pictures of sprites: a pixel is 1 if its centre lies inside, without antialiasing as in dSprites.

    Args:
        factors: indices of the values, int [N, 5], in the order of `FACTORS`.
        grid: what they stand for.

    Returns:
        uint8 [N, size, size] of zeros and ones.
    """
    images = np.zeros((len(factors), grid.size, grid.size), np.uint8)
    for k, is_inside in enumerate((_is_in_square, _is_in_ellipse, _is_in_heart)):
        rows = np.flatnonzero(factors[:, 0] == k)
        if len(rows):
            _draw(images, rows, factors[rows], grid, is_inside)
    return images


def _draw(images: np.ndarray, rows: np.ndarray, factors: np.ndarray, grid: FactorGrid, is_inside: Any) -> None:
    """Those of one shape, each in the smallest square of pixels that holds the circle around the largest sprite."""
    _, scale, orientation, column, row = factors.T
    unit = grid.size * np.linspace(1.0, 0.5, grid.scales)[::-1][scale]
    angle = 2.0 * np.pi * orientation / grid.orientations
    margin = MARGIN * grid.size
    centres = np.linspace(margin, grid.size - margin, grid.positions) if grid.positions > 1 else [grid.size / 2]
    side = min(grid.size, math.ceil(2.0 * RADIUS * grid.size) + 1)

    def pixels(centre: np.ndarray) -> np.ndarray:
        first = np.clip(np.floor(centre - RADIUS * grid.size), 0, grid.size - side).astype(int)
        return first[:, None] + np.arange(side)

    across, down = pixels(np.take(centres, column)), pixels(np.take(centres, row))
    # In the sprite's own frame, y upwards.
    right = ((across + 0.5 - np.take(centres, column)[:, None]) / unit[:, None])[:, None, :]
    up = ((np.take(centres, row)[:, None] - (down + 0.5)) / unit[:, None])[:, :, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = cosine * right + sine * up, cosine * up - sine * right
    images[rows[:, None, None], down[:, :, None], across[:, None, :]] = is_inside(x, y)


def _is_in_square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) <= HALF_SIDE


def _is_in_ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x / HALF_AXES[0]) ** 2 + (y / HALF_AXES[1]) ** 2 <= 1.0


def _is_in_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Both halves alike: a disc, and the triangle between the tip and the two tangents from there.
    x = abs(x)
    in_disc = (x - AWAY) ** 2 + (y - ABOVE) ** 2 <= DISC**2
    height = ABOVE + TIP
    distance = math.hypot(AWAY, height)
    tangent = math.sqrt(distance**2 - DISC**2)
    along = (x * AWAY + (y + TIP) * height) / distance
    beside = abs(x * height - (y + TIP) * AWAY) / distance
    return in_disc | ((beside <= along * (DISC / tangent)) & (along <= tangent**2 / distance))


def load(name: str, labels: bool = False, resize: Size | None = None, fit: Fit | None = None) -> Source:
    """The sprites of a name that `FactorGrid.parse` understands, in a mixed order that is always the same.

    They are rendered into the array that training reads, in memory or on disk, a byte for each pixel: 3 GB for the
    737,280 of `shapes/size=64,scales=6,orientations=40,positions=32`, the grid of dSprites.

    Args:
        name: "shapes", or "shapes/size=32,positions=8".
        labels: whether to give the factors, indices [N, 5].
        resize: (height, width) of the images, if it is not the grid's.
        fit: as in `examples.resized`.

    Raises:
        ValueError: for a name that is not understood.
        OSError: where they are kept on disk and there is no room.
    """
    grid = FactorGrid.parse(name)
    count, full = math.prod(grid.counts), f"{name.partition('/')[0]}/{grid}/{VERSION}"
    size = resize or (grid.size, grid.size)
    how = fit_of(Sizes({(grid.size, grid.size): count}), size, fit, repr(name))
    # The first few examples stand for all, in pictures and estimates: in the order of factors they would be squares.
    order = order_of(grid)
    identity = ("shapes", VERSION, str(grid), size, how)
    with entry(identity, lambda: np.arange(count), count, (*size, 1), what=f"The images of {name!r}") as made:
        shown = f"rendering {name}" + ("" if made.place is None else f" into {made.place}")
        with Counter(shown, count, made.done) as counted:
            for start in range(made.done, count, CHUNK):
                place = slice(start, min(start + CHUNK, count))
                images = render(factors_of(order[place], grid), grid)[..., np.newaxis]
                made.rows[place] = resized_images(images * np.uint8(255), size, repr(name), fit=how)
                made.reached(place.stop)
                counted.reached(place.stop)
    factors = factors_of(order, grid) if labels else None
    return Source({"train": Examples(made.rows, factors)}, name=full)


def order_of(grid: FactorGrid) -> np.ndarray:
    """The number of each sprite of `load`, in which the last factor counts fastest: int64 [N]."""
    # numpy promises that the legacy generator never changes.
    return np.random.RandomState(0).permutation(math.prod(grid.counts))


def factors_of(numbers: np.ndarray, grid: FactorGrid) -> np.ndarray:
    """The factors of sprites by their numbers, int64 [N, 5]."""
    return np.stack(np.unravel_index(numbers, grid.counts), axis=1)
