"""The commands: they parse and check their arguments, then import TensorFlow and hand over."""

import contextlib
import importlib.metadata
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter, validators

from keras_vae_cli import output
from keras_vae_cli.errors import ConfigError

Many = Parameter(consume_multiple=True, negative="")


def _whole_number(kind: Any, tokens: Sequence[Any]) -> int:
    """Digits as an int; 1.5 is not rounded, and none is no number."""
    (token,) = tokens
    if not token.value.strip().removeprefix("-").isdecimal():
        raise ValueError(f"{token.value!r} is no whole number, such as 3.")
    return int(token.value)


Whole = Parameter(converter=_whole_number)


def _place(kind: Any, tokens: Any) -> Path:
    (token,) = tokens
    if not token.value:
        raise ValueError("It is empty, as a variable of the shell is that was not set: give a path.")
    return Path(token.value)


Place = Parameter(converter=_place)

app = cyclopts.App(
    name="keras-vae",
    help="Train, evaluate, draw and export variational autoencoders.",
    version=lambda: importlib.metadata.version("keras-vae"),
    suppress_keyboard_interrupt=False,  # its exit code would be that of Ctrl-C, whatever the signal
)


@app.command
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
    with _quiet_start():
        from keras_vae_cli.commands import train as command

    _hand_over(command.train, checked, folder, accept_changes=accept_changes, data_path=data)


@app.command
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
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    options = {"num_samples": num_samples, "seed": seed, "limit": limit, "annealed": annealed}
    options["refine_steps"] = refine_steps
    _hand_over(run_folder.evaluate, run, **options, data_path=data, accept_changes=accept_changes)


@app.command
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
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    _hand_over(run_folder.plot, run, data_path=data, accept_changes=accept_changes)


@app.command
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
    _require_run(run)
    with _quiet_start():
        from keras_vae_cli.commands import run_folder

    options: dict[str, Any] = {"formats": format_, "quantizations": quantize, "version": version}
    _hand_over(run_folder.export, run, **options, data_path=data, accept_changes=accept_changes)


class Stopped(KeyboardInterrupt):
    """A signal that ends the command, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    The exit code is 0, 1 for a failure, 2 for a wrong call or config, 130 for Ctrl-C, 143 for SIGTERM and 129 for the
    SIGHUP of a terminal that is closed.
    """
    if arguments is None:
        output.in_utf8()
    with output.lasting():
        try:
            _check_operands(sys.argv[1:] if arguments is None else arguments)
            app(arguments)
        except ConfigError as error:
            _fail(str(error), 2)
        except OSError as error:
            _fail(_said(error), 1)
        except KeyboardInterrupt as error:
            _fail("Interrupted.", getattr(error, "code", 130))


def _check_operands(arguments: list[str]) -> None:
    """Behind -- stands what is no option though it begins with a dash: one folder or config, for no command has two."""
    if "--" in arguments and len(arguments) > arguments.index("--") + 2:
        at = arguments.index("--")
        right = [*arguments[:at], *arguments[at + 2 :], "--", arguments[at + 1]]
        raise ConfigError(f"What stands behind -- is no option: keras-vae {shlex.join(right)}")


def _heed_signals() -> None:
    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    for name in ("SIGTERM", "SIGHUP"):
        # Whoever starts a command with nohup has it ignore SIGHUP.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), stop)


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
        _fail(_said(error), 1)
    except MemoryError as error:
        _fail(f"There is not enough memory for this: {error}".removesuffix(": "), 1)


def _said(error: Exception) -> str:
    """An error in words: what the system refuses without saying what can be done about it, too."""
    if not isinstance(error, OSError) or error.errno is None or not error.filename:
        return str(error)
    remedy = ": give yourself the right to it, or work on a copy" if isinstance(error, PermissionError) else ""
    return f"{os.fsdecode(error.filename)} cannot be used ({error.strerror}){remedy}"


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
    _heed_signals()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        try:
            held, original = stack.enter_context(tempfile.TemporaryFile()), os.dup(2)
        except OSError:  # no folder for temporary files, or no stderr
            yield
            return
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
