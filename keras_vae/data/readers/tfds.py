"""Images from TensorFlow Datasets, by name."""

import contextlib
import difflib
import logging
import os
import re
import socket
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.arguments import readable
from keras_vae.data import gray_levels, shapes
from keras_vae.data.embeddings import topics
from keras_vae.data.examples import (
    Examples,
    Fit,
    Size,
    Source,
    checked_images,
    checked_labels,
    fit_of,
    resized_images,
)
from keras_vae.data.gray_levels import Range, Scale
from keras_vae.data.series import oscillations
from keras_vae.data.storage.counter import Counter as Counted
from keras_vae.data.storage.entries import entry, key_of
from keras_vae.data.storage.keeping import empty
from keras_vae.data.storage.on_disk import fill, is_on_disk

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
BATCH = 256
OWN = ("digits",)
# Those that need no files.
MADE = (shapes.NAME, oscillations.NAME, topics.NAME)
# Columns of a vector of factors come in this order, the one of dSprites, then any others by name.
FACTOR_ORDER = ("label_shape", "label_scale", "label_orientation", "label_x_position", "label_y_position")
# Datasets whose uint8 images hold 0 and 1 for black and white.
ZERO_ONE = ("dsprites",)
# By this file a folder is known as one that TensorFlow Datasets has written.
PREPARED = "dataset_info.json"


def is_name(name: str) -> bool:
    """Whether TensorFlow Datasets, or this package, has a dataset of this name (with or without config and version)."""
    return re.split("[/:]", name)[0] in _names()


def load_named(
    name: str,
    resize: Size | None,
    labels: bool,
    data_dir: str | os.PathLike | None,
    download: bool,
    value_range: Range = None,
    fit: Fit | None = None,
    folder: Path | None = None,
    missing: bool = False,
) -> Source:
    """The images of `digits`, `shapes` or a dataset of TensorFlow Datasets, the series of `oscillations`, or the
    vectors of `topics`.

    Where a dataset has no feature `label` but several `label_*`, as dSprites has, the labels are vectors of factors:
    shape, scale, orientation, x_position, y_position, then any others in the order of their names.

    Args:
        name: as in `tfds.load`: "mnist", "emnist/letters", "cifar10:3.0.2".
        resize: (height, width), or None.
        labels: whether to read labels.
        data_dir: where its files are; None for $TFDS_DATA_DIR or the default of TFDS, and a cache of ours for ours.
        download: whether a dataset that is not there may be downloaded.
        value_range: (black, white); None for what the depth of the images says, see `gray_levels.scale_of_files`.
        fit: how images of another shape get that size, see `examples.resized`; None for "crop", with a warning.
        folder: with the files of a dataset that TensorFlow Datasets has written, of whatever format; None to look for
            the name.
        missing: whether values may be missing, as in `oscillations/gaps=0.5`.

    Raises:
        ValueError: for an unknown name, a dataset without images or without labels that are asked for, or images of
            different sizes without `resize`.
        FileNotFoundError: if the dataset is not there and cannot be downloaded.
    """
    if folder is None and re.split("[/:]", name)[0] in MADE:
        if name.startswith(shapes.NAME) and value_range is None:
            return shapes.load(name, labels, resize, fit)
        if name.startswith(shapes.NAME):
            raise ValueError(f"{name!r} is rendered in black and white: value_range is for images with other levels.")
        if resize is not None or value_range is not None:
            raise ValueError(f"{name!r} holds no images: resize and value_range are for images.")
        if name.startswith(topics.NAME):
            return topics.load(name, labels)
        return oscillations.load(name, missing)
    with _quiet(), _prepared(name, data_dir, download) if folder is None else _in_folder(folder) as builder:
        image_key, label_keys = _keys(name, builder, labels)
        names = _split_names(name, builder)
        sizes = Counter[Size]()
        how = fit or "crop"

        def read(scale: Scale | None) -> tuple[dict[str, Examples], float, float]:
            sizes.clear()
            found = {
                split: _read(
                    builder, own, image_key, label_keys, resize, how, scale, sizes, f"split {own!r} of {name!r}"
                )
                for split, own in names.items()
            }
            ranges = [between for _, between in found.values()]
            low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
            return {split: examples for split, (examples, _) in found.items()}, low, high

        is_black_and_white = builder.name in ZERO_ONE
        scale = Scale(*value_range) if value_range else Scale(0.0, 1.0) if is_black_and_white else None
        splits, low, high = read(scale)
        images = splits["train"].images
        if value_range is not None:
            gray_levels.check_inside(low, high, value_range, f"the images of {name!r}")
        elif images.dtype == np.float32:
            gray_levels.check_unit(low, high, f"the images of {name!r}")
        elif not is_black_and_white and (images.dtype == np.uint16 or (low, high) == (0, 1)):
            found = gray_levels.scale_of_files(low, high, images.dtype == np.uint16, f"the images of {name!r}")
            if found.white == 1:  # seen only now, and images that were resized are not what they were
                splits, _, _ = read(found)
            else:
                splits = {split: _in_levels(examples, int(found.white)) for split, examples in splits.items()}
        fit_of(sizes, images.shape[1:3], fit, f"{name!r}")
        class_names = None
        if len(label_keys) == 1:
            class_names = getattr(builder.info.features[label_keys[0]], "names", None)
        version = str(builder.info.full_name)
    return Source(splits, tuple(map(readable, class_names)) if class_names else None, version)


