"""Sprites with the factors of dSprites, rendered here, deterministically and without a network.

Not dSprites itself (Matthey et al. 2017), whose pictures TFDS downloads under the name `dsprites`: the factors have the
same meanings and the pictures the same look, but they are others, and by default fewer. A number should say which of
the two it comes from.
"""

import contextlib
import dataclasses
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_vae.data import made_here

SHAPES = ("square", "ellipse", "heart")
# In the order of dSprites.
FACTORS = ("shape", "scale", "orientation", "x_position", "y_position")
# Radius of the circle around every sprite of scale one, in units of the side of the image.
RADIUS = 0.2
CHUNK = 256


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
    shape, scale, orientation, column, row = factors.T
    radius = RADIUS * grid.size * np.linspace(1.0, 0.5, grid.scales)[::-1][scale]
    angle = 2.0 * np.pi * orientation / grid.orientations
    margin = RADIUS * grid.size + 1.0
    centres = np.linspace(margin, grid.size - margin, grid.positions) if grid.positions > 1 else [grid.size / 2]
    pixels = np.arange(grid.size) + 0.5
    # In the sprite's own frame, y upwards and the circle around it the unit circle.
    right = (pixels - np.take(centres, column)[:, None])[:, None, :] / radius[:, None, None]
    up = (np.take(centres, row)[:, None] - pixels)[:, :, None] / radius[:, None, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = cosine * right + sine * up, cosine * up - sine * right
    inside = np.select(
        [shape[:, None, None] == k for k in range(len(SHAPES))],
        [
            np.maximum(abs(x), abs(y)) <= np.sqrt(0.5),
            x**2 + (y / 0.5) ** 2 <= 1.0,
            _is_in_heart(1.3 * x, 1.3 * y + 0.1),
        ],
    )
    return inside.astype(np.uint8)


def _is_in_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x**2 + y**2 - 1.0) ** 3 <= x**2 * y**3


class Shapes(tfds.core.GeneratorBasedBuilder):
    """All combinations of a grid of factors, 23,040 by default; the features are named as in TFDS's `dsprites`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, grid: FactorGrid | None = None, **kwargs: Any) -> None:
        self.grid = grid or FactorGrid()
        config = tfds.core.BuilderConfig(name=str(self.grid), description="Numbers of values of the factors.")
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        labels = {
            f"label_{name}": tfds.features.ClassLabel(names=SHAPES)
            if name == "shape"
            else tfds.features.ClassLabel(num_classes=count)
            for name, count in zip(FACTORS, self.grid.counts, strict=True)
        }
        image = tfds.features.Image(shape=(self.grid.size, self.grid.size, 1), encoding_format="png")
        return tfds.core.DatasetInfo(
            builder=self,
            description="Sprites with the factors of dSprites, rendered by keras_vae.",
            features=tfds.features.FeaturesDict({"image": image, **labels}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        number = itertools.count()
        combinations = itertools.product(*map(range, self.grid.counts))
        while chunk := list(itertools.islice(combinations, CHUNK)):
            images = render(np.array(chunk), self.grid) * np.uint8(255)
            for image, values in zip(images, chunk, strict=True):
                labels = {f"label_{name}": value for name, value in zip(FACTORS, values, strict=True)}
                yield next(number), {"image": image[..., np.newaxis], **labels}


def prepared(
    name: str = "shapes", data_dir: str | os.PathLike | None = None
) -> contextlib.AbstractContextManager[tfds.core.DatasetBuilder]:
    """The builder of a name that `Grid.parse` understands, with its files there to be read; see `own.prepared`."""
    grid = FactorGrid.parse(name)
    return made_here.prepared(lambda data_dir: Shapes(grid=grid, data_dir=data_dir), data_dir)
