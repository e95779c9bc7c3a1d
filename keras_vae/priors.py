"""Priors p(z): Keras layers that own their weights and return TFP distributions.

A prior of your own is a subclass with one method:

    @kv.register
    class Laplace(priors.Prior):
        def distribution(self, encoder=None, condition=None):
            return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)
"""

from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.latents import REAL, Support, check_latent_dim
from keras_vae.serialization import Serializable, register

tfd = tfp.distributions
tfpl = tfp.layers


class Prior(Serializable, keras.layers.Layer):
    """A distribution over z of `latent_dim` dimensions, in float32 whatever the dtype policy.

    Args:
        latent_dim: number L of latent dimensions.
    """

    support: Support = REAL

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_latent_dim(latent_dim)

    def build(self, input_shape: tuple) -> None:
        """Make the weights, if any; `input_shape` is that of a batch of data, [B, *event_shape]."""

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [] (or [B] given a condition), event [L].

        Args:
            encoder: the model's encoder, for priors that are made of posteriors.
            condition: what the prior is conditioned on, for priors that can be.
        """
        raise TypeError(f"{type(self).__name__} must define distribution(encoder, condition).")

    def adapt(self, batch: tf.Tensor) -> None:
        """Initialise weights from a batch of data, where that means something."""


@register
class StandardNormal(Prior):
    """p(z) = N(z; 0, I)."""

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.head = tfpl.DistributionLambda(
            lambda loc: tfd.MultivariateNormalDiag(loc, tf.ones_like(loc)), convert_to_tensor_fn=tfd.Distribution.mean
        )

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """N(0, I), batch [], event [L]."""
        return self.head(tf.zeros([self.latent_dim]))
