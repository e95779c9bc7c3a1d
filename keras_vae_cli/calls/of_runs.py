"""`train`, and what is done with a run folder: `evaluate`, `plot`, `export`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from keras_vae_cli.calls.calling import hand_over, quiet_start, require_run
from keras_vae_cli.calls.parameters import Many, Place, Whole
from keras_vae_cli.errors import ConfigError


def train(
    config: str | None = None,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True, negative="")] = None,
    run: Annotated[Path | None, Place] = None,
    data: Annotated[Path | None, Place] = None,
    accept_changes: bool = False,
) -> None:
    """Train a model. Without CONFIG it learns the handwritten digits that come with scikit-learn.

    The same command resumes a run that was interrupted.

    Parameters
    ----------
    config
        A YAML file, or the name of a config of the package.
    set_
        Changes to the config: key=value, such as train.epochs=1 model.posterior=MultivariateNormalTriL.
    run
        The folder of the run. Default: runs/NAME of the config.
    data
        A folder of images, or an .npy or .npz file: instead of data.path, or of where the data of a run to resume were.
    accept_changes
        Resume a run although its settings or its data were others, and record the new ones.
    """
    # Neither YAML nor the checks are needed to say how the command is used.
    from keras_vae_cli import settings

    overrides = list(set_ or [])
    if set_ is not None and not overrides:
        raise ConfigError("--set takes key=value such as train.epochs=1, and was given none.")
    # `--set a=1 my.yaml`: the option has swallowed the config that follows it.
    if config is None and overrides and "=" not in overrides[-1]:
        config = overrides.pop()
    checked = settings.load(config, overrides)
    folder = run or Path("runs") / settings.find(config).stem
    with quiet_start():
        from keras_vae_cli.commands import train as command

    hand_over(command.train, checked, folder, accept_changes=accept_changes, data_path=data)


def evaluate(
    run: Annotated[Path, Place],
    /,
    *,
    num_samples: Annotated[int, Whole] = 5000,
    seed: Annotated[int, Whole] = 0,
    limit: Annotated[int | None, Whole, Parameter(validator=validators.Number(gte=1))] = None,
    annealed: Annotated[bool, Parameter(negative="")] = False,
    refine_steps: Annotated[int, Whole, Parameter(validator=validators.Number(gte=0))] = 0,
    data: Annotated[Path | None, Place] = None,
    accept_changes: bool = False,
) -> None:
    """Report the likelihood of the test data and diagnose the model of a finished run.

    Parameters
    ----------
    run
        The folder of a run.
    num_samples
        Draws for each image of the importance-weighted log-likelihood.
    seed
        Of the draws.
    limit
        Use only so many of the test images.
    annealed
        Also estimate by annealed importance sampling, on 64 images: an independent check that takes minutes.
    refine_steps
        Fit the proposals of the importance samples to each image by so many steps, such as 300.
    data
        Where the data are, if they have moved since the run was trained.
    accept_changes
        Go on although the data are not those that the run was trained on.
    """
    require_run(run)
    with quiet_start():
        from keras_vae_cli.commands import run_folder

    options = {"num_samples": num_samples, "seed": seed, "limit": limit, "annealed": annealed}
    options["refine_steps"] = refine_steps
    hand_over(run_folder.evaluate, run, **options, data_path=data, accept_changes=accept_changes)


def plot(
    run: Annotated[Path, Place], /, *, data: Annotated[Path | None, Place] = None, accept_changes: bool = False
) -> None:
    """Draw the pictures of a finished run anew.

    Parameters
    ----------
    run
        The folder of a run.
    data
        Where the data are, if they have moved since the run was trained.
    accept_changes
        Go on although the data are not those that the run was trained on.
    """
    require_run(run)
    with quiet_start():
        from keras_vae_cli.commands import run_folder

    hand_over(run_folder.plot, run, data_path=data, accept_changes=accept_changes)


def export(
    run: Annotated[Path, Place],
    /,
    *,
    format_: Annotated[
        list[Literal["saved_model", "tflite"]] | None, Parameter(name="--format", consume_multiple=True, negative="")
    ] = None,
    quantize: Annotated[list[Literal["none", "float16", "dynamic", "int8"]] | None, Many] = None,
    version: Annotated[int | None, Whole] = None,
    data: Annotated[Path | None, Place] = None,
    accept_changes: bool = False,
) -> None:
    """Export the model of a run for TensorFlow Serving and for devices, and prove that the files work.

    Parameters
    ----------
    run
        The folder of a run.
    format_
        What to write. Default: both.
    quantize
        Kinds of .tflite files to write. Default: none, that is float32.
    version
        Of the SavedModel, from 1 to 2^63 - 1. Default: one more than the highest there is.
    data
        Where the data are, if they have moved since the run was trained. An export needs none: they are only checked.
    accept_changes
        Go on although those data are not the ones that the run was trained on.
    """
    require_run(run)
    with quiet_start():
        from keras_vae_cli.commands import run_folder

    options: dict[str, Any] = {"formats": format_, "quantizations": quantize, "version": version}
    hand_over(run_folder.export, run, **options, data_path=data, accept_changes=accept_changes)
