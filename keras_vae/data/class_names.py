"""Names of classes: which the data have, and labels that are numbered in an order of the user's."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_vae.arguments import check_names
from keras_vae.data.examples import Examples, Source


def names_of(data: Any) -> tuple[str, ...] | None:
    """The name of label k at index k, of datasets that have an attribute `class_names`; else None.

    Those of `data.load` have it, where the source names its classes, and those of Keras's
    `image_dataset_from_directory`. What is made of a dataset, by `map` or `take`, has it no more.

    Raises:
        ValueError: for names that cannot be.
    """
    found = None if hasattr(data, "shape") else getattr(data, "class_names", None)
    return None if found is None else check_names("class_names of the data", found)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether the names say no more than the labels: "0", "1", "2" and so on."""
    return all(name == str(number) for number, name in enumerate(names))


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names in one line, the first of many."""
    more = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def numbered(texts: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels [N] that are texts, by split, as indices into their sorted names, and the names."""
    names = np.unique(np.concatenate([array.astype(str) for array in texts.values()]))
    return {split: np.searchsorted(names, array.astype(str)) for split, array in texts.items()}, tuple(names.tolist())


def arranged(source: Source, wanted: Sequence[str] | None, what: str) -> Source:
    """The source with its labels numbered in the order of the names that are wanted.

    Names that the data have themselves are found among these, whatever their order there. Labels without names, and
    those of a dataset by name that are only numbers, get them in the order of their numbers.

    Args:
        source: with labels.
        wanted: the name of label k at index k; None for the source's own.
        what: how to call the source in an error.

    Raises:
        ValueError: for a class of the data that is not among the names, and for labels that are no classes.
    """
    if wanted is None:
        return source
    names = check_names("class_names", wanted)
    labels = {split: examples.labels for split, examples in source.splits.items() if examples.labels is not None}
    if not labels:
        raise ValueError('class_names are of labels: give labels=True, or condition="label", too.')
    if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in labels.values()):
        raise ValueError(f"class_names are of classes, and the labels of {what} are other numbers.")
    low, high = min(int(array.min()) for array in labels.values()), max(int(array.max()) for array in labels.values())
    own = source.class_names
    if own is None or (source.name is not None and are_numbers(own)):
        if low < 0 or high >= len(names):
            raise ValueError(f"class_names: there are {len(names)}, and the labels of {what} are {low} to {high}.")
        return source._replace(class_names=names)
    places = {name: number for number, name in enumerate(names)}
    unknown = [name for name in own if name not in places]
    if unknown:
        raise ValueError(f"{what} has the classes {listed(unknown)}, which are none of those wanted: {listed(names)}.")
    if low < 0 or high >= len(own):
        raise ValueError(f"The labels of {what} are {low} to {high}, and only {len(own)} classes have names.")
    place = np.array([places[name] for name in own])
    splits = {split: _renumbered(examples, place) for split, examples in source.splits.items()}
    return source._replace(splits=splits, class_names=names)


def _renumbered(examples: Examples, place: np.ndarray) -> Examples:
    return examples if examples.labels is None else examples._replace(labels=place[examples.labels])
