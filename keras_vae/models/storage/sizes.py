"""What a model would take, computed and not allocated."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_vae import internals

# Numbers in a variable that need not be stored, such as a count or the seed of dropout.
FREE_VALUES = 64


class TooLarge(ValueError):
    """A model that would take more than there is a reason for."""


class Weights:
    """Counts the variables of a model while it is made, and ends that as soon as there are more than are stored.

    Args:
        stored: shapes of the arrays that there are values for.
    """

    def __init__(self, stored: Sequence[tuple[int, ...]]) -> None:
        self.arrays, self.values = len(stored), sum(math.prod(shape) for shape in stored)
        self.made = self.needed = 0
        self.refusal = ""

    def __call__(self, variable: keras.Variable) -> None:
        """Count one more.

        Raises:
            TooLarge: if it is one too many. What Keras makes of the error, or whether it goes on, does not matter:
                `refusal` stays.
        """
        self.made += 1
        self.needed += math.prod(variable.shape)
        if self.needed > self.values + FREE_VALUES * self.made:
            self.refusal = self.refusal or (
                f"its config asks for {self.needed:,} weights or more, of which {variable.path} has the shape "
                f"{tuple(variable.shape)}, and it holds {self.values:,}"
            )
        if self.made > 2 * self.arrays + FREE_VALUES:
            self.refusal = self.refusal or (
                f"its config asks for {self.made:,} arrays of weights or more, and it holds {self.arrays:,}"
            )
        if self.refusal:
            raise TooLarge(self.refusal)


def check(make: Callable[[], Any], stored: Sequence[tuple[int, ...]], max_values: int) -> None:
    """See that a VAE has no more weights than are stored, and needs no more than `max_values` numbers at once.

    Its variables are made without values, and the graph of its first call is made and not run.

    Args:
        make: makes the model, built.
        stored: shapes of the arrays that there are values for.
        max_values: in the largest tensor for one example.

    Raises:
        TooLarge: saying of what.
    """
    weights = Weights(stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd models, of which more is said elsewhere
        try:
            with internals.variables_without_values(weights):
                _check_tensors(make(), max_values)
        except Exception as error:
            if weights.refusal:
                raise TooLarge(weights.refusal) from error
            raise
    if weights.refusal:
        raise TooLarge(weights.refusal)


def _check_tensors(vae: Any, max_values: int) -> None:
    draws, width = vae.objective.num_samples, math.prod(vae.decoder.likelihood.params_shape)
    if draws * width > max_values:
        raise TooLarge(f"{draws:,} draws of {width:,} numbers for each example; {max_values:,} are taken (max_values)")
    condition = None if vae.condition is None else vae.condition.zeros(1)

    def inferred(x: tf.Tensor) -> tf.Tensor:
        return vae.infer(x, vae.objective.num_samples, seed=0, condition=condition).likelihood.mean()

    def generated(x: tf.Tensor) -> tf.Tensor:
        return vae.generate(1, seed=0, condition=condition).likelihood.mean()

    calls = (inferred, generated, *vae.objective.networks)
    size, name = max(_largest(call, (1, *vae.decoder.event_shape)) for call in calls)
    if size > max_values:
        raise TooLarge(f"one example needs {size:,} numbers at once, in {name}; {max_values:,} are taken (max_values)")


def _largest(call: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> tuple[int, str]:
    """The numbers of the largest tensor in the graph of a call, and the name of the operation that makes it.

    What cannot be traced is looked at as far as it goes: it would fail at the same place when it is called.
    """
    graphs: list[Any] = []

    def traced(x: tf.Tensor) -> tf.Tensor:
        graphs.append(tf.compat.v1.get_default_graph())
        return call(x)

    try:
        tf.function(traced, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    # Any part, a user's own too, may raise anything; what was traced until then is looked at all the same.
    except Exception:
        if not graphs:
            raise
    definition = graphs[0].as_graph_def(add_shapes=True)
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    sizes = [(0, "nothing")]
    for node in nodes:
        for found in node.attr["_output_shapes"].list.shape:
            dims = [dim.size for dim in found.dim]
            if not found.unknown_rank and min(dims, default=0) >= 0:
                sizes.append((math.prod(dims), node.name))
    return max(sizes)
