"""Posteriors q(z|x): Keras layers that project features to parameters and return TFP distributions.

A posterior of your own is a subclass with two methods:

    @kv.register
    class Laplace(posteriors.Posterior):
        @property
        def params_size(self):
            return 2 * self.latent_dim

        def distribution(self, params):
            loc, raw_scale = tf.split(params, 2, axis=-1)
            return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), 1)
"""

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.latents import REAL, Support, check_latent_dim
from keras_vae.serialization import Serializable, register

tfd = tfp.distributions
tfpl = tfp.layers

MIN_SCALE = 1e-5


class Posterior(Serializable, keras.layers.Layer):
    """A dense projection of the features, then a weightless `tfp.layers` head.

    Both compute in float32 whatever the dtype policy: in float16 the scale of a posterior overflows.

    Args:
        latent_dim: number L of latent dimensions.
    """

    support: Support = REAL

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_latent_dim(latent_dim)
        # The value that TFP takes of a distribution at every call is its point: the default would draw a sample.
        self.head = tfpl.DistributionLambda(self.distribution, convert_to_tensor_fn=self.point)

    @property
    def params_size(self) -> int:
        """Number of parameters of the distribution for one example."""
        raise TypeError(f"{type(self).__name__} must define params_size.")

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The distribution with parameters [B, params_size]: batch [B], event [L], float32."""
        raise TypeError(f"{type(self).__name__} must define distribution(params).")

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """One deterministic z for each example, [B, L]: the mean."""
        return q.mean()

    def build(self, input_shape: tuple) -> None:
        """Make the projection from features of shape [B, F]."""
        if self.built:
            return
        self.projection = keras.layers.Dense(int(self.params_size), dtype="float32", name="projection")
        self.projection.build(input_shape)

    def call(self, features: tf.Tensor) -> tfd.Distribution:
        """q(z|x) from features [B, F]."""
        return self.head(self.projection(features))


@register
class MultivariateNormalDiag(Posterior):
    """q(z|x) = N(z; mu, diag(sigma^2)), the posterior of Kingma and Welling 2014, "Auto-encoding variational Bayes".

    mu is linear in the features, sigma = softplus(linear) + 1e-5, shifted so that a projection of zero gives one.
    """

    @property
    def params_size(self) -> int:
        """2 L: location and raw scale."""
        return 2 * self.latent_dim

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """N(mu, diag(sigma^2)) from [B, 2 L]."""
        loc, raw_scale = tf.split(params, 2, axis=-1)
        return tfd.MultivariateNormalDiag(loc, positive(raw_scale))


def positive(raw: tf.Tensor) -> tf.Tensor:
    """softplus(raw + log(e - 1)) + 1e-5: a positive scale that is one at raw = 0 and grows linearly."""
    return tf.nn.softplus(raw + math.log(math.e - 1.0)) + MIN_SCALE

