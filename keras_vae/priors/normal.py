"""The standard normal, and a Gaussian whose parameters are a function of the condition."""

import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import check_condition, require
from keras_vae.distributions.head import Head
from keras_vae.distributions.scales import positive, shares
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import GAUSSIAN
from keras_vae.networks.dense import mlp
from keras_vae.networks.network import CHANNELS_LAST, Network, check_network, feature_shape
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register


@register
class StandardNormal(Prior):
    """p(z) = N(z; 0, I)."""

    support, tails = REAL, GAUSSIAN
    coded_as = "normal"

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.head = Head(
            lambda loc: tfd.MultivariateNormalDiag(loc, tf.ones_like(loc)), convert_to_tensor_fn=tfd.Distribution.mean
        )

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """N(0, I), batch [], event [L]."""
        return self.head(tf.zeros([self.latent_dim])).tensor_distribution


@register
class ConditionalNormal(Prior):
    """p(z|c) = N(z; mu(c), diag(sigma(c)^2)), mu and sigma learned; it starts as N(0, I).

    The prior of Sohn et al. 2015, "Learning structured output representation using deep conditional generative models".

    Args:
        latent_dim: L.
        condition: what it is conditioned on, a part of `keras_vae.conditions`.
        network: a recipe of `keras_vae.networks` or a Keras layer, from the condition's features (the one-hot class,
            the vector, the image) to features; None for none, so that mu and log sigma are linear: of a label, a table.
    """

    support, tails = REAL, GAUSSIAN
    coded_as = "normal"

    def __init__(
        self, latent_dim: int, condition: Condition, network: Network | keras.Layer | None = None, **kwargs: Any
    ) -> None:
        super().__init__(latent_dim, **kwargs)
        if condition is None:
            raise ValueError("ConditionalNormal needs a condition, such as conditions.Label(10).")
        check_condition(condition)
        self.condition = condition
        self.network = mlp([]) if network is None else network
        check_network(self.network)
        self.head = Head(self._normal, convert_to_tensor_fn=tfd.Distribution.mean)

    def build(self, input_shape: tuple) -> None:
        """Make the network and its projection to mu and sigma."""
        if self.built:
            return
        assert self.condition is not None
        network, shape = self.network, self.condition.features_shape
        self.body = network.encoder_body(shape, "float32") if isinstance(network, Network) else network
        self.flatten = keras.layers.Flatten(CHANNELS_LAST, dtype="float32")
        size = math.prod(int(n or 1) for n in feature_shape(self.body, (None, *shape)))
        self.projection = keras.layers.Dense(
            2 * self.latent_dim, kernel_initializer="zeros", dtype="float32", name="projection"
        )
        self.projection.build((None, size))

    def _normal(self, params: tf.Tensor) -> tfd.Distribution:
        loc, raw_scale = shares(params, 2)
        return tfd.MultivariateNormalDiag(loc, positive(raw_scale))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """N(mu(c), diag(sigma(c)^2)), batch [B], event [L], for conditions [B, ...].

        Raises:
            ValueError: without a condition.
        """
        require(self, condition)
        assert self.condition is not None
        features = self.flatten(self.body(self.condition.features(condition)))
        return self.head(self.projection(features)).tensor_distribution
