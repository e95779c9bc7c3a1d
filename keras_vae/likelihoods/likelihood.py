"""What every likelihood p(x|z) is: a Keras layer that turns a decoder's output into a TFP distribution over data.

A likelihood of your own is a subclass with one method, and one number if it has more than one parameter a value:

    @kv.register
    class Laplace(likelihoods.Likelihood):
        params_per_value = 2

        def distribution(self, loc, raw_scale):
            return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), len(self.event_shape))
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_event_shape
from keras_vae.distributions.head import Head
from keras_vae.distributions.scales import shares
from keras_vae.distributions.support import REAL, UNIT, Support
from keras_vae.likelihoods.observed import MayMiss, Observed, inner_point

# Data are looked at by about so many values at once, which a processor's cache holds: 20 times faster than all at once.
LOOKED_AT_ONCE = 2**16
# Values that stand behind the percentages of a message.
SHOWN = 2**26


class Likelihood(MayMiss, keras.layers.Layer):
    """A weightless `tfp.layers` head over the decoder's output, in float32 whatever the dtype policy.

    The output has `params_shape` = event_shape[:-1] + (C * n,) and is split on its last axis into n parameters of the
    shape of the data.

    Args:
        event_shape: shape of one example: (height, width, channels) or (features,).

    Attributes:
        support: of every value.
        params_per_value: n.
        levels: number of levels of discrete data, for bits/dim; None for densities.
        scale_bounds: of standard deviations that are learned and may come to lie at a bound; None where none does.
        has_spread: whether a scale that is learned says how far the data lie from the mean: it is drawn.
        mean_of_params: how a page in a browser makes the mean of the decoder's output, of which the first share is the
            location: a name of `explorer/network.js`. None where it cannot.
        advice: what may help if log p(x|z) is not finite.
        needs_condition: whether it is one of p(x|z, c), whose `call` takes the features of the condition too.
        can_miss: whether its values are independent given z, so that some of them may be missing.
        schema: of rows of a table, whose columns have kinds and names; None of all else.
        num_examples: how many examples of the data `adapt_to` looks at.
        missing: whether NaN in the data stands for a value that is missing: log p(x|z) is then of the others. A model
            sets it: `VAE(..., missing=True)`.
    """

    support: Support = REAL
    params_per_value: int = 1
    levels: int | None = None
    mean_of_params: str | None = None
    scale_bounds: Support | None = None
    has_spread: bool = False
    advice: str = ""
    needs_condition: bool = False
    can_miss: bool = True
    num_examples: int = 0
    schema: dict[str, Any] | None = None

    def __init__(self, event_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.event_shape = check_event_shape(event_shape)
        self.head = Head(self._split, convert_to_tensor_fn=tfd.Distribution.mean)

    @property
    def params_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output for one example."""
        return (*self.event_shape[:-1], self.event_shape[-1] * self.params_per_value)

    # Whatever the parameters are called in a subclass, type checkers take it for this.
    def distribution(self, *params: Any, **named: Any) -> tfd.Distribution:
        """The distribution with n parameters, each [..., *event_shape]: batch [...], event `event_shape`.

        A likelihood with weights of its own receives their values after the parameters, and one that needs the
        condition the features of that at last.
        """
        raise TypeError(f"{type(self).__name__} must define distribution(*params).")

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray | None:
        """The output bias that gives the mean of the data, or None where that means nothing.

        Args:
            mean: mean of the data, [..., C].
            spread: standard deviation of the data around their mean.

        Returns:
            Array [..., C * n].
        """
        return None

    def check_condition(self, condition: Any) -> None:
        """Refuse what the decoder is conditioned on, where the likelihood itself cannot do with it.

        Raises:
            ValueError: naming what would do.
        """

    def check_given(self, x: np.ndarray, given: np.ndarray) -> None:
        """Refuse conditions that contradict the data, of a likelihood that has to do with them.

        Args:
            x: data [B, *event_shape], which are checked.
            given: the features of their conditions, [B, ...].

        Raises:
            ValueError: naming the remedy.
        """

    def adapt(self, spread: float) -> None:
        """Initialise weights of its own, if any, from the standard deviation of the data around their mean."""

    def adapt_to(self, examples: np.ndarray) -> None:
        """Initialise weights of its own, if any, from examples of the data, [n, *event_shape]."""

    def view(self) -> keras.layers.Layer | None:
        """A new layer through which an encoder sees the data; None for as they are.

        It has a method `adapt_to`, as this one, and an attribute `missing`.
        """
        return None

    def outside(self, x: Any) -> Any:
        """Which finite values of the data lie where they have no probability, or density: bools shaped like `x`.

        For arrays and, inside of the compiled steps of `fit` and `evaluate`, tensors: no more than a few operations. Of
        values that are not finite it may say anything. None stands for none of them.
        """
        return self.support.outside(x)

    def with_density(self, x: tf.Tensor) -> tf.Tensor:
        """Data as an export takes them: what it asks for in its proof, zeros and ones, must have a density."""
        return x

    def refusal(self, share: float, found: str) -> str:
        """What is wrong with data that hold values outside, and the remedy.

        Args:
            share: of the values that lie outside, in (0, 1].
            found: the interval that the values lie in, if it is known: "[0, 255]".
        """
        within = f", and these lie in {found}" if found else ""
        return f"{type(self).__name__} is a likelihood of values in {self.support}, but the data are not{within}."

    def check_values(self, x: np.ndarray) -> None:
        """Refuse finite floats of the right shape that lie `outside`.

        Raises:
            ValueError: naming the remedy.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            bad = self.outside(x)
            if bad is not None and self.missing:
                bad &= ~np.isnan(x)
        if bad is not None and np.any(bad):
            raise ValueError(self.refusal(float(np.mean(bad)), f"[{np.nanmin(x):g}, {np.nanmax(x):g}]"))

    def call(self, params: tf.Tensor, given: tf.Tensor | None = None) -> tfd.Distribution:
        """p(x|z) from the decoder's output [..., *params_shape].

        Args:
            params: the output.
            given: of a likelihood that needs it, the features of the condition [..., *features_shape].
        """
        weights = [tf.convert_to_tensor(weight) for weight in self.weights]
        return self.head([params, *weights, *([] if given is None else [given])]).tensor_distribution

    def check(self, x: Any, of_support: bool = True) -> None:
        """Refuse data [B, *event_shape] that this likelihood cannot have produced; all of them are looked at.

        Args:
            x: the data.
            of_support: False for what is only shaped like the data: values outside the support are then none of its.

        Raises:
            ValueError: for a wrong shape, integers, NaN or infinity, and values outside the support.
        """
        x = np.asarray(x)
        self.check_shape(x.shape)
        self._check_dtype(x)
        rows = max(1, LOOKED_AT_ONCE // math.prod(self.event_shape))
        for start in range(0, len(x), rows):
            values = _float32(x[start : start + rows])
            if not (np.isfinite(values) | (self.missing & np.isnan(values))).all():
                self._refuse_nonfinite(x)
            if not of_support:
                continue
            try:
                self.check_values(values)
            except ValueError as error:
                self._refuse_values(x, start, error)

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Refuse data whose shape is not [B, *event_shape]; what is not known, None, is taken as right.

        Raises:
            ValueError: naming the remedy.
        """
        shape, event = tuple(shape), self.event_shape
        fits = len(shape) == 1 + len(event) and all(n in (None, m) for n, m in zip(shape[1:], event, strict=True))
        if not fits:
            raise ValueError(
                f"The data have shape {shape}, but the likelihood {type(self).__name__} was made for {event} per "
                f"example: batches of shape {_written('B', *event)}.{_remedy_of_shape(shape, event)}"
            )

    def _check_dtype(self, x: np.ndarray) -> None:
        if x.dtype.kind in "iu":
            raise ValueError(
                f"The data are integers ({x.dtype}), and likelihoods take float32. {self._remedy_of_integers(x)}"
            )
        # The half precision of TensorFlow is a type without a kind in NumPy.
        if x.dtype.kind not in "fbV" or x.dtype.names is not None:
            raise ValueError(f"The data have dtype {x.dtype}; likelihoods take float32.")

    def _remedy_of_integers(self, x: np.ndarray) -> str:
        try:
            self.check_values(_float32(x[: max(1, SHOWN // math.prod(self.event_shape))]))
        except ValueError:
            return 'For pixels: x.astype("float32") / 255, or data.load, which scales images to [0, 1].'
        if self.support == REAL:
            return 'For pixels: x.astype("float32") / 255; for other numbers: x.astype("float32").'
        return 'They are values of this likelihood as they stand: x.astype("float32").'

    def _refuse_nonfinite(self, x: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            values = _float32(x)
        wrong = np.isinf(values) if self.missing else ~np.isfinite(values)
        per_example = wrong.reshape(len(x), -1).sum(axis=1)
        bad = np.flatnonzero(per_example)
        where = f"in {len(bad)} of {len(x)} examples (the first is number {bad[0]})"
        if self.missing:
            raise ValueError(
                f"{per_example.sum()} values of the data are infinite in float32, {where}. NaN stands for a missing "
                "value: x[np.isinf(x)] = np.nan."
            )
        hint = ""
        if self.can_miss and not np.isinf(values).any():
            hint = " If NaN stands for values that are missing: VAE(..., missing=True)."
        raise ValueError(
            f"{per_example.sum()} values of the data are NaN or infinite in float32, {where}. Repair or drop them: "
            f"x[np.isfinite(x).reshape(len(x), -1).all(1)].{hint}"
        )

    def _refuse_values(self, x: np.ndarray, start: int, error: ValueError) -> None:
        """Say what is wrong with all of the data that come after the first wrong example, not with a few rows alone."""
        rows = max(1, LOOKED_AT_ONCE // math.prod(self.event_shape))
        first = start
        for number in range(start, min(start + rows, len(x))):
            try:
                self.check_values(_float32(x[number : number + 1]))
            except ValueError:
                first = number
                break
        shown = _float32(x[first : first + max(rows, SHOWN // math.prod(self.event_shape))])
        try:
            self.check_values(shown)
        except ValueError as of_more:
            error = of_more
        place = f"From example {first} on: " if first else ""
        of_pixels = self.support == UNIT and 1.0 < np.nanmax(shown) <= 255.0 and np.nanmin(shown) >= 0.0
        remedy = " If they are pixels of 0 to 255: x / 255, which data.load does." if of_pixels else ""
        raise ValueError(f"{place}{error}{remedy}") from None

    def bits_per_dim(self, log_prob: Any) -> Any:
        """-log2 p(x) per value: -log_prob / (D ln 2), the size of the data under a perfect code.

        None where values may be missing: log p(x) is then of fewer than D.

        Args:
            log_prob: log-probabilities of whole examples in nats, of any shape.

        Returns:
            An array of that shape, or None for continuous data, whose densities are no probabilities.
        """
        return None if self.levels is None or self.missing else bits_per_dim(log_prob, self.event_shape)

    def _independent(self, distribution: tfd.Distribution) -> tfd.Distribution:
        return tfd.Independent(distribution, len(self.event_shape))

    def _of_output(self, params: tf.Tensor, *others: tf.Tensor) -> tfd.Distribution:
        """`distribution` of the decoder's output, whose last axis has all values' first parameters, then the second."""
        parts = [params] if self.params_per_value == 1 else shares(params, self.params_per_value)
        return self.distribution(*parts, *others)

    def _split(self, inputs: list[tf.Tensor]) -> tfd.Distribution:
        p = self._of_output(*inputs)
        return Observed.of(p, inner_point(*self.support)) if self.missing else p


def bits_per_dim(log_prob: Any, event_shape: Sequence[int]) -> Any:
    """-log_prob / (D ln 2) for log-probabilities in nats of examples of D values."""
    return -log_prob / (math.prod(event_shape) * math.log(2.0))


def inside(mean: np.ndarray) -> np.ndarray:
    """The mean of data in [0, 1], clipped to [0.001, 0.999], where its logit is finite."""
    return np.clip(mean, 1e-3, 1.0 - 1e-3)


def logit(mean: np.ndarray) -> np.ndarray:
    """log(mean / (1 - mean))."""
    return np.log(mean) - np.log1p(-mean)


def percent(share: float) -> str:
    """A share in percent, as short as it may be without being 0."""
    return f"{100 * share:.1f}%" if share >= 5e-4 else f"{100 * share:.2g}%"


def _float32(x: np.ndarray) -> np.ndarray:
    """As float32; numbers that it cannot hold are infinite."""
    with np.errstate(over="ignore"):
        return x.astype("float32", copy=False)


def _written(*sizes: Any) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def _remedy_of_shape(shape: tuple[Any, ...], event: tuple[int, ...]) -> str:
    """What makes data of this shape those of examples of shape `event`, where that can be told."""
    tail, rank = shape[1:], len(event)
    if shape == event:
        return " This is one example without the axis of the batch: x[None]."
    if (*shape, 1) == event:
        return " This is one example without the axes of the batch and of the channel: x[None, ..., None]."
    if (*tail, 1) == event:
        return " Add the channel axis: x[..., None]."
    if tail == (*event, 1):
        return " Take the last axis away: x[..., 0]."
    if len(tail) > rank and tail[-rank:] == event:
        return f" There is more than one axis of batches: x.reshape({_written(-1, *event)[1:-1]})."
    if rank == len(tail) == 3:
        height, width, channels = event
        if tail == (width, height, channels):
            return " Height and width are swapped: np.swapaxes(x, 1, 2)."
        if tail == (channels, height, width):
            return " Channels come last: np.moveaxis(x, 1, -1)."
        if tail[:2] == (height, width) and channels == 1:
            return " For gray images: x.mean(axis=-1, keepdims=True)."
        if tail[:2] == (height, width) and tail[2] == 1:
            return f" For gray images in colour: np.repeat(x, {channels}, axis=-1)."
        if tail[2] == channels:
            return f" Images of another size are brought to this one by data.load(..., resize=({height}, {width}))."
    if 0 not in shape and None not in tail and math.prod(tail) == math.prod(event):
        return f" If they are the same values in another order of axes: x.reshape({_written(-1, *event)[1:-1]})."
    return ""
