"""Results as files: whole or not at all, and never in the place of anything that is not such a result."""

import csv
import json
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from keras_vae import files
from keras_vae.data.storage.on_disk import is_on_disk, parts, rows_at_once
from keras_vae.data.tables import frames
from keras_vae.data.tables.of_kinds import with_condition
from keras_vae.pictures import image_files, tiles
from keras_vae_cli.commands.products.opened import Opened
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.commands.provenance import NAME, command_line
from keras_vae_cli.errors import ConfigError

# In a folder of images: by what they were made, and which they are.
ABOUT = "about.json"


def check_folder(path: Path, force: bool) -> None:
    """See that a folder can be written, and that what gives way there is nothing but the images of such a command.

    Raises:
        ConfigError: naming what else is in it; for anything, without --force.
        OSError: if it cannot be written to.
    """
    files.check_folder(path.parent)
    if not path.is_dir() or not any(path.iterdir()):
        return
    check_free(path, force)
    own = _listed(path / ABOUT)
    others = sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    others = [name for name in others if name not in own]
    if others:
        raise ConfigError(
            f"{path} is not replaced, though --force was given: keras-vae has not written {others[0]} in it, nor "
            f"{len(others) - 1} others. Give another folder."
        )


def _listed(path: Path) -> set[str]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {ABOUT, *map(str, about["files"])} if about["made_by"].split(" ")[0] == NAME else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def check_free(path: Path, force: bool) -> None:
    """See that nothing is replaced, even what has come during the work, unless that was said.

    Raises:
        ConfigError: if something is there.
    """
    if not force and os.path.lexists(path):
        raise ConfigError(f"{path} is there by now, and was not touched: give another name, or --force to replace it.")


def write_folder(
    opened: Opened, images: np.ndarray, path: Path, force: bool, names: Sequence[str] | None = None
) -> None:
    """Images as PNG files, and ABOUT beside them, in a folder that `check_folder` has passed."""
    with counted(opened.console, "writing", len(images)) as move:
        inside = [str(p.relative_to(path)) for p in image_files.paths(images, path, names)]
        about = {"made_by": command_line(), "run": str(opened.run.absolute()), "files": inside}
        beside = {ABOUT: json.dumps(about, indent=1) + "\n"}
        image_files.write_images(
            images,
            path,
            names,
            replace=force,
            beside=beside,
            written=lambda _: move(1),
            # What was there before the work may have changed.
            check=lambda: check_folder(path, force),
        )


def check_images(opened: Opened, suffix: str) -> None:
    """Refuse PNG files of a model whose examples are none.

    Raises:
        ConfigError: saying what else can be written.
    """
    shape = tuple(opened.vae.decoder.event_shape)
    if not suffix and (len(shape) != 3 or shape[-1] not in (1, 3)):
        raise ConfigError(
            f"--output: examples of shape {' x '.join(map(str, shape))} are no pictures, gray or in colour: give a "
            "file that ends in .npz, .npy or .csv."
        )


def main_name(opened: Opened) -> str:
    """What examples of the model are called in a file, so that `data.load` knows them."""
    return "images" if len(opened.vae.decoder.event_shape) == 3 else "x"


def write_picture(path: Path, picture: tiles.Figure, force: bool) -> None:
    """A picture as a PNG file."""
    content = tiles.png(picture)
    with files.whole_file(path) as temporary:
        temporary.write_bytes(content)
        check_free(path, force)


def write_rows(opened: Opened, path: Path, rows: np.ndarray, force: bool, labels: np.ndarray | None = None) -> bool:
    """Rows of a table whose columns have kinds, as a .csv or Parquet file with the names, types and values of these.

    Args:
        opened: the model.
        path: of the file.
        rows: [N, D].
        force: whether a file that is there gives way.
        labels: [N], of columns that are a condition: they are written, too.

    Returns:
        Whether the model is one of such rows, and the file one of such tables; if not, nothing is written.

    Raises:
        ConfigError: as `write_arrays`; for a Parquet file of a model of other data.
    """
    schema, suffix = opened.vae.decoder.likelihood.schema, path.suffix.lower()
    if schema is None and suffix == ".parquet":
        raise ConfigError(f"{path}: Parquet files are of tables whose columns have kinds: give .npz, .npy or .csv.")
    if schema is None or suffix not in frames.SUFFIXES:
        return False
    given = opened.settings.data.condition if opened.settings is not None else None
    known = opened.settings.data.schema if opened.settings is not None else None
    if labels is not None and given is not None and given.columns and isinstance(known, dict):
        schema = known
        rows = with_condition(rows, labels, schema, given.columns)
    table = frames.frame(np.asarray(rows), schema)
    if suffix == ".csv":
        write_table(path, frames.cells(table), ",", force)
        return True
    from pyarrow import parquet

    with files.whole_file(path) as temporary:
        parquet.write_table(table, temporary)
        check_free(path, force)
    return True


def write_arrays(path: Path, arrays: dict[str, Any], force: bool) -> None:
    """Arrays that go together, in a .npz file by their names, as a table, or the first of them alone as .npy.

    Args:
        path: of the file.
        arrays: each with N rows, in memory or on disk, or None to leave it out.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: if it is there, and does not.
    """
    there = {name: array for name, array in arrays.items() if array is not None}
    with files.whole_file(path) as temporary:
        # To streams: numpy writes to other names than those of files that end in .NPZ.
        if path.suffix.lower() == ".npy":
            with temporary.open("wb") as binary:
                _write_array(binary, next(iter(there.values())))
        elif path.suffix.lower() == ".npz":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, array in there.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        _write_array(member, array)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(_rows(there))
        check_free(path, force)


def write_table(path: Path, rows: Sequence[Sequence[str]], delimiter: str, force: bool) -> None:
    """Rows of text, as they are, as a .csv file; see `write_arrays`."""
    with files.whole_file(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter=delimiter).writerows(rows)
        check_free(path, force)


def _write_array(stream: IO[bytes], array: Any) -> None:
    """An array as numpy writes it, part by part."""
    if not is_on_disk(array):
        np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
        return
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, described)
    for _, part in parts(array):
        stream.write(part.data)


def _rows(arrays: dict[str, Any]) -> Iterator[list[Any]]:
    """A header, and a row for each example: one column for what is one value, numbered ones for what is more."""
    header: list[str] = []
    ordered = sorted(arrays.items(), key=lambda item: item[0] != "names")
    for name, array in ordered:
        singular = name.removesuffix("s") if name != "indices" else "index"
        is_one = array.ndim == 1
        header += [singular] if is_one else [f"{singular}_{k}" for k in range(math.prod(array.shape[1:]))]
    yield header
    columns = [array for _, array in ordered]
    step = min(map(rows_at_once, columns))
    for start in range(0, len(columns[0]), step):
        # Numbers of 32 bits with as many digits as tell them apart.
        texts = [_texts(array[start : start + step]) for array in columns]
        for row in zip(*texts, strict=True):
            yield [text for part in row for text in part]


def _texts(rows: np.ndarray) -> list[list[str]]:
    return rows.reshape(len(rows), -1).astype(str).tolist()
