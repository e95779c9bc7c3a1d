"""Checkpoints of a training run, from which it goes on as if it had never been interrupted."""

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_vae import files
from keras_vae.arguments import check_count, check_number
from keras_vae.data.batches import is_array, serve_arrays
from keras_vae.training import checkpoint_files, checkpoint_state, monitors
from keras_vae.training.callback import FitCallback
from keras_vae.training.replicas import arrays_from_chief, from_chief, is_chief, is_multi_worker
from keras_vae.training.signals import HeldBack
from keras_vae.training.steps_per_call import Progress

# Keras's callbacks whose state decides how training goes on; a `FitCallback` says so itself.
WITH_STATE = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.ModelCheckpoint,
)
# Steps after which several workers agree, again, on whether it is time to save within an epoch.
ASK_EVERY = 50


class Position(NamedTuple):
    """How far a run has come: steps in all, whole epochs, and steps of the epoch that has begun."""

    step: int
    epoch: int
    batches: int

    def __str__(self) -> str:
        within = f" and {self.batches} steps" if self.batches else ""
        return f"step {self.step} ({self.epoch} epochs{within})"


class Checkpoints(FitCallback):
    """Saves a run every so many seconds or steps, and lets the same `fit` in a new process go on from there.

    A checkpoint holds all that does not follow from the step: weights, optimizer (with averaged weights, the scale of
    the loss and a reduced learning rate), states of random generators, the running means of the epoch, what other
    callbacks hold (a patience, a best value, best weights), and the best model so far. It is written whole or not at
    all, with checksums; a damaged one is reported and skipped for the one before. If one cannot be written, training
    goes on and says so. Of several workers the chief writes, and all go on from what it reads.

    The weights at the end are, bit for bit, those of a run without interruption if the data can be had from any step
    on: arrays, the datasets of `data.load`, and others that repeat themselves in every epoch. Within an epoch
    checkpoints are made of runs on arrays and datasets whose steps per epoch are known and a multiple of
    `steps_per_execution`; other runs at the ends of epochs.

    A signal that would end the process, SIGTERM as a rule, ends training at the next step instead, or in the middle of
    a validation, which is then done when the run goes on: the checkpoint is written, and the process ends after that.
    A second signal ends it at once. Of several workers all stop. While `fit` runs no other process may train with the
    same folder.

    It stands behind the callbacks whose state is kept, and before `SwapEMAWeights`.

    Args:
        folder: of the checkpoints; the last two are kept.
        best: file of the best model by the validation value of the model's `monitor` (of the current one if there is no
            validation), replaced at each checkpoint where it is another one. Values are compared with those of the same
            `yardstick`; when that has changed, the newer model takes the place of the older.
        seconds: least time between checkpoints; None counts only steps.
        steps: least number of steps between checkpoints; None counts only seconds.
        write: what prints a line.
        run: a name for the run: checkpoints of another one in the folder are refused.
        signals: those at which training is saved, before they do what they do without it; ignored ones stay so.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        best: str | os.PathLike[str] | None = None,
        seconds: float | None = 60.0,
        steps: int | None = None,
        write: Callable[[str], Any] = print,
        run: str | None = None,
        signals: Sequence[int] = (signal.SIGTERM,),
    ) -> None:
        super().__init__()
        if seconds is not None:
            check_number("seconds", seconds, at_least=0)
        if steps is not None:
            check_count("steps", steps)
        self.folder, self.best_path = Path(folder), None if best is None else Path(best)
        self.seconds, self.every, self.report = seconds, steps, write
        self.run, self.signals = run, tuple(signals)
        self.best_value = -math.inf
        self.best_yardstick: tuple[float, ...] = ()
        self.best_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None
        self.saved: Position | None = None
        self.is_cut = False
        self._others: dict[str, keras.callbacks.Callback] = {}
        self._first_step = self._epoch = self._epoch_start = self._offset = 0
        self._has_position = self._saves_within = True
        self._best_is_new = False
        self._is_failing = False
        self._saved_at, self._saved_step = time.monotonic(), 0
        self._signal = HeldBack()
        self._is_validation_cut = False
        self._means: dict[str, np.ndarray] = {}
        self._restored: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None

    # Before training: `VAE.fit` calls `prepare` and `serve`.

    def restore(self, vae: Any) -> Position | None:
        """Load the newest whole checkpoint into `vae`, which is compiled; how far it had come, or None.

        Raises:
            ValueError: if the checkpoint is of another model, optimizer or run.
        """
        strategy = vae.distribute_strategy
        read = checkpoint_files.newest(self.folder, self.report) if is_chief(strategy) else None
        if not from_chief(strategy, read is not None):
            return None
        state, arrays = read or ({}, {})
        found = state, arrays = from_chief(strategy, state), arrays_from_chief(strategy, arrays)
        if self.run is not None and state.get("run") != self.run:
            raise ValueError(
                f"The checkpoints in {self.folder} are of another run, with whose weights training would go on. "
                "Move them to their own folder."
            )
        vae.build()
        if not vae.optimizer.built:
            vae.optimizer.build(vae.trainable_variables)
        variables = checkpoint_state.variables(vae)
        if {name: list(variable.shape) for name, variable in variables.items()} != state["shapes"]:
            raise ValueError(
                f"The checkpoints in {self.folder} are of another model or optimizer. Make them as they were, or give "
                "another folder."
            )
        for name, variable in variables.items():
            checkpoint_state.assign(variable, arrays[name])
        was = checkpoint_state.meanings(vae)
        checkpoint_state.set_meanings(vae, state.get("meanings"))
        if checkpoint_state.meanings(vae) != was:
            vae.train_function, vae.test_function = None, None
        if vae.seed != state["seed"]:
            # The seed is a constant of the compiled steps.
            vae.seed, vae.train_function, vae.test_function = state["seed"], None, None
        # Until the bound of several samples could decide, the best value was always an ELBO, and called so.
        self.best_value = state["best_value"] if "best_value" in state else state["best_elbo"]
        self.best_yardstick = tuple(state.get("best_yardstick", ()))
        self.best_epoch = state["best_epoch"]
        self.best_weights = checkpoint_state.list_of(arrays, "best")
        self._best_is_new = self.best_weights is not None
        self._restored, self._first_step = found, state["first_step"]
        self.saved = Position(*state["position"])
        self._saved_step, self._offset = self.saved.step, self.saved.batches
        return self.saved

    def prepare(self, vae: Any, options: dict[str, Any]) -> None:
        """Restore, unless that was done, and put into the arguments of `fit` where it goes on.

        Raises:
            ValueError: if a callback whose state is to be saved stands behind this one.
        """
        callbacks = options["callbacks"]
        late = [c for c in callbacks[callbacks.index(self) + 1 :] if _keeps_state(c)]
        if late:
            name = type(late[0]).__name__
            raise ValueError(f"Checkpoints saves the state of {name} and must stand behind it: put it last.")
        kept = [c for c in callbacks if _keeps_state(c)]
        self._others = {f"{index} {type(c).__name__}": c for index, c in enumerate(kept)}
        self._has_position = True
        if self._restored is None and self.saved is None:
            self._first_step = checkpoint_state.number(vae.step)
            if self.restore(vae) is not None:
                self.report(f"resumed from {self.saved}")
            self._has_position = False
        if self._restored is not None and self.saved is not None:
            # A run that was stopped early stays so.
            stopped = self._stays_stopped(self._restored[0])
            options["initial_epoch"] = options.get("epochs", 1) if stopped else self.saved.epoch
            for callback in callbacks:
                if isinstance(callback, Progress):
                    callback.offset = self._offset
        options["callbacks"] = [_BeforeTheOthers(self), *callbacks]

    @contextlib.contextmanager
    def during(self, vae: Any) -> Iterator[None]:
        """Hold the lock of the folder, and signals back.

        Raises:
            files.Busy: if another process trains with this folder.
        """
        self._is_validation_cut = False
        with contextlib.ExitStack() as held:
            if is_chief(vae.distribute_strategy):
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(files.locked(self.folder))
                except files.Busy:
                    raise
                except OSError:
                    pass  # said when a checkpoint cannot be written
            held.enter_context(self._signal.during(self.signals))
            yield

    def serve(self, vae: Any, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `fit` with data that begin where training goes on."""
        if self._has_position:  # whoever restored by hand has seen to the data, too
            return options
        start = checkpoint_state.number(vae.step) - self._first_step
        if is_array(options["x"]):
            options = serve_arrays(options, seed=vae.seed + self._first_step, conditional=vae.learns_from_pairs)
        x, per_epoch = options["x"], options.get("steps_per_epoch")
        self._saves_within = isinstance(x, tf.data.Dataset)
        if not self._saves_within:
            return options
        number = int(x.cardinality())
        if per_epoch:
            return {**options, "x": x.skip(start)} if start else options
        if number <= 0 or number % vae.steps_per_execution:
            return options
        if hasattr(x, "as_stream"):
            return {**options, "x": x.as_stream(start_step=start), "steps_per_epoch": number, "shuffle": False}
        if self._offset:
            rest = x.skip(self._offset).concatenate(x.repeat())
            return {**options, "x": rest, "steps_per_epoch": number}
        return options

    # During training.

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Give the callbacks back what they held: they have just been reset."""
        if self._restored is None:
            return
        state, arrays = self._restored
        for name, callback in self._others.items():
            vars(callback).update(state["callbacks"].get(name, {}))
            vars(callback).update(
                {key: checkpoint_state.list_of(arrays, f"{name}.{key}") for key in state["lists"].get(name, [])}
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch; at the first one give back what its start has reset."""
        self._epoch, self._epoch_start, self.is_cut = epoch, checkpoint_state.number(self.model.step), False
        self._give_back()
        if self._offset and self._offset == self.params.get("steps"):
            self._leave_out_training()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save, if it is time."""
        steps, done = self.params.get("steps"), self._offset + batch + 1
        self._signal.is_useful = True
        is_to_stop = self._is_to_stop()
        if not self._can_save_within():
            if is_to_stop and not (steps and done >= steps):
                self._signal.hand_on()
            return
        if done < steps:
            if is_to_stop:
                self._try_to_save(self._epoch, done)
                self._signal.hand_on()
            elif self._is_time_within(done):
                self._try_to_save(self._epoch, done)
        elif self._offset and not self.model.stop_training:
            self.model.stop_training = self.is_cut = True

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Remember the running means of the training, which the validation resets."""
        if self._can_save_within():
            self._means = self._running_means()

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Leave the rest of a validation for later, if training is to stop."""
        if self._means and self._is_to_stop():
            self.model.stop_evaluating = self._is_validation_cut = True

    def on_test_end(self, logs: dict | None = None) -> None:
        """Keep the weights, averaged ones if they are on, if they are the best so far."""
        if self._is_validation_cut:
            return
        value, yardstick = float((logs or {}).get(self.model.monitor, math.nan)), self.model.yardstick()
        if math.isfinite(value) and (self.best_epoch is None or self._is_better(value, yardstick)):
            self.best_value, self.best_yardstick, self.best_epoch = value, yardstick, self._epoch
            self.best_weights, self._best_is_new = self.model.get_weights(), True

    def _is_better(self, value: float, yardstick: tuple[float, ...]) -> bool:
        if yardstick != self.best_yardstick:
            return True
        return value > self.best_value if monitors.more_is_better(self.model.monitor) else value < self.best_value

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save, if it is time; always when training ends."""
        self._offset = 0
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        is_to_stop = self._is_to_stop(at_once=True)
        if is_last or is_to_stop or self._is_time(checkpoint_state.number(self.model.step)):
            self._try_to_save(epoch + 1, 0, logs)
        if is_to_stop:
            self._signal.hand_on()

    def stop_within_validation(self, epoch: int) -> None:
        """Save an epoch whose validation is not done, if that was cut short: before others take it for whole."""
        if self._is_validation_cut:
            self._try_to_save(epoch, self.params["steps"])
            self._signal.hand_on()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Give back the history, if nothing was left to train."""
        self._give_back()

    # Saving.

    def save(self, epoch: int, batches: int = 0, logs: Mapping[str, Any] | None = None) -> None:
        """Write a checkpoint, and the best model if it is another one.

        Args:
            epoch: number of whole epochs.
            batches: number of steps of the epoch that has begun.
            logs: those of the last epoch, if it has just ended.

        Raises:
            OSError: if the disk refuses.
            ValueError: if the weights are not finite.
        """
        means = (self._means if self._is_validation_cut else self._running_means()) if batches else {}
        if not is_chief(self.model.distribute_strategy):
            return
        checkpoint_state.check_finite(self.model)
        variables = checkpoint_state.variables(self.model)
        arrays = {name: checkpoint_state.value_of(variable) for name, variable in variables.items()} | means
        for index, weight in enumerate(self.best_weights or []):
            arrays[f"best.{index}"] = weight
        lists = {}
        for name, callback in self._others.items():
            found = {key: value for key, value in vars(callback).items() if checkpoint_state.is_list_of_arrays(value)}
            lists[name] = list(found)
            for key, values in found.items():
                arrays |= {f"{name}.{key}.{index}": value for index, value in enumerate(values)}
        history = self.model.history
        ended = {name: [value] for name, value in (logs or {}).items()}
        position = Position(checkpoint_state.number(self.model.step), epoch, batches)
        state = {
            "position": list(position),
            "first_step": self._first_step,
            "seed": self.model.seed,
            "run": self.run,
            "stopped": bool(self.model.stop_training) and not self.is_cut,
            "best_value": self.best_value,
            "best_yardstick": list(self.best_yardstick),
            "best_epoch": self.best_epoch,
            "meanings": checkpoint_state.meanings(self.model),
            "shapes": {name: list(variable.shape) for name, variable in variables.items()},
            "callbacks": {name: checkpoint_state.plain_state(callback) for name, callback in self._others.items()},
            "lists": lists,
            "epochs": [*history.epoch, *([epoch - 1] if ended else [])],
            "history": {
                name: [*history.history.get(name, []), *ended.get(name, [])] for name in {**history.history, **ended}
            },
        }
        checkpoint_files.write(self.folder, position.step, state, arrays)
        self.saved, self._saved_step = position, position.step
        if self.best_path is not None and (self._best_is_new or self.best_weights is None):
            self.save_best(self.best_path)

    def save_best(self, path: Path) -> None:
        """Write the best model: the current one if there was no validation."""
        current = None if self.best_weights is None else self.model.get_weights()
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
        try:
            checkpoint_state.save(self.model, path, self.run)
            self._best_is_new = False
        finally:
            if current is not None:
                self.model.set_weights(current)

    def _running_means(self) -> dict[str, np.ndarray]:
        variables = checkpoint_state.metric_variables(self.model)
        return {name: checkpoint_state.value_of(variable) for name, variable in variables.items()}

    def _can_save_within(self) -> bool:
        steps = self.params.get("steps")
        return self._saves_within and bool(steps) and steps % self.model.steps_per_execution == 0

    def _leave_out_training(self) -> None:
        """Let the first call of the epoch train nothing: it has all been done, but for the validation."""
        train = self.model.train_function

        def nothing(iterator: Any) -> dict[str, Any]:
            self.model.train_function = train
            return dict(self.model.get_metrics_result())

        self.model.train_function = nothing

    def _stays_stopped(self, state: Mapping[str, Any]) -> bool:
        """Whether a run that was stopped early would be stopped again: with more patience it goes on."""
        stoppers = {name: held for name, held in state["callbacks"].items() if held.get("stopped_epoch")}
        patience = {name: getattr(self._others.get(name), "patience", math.inf) for name in stoppers}
        return state["stopped"] and (not stoppers or any(stoppers[n]["wait"] >= patience[n] for n in stoppers))

    def _is_to_stop(self, at_once: bool = False) -> bool:
        return self._signal.came(self.model.distribute_strategy, at_once)

    def _is_time_within(self, done: int) -> bool:
        """Whether to save after so many steps of the epoch; all workers agree, as only all can read running means."""
        step = self._epoch_start + done - self._offset
        if not is_multi_worker(self.model.distribute_strategy):
            return self._is_time(step)
        every = min(self.every or ASK_EVERY, ASK_EVERY)
        before = done - self.model.steps_per_execution
        return done // every > before // every and from_chief(self.model.distribute_strategy, self._is_time(step))

    def _is_time(self, step: int) -> bool:
        by_steps = self.every is not None and step - self._saved_step >= self.every
        return by_steps or (self.seconds is not None and time.monotonic() - self._saved_at >= self.seconds)

    def _try_to_save(self, epoch: int, batches: int, logs: Mapping[str, Any] | None = None) -> None:
        try:
            self.save(epoch, batches, logs)
        except (OSError, RuntimeError, ValueError) as error:
            if not self._is_failing:
                last = f"the last one is of {self.saved}" if self.saved else "there is none yet"
                self.report(f"No checkpoint could be written in {self.folder} ({error}). Training goes on; {last}.")
            self._is_failing = True
        else:
            if self._is_failing:
                self.report(f"Checkpoints are written again: {self.saved}.")
            self._is_failing = False
        self._saved_at = time.monotonic()

    def _give_back(self) -> None:
        """The epoch that has begun, and the history."""
        if self._restored is None:
            return
        state, arrays = self._restored
        self._restored = None
        if self._offset:
            for name, variable in checkpoint_state.metric_variables(self.model).items():
                checkpoint_state.assign(variable, arrays[name])
            for name, callback in self._others.items():
                for key in callback.of_the_epoch if isinstance(callback, FitCallback) else ():
                    setattr(callback, key, state["callbacks"][name][key])
        self.model.history.epoch = [*state["epochs"]]
        self.model.history.history = {name: [*values] for name, values in state["history"].items()}


def _keeps_state(callback: keras.callbacks.Callback) -> bool:
    return callback.keeps_state if isinstance(callback, FitCallback) else isinstance(callback, WITH_STATE)


class _BeforeTheOthers(FitCallback):
    """Lets training go on after the rest of an epoch, which is shorter than the epochs that Keras counts.

    The same before a validation that was cut short reaches callbacks that would take it for whole.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__()
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Take back that training is to stop, before the other callbacks decide on that."""
        if self.checkpoints.is_cut:
            self.model.stop_training = self.checkpoints.is_cut = False
        self.checkpoints.stop_within_validation(epoch)
