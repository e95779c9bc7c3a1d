"""A flow of coupling layers on top of the standard normal."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count, check_sizes
from keras_vae.distributions import bijectors
from keras_vae.distributions.head import Head
from keras_vae.distributions.support import REAL
from keras_vae.distributions.tails.tail import GAUSSIAN
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register


@register
class RealNVP(Prior):
    """p(z) = N(f(z); 0, I) |det df/dz|, f a learned chain of coupling layers that starts as the identity.

    After Dinh et al. 2017, "Density estimation using Real NVP"; as a prior, Chen et al. 2017, "Variational lossy
    autoencoder". Density and draw take one pass through each layer. The KL to it is sampled.

    Args:
        latent_dim: L.
        num_layers: number of coupling layers; four let every half and every other dimension change once.
        units: widths of the hidden layers of each layer's network.
    """

    support, tails = REAL, GAUSSIAN
    coded_as = "flow"

    def __init__(self, latent_dim: int, num_layers: int = 8, units: Sequence[int] = (128, 128), **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        check_count("num_layers", num_layers)
        self.layers = bijectors.conditioners("coupling", latent_dim, num_layers, check_sizes("units", units))
        # What the head converts to is not used, and must not use the weights: a Keras 2 layer complains of those.
        self.head = Head(self._flow, convert_to_tensor_fn=lambda p: p.distribution.mean())

    @property
    def flow_layers(self) -> Sequence[Any]:
        """The coupling layers, the first of them the one next to z."""
        return list(self.layers)

    def _flow(self, loc: tf.Tensor) -> tfd.Distribution:
        base = tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))
        return tfd.TransformedDistribution(base, tfb.Invert(bijectors.chain(self.layers)))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The flow, batch [], event [L]."""
        return self.head(tf.zeros([self.latent_dim])).tensor_distribution
