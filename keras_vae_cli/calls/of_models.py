"""What is made with the model of a run: `sample`, `encode`, `reconstruct`, `interpolate`, `explore` and more."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from keras_vae_cli.calls.calling import hand_over, require_model, start
from keras_vae_cli.calls.parameters import Data, Flag, Many, Output, Picture, Place, Whole, check_output
from keras_vae_cli.errors import ConfigError

ARRAYS = (".npz", ".npy", ".csv", ".parquet")
Positive = Parameter(validator=validators.Number(gte=1))
Condition = Parameter(name="--condition", consume_multiple=True, negative="")


def sample(
    run: Annotated[Path, Place],
    /,
    *,
    n: Annotated[int, Whole, Positive, Parameter(name="-n")] = 64,
    output: Annotated[Path, Output],
    condition: Annotated[list[str] | None, Condition] = None,
    seed: Annotated[int, Whole] = 0,
    noise: Annotated[bool, Flag] = False,
    temperature: float = 1.0,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Draw new examples from the model of a run, as image files or in one file.

    Example: `keras-vae sample runs/digits -n 5000 -o new_digits`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    n
        How many. The same number and seed give the same examples.
    output
        A folder, for a PNG file each; samples.png, one picture of all; or .npz, .npy, .csv.
    condition
        Of a conditional model: a class by name or number, numbers, or a picture. Without it classes take turns,
        and of several classes each has a folder of its own.
    seed
        Of the draws.
    noise
        Draw from p(x|z), with the decoder's own noise, instead of taking its mean.
    temperature
        Below 1 the samples are less varied, and more typical.
    force
        Replace what this command has written there before.
    """
    require_model(run)
    check_output(output, force, (*ARRAYS, ".png"), "a PNG file for each sample")
    if temperature < 0:
        raise ConfigError(f"--temperature must be at least 0, not {temperature}.")
    start()
    from keras_vae_cli.commands.products import samples

    options = {"noise": noise, "temperature": temperature, "force": force}
    hand_over(samples.sample, run, output, n, condition=condition, seed=seed, **options)


def encode(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write the codes of examples: means and deviations of q(z|x), with the names of the files.

    Example: `keras-vae encode runs/digits my_pictures -o codes.npz`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    data
        A folder of images, image files, or an .npy, .npz or .csv file. Default: the test examples of the run.
    output
        .npz with the arrays names, means and deviations; .csv with a row for each example; .npy with the means alone.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, ARRAYS)
    start()
    from keras_vae_cli.commands.products import codes

    hand_over(codes.encode, run, data or [], output, condition=condition, force=force)


