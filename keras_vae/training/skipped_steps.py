"""What `fit` says of the steps that it skipped, and when it stops because of them."""

import math
from typing import Any

import keras

from keras_vae.arguments import check_count
from keras_vae.training import data_guard, step_guard
from keras_vae.training.callback import FitCallback
from keras_vae.training.checkpoint_state import number

# So many in a row are no accident of one batch.
LIMIT = 20
MEANING = {
    "x": "x (the data)",
    "z": "z (the draws from q(z|x))",
    "kl": "kl (KL(q(z|x) || p(z)))",
    "log_likelihood": "log_likelihood (log p(x|z))",
    "loss": "loss",
    "gradient": "gradient",
}


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had to be skipped. The weights are those of the last good step."""


class SkippedSteps(FitCallback):
    """Reports the training steps that were skipped (see `step_guard`), and stops when too many were in a row.

    It also stops, with a ValueError, where the data hold values that the likelihood cannot have (see `data_guard`).

    `fit` adds one by itself. From the first epoch with a skipped step on, the logs have `skipped_steps`, the number in
    the epoch; the other numbers of training are means over the steps that were taken, NaN if there are none.

    Args:
        limit: so many skipped steps in a row raise `TrainingDiverged`.
        always: whether the logs have `skipped_steps` from the first epoch on, as a file with fixed columns needs.
    """

    keeps_state = True
    of_the_epoch = ("_before", "_steps_before")

    def __init__(self, limit: int = LIMIT, always: bool = False) -> None:
        super().__init__()
        self.limit = check_count("limit", limit)
        self._is_logged = always
        self._before = self._steps_before = 0
        self._unread = 0
        self._seen_batches = 0
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember how many there were before."""
        self._epoch = epoch
        self._before, _, _ = self._counts()
        self._steps_before = number(self.model.step)
        self._seen_batches = self._unread = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the count, so seldom that it costs nothing."""
        self._unread += batch + 1 - self._seen_batches
        self._seen_batches = batch + 1
        if self._unread >= self.limit:
            self._unread = 0
            self._refuse_bad_data()
            self._stop_if_too_many()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the number of the epoch."""
        self._refuse_bad_data()
        self._stop_if_too_many()
        skipped = self._counts()[0] - self._before
        if logs is None or not (skipped or self._is_logged):
            return
        if not self._is_logged:
            self._is_logged = True
            history = self.model.history
            history.history.setdefault("skipped_steps", [0] * len(history.epoch))
        if skipped >= number(self.model.step) - self._steps_before:
            # Means over nothing would read as zero.
            logs.update({name: math.nan for name in logs if not name.startswith("val_")})
        logs["skipped_steps"] = skipped

    def _counts(self) -> tuple[int, int, int]:
        total, in_a_row, reason = keras.ops.convert_to_numpy(self.model.skip_counts.result())
        return int(total), int(in_a_row), int(reason)

    def _refuse_bad_data(self) -> None:
        of = f"of epoch {self._epoch + 1}"
        self.model.data_guard.refuse(data_guard.TRAINING, before=self._steps_before, of=of)

    def _stop_if_too_many(self) -> None:
        total, in_a_row, reason = self._counts()
        if in_a_row >= self.limit:
            raise TrainingDiverged(
                explain(self.model, step_guard.REASONS[reason - 1], in_a_row, total, number(self.model.step))
            )


def explain(vae: Any, reason: str, in_a_row: int, total: int, step: int) -> str:
    """What happened, and the advice that fits."""
    if reason == "norm":
        what = f"the norm of the gradient was above gradient_skip_norm={vae.gradient_skip_norm:g}"
    else:
        what = f"{MEANING[reason]} was not finite"
    return (
        f"Training stopped at step {step}: {in_a_row} steps in a row were skipped because {what}; {total} were skipped "
        f"in all. The weights are those of the last good step. {advice(vae, reason)}"
    )


def advice(vae: Any, reason: str) -> str:
    """What helps, as far as the model tells."""
    rate = float(keras.ops.convert_to_numpy(vae.optimizer.learning_rate))
    if reason == "x":
        return "Repair or drop what is NaN or infinite in the data: np.isfinite(x) finds it."
    if reason == "norm":
        return f"Raise gradient_skip_norm, or lower the learning rate (now {rate:g})."
    found = []
    if isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer):
        found.append("float16 ends at 65504: mixed_bfloat16 and float32 have the range.")
    if reason == "log_likelihood" and vae.decoder.likelihood.advice:
        found.append(vae.decoder.likelihood.advice)
    found.append(f"Lower the learning rate (now {rate:g}), or clip the gradient (Adam(..., global_clipnorm=1.0)).")
    return " ".join(found)


def with_report(callbacks: Any) -> list[keras.callbacks.Callback]:
    """The callbacks of `fit` as a list, a `SkippedSteps` in front unless there is one."""
    listed = callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else callbacks
    listed = keras.tree.flatten(listed) if listed else []
    has_one = any(isinstance(callback, SkippedSteps) for callback in listed)
    return listed if has_one else [SkippedSteps(), *listed]
