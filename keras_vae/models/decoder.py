"""The decoder: a network and a likelihood, z -> p(x|z)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import require_kind
from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import check_condition, require
from keras_vae.distributions.distribution import Distribution
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.models.storage import model_files
from keras_vae.networks.conditioned import conditioned
from keras_vae.networks.network import CHANNELS_LAST, Network, check_network, feature_shape
from keras_vae.seeds import fold_in
from keras_vae.serialization import Serializable, register
from keras_vae.terms import LatentGroup


class Decoded(NamedTuple):
    """What a decoder makes of latents: p(x|z), and the groups of latents that it drew itself, from the top down."""

    likelihood: tfd.Distribution
    groups: list[LatentGroup]


@register
class Decoder(Serializable, keras.Model):
    """Network, projection to the likelihood's parameters, likelihood.

    Where the features already have the shape of the data but for the last axis, as height and width of an image or the
    steps of a series, the parameters at each place are made of the features at that place: by a 1x1 convolution of
    images, a dense layer of all else. Other features go through one dense layer to all parameters, and a reshape. It
    computes in float32.

    Args:
        network: a recipe of `keras_vae.networks`, or any Keras layer or model of your own from z [B, L] to features.
        likelihood: a part of `keras_vae.likelihoods`.
        condition: a part of `keras_vae.conditions`, for p(x|z, c): the network sees it beside z.
        guide: a convolutional recipe of `keras_vae.networks` that looks at a condition that is an image, as an encoder:
            its map of each size is joined where the decoder's has that size, as in a U-Net. None for the image alone.

    Example:

        decoder = kv.Decoder(networks.mlp([256, 512]), likelihoods.Bernoulli((28, 28, 1)))
        p = decoder(z)               # tfd.Distribution, batch z.shape[:-1], event (28, 28, 1)
        images = p.mean()
    """

    needs_features: bool = False  # of the encoder's stages: a hierarchy
    levels_coded_as: str | None = "normal"  # as `Posterior.coded_as`, of the levels below the top
    has_flow_of_maps: bool = False  # as posterior of its levels
    # Whether that is so of all data. It was once so of images alone, as models that were saved then remember.
    place_by_place: bool = True

    def __init__(
        self,
        network: Network | keras.Layer,
        likelihood: Likelihood,
        condition: Condition | None = None,
        guide: Network | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_network(network)
        require_kind("likelihood", likelihood, Likelihood, "a part of keras_vae.likelihoods")
        check_condition(condition)
        likelihood.check_condition(condition)
        if guide is not None:
            require_kind("guide", guide, Network, "a recipe of keras_vae.networks, such as conv([32, 64])")
            if condition is None or not condition.is_image:
                raise ValueError(f"guide is a network that looks at an image: the condition is {condition}.")
        self.network = network
        self.likelihood = likelihood
        self.condition = condition
        self.guide = guide

    quantize = model_files.refuse_quantization

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example of the data."""
        return self.likelihood.event_shape

    @property
    def num_levels(self) -> int:
        """Number of levels of latents, with the top one; of a built decoder."""
        return 1 + len(self.noise_sizes)

    @property
    def noise_sizes(self) -> list[int]:
        """Number of dimensions of each level below the top, from the top down."""
        return []

    def build(self, input_shape: tuple) -> None:
        """Make the layers for z of shape [..., L]."""
        if self.built:
            return
        shape = self.likelihood.params_shape
        network = self.network
        body = network.decoder_body(shape, self.dtype_policy) if isinstance(network, Network) else network
        guide = None
        if self.guide is not None and self.condition is not None:
            guide = self.guide.encoder_body(self.condition.features_shape, self.dtype_policy)
        self.body = conditioned(network, body, self.condition, at_the_end=True, guide=guide)
        z_shape: Any = (None, input_shape[-1])
        if self.condition is not None:
            z_shape = [z_shape, (None, *self.condition.features_shape)]
        features = feature_shape(self.body, z_shape)
        has_places = len(shape) > 1 and features[:-1] == shape[:-1]
        layers: list[keras.Layer]
        if has_places and len(shape) == 3:
            layers = [keras.layers.Conv2D(shape[-1], 1, data_format=CHANNELS_LAST, dtype="float32", name="params")]
        elif has_places and self.place_by_place:
            layers = [keras.layers.Dense(shape[-1], dtype="float32", name="params")]
        else:
            layers = [keras.layers.Flatten(CHANNELS_LAST, dtype="float32")] if len(features) > 1 else []
            layers.append(keras.layers.Dense(math.prod(shape), dtype="float32", name="params"))
            layers.append(keras.layers.Reshape(shape, dtype="float32"))
        self.projection = keras.Sequential(layers)
        self.projection.build((None, *features))
        self.likelihood.build((None, *shape))

    def get_config(self) -> dict[str, Any]:
        """The parts, and how the parameters are made."""
        return {**super().get_config(), "place_by_place": self.place_by_place}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A decoder with the parts of `config`."""
        arguments = dict(config)
        place_by_place = arguments.pop("place_by_place", False)
        decoder = super().from_config(arguments)
        decoder.place_by_place = place_by_place
        return decoder

    if TYPE_CHECKING:

        def __call__(self, z: Any, condition: Any = None, training: bool | None = None) -> Distribution:
            """p(x|z): Keras's own method says nothing of what comes."""

    def call(self, z: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tfd.Distribution:
        """p(x|z), batch z.shape[:-1], event `event_shape`, for z [..., L] or [..., B, L] and conditions [B, ...]."""
        require(self, condition)
        # A z of rank 2 passes without a reshape: exported graphs then hold the network's operations and no others.
        is_flat = z.shape.rank == 2
        seen: Any = z if is_flat else tf.reshape(z, [-1, z.shape[-1]])
        if self.condition is not None:
            features = self.condition.features(condition)
            if not is_flat:
                times = tf.math.floordiv(tf.shape(seen)[0], tf.maximum(tf.shape(features)[0], 1))
                features = tf.tile(features, [times, *[1] * (features.shape.rank - 1)])
            seen = [seen, features]
        params = self.projection(self.body(seen, training=training))
        return self._distribution(params, z, condition)

    def _distribution(self, params: tf.Tensor, z: tf.Tensor, condition: tf.Tensor | None) -> tfd.Distribution:
        """p(x|z) from parameters [N, *params_shape], for z [..., L] or [..., B, L] and conditions [B, ...]."""
        if z.shape.rank != 2:
            params = tf.reshape(params, tf.concat([tf.shape(z)[:-1], params.shape[1:]], axis=0))
        if not self.likelihood.needs_condition:
            return self.likelihood(params)
        assert self.condition is not None
        given = self.condition.features(condition)
        return self.likelihood(params, given[0] if z.shape.rank == 1 else given)

    def connect(self, feature_shapes: Sequence[Sequence[int]]) -> None:
        """Make the weights that see the encoder's features, of these shapes from the top down; here none."""

    def draw(
        self, z: tf.Tensor, noise: Sequence[tf.Tensor | None] | None, condition: tf.Tensor | None = None
    ) -> tfd.Distribution:
        """p(x|z), z of the top level as given, the levels below it by this standard normal noise."""
        return self(z, condition=condition)

    def descend(
        self,
        z: tf.Tensor,
        features: Any,
        seed: Any = None,
        condition: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> Decoded:
        """p(x|z) for draws from the posterior; a hierarchy draws its lower levels by what `Encoder.ascend` gave."""
        return Decoded(self(z, condition=condition, training=training), [])

    def noise(self, n: Any, seed: Any = None, temperature: float = 1.0) -> list[tf.Tensor]:
        """What `draw` takes for n draws of the levels below the top at a temperature, [n, size] each; level by level
        its own numbers."""
        sizes = enumerate(self.noise_sizes, start=1)
        return [temperature * tf.random.stateless_normal([n, size], fold_in(seed, level)) for level, size in sizes]

    def generate(
        self, z: tf.Tensor, seed: Any = None, condition: tf.Tensor | None = None, temperature: float = 1.0
    ) -> tfd.Distribution:
        """p(x|z) for draws z from the prior, [N, L]; a hierarchy draws its lower levels from theirs.

        Args:
            z: of the top level.
            seed: of the lower levels.
            condition: [N, ...].
            temperature: factor on their standard deviations.
        """
        rows = math.prod(z.shape[:-1]) if z.shape[:-1].is_fully_defined() else tf.reduce_prod(tf.shape(z)[:-1])
        return self.draw(z, self.noise(rows, seed, temperature), condition)

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
