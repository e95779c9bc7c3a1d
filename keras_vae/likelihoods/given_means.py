"""A likelihood of images of which the condition holds means: the brightness of colours, or a smaller picture."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count, require_image
from keras_vae.data.image_conditions import LUMA
from keras_vae.distributions.scales import bounded, bounded_exp
from keras_vae.distributions.support import Support
from keras_vae.likelihoods.grid import GridLikelihood
from keras_vae.serialization import register

# Float32 tells apart all means of so many levels.
MOST_LEVELS = 256
# In levels. A mean that is rounded is half a level off at most; what is decided first keeps a hair more distance, so
# that rounding errors never leave the last value without a level.
HALF, HAIR = 0.5005, 3e-4
# The scale of a logistic variable with the standard deviation of a rounding, in levels.
ROUNDING = math.sqrt(1.0 / 12.0) * math.sqrt(3.0) / math.pi


class LogisticGivenMean(tfd.Distribution):
    """n values on the grid k / (levels - 1) whose weighted mean is given: logistic variables, each given those before.

    With independent x_i of means mu_i and scales s_i, and sum_i w_i x_i = c, x_i given x_1 ... x_(i-1) is normal in the
    normal case, with r_i = c - sum_(j<i) w_j x_j and v_i = sum_(j>i) w_j^2 s_j^2 + the variance of a rounding:

        mean   mu_i + w_i s_i^2 (r_i - sum_(j>=i) w_j mu_j) / (w_i^2 s_i^2 + v_i)
        scale  s_i (v_i / (w_i^2 s_i^2 + v_i))^(1/2)

    Here it is a logistic variable of that mean and scale, rounded to the levels from which the mean can still be
    reached, and to no others: P(k) = (F(k + 1/2) - F(k - 1/2)) / (F(high + 1/2) - F(low - 1/2)). So the probabilities
    of all x whose mean is within half a level of c sum to one, and any other x has none.

    `mean` is the mean of the normal case, mu_i + w_i s_i^2 (c - sum_j w_j mu_j) / sum_j w_j^2 s_j^2, moved towards c
    as far as it takes to lie in [0, 1]: its weighted mean is c.

    Args:
        loc: mu [..., n], in units of the grid.
        scale: s, likewise.
        given: c in [0, 1], [...].
        weights: w, positive, n numbers of sum one, in which the last is to be the largest.
        levels: number of levels.
    """

    def __init__(self, loc: tf.Tensor, scale: tf.Tensor, given: tf.Tensor, weights: Any, levels: int) -> None:
        parameters = {"loc": loc, "scale": scale, "given": given, "weights": weights, "levels": levels}
        self.loc, self.scale, self.given = loc, scale, given
        w = np.asarray(weights, "float64")
        self._n, self._top = len(w), float(levels - 1)
        self._w = w.astype("float32")
        # Of what comes after each value: the largest that it can add to the mean.
        self._reach = (self._top * (w.sum() - np.cumsum(w))).astype("float32")
        self._half = np.where(np.arange(self._n) < self._n - 1, HALF - HAIR, HALF).astype("float32")
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=type(self).__name__,
        )

    def _batch_shape(self) -> tf.TensorShape:
        return tf.broadcast_static_shape(self.loc.shape[:-1], self.given.shape)

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.broadcast_dynamic_shape(tf.shape(self.loc)[:-1], tf.shape(self.given))

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self._n])

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant([self._n], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        k, loc, scale = tf.round(x * self._top), self.loc * self._top, self.scale * self._top
        left = self.given[..., tf.newaxis] * self._top - tf.cumsum(self._w * k, axis=-1, exclusive=True)
        share, after, expected = self._expected(loc, scale)
        low, high = self._allowed(left, self._w, self._reach, self._half)
        loc, scale = _conditional(loc, scale, left - expected, self._w, share, after)
        inside = (k >= low) & (k <= high)
        k = tf.clip_by_value(k, low, high)
        each = _log_mass(k - 0.5, k + 0.5, loc, scale) - _log_mass(low - 0.5, high + 0.5, loc, scale)
        return tf.where(tf.reduce_all(inside, axis=-1), tf.reduce_sum(each, axis=-1), -math.inf)

    def _expected(self, loc: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """w^2 s^2 of each value, the sum of those after it with that of the rounding, and sum_(j>=i) w_j mu_j."""
        share = tf.square(self._w * scale)
        after = tf.cumsum(share, axis=-1, exclusive=True, reverse=True) + ROUNDING**2
        return share, after, tf.cumsum(self._w * loc, axis=-1, reverse=True)

    def _allowed(self, left: tf.Tensor, w: Any, reach: Any, half: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The lowest and the highest level from which those that follow can still make up for what is left."""
        low = tf.clip_by_value(tf.math.ceil((left - half - reach) / w), 0.0, self._top)
        high = tf.clip_by_value(tf.floor((left + half) / w), 0.0, self._top)
        # Where what came before has made the mean impossible, nothing is right.
        return low, tf.maximum(low, high)

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        shape = tf.concat([[n], self._batch_shape_tensor(), [self._n]], axis=0)
        u = tf.random.stateless_uniform(shape, tfp.random.sanitize_seed(seed), minval=1e-6, maxval=1.0 - 1e-6)
        locs, scales = self.loc * self._top, self.scale * self._top
        share, after, expected = self._expected(locs, scales)
        left = self.given * self._top + tf.zeros(shape[:-1])
        drawn = []
        for i, w in enumerate(self._w):
            low, high = self._allowed(left, w, self._reach[i], self._half[i])
            loc, scale = _conditional(
                locs[..., i], scales[..., i], left - expected[..., i], w, share[..., i], after[..., i]
            )
            k = tf.clip_by_value(tf.round(_quantile(u[..., i], low - 0.5, high + 0.5, loc, scale)), low, high)
            left -= w * k
            drawn.append(k)
        return tf.stack(drawn, axis=-1) / self._top

    def _mean(self) -> tf.Tensor:
        return mean_given(self.loc, self.scale, self.given[..., tf.newaxis], self._w)


