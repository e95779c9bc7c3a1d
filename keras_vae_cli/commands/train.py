"""`keras-vae train`: from settings to a run folder."""

import contextlib
import datetime
import difflib
import json
import math
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from keras_vae import data, files, seeds
from keras_vae.callbacks import Checkpoints, SkippedSteps, TensorBoardPictures, TensorBoardSettings, TrainingDiverged
from keras_vae.data.class_names import are_numbers, listed
from keras_vae.data.storage.on_disk import in_words
from keras_vae.evaluation.statistics import checked_batches, given
from keras_vae.models import learner
from keras_vae.models.vae import VAE
from keras_vae.training import checkpoint_files, monitors
from keras_vae.training.checkpoint_state import meanings, number, set_meanings
from keras_vae.training.checkpoints import Position
from keras_vae.training.replicas import follow_chief, from_chief, is_chief
from keras_vae.training.steps_per_call import largest_divisor
from keras_vae_cli import own_parts
from keras_vae_cli.commands import build, history, run_data, run_folder, workers
from keras_vae_cli.commands.judgements import scores
from keras_vae_cli.commands.learned import learned
from keras_vae_cli.commands.page import PAGE, write_page
from keras_vae_cli.commands.products import explorer
from keras_vae_cli.commands.progress import TrainingProgress
from keras_vae_cli.commands.provenance import device_in_a_line, in_a_line, provenance
from keras_vae_cli.errors import ConfigError
from keras_vae_cli.settings import Settings

# Of the learning rate on a plateau.
REDUCTION = 0.5
# Images in each picture for TensorBoard, and how many times in a run they are drawn.
PICTURES, PICTURES_TIMES = 16, 5
# What a training takes over where it starts from the weights of another.
PARTS = ("encoder", "decoder", "prior")
# Training examples from whose codes a prior starts.
CODES = 20_000
# Test images by which a finished model is judged: enough for what is wrong, and seconds.
LOOKED_AT, LOOKED_AT_AT_ONCE = 2000, 256
# Those that end training, after what was learned was saved: Ctrl-C, a scheduler's, and that of a closed terminal.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def train(
    settings: Settings,
    run: Path,
    console: Console | None = None,
    accept_changes: bool = False,
    data_path: Path | None = None,
    more: bool = False,
) -> None:
    """Train the model of `settings` in the folder `run`, or go on where an interrupted run stopped.

    Leaves config.yaml, data.json, vae.keras, checkpoints/, history.csv, report.json, pictures/, export/ and
    tensorboard/.

    Args:
        settings: checked.
        run: the folder.
        console: where to write.
        accept_changes: whether a run with other settings or data goes on with these.
        data_path: where the data are: instead of `settings.data.path`, or of where those of a run that is there were.
        more: whether these are the settings of a run that is there, with more epochs: see `longer.continued`.

    Raises:
        ConfigError: if the folder holds something else, or a run with other settings or data.
        TrainingDiverged: if too many steps in a row had to be skipped.
        OSError: if the folder cannot be written, or another process trains in it.
        KeyboardInterrupt: after what was learned so far has been saved.
    """
    console = console or run_folder.make_console()
    if data_path is not None:
        settings = run_data.moved(settings, run, data_path)
    settings = run_data.with_schema(settings, run, data_path)
    own_parts.load_all(settings.model.model_dump(), run)
    # Workers must be known before TensorFlow does anything else.
    strategy = workers.make_strategy(settings.train.distribute, settings.train.worker_timeout, console.print)
    with workers.watched(strategy), contextlib.ExitStack() as held:
        _train(settings, run, console, accept_changes, data_path, strategy, held, more)


