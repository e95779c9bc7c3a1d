"""Distributions over the grid k / (levels - 1), k = 0 ... levels - 1, in [0, 1]: images as they are stored.

Each gives the log-probability of a level, draws from the grid, and has its mean in the units of the grid. TFP's
`QuantizedDistribution` takes the logarithm of a difference of cdfs, which in float32 is minus infinity in the tails.
"""

import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.special import gammaln
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.one_hot import times_log

ParameterProperties = tfp.util.ParameterProperties
# Up to this number of levels, the mean of a quantized logistic is summed level by level.
SUMMED_LEVELS = 32
# Up to this number of levels, float32 is exact enough for all parameters.
FEW_LEVELS = 256
# Up to this number of levels, float32 tells x = k / (levels - 1) from the next: k 2^-23 < 1/2.
MAX_LEVELS = 2**22


class Grid(tfd.Distribution):
    """Scalar distributions over the levels of a grid; subclasses work on k = 0 ... levels - 1, as floats."""

    def __init__(self, levels: int, parameters: dict[str, Any]) -> None:
        self._top = float(levels - 1)
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=type(self).__name__,
        )

    def _level_log_prob(self, k: tf.Tensor) -> tf.Tensor:
        raise TypeError(f"{type(self).__name__} must define _level_log_prob(k).")

    def _sample_levels(self, n: tf.Tensor, seed: Any) -> tf.Tensor:
        raise TypeError(f"{type(self).__name__} must define _sample_levels(n, seed).")

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        return self._level_log_prob(tf.round(x * self._top))

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        return tf.cast(self._sample_levels(n, seed), tf.float32) / self._top

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)


class GridLogistic(Grid):
    """A logistic variable rounded to the nearest level; the first and the last level take the tails.

    P(k) = sigmoid(a) - sigmoid(b) with a, b = ((k +- 1/2) / (levels - 1) - loc) / scale, after Salimans et al. 2017,
    "PixelCNN++". Computed as log P(k) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), which has no difference
    of nearly equal numbers; only the first term is left on the first level, and only the second on the last.

    Args:
        loc: mean of the logistic variable before rounding, in the units of the grid.
        scale: its scale, of the shape of `loc`.
        levels: number of levels.
    """

    def __init__(self, loc: tf.Tensor, scale: tf.Tensor, levels: int) -> None:
        parameters = {"loc": loc, "scale": scale, "levels": levels}
        self.loc, self.scale, self.levels = tf.convert_to_tensor(loc), tf.convert_to_tensor(scale), levels
        super().__init__(levels, parameters)

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"loc": ParameterProperties(), "scale": ParameterProperties()}

    def _level_log_prob(self, k: tf.Tensor) -> tf.Tensor:
        centre, half = self._centred(k) / self.scale, 0.5 / (self._top * self.scale)
        upper, lower = centre + half, centre - half
        below_upper = tf.where(k < self._top, -tf.nn.softplus(-upper), 0.0)
        above_lower = tf.where(k > 0.0, -tf.nn.softplus(lower), 0.0)
        width = tfp.math.log1mexp(1.0 / (self._top * self.scale))
        return below_upper + above_lower + tf.where((k > 0.0) & (k < self._top), width, 0.0)

    def _centred(self, k: tf.Tensor) -> tf.Tensor:
        """k / (levels - 1) - loc; a scale may be so small that float32 would show in the quotient of many levels."""
        k, loc = (tf.cast(t, exact_type(self.levels)) for t in (k, self.loc))
        return tf.cast(k / self._top - loc, tf.float32)

    def _sample_levels(self, n: tf.Tensor, seed: Any) -> tf.Tensor:
        x = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(x * self._top), 0.0, self._top)

    def _mean(self) -> tf.Tensor:
        """The sum over the levels if they are few, else the mean before rounding, less than half a level away."""
        if self.levels <= SUMMED_LEVELS:
            edges = (np.arange(self.levels - 1, dtype="float32") + 0.5) / self._top
            return tf.reduce_mean(tf.sigmoid((self.loc[..., None] - edges) / self.scale[..., None]), axis=-1)
        return clipped_logistic_mean(self.loc, self.scale)


class GridLogisticMixture(Grid):
    """P(k) = sum_i w_i P_i(k), w = softmax(logits), with P_i a `GridLogistic`.

    `tfd.MixtureSameFamily` would do, but TensorFlow's softmax on CPUs refuses tensors of more than five axes.

    Args:
        logits: [..., components].
        loc: [..., components].
        scale: [..., components].
        levels: number of levels.
    """

    def __init__(self, logits: tf.Tensor, loc: tf.Tensor, scale: tf.Tensor, levels: int) -> None:
        parameters = {"logits": logits, "loc": loc, "scale": scale, "levels": levels}
        self.logits = tf.convert_to_tensor(logits)
        self.components = GridLogistic(loc, scale, levels)
        super().__init__(levels, parameters)

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {name: ParameterProperties(event_ndims=1) for name in ("logits", "loc", "scale")}

    def _level_log_prob(self, k: tf.Tensor) -> tf.Tensor:
        each = log_softmax(self.logits) + self.components._level_log_prob(k[..., None])
        return tf.reduce_logsumexp(each, axis=-1)

    def _sample_levels(self, n: tf.Tensor, seed: Any) -> tf.Tensor:
        chooser, drawer = tfp.random.split_seed(seed)
        chosen = tfd.Categorical(self.logits).sample(n, seed=chooser)
        draws = self.components._sample_levels(n, drawer)
        return tf.reduce_sum(draws * tf.one_hot(chosen, draws.shape[-1]), axis=-1)

    def _mean(self) -> tf.Tensor:
        return tf.reduce_sum(tf.exp(log_softmax(self.logits)) * self.components.mean(), axis=-1)


