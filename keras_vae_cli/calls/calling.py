"""From arguments that are checked to the work: its import, signals, and errors in a line."""

import difflib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_vae_cli.errors import ConfigError

# Runs that are named where another was meant.
SHOWN = 5


class Stopped(KeyboardInterrupt):
    """A signal that ends the command, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def heed_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    for name in ("SIGTERM", "SIGHUP"):
        # Whoever starts a command with nohup has it ignore SIGHUP.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
            signal.signal(getattr(signal, name), stop)


def require_run(run: Path) -> None:
    """Refuse what is no run folder.

    Raises:
        ConfigError: with a run that may have been meant.
    """
    if not run.is_dir():
        raise ConfigError(f"There is no run folder {str(run)!r}.{_meant(run)}")
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{str(run)!r} is not a run folder of keras-vae train: it holds no config.yaml.{_meant(run)}")


def require_model(run: Path) -> None:
    """Refuse what is neither a run folder with a model nor a .keras file.

    Raises:
        ConfigError: saying how a model is trained.
    """
    if run.suffix == ".keras" and not run.is_dir():
        if not run.is_file():
            raise ConfigError(f"There is no file {str(run)!r}.")
        return
    require_run(run)
    if not (run / "vae.keras").is_file():
        raise ConfigError(
            f"{run} holds no vae.keras yet: it has not been trained so far that there is a model. Let keras-vae train "
            "go on, by the same command as before."
        )


def _meant(run: Path) -> str:
    """The runs that there are, and the likeliest first."""
    runs = [path.parent for folder in (Path(), Path("runs"), run) for path in sorted(folder.glob("*/config.yaml"))]
    names = {str(path): path for path in runs}
    same = [name for name, path in names.items() if path.name == run.name]
    near = [*same, *difflib.get_close_matches(str(run), names, n=1, cutoff=0.6)]
    if near:
        return f" Did you mean {near[0]}?"
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f" Runs here: {', '.join(list(names)[:SHOWN])}{more}."
    return " A run is made by keras-vae train, in the folder runs unless --run says another."


def hand_over(work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Do the work; what it raises ends the command with a line."""
    try:
        from keras_vae.data.storage.on_disk import in_words

        with in_words():
            work(*arguments, **options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if os.environ.get("KERAS_VAE_TRACEBACK"):
            raise
        if getattr(error, "leave_at_once", False):
            print(f"keras-vae: {error}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)
        fail(said(error), 1)
    except MemoryError as error:
        fail(f"There is not enough memory for this: {error}".removesuffix(": "), 1)


def said(error: Exception) -> str:
    """An error in words: what the system refuses without saying what can be done about it, too."""
    if not isinstance(error, OSError) or error.errno is None or not error.filename:
        return str(error)
    remedy = ": give yourself the right to it, or work on a copy" if isinstance(error, PermissionError) else ""
    return f"{os.fsdecode(error.filename)} cannot be used ({error.strerror}){remedy}"


def fail(message: str, code: int) -> None:
    """End the command with a line and an exit code."""
    print(f"keras-vae: {message}", file=sys.stderr)
    sys.exit(code)


def start() -> None:
    """Heed signals, and import the package before anything imports Keras: TensorFlow then starts without its noise."""
    heed_signals()
    import keras_vae as _  # noqa: F401