def _in_levels(examples: Examples, white: int) -> Examples:
    images, dtype = examples.images, np.dtype(gray_levels.level_type(white))
    fit_in = images if images.dtype == dtype and not is_on_disk(images) else empty(images.shape, dtype, "The images")
    # The interpolation overshoots.
    return examples._replace(images=fill(fit_in, images, lambda part: np.minimum(part, white)), white=white)


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[Any]:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
    except Exception as error:  # of several types, some of them of TFDS's own
        raise ValueError(f"The dataset in {str(folder)!r} cannot be opened: {error}") from error
    yield builder


@contextlib.contextmanager
def _prepared(name: str, data_dir: str | os.PathLike | None, download: bool) -> Iterator[Any]:
    if re.split("[/:]", name)[0] in OWN:
        from keras_vae.data import digits

        with digits.prepared(data_dir) as builder:
            yield builder
        return

    import tensorflow_datasets as tfds

    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # TFDS raises errors of several types, some of them of its own
        raise ValueError(_unknown(name, error)) from error
    if not builder.is_prepared():
        _download(name, builder, download)
    yield builder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of TFDS about its own deprecated calls and about folders yet to be made."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _unknown(name: str, error: Exception) -> str:
    near = difflib.get_close_matches(name, _names(), n=4)
    if is_name(name):
        reason = f"The dataset {name!r} cannot be opened: {str(error).rstrip('.')}."
    else:
        reason = f"No dataset, file or folder is called {name!r}."
    if near and not is_name(name):
        reason += f" Did you mean {' or '.join(repr(match) for match in near)}?"
    return (
        f"{reason} Accepted are 'digits', 'shapes', 'oscillations', 'topics', the names of image datasets of "
        "TensorFlow Datasets (such as 'mnist'; see tensorflow.org/datasets/catalog), the path of a folder of images, "
        "of an image, or of an .npy, .npz or .csv file, and numpy arrays."
    )


def _names() -> list[str]:

    import tensorflow_datasets as tfds

    # Listing the community's datasets would ask the network.
    return [*OWN, *MADE, *tfds.list_builders(with_community_datasets=False)]


def _download(name: str, builder: Any, download: bool) -> None:
    advice = (
        f"Prepare it where there is a network (tfds build {name}) and pass data_dir= or set TFDS_DATA_DIR to the "
        "folder it was written to, or use your own images or 'digits', which needs no download."
    )
    where = f"The dataset {name!r} is not prepared in {str(builder.data_path)!r}"
    if not download:
        raise FileNotFoundError(f"{where}, and download=False. {advice}")
    host = _unreachable_host(builder)
    if host is not None:
        raise FileNotFoundError(f"{where}, and cannot be downloaded: the host {host} cannot be found. {advice}")
    try:
        builder.download_and_prepare()
    except Exception as error:  # of TFDS, requests, TensorFlow, or the dataset's own code
        raise FileNotFoundError(f"{where}, and cannot be downloaded: {error}. {advice}") from error


def _unreachable_host(builder: Any) -> str | None:
    """A host that the download needs and whose name has no address. TFDS would try it again for minutes."""
    if urllib.request.getproxies():
        return None
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()}
    for host in sorted(filter(None, hosts)):
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return host
    return None


def _keys(name: str, builder: Any, labels: bool) -> tuple[str, tuple[str, ...]]:
    """The names of the features that hold the image and the label, or the factors."""

    import tensorflow_datasets as tfds

    features = builder.info.features
    supervised = builder.info.supervised_keys or (None, None)
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if not images:
        raise ValueError(f"The dataset {name!r} has no images: its features are {sorted(features)}.")
    candidates = [key for key in (supervised[0], "image", images[0]) if isinstance(key, str) and key in images]
    if not labels:
        return candidates[0], ()
    for key in (supervised[1], "label"):
        if isinstance(key, str) and key in features and key not in images:
            return candidates[0], (key,)
    factors = sorted(key for key, feature in features.items() if key.startswith("label_") and feature.shape == ())
    if factors:
        known = [key for key in FACTOR_ORDER if key in factors]
        return candidates[0], (*known, *(key for key in factors if key not in known))
    raise ValueError(f"The dataset {name!r} has no labels: its features are {sorted(features)}. Pass labels=False.")


