"""Data that a model cannot take, found inside of the compiled steps of `fit` and `evaluate`, and named outside of them.

An assertion would not do: XLA leaves assertions out. Each step counts what is wrong with its batch; the first one that
is stays on record until somebody has read it. Training takes no step from then on, so that the weights are those before
that batch.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.likelihoods.observed import filled

TRAINING, EVALUATION = 0, 1


class DataGuard:
    """The record, in variables that no file holds.

    Args:
        likelihood: what the data must be values of.
    """

    def __init__(self, likelihood: Any) -> None:
        self._likelihood = likelihood
        # Of training and of evaluation: 1 + the number of the batch, and how many values lie outside of the support,
        # are not finite, are there in all, and how many weights are no weights.
        self._found = _variable(tf.zeros([2, 5], tf.int64))
        # The smallest and the largest finite value of that batch; not known of several replicas.
        self._range = _variable(tf.fill([2, 2], math.nan))

    def look(self, kind: int, number: tf.Tensor, x: tf.Tensor, target: tf.Tensor | None, weight: Any) -> tf.Tensor:
        """Look at a batch, in a step; all replicas come to the same result.

        Args:
            kind: `TRAINING`, where values that are not finite are left to the step guard, or `EVALUATION`.
            number: of the batch.
            x: the examples, [B, ...].
            target: what the likelihood is of, if not x.
            weight: of the examples, or None.

        Returns:
            Whether this batch, or one before it that nobody has read of yet, is one that the model cannot take.
        """
        data = [x] if target is None else [x, target]
        data = [tf.cast(part, tf.float32) for part in data]
        weight = None if weight is None else tf.cast(weight, tf.float32)
        outside = self._likelihood.outside(data[-1])
        missing = self._likelihood.missing
        if outside is not None and missing:
            outside &= ~tf.math.is_nan(data[-1])
        signs = [] if outside is None else [tf.reduce_any(outside)]
        if kind == EVALUATION:
            # A sum of finite values may overflow; zeros do not, and what is not finite makes them NaN.
            looked_at = [filled(part) if missing else part for part in data]
            signs += [tf.math.is_nan(tf.reduce_sum(0.0 * part)) for part in looked_at]
        if weight is not None:
            signs.append(tf.reduce_any(_wrong(weight)))
        if not signs:
            return tf.constant(False)

        def counted() -> tf.Tensor:
            bad = [tf.math.is_inf(part) if missing else ~tf.math.is_finite(part) for part in data]
            off = tf.constant(False) if outside is None else outside & ~bad[-1]
            counts = [_count(off), sum(_count(part) for part in bad) * kind, tf.size(data[-1], tf.int64)]
            return tf.stack([*counts, _count(tf.constant(False) if weight is None else _wrong(weight))])

        suspicious, replica = tf.reduce_any(tf.stack(signs)), tf.distribute.get_replica_context()
        if not tf.distribute.has_strategy():
            # All but nothing, as long as nothing is wrong.
            tf.cond(suspicious, lambda: self._record(kind, number, counted(), data[-1]), lambda: tf.constant(False))
        else:
            nothing = tf.stack([0, 0, tf.size(data[-1], tf.int64), 0])
            counts = tf.cond(suspicious, counted, lambda: nothing)
            # No condition may hold what replicas do together.
            self._record(kind, number, replica.all_reduce("SUM", counts))
        return self.has_refused(kind)

    def _record(self, kind: int, number: tf.Tensor, counts: tf.Tensor, values: tf.Tensor | None = None) -> tf.Tensor:
        """Put a batch on record, if there is something wrong with it and it is the first; whether it was."""
        before = tf.convert_to_tensor(self._found)
        is_new = (before[kind, 0] == 0) & (counts[0] + counts[1] + counts[3] > 0)
        row = tf.concat([[tf.cast(number, tf.int64) + 1], counts], axis=0)
        here = is_new & (tf.range(2)[:, tf.newaxis] == kind)
        self._found.assign(tf.where(here, row, before))
        if values is not None:
            self._range.assign(tf.where(here, _range_of(values), tf.convert_to_tensor(self._range)))
        return is_new

    def has_refused(self, kind: int) -> tf.Tensor:
        """Whether a batch that nobody has read of yet is one that the model cannot take, a scalar in the step."""
        return tf.convert_to_tensor(self._found)[kind, 0] > 0

    def forget(self, kind: int) -> None:
        """Begin anew."""
        self._found.assign(tf.tensor_scatter_nd_update(tf.convert_to_tensor(self._found), [[kind]], [[0] * 5]))

    def refuse(self, kind: int, before: int = 0, of: str = "of the data") -> None:
        """Raise if there is something on record, which is then forgotten.

        Args:
            kind: `TRAINING` or `EVALUATION`.
            before: the number that the first batch had.
            of: what the batches are of.

        Raises:
            ValueError: naming the batch, what is wrong with it, and the remedy.
        """
        number, outside, lost, size, weights = (int(n) for n in np.asarray(tf.convert_to_tensor(self._found))[kind])
        if not number:
            return
        low, high = (float(n) for n in np.asarray(tf.convert_to_tensor(self._range))[kind])
        self.forget(kind)
        place = f"Batch {number - 1 - before} {of} (the first is number 0)"
        if weights:
            what = f"has {weights} sample weights that are negative, NaN or infinite: a weight is a number >= 0."
        elif lost:
            what = f"has {lost} values that are NaN or infinite. Repair or drop them: np.isfinite(x) finds them."
        else:
            found = "" if math.isnan(low) else f"[{low:g}, {high:g}]"
            what = f"has values that the model cannot take. {self._likelihood.refusal(outside / size, found)}"
        taken = " The weights of the model are those before that batch." if kind == TRAINING else ""
        raise ValueError(f"{place} {what}{taken}")


def harmless(refused: tf.Tensor, *parts: tf.Tensor | None) -> list[tf.Tensor | None]:
    """The tensors, or zeros in place of data that are refused: a level that does not exist has no index in a table."""

    def replaced(part: tf.Tensor) -> tf.Tensor:
        return tf.cond(refused, lambda: tf.zeros_like(part), lambda: tf.identity(part))

    return [None if part is None else replaced(part) for part in parts]


def _variable(value: tf.Tensor) -> tf.Variable:
    return tf.Variable(value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _wrong(weight: tf.Tensor) -> tf.Tensor:
    return ~((weight >= 0.0) & (weight < math.inf))


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int64))


def _range_of(values: tf.Tensor) -> tf.Tensor:
    finite = tf.math.is_finite(values)
    low = tf.reduce_min(tf.where(finite, values, math.inf))
    return tf.stack([low, tf.reduce_max(tf.where(finite, values, -math.inf))])