def _train(
    settings: Settings,
    run: Path,
    console: Console,
    accept_changes: bool,
    data_path: Path | None,
    strategy: tf.distribute.Strategy,
    held: contextlib.ExitStack,
    more: bool = False,
) -> None:
    chief = is_chief(strategy)
    fit = from_chief(strategy, run_data.fit_of_run(settings, run) if chief else None)
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"fit": fit})})
    if not chief:
        console.print("The chief writes all files and shows how training goes; this worker writes none.")
        console = run_folder.make_console(quiet=True)
    accepted = _claim(settings, run, console, accept_changes or more, held) if chief else None
    if not from_chief(strategy, accepted is not None):
        return
    mine = run_data.kept_as(None, settings).as_yaml()
    changed = _difference(from_chief(strategy, mine), mine)
    if changed:
        raise ConfigError(f"The settings of this worker are not those of the chief:\n{changed}")
    first = run / run_folder.PRETRAINING
    begins = settings.train.pretraining is not None and not (_is_finished(first) or _epochs_done(run) is not None)
    if from_chief(strategy, begins):
        console.print(f"Pretraining, in {first}:")
        _train(settings.first_phase, first, console, accept_changes, data_path, strategy, held)
        console.print("Training:")
    started = time.monotonic()
    keras.config.set_dtype_policy(settings.train.precision)
    build.make_optimizer(settings.train, 1)  # what it refuses is better said before the data are read
    splits = run_data.open_data(settings, run, data_path, lambda line: console.print(line, markup=False))
    if chief and (run_data.is_recorded(run) or (run / "checkpoints").is_dir()):
        run_data.check(run, splits, accept_changes, lambda line: console.print(line, markup=False))
    console.print(_describe(settings, splits))
    console.print(device_in_a_line())
    build.check_size(settings, splits.train.event_shape, splits.condition)
    keras.utils.set_random_seed(settings.train.seed)

    with strategy.scope():
        session = _Session(settings, splits, run, console)
    position = session.checkpoints.restore(session.vae)
    if accepted is not None:
        # Nothing can refuse them any more.
        accepted()
        run_data.record(run, settings, splits, data_path)
    try:
        with in_words():
            session.fit(position)
        if not chief:
            return
        vae = session.finish()
    except KeyboardInterrupt:
        session.stop()
        console.print(f"Interrupted. {session.how_to_go_on()}")
        raise
    except TrainingDiverged as error:
        session.stop()
        advice = "With other settings: --set train.learning_rate=... --accept-changes."
        raise TrainingDiverged(f"{error}\n{session.how_to_go_on()} {advice}") from None
    except OSError as error:
        session.progress.close()
        raise OSError(f"Training stopped: {error}.\n{session.how_to_go_on()}") from error
    except workers.LOST:
        session.progress.close()
        raise
    _report(settings, splits, run, vae, session, time.monotonic() - started, console)


