"""`keras-vae train --more`, and `--seeds`: a run that is trained longer, and several that differ in their seed."""

import contextlib
import csv
import logging
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

from keras_vae_cli.commands import run_folder, train
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.looks import compare
from keras_vae_cli.looks.runs import Run, read
from keras_vae_cli.settings import MOST, Settings


def continued(runs: Sequence[Path], more: int) -> list[Settings]:
    """The settings of finished runs with so many more epochs.

    Adam's averages, the schedules of the objective and the order of the data go on from its last step. So does the
    learning rate: one that has decayed stays where it came to. A run that was interrupted while it was trained longer
    goes on to the epochs that it was to have then. Of several runs the others follow it: those that have had so many
    epochs get no more, and those that come after it get as many.

    Args:
        runs: their folders; several differ in their seed.
        more: epochs.

    Raises:
        ConfigError: for a run that has never been finished, or was stopped early, and for too many epochs.
    """
    found = [read(run) for run in runs]
    for run in found:
        if not run.is_finished and "earlier" not in run.report:
            command = shlex.join(["keras-vae", "train", str(run.path / "config.yaml"), "--run", str(run.path)])
            raise ConfigError(
                f"{run.path} is not finished, and --more adds to a finished run. It goes on by: {command}"
            )
    counts = [run.settings.train.epochs for run in found]
    is_interrupted = len(set(counts)) > 1 or not all(run.is_finished for run in found)
    epochs = max(counts) + (0 if is_interrupted else more)
    if epochs > MOST:
        raise ConfigError(f"--more {more}: a run has at most {MOST:,} epochs, and {runs[0]} would have {epochs:,}.")
    if len(set(counts)) > 1:
        run_folder.make_console().print(
            f"The runs have {min(counts)} to {max(counts)} epochs, as after an interruption: all come to {epochs}."
        )
    return [_longer(run, epochs) for run in found]


def _longer(found: Run, epochs: int) -> Settings:
    run, settings, before = found.path, found.settings, found.settings.train
    if before.epochs == epochs:
        return settings
    done = _epochs_of(run / run_folder.HISTORY)
    if before.early_stopping is not None and done is not None and done < before.epochs:
        raise ConfigError(
            f"{run} was stopped early, after {done} of {before.epochs} epochs: with train.early_stopping="
            f"{before.early_stopping} it would be stopped again at once. Give more patience by --set "
            "train.early_stopping=... and --accept-changes, without --more."
        )
    decay = None if before.final_learning_rate is None else before.decay_epochs or before.epochs
    longer = before.model_copy(update={"epochs": epochs, "decay_epochs": decay})
    return settings.model_copy(update={"train": longer})


def _epochs_of(history: Path) -> int | None:
    """The number of epochs that a history has; None if there is none that can be read."""
    try:
        with history.open(encoding="utf-8", newline="") as stream:
            return 1 + max(int(row[0]) for row in list(csv.reader(stream))[1:] if row)
    except (OSError, ValueError, csv.Error):
        return None


@contextlib.contextmanager
def _quiet_traces() -> Iterator[None]:
    """Without TensorFlow's advice on functions that are traced again: each run has a model of its own to trace."""

    def keep(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def train_seeds(
    jobs: Sequence[tuple[Settings, Path]],
    accept_changes: bool = False,
    data_path: Path | None = None,
    more: bool = False,
) -> None:
    """Train one run after another; those that are finished stay as they are. Then they are compared.

    Args:
        jobs: settings and folder of each.
        accept_changes, data_path, more: as in `train.train`.

    Raises:
        ConfigError: for workers on several machines, who meet only once.
    """
    console = run_folder.make_console()
    if any(settings.train.distribute == "multi_worker" for settings, _ in jobs):
        raise ConfigError("--seeds: workers on several machines train one run at a time: give one command for each.")
    with _quiet_traces():
        for number, (settings, run) in enumerate(jobs, 1):
            keras.backend.clear_session()
            console.print(f"Seed {settings.train.seed}, {number} of {len(jobs)}, in {run}:")
            train.train(settings, run, console, accept_changes, data_path, more)
    console.print(compare.shown(compare.summary([run for _, run in jobs])))
    console.print(f"The same again:  {shlex.join(['keras-vae', 'compare', *(str(run) for _, run in jobs)])}")
