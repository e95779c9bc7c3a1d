"""The commands: they parse and check their arguments, then import TensorFlow and hand over."""

import contextlib
import importlib.metadata
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from keras_vae_cli.errors import ConfigError

Many = Parameter(consume_multiple=True, negative="")


def _whole_number(kind: Any, tokens: Sequence[Any]) -> int:
    """Digits as an int; 1.5 is not rounded, and none is no number."""
    (token,) = tokens
    if not token.value.strip().removeprefix("-").isdecimal():
        raise ValueError(f"{token.value!r} is no whole number, such as 3.")
    return int(token.value)


Whole = Parameter(converter=_whole_number)

app = cyclopts.App(
    name="keras-vae",
    help="Train, evaluate, draw and export variational autoencoders.",
    version=lambda: importlib.metadata.version("keras-vae"),
)


@app.command
def train(
    config: str | None = None,
    /,
    *,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True, negative="")] = None,
    run: Path | None = None,
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
    accept_changes
        Resume a run although its settings were others, and record the new ones.
    """
    # Neither YAML nor the checks are needed to say how the command is used.
    from keras_vae_cli import settings

    overrides = list(set_ or [])
    # `--set a=1 my.yaml`: the option has swallowed the config that follows it.
    if config is None and overrides and "=" not in overrides[-1]:
        config = overrides.pop()
    checked = settings.load(config, overrides)
    folder = run or Path("runs") / settings.find(config).stem
    with _quiet_start():
        from keras_vae_cli.commands import train as command

    _hand_over(command.train, checked, folder, accept_changes=accept_changes)


@app.command
def evaluate(
    run: Path,
    /,
    *,
    num_samples: Annotated[int, Whole] = 5000,
    seed: Annotated[int, Whole] = 0,
    limit: Annotated[int | None, Whole] = None,
    annealed: Annotated[bool, Parameter(negative="")] = False,
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
    """
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    _hand_over(run_folder.evaluate, run, num_samples=num_samples, seed=seed, limit=limit, annealed=annealed)


@app.command
def plot(run: Path, /) -> None:
    """Draw the pictures of a finished run anew.

    Parameters
    ----------
    run
        The folder of a run.
    """
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    _hand_over(run_folder.plot, run)


@app.command
def export(
    run: Path,
    /,
    *,
    format_: Annotated[
        list[Literal["saved_model", "tflite"]] | None, Parameter(name="--format", consume_multiple=True, negative="")
    ] = None,
    quantize: Annotated[list[Literal["none", "float16", "dynamic", "int8"]] | None, Many] = None,
    version: Annotated[int | None, Whole] = None,
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
    """
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    _hand_over(run_folder.export, run, formats=format_, quantizations=quantize, version=version)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the exit code is 0, 1 for a failure, 2 for a wrong call or config, 130 for Ctrl-C."""
    try:
        app(arguments)
    except ConfigError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)


def _require_run(run: Path) -> None:
    if not run.is_dir():
        raise ConfigError(f"There is no run folder {str(run)!r}.")
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{str(run)!r} is not a run folder of keras-vae train: it holds no config.yaml.")


def _hand_over(work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    try:
        work(*arguments, **options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if os.environ.get("KERAS_VAE_TRACEBACK"):
            raise
        if getattr(error, "leave_at_once", False):
            print(f"keras-vae: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)
        _fail(f"{error}", 1)


def _fail(message: str, code: int) -> None:
    print(f"keras-vae: {message}", file=sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Hold back what TensorFlow's libraries print while they are imported, unless the import fails.

    The first lines that a user sees would be about CUDA drivers and CPU instructions; they are written before any
    setting of a log level is read.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
