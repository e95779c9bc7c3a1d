"""Weights that change with the training step.

Keras's own `keras.optimizers.schedules` work in their place: a schedule is any serialisable callable of the step.
"""

import keras
import tensorflow as tf

from keras_vae.arguments import check_count, check_number
from keras_vae.serialization import Serializable, register


class Schedule(Serializable, keras.optimizers.schedules.LearningRateSchedule):
    """A weight as a function of the step, evaluated inside the compiled training step."""


@register
class Linear(Schedule):
    """A ramp from `start` to `end` in `steps` steps, then constant: the usual KL warm-up.

    w(t) = start + (end - start) min(t / steps, 1), after Sonderby et al. 2016, "Ladder variational autoencoders".
    """

    def __init__(self, steps: int, start: float = 0.0, end: float = 1.0) -> None:
        self.steps = check_count("steps", steps)
        self.start, self.end = check_number("start", start), check_number("end", end)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The weight at `step`, a float32 scalar."""
        fraction = tf.minimum(tf.cast(step, tf.float32) / float(self.steps), 1.0)
        return self.start + (self.end - self.start) * fraction


@register
class Cyclical(Schedule):
    """Ramps from `start` to `end` that begin anew every `period` steps.

    Within a period, w rises linearly during the first `ramp` fraction and stays at `end` for the rest, after Fu et
    al. 2019, "Cyclical annealing schedule: a simple approach to mitigating KL vanishing".
    """

    def __init__(self, period: int, ramp: float = 0.5, start: float = 0.0, end: float = 1.0) -> None:
        self.period, self.ramp = check_count("period", period), check_number("ramp", ramp, above=0)
        self.start, self.end = check_number("start", start), check_number("end", end)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The weight at `step`, a float32 scalar."""
        # The remainder is taken in integers: float32 cannot count past 2^24 steps.
        position = tf.cast(tf.math.floormod(tf.cast(step, tf.int64), self.period), tf.float32) / float(self.period)
        return self.start + (self.end - self.start) * tf.minimum(position / self.ramp, 1.0)


def at_step(weight: float | Schedule, step: tf.Tensor) -> tf.Tensor:
    """The value of a number or schedule at `step`, a float32 scalar."""
    return tf.cast(weight(step) if callable(weight) else weight, tf.float32)
