"""`keras-vae interpolate`: the way between two pictures. In Python: `pictures.interpolations(vae, both, n=1)`."""

from collections.abc import Sequence
from pathlib import Path

from keras_vae import files, pictures
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import write_picture


def interpolate(
    run: Path,
    paths: Sequence[str],
    output: Path,
    steps: int = 9,
    condition: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Draw two pictures, and what lies on the straight line between their codes.

    Args:
        run: folder or .keras file.
        paths: of the two pictures, as they were typed.
        output: a .png file.
        steps: number of points on the line, both ends included.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for pictures, or a condition, that the model cannot take.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    given = read_given(opened, paths, condition)
    ((x, c),) = given.batches(len(given))
    write_picture(output, pictures.interpolations(opened.vae, x if c is None else (x, c), n=1, steps=steps), force)
    given_by = opened.vae.condition
    if c is not None and given_by is not None and given_by.num_classes is not None and c[0] != c[1]:
        opened.console.print("The two are of different classes: all between them is drawn as of that of the first.")
    opened.console.print(f"From {paths[0]} to {paths[1]} in {steps} steps, in {output}.")
