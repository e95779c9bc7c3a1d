"""One level of a hierarchy: prior, and posterior that corrects it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.gaussian import with_precisions
from keras_vae.distributions.joint import flat
from keras_vae.distributions.scales import bounded, shares
from keras_vae.networks.conditioned import join, joined_shape
from keras_vae.networks.convolutional import convolution
from keras_vae.networks.dense import GatedDense
from keras_vae.networks.network import CHANNELS_LAST
from keras_vae.posteriors.points import centre
from keras_vae.posteriors.posterior import Posterior

# Of all levels below the top, log sigma is above -5.
MIN_LOG_SCALE = -5.0
# What a part sees of the hidden layer is within plus and minus this. The scale of its draws would else grow with h, and
# h with its draws, from level to level: in training they came to 10^7, and the norm of their gradient to infinity.
MAX_FEATURE = 10.0


class Level(keras.layers.Layer):
    """One level: p(z|h), q(z|h, e), and z's way into h. `LadderDecoder` makes it.

    Args:
        latents: dimensions, or channels where h is a map.
        activation: of the hidden layers.
        is_gated: whether these are `GatedDense`; not of a map.
        max_log_scale: log sigma is below it.
        part: q(z|h, e) given the hidden layer; None for a diagonal Gaussian with the bounds of the prior.
        bidirectional: whether q(z|e) is of the way up alone, and the precisions of p(z|h) are added to its own.
    """

    # It was 5 in what is saved without saying: see `training.checkpoint_state.set_meanings`.
    before: ClassVar[Mapping[str, Any]] = {"max_log_scale": 5.0}

    def __init__(
        self,
        latents: int,
        activation: str,
        is_gated: bool = False,
        max_log_scale: float = 0.5,
        part: Posterior | None = None,
        bidirectional: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.max_log_scale = max_log_scale
        self.part, self.bidirectional = part, bidirectional
        self.latents, self.activation, self.is_gated = latents, activation, is_gated

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the prior and the way of z into h, for h of shape [B, F], [B, T, F] or [B, H, W, F]."""
        if self.built:
            return
        self.map_shape: Any = tuple(input_shape[1:-1])
        width: Any = input_shape[-1]
        self.prior_layers = self._branch(width, "prior")
        self.posterior_layers = self._branch(width, "posterior")
        if self.part is not None:
            self.posterior_layers.pop()
        self.into = self._projection(width, 1, "into")
        self.into.build((None, *self.map_shape, self.latents))
        self._build_branch(self.prior_layers, width)

    def build_posterior(self, h_shape: Sequence[int], e_shape: Sequence[int]) -> None:
        """Make the posterior, which sees the encoder's features beside h."""
        if not self.posterior_layers[0].built:
            shape = (None, *h_shape[:-1], 0 if self.bidirectional else h_shape[-1])
            self._build_branch(self.posterior_layers, joined_shape(shape, [(None, *e_shape)])[-1])

    def _branch(self, width: Any, name: str) -> list[keras.layers.Layer]:
        if self.is_gated:
            hidden = GatedDense(width, self.activation, dtype=self.dtype_policy, name=f"{name}_hidden")
        else:
            hidden = self._projection(width, 3, f"{name}_hidden", activation=self.activation)
        # As the heads of all posteriors, in float32. It starts at N(0, I).
        params = self._projection(2 * self.latents, 1, f"{name}_params", kernel_initializer="zeros", dtype="float32")
        return [hidden, params]

    def _build_branch(self, layers: list[keras.layers.Layer], width: Any) -> None:
        hidden, *params = layers
        hidden.build((None, *self.map_shape, width))
        shape = hidden.compute_output_shape((None, *self.map_shape, width))
        for layer in params:
            layer.build(shape)
        if not params and self.part is not None:
            self.part.build((None, shape[-1]))

    def _projection(self, width: int, kernel_size: int, name: str, **options: Any) -> keras.layers.Layer:
        options = {"dtype": self.dtype_policy, **options}
        if self.map_shape:
            options |= {"padding": "same", "data_format": CHANNELS_LAST}
            return convolution(len(self.map_shape))(width, kernel_size, name=name, **options)
        return keras.layers.Dense(width, name=name, **options)

    def prior(self, h: tf.Tensor) -> tfd.Distribution:
        """p(z|h), batch [B], event [L]: maps are flattened."""
        return self._normal(self.prior_layers, h)

    def posterior(
        self, h: tf.Tensor, e: tf.Tensor, p: tfd.Distribution | None = None, training: bool | None = None
    ) -> tfd.Distribution:
        """q(z|h, e), batch [B], event [L], as `distributions.joint.drawn` takes it.

        Args:
            h: the state of the way down.
            e: features of the way up.
            p: p(z|h), of which a bidirectional level makes use.
            training: passed on to the part.
        """
        # Without channels, h still says how large the map is.
        seen = join(h[..., :0] if self.bidirectional else h, e)
        q = self._normal(self.posterior_layers, seen) if self.part is None else self._of_part(seen, training)
        if self.bidirectional:
            q = with_precisions(q, self.prior(h) if p is None else p)
        size = self.latents * math.prod(self.map_shape)
        return flat(q, size, centre if self.part is None else self.part.point)

    def _of_part(self, seen: tf.Tensor, training: bool | None) -> tfd.Distribution:
        """The part's distribution: of maps, or with a batch of all places."""
        features, part = tf.cast(self.posterior_layers[0](seen), tf.float32), self.part
        assert part is not None
        features = bounded(features, MAX_FEATURE)
        if not part.is_of_maps:
            features = tf.reshape(features, [-1, features.shape[-1]])
        return part(features, training=training)

    def merge(self, h: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """h + W z, of the shape of h, for z [B, L]."""
        if self.map_shape:
            z = tf.reshape(z, [-1, *self.map_shape, self.latents])
        return h + tf.cast(self.into(z), h.dtype)

    def _normal(self, layers: list[keras.layers.Layer], inputs: tf.Tensor) -> tfd.Distribution:
        hidden, params = layers
        loc, raw = shares(params(hidden(inputs)), 2)
        size = self.latents * math.prod(self.map_shape)
        scale = tf.exp(bounded(raw, self.max_log_scale, below=-MIN_LOG_SCALE))
        return tfd.MultivariateNormalDiag(tf.reshape(loc, [-1, size]), tf.reshape(scale, [-1, size]))
