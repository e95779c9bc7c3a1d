"""The model of a run, or of a file, and conditions for it as they are typed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from keras_vae import conditions, data
from keras_vae.models.vae import VAE
from keras_vae_cli.commands import run_data, run_folder
from keras_vae_cli.commands.build import read
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings


class Opened(NamedTuple):
    """A model to make something with.

    Attributes:
        run: its folder, or the file.
        vae: the model.
        settings: of the run; None of a file.
        console: where to write.
    """

    run: Path
    vae: VAE
    settings: Settings | None
    console: Console


def open_model(run: Path) -> Opened:
    """The best model of a run, finished or not, or of a .keras file. No data are read.

    Raises:
        ConfigError: if there is none, or it is damaged or another run's.
    """
    console = run_folder.make_console()
    if not run.is_dir():
        return Opened(run, run_folder.load_model(run), None, console)
    settings, vae = read(run), run_folder.load_model(run)
    names = run_data.trained_names(run)
    if names and vae.condition is not None and vae.condition.num_classes == len(names) and vae.condition.names is None:
        vae.name_classes(names)
    if not run_folder.read_report(run).get("finished"):
        console.print(f"{run} is not finished: this is its best model so far.")
    return Opened(run, vae, settings, console)


def typed_condition(vae: VAE, given: Sequence[str] | None) -> Any:
    """What was typed as --condition, checked: labels [K], numbers [size], an image [H, W, C]; None if nothing was.

    Raises:
        ConfigError: for a model without a condition, and for what is none of it.
    """
    condition = vae.condition
    if given is None:
        return None
    if condition is None:
        raise ConfigError("--condition: this model takes none: leave it out.")
    if not given:
        raise ConfigError(f"--condition takes a value, {condition}, and was given none.")
    try:
        if condition.num_classes is not None:
            values = _labels(condition, given)
        elif condition.schema is not None:
            values = condition.numbers(_by_names(condition, given))
        elif condition.is_image:
            values = _picture(condition, given)
        else:
            values = np.array([float(value) for value in given], "float32")
        conditions.given(condition, values, len(values) if condition.num_classes is not None else 1)
    except (ValueError, OSError) as error:
        raise ConfigError(f"--condition {' '.join(given)}: {error}") from None
    return values


def _labels(condition: Any, given: Sequence[str]) -> np.ndarray:
    names = condition.names or ()
    # Of a column of a table, sex=f is f.
    given = [value if value in names or "=" not in value else value.partition("=")[2] for value in given]
    values = [int(value) if value not in names and value.lstrip("-").isdecimal() else value for value in given]
    return np.asarray(condition.numbers(values), "int32")


def _by_names(condition: Any, given: Sequence[str]) -> dict[str, str]:
    """age=40 sex=f as a mapping."""
    bare = [value for value in given if "=" not in value]
    if bare:
        raise ValueError(f"give a value for each of the columns {condition.names_of_columns}, as NAME=VALUE")
    return {name: value for name, _, value in (one.partition("=") for one in given)}


def _picture(condition: Any, given: Sequence[str]) -> np.ndarray:
    if len(given) > 1:
        raise ValueError("give one picture")
    height, width, channels = condition.shape
    ((image,),) = (np.asarray(batch) for batch in data.load([given[0]], test_split=0, resize=(height, width)))
    return with_channels(image, channels)


def with_channels(images: Any, channels: int) -> np.ndarray:
    """Images [..., 1 or 3] as gray or as colour images; others as they are."""
    images = np.asarray(images, "float32")
    if images.shape[-1] == channels or images.shape[-1] not in (1, 3) or channels not in (1, 3):
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    return (images @ LUMA)[..., np.newaxis]


# ITU-R BT.601, as of the condition `gray`.
LUMA = np.array([0.299, 0.587, 0.114], "float32")
