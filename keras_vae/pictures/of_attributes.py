"""Examples with more or less of what one can measure in them, and on their way to another class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_vae.arguments import check_count, check_number
from keras_vae.data.class_names import names_of
from keras_vae.evaluation.probes import directions_of
from keras_vae.evaluation.statistics import gather, given, points
from keras_vae.models.vae import VAE
from keras_vae.pictures.tiles import PathLike, draw_tiles, named, saved

# Examples that give the directions, and classes in the pictures of a run.
MOST, MOST_CLASSES = 5000, 32
OF_MEASURES, OF_CLASSES = (-2.0, -1.0, 0.0, 1.0, 2.0), (0.0, 0.25, 0.5, 0.75, 1.0)


def attributes(
    vae: VAE,
    data: Any,
    measured: Mapping[str, Any] | None = None,
    n: int | None = None,
    strengths: Sequence[float] | None = None,
    examples: Sequence[int] | None = None,
    path: PathLike | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Means of p(x|z + s d) for examples at points z, directions d and strengths s: a row for each example.

    With `measured`, d is how far the mean code moves when a measurement grows by one standard deviation and the others
    stay (`evaluation.directions`); a block of rows for each. Without, the data have labels, and each row leads from an
    example to another class: d is the mean code of that class less the mean code of its own, so that the example
    becomes one of the other class at s = 1, and what it does not share with its class it keeps. Beside each row stands
    the example itself.

        pictures.attributes(vae, test, {"smile": teeth}, path="smile.png")
        pictures.attributes(vae, (x, labels), path="classes.png")

    Args:
        vae: a model, without a condition on the label where the rows lead to other classes.
        data: a finite data set, of which the first 5,000 examples give the directions to other classes.
        measured: a name and one number for each example, [N]; a label of two classes as 0 and 1.
        n: number of examples, of each measurement; 4 unless told otherwise, and of classes 10.
        strengths: s; from -2 to 2 unless told otherwise, and of classes from 0 to 1.
        examples: their numbers in the data, in place of the first n (of classes the first of each class).
        path: PNG file to write.
        value_range: values drawn as black and white.

    Raises:
        ValueError: for data without labels or of one class and no measurements; for a z that is not all of real
            numbers; for examples that there are not.
    """
    tiles, rows, columns, title = _grid(vae, data, measured, n, strengths, examples)
    return saved(draw_tiles(tiles, rows, columns, title, value_range=value_range), path)


def can_lead_to_classes(vae: VAE, labels: np.ndarray | None) -> bool:
    """Whether `attributes` can lead from one class to another, of a few: real numbers that hold the class too."""
    if labels is None or np.ndim(labels) != 1 or not _is_continuous(vae):
        return False
    tells = vae.condition is not None and vae.condition.num_classes is not None
    classes = np.unique(labels)
    return not tells and np.array_equal(classes, classes.astype(int)) and 1 < len(classes) <= MOST_CLASSES


def _is_continuous(vae: VAE) -> bool:
    return all(kind == "continuous" for kind, _ in vae.prior.blocks)


def _grid(
    vae: VAE,
    data: Any,
    measured: Mapping[str, Any] | None,
    n: int | None,
    strengths: Sequence[float] | None,
    examples: Sequence[int] | None,
) -> tuple[np.ndarray, list[str], list[str], str]:
    """The tiles [R, 1 + S, *event_shape], the labels of rows and columns, and the title."""
    if not _is_continuous(vae):
        raise ValueError("Attributes are directions of real numbers, and a part of this model's z is a discrete code.")
    n = check_count("n", (10 if measured is None else 4) if n is None else n)
    if strengths is None:
        strengths = OF_CLASSES if measured is None else OF_MEASURES
    at = [check_number("strengths", s) for s in strengths]
    x, y = gather(data, None if measured is not None else MOST)
    condition = given(vae, y, data)
    z, _ = points(vae, x if condition is None else (x, condition))
    z = z[:, : vae.prior.latent_dim]
    if measured is None:
        rows, moves, labels = _to_classes(vae, z, y, n, examples, _class_names(vae, data, y))
        title = "columns: share of the way from one class to the other"
    else:
        found = directions_of(z, measured)
        chosen = _checked(range(min(n, len(x))) if examples is None else examples, len(x))
        rows = np.tile(chosen, len(found))
        moves = np.repeat(np.stack(list(found.values())), len(chosen), axis=0)
        labels = [name if row == 0 else "" for name in found for row in range(len(chosen))]
        title = "columns: in standard deviations of what the row is called"
    codes = z[rows, np.newaxis] + np.asarray(at, "float32")[:, np.newaxis] * moves[:, np.newaxis]
    codes = np.clip(codes, *vae.prior.bounds).astype("float32")
    shown = [
        np.asarray(vae.decode(line, None if condition is None else condition[row]).mean())
        for row, line in zip(rows, codes, strict=True)
    ]
    tiles = np.concatenate([x[rows, np.newaxis], np.stack(shown)], axis=1)
    columns = ["data", *(f"{s:+.2g}" if measured is not None and s else f"{s:.2g}" for s in at)]
    return tiles, labels, columns, title


def _checked(examples: Sequence[int], count: int) -> np.ndarray:
    chosen = np.array([check_count("examples", number, at_least=0, at_most=count - 1) for number in examples], int)
    if not len(chosen):
        raise ValueError("examples is empty: give the numbers of those that are to be drawn, or None.")
    return chosen


def _class_names(vae: VAE, data: Any, y: np.ndarray | None) -> list[str]:
    names = names_of(data)
    if names is None and y is not None and np.ndim(y) == 1:
        names = tuple(str(label) for label in range(int(np.max(y)) + 1))
    return named(names or ())


def _to_classes(
    vae: VAE, z: np.ndarray, y: np.ndarray | None, n: int, examples: Sequence[int] | None, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Which examples, the vectors from the mean of their class to that of the next one, and what that is called."""
    if y is None or y.ndim != 1:
        raise ValueError("Without labels of classes give measured, a name and one number for each example.")
    if vae.condition is not None and vae.condition.num_classes is not None:
        raise ValueError(
            "This model is told the class, which is not in its z: vae.sample(n, condition=...) changes it."
        )
    y = y.astype(int)
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError("All of the data are of one class: there is no other one to lead to.")
    means = {label: z[y == label].mean(axis=0) for label in classes}
    if examples is None:
        examples = [int(np.flatnonzero(y == label)[0]) for label in classes[:n]]
    rows = _checked(examples, len(z))
    following = dict(zip(classes, np.roll(classes, -1), strict=True))
    ends = [(label, following[label]) for label in y[rows]]
    moves = np.stack([means[to] - means[label] for label, to in ends])
    return rows, moves, [f"{names[label]} → {names[to]}" for label, to in ends]
