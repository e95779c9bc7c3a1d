"""`keras-vae reconstruct`: examples, seen by the model. In Python: `vae.reconstruct(data.load(PATH, test_split=0))`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import files, pictures
from keras_vae_cli.commands.products.gathered import gathered
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
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

# Examples in one picture.
SHOWN = 32


def reconstruct(
    run: Path, paths: Sequence[str], output: Path, condition: Sequence[str] | None = None, force: bool = False
) -> None:
    """Write the means of p(x|z), z the point of q(z|x): to a folder, to a picture of some, or to a file of arrays.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a folder, or a file that ends in .png, .npz, .npy or .csv.
        condition: as it was typed.
        force: whether what such a command wrote gives way.

    Raises:
        ConfigError: for data, or a condition, that the model cannot take, and a folder that holds anything else.
    """
    suffix = output.suffix.lower()
    if suffix:
        files.check_folder(output.parent)
    else:
        check_folder(output, force)
    opened = open_model(run)
    check_images(opened, suffix)
    vae, console = opened.vae, opened.console
    given = read_given(opened, paths, condition)
    if suffix == ".png":
        x, c = next(given.batches(SHOWN))
        write_picture(output, pictures.reconstructions(vae, x if c is None else (x, c), n=SHOWN), force)
        console.print(f"{output}: {len(x)} of {given.source}, and what the model makes of each.")
        return
    with gathered(len(given), output.parent) as found:
        with counted(console, "reconstructing", len(given)) as move:
            for x, c in given.batches():
                found.add(made=vae.reconstruct(x, c))
                move(len(x))
        made = found["made"]
        if suffix and write_rows(opened, output, made, force):
            pass
        elif suffix:
            names = None if given.names is None else np.array(given.names)
            write_arrays(output, {main_name(opened): made, "names": names}, force)
        else:
            write_folder(opened, made, output, force, given.names)
    console.print(f"{len(given):,} reconstructions in {output}, of {given.source}.")
