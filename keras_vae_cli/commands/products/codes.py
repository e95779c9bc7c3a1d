"""`keras-vae encode`: codes of examples. In Python: `vae.encode(data.load(PATH, test_split=0)).mean()`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae import files, seeds
from keras_vae_cli.commands.products.gathered import gathered
from keras_vae_cli.commands.products.given import read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import write_arrays
from keras_vae_cli.commands.progress import counted

# By which the deviation of a code is estimated, where its distribution knows none.
DRAWS = 256


def encode(
    run: Path, paths: Sequence[str], output: Path, condition: Sequence[str] | None = None, force: bool = False
) -> None:
    """Write means and deviations of q(z|x), with the names of the files and, of a codebook, the indices.

    The mean is the point of the posterior, which stands for the example where a distribution has no mean. Of a
    hierarchy it is the top level.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: a file that ends in .npz, .npy or .csv.
        condition: as it was typed.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for data, or a condition, that the model cannot take.
    """
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    given = read_given(opened, paths, condition)
    names = None if given.names is None else np.array(given.names)
    is_estimated = False
    with gathered(len(given), output.parent) as found:
        with counted(console, "encoding", len(given)) as move:
            # Codes of some models are looked for in all examples together.
            for x, c in given.batches(len(given) if vae.encodes_as_a_whole else None):
                q = vae.encode(x, c)
                deviation, is_estimated = _deviation(q)
                found.add(
                    means=vae.encoder.posterior.point(q), deviations=deviation, indices=getattr(q, "indices", None)
                )
                move(len(x))
        size = found["means"].shape[1]
        arrays = {"names": names, "deviations": found["deviations"], "indices": found.get("indices")}
        write_arrays(output, {"means": found["means"], **arrays}, force)
    if is_estimated:
        console.print(f"The deviations are those of {DRAWS} draws: {type(vae.encoder.posterior).__name__} knows none.")
    console.print(f"{len(given):,} codes of {size} dimensions in {output}, of {given.source}.")


def _deviation(q: Any) -> tuple[np.ndarray, bool]:
    """The standard deviation of each dimension, and whether it had to be estimated."""
    try:
        return np.asarray(q.stddev()), False
    except NotImplementedError:
        return np.std(q.sample(DRAWS, seed=seeds.as_pair(0)), axis=0), True
