"""One level of a hierarchy: prior, and posterior that corrects it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.scales import bounded
from keras_vae.networks.conditioned import join
from keras_vae.networks.dense import GatedDense
from keras_vae.networks.network import CHANNELS_LAST

# Of all levels below the top, log sigma is above -5.
MIN_LOG_SCALE = -5.0


class Level(keras.layers.Layer):
    """One level: p(z|h), q(z|h, e), and z's way into h. `LadderDecoder` makes it.

    Args:
        latents: dimensions, or channels where h is a map.
        activation: of the hidden layers.
        is_gated: whether these are `GatedDense`; not of a map.
        max_log_scale: log sigma is below it.
    """

    # It was 5 in what is saved without saying: see `training.checkpoint_state.set_meanings`.
    before: ClassVar[Mapping[str, Any]] = {"max_log_scale": 5.0}

    def __init__(
        self, latents: int, activation: str, is_gated: bool = False, max_log_scale: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.max_log_scale = max_log_scale
        self.latents, self.activation, self.is_gated = latents, activation, is_gated

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the prior and the way of z into h, for h of shape [B, F] or [B, H, W, F]."""
        if self.built:
            return
        self.map_shape: Any = tuple(input_shape[1:-1])
        width: Any = input_shape[-1]
        self.prior_layers = self._branch(width, "prior")
        self.posterior_layers = self._branch(width, "posterior")
        self.into = self._projection(width, 1, "into")
        self.into.build((None, *self.map_shape, self.latents))
        self._build_branch(self.prior_layers, width)

    def build_posterior(self, h_shape: Sequence[int], e_shape: Sequence[int]) -> None:
        """Make the posterior, which sees the encoder's features beside h."""
        if not self.posterior_layers[0].built:
            joined = h_shape[-1] + (e_shape[-1] if len(h_shape) == 3 else math.prod(e_shape))
            self._build_branch(self.posterior_layers, joined)

    def _branch(self, width: Any, name: str) -> list[keras.layers.Layer]:
        if self.is_gated:
            hidden = GatedDense(width, self.activation, dtype=self.dtype_policy, name=f"{name}_hidden")
        else:
            hidden = self._projection(width, 3, f"{name}_hidden", activation=self.activation)
        # As the heads of all posteriors, in float32. It starts at N(0, I).
        params = self._projection(2 * self.latents, 1, f"{name}_params", kernel_initializer="zeros", dtype="float32")
        return [hidden, params]

    def _build_branch(self, layers: list[keras.layers.Layer], width: Any) -> None:
        hidden, params = layers
        hidden.build((None, *self.map_shape, width))
        params.build(hidden.compute_output_shape((None, *self.map_shape, width)))

    def _projection(self, width: int, kernel_size: int, name: str, **options: Any) -> keras.layers.Layer:
        options = {"dtype": self.dtype_policy, **options}
        if self.map_shape:
            return keras.layers.Conv2D(
                width, kernel_size, padding="same", data_format=CHANNELS_LAST, name=name, **options
            )
        return keras.layers.Dense(width, name=name, **options)

    def prior(self, h: tf.Tensor) -> tfd.Distribution:
        """p(z|h), batch [B], event [L]: maps are flattened."""
        return self._normal(self.prior_layers, h)

    def posterior(self, h: tf.Tensor, e: tf.Tensor) -> tfd.Distribution:
        """q(z|h, e), batch [B], event [L]."""
        return self._normal(self.posterior_layers, join(h, e))

    def merge(self, h: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """h + W z, of the shape of h, for z [B, L]."""
        if self.map_shape:
            z = tf.reshape(z, [-1, *self.map_shape, self.latents])
        return h + tf.cast(self.into(z), h.dtype)

    def _normal(self, layers: list[keras.layers.Layer], inputs: tf.Tensor) -> tfd.Distribution:
        hidden, params = layers
        loc, raw = tf.split(params(hidden(inputs)), 2, axis=-1)
        size = self.latents * math.prod(self.map_shape)
        scale = tf.exp(bounded(raw, self.max_log_scale, below=-MIN_LOG_SCALE))
        return tfd.MultivariateNormalDiag(tf.reshape(loc, [-1, size]), tf.reshape(scale, [-1, size]))