def mean_given(loc: tf.Tensor, scale: tf.Tensor, given: tf.Tensor, w: Any) -> tf.Tensor:
    """The mean of normal variables [..., n] given their weighted mean [..., 1], drawn to it into [0, 1]."""
    share = w * tf.square(scale)
    missing = given - tf.reduce_sum(w * loc, axis=-1, keepdims=True)
    beside = loc - given + share * (missing / tf.reduce_sum(w * share, axis=-1, keepdims=True))
    # What rounding errors leave of the mean of what should have none.
    beside -= tf.reduce_sum(w * beside, axis=-1, keepdims=True)
    room = tf.where(beside > 0.0, 1.0 - given, given)
    factor = tf.reduce_min(room / tf.maximum(tf.abs(beside), 1e-6), axis=-1, keepdims=True)
    return tf.clip_by_value(given + tf.minimum(factor, 1.0) * beside, 0.0, 1.0)


def _conditional(
    loc: tf.Tensor, scale: tf.Tensor, missing: tf.Tensor, w: Any, share: tf.Tensor, after: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and scale of a value, given that w times it and what follows differ from their mean by `missing`."""
    total = share + after
    return loc + w * tf.square(scale) * missing / total, scale * tf.sqrt(after / total)


def _log_mass(low: tf.Tensor, high: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """log(F(high) - F(low)) of a logistic variable = log F(high) + log(1 - F(low)) + log(1 - e^(low - high))."""
    # Not as the difference of the two below, which are equal in float32 where the variable lies far off.
    width = (high - low) / scale
    low, high = (low - loc) / scale, (high - loc) / scale
    return tfp.math.log1mexp(width) - tf.nn.softplus(-high) - tf.nn.softplus(low)


def _quantile(u: tf.Tensor, low: tf.Tensor, high: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Quantiles of a logistic variable between two bounds, in the tail that has the smaller numbers."""
    sign = tf.where(low + high > 2.0 * loc, -1.0, 1.0)
    a, b = sign * (low - loc) / scale, sign * (high - loc) / scale
    a, b = tf.minimum(a, b), tf.maximum(a, b)
    log_p = tfp.math.log_add_exp(-tf.nn.softplus(-a) + tf.math.log1p(-u), -tf.nn.softplus(-b) + tf.math.log(u))
    return loc + sign * scale * (log_p - tfp.math.log1mexp(log_p))


def holds_means(event_shape: Sequence[int], given_shape: Sequence[int]) -> bool:
    """Whether an image of the second shape can hold means of groups of values of one of the first: by the shapes."""
    if len(event_shape) != 3 or len(given_shape) != 3 or tuple(event_shape) == tuple(given_shape):
        return False
    divides = all(size % part == 0 for size, part in zip(event_shape[:2], given_shape[:2], strict=True))
    return divides and given_shape[2] in (1, event_shape[2])


class Groups:
    """The groups of values of an image of which a smaller image, or one of fewer channels, holds the means.

    Args:
        event_shape: (height, width, channels) of the image.
        given_shape: (h, w, c) of the means.

    Attributes:
        shape: (h, w, c, n) of the groups of one image.
        weights: of the n values of a group in its mean, float64, the largest last.
    """

    def __init__(self, event_shape: Sequence[int], given_shape: Sequence[Any]) -> None:
        height, width, self._channels = self._event_shape = tuple(event_shape)
        self._h, self._w, self._c = (int(size) for size in given_shape)
        self._block, mixed = (height // self._h, width // self._w), self._channels // self._c
        of_channels = np.array(LUMA if mixed == len(LUMA) else [1.0] * mixed, "float64")
        area = math.prod(self._block)
        self.shape = (self._h, self._w, self._c, area * mixed)
        weights = np.tile(of_channels / of_channels.sum() / area, area)
        self._order = np.argsort(weights, kind="stable")
        self.weights = weights[self._order]

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """Images [..., height, width, channels] as groups [..., h, w, c, n]."""
        lead = _lead(x)
        if self._block != (1, 1):
            x = tf.reshape(x, [-1, self._h, self._block[0], self._w, self._block[1] * self._channels])
            x = tf.transpose(x, [0, 1, 3, 2, 4])
            if self._c > 1:
                x = tf.reshape(x, [-1, self._h, self._w, math.prod(self._block), self._c])
                x = tf.transpose(x, [0, 1, 2, 4, 3])
        x = tf.reshape(x, [*lead, *self.shape])
        return tf.gather(x, self._order, axis=-1)

    def image(self, groups: tf.Tensor) -> tf.Tensor:
        """Groups [..., h, w, c, n] as images [..., height, width, channels]."""
        lead = _lead(groups, 4)
        x = tf.gather(groups, np.argsort(self._order), axis=-1)
        if self._block != (1, 1):
            if self._c > 1:
                x = tf.reshape(x, [-1, self._h, self._w, self._c, math.prod(self._block)])
                x = tf.transpose(x, [0, 1, 2, 4, 3])
            x = tf.reshape(x, [-1, self._h, self._w, self._block[0], self._block[1] * self._channels])
            x = tf.transpose(x, [0, 1, 3, 2, 4])
        return tf.reshape(x, [*lead, *self._event_shape])


def _lead(x: tf.Tensor, last: int = 3) -> list[Any]:
    """The axes before the last ones: as numbers, but for one, which may be what is left over."""
    lead = x.shape[:-last]
    if sum(size is None for size in lead) <= 1:
        return [-1 if size is None else size for size in lead]
    return tf.unstack(tf.shape(x)[:-last])


class ImageGivenMeans(tfd.Distribution):
    """Images [height, width, channels] whose groups are `LogisticGivenMean`, independently.

    Args:
        loc: [..., height, width, channels], in units of the grid.
        scale: likewise.
        given: the means [..., h, w, c].
        levels: number of levels.
    """

    def __init__(self, loc: tf.Tensor, scale: tf.Tensor, given: tf.Tensor, levels: int) -> None:
        parameters = {"loc": loc, "scale": scale, "given": given, "levels": levels}
        self._shape = loc.shape[-3:]
        self.groups = Groups(self._shape, given.shape[-3:])
        self.of_groups = tfd.Independent(
            LogisticGivenMean(self.groups.of(loc), self.groups.of(scale), given, self.groups.weights, levels), 3
        )
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=type(self).__name__,
        )

    def _batch_shape(self) -> tf.TensorShape:
        return self.of_groups.batch_shape

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return self.of_groups.batch_shape_tensor()

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._shape)

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant(self._shape.as_list(), tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        return self.of_groups.log_prob(self.groups.of(x))

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        return self.groups.image(self.of_groups.sample(n, seed=seed))

    def _mean(self) -> tf.Tensor:
        return self.groups.image(self.of_groups.mean())


def enlarged(given: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Images [..., h, w, c] at another height and width, bilinear."""
    height, width = size[:2]
    if tuple(given.shape[-3:-1]) == (height, width):
        return given
    flat = tf.image.resize(tf.reshape(given, [-1, *given.shape[-3:]]), (height, width))
    return tf.reshape(flat, [*_lead(given), height, width, given.shape[-1]])


@register
class GivenMeans(GridLikelihood):
    """p(x|z, c) of images of which c holds means: only what c leaves open is drawn, and every answer has these means.

    c is an image, the brightness [height, width, 1] of colours (0.299 R + 0.587 G + 0.114 B; of other numbers of
    channels their mean), the means of blocks of pixels [h, w, channels], or both at once. Each of its values is the
    mean of a group of values of x, which are `LogisticGivenMean`: what c says costs nothing in log p(x|z, c), and an x
    with other means is impossible, log p = -inf. `mean` and all draws have the means that c holds: `mean` exactly,
    draws to half a level, as those that were rounded.

    The decoder gives, for each value, how far it lies from c (interpolated to the size of x), and a log-scale.

    Args:
        event_shape: (height, width, channels).
        levels: number of levels of x, at most 256; c may have others.
    """

    params_per_value = 2
    needs_condition = True
    can_miss = False
    advice = (
        "The condition must hold the very means of the data, as data.load(..., condition='gray') and low_resolution "
        "give them: other data are impossible."
    )
    INITIAL_SCALE = 0.1
    REACH = 2.0  # how far locations may lie from c

    def __init__(self, event_shape: Sequence[int], levels: int = 256, **kwargs: Any) -> None:
        check_count("levels", levels, at_least=2, at_most=MOST_LEVELS)
        super().__init__(event_shape, levels, **kwargs)
        require_image(self.event_shape)

    def check_condition(self, condition: Any) -> None:
        """Refuse a condition that cannot hold means of the data.

        Raises:
            ValueError: naming what would do.
        """
        height, width, channels = self.event_shape
        if condition is None or not condition.is_image or not holds_means(self.event_shape, condition.shape):
            raise ValueError(
                f"GivenMeans({self.event_shape}) is a likelihood of images given means of theirs: it needs a condition "
                f"such as Image({(height, width, 1)}), their brightness, or Image of a smaller picture, whose height "
                f"and width divide {height} and {width}, with {channels} channels; not {condition}."
            )

    def check_given(self, x: np.ndarray, given: np.ndarray) -> None:
        """Refuse conditions that do not hold the means of the data.

        Args:
            x: [B, *event_shape], values on the grid.
            given: their conditions as numbers in [0, 1], [B, h, w, c].

        Raises:
            ValueError: with the number of examples, and the remedy.
        """
        groups = Groups(self.event_shape, given.shape[1:])
        means = np.asarray(groups.of(tf.constant(x)), "float64") @ groups.weights
        off = np.abs(means - given) * (self.levels - 1) > HALF
        wrong = np.flatnonzero(off.reshape(len(x), -1).any(axis=1))
        if len(wrong):
            raise ValueError(
                f"The condition does not hold the means of the data in {len(wrong)} of {len(x)} examples, first in "
                f"number {wrong[0]}, where it is off by up to {np.abs(means - given)[wrong[0]].max():.3g}: "
                f"{type(self).__name__} takes what is computed from the very images, as data.load(..., "
                "condition='gray') or {name: low_resolution, factor: 4} does. For other pairs choose "
                "likelihoods.DiscretizedLogistic(event_shape)."
            )

    def distribution(self, offset: tf.Tensor, log_scale: tf.Tensor, given: tf.Tensor) -> tfd.Distribution:
        """The distribution of images with locations c + offset, [..., *event_shape], and c [..., h, w, c]."""
        scales = Support(1.0 / (32.0 * (self.levels - 1)), 10.0)
        scale = bounded_exp(log_scale + math.log(self.INITIAL_SCALE), scales)
        loc = enlarged(given, self.event_shape) + bounded(offset, self.REACH)
        return ImageGivenMeans(loc, scale, given, self.levels)

    def initial_bias(self, mean: np.ndarray, spread: float = 1.0) -> np.ndarray:
        """Zeros: it starts at c itself, with a scale of 0.1."""
        return np.concatenate([np.zeros_like(mean)] * 2, axis=-1)
