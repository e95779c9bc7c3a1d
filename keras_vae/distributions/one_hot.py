"""A one-hot vector as one distribution that can be drawn exactly or relaxed."""

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

# Logits of a point mass: the other classes have probability exp(-10^4), which is zero.
CERTAIN = 1e4
MIN_UNIFORM = 2.0**-24


def times_log(weight: tf.Tensor, log: tf.Tensor) -> tf.Tensor:
    """weight * log with 0 log 0 = 0, and a gradient of 0 there, where that of a product would be NaN."""
    nothing = tf.equal(weight, 0.0) & ~tf.math.is_finite(log)
    return tf.where(nothing, 0.0, weight * tf.where(nothing, 0.0, log))


class OneHot(tfd.Distribution):
    """One of S classes, as a one-hot vector: P(e_k) = pi_k, pi = softmax(logits).

    With a temperature, draws are relaxed, softmax((logits + g) / temperature) with g standard Gumbel, and so have a
    gradient: Jang et al. 2017, "Categorical reparameterization with Gumbel-softmax"; Maddison et al. 2017, "The
    concrete distribution". Straight-through draws are the one-hot of the largest component, with the gradient of the
    relaxed draw. A logit of -inf is a class of probability 0, and 0 log 0 = 0. For a relaxed z, `log_prob` is
    sum_k z_k log pi_k, the log-probability at the corners of the simplex.

    Args:
        logits: [..., S].
        temperature: a positive scalar, or None for exact draws.
        straight_through: whether relaxed draws are rounded to one-hots.
        gradient: a factor on the gradient of relaxed draws.
    """

    def __init__(
        self,
        logits: tf.Tensor,
        temperature: tf.Tensor | float | None = None,
        straight_through: bool = False,
        gradient: tf.Tensor | float = 1.0,
    ) -> None:
        self.logits = tf.convert_to_tensor(logits)
        self.temperature, self.straight_through, self.gradient = temperature, straight_through, gradient
        super().__init__(
            dtype=self.logits.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED if temperature is None else tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={
                "logits": self.logits,
                "temperature": temperature,
                "straight_through": straight_through,
                "gradient": gradient,
            },
        )

    @classmethod
    def certain(cls, one_hot: tf.Tensor) -> "OneHot":
        """The point mass at a one-hot [..., S]."""
        return cls(CERTAIN * one_hot)

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {"logits": tfp.util.ParameterProperties(event_ndims=1)}

    num_places = 1

    @property
    def class_probabilities(self) -> tf.Tensor:
        """pi, [..., S]."""
        return tf.nn.softmax(self.logits)

    def _event_shape(self) -> tf.TensorShape:
        return self.logits.shape[-1:]

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.logits)[-1:]

    def _sample_n(self, n: int, seed: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([[n], tf.shape(self.logits)], axis=0)
        u = tfd.Uniform(tf.zeros([], self.dtype), 1.0).sample(shape, seed=seed)
        gumbel = -tf.math.log(-tf.math.log(tf.clip_by_value(u, MIN_UNIFORM, 1.0 - MIN_UNIFORM)))
        perturbed = self.logits + gumbel
        hard = tf.one_hot(tf.argmax(perturbed, axis=-1), self.logits.shape[-1], dtype=self.dtype)
        if self.temperature is None:
            return hard
        soft = tf.nn.softmax(perturbed / self.temperature)
        value = hard if self.straight_through else soft
        return tf.stop_gradient(value) + self.gradient * (soft - tf.stop_gradient(soft))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(times_log(z, tf.nn.log_softmax(self.logits)), axis=-1)

    def _mean(self) -> tf.Tensor:
        return self.class_probabilities

    def _variance(self) -> tf.Tensor:
        return self._mean() * (1.0 - self._mean())

    def _mode(self) -> tf.Tensor:
        return tf.one_hot(tf.argmax(self.logits, axis=-1), self.logits.shape[-1], dtype=self.dtype)

    def _entropy(self) -> tf.Tensor:
        return -tf.reduce_sum(times_log(self._mean(), tf.nn.log_softmax(self.logits)), axis=-1)


@tfd.RegisterKL(OneHot, OneHot)
def _kl_one_hot(q: OneHot, p: OneHot, name: str | None = None) -> tf.Tensor:
    ratio = tf.nn.log_softmax(q.logits) - tf.nn.log_softmax(p.logits)
    return tf.reduce_sum(times_log(tf.nn.softmax(q.logits), ratio), axis=-1)
