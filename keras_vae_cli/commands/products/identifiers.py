"""Codes as identifiers: `keras-vae ids`, and back, `keras-vae decode`. In Python: `evaluation.semantic_ids(...)`."""

import csv
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files
from keras_vae.evaluation.identifiers.tuples import SemanticIDs, codes_of, digits
from keras_vae.evaluation.statistics import entropy
from keras_vae_cli.commands.products.gathered import IN_MEMORY, gathered
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model, typed_condition
from keras_vae_cli.commands.products.written import main_name, write_arrays
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError

# Identifiers that are decoded at once.
ROWS = 256


def ids(
    run: Path,
    paths: Sequence[str],
    output: Path,
    distinct: bool = False,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write the digits of each example's identifier, in the order of the data, with the names of the files.

    They are written as they come: what is too large for memory lies in files without a name, and how many of so many
    are different is not counted, unless a last digit asks for it.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a file that ends in .csv, .npz or .npy.
        distinct: whether a last digit tells those with the same identifier apart.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ValueError: for a model without codes.
        ConfigError: for data, or a condition, that it cannot take.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    num_codes, width = codes_of(vae), math.prod(vae.encoder.posterior.indices_shape)
    given = read_given(opened, paths, condition)
    names = None if given.names is None else np.array(given.names)
    is_table = output.suffix.lower() == ".csv"
    is_counted = distinct or 4 * width * len(given) <= IN_MEMORY
    uses, parts = np.zeros((width, num_codes), "int64"), []
    with gathered(len(given), output.parent) as found:
        with counted(console, "encoding", len(given)) as move:
            for x, c in given.batches():
                batch = digits(vae, x, c)
                for column, counts in zip(batch.T, uses, strict=True):
                    counts += np.bincount(column, minlength=num_codes)
                if is_counted:
                    parts.append(batch)
                if not distinct:
                    found.add(**(_columns(batch) if is_table else {"ids": batch}))
                move(len(x))
        known, most = SemanticIDs(np.concatenate(parts), num_codes) if is_counted else None, 0
        if distinct and known is not None:
            table = known.distinct()
            most = table[:, -1].max()
            found.add(**(_columns(table) if is_table else {"ids": table}))
        keys = [f"digit_{k + 1}" for k in range(width + distinct)] if is_table else ["ids"]
        arrays = {key: found[key] for key in keys}
        write_arrays(output, {"names": names, **arrays} if is_table else {**arrays, "names": names}, force)
    said = str(known) if known is not None else _in_bits(uses)
    console.print(f"{output}: identifiers of {len(given):,} of {given.source}.\n{said}")
    if distinct:
        console.print(f"The last digit tells those with the same others apart: it is {most} at most.")


def _columns(batch: np.ndarray) -> dict[str, np.ndarray]:
    return {f"digit_{k + 1}": column for k, column in enumerate(batch.T)}


def _in_bits(uses: np.ndarray) -> str:
    """What is known of many without comparing them, from how often each digit is each code, [M, S]."""
    bits = ", ".join(f"{entropy(row / row.sum()) / math.log(2):.2f}" for row in uses)
    return (
        f"Entropy of the digits: {bits} of at most {math.log2(uses.shape[1]):.2f} bits. How many are different was not "
        "counted: they are too many to be compared in memory."
    )


def decode(run: Path, path: Path, output: Path, condition: Sequence[str] | None = None, force: bool = False) -> None:
    """Write what the decoder makes of identifiers, the mean of p(x|z), one for each row of a file of `ids`.

    Args:
        run: folder or .keras file.
        path: a .csv, .npz or .npy file, with or without a last digit that tells those with the same others apart.
        output: a file that ends in .npy, .npz or .csv.
        condition: of a conditional model, one for all, as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ValueError: for a model without codes, and identifiers that are none of it, with the row.
        ConfigError: for a condition that the model cannot take, or lacks.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    posterior = vae.encoder.posterior
    num_codes, shape = codes_of(vae), posterior.indices_shape
    typed = typed_condition(vae, condition)
    if vae.condition is not None and typed is None:
        raise ConfigError(f"This model is given {vae.condition}: say which by --condition, one for all identifiers.")
    if typed is not None and vae.condition is not None and vae.condition.num_classes is not None:
        if len(typed) > 1:
            raise ConfigError("--condition: give one class, which is that of all identifiers.")
        typed = typed[0]
    count, width = _size(path)
    if width not in (math.prod(shape), math.prod(shape) + 1):
        raise ValueError(
            f"{path} has {width} digits to a row, and the identifiers of this model have {math.prod(shape)}, or one "
            "more that tells those with the same others apart: give a file that keras-vae ids wrote for this run."
        )
    with gathered(count, output.parent) as found:
        with counted(console, "decoding", count) as move:
            for first, rows in _rows(path):
                checked = _checked(path, first, rows[:, : math.prod(shape)], num_codes)
                c = None if typed is None else np.repeat(np.asarray(typed)[np.newaxis], len(rows), axis=0)
                z = posterior.lookup(checked.reshape(-1, *shape))
                found.add(x=np.asarray(vae.decode(z, c).mean(), "float32"))
                move(len(rows))
        write_arrays(output, {main_name(opened): found["x"], "names": _names(path)}, force)
    event = " x ".join(map(str, vae.decoder.event_shape))
    console.print(f"{output}: {count:,} examples of shape {event}, of {path}.")


def _checked(path: Path, first: int, rows: np.ndarray, num_codes: int) -> np.ndarray:
    wrong = np.argwhere((rows < 0) | (rows >= num_codes))
    if len(wrong):
        row, digit = wrong[0]
        raise ValueError(
            f"{path}: digit {digit + 1} of identifier {first + row + 1} is {rows[row, digit]}, and the {num_codes} "
            f"codes of this model are 0 to {num_codes - 1}: the file is of another model."
        )
    return rows


def _array(path: Path) -> Any:
    """The digits of an .npy or .npz file, [N, M]."""
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        found = loaded if isinstance(loaded, np.ndarray) else loaded["ids"]
    except KeyError:
        raise ValueError(f"{path} has no array ids: give a file that keras-vae ids wrote.") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise ValueError(f"{path} must hold whole numbers [N, M], not {found.dtype.name} {list(found.shape)}.")
    return found


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            yield from csv.reader(stream)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is no table: {error}") from None


def _places(path: Path) -> list[int]:
    """Which columns of a table are digits."""
    header = next(_lines(path), [])
    places = [k for k, name in enumerate(header) if name.startswith("digit_")]
    if [header[k] for k in places] != [f"digit_{k + 1}" for k in range(len(places))] or not places:
        raise ValueError(
            f"{path}: the columns must be digit_1, digit_2 and so on, as keras-vae ids writes them, not "
            f"{', '.join(header[:8]) or 'none'}."
        )
    return places


def _size(path: Path) -> tuple[int, int]:
    """N and M."""
    if path.suffix.lower() != ".csv":
        count, width = _array(path).shape
    else:
        width = len(_places(path))
        count = sum(1 for _ in _lines(path)) - 1
    if not count:
        raise ValueError(f"{path} holds no identifiers.")
    return count, width


def _rows(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first, digits [B, M]) of a file, part by part."""
    if path.suffix.lower() != ".csv":
        array = _array(path)
        for first in range(0, len(array), ROWS):
            yield first, np.asarray(array[first : first + ROWS], "int64")
        return
    places, lines, first = _places(path), itertools.islice(_lines(path), 1, None), 0
    while part := list(itertools.islice(lines, ROWS)):
        yield first, np.array([_digits(path, first + k, row, places) for k, row in enumerate(part)], "int64")
        first += len(part)


def _digits(path: Path, number: int, row: list[str], places: list[int]) -> list[int]:
    try:
        found = [int(row[k]) for k in places]
    except (ValueError, IndexError):
        raise ValueError(
            f"{path}: identifier {number + 1} is {','.join(row)!r}, and has no whole number for each of the "
            f"{len(places)} digits."
        ) from None
    # Beyond what an index can be, in numbers that an array can hold.
    return [min(max(value, -1), 2**31) for value in found]


def _names(path: Path) -> np.ndarray | None:
    """The names of the files that the identifiers were of, if they stand there."""
    if path.suffix.lower() == ".npz":
        with np.load(path) as loaded:
            return loaded["names"] if "names" in loaded.files else None
    if path.suffix.lower() != ".csv" or "name" not in (header := next(_lines(path), [])):
        return None
    place = header.index("name")
    return np.array([row[place] for row in itertools.islice(_lines(path), 1, None)])
