"""The Kumaraswamy distribution on an interval, with the numerics that float32 asks for."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

# Draws keep this fraction of the interval away from its upper end, where float32 cannot tell them from it; from the
# lower end, which most of the mass may be near, no more than they must.
MARGIN = 1e-6
MIN_MARGIN = 1e-30
EPSILON = 2.0**-23
MIN_UNIFORM = 2.0**-24


class IntervalKumaraswamy(tfd.Distribution):
    """Density a b x^(a-1) (1 - x^a)^(b-1) / (high - low), x = (z - low) / (high - low).

    After Kumaraswamy 1980, "A generalized probability density function for double-bounded random processes". TFP's own
    loses small draws to rounding when b is large (its log-density is then infinite); here everything is computed by
    `expm1`, `log1p` and `log1mexp`, and a draw never touches the ends.

    Args:
        concentration1: a >= 1, any batch shape.
        concentration0: b >= 1, likewise.
        low: lower end of the interval.
        high: upper end.
    """

    def __init__(
        self, concentration1: tf.Tensor, concentration0: tf.Tensor, low: float = 0.0, high: float = 1.0
    ) -> None:
        self.concentration1 = tf.convert_to_tensor(concentration1)
        self.concentration0 = tf.convert_to_tensor(concentration0)
        self.low, self.high = low, high
        # One step of float32 at either end, as a part of the interval.
        at_low, at_high = (EPSILON * abs(end) / (high - low) for end in (low, high))
        self._margins = max(at_low, MIN_MARGIN), 1.0 - max(2.0 * at_high, MARGIN)
        super().__init__(
            dtype=self.concentration1.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={
                "concentration1": self.concentration1,
                "concentration0": self.concentration0,
                "low": low,
                "high": high,
            },
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {name: tfp.util.ParameterProperties() for name in ("concentration1", "concentration0")}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _sample_n(self, n: int, seed: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        u = tfd.Uniform(tf.zeros([], self.dtype), 1.0).sample(shape, seed=seed)
        u = tf.clip_by_value(u, MIN_UNIFORM, 1.0 - MIN_UNIFORM)
        # x = (1 - (1 - u)^(1/b))^(1/a)
        power = -tf.math.expm1(tf.math.log1p(-u) / self.concentration0)
        x = tf.clip_by_value(tf.exp(tf.math.log(power) / self.concentration1), *self._margins)
        return self.low + (self.high - self.low) * x

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        a, b = self.concentration1, self.concentration0
        x = (z - self.low) / (self.high - self.low)
        log_x = tf.math.log(tf.clip_by_value(x, *self._margins))
        log_rest = tfp.math.log1mexp(a * log_x)
        density = tf.math.log(a) + tf.math.log(b) + (a - 1.0) * log_x + (b - 1.0) * log_rest
        inside = (x >= 0.0) & (x <= 1.0)
        return tf.where(inside, density - math.log(self.high - self.low), -math.inf)

    def _unit_moment(self, n: int, dtype: tf.DType | None = None) -> tf.Tensor:
        """E[x^n] = b B(1 + n / a, b)."""
        a, b = (tf.cast(c, dtype or self.dtype) for c in (self.concentration1, self.concentration0))
        shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
        log_beta = tfp.math.lbeta(tf.broadcast_to(1.0 + n / a, shape), tf.broadcast_to(b, shape))
        return tf.exp(tf.math.log(b) + log_beta)

    def _mean(self) -> tf.Tensor:
        return self.low + (self.high - self.low) * self._unit_moment(1)

    def _variance(self) -> tf.Tensor:
        # A difference of nearly equal numbers where the density is narrow.
        variance = self._unit_moment(2, tf.float64) - tf.square(self._unit_moment(1, tf.float64))
        return (self.high - self.low) ** 2 * tf.cast(tf.maximum(variance, 0.0), self.dtype)

    def _entropy(self) -> tf.Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = tf.math.digamma(b + 1.0) + np.euler_gamma
        unit = (1.0 - 1.0 / b) + (1.0 - 1.0 / a) * harmonic - tf.math.log(a) - tf.math.log(b)
        return unit + math.log(self.high - self.low)


@tfd.RegisterKL(IntervalKumaraswamy, tfd.Uniform)
def _kl_to_uniform(q: IntervalKumaraswamy, p: tfd.Uniform, name: str | None = None) -> tf.Tensor:
    """KL(q || p) = log(p.high - p.low) - entropy(q), infinite if the interval of q is not inside that of p."""
    inside = (p.low <= q.low) & (q.high <= p.high)
    return tf.where(inside, tf.math.log(p.high - p.low) - q.entropy(), math.inf)