def reconstruct(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write what the model makes of examples: means of p(x|z), z the mean of q(z|x).

    Example: `keras-vae reconstruct runs/digits my_pictures -o reconstructed`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    data
        A folder of images, image files, or an .npy, .npz or .csv file. Default: the test examples of the run.
    output
        A folder, for PNG files with the names of the data; some.png, the first 32 above what became of them; or .npz,
        .npy, .csv.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data.
    force
        Replace what this command has written there before.
    """
    require_model(run)
    check_output(output, force, (*ARRAYS, ".png"), "a PNG file for each example")
    start()
    from keras_vae_cli.commands.products import reconstructions

    hand_over(reconstructions.reconstruct, run, data or [], output, condition=condition, force=force)


def impute(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    n: Annotated[int, Whole, Positive, Parameter(name="-n")] = 20,
    condition: Annotated[list[str] | None, Condition] = None,
    seed: Annotated[int, Whole] = 0,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Draw what may stand where values are missing, of a model that was trained with data.missing.

    Example: `keras-vae impute runs/table table.csv -o filled.csv`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    data
        An .npy, .npz or .csv file with NaN, or empty cells, where values are missing. Default: the test examples of the
        run.
    output
        .csv or .npy, the examples with means of the draws; .npz, these and all draws; .png, some as pictures.
    n
        Draws for each example.
    condition
        Of a conditional model: what all of the data are. Default: the labels of the data.
    seed
        Of the draws.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, (*ARRAYS, ".png"))
    start()
    from keras_vae_cli.commands.products import imputations

    hand_over(imputations.impute, run, data or [], output, n, seed=seed, condition=condition, force=force)


def interpolate(
    run: Annotated[Path, Place],
    first: Annotated[str, Picture],
    second: Annotated[str, Picture],
    /,
    *,
    output: Annotated[Path, Output],
    steps: Annotated[int, Whole, Parameter(validator=validators.Number(gte=2))] = 9,
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Draw the way from one picture to another through the latent space.

    Example: `keras-vae interpolate runs/digits a.png b.png -o between.png`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    first
        An image file.
    second
        Another one.
    output
        A .png file: both pictures, and what lies between their codes.
    steps
        Pictures from one code to the other, both included.
    condition
        Of a conditional model: what both are. Default: the class folder of the first.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, (".png",))
    start()
    from keras_vae_cli.commands.products import interpolation

    hand_over(interpolation.interpolate, run, [first, second], output, steps=steps, condition=condition, force=force)


def score(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path, Output],
    kind: Literal["elbo", "log_prob", "reconstruction", "kl", "typicality", "complexity", "regret"] | None = None,
    samples: Annotated[int, Whole, Positive] = 16,
    seed: Annotated[int, Whole] = 0,
    quantile: float = 0.01,
    normal: Annotated[list[str] | None, Many] = None,
    labels: str | None = None,
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Say of each example how normal it is to the model of a run: its score, and how many held-out ones score lower.

    Example: `keras-vae score runs/digits my_pictures -o scores.csv`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    data
        A folder of images, image files, or an .npy, .npz or .csv file. Default: the test examples of the run.
    output
        .csv with a row for each example: name, score, rank (the share of held-out examples that score lower) and normal
        (1 or 0); .npz, the same as arrays; .npy, the scores alone; .png, a picture of them with the lowest.
    kind
        What is asked of an example. Default: elbo, and of a plain autoencoder reconstruction. Likelihoods (elbo,
        log_prob, reconstruction) call what is simpler than the normal data normal, such as a blank picture: against
        that, complexity (of pictures) or typicality. regret fits a posterior to each example, which takes some hundred
        times as long. The page on anomalies says which is for what.
    samples
        Draws for each example.
    seed
        Of the draws.
    quantile
        Share of held-out examples that would not be called normal.
    normal
        Where the data have labels or class folders: the classes that are normal. How well the scores tell all others
        from them is printed, as AUROC and AUPRC with 95% intervals.
    labels
        Where they are, if not beside the data: the column of a .csv or the array of an .npz file of the data, or a
        file (.csv with a column label or a single one, .npy, .npz, or .txt with a line each) in the order of the data.
        Without --normal, 0, normal, false and no are normal, and 1, anomaly, anomalous, abnormal, true and yes are not.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data.
    force
        Replace a file that is there.
    """
    require_model(run)
    check_output(output, force, (*ARRAYS, ".png"))
    if not 0 <= quantile <= 1:
        raise ConfigError(f"--quantile is a share from 0 to 1, not {quantile}.")
    if normal is not None and not normal:
        raise ConfigError("--normal takes names of classes, such as --normal good, and was given none.")
    start()
    from keras_vae_cli.commands.judgements import scores

    options = {"quantile": quantile, "normal": normal, "labels": labels, "condition": condition, "force": force}
    hand_over(scores.score, run, data or [], output, kind, samples, seed, **options)


def explore(
    run: Annotated[Path, Place],
    data: Annotated[list[str] | None, Data] = None,
    /,
    *,
    output: Annotated[Path | None, Output] = None,
    precision: Literal["float32", "float16", "int8"] = "float32",
    condition: Annotated[list[str] | None, Condition] = None,
    force: Annotated[bool, Flag] = False,
) -> None:
    """Write a page to play with: one HTML file in which the decoder runs, without a server and without a network.

    Example: `keras-vae explore runs/digits -o digits.html --precision float16`

    Parameters
    ----------
    run
        The folder of a run, or a .keras file.
    data
        Pictures whose posteriors are shown: a folder of images, image files, or an .npy or .npz file. Default: the test
        examples of the run.
    output
        An .html file. Default: explore.html in the run, which is written anew.
    precision
        Of the weights in the page. Smaller ones leave room for the encoder, so that own pictures can be encoded.
    condition
        Of a conditional model: what all of the data are. Default: the class folders or labels of the data.
    force
        Replace a file that is there.
    """
    require_model(run)
    if output is None and not run.is_dir():
        raise ConfigError(f"--output: {run} is a file: give the name of a page, such as page.html.")
    if output is not None:
        check_output(output, force, (".html",))
    start()
    from keras_vae_cli.commands.products import explorer

    hand_over(explorer.explore, run, data or [], output, precision, condition=condition, force=force)
