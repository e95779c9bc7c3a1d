"""How a source is read, whatever becomes of it then: whole, or in splits."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from keras_vae.arguments import (
    check_choice,
    check_columns,
    check_count,
    check_derived,
    check_flag,
    check_resize,
    check_schema,
    check_value_range,
)
from keras_vae.data import class_names as names_of_classes
from keras_vae.data import gray_levels
from keras_vae.data.arrays import Arrays, Binarize
from keras_vae.data.examples import Examples, Fit, Size, Source
from keras_vae.data.fingerprint import fingerprint
from keras_vae.data.gray_levels import Range
from keras_vae.data.image_conditions import NAMES, derive, without_colours
from keras_vae.data.readers.folders import OnBadFile
from keras_vae.data.readers.image_files import MAX_SIDE
from keras_vae.data.readers.sources import is_data, read
from keras_vae.data.storage.keeping import Memory, keeping
from keras_vae.data.tables.of_kinds import are_classes, conditioned, described, split_schema


class Read(NamedTuple):
    """What was read.

    Attributes:
        source: the examples, with their labels, or with what they are conditioned on in place of these.
        fingerprint: of them; see `data.fingerprint`.
        condition: the name and the arguments of what it is in `keras_vae.conditions`, if one was asked for.
        class_names: those of the labels, if labels were asked for.
    """

    source: Source
    fingerprint: dict[str, Any]
    condition: dict[str, Any] | None
    class_names: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Those arguments of `data.load` that all examples have in common, whichever split they are of, with its errors.

    Attributes:
        binarize, labels, resize, data_dir, download, on_bad_file, condition, value_range, levels, fit, class_names,
            missing, series, schema, memory, cache, gray: as in `data.load`.
    """

    binarize: Binarize | None = None
    labels: bool = False
    resize: Size | None = None
    data_dir: str | os.PathLike | None = None
    download: bool = True
    on_bad_file: OnBadFile = "error"
    condition: str | Sequence[str] | Mapping[str, Any] | None = None
    value_range: Range = None
    levels: int | None = None
    fit: Fit | None = None
    class_names: Sequence[str] | None = None
    missing: bool = False
    memory: Memory = "auto"
    cache: str | os.PathLike | None = None
    series: bool = False
    schema: Mapping[str, Any] | str | None = None
    gray: bool = False

    def __post_init__(self) -> None:
        check_choice("binarize", self.binarize, (None, *get_args(Binarize)))
        if self._derived() is not None and self.labels:
            raise ValueError(
                "Batches are (image, label) or (image, condition): give labels=True or condition, not both."
            )
        if self.missing and self.binarize is not None:
            raise ValueError("missing=True and binarize: give values that are 0, 1 or NaN already.")
        if self.missing and self.levels is not None:
            raise ValueError("missing=True and levels: give values on their grid, or NaN, already.")
        check_flag("gray", self.gray)
        check_choice("memory", self.memory, get_args(Memory))
        check_schema(self.schema)
        check_choice("on_bad_file", self.on_bad_file, ("error", "skip"))
        check_choice("fit", self.fit, (None, *get_args(Fit)))
        check_resize(self.resize, MAX_SIDE)
        check_value_range(self.value_range)
        if self.levels is not None:
            check_count("levels", self.levels, at_least=2, at_most=gray_levels.DEEPEST + 1)

    def keeping(self) -> contextlib.AbstractContextManager[Any]:
        """Inside of it arrays are kept as `memory` says."""
        return keeping(self.memory, self.cache)

    def _derived(self) -> dict[str, Any] | None:
        return check_columns(self.condition) or check_derived(self.condition, NAMES)

    def read(self, name_or_path: Any, whole: bool = False) -> Read:
        """The source with its labels or conditions.

        Args:
            name_or_path: as in `data.load`.
            whole: whether the files of a folder are taken in their order, whatever splits it has.
        """
        with self.keeping():
            return self._read(name_or_path, whole)

    def _read(self, name_or_path: Any, whole: bool) -> Read:
        what = called(name_or_path)
        given = self._derived()
        labels = self.labels or (given is not None and given["name"] == "label")
        source = read(
            name_or_path,
            check_resize(self.resize, MAX_SIDE),
            labels,
            self.data_dir,
            self.download,
            self.on_bad_file,
            check_value_range(self.value_range),
            self.fit,
            whole,
            self.missing,
            check_flag("series", self.series),
            check_schema(self.schema),
        )
        _check_splits(source.splits, labels, what)
        seen = fingerprint(source)
        source = names_of_classes.arranged(source, self.class_names, what)
        if self.gray:
            source = source._replace(splits={k: without_colours(v, what) for k, v in source.splits.items()})
        source = gray_levels.with_levels(source, self.levels, what)
        if given is not None and given["name"] == "columns":
            taken, _ = split_schema(source.schema or {}, given["columns"])
            source, labels = conditioned(source, given["columns"]), True
            if not are_classes(taken):
                return Read(source, seen, described(source, taken), None)
        elif given is not None and given["name"] != "label":
            source = source._replace(splits={k: v._replace(labels=derive(v, given)) for k, v in source.splits.items()})
        return Read(source, seen, given and _described(source), source.class_names if labels else None)

    def arrays(
        self, split: Examples, class_names: tuple[str, ...] | None, schema: Any = None, condition: Any = None
    ) -> Arrays:
        """The examples of a split, as they are handed out in batches."""
        extras = [] if split.labels is None else [split.labels]
        options: dict[str, Any] = {"divisor": split.divisor, "binarize": self.binarize, "class_names": class_names}
        made = Arrays(split.images, *extras, **options, names=split.names, share=True, schema=schema)
        made.condition = condition
        return made


def called(name_or_path: Any) -> str:
    """What a source is called in messages."""
    if is_data(name_or_path):
        return "the given data"
    return "the given files" if isinstance(name_or_path, list) else repr(str(name_or_path))


def _described(source: Source) -> dict[str, Any]:
    """What stands beside the images, as a part of `keras_vae.conditions`."""
    values = [split.labels for split in source.splits.values() if split.labels is not None]
    shape = values[0].shape[1:]
    if len(shape) == 3:
        return {"name": "Image", "shape": list(shape)}
    if shape or not np.issubdtype(values[0].dtype, np.integer):
        return {"name": "Vector", "size": int(np.prod(shape))}
    names, largest = source.class_names, max(int(v.max()) for v in values)
    if names is not None and len(names) > largest:
        return {"name": "Label", "num_classes": len(names), "names": list(names)}
    return {"name": "Label", "num_classes": largest + 1}


def _check_splits(splits: dict[str, Examples], labels: bool, what: str) -> None:
    shapes = {name: split.images.shape[1:] for name, split in splits.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"The splits of {what} differ in the shape of their examples: {shapes}. For images pass resize=(height, "
            "width)."
        )
    without = [name for name, split in splits.items() if split.labels is None]
    if labels and without:
        raise ValueError(f"{what} has no labels for {', '.join(without)}: pass labels=False.")
