"""How many training steps one call of the compiled function makes."""

import contextlib
import functools
import inspect
import math
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

# Keras spends most of a millisecond around each call: with ten steps in it, that is a percent of a step of 8 ms.
MOST_STEPS = 10
# Of an epoch, so that a progress bar moves.
LEAST_CALLS = 10
HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


class ChoosesExecutions(keras.Model):
    """A model whose `fit` chooses `steps_per_execution`, unless `compile` was given one.

    Only training takes several steps in a call, and only where nobody can tell: the data are a `tf.data.Dataset` of
    known size, no callback looks at each batch, and there is one replica. The weights are the same, bit for bit.
    """

    steps_per_execution: int
    _chooses_executions = True
    _trained_with = 1

    @functools.wraps(keras.Model.compile)
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile, and remember whether `steps_per_execution` was given."""
        given = inspect.signature(keras.Model.compile).bind(self, *args, **kwargs).arguments
        self._chooses_executions = "steps_per_execution" not in given
        self._trained_with = given.get("steps_per_execution", 1)
        super().compile(*args, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, for `compile_from_config`; None of a model that is not compiled."""
        config = super().get_compile_config()
        if config is not None and self._chooses_executions:
            config.pop("steps_per_execution", None)
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was. (Keras leaves this to classes with a `compile` of their own.)"""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    @contextlib.contextmanager
    def executing(self, steps: int) -> Iterator[None]:
        """Let the calls of the compiled functions make so many steps, if that was left to the model."""
        if not self._chooses_executions:
            yield
            return
        before, self.steps_per_execution = self.steps_per_execution, steps
        try:
            yield
        finally:
            self.steps_per_execution = before

    def training_executions(self, options: dict[str, Any]) -> contextlib.AbstractContextManager[None]:
        """`executing` as many steps as suit the arguments of `fit`."""
        # Workers, whose data and callbacks may differ, must choose alike.
        is_plain = not self.run_eagerly and self.distribute_strategy.num_replicas_in_sync == 1
        steps = steps_per_execution(options, int(tf.convert_to_tensor(self.step))) if is_plain else 1
        if self._chooses_executions and steps != self._trained_with:
            # The number is a constant of the compiled function.
            self.train_function, self._trained_with = None, steps
        return self.executing(steps)

    @contextlib.contextmanager
    def evaluating_executions(self) -> Iterator[None]:
        """`executing` single steps, also in a validation for which `fit` has prepared."""
        iterator = getattr(self, "_eval_epoch_iterator", None)
        if iterator is not None and self._chooses_executions:
            iterator.steps_per_execution = 1
        with self.executing(1):
            yield


def steps_per_execution(options: dict[str, Any], step: int = 0) -> int:
    """The number that suits the arguments of `fit`, of a model that has made `step` steps: 1 to 10."""
    data = options.get("x")
    if not isinstance(data, tf.data.Dataset) or any(map(needs_every_batch, options.get("callbacks") or [])):
        return 1
    size, per_epoch = int(data.cardinality()), options.get("steps_per_epoch")
    if per_epoch is None:
        # The compiled function stops where the data end.
        return max(1, min(MOST_STEPS, size // LEAST_CALLS))
    # Keras makes whole calls, which must not go beyond the end of an epoch; one that is resumed ends early.
    most = max(1, min(MOST_STEPS, per_epoch // LEAST_CALLS))
    return max(n for n in range(1, most + 1) if math.gcd(per_epoch, step) % n == 0)


def needs_every_batch(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback of `fit` is to be called after each training step.

    One of your own that only wants to be called now and then says so by an attribute `needs_every_batch = False`.
    """
    known = keras.callbacks
    if isinstance(callback, (known.ModelCheckpoint, known.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, known.TensorBoard):
        # The batch at which a profile starts, which it does not tell otherwise; 0 is none.
        return callback.update_freq != "epoch" or getattr(callback, "_start_batch", 1) > 0
    if isinstance(callback, known.ProgbarLogger):
        return False
    default = any(getattr(type(callback), hook) is not getattr(known.Callback, hook) for hook in HOOKS)
    return getattr(callback, "needs_every_batch", default or any(hook in vars(callback) for hook in HOOKS))
