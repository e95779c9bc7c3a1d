"""`keras-vae sample`: new examples. In Python: `vae.sample(n, seed=0)`, and `pictures.write_images`."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import files
from keras_vae.pictures import tiles
from keras_vae_cli.commands.products.opened import Opened, open_model, typed_condition
from keras_vae_cli.commands.products.written import (
    check_folder,
    check_images,
    main_name,
    write_arrays,
    write_folder,
    write_picture,
    write_rows,
)
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError

# Pixels on a side; smaller pictures are dots to who opens them.
SMALL = 32


def sample(
    run: Path,
    output: Path,
    n: int,
    condition: Sequence[str] | None = None,
    seed: int = 0,
    noise: bool = False,
    temperature: float = 1.0,
    force: bool = False,
) -> None:
    """Draw n examples and write them: to a folder, to a picture of all, or to a file of arrays.

    Args:
        run: folder or .keras file.
        output: a folder, or a file that ends in .png, .npz, .npy or .csv.
        n: how many.
        condition: as it was typed; several classes, and all of them without it, take turns.
        seed: of the draws.
        noise: whether to draw from p(x|z) instead of taking its mean.
        temperature: of the draws from the prior.
        force: whether what such a command wrote gives way.

    Raises:
        ConfigError: for a condition that cannot be, and a folder that holds anything else.
    """
    suffix = output.suffix.lower()
    if suffix:
        files.check_folder(output.parent)
    else:
        check_folder(output, force)
    opened = open_model(run)
    check_images(opened, suffix)
    vae, console = opened.vae, opened.console
    given = typed_condition(vae, condition)
    labels = None
    if vae.condition is not None and vae.condition.num_classes is not None:
        classes = np.arange(vae.condition.num_classes) if given is None else given
        given = labels = np.resize(classes, n).astype("int32")
    elif vae.condition is not None and given is None:
        what = "a picture, such as --condition small.png" if vae.condition.is_image else "its numbers"
        raise ConfigError(f"This model is given {vae.condition}: say which by --condition, {what}.")
    is_of_columns = vae.condition is not None and vae.condition.schema is not None
    columns = np.tile(given, (n, 1)) if is_of_columns else labels
    # Means are no rows of a table: of a category they know the likeliest value only.
    is_row = vae.decoder.likelihood.schema is not None
    noise = noise or is_row
    with counted(console, "drawing"):
        drawn = vae.sample(n, seed=seed, condition=given, temperature=temperature, noise=noise)
    names = vae.condition.names if vae.condition is not None else None
    if suffix == ".png":
        write_picture(output, _sheet(drawn, labels, names), force)
    elif suffix and is_row and write_rows(opened, output, drawn, force, columns):
        pass
    elif suffix:
        by_name = None if labels is None or names is None or suffix != ".npz" else np.array(names)
        write_arrays(output, {main_name(opened): drawn, "labels": labels, "class_names": by_name}, force)
    else:
        write_folder(opened, drawn, output, force, _in_class_folders(labels, names))
    if not suffix and max(drawn.shape[1:3]) < SMALL:
        console.print("They are small: -o FILE.png draws them large, in one picture.")
    of_what = "" if labels is None else _said(labels, names)
    console.print(f"{n:,} samples{of_what} in {output}{_shape(opened) if suffix != '.png' else ''}, seed {seed}.")


def _in_class_folders(labels: np.ndarray | None, names: Sequence[str] | None) -> list[str] | None:
    """NAME/00000.png, if there are several classes."""
    if labels is None or len(set(labels.tolist())) == 1:
        return None
    width = max(5, len(str(len(labels) - 1)))
    folders = [str(label) if names is None else re.sub(r"[/\\\0]|^\.+", "_", names[label]) for label in labels]
    return [f"{folder}/{index:0{width}d}.png" for index, folder in enumerate(folders)]


def _sheet(drawn: np.ndarray, labels: np.ndarray | None, names: Sequence[str] | None) -> tiles.Figure:
    """All samples in one picture, of several classes a row for each."""
    found = [] if labels is None else np.unique(labels).tolist()
    if labels is None or len(found) == 1:
        return tiles.draw_tiles(tiles.tiled(drawn, int(np.ceil(np.sqrt(len(drawn))))))
    shown = tiles.named(names) if names is not None else [str(k) for k in range(max(found) + 1)]
    rows = np.full((len(found), np.bincount(labels).max(), *drawn.shape[1:]), np.nan, "float32")
    for row, label in zip(rows, found, strict=True):
        own = drawn[labels == label]
        row[: len(own)] = own
    return tiles.draw_tiles(rows, [shown[label] for label in found])


def _said(labels: np.ndarray, names: Sequence[str] | None) -> str:
    found = np.unique(labels)
    if len(found) > 1:
        return f" of {len(found)} classes"
    return f" of class {int(found[0])}" if names is None else f" of {names[int(found[0])]!r}"


def _shape(opened: Opened) -> str:
    shape = opened.vae.decoder.event_shape
    return f", each {' x '.join(map(str, shape))}" if len(shape) > 1 else f", each of {shape[0]} numbers"