class _Session:
    """Model, data and callbacks of one process that trains."""

    def __init__(self, settings: Settings, splits: data.Splits, run: Path, console: Console) -> None:
        self.settings, self.splits, self.run, self.console = settings, splits, run, console
        train = settings.train
        self.is_chief = is_chief(tf.distribute.get_strategy())
        self.steps = splits.train.steps_per_epoch(settings.data.batch_size)
        self.vae = build.make_vae(settings, splits.train.event_shape, splits.condition)
        self.vae.build()
        self.vae.compile(
            build.make_optimizer(train, self.steps),
            jit_compile=train.jit_compile,
            # Keras makes whole calls, which must not go beyond the end of an epoch.
            steps_per_execution=largest_divisor(self.steps, train.steps_per_execution or 1),
        )
        self.vae.chooses_steps_per_execution = train.steps_per_execution is None
        # Workers initialise variables together: not when one of them needs them.
        self.vae.optimizer.build(self.vae.trainable_variables)
        self.progress = TrainingProgress(train.epochs, console)
        self.checkpoints = Checkpoints(
            run / run_folder.CHECKPOINTS,
            run / run_folder.MODEL,
            seconds=train.checkpoint_seconds,
            steps=train.checkpoint_steps,
            write=console.print,
            run=run_folder.identity(run) if self.is_chief else None,
            signals=SIGNALS,
        )

    def fit(self, position: Position | None) -> None:
        """Train, from the checkpoint that was restored if there was one."""
        train = self.settings.train
        if position is None and (train.start_from is not None or train.pretraining is not None):
            if self.is_chief and train.start_from is not None:
                self._start_from(Path(train.start_from))
            elif self.is_chief:
                adapts = self.vae.prior.adapts_to_codes
                self._start_from(self.run / run_folder.PRETRAINING, PARTS[:2] if adapts else PARTS)
                if adapts:
                    self._adapt_to_codes()
            if self.is_chief:
                learner.adapt_objective(self.vae, self.splits.train.dataset(self.settings.data.batch_size))
            parts = [getattr(self.vae, name) for name in PARTS]
            weights = [weight for part in parts for weight in part.weights]
            follow_chief(self.vae.distribute_strategy, [*weights, *learner.weights_of_objective(self.vae)])
            self.vae.adapted.assign(1)
        elif position is None:
            self.vae.adapt(self.splits.train.dataset(self.settings.data.batch_size))
        else:
            self.console.print(f"resumed from {position}")
            self.progress.offset = position.batches
        first = position.epoch if position else 0
        if self.is_chief:
            history.trim(self.run / run_folder.HISTORY, first, self.console.print)
        batch_size = self.settings.data.batch_size
        self.vae.fit(
            self.splits.train.stream(batch_size, self.settings.train.seed, start_step=number(self.vae.step)),
            validation_data=self.splits.validation and self.splits.validation.dataset(batch_size),
            epochs=self.settings.train.epochs,
            initial_epoch=first,
            steps_per_epoch=self.steps,
            callbacks=self._callbacks(first),
            verbose=0,
        )

    def _start_from(self, path: Path, names: Sequence[str] = PARTS) -> None:
        other = run_folder.load_model(path)
        for name in names:
            mine, theirs = (getattr(vae, name) for vae in (self.vae, other))
            shapes = [[tuple(weight.shape) for weight in part.weights] for part in (mine, theirs)]
            if shapes[0] != shapes[1]:
                raise ConfigError(
                    f"train.start_from: the {name} of {path} has weights of the shapes {shapes[1]}, that of this "
                    f"config of the shapes {shapes[0]}: the sections model must agree in all but the objective."
                )
            mine.set_weights(theirs.get_weights())
            set_meanings(mine, meanings(theirs))
        self.console.print(f"starting from the weights of {path}")

    def _adapt_to_codes(self) -> None:
        # Draws and not means: it is draws whose density the prior is there to be.
        shown, seed = run_folder.some(self.splits.train, CODES), self.settings.train.seed
        draws = []
        for index, (x, y) in enumerate(checked_batches(self.vae, shown.dataset(self.settings.data.batch_size))):
            draws.append(self.vae.encode(x, given(self.vae, y)).sample(seed=seeds.fold_in(seed, index)))
        codes = np.concatenate(draws)
        self.vae.prior.adapt_to_codes(codes, seed)
        self.console.print(f"{type(self.vae.prior).__name__} starts from the codes of {len(codes):,} training examples")

    def _callbacks(self, first: int) -> list[keras.callbacks.Callback]:
        train, callbacks = self.settings.train, keras.callbacks
        monitor = self.vae.monitor
        monitored: dict[str, Any] = {
            "monitor": f"val_{monitor}",
            "mode": "max" if monitors.more_is_better(monitor) else "min",
        }
        monitored["start_from_epoch"] = settled_after(self.vae, train.epochs, self.steps)
        shown = self.splits.validation or self.splits.train
        found: list[keras.callbacks.Callback] = [SkippedSteps(always=True)]
        if self.splits.validation and train.early_stopping is not None:
            found.append(callbacks.EarlyStopping(**monitored, patience=train.early_stopping))
        if self.splits.validation and train.reduce_on_plateau is not None:
            found.append(PatientPlateau(**monitored, patience=train.reduce_on_plateau, factor=REDUCTION))
        if self.is_chief:
            found += [
                history.HistoryFile(self.run / run_folder.HISTORY),
                callbacks.TensorBoard(self.run / run_folder.TENSORBOARD, write_graph=False),
                TensorBoardSettings(
                    self.run / run_folder.TENSORBOARD, self.settings.model_dump(mode="json", exclude={"export"})
                ),
                TensorBoardPictures(
                    self.run / run_folder.TENSORBOARD / "pictures",
                    shown.subset(range(min(len(shown), PICTURES))).dataset(PICTURES),
                    every=max(1, train.epochs // PICTURES_TIMES),
                ),
                self.progress,
            ]
        found.append(self.checkpoints)
        if train.ema_momentum is not None:
            # Behind the checkpoints, which take the averaged weights before this swaps them back.
            found.append(callbacks.SwapEMAWeights())
        return found

    def stop(self) -> None:
        """Leave what was learned so far."""
        self.progress.close()
        if self.checkpoints.model is None:  # nothing was learned yet
            return
        saved, model = self.checkpoints.saved, self.run / run_folder.MODEL
        if not self.is_chief or (saved and saved.step == number(self.vae.step) and model.is_file()):
            return
        try:
            self.checkpoints.save_best(self.run / run_folder.MODEL)
        except (OSError, ValueError) as error:
            self.console.print(f"{self.run / run_folder.MODEL} is as it was: {error}")

    def how_to_go_on(self) -> str:
        """Where the same command would go on."""
        saved = self.checkpoints.saved
        where = f"goes on from {saved}" if saved else "starts anew, as there is no checkpoint yet"
        model = self.run / run_folder.MODEL
        best = f"{model} holds the best model so far; the" if model.is_file() else "The"
        return f"{best} same command {where}."

    def finish(self) -> VAE:
        """Write the best model, and load that as anyone would."""
        self.checkpoints.save_best(self.run / run_folder.MODEL)
        return run_folder.load_model(self.run)


class PatientPlateau(keras.callbacks.ReduceLROnPlateau):
    """Keras's, with its `EarlyStopping`'s `start_from_epoch`: what was before has no say."""

    def __init__(self, start_from_epoch: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_from_epoch = start_from_epoch

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Watch, and forget what was seen too early."""
        if epoch <= self.start_from_epoch:
            self.best, self.wait = math.inf if self.mode == "min" else -math.inf, 0
        super().on_epoch_end(epoch, logs)


def settled_after(vae: VAE, epochs: int, steps: int) -> int:
    """Epochs after which the numbers in the loss stay as they are: patience begins there. 0 if they never do.

    Args:
        vae: a model that has not been trained.
        epochs: of the training.
        steps: of an epoch.
    """
    final = vae.weights_at(epochs * steps)
    changing = [epoch for epoch in range(epochs) if vae.weights_at(epoch * steps) != final]
    settled = changing[-1] + 1 if changing else 0
    return settled if settled < epochs else 0


def _claim(
    settings: Settings, run: Path, console: Console, accept_changes: bool, held: contextlib.ExitStack
) -> Callable[[], None] | None:
    """What records in the folder that it is trained with these settings, None if there is nothing to do.

    It is made sure that the folder is ours alone, until `held` ends.
    """
    run_folder.check_places(run, run_folder.CHECKPOINTS, run_folder.PICTURES, run_folder.TENSORBOARD, run_folder.EXPORT)
    run_folder.check_export(run, settings.export.formats)
    is_new = not run.exists()
    if is_new:
        run.mkdir(parents=True, exist_ok=True)
    held.enter_context(files.locked(run))
    found = {path.name for path in run.iterdir()} - {files.LOCK}
    if is_new and found:  # another process was quicker
        raise files.Busy(f"another process has just begun a run in {run}: give another folder with --run")
    if found and run_folder.CONFIG not in found:
        raise ConfigError(f"{run} is no run folder, and holds something already: give another one with --run.")
    # A first command that ended before it had trained leaves only what it was told, and nothing to protect.
    if found <= {run_folder.CONFIG, run_folder.IDENTITY, run_data.RECORD}:
        (run / run_data.RECORD).unlink(missing_ok=True)
        run_folder.identify(run)
        files.write_text(run / run_folder.CONFIG, settings.as_yaml())
        return lambda: None
    run_folder.check_model(run)
    return _go_on(settings, run_data.kept_as(settings, build.read(run)), run, console, accept_changes)


def _go_on(
    settings: Settings, recorded: Settings, run: Path, console: Console, accept_changes: bool
) -> Callable[[], None] | None:
    """As `_claim`, of a run that has begun: what records changed settings, once it is known that they can be obeyed."""
    is_finished, changed = _is_finished(run), _difference(recorded.as_yaml(), settings.as_yaml())
    if changed and not accept_changes:
        raise ConfigError(
            f"{run} is a run with other settings:\n{changed}\nGive another folder with --run, or go on with the new "
            "settings by --accept-changes."
        )
    if not changed:
        if is_finished:
            console.print(f"{run} is finished: nothing to do. For another run give another folder with --run.")
        return None if is_finished else lambda: None
    done = _epochs_done(run)
    if done is not None and settings.train.epochs < done:
        raise ConfigError(
            f"{run} has been trained for {done} epochs, and {settings.train.epochs} cannot be had of it any more. "
            f"Nothing was changed: give at least train.epochs={done}, or another folder with --run."
        )
    trains_more = settings.train.epochs > (done or 0)
    if is_finished and recorded.model_copy(update={"export": settings.export}) == settings:
        files.write_text(run / run_folder.CONFIG, settings.as_yaml())
        console.print(f"The settings of the export of {run} were changed:\n{changed}\nNext:  {_command('export', run)}")
        return None
    if is_finished and done is None:
        raise ConfigError(
            f"{run} is finished and has no checkpoint to go on from. Nothing was changed: train in another folder, "
            f"with --set train.start_from={run} if it shall begin at these weights."
        )
    if is_finished and not trains_more:
        raise ConfigError(
            f"{run} is finished: its {done} epochs were trained with other settings:\n{changed}\nNothing was changed. "
            "Give more train.epochs to go on with these settings, or another folder with --run."
        )
    console.print(f"The settings of {run} were changed:\n{changed}")

    def accepted() -> None:
        if is_finished:
            # Of the epochs up to here; first, so that the run is never taken for finished with the new settings.
            earlier = run_folder.read_report(run)
            report = {"finished": False, "earlier": [*earlier.pop("earlier", []), earlier]}
            run_folder.write_report(run, report)
        files.write_text(run / run_folder.CONFIG, settings.as_yaml())

    return accepted


def _epochs_done(run: Path) -> int | None:
    """Epochs that the newest checkpoint has come to, one that has begun included; None if there is none."""
    for path in checkpoint_files.paths(run / run_folder.CHECKPOINTS):
        with contextlib.suppress(checkpoint_files.Damaged, KeyError, ValueError, TypeError):
            _, epochs, batches = checkpoint_files.read(path)[0]["position"]
            return int(epochs) + (batches > 0)
    return None


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "", "", "", "", 0, "")
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def _is_finished(run: Path) -> bool:
    try:
        return bool(json.loads((run / run_folder.REPORT).read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _describe(settings: Settings, splits: data.Splits) -> str:
    shape = "x".join(str(n) for n in splits.train.event_shape) + run_data.place_of(splits)
    validation = f"{len(splits.validation):,} validation, " if splits.validation else ""
    source, names = settings.data.name or settings.data.path, splits.class_names or ()
    return (
        f"{source}: {len(splits.train):,} training, {validation}{len(splits.test):,} test examples of shape {shape}"
        + ("" if settings.data.condition is None else f", given {settings.data.condition.name}")
        + ("" if not names or are_numbers(names) else f"\n{len(names):,} classes: {listed(names)}")
    )


def _report(
    settings: Settings, splits: data.Splits, run: Path, vae: VAE, session: _Session, seconds: float, console: Console
) -> None:
    vae.compile()
    test = vae.evaluate(splits.test.dataset(settings.data.batch_size), return_dict=True, verbose=0)
    best = session.checkpoints.best_epoch
    console.print(f"test: elbo {test['elbo']:.2f}  log_likelihood {test['log_likelihood']:.2f}  kl {test['kl']:.2f}")
    few = run_folder.some(splits.test, LOOKED_AT).dataset(LOOKED_AT_AT_ONCE)
    found = learned(vae, few, history.columns(run / run_folder.HISTORY, console.print))
    run_folder.draw(run, vae, splits.test, console)
    if settings.export.page:
        explorer.write_unasked(run, vae, splits.test, console)
    if settings.export.formats:
        run_folder.export_again(run, splits=splits, vae=vae)
    made_by = provenance(settings)
    console.print(in_a_line(made_by))
    run_folder.update_report(
        run,
        finished=True,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        units="nats per example",
        class_names=None if splits.class_names is None else list(splits.class_names),
        training={
            "seconds": round(seconds, 1),
            "steps": number(session.vae.step),
            "weights": vae.count_params(),
            "best_epoch": None if best is None else best + 1,
            f"validation_{vae.monitor}": None if best is None else session.checkpoints.best_value,
            "test_elbo": test["elbo"],
            "test_log_likelihood": test["log_likelihood"],
            "test_kl": test["kl"],
            **found.as_dict(),
        },
        scores=scores.of_held_out(vae, splits, console),
        trained_by=made_by,
    )
    write_page(run)
    given = ""
    if vae.condition is not None:
        given = ", condition=..." if vae.condition.num_classes is None else ", condition=0"
        if vae.condition.names:
            given = f", condition={json.dumps(vae.condition.names[0], ensure_ascii=False)}"
    own = "".join(f"import {module}; " for module in own_parts.modules(settings.model.model_dump()))
    console.print(
        f"{found}\n"
        f"Trained for {seconds:.0f} s. In {run}: {', '.join(sorted(path.name for path in run.glob('[!.]*')))}\n"
        f"All on one page: {run / PAGE}\n"
        f"Next:  {'    '.join(_command(name, run) for name in ('evaluate', 'plot', 'export'))}\n"
        f"{_sampling(vae, run)}"
        f"In Python:  import keras_vae as kv; {own}vae = kv.load({str(run / run_folder.MODEL)!r}); "
        f"vae.sample(16, seed=0{given})"
    )
    # Last, where nobody overlooks it.
    for finding in found.findings:
        if finding.is_harmful:
            console.print(f"! {finding}", style="bold red")


def _sampling(vae: VAE, run: Path) -> str:
    """A line with the command that draws; none where it would need a picture, or numbers, of the user's."""
    if vae.condition is not None and vae.condition.num_classes is None:
        return ""
    shape = vae.decoder.event_shape
    suffix = ".npz" if vae.decoder.likelihood.schema is None else ".csv"
    place = "drawn" if len(shape) == 3 and shape[-1] in (1, 3) else f"drawn{suffix}"
    return f"       {_command('sample', run, f'-n 100 -o {place}')}\n"


def _command(name: str, run: Path, options: str = "") -> str:
    """A command as it can be typed."""
    # What begins with a dash is an option, unless two stand before it.
    at = f"-- {shlex.quote(str(run))}" if str(run).startswith("-") else shlex.quote(str(run))
    return f"keras-vae {name} {options} {at}" if options else f"keras-vae {name} {at}"
