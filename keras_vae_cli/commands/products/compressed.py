"""`keras-vae compress` and `decompress`. In Python: `compression.compress(vae, images).content`."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import compression, files
from keras_vae.compression.stack import coder
from keras_vae.evaluation.statistics import latent_statistics
from keras_vae_cli.commands.products.given import described, read_given
from keras_vae_cli.commands.products.opened import open_model
from keras_vae_cli.commands.products.written import (
    check_folder,
    check_free,
    check_images,
    main_name,
    write_arrays,
    write_folder,
    write_rows,
)
from keras_vae_cli.commands.progress import counted
from keras_vae_cli.errors import ConfigError


def compress(
    run: Path,
    paths: Sequence[str],
    output: Path,
    condition: Sequence[str] | None = None,
    refine_steps: int = 0,
    force: bool = False,
) -> None:
    """Write examples to one file of about minus their ELBO in bits, decode it and compare, and say what it takes.

    Args:
        run: folder or .keras file.
        paths: of the data, as they were typed; none for the test examples of the run.
        output: the file.
        condition: as it was typed.
        refine_steps: of the fit of a posterior to each example.
        force: whether a file that is there gives way.

    Raises:
        ConfigError: for data, or a condition, that the model cannot take, and without the package `constriction`.
        ValueError: for a model that has no code.
    """
    _check_coder()
    files.check_folder(output.parent)
    opened = open_model(run)
    vae, console = opened.vae, opened.console
    compression.check_codable(vae, refine_steps)
    given = read_given(opened, paths, condition)
    parts = list(given.batches())
    x = np.concatenate([part for part, _ in parts])
    c = None if vae.condition is None else np.concatenate([np.asarray(one) for _, one in parts])
    with counted(console, "compressing, then decoding", 2 * len(x)) as move:
        made = compression.compress(vae, x, c, given.names, refine_steps, progress=move)
    with files.whole_file(output) as temporary:
        temporary.write_bytes(made.content)
        check_free(output, force)
    console.print(
        f"{output}: {len(x):,} of {given.source} in {len(made.content):,} bytes, decoded again and found the same."
    )
    if paths:
        console.print(
            f"It holds them as the model sees them: {described(given.event_shape)} on {vae.decoder.likelihood.levels} "
            "levels. What was of another size, or finer, is not in it as it was: keep the originals."
        )
    console.print(f"The code of the examples: {made.bits_per_dim:.4f} bits/dim, {_said(made)}.")
    elbo = latent_statistics(vae, x if c is None else (x, c)).elbo
    console.print(f"Their ELBO: {_compared(elbo, made)}.")
    if made.refined_elbo is not None:
        console.print(f"With posteriors fitted in {refine_steps} steps: {_compared(made.refined_elbo, made)}.")


def _check_coder() -> None:
    try:
        coder()
    except ImportError as error:
        raise ConfigError(str(error)) from None


def _compared(elbo: float, made: compression.Compressed) -> str:
    bound = -elbo * made.num_examples / (math.log(2) * made.num_values)
    return f"{elbo:.2f} nats each, {bound:.4f} bits/dim, of which the file is {made.bits_per_dim / bound - 1:+.2%}"


def _said(made: compression.Compressed) -> str:
    sizes = made.sizes
    beside = [f"{sizes[name]:,} bytes of {name}" for name in ("conditions", "names") if sizes[name]]
    with_header = f"with {sizes['header']:,} bytes of header and {made.initial_bits // 8:,} to begin with"
    return f"{with_header}, and beside it {' and '.join(beside)}" if beside else with_header


def decompress(run: Path, source: Path, output: Path, force: bool = False) -> None:
    """Write the examples of a file of `compress`, bit for bit.

    Args:
        run: folder or .keras file of the model that it was compressed with.
        source: the file.
        output: a folder, or a file that ends in .npz, .npy or .csv.
        force: whether what such a command wrote gives way.

    Raises:
        ConfigError: for a folder that holds anything else, and without the package `constriction`.
        ValueError: for a file that does not decode.
    """
    _check_coder()
    suffix = output.suffix.lower()
    if suffix:
        files.check_folder(output.parent)
    else:
        check_folder(output, force)
    files.check_file(source)
    if not source.is_file():
        raise ConfigError(f"There is no file {str(source)!r}.")
    content = source.read_bytes()
    # What is damaged is refused before a model is loaded.
    compression.read(content).compute_alike()
    opened = open_model(run)
    check_images(opened, suffix)
    with counted(opened.console, "decoding") as move:
        found = compression.decompress(opened.vae, content, move)
    if not suffix:
        write_folder(opened, found.x, output, force, found.names)
    elif not write_rows(opened, output, found.x, force):
        label = opened.vae.condition is not None and opened.vae.condition.num_classes is not None
        names = None if found.names is None else np.array(found.names)
        arrays = {main_name(opened): found.x, "names": names, "labels": found.condition if label else None}
        write_arrays(output, arrays, force)
    opened.console.print(f"{len(found.x):,} examples in {output}, bit for bit those that were compressed.")