def _split_names(name: str, builder: Any) -> dict[str, str]:
    """The dataset's own names of the splits that it has."""
    there = list(builder.info.splits)
    found = {split: own for split, names in SPLITS.items() for own in names[::-1] if own in there}
    if "train" not in found and len(there) == 1:
        found = {"train": there[0]}
    if "train" not in found:
        raise ValueError(f"The dataset {name!r} has no split 'train'; its splits are {there}.")
    return found


def _read(
    builder: Any,
    split: str,
    image_key: str,
    label_keys: tuple[str, ...],
    resize: Size | None,
    fit: Fit,
    scale: Scale | None,
    sizes: Counter[Size],
    what: str,
) -> tuple[Examples, tuple[float, float]]:
    """The examples of a split, in numbers as they are stored or by `scale`, and the range of the stored ones.

    The sizes that they had are counted in `sizes`.
    """
    feature = builder.info.features[image_key]
    shape = feature.shape
    if shape[2] is None or (None in shape and resize is None):
        raise ValueError(
            f"The images in {what} have different sizes, {shape}: pass resize=(height, width), such as resize=(64, 64)."
        )
    count = builder.info.splits[split].num_examples
    size = resize or shape[:2]
    of_bools = np.dtype(feature.np_dtype) == bool
    dtype, white = (np.dtype(np.uint8) if of_bools else np.dtype(feature.np_dtype)), 255
    if scale is not None:
        sample, white = gray_levels.scaled(np.zeros((1, 1, 1, 1), dtype), scale, what)
        dtype = sample.dtype
    elif dtype.kind not in "ui":
        dtype = np.dtype(np.float32)
    most = np.iinfo(dtype).max if dtype.kind == "u" and scale is None else white
    shown = what if len(what) < 60 else f"split {split!r}"
    identity = ("dataset", str(builder.data_path), split, image_key, *label_keys, size, fit, scale)
    stamp = key_of(builder.info.full_name, count, builder.info.splits[split].num_bytes, *_stamps(builder))
    with entry(identity, lambda: np.full(count, stamp), count, (*size, shape[2]), dtype, what) as made:
        lows, highs = made.column("low", np.float64), made.column("high", np.float64)
        had = made.column("size", np.int32, (2,))
        done = made.done
        with Counted(
            f"reading {shown}" + ("" if made.place is None else f" into {made.place}"), count, done
        ) as counted:
            rest = _batches(builder, split, (image_key, *label_keys), done, None not in shape) if done < count else ()
            for batch in rest:
                pixels = checked_images(batch[image_key], what)
                if of_bools:
                    pixels = pixels * np.uint8(255)
                place = slice(done, done + len(pixels))
                if place.stop > count:
                    break
                lows[place], highs[place] = float(pixels.min()), float(pixels.max())
                had[place] = pixels.shape[1:3]
                if scale is not None:
                    pixels, _ = gray_levels.scaled(pixels, scale, what)
                made.rows[place] = resized_images(pixels, size, what, most, fit)
                for key in label_keys:
                    values = checked_labels(batch[key], len(pixels), f"{key!r} in {what}")
                    made.column(f"label {key}", values.dtype, values.shape[1:])[place] = values
                done = place.stop
                made.reached(done)
                counted.reached(done)
        if done != count or not count:
            raise ValueError(
                f"The files of {what} are incomplete: {done} of {count} images are there. Prepare it again."
            )
    sizes.update(map(tuple, had.tolist()))
    columns = [made.columns[f"label {key}"] for key in label_keys]
    labels = None if not columns else columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    return Examples(made.rows, labels, white), (float(lows.min()), float(highs.max()))


def _batches(
    builder: Any, split: str, keys: tuple[str, ...], start: int, is_batched: bool
) -> Iterator[dict[str, np.ndarray]]:
    """Those features of the examples of a split from number `start` on, in their order: [B, ...]."""

    import tensorflow_datasets as tfds

    rest = f"{split}[{start}:]" if start else split
    if builder.info.file_format.value == "array_record":
        # Files of this format know no stream, and give any example by its number.
        for example in builder.as_data_source(split=rest):
            yield {key: np.asarray(example[key])[np.newaxis] for key in keys}
        return
    dataset = builder.as_dataset(
        split=rest,
        decoders=tfds.decode.PartialDecoding(dict.fromkeys(keys, True)),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        batch_size=BATCH if is_batched else None,
    )
    for example in tfds.as_numpy(dataset):
        yield {
            key: np.asarray(value) if is_batched else np.asarray(value)[np.newaxis] for key, value in example.items()
        }


def _stamps(builder: Any) -> list[int]:
    """When the files of a dataset were written."""
    folder = Path(str(builder.data_path))
    return [path.stat().st_mtime_ns for path in sorted(folder.glob("*"))] if folder.is_dir() else []
