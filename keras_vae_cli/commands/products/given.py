"""What the user gives to a model: files, folders and tables, as examples of the kind that the model knows."""

import gc
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_vae import data
from keras_vae.data.readers import array_files, tables
from keras_vae.data.storage.keeping import empty, in_gigabytes, keeping
from keras_vae.data.storage.on_disk import ends, fill, is_on_disk, parts
from keras_vae_cli.commands import run_data, run_folder
from keras_vae_cli.commands.products.opened import Opened, typed_condition, with_channels
from keras_vae_cli.errors import ConfigError

# Examples in a batch at most, and values in it.
MOST, VALUES = 256, 2**22
# Batches after which memory is cleared.
CLEARED = 32
# Bytes of one array that is read whole; of larger ones each batch is read when its turn comes.
IN_MEMORY = 2**28
SHOWN = 3


class Given(NamedTuple):
    """Examples for a model.

    Attributes:
        examples: in memory, or on disk if they are large, with conditions if the model has any.
        names: of the files; None of rows of a table.
        condition: for all of them, if it was typed.
        source: what they are called.
        event_shape: that of the model.
        has_conditions: whether what stands beside the examples are its conditions.
        is_binary: whether the model knows black and white only.
        levels: gray levels of the model; None if it takes all.
        white_from: from which gray on a pixel is white to a model of black and white; one number, or one a pixel.
    """

    examples: data.Arrays
    names: tuple[str, ...] | None
    condition: Any
    source: str
    event_shape: tuple[int, ...]
    has_conditions: bool
    is_binary: bool = False
    levels: int | None = None
    white_from: Any = 0.5

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, size: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """All examples in their order, float32 [B, *event_shape], and the condition of each, or None."""
        if size is None:
            size = int(np.clip(VALUES // math.prod(self.event_shape), 1, MOST))
        for number, batch in enumerate(self.examples.dataset(size)):
            if number % CLEARED == CLEARED - 1:
                # `predict` of Keras leaves each batch in a circle of references, for which Python looks too seldom.
                gc.collect()
            x, *given = batch if isinstance(batch, tuple) else (batch,)
            values = self._as_known(np.asarray(x))
            if self.condition is not None:
                yield values, np.repeat(self.condition[np.newaxis], len(values), axis=0)
            else:
                yield values, np.asarray(given[0]) if self.has_conditions else None

    def _as_known(self, x: np.ndarray) -> np.ndarray:
        if len(self.event_shape) == 3 and x.shape[-1] != self.event_shape[-1]:
            x = with_channels(x, self.event_shape[-1])
            if self.levels is not None:
                x = np.rint(x * (self.levels - 1)) / np.float32(self.levels - 1)
        return np.where(np.isnan(x), x, x >= self.white_from).astype("float32") if self.is_binary else x


def read_given(
    opened: Opened, paths: Sequence[str], condition: Sequence[str] | None, draws: np.random.Generator | None = None
) -> Given:
    """The examples that the user gives, read as the run reads its own; without any, the test examples of the run.

    Args:
        opened: the model.
        paths: as they were typed.
        condition: likewise.
        draws: of a model that has learned from draws of black and white, whether a pixel is white is then drawn too, by
            the same numbers for all examples; without it, it is from the middle of gray on.

    Raises:
        ConfigError: for data that are not of the model's kind, and conditions that are missing or cannot be.
    """
    vae, settings, console = opened.vae, opened.settings, opened.console
    typed = typed_condition(vae, condition)
    if typed is not None and vae.condition is not None and vae.condition.num_classes is not None:
        if len(typed) > 1:
            raise ConfigError("--condition: give one class for all of the data, or data in a folder for each class.")
        typed = typed[0]
    if not paths:
        return _own_test(opened, typed)
    levels = getattr(vae.decoder.likelihood, "levels", None)
    is_binary = levels == 2 or (settings is not None and settings.data.binarize is not None)
    options: dict[str, Any] = {}
    if settings is not None:
        options |= {"on_bad_file": settings.data.on_bad_file, "value_range": settings.data.value_range}
        # It is said how many pictures are cropped.
        options |= {"fit": None if settings.data.fit == "crop" else settings.data.fit}
    if vae.missing:
        options["missing"] = True
    if _is_series(vae.decoder.event_shape):
        options["series"] = True
    schema = opened.vae.decoder.likelihood.schema
    if schema is not None:
        options["schema"] = schema
    cache = None if settings is None else settings.data.cache
    with run_data.remarks(console.print), keeping("auto", cache, IN_MEMORY):
        source = _source(opened, paths, options, labels=vae.condition is not None and typed is None)
        options |= _condition_of_data(opened, typed)
        examples = _read(opened, source, options, levels)
    if examples.on_disk is not None:
        size, place = examples.on_disk
        console.print(f"{in_gigabytes(size)} of data are read from {place}, batch by batch.")
    shape = tuple(vae.decoder.event_shape)
    called = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    has_conditions = vae.condition is not None
    given = Given(examples, examples.names, typed, called, shape, has_conditions, is_binary, levels)
    _check_shape(given)
    if is_binary and draws is not None and settings is not None and settings.data.binarize == "dynamic":
        console.print("The model knows black and white: pixels are white with the probability of their gray.")
        # In (0, 1): white stays white, and black stays black.
        return given._replace(white_from=1.0 - draws.random(shape, "float32"))
    if is_binary:
        console.print("The model knows black and white: from the middle of gray on, pixels are taken for white.")
    return given


def _own_test(opened: Opened, typed: Any) -> Given:
    if opened.settings is None:
        raise ConfigError(f"Give data: {opened.run} is a file, and only a run folder knows test examples.")
    _, _, splits = run_folder.open_run(opened.run, opened.console)
    shape = tuple(opened.vae.decoder.event_shape)
    has_conditions = opened.vae.condition is not None
    return Given(splits.test, splits.test.names, typed, "the test examples of the run", shape, has_conditions)


def _source(opened: Opened, paths: Sequence[str], options: dict[str, Any], labels: bool) -> Any:
    """A path, a list of image files, the name of a dataset, or arrays: those of a table may be pixels of images."""
    if len(paths) > 1:
        return list(paths)
    path = Path(paths[0]).expanduser()
    if not path.exists():
        if path.name != paths[0] or path.suffix:
            raise ConfigError(f"There is no file or folder {paths[0]!r}.")
        return paths[0]  # perhaps a dataset by name
    if path.suffix.lower() not in (".csv", ".npy", ".npz") or path.is_dir() or "schema" in options:
        return path
    is_table = path.suffix.lower() == ".csv"
    named = tables.read_table(path, opened.vae.missing) if is_table else array_files.read_arrays(path, labels)
    keys = array_files.image_keys(named)
    if "train" not in keys:
        return path  # refused by the reader of files
    for key in keys.values():
        named[key] = _unflattened(named[key], tuple(opened.vae.decoder.event_shape))
    images = [named[key] for key in keys.values()]
    white = run_data.white_level(opened.run) if opened.settings is not None else None
    if white and options.get("value_range") is None and all(x.ndim > 2 and x.dtype.kind in "ui" for x in images):
        # Few rows may lack the level that is white in all.
        is_inside = all(0 not in x.shape and ends(x)[0] >= 0 and ends(x)[1] <= white for x in images)
        options["value_range"] = (0, white) if is_inside else None
    return named


def _unflattened(images: Any, shape: tuple[int, ...]) -> Any:
    """Rows of as many numbers as an image, or a series, has, as such; others as they are."""
    if len(shape) < 2 or images.ndim != 2 or images.shape[1] != math.prod(shape):
        return images
    if len(shape) == 3 and images.dtype.kind == "f" and 0 not in images.shape and _are_levels(images):
        images = fill(empty(images.shape, np.int64, "The data"), images, lambda part: part.astype(np.int64))
    full = (len(images), *shape)
    return images.of_shape(full) if is_on_disk(images) else images.reshape(full)


def _are_levels(values: Any) -> bool:
    """Whether floats are whole numbers, of which some are above 1."""
    return ends(values)[1] > 1 and all((part == np.rint(part)).all() for _, part in parts(values))


def _condition_of_data(opened: Opened, typed: Any) -> dict[str, Any]:
    condition, settings = opened.vae.condition, opened.settings
    if condition is None or typed is not None:
        return {}
    if settings is not None and settings.data.condition is not None and settings.data.condition.columns:
        columns = settings.data.condition.model_dump(exclude_none=True)
        return {"condition": columns, "schema": settings.data.schema}
    if condition.num_classes is not None:
        # Classes without names are numbers, and a folder 7 is class 7 whichever others there are.
        return {"labels": True, "class_names": condition.names or [str(k) for k in range(condition.num_classes)]}
    if settings is None or settings.data.condition is None:
        return {"labels": True}
    return {"condition": settings.data.condition.model_dump(exclude_none=True)}


def _read(opened: Opened, source: Any, options: dict[str, Any], levels: int | None) -> data.Arrays:
    shape = opened.vae.decoder.event_shape
    is_of_vectors = isinstance(source, dict) and source[array_files.image_keys(source)["train"]].ndim == 2
    if len(shape) == 3 and not is_of_vectors:
        options = {
            **options,
            "resize": (shape[0], shape[1]),
            "levels": None if levels in (None, 2) or opened.vae.missing else levels,
        }
    try:
        return data.read_all(source, **options)
    except (ValueError, OSError) as error:
        if options.get("labels") and any(word in str(error) for word in ("class", "label", "Label")):
            raise ConfigError(
                f"{error}\nThe model is given {opened.vae.condition}: say what all of the data are by --condition."
            ) from None
        raise


def _is_series(shape: Sequence[int]) -> bool:
    return len(shape) == 2


def _check_shape(given: Given) -> None:
    found, wanted = tuple(given.examples.event_shape), given.event_shape
    as_image = len(found) == len(wanted) == 3 and {found[-1], wanted[-1]} <= {1, 3}
    if found != (*wanted[:-1], found[-1]) if as_image else found != wanted:
        raise ConfigError(
            f"The model is of {described(wanted)}, and {given.source} holds {described(found)}: give such data as it "
            "was trained on."
        )


def described(shape: tuple[int, ...]) -> str:
    """What a model is of, in words."""
    if len(shape) == 1:
        return f"vectors of {shape[0]:,} numbers"
    if _is_series(shape):
        return f"series of {' x '.join(map(str, shape))} (steps x channels)"
    return f"images of {' x '.join(map(str, shape))} (height x width x channels)"
