"""`keras-vae impute`: what may stand where values are missing. In Python: `vae.impute(x)`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files, pictures, seeds
from keras_vae.data.readers import tables
from keras_vae_cli.commands.products.gathered import gathered
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import (
    main_name,
    write_arrays,
    write_picture,
    write_rows,
    write_table,
)
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError

# Examples in one picture.
SHOWN = 8


def impute(
    run: Path,
    paths: Sequence[str],
    output: Path,
    n: int,
    seed: int = 0,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Write draws of what is missing, and their mean: to a file of arrays, or some to a picture. A table stays as it is
    but for its gaps.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a file that ends in .npz, .npy, .csv or .png.
        n: number of draws for each example.
        seed: of the draws.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for a model that knows of no missing values, and data or a condition that it cannot take.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    if not vae.missing:
        raise ConfigError(
            f"The model of {run} knows of no missing values: train one with --set data.missing=true on data in which "
            "NaN, or an empty cell of a table, stands for them."
        )
    given = read_given(opened, paths, condition)
    if output.suffix.lower() == ".png":
        x, c = next(given.batches(SHOWN))
        write_picture(output, pictures.imputations(vae, x if c is None else (x, c), n=SHOWN, seed=seed), force)
        console.print(f"{output}: {len(x)} of {given.source}, and what the model puts where values are missing.")
        return
    gaps, names = 0, None if given.names is None else np.array(given.names)
    is_scaled = opened.settings is not None and opened.settings.data.value_range is not None
    with gathered(len(given), output.parent) as found:
        with counted(console, "imputing", len(given)) as move:
            for number, (x, c) in enumerate(given.batches()):
                # Those of the first are `vae.impute(x, n, seed=seed)`.
                stream = seeds.fold_in(seed, number) if number else seed
                drawn = vae.impute(x, n, seed=stream, condition=c)
                # Those of one example side by side, as all arrays of a file have a row for each.
                several = np.swapaxes(drawn, 0, 1) if output.suffix.lower() == ".npz" else None
                found.add(mean=_summarized(vae.decoder.likelihood, drawn), several=several)
                gaps += int(np.isnan(x).sum())
                move(len(x))
        mean = found["mean"]
        if write_rows(opened, output, mean, force):
            pass
        elif (
            output.suffix.lower() == ".csv"
            and not is_scaled
            and [Path(path).suffix.lower() for path in paths] == [".csv"]
        ):
            # The user's own table: its columns keep their names, and what is there the way in which it is written.
            write_table(output, *tables.fill_gaps(Path(paths[0]).expanduser(), np.asarray(mean)), force=force)
        else:
            write_arrays(output, {main_name(opened): mean, "imputations": found.get("several"), "names": names}, force)
    console.print(f"{output}: {len(given):,} of {given.source}, {gaps:,} missing values as means of {n} draws.")


def _summarized(likelihood: Any, drawn: np.ndarray) -> np.ndarray:
    """The means of numbers, and of categories, [B, ...], the value that was drawn most often."""
    # In 64 bits, where the mean of equal numbers is that number.
    made = drawn.mean(axis=0, dtype="float64").astype("float32")
    if likelihood.schema is None:
        return made
    for at, field in enumerate(likelihood.fields):
        if field.kind == "category":
            counts = np.stack([(drawn[:, :, at] == k).sum(axis=0) for k in range(len(field.values))])
            made[:, at] = counts.argmax(axis=0)
    return made
