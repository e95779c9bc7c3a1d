"""The decoder: a network and a likelihood, z -> p(x|z)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.likelihoods import Likelihood
from keras_vae.networks import Network, check_network, feature_shape, refuse_condition
from keras_vae.serialization import Serializable, register


@register
class Decoder(Serializable, keras.Model):
    """Network, projection to the likelihood's parameters, likelihood.

    The projection is a 1x1 convolution where the features already have the height and width of the data, else a dense
    layer and a reshape; it computes in float32.

    Args:
        network: a recipe of `keras_vae.networks`, or any Keras layer or model of your own from z [B, L] to features.
        likelihood: a part of `keras_vae.likelihoods`.

    Example:

        decoder = kv.Decoder(networks.mlp([256, 512]), likelihoods.Bernoulli((28, 28, 1)))
        p = decoder(z)               # tfd.Distribution, batch z.shape[:-1], event (28, 28, 1)
        images = p.mean()
    """

    def __init__(self, network: Network | keras.Layer, likelihood: Likelihood, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_network(network)
        if not isinstance(likelihood, Likelihood):
            raise TypeError(f"likelihood must be a part of keras_vae.likelihoods, not {likelihood!r}.")
        self.network = network
        self.likelihood = likelihood

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example of the data."""
        return self.likelihood.event_shape

    def build(self, input_shape: tuple) -> None:
        """Make the layers for z of shape [..., L]."""
        if self.built:
            return
        shape = self.likelihood.params_shape
        network = self.network
        self.body = network.decoder_body(shape, self.dtype_policy) if isinstance(network, Network) else network
        features = feature_shape(self.body, (None, input_shape[-1]))
        if len(shape) == 3 and features[:-1] == shape[:-1]:
            layers = [keras.layers.Conv2D(shape[-1], 1, dtype="float32", name="params")]
        else:
            layers = [keras.layers.Flatten(dtype="float32")] if len(features) > 1 else []
            layers.append(keras.layers.Dense(int(np.prod(shape)), dtype="float32", name="params"))
            layers.append(keras.layers.Reshape(shape, dtype="float32"))
        self.projection = keras.Sequential(layers)
        self.projection.build((None, *features))
        self.likelihood.build((None, *shape))

    def call(self, z: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tfd.Distribution:
        """p(x|z), batch z.shape[:-1], event `event_shape`, for z [..., L]."""
        refuse_condition(condition, "decoder")
        # A z of rank 2 passes without a reshape: exported graphs then hold the network's operations and no others.
        is_flat = z.shape.rank == 2
        params = self.projection(self.body(z if is_flat else tf.reshape(z, [-1, z.shape[-1]]), training=training))
        if not is_flat:
            params = tf.reshape(params, tf.concat([tf.shape(z)[:-1], params.shape[1:]], axis=0))
        return self.likelihood(params)

    @property
    def output_layer(self) -> keras.Layer:
        """The dense layer or 1x1 convolution that gives the likelihood's parameters."""
        return self.projection.get_layer("params")

    def adapt(self, mean: np.ndarray, spread: float = 1.0) -> None:
        """Set the output bias such that p(x|z) starts at the mean of the data, and as wide as they are.

        Args:
            mean: mean of the data, [*event_shape].
            spread: their standard deviation around it.
        """
        bias = self.output_layer.bias
        per_channel = len(bias.shape) == 1 and bias.shape[0] == self.likelihood.params_shape[-1]
        if per_channel and len(self.event_shape) > 1:
            mean = mean.mean(axis=tuple(range(mean.ndim - 1)))
        self.likelihood.adapt(spread)
        initial = self.likelihood.initial_bias(mean, spread)
        if initial is not None:
            bias.assign(np.reshape(initial, bias.shape))
