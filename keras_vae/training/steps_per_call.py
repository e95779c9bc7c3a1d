"""How many training steps one call of the compiled function makes."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_vae import internals
from keras_vae.training.callback import FitCallback
from keras_vae.training.checkpoint_state import number

# Keras spends most of a millisecond around each call: with ten steps in it, that is a percent of a step of 8 ms.
MOST_STEPS = 10
# Of an epoch, so that a progress bar moves.
LEAST_CALLS = 10
HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


@contextlib.contextmanager
def while_training(vae: Any, options: dict[str, Any]) -> Iterator[None]:
    """Let a call of the compiled function make as many steps as suit the arguments of `fit`.

    Only where nobody can tell: the data are a `tf.data.Dataset` of known size, no callback looks at each batch, there
    is one replica, and `compile` left `steps_per_execution` at Keras's 1. The weights are the same, bit for bit. Of a
    model with `chooses_steps_per_execution = False` nothing is changed.
    """
    is_open, steps = _is_left_open(vae), vae.steps_per_execution
    # Workers, whose data and callbacks may differ, must choose alike.
    if is_open and not vae.run_eagerly and vae.distribute_strategy.num_replicas_in_sync == 1:
        steps = suitable(options, int(tf.convert_to_tensor(vae.step)))
    if steps != vars(vae).get("_traced_steps", vae.steps_per_execution):
        # The number is a constant of the compiled function.
        vae.train_function = None
    vae._traced_steps, vae._is_choosing = steps, is_open
    try:
        with _executing(vae, steps):
            yield
    finally:
        vae._is_choosing = False


@contextlib.contextmanager
def while_evaluating(vae: Any) -> Iterator[None]:
    """Single steps, also in a validation for which `fit` has prepared."""
    if not (vars(vae).get("_is_choosing", False) or _is_left_open(vae)):
        yield
        return
    internals.evaluate_step_by_step(vae)
    with _executing(vae, 1):
        yield


def suitable(options: dict[str, Any], step: int = 0) -> int:
    """The number that suits the arguments of `fit`, of a model that has made `step` steps: 1 to 10."""
    data = options.get("x")
    if not isinstance(data, tf.data.Dataset) or any(map(needs_every_batch, options.get("callbacks") or [])):
        return 1
    size, per_epoch = int(data.cardinality()), options.get("steps_per_epoch")
    if per_epoch is None:
        # The compiled function stops where the data end.
        return max(1, min(MOST_STEPS, size // LEAST_CALLS))
    # Keras makes whole calls, which must not go beyond the end of an epoch; one that is resumed ends early.
    return largest_divisor(math.gcd(per_epoch, step), max(1, min(MOST_STEPS, per_epoch // LEAST_CALLS)))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return max(n for n in range(1, most + 1) if number % n == 0)


def needs_every_batch(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback of `fit` is to be called after each training step.

    One of your own that has a hook for batches, and only wants to be called now and then, is a `FitCallback`.
    """
    known = keras.callbacks
    if isinstance(callback, FitCallback):
        return callback.needs_every_batch
    if isinstance(callback, (known.ModelCheckpoint, known.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, known.TensorBoard):
        return callback.update_freq != "epoch" or internals.profiles_batches(callback)
    if isinstance(callback, known.ProgbarLogger):
        return False
    overridden = any(getattr(type(callback), hook) is not getattr(known.Callback, hook) for hook in HOOKS)
    return overridden or any(hook in vars(callback) for hook in HOOKS)


def _is_left_open(vae: Any) -> bool:
    return bool(vae.chooses_steps_per_execution) and vae.steps_per_execution == 1


@contextlib.contextmanager
def _executing(vae: Any, steps: int) -> Iterator[None]:
    before, vae.steps_per_execution = vae.steps_per_execution, steps
    try:
        yield
    finally:
        vae.steps_per_execution = before


class Progress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, which counts to its own total.

    Keras tells it of whole calls: of 34 steps, three in a call, the last would be number 36. Where the total is not
    known before, it is the number of steps that were taken.

    Attributes:
        offset: steps of the first epoch that were taken before an interruption.
    """

    def __init__(self) -> None:
        super().__init__()
        self.offset = self._first_step = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember the step."""
        self._first_step = number(self.model.step)
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar."""
        super().on_train_batch_end(self._last(self.offset + batch), logs)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar of an evaluation."""
        super().on_test_batch_end(self._last(batch), logs)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar of a prediction."""
        super().on_predict_batch_end(self._last(batch), logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """End the line."""
        if self.target is None:
            self.seen = number(self.model.step) - self._first_step
        self.offset = 0
        super().on_epoch_end(epoch, logs)

    def _last(self, batch: int) -> int:
        return batch if self.target is None else min(batch, self.target - 1)


def with_progress(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `fit`, `evaluate` or `predict` with a `Progress`, where Keras would show a progress bar."""
    callbacks = options.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList) or options.get("verbose", "auto") == 0:
        return options
    listed = keras.tree.flatten(callbacks) if callbacks else []
    if any(isinstance(callback, keras.callbacks.ProgbarLogger) for callback in listed):
        return options
    return {**options, "callbacks": [*listed, Progress()]}