class GridCategorical(Grid):
    """Any probability for each level.

    Args:
        logits: [..., levels].
    """

    def __init__(self, logits: tf.Tensor) -> None:
        self.logits = tf.convert_to_tensor(logits)
        self.levels = int(self.logits.shape[-1])
        super().__init__(self.levels, {"logits": logits})

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"logits": ParameterProperties(event_ndims=1)}

    def _level_log_prob(self, k: tf.Tensor) -> tf.Tensor:
        return tfd.Categorical(self.logits).log_prob(tf.cast(k, tf.int32))

    def _sample_levels(self, n: tf.Tensor, seed: Any) -> tf.Tensor:
        return tfd.Categorical(self.logits).sample(n, seed=seed)

    def _mean(self) -> tf.Tensor:
        grid = np.arange(self.levels, dtype="float32") / self._top
        return tf.reduce_sum(tf.exp(log_softmax(self.logits)) * grid, axis=-1)


class GridBinomial(Grid):
    """k of n trials: P(k) = C(n, k) p^k (1 - p)^(n - k), p = sigmoid(logits), shown as k / n.

    Args:
        logits: of any shape.
        total_count: n, one less than the number of levels.
    """

    def __init__(self, logits: tf.Tensor, total_count: int) -> None:
        self.logits, self.total_count = tf.convert_to_tensor(logits), total_count
        super().__init__(total_count + 1, {"logits": logits, "total_count": total_count})

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"logits": ParameterProperties()}

    def _level_log_prob(self, k: tf.Tensor) -> tf.Tensor:
        # Of many trials, the log-probability is the small difference of numbers of the size of n.
        k, logits = (tf.cast(t, exact_type(self.total_count + 1)) for t in (k, self.logits))
        log_choose = tf.gather(tf.cast(log_binomial_coefficients(self.total_count), k.dtype), tf.cast(k, tf.int32))
        rest = self._top - k
        log_prob = log_choose - times_log(k, tf.nn.softplus(-logits)) - times_log(rest, tf.nn.softplus(logits))
        return tf.cast(log_prob, tf.float32)

    def _sample_levels(self, n: tf.Tensor, seed: Any) -> tf.Tensor:
        return tfd.Binomial(self._top, logits=self.logits).sample(n, seed=seed)

    def _mean(self) -> tf.Tensor:
        return tf.sigmoid(self.logits)


def exact_type(levels: int) -> tf.DType:
    """In which differences of numbers that grow with the number of levels keep their digits."""
    return tf.float32 if levels <= FEW_LEVELS else tf.float64


def log_softmax(logits: tf.Tensor) -> tf.Tensor:
    """As `tf.nn.log_softmax`, for any number of axes."""
    return logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)


def clipped_logistic_mean(loc: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """E[clip(X, 0, 1)] for X ~ Logistic(loc, scale): scale (softplus(loc / scale) - softplus((loc - 1) / scale)).

    Computed as clip(loc, 0, 1) + scale (log1p(exp(-|loc| / scale)) - log1p(exp(-|loc - 1| / scale))): the large parts
    of the softplus are taken out, and nothing overflows, whatever the kernel of a device makes of softplus.
    """
    tails = tf.math.log1p(tf.exp(-tf.abs(loc) / scale)) - tf.math.log1p(tf.exp(-tf.abs(loc - 1.0) / scale))
    return tf.clip_by_value(tf.clip_by_value(loc, 0.0, 1.0) + scale * tails, 0.0, 1.0)


def clipped_logistic_loc(mean: np.ndarray, scale: float) -> np.ndarray:
    """The `loc` that gives `clipped_logistic_mean` = `mean`, for a mean strictly inside (0, 1)."""
    return scale * (np.log(np.expm1(mean / scale)) - np.log1p(-np.exp((mean - 1.0) / scale)))


def tilted_logits(mean: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The slope t for which P(g) ~ exp(t g) over the points of `grid` in [0, 1] has the mean `mean`, by bisection.

    Args:
        mean: [...], strictly inside (0, 1).
        grid: increasing points, [n].

    Returns:
        t [...].
    """
    low, high = np.full(np.shape(mean), -1e5), np.full(np.shape(mean), 1e5)
    for _ in range(60):
        slope = (low + high) / 2.0
        log_weights = slope[..., None] * (grid - grid[-1] * (slope[..., None] > 0))
        weights = np.exp(log_weights)
        too_low = (weights @ grid) / weights.sum(axis=-1) < mean
        low, high = np.where(too_low, slope, low), np.where(too_low, high, slope)
    return (low + high) / 2.0


@functools.lru_cache(maxsize=8)
def log_binomial_coefficients(n: int) -> np.ndarray:
    """log C(n, k) for k = 0 ... n, float64."""
    log_factorials = gammaln(np.arange(n + 1) + 1.0)
    coefficients: np.ndarray = log_factorials[n] - log_factorials - log_factorials[::-1]
    return coefficients
