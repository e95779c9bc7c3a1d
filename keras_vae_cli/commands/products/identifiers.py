"""`keras-vae ids`: codes as identifiers. In Python: `evaluation.semantic_ids(vae, data)`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import files
from keras_vae.evaluation.identifiers.tuples import SemanticIDs, codes_of, digits
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import write_arrays
from keras_vae_cli.commands.progress import counted


def ids(
    run: Path,
    paths: Sequence[str],
    output: Path,
    distinct: bool = False,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write the digits of each example's identifier, in the order of the data, with the names of the files.

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
    num_codes = codes_of(vae)
    given = read_given(opened, paths, condition)
    parts: list[np.ndarray] = []
    with counted(console, "encoding", len(given)) as move:
        for x, c in given.batches():
            parts.append(digits(vae, x, c))
            move(len(x))
    found = SemanticIDs(np.concatenate(parts), num_codes)
    table = found.distinct() if distinct else found.digits
    names = None if given.names is None else np.array(given.names)
    columns = {f"digit_{k + 1}": column for k, column in enumerate(table.T)}
    if output.suffix.lower() == ".csv":
        write_arrays(output, {"names": names, **columns}, force)
    else:
        write_arrays(output, {"ids": table, "names": names}, force)
    console.print(f"{output}: identifiers of {len(given):,} of {given.source}.\n{found}")
    if distinct:
        console.print(f"The last digit tells those with the same others apart: it is {table[:, -1].max()} at most.")
