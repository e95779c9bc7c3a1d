"""`keras-vae train`: from settings to a run folder."""

import datetime
import difflib
import json
import time
from pathlib import Path

import keras
import tensorflow as tf
from rich.console import Console

from keras_vae import config, data, runs
from keras_vae.checkpoints import Checkpoints
from keras_vae.config import Settings
from keras_vae.progress import TrainingProgress
from keras_vae.vae import VAE
from keras_vae_cli.errors import ConfigError


def train(settings: Settings, run: Path, console: Console | None = None) -> None:
    """Train the model of `settings` in the folder `run`, or go on where an interrupted run stopped.

    Leaves config.yaml, vae.keras, checkpoints/, history.csv, report.json, pictures/, export/ and tensorboard/.

    Raises:
        ConfigError: if the folder holds something else, or a run with other settings.
        KeyboardInterrupt: after what was learned so far has been saved.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    if not _claim(settings, run, console):
        return
    started = time.monotonic()
    keras.utils.set_random_seed(settings.train.seed)
    keras.config.set_dtype_policy(settings.train.precision)
    splits = runs.open_data(settings)
    console.print(_describe(settings, splits))

    strategy = tf.distribute.MirroredStrategy() if settings.train.distribute == "mirrored" else None
    with strategy.scope() if strategy else tf.distribute.get_strategy().scope():
        session = _Session(settings, splits, run, console)
    try:
        session.fit()
    except KeyboardInterrupt:
        session.stop()
        console.print(
            f"Interrupted. {run / runs.MODEL} holds the best model so far; the same command goes on from the last "
            "checkpoint."
        )
        raise
    vae = session.finish()
    _report(settings, splits, run, vae, session, time.monotonic() - started, console)


class _Session:
    """Model, data and callbacks of one process that trains."""

    def __init__(self, settings: Settings, splits: data.Splits, run: Path, console: Console) -> None:
        self.settings, self.splits, self.run, self.console = settings, splits, run, console
        train = settings.train
        self.steps = splits.train.steps_per_epoch(settings.data.batch_size)
        self.vae = config.make_vae(settings, splits.train.event_shape)
        self.vae.build()
        self.vae.compile(
            config.make_optimizer(train, self.steps),
            jit_compile=train.jit_compile,
            steps_per_execution=config.steps_per_execution(train, self.steps),
        )
        self.progress = TrainingProgress(train.epochs, console)
        self.stoppers = self._stoppers()
        self.checkpoints = Checkpoints(
            run / "checkpoints", run / runs.MODEL, self.stoppers, seconds=train.checkpoint_seconds
        )

    def fit(self) -> None:
        """Train, from the last checkpoint if there is one."""
        first = self.checkpoints.restore(self.vae)
        if first is None:
            self.vae.adapt(self.splits.train.dataset(self.settings.data.batch_size))
        else:
            self.console.print(f"resumed from step {int(self.vae.step)} (epoch {first})")
        first = first or 0
        _trim_history(self.run / runs.HISTORY, first)
        batch_size = self.settings.data.batch_size
        self.vae.fit(
            self.splits.train.stream(batch_size, self.settings.train.seed, start_step=int(self.vae.step)),
            validation_data=self.splits.validation and self.splits.validation.dataset(batch_size),
            epochs=self.settings.train.epochs,
            initial_epoch=first,
            steps_per_epoch=self.steps,
            callbacks=self._callbacks(first),
            verbose=0,
        )

    def _stoppers(self) -> list[keras.callbacks.Callback]:
        patience = self.settings.train.early_stopping
        if patience is None or self.splits.validation is None:
            return []
        return [keras.callbacks.EarlyStopping(monitor="val_elbo", mode="max", patience=patience)]

    def _callbacks(self, first: int) -> list[keras.callbacks.Callback]:
        callbacks = [
            *self.stoppers,
            keras.callbacks.CSVLogger(self.run / runs.HISTORY, append=first > 0),
            keras.callbacks.TensorBoard(self.run / "tensorboard", write_graph=False),
            self.progress,
            self.checkpoints,
        ]
        if self.settings.train.ema_momentum is not None:
            # After the checkpoints, which take the averaged weights before this swaps them back.
            callbacks.append(keras.callbacks.SwapEMAWeights())
        return callbacks

    def stop(self) -> None:
        """Leave what was learned so far."""
        self.progress.close()
        self.checkpoints.save_best(self.run / runs.MODEL)

    def finish(self) -> VAE:
        """Write the last checkpoint and the best model, and load that as anyone would."""
        self.checkpoints.save(len(self.vae.history.epoch) + self.vae.history.epoch[0] if self.vae.history.epoch else 0)
        self.checkpoints.save_best(self.run / runs.MODEL)
        return runs.load_model(self.run)


def _claim(settings: Settings, run: Path, console: Console) -> bool:
    """Whether there is something to do in the folder, after making sure that it is ours."""
    text = settings.as_yaml()
    if (run / runs.CONFIG).is_file():
        recorded = config.read(run).as_yaml()
        if recorded != text:
            lines = difflib.unified_diff(
                recorded.splitlines(), text.splitlines(), "recorded", "asked for", "", "", 0, ""
            )
            changed = "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))
            raise ConfigError(
                f"{run} is a run with other settings:\n{changed}\nGive another folder with --run, or delete this one."
            )
        if _is_finished(run):
            console.print(f"{run} is finished: nothing to do. For another run give another folder with --run.")
            return False
        return True
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ConfigError(f"{run} is no run folder, and holds something already: give another one with --run.")
    run.mkdir(parents=True, exist_ok=True)
    runs.write_text(run / runs.CONFIG, text)
    return True


def _is_finished(run: Path) -> bool:
    try:
        return bool(json.loads((run / runs.REPORT).read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _trim_history(path: Path, epochs: int) -> None:
    """Drop the rows of epochs that will be trained again, and a row that was cut off."""
    if path.is_file():
        header, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
        kept = [row for row in rows if row.endswith(b"\n") and int(row.split(b",")[0]) < epochs]
        runs.write_bytes(path, b"".join([header, *kept]))


def _describe(settings: Settings, splits: data.Splits) -> str:
    source = settings.data.name or settings.data.path
    shape = "x".join(str(n) for n in splits.train.event_shape)
    validation = f"{len(splits.validation):,} validation, " if splits.validation else ""
    return f"{source}: {len(splits.train):,} training, {validation}{len(splits.test):,} test examples of shape {shape}"


def _report(
    settings: Settings, splits: data.Splits, run: Path, vae: VAE, session: _Session, seconds: float, console: Console
) -> None:
    vae.compile()
    test = vae.evaluate(splits.test.dataset(settings.data.batch_size), return_dict=True, verbose=0)
    best = session.checkpoints.best_epoch
    console.print(f"test: elbo {test['elbo']:.2f}  log_likelihood {test['log_likelihood']:.2f}  kl {test['kl']:.2f}")
    runs.draw(run, vae, splits.test, console)
    if settings.export.formats:
        runs.export(run)
    runs.update_report(
        run,
        finished=True,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        units="nats per example",
        training={
            "seconds": round(seconds, 1),
            "steps": int(session.vae.step),
            "weights": vae.count_params(),
            "best_epoch": None if best is None else best + 1,
            "validation_elbo": None if best is None else session.checkpoints.best_elbo,
            "test_elbo": test["elbo"],
            "test_log_likelihood": test["log_likelihood"],
            "test_kl": test["kl"],
        },
    )
    console.print(
        f"Trained for {seconds:.0f} s. In {run}: {', '.join(sorted(path.name for path in run.iterdir()))}\n"
        f"Next:  keras-vae evaluate {run}    keras-vae plot {run}    keras-vae export {run}\n"
        f'In Python:  vae = keras.saving.load_model("{run / runs.MODEL}"); vae.sample(16, seed=0)'
    )
