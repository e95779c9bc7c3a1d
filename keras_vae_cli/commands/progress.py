"""One progress bar for a whole training run, with the numbers of training and validation beside it; and others."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_vae.objectives.objective import LOGGED
from keras_vae.training.callback import FitCallback

# Where there is no terminal, about this many lines in all take the place of the bar.
LINES = 20


class TrainingProgress(FitCallback):
    """On a terminal a bar that moves with every step, and one line for each twentieth of the run; else only the lines.

    Args:
        epochs: of the whole run.
        console: where to write.
    """

    def __init__(self, epochs: int, console: Console) -> None:
        super().__init__()
        self.epochs, self.console = epochs, console
        self.offset = 0  # steps of the first epoch that were taken before an interruption
        self._every = max(1, epochs // LINES)
        self._printed = 0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, elbo {task.fields[elbo]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Show the bar."""
        steps = self.params.get("steps")
        total = steps * self.epochs if steps else None
        self._task = self._bar.add_task("", total=total, epoch=1, elbo="...")
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Move to the epoch; a resumed run starts in the middle."""
        self._bar.update(self._task, epoch=epoch + 1, completed=epoch * (self.params.get("steps") or 0) + self.offset)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        if self._bar.disable:
            return
        steps = self.params.get("steps") or 0
        task = self._bar.tasks[0]
        self._bar.update(self._task, completed=(task.fields["epoch"] - 1) * steps + self.offset + batch + 1)
        if logs and "elbo" in logs:
            self._bar.update(self._task, elbo=f"{float(tf.squeeze(logs['elbo'])):.2f}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print a line, if it is time."""
        self.offset = 0
        done = epoch + 1
        if done == 1 or done % self._every == 0 or done == self.epochs or self.model.stop_training:
            numbers = describe(logs or {}, self.model.monitor)
            self.console.print(f"epoch {done:>{len(str(self.epochs))}}/{self.epochs}  {numbers}")

    def on_train_end(self, logs: dict | None = None) -> None:
        """Remove the bar."""
        self.close()

    def close(self) -> None:
        """Remove the bar, also after an interruption."""
        self._bar.stop()


def describe(logs: dict[str, Any], monitor: str) -> str:
    """The numbers of training and validation on one line, in nats per example; first that which chooses the model."""

    names = dict.fromkeys((monitor, *LOGGED))

    def numbers(prefix: str) -> str:
        return "  ".join(f"{name} {logs[prefix + name]:.2f}" for name in names if prefix + name in logs)

    validation = numbers("val_")
    skipped = f"   {logs['skipped_steps']} steps skipped" if logs.get("skipped_steps") else ""
    return f"train: {numbers('')}" + (f"   validation: {validation}" if validation else "") + skipped


@contextlib.contextmanager
def counted(console: Console, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """On a terminal a bar that is gone when the work is done; gives what moves it on by so many.

    Args:
        console: where to write.
        what: is done, such as "drawing".
        total: how many there are to do; None shows only that something is done.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = columns if total is not None else columns[:2]
    with Progress(*shown, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
