"""What a source holds: training, test and validation examples, in memory or on disk."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_vae.arguments import check_count, check_number
from keras_vae.data import held_out
from keras_vae.data.arrays import Arrays, Binarize
from keras_vae.data.examples import Examples, Fit, Size
from keras_vae.data.gray_levels import Range
from keras_vae.data.readers.folders import OnBadFile
from keras_vae.data.readers.reading import Reading, called
from keras_vae.data.readers.sources import Schema
from keras_vae.data.storage.keeping import Memory, empty
from keras_vae.data.storage.on_disk import parts

# Of validation and test images: one binarization for all runs, so that their results can be compared.
EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class Splits:
    """What a source holds.

    Attributes:
        train, test: the examples, as images [N, H, W, C], vectors [N, D] or series [N, steps, channels], with the
            labels as an extra if asked for.
        validation: likewise; None unless a validation split was asked for.
        class_names: the name of label k at index k; None if unknown.
        condition: if one was asked for: the name and the arguments of what it is in `keras_vae.conditions`.
        fingerprint: of what was read, to tell later whether it is still the same; see `data.fingerprint`.
        schema: of the columns of a table of several kinds, as `likelihoods.Mixed` takes it; None of other data.
    """

    train: Arrays
    test: Arrays
    validation: Arrays | None = None
    class_names: tuple[str, ...] | None = None
    condition: dict[str, Any] | None = None
    fingerprint: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None


def load(
    name_or_path: Any,
    batch_size: int = 128,
    binarize: Binarize | None = None,
    seed: int = 0,
    labels: bool = False,
    validation_split: float = 0.0,
    test_split: float = 0.1,
    resize: Size | None = None,
    drop_remainder: bool = False,
    data_dir: str | os.PathLike | None = None,
    download: bool = True,
    on_bad_file: OnBadFile = "error",
    condition: str | Sequence[str] | Mapping[str, Any] | None = None,
    value_range: Range = None,
    levels: int | None = None,
    fit: Fit | None = None,
    class_names: Sequence[str] | None = None,
    mirror: bool = False,
    missing: bool = False,
    memory: Memory = "auto",
    cache: str | os.PathLike | None = None,
    series: bool = False,
    gray: bool = False,
    schema: Schema = None,
) -> Any:
    """Training and test data in batches: images float32 in [0, 1], [B, H, W, C], or (image, label) pairs.

    ```python
    train, test = data.load("digits", batch_size=128, binarize="dynamic")
    train, validation, test = data.load("my_pictures", validation_split=0.1, resize=(64, 64))
    pictures = data.load("my_pictures", test_split=0)  # all, in order; pictures.file_names says which is which
    ```

    Training batches come in a new order at every iteration; validation and test keep theirs, and all their rows.
    The datasets have an attribute `class_names`, the name of label k at index k or None, by which a model that is
    fitted to them knows its classes by name.

    Args:
        name_or_path: "digits"; "shapes" or "shapes/size=32,scales=3,orientations=10,positions=8", sprites with the
            factors of dSprites that are rendered here (see `data.shapes.FactorGrid`); "oscillations", series, and
            "topics", embeddings, that are made here; an image dataset of TensorFlow Datasets
            by name; a folder of images (in class folders or not, in train/ and test/ or not); an .npy or .npz
            file, or arrays: images [N, H, W, C] or [N, H, W] in uint8 or floats in [0, 1], or vectors [N, D] that keep
            their values. Several arrays, in a mapping or an .npz file, are told apart by their names: images, labels,
            x_train, y_train, x_test, y_test, class_names and the like; a tuple is (images, labels), or a pair of those,
            for training and test, as from `keras.datasets`. Also a .csv file of numbers, a vector in each row, with a
            header or without; one image file, or a list of them. A name comes before a path; write "./mnist" for a
            folder of that name.
        batch_size: examples per batch.
        binarize: None; "threshold" (1 where the pixel is at least 0.5); or "dynamic": training images are drawn anew
            from Bernoulli distributions whenever a batch is made, validation and test images once, always alike.
        seed: of the splits held out, the order and the binarization.
        labels: whether to give (image, label) pairs. The labels of `shapes` and `dsprites` are the factors, [B, 5]:
            indices of shape (square, ellipse, heart), scale, orientation, x_position, y_position.
        validation_split: the fraction of the training examples to give as a validation dataset too; if the source has
            a validation split (and a test split), that is given.
        test_split: the fraction to hold out as the test dataset where the source has neither a test nor a validation
            split. 0 holds nothing out: all that there is comes as one dataset, in the order of the files or rows.
        resize: (height, width) for all images. Without it, files of different sizes get the most frequent one.
        drop_remainder: whether to drop the last training examples that do not fill a batch.
        data_dir: where TensorFlow Datasets keeps its files; None for $TFDS_DATA_DIR.
        download: whether a dataset may be downloaded.
        on_bad_file: "skip" leaves unreadable image files out, with a warning.
        condition: what a conditional model is given, for batches (image, condition): "label"; "gray", the brightness of
            colour images; or {"name": "low_resolution", "factor": 4}, means of blocks of 4 x 4 pixels. Images are
            conditions before they are binarized. Of a table a list of columns, ["sex"] or ["age", "sex"]: they
            are taken out of x, and what stands in them, of several each combination, is the label.
        value_range: (black, white), the numbers that become 0 and 1. None finds them in all data together: floats lie
            in [0, 1]. In image files 8 bits are 0 to 255, and of 16 bits those that are used (10, 12, 14, 16); two
            values 0 and 1 are black and white. In arrays of whole numbers white is 255, or the largest value if that
            is at most 16 or is 31, 63 or 127; above 255 it is as in files. What was assumed is said in a warning.
        levels: how many gray levels k / (levels - 1) the images are rounded to; None keeps what they have: white + 1,
            or no grid for floats.
        fit: how images of another shape, height to width, get that of all: "crop" keeps the middle, "pad" keeps all
            and fills up the sides with the median colour of the edge, "stretch" distorts. None is "crop", and says in
            a warning how many images are cropped.
        class_names: the name of label k at index k. Data that have names themselves, such as those of class folders,
            are numbered in this order; others get these names. Give those of a model, `vae.condition.names`, so that
            new data have its numbers.
        mirror: whether each training image is turned left to right half of the time, by chance, and conditions that
            are images with it: twice the pictures, where left and right mean nothing.
        missing: whether NaN in arrays, and empty cells (or NA, null, none, nan, ?) in a .csv file, are values that are
            missing. They stay NaN, for `VAE(..., missing=True)`.
        memory: "ram" keeps the data in memory, "disk" in files, of which each batch reads its rows; the batches are the
            same. "auto" is "disk" where an array would take more than half of the memory that is free, with a warning
            that says where.
        cache: the folder for what is kept on disk, where what was decoded stays for the next time; None for
            $KERAS_VAE_CACHE/data, or keras_vae/data in the user's cache folder.
        series: whether arrays [N, steps, channels] are series, which keep their values, as vectors do; without it,
            arrays of three axes are gray images.
        gray: whether colour images become their brightness, [B, H, W, 1]. Gray drawings are often kept as RGB.
        schema: of a table, a .csv or .parquet file or a DataFrame, what its columns hold: name -> "real", "positive",
            "count", "binary" or {"category": values}. "infer" takes what they seem to hold (`data.schema_of`), as None
            does of DataFrames, of .parquet files and of .csv files with a header and columns of texts. The datasets
            have it as an attribute `schema`, for `likelihoods.Mixed(train.schema)`.

    Returns:
        (train, test), or (train, validation, test) if `validation_split` > 0; with `test_split` 0 one dataset, whose
        `file_names` are those of its examples, relative to the folder that was given, or None.

    Raises:
        ValueError: for an unknown name, unusable data or file (named), an impossible argument, a batch size larger than
            the training data, or data that are to be kept in memory and do not fit.
        OSError: if data that are to be kept on disk cannot be written there.
        FileNotFoundError: for a path that does not exist, a folder without images, or a dataset that can be neither
            found nor downloaded.
    """
    reading = Reading(
        binarize=binarize,
        labels=labels,
        resize=resize,
        data_dir=data_dir,
        download=download,
        on_bad_file=on_bad_file,
        condition=condition,
        value_range=value_range,
        levels=levels,
        fit=fit,
        class_names=class_names,
        missing=missing,
        memory=memory,
        cache=cache,
        series=series,
        gray=gray,
        schema=schema,
    )
    if check_number("test_split", test_split, at_least=0, below=1) == 0:
        if validation_split != 0:
            raise ValueError("test_split=0 gives all examples as one dataset, and leaves none for a validation_split.")
        if mirror:
            raise ValueError("mirror=True is of training images, and test_split=0 gives all examples as they are.")
        check_count("seed", seed, at_least=0)
        return _whole(name_or_path, reading).dataset(check_count("batch_size", batch_size), seed=seed)
    splits = _splits(name_or_path, reading, seed, validation_split, test_split, batch_size, mirror)
    train = splits.train.dataset(batch_size, seed=seed, shuffle=True, drop_remainder=drop_remainder)
    held_out = [splits.test] if splits.validation is None else [splits.validation, splits.test]
    return (train, *(split.dataset(batch_size) for split in held_out))


def read_splits(
    name_or_path: Any,
    *,
    seed: int = 0,
    validation_split: float = 0.0,
    test_split: float = 0.1,
    batch_size: int | None = None,
    mirror: bool = False,
    **reading: Any,
) -> Splits:
    """What `load` serves, before it is cut into batches; for those who make their own datasets of it.

    Args:
        batch_size: if given, it is checked against the training data, as `load` does.
        name_or_path, seed, validation_split, test_split, mirror: as in `load`, with the same errors.
        **reading: binarize, labels, resize, data_dir, download, on_bad_file, condition, value_range, levels, fit,
            class_names, missing, series, gray, schema, memory and cache, as in `load`.
    """
    return _splits(name_or_path, Reading(**reading), seed, validation_split, test_split, batch_size, mirror)


def read_all(name_or_path: Any, **reading: Any) -> Arrays:
    """All examples that there are, in the order of the files or rows, the splits of the source behind each other.

    Args:
        name_or_path: as in `load`, with the same errors.
        **reading: as in `read_splits`.

    Returns:
        Arrays whose `names` are those of the files, relative to the folder that was given; None of what has no files.
    """
    return _whole(name_or_path, Reading(**reading))


def _splits(
    name_or_path: Any,
    reading: Reading,
    seed: int,
    validation_split: float,
    test_split: float,
    batch_size: int | None,
    mirror: bool,
) -> Splits:
    check_count("seed", seed, at_least=0)
    check_number("validation_split", validation_split, at_least=0, below=1)
    check_number("test_split", test_split, at_least=0, below=1)
    what = called(name_or_path)
    source, seen, condition, class_names = reading.read(name_or_path)
    own = {name: reading.arrays(split, class_names, source.schema, condition) for name, split in source.splits.items()}

    train, validation, test = own["train"], own.get("validation"), own.get("test")
    names = source.splits["train"].names
    by_row = held_out.by_place if source.name is None else held_out.by_lot
    if test is None and validation is not None:
        test, validation = validation, None
    if test is None:
        train, test, names = _hold_out(train, names, by_row, test_split, "test_split", (seed, 0), what)
    if validation_split == 0.0:
        validation = None
    elif validation is None:
        train, validation, _ = _hold_out(train, names, by_row, validation_split, "validation_split", (seed, 1), what)
    if batch_size is not None and not 1 <= batch_size <= len(train):
        raise ValueError(f"batch_size={batch_size}, but {what} has {len(train)} training examples: choose 1 to that.")
    if mirror:
        train = train.mirrored()
    if reading.binarize == "dynamic":
        test = test.binarized_once(EVALUATION_SEED)
        if validation is not None:
            validation = validation.binarized_once(EVALUATION_SEED + 1)
    return Splits(train, test, validation, source.class_names, condition, seen, source.schema)


def _whole(name_or_path: Any, reading: Reading) -> Arrays:
    with reading.keeping():
        source, _, _, class_names = reading.read(name_or_path, whole=True)
        whole = _joined([source.splits[name] for name in ("train", "validation", "test") if name in source.splits])
    return reading.arrays(whole, class_names, source.schema)


def _joined(splits: list[Examples]) -> Examples:
    """The examples of all splits as one; the images are copied only if there are several."""
    first = splits[0]
    if len(splits) == 1:
        return first
    if len({(split.images.dtype, split.divisor) for split in splits}) > 1:
        raise ValueError("The splits differ in the type of their numbers: give them one by one.")
    images = _concatenated([split.images for split in splits])
    labels = [split.labels for split in splits if split.labels is not None]
    return first._replace(images=images, labels=_concatenated(labels) if labels else None, checksums=None)


def _concatenated(arrays: list[Any]) -> Any:
    if arrays[0].ndim == 1:
        return np.concatenate(arrays)
    count = sum(map(len, arrays))
    result, done = (
        empty((count, *arrays[0].shape[1:]), np.result_type(*(array.dtype for array in arrays)), "All splits together"),
        0,
    )
    for array in arrays:
        for _, part in parts(array):
            result[done : done + len(part)] = part
            done += len(part)
    return result


def _hold_out(
    arrays: Arrays,
    names: tuple[str, ...] | None,
    by_row: Callable[..., np.ndarray],
    fraction: float,
    argument: str,
    seed: tuple[int, int],
    what: str,
) -> tuple[Arrays, Arrays, tuple[str, ...] | None]:
    """(the rest, about `fraction` of the examples, the names of the rest), all in their old order."""
    if fraction == 0.0:
        raise ValueError(f"{what} has no test split: give {argument} > 0, such as 0.1, to hold one out.")
    count = len(arrays)
    if max(1, round(count * fraction)) >= count:
        raise ValueError(f"{argument}={fraction} leaves no training examples of the {count} in {what}.")
    chosen = by_row(count, fraction, seed) if names is None else held_out.by_name(names, fraction, seed)
    rest = np.flatnonzero(~chosen)
    left = None if names is None else tuple(names[row] for row in rest)
    return arrays.subset(rest), arrays.subset(np.flatnonzero(chosen)), left
