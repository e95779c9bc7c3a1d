"""Weights that change while a model learns: with the training step, or because a callback says so.

Keras's own `keras.optimizers.schedules` work in place of the schedules here: a schedule is any serialisable callable of
the step.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.arguments import check_count, check_number, check_weight
from keras_vae.serialization import Serializable, register

__all__ = ["Cyclical", "Linear", "Schedule", "Weight", "at_step"]


class Weight:
    """An attribute that is a number, which may be set at any time, also by a callback within `fit`, or a schedule.

        class Sparse(objectives.Objective):
            strength = schedules.Weight()

            def __init__(self, strength=1.0):
                self.strength = strength

    A compiled training step would keep the number that it was traced with. Once a model has adopted its owner, the step
    reads a variable instead, as Keras does with the learning rate; whoever reads the attribute elsewhere gets the
    number. The config follows, so that a model is saved with the number that it had last.

    Args:
        positive: whether the number must be greater than 0.

    Raises:
        ValueError: on assignment of anything but such a number, >= 0 if nothing else is said, or a schedule.
        AttributeError: if a schedule takes the place of a number, or the other way, when a model has adopted the owner:
            what the step computes would be another formula.
    """

    def __init__(self, positive: bool = False) -> None:
        self.positive = positive

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        # Names that Keras does not track: they are no state to save.
        self._value, self._variable = f"__{name}__", f"__{name}_variable__"

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        if owner is None:
            return self
        state = vars(owner)
        if self._value not in state:
            raise AttributeError(f"{type(owner).__name__} has not set {self.name} yet.")
        in_graph = self._variable in state and tf.inside_function()
        return tf.convert_to_tensor(state[self._variable]) if in_graph else state[self._value]

    def __set__(self, owner: Any, value: Any) -> None:
        value, state = check_weight(self.name, value), vars(owner)
        if self.positive and not callable(value):
            check_number(self.name, value, above=0)
        if is_adopted(owner) and self._value in state:
            if callable(value) or callable(state[self._value]):
                raise AttributeError(
                    f"{self.name} is {state[self._value]!r}, and cannot be {value!r} instead: a number stays a number, "
                    "and a schedule that schedule, once a model has it. Make another model of the same parts: "
                    "VAE(vae.encoder, vae.decoder, vae.prior, objective)."
                )
            state[self._variable].assign(value)
        state[self._value] = value
        if is_adopted(owner):
            self.adopt(owner)
            state["__arguments__"].update(_set_weights(owner))

    def adopt(self, owner: Any) -> None:
        """Make the variable, if the owner has a number here; under the strategy in whose scope this is called."""
        value, state = vars(owner).get(self._value), vars(owner)
        if value is not None and not callable(value) and self._variable not in state:
            state[self._variable] = tf.Variable(
                value,
                trainable=False,
                dtype=tf.float32,
                name=self.name,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )


class Adoptable:
    """What a model reads when it traces its steps: its other arguments cannot be changed afterwards."""

    def __setattr__(self, name: str, value: Any) -> None:
        is_weight = isinstance(getattr(type(self), name, None), Weight)
        if is_adopted(self) and not is_weight and name in vars(self)["__arguments__"]:
            raise AttributeError(
                f"{type(self).__name__}.{name} cannot be changed once a model has it, because its compiled steps would "
                "not see the change. Make another model of the same parts: VAE(vae.encoder, vae.decoder, vae.prior, "
                f"{type(self).__name__}({name}={value!r}, ...)). Numbers that callbacks may set are declared by the "
                f"class: {name} = schedules.Weight()."
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: not the variables, nor the model."""
        return {name: value for name, value in vars(self).items() if not _is_of_adoption(name)}


def adopt(owner: Any) -> None:
    """Tie the numbers and schedules of an objective, or of a model itself, to compiled steps."""
    for _, weight in _weights(owner):
        weight.adopt(owner)
    vars(owner)["__adopted__"] = True
    for value in vars(owner)["__arguments__"].values():
        if isinstance(value, Adoptable):
            adopt(value)


def weights_at(owner: Any, step: int) -> tuple[float, ...]:
    """The values of all weights of an owner at a step, in the order of their names."""
    at = tf.constant(step, tf.int64)
    return tuple(float(at_step(getattr(owner, name), at)) for name, _ in sorted(_weights(owner), key=lambda w: w[0]))


def final(weight: "float | Schedule") -> float:
    """What a number or schedule comes to: the `end` of a schedule that has one, else its value after 2^31 steps."""
    end = getattr(weight, "end", None)
    return float(at_step(weight, tf.constant(2**31 - 1, tf.int64)) if end is None else end)


def is_adopted(owner: Any) -> bool:
    """Whether a model reads the numbers of this object."""
    return "__adopted__" in vars(owner)


def _weights(owner: Any) -> list[tuple[str, Weight]]:
    found = {name: value for kind in reversed(type(owner).__mro__) for name, value in vars(kind).items()}
    return [(name, value) for name, value in found.items() if isinstance(value, Weight)]


def _set_weights(owner: Any) -> dict[str, Any]:
    """The arguments of the constructor that are weights, as they are now."""
    state = vars(owner)
    return {n: state[w._value] for n, w in _weights(owner) if n in state["__arguments__"] and w._value in state}


def _is_of_adoption(name: str) -> bool:
    return name == "__adopted__" or (name.startswith("__") and name.endswith("_variable__"))


class Schedule(Adoptable, Serializable, keras.optimizers.schedules.LearningRateSchedule):
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
