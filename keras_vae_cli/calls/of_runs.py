"""`train`, and what is done with a run folder: `evaluate`, `plot`, `export`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from keras_vae_cli.calls.calling import hand_over, require_run, start
from keras_vae_cli.calls.parameters import ConfigName, Many, Place, Whole, Wholes
from keras_vae_cli.errors import ConfigError


def train(
    config: Annotated[str | None, ConfigName] = None,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True, negative="")] = None,
    run: Annotated[Path | None, Place] = None,
    data: Annotated[Path | None, Place] = None,
    accept_changes: bool = False,
    seeds: Annotated[list[int] | None, Wholes] = None,
    more: Annotated[int | None, Whole, Parameter(validator=validators.Number(gte=1))] = None,
) -> None:
    """Train a model. Without CONFIG it learns the handwritten digits that come with scikit-learn.

    The same command resumes a run that was interrupted.

    Example: `keras-vae train mnist --set train.epochs=5 --run my_run`, then `keras-vae train --more 5 --run my_run`

    Parameters
    ----------
    config
        A YAML file, or the name of a config of the package.
    set_
        Changes to the config: key=value, such as train.epochs=1 model.posterior=MultivariateNormalTriL.
    run
        The folder of the run. Default: runs/NAME of the config.
    data
        A folder of images, or an .npy, .npz or .csv file: instead of data.path, or of where the data of a run to resume
        were.
    accept_changes
        Resume a run although its settings or its data were others, and record the new ones.
    seeds
        Train one run for each of these seeds, such as 0 1 2, in RUN_seed_0 and so on, and compare them.
    more
        Train a finished run by so many more epochs, by its own settings: optimizer and schedules go on.
    """
    # Neither YAML nor the checks are needed to say how the command is used.
    from keras_vae_cli import settings

    overrides = list(set_ or [])
    if set_ is not None and not overrides:
        raise ConfigError("--set takes key=value such as train.epochs=1, and was given none.")
    # `--set a=1 my.yaml`: the option has swallowed the config that follows it.
    if config is None and overrides and "=" not in overrides[-1]:
        config = overrides.pop()
    _check_seeds(seeds)
    folder = run or Path("runs") / settings.find(config).stem
    folders = [folder] if seeds is None else [Path(f"{folder}_seed_{seed}") for seed in seeds]
    options: dict[str, Any] = {"accept_changes": accept_changes, "data_path": data}
    if more is not None:
        if overrides:
            raise ConfigError("--more trains a run by its own settings. With others: --set ... --accept-changes.")
        if config is not None and run is not None:
            raise ConfigError(f"--more trains {run} by its own settings: leave out {config}, which would not be read.")
        for place in folders:
            require_run(place)
        start()
        from keras_vae_cli.commands import longer, train

        checked = longer.continued(folders, more)
        options["more"] = True
    else:
        checked = [settings.load(config, [*overrides, *seed]) for seed in _of_seeds(seeds, overrides)]
        start()
        from keras_vae_cli.commands import longer, train
    if seeds is None:
        hand_over(train.train, checked[0], folder, **options)
    else:
        hand_over(longer.train_seeds, list(zip(checked, folders, strict=True)), **options)


def _check_seeds(seeds: list[int] | None) -> None:
    if seeds is not None and (not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0):
        raise ConfigError("--seeds takes different numbers of at least 0, such as --seeds 0 1 2.")


def _of_seeds(seeds: list[int] | None, overrides: list[str]) -> list[list[str]]:
    """What is set beside the overrides, for each run."""
    if seeds is None:
        return [[]]
    if any(override.startswith("train.seed=") for override in overrides):
        raise ConfigError("--seeds and --set train.seed=... both give the seed: leave out one.")
    return [[f"train.seed={seed}"] for seed in seeds]


def evaluate(
    run: Annotated[Path, Place],
    /,
    *,
    num_samples: Annotated[int, Whole] = 5000,
    seed: Annotated[int, Whole] = 0,
    limit: Annotated[int | None, Whole, Parameter(validator=validators.Number(gte=1))] = None,
    annealed: Annotated[bool, Parameter(negative="")] = False,
    refine_steps: Annotated[int, Whole, Parameter(validator=validators.Number(gte=0))] = 0,
    samples: Annotated[int | None, Whole, Parameter(validator=validators.Number(gte=8))] = None,
    features: Annotated[Path | None, Place] = None,
    data: Annotated[Path | None, Place] = None,
    accept_changes: bool = False,
) -> None:
    """Report the likelihood of the test data and diagnose the model of a finished run.

    Example: `keras-vae evaluate runs/digits`

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
    samples
        Also compare so many samples with the test data: KID, FID, precision and recall, with their errors.
    features
        A .keras file with the network in whose features that is done, such as that of another run; without it one is
        trained on the training images, in half a minute, and kept as RUN/features.keras.
    data
        Where the data are, if they have moved since the run was trained.
    accept_changes
        Go on although the data are not those that the run was trained on.
    """
    require_run(run)
    start()
    from keras_vae_cli.commands import run_folder

    options: dict[str, Any] = {"num_samples": num_samples, "seed": seed, "limit": limit, "annealed": annealed}
    options.update(refine_steps=refine_steps, samples=samples, features=features)
    hand_over(run_folder.evaluate, run, **options, data_path=data, accept_changes=accept_changes)


def plot(
    run: Annotated[Path, Place], /, *, data: Annotated[Path | None, Place] = None, accept_changes: bool = False
) -> None:
    """Draw the pictures of a finished run anew.

    Example: `keras-vae plot runs/digits`

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
    start()
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

    Example: `keras-vae export runs/digits --format tflite --quantize int8`

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
        Where the data are, if they have moved since the run was trained. Only the encoder in int8 needs them.
    accept_changes
        Go on although those data are not the ones that the run was trained on.
    """
    require_run(run)
    start()
    from keras_vae_cli.commands import run_folder

    options: dict[str, Any] = {"formats": format_, "quantizations": quantize, "version": version}
    hand_over(run_folder.export, run, **options, data_path=data, accept_changes=accept_changes)
