"""Files by codes: identifiers of examples, `ids`, and back, `decode`; all in few bytes, `compress` and `decompress`."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from keras_vae_cli.calls.calling import hand_over, require_model, start
from keras_vae_cli.calls.of_models import ARRAYS, Condition
from keras_vae_cli.calls.parameters import Data, Flag, Output, Place, Whole, check_output
from keras_vae_cli.errors import ConfigError


def ids(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    distinct: Annotated[bool, Flag] = False,
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write an identifier of a few digits for each example: the indices of its codes, the first of which says most.

    Example: `keras-vae ids runs/semantic_ids embeddings.npy -o ids.csv --distinct`

    Parameters
    ----------
    run
        The folder of a run whose posterior has codes, such as one of the config semantic_ids, or a .keras file.
    data
        An .npy, .npz or .csv file, a folder of images, or image files. Default: the test examples of the run.
    output
        .csv with a row for each example; .npz with the arrays ids and names; .npy with the digits alone.
    distinct
        Add a last digit by which no two examples have the same.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, ARRAYS[:3])
    start()
    from keras_vae_cli.commands.products import identifiers

    hand_over(identifiers.ids, run, data or [], output, distinct=distinct, condition=condition, force=force)


def decode(
    run: Annotated[Path, Place],
    file: Annotated[Path, Place],
    /,
    *,
    output: Annotated[Path, Output],
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write what the decoder makes of each identifier in a file of `ids`: vectors, images or rows, the mean of p(x|z).

    Example: `keras-vae decode runs/semantic_ids ids.csv -o vectors.npy`

    Parameters
    ----------
    run
        The folder, or the .keras file, of the model that the identifiers are of.
    file
        The .csv, .npz or .npy file, with or without the last digit of --distinct.
    output
        .npy with the examples alone; .npz with their names, too; .csv with a row for each.
    condition
        Of a conditional model: what all of them are.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, ARRAYS[:3])
    if not file.is_file():
        raise ConfigError(f"There is no file {str(file)!r}.")
    if file.suffix.lower() not in ARRAYS[:3]:
        raise ConfigError(f"{file} is no file of keras-vae ids, which ends in {', '.join(ARRAYS[:3])}.")
    start()
    from keras_vae_cli.commands.products import identifiers

    hand_over(identifiers.decode, run, file, output, condition=condition, force=force)


def compress(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    refine_steps: Annotated[int, Whole, Parameter(validator=validators.Number(gte=0))] = 0,
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write examples to one file, losslessly, that is about as large as the ELBO of the model says.

    Example: `keras-vae compress runs/mnist -o test.kvae`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file. It takes the same to decompress.
    data
        A folder of images, image files, or an .npy, .npz or .csv file. Default: the test examples of the run.
    output
        The file. It is decoded and compared before it is written.
    refine_steps
        Fit the posterior of each example in so many steps, for a smaller file: 100 are minutes of coding, and of
        decoding, for 10,000 small images.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data, which are
        kept in the file.
    force
        Replace a file that is there.
    """
    require_model(run)
    _check_file(output, force)
    _compute_alike()
    start()
    from keras_vae_cli.commands.products import compressed

    options = {"condition": condition, "refine_steps": refine_steps, "force": force}
    hand_over(compressed.compress, run, data or [], output, **options)


def decompress(
    run: Annotated[Path, Place],
    file: Annotated[Path, Place],
    /,
    *,
    output: Annotated[Path, Output],
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write the examples of a file of `compress`, bit for bit as they were.

    Example: `keras-vae decompress runs/mnist test.kvae -o test_images`

    Parameters
    ----------
    run
        The folder, or the .keras file, of the model that the file was compressed with.
    file
        The file.
    output
        A folder, for PNG files with the names of the data; or .npz, .npy, .csv.
    force
        Replace what this command has written there before.
    """
    require_model(run)
    check_output(output, force, ARRAYS, "a PNG file for each example")
    if not file.is_file():
        raise ConfigError(f"There is no file {str(file)!r}.")
    _compute_alike()
    start()
    from keras_vae_cli.commands.products import compressed

    hand_over(compressed.decompress, run, file, output, force=force)


def _check_file(output: Path, force: bool) -> None:
    if output.is_dir():
        raise ConfigError(f"{output} is a folder: give the name of a file, such as {output / 'images.kvae'}.")
    check_output(output, force, (output.suffix.lower(),))


def _compute_alike() -> None:
    """On one thread of the processor, which gives the same numbers however many there are; where nothing has begun."""
    if "tensorflow" not in sys.modules:
        os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
