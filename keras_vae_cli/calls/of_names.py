"""What is shown: `configs`, `parts`, `info`, `compare`. None of it needs TensorFlow."""

from pathlib import Path
from typing import Annotated

import cyclopts

from keras_vae_cli.calls.calling import require_run
from keras_vae_cli.calls.parameters import ConfigName, PartName, Place, Places
from keras_vae_cli.errors import ConfigError


def make_configs(group: cyclopts.Group) -> cyclopts.App:
    """`configs`, and `configs show`, to stand in a group of commands."""
    configs = cyclopts.App(name="configs", version_flags=[], group=group)
    configs.default(list_configs)
    configs.command(show)
    return configs


def list_configs(name: Annotated[str | None, ConfigName] = None, /) -> None:
    """List the configs that come with the package, or show one.

    Example: `keras-vae configs`, then `keras-vae configs show mnist`, and `keras-vae train mnist`

    Parameters
    ----------
    name
        Of the config to show. Default: all of them, a line each.
    """
    from keras_vae_cli.looks import configs as looks

    print(looks.listed() if name is None else looks.text(name))


def show(name: Annotated[str, ConfigName], /) -> None:
    """Print a config, to change a copy of it.

    Example: `keras-vae configs show mnist > mine.yaml`, then `keras-vae train mine.yaml`

    Parameters
    ----------
    name
        Of the config.
    """
    from keras_vae_cli.looks import configs as looks

    print(looks.text(name))


def parts(name: Annotated[str | None, PartName] = None, /) -> None:
    """List the parts of which models are made, with their arguments.

    Example: `keras-vae parts prior`, `keras-vae parts RealNVP`

    Parameters
    ----------
    name
        A kind, or a part, for all that there is to say of it. Default: all parts, a line each.
    """
    from keras_vae_cli.looks import parts as looks

    print(looks.listed(name))


def info(run: Annotated[Path | None, Place] = None, /, *, bug: bool = False) -> None:
    """Say what a run is: its parts and shapes, what it has reached, what was exported.

    Example: `keras-vae info runs/digits`

    Parameters
    ----------
    run
        The folder of a run.
    bug
        For the report of a fault: versions, machine and, if a run is given, its config, without the names of your
        folders.
    """
    from keras_vae_cli.looks import bug as bugs
    from keras_vae_cli.looks import info as looks

    if run is not None:
        require_run(run)
    elif not bug:
        raise ConfigError("Of which run? keras-vae info RUN. For the report of a fault: keras-vae info --bug")
    if bug:
        print(bugs.report(run))
    elif run is not None:
        print(looks.described(run))


def compare(runs: Annotated[list[Path], Places], /) -> None:
    """Set runs side by side. Those that differ in their seed alone are one row, with standard errors.

    Example: `keras-vae compare runs/digits_seed_*`, after `keras-vae train --seeds 0 1 2`

    Parameters
    ----------
    runs
        Folders of finished runs.
    """
    from keras_vae_cli.looks import compare as looks

    for run in runs:
        require_run(run)
    print(looks.shown(looks.summary(runs)))
