"""Training steps whose numbers went wrong: found and left out inside the compiled step.

A step is skipped if the loss or a gradient is not finite, or if the norm of the gradient is larger than a threshold, as
in Child 2021, "Very deep VAEs generalize autoregressive models and can outperform them on images". Nothing changes in
a skipped step: not the weights, the optimizer, averaged weights, or statistics of batch normalisation.

An overflow of float16 under dynamic loss scaling is no failure: the `LossScaleOptimizer` leaves the step out by itself
and halves its scale. Only where the scale has come down to 1, or where the loss itself is not finite, which no scale
cures, is the step counted here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_vae import internals
from keras_vae.terms import Terms
from keras_vae.training import adam

# What may be wrong with a step, in the order in which it is computed: the first is named.
REASONS = ("x", "z", "kl", "log_likelihood", "loss", "gradient", "norm", "refused")


class CheckedStep(NamedTuple):
    """What was found: gradients to apply, and 0 or 1 + the index in `REASONS` of what forbids it."""

    gradients: list[tf.Tensor | None]
    reason: tf.Tensor

    @property
    def skipped(self) -> tf.Tensor:
        """Whether the step is to be left out."""
        return self.reason > 0


class SkipCounts(keras.metrics.Metric):
    """Counts of skipped steps, kept over epochs: [all of them, those in a row up to now, reason of the last]."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts = self.add_variable((3,), "zeros", dtype="int64", aggregation="only_first_replica", name="counts")

    def update_state(self, reason: tf.Tensor) -> None:
        """Count the step if there is a reason."""
        reason = tf.cast(reason, tf.int64)
        skipped = tf.cast(reason > 0, tf.int64)
        kept = tf.convert_to_tensor(self.counts) * tf.stack([1, skipped, 1 - skipped])
        self.counts.assign(kept + tf.stack([skipped, skipped, reason]))

    def result(self) -> tf.Tensor:
        """The counts."""
        return tf.convert_to_tensor(self.counts)

    def reset_state(self) -> None:
        """Nothing: an epoch is no reason to forget."""


def check(
    gradients: Sequence[tf.Tensor | None],
    optimizer: keras.optimizers.Optimizer,
    threshold: float | None,
    x: tf.Tensor,
    terms: Terms,
    loss: tf.Tensor,
    refused: tf.Tensor | bool = False,
) -> CheckedStep:
    """Look at a step before it is taken. All replicas come to the same result.

    Args:
        gradients: of the scaled loss, summed over replicas; None where there is none.
        optimizer: which scaled the loss.
        threshold: largest norm of the gradient that is taken; None for any.
        x: the batch.
        terms: what the model computed.
        loss: the objective, unscaled.
        refused: whether the data are such that no step may be taken, on all replicas alike.
    """
    gradients = list(gradients)
    replica = tf.distribute.get_replica_context()
    norm = tf.linalg.global_norm([g if g is None else tf.cast(g, tf.float32) for g in gradients])
    bad, loss_is_lost = None, ~tf.math.is_finite(loss)
    if replica.num_replicas_in_sync > 1:
        # The one that met the cause tells the others.
        bad = replica.all_reduce("SUM", tf.cast(_not_finite(x, terms, loss), tf.float32)) > 0
        loss_is_lost = bad[-1]
    overflow = norm - norm  # 0, or NaN for a norm that is not finite
    lost = tf.math.is_nan(overflow)
    scale = tf.cast(optimizer.scale_loss(tf.ones(())), tf.float32)
    explodes = tf.constant(False) if threshold is None else ~lost & (norm > threshold * scale)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # It looks at single gradients: this makes it see what was seen here.
        gradients = _mark(gradients, overflow)
        lost &= (scale <= 1.0) | loss_is_lost

    def first() -> tf.Tensor:
        terms_lost = _not_finite(x, terms, loss) if bad is None else bad
        found = tf.concat([terms_lost, [lost, explodes]], 0)
        return tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32) + 1

    reason = tf.cond(loss_is_lost | lost | explodes, first, lambda: tf.constant(0))
    return CheckedStep(gradients, tf.where(refused, len(REASONS), reason))


def apply(checked: CheckedStep, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Let the optimizer take the step, unless it is to be skipped. The optimizer has been built."""

    def take() -> None:
        with adam.growing_window(optimizer):
            adam.apply(optimizer, checked.gradients, variables)

    if internals.applies_without_merge_call():
        _unless(checked.skipped, take)
        return

    def on_all_replicas(strategy: Any, skipped: Any, gradients: Any, variables: Any) -> None:
        def take_all() -> None:
            with adam.growing_window(optimizer):
                strategy.extended.call_for_each_replica(optimizer.apply, args=(gradients, variables))

        _unless(strategy.experimental_local_results(skipped)[0], take_all)

    # A condition with a merge call inside, such as the sum of the gradients, must stand outside of the replicas.
    tf.distribute.get_replica_context().merge_call(
        on_all_replicas, args=(checked.skipped, checked.gradients, list(variables))
    )


class Backup:
    """What a pass through the networks changes by itself, such as the moving averages of batch normalisation.

    Args:
        variables: those that are not trained, before the pass.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        floats = [v for v in variables if "float" in str(v.dtype)]
        self._before = [(v, tf.identity(tf.convert_to_tensor(v))) for v in floats]

    def restore(self, skipped: tf.Tensor) -> None:
        """Put them back if the step is skipped."""
        for variable, before in self._before:
            variable.assign(tf.where(skipped, before, tf.convert_to_tensor(variable)))


def _not_finite(x: tf.Tensor, terms: Terms, loss: tf.Tensor) -> tf.Tensor:
    """Which of x, z, kl, log_likelihood and loss are not finite, [5]."""
    sums = [x, *(group.z for group in terms.groups), terms.kl, terms.log_likelihood, loss]
    # A sum of finite values may overflow; zeros do not, and what is not finite makes them NaN.
    x, *z, kl, log_likelihood, loss = (tf.reduce_sum(0.0 * tf.cast(value, tf.float32)) for value in sums)
    return tf.math.is_nan(tf.stack([x, tf.add_n(z), kl, log_likelihood, loss]))


def _mark(gradients: list[tf.Tensor | None], overflow: tf.Tensor) -> list[tf.Tensor | None]:
    # The gradient of a masked kernel does not know its shape.
    sizes = {i: g.shape.num_elements() or math.inf for i, g in enumerate(gradients) if isinstance(g, tf.Tensor)}
    if sizes:
        smallest = min(sizes, key=lambda i: sizes[i])
        gradients[smallest] = gradients[smallest] + overflow
    return gradients


def _unless(skipped: tf.Tensor, take: Callable[[], Any]) -> None:
    def taken() -> tf.Tensor:
        take()
        return tf.constant(True)

    tf.cond(skipped, lambda: tf.constant(False), taken)
