"""Priors p(z): Keras layers that own their weights and return TFP distributions.

A prior of your own is a subclass with one method:

    @kv.register
    class Laplace(priors.Prior):
        def distribution(self, encoder=None, condition=None):
            return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd
from tensorflow_probability import layers as tfpl

from keras_vae import bijectors
from keras_vae.arguments import check_count
from keras_vae.conditions import Condition, check_condition, require
from keras_vae.constraints import positive
from keras_vae.inputs import Summary
from keras_vae.latents import REAL, UNIT, Support, check_interval, check_latent_dim
from keras_vae.mixtures import mixture
from keras_vae.networks import Network, check_network, check_sizes, feature_shape, mlp
from keras_vae.serialization import Serializable, register


class Prior(Serializable, keras.layers.Layer):
    """A distribution over z of `latent_dim` dimensions, in float32 whatever the dtype policy.

    Args:
        latent_dim: number L of latent dimensions.
    """

    support: Support = REAL
    num_examples: int = 0  # that `adapt` wants to see
    condition: Condition | None = None

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_latent_dim(latent_dim)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """What z is made of, as (kind, size): the posterior's must be the same."""
        return (("continuous", self.latent_dim),)

    def build(self, input_shape: tuple) -> None:
        """Make the weights, if any; `input_shape` is that of a batch of data, [B, *event_shape]."""

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """p(z), batch [] (or [B] given a condition), event [L].

        Args:
            encoder: the model's encoder, for priors that are made of posteriors.
            condition: what the prior is conditioned on, for priors that can be.
        """
        raise TypeError(f"{type(self).__name__} must define distribution(encoder, condition).")

    def adapt(self, data: Summary) -> None:
        """Initialise weights from the data, where that means something, given `num_examples` of them or all."""


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
        self.head = tfpl.DistributionLambda(self._normal, convert_to_tensor_fn=tfd.Distribution.mean)

    def build(self, input_shape: tuple) -> None:
        """Make the network and its projection to mu and sigma."""
        if self.built:
            return
        assert self.condition is not None
        network, shape = self.network, self.condition.features_shape
        self.body = network.encoder_body(shape, "float32") if isinstance(network, Network) else network
        self.flatten = keras.layers.Flatten(dtype="float32")
        size = math.prod(int(n or 1) for n in feature_shape(self.body, (None, *shape)))
        self.projection = keras.layers.Dense(
            2 * self.latent_dim, kernel_initializer="zeros", dtype="float32", name="projection"
        )
        self.projection.build((None, size))

    def _normal(self, params: tf.Tensor) -> tfd.Distribution:
        loc, raw_scale = tf.split(params, 2, axis=-1)
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


@register
class Uniform(Prior):
    """p(z) = 1 / (high - low)^L on [low, high]^L.

    Needs a posterior on an interval inside, such as `posteriors.Kumaraswamy`: for a Gaussian, KL(q || p) is infinite.

    Args:
        latent_dim: L.
        low: lower end of the interval, for all dimensions.
        high: upper end.

    Raises:
        ValueError: unless low < high, both finite.
    """

    support = UNIT

    def __init__(self, latent_dim: int, low: float = 0.0, high: float = 1.0, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.support = check_interval(low, high)
        self.head = tfpl.DistributionLambda(self._uniform, convert_to_tensor_fn=tfd.Distribution.mean)

    def _uniform(self, low: tf.Tensor) -> tfd.Distribution:
        return tfd.Independent(tfd.Uniform(low, tf.fill(tf.shape(low), self.support.high)), 1)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The uniform distribution, batch [], event [L]."""
        return self.head(tf.fill([self.latent_dim], self.support.low)).tensor_distribution


@register
class NormalMixture(Prior):
    """p(z) = sum_m w_m N(z; mu_m, diag(s_m^2)): a mixture of Gaussians whose weights, means and scales are learned.

    It starts near the standard normal: equal weights, means drawn with a standard deviation of one half, scales of one.
    Used for clustering by Jiang et al. 2017, "Variational deep embedding". The KL to it is sampled.

    Args:
        latent_dim: L.
        num_components: M.
    """

    def __init__(self, latent_dim: int, num_components: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.num_components = check_count("num_components", num_components)
        self.head = tfpl.DistributionLambda(self._mixture, convert_to_tensor_fn=tfd.Distribution.mean)
        shape = (self.num_components, self.latent_dim)
        spread = keras.initializers.RandomNormal(stddev=0.5)
        self.logits = self.add_weight(name="logits", shape=shape[:1], initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=shape, initializer=spread)
        self.raw_scale = self.add_weight(name="raw_scale", shape=shape, initializer="zeros")

    def _mixture(self, params: list[tf.Tensor]) -> tfd.Distribution:
        logits, loc, raw_scale = params
        components = tfd.MultivariateNormalDiag(loc, positive(raw_scale))
        return mixture(logits, components)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The mixture, batch [], event [L]."""
        weights = [tf.convert_to_tensor(w) for w in (self.logits, self.loc, self.raw_scale)]
        return self.head(weights).tensor_distribution


@register
class VampPrior(Prior):
    """p(z) = 1/M sum_m q(z | u_m): a mixture of the posteriors of M learned pseudo-inputs u_m.

    After Tomczak and Welling 2018, "VAE with a VampPrior". `adapt` makes examples drawn from all of the data the first
    pseudo-inputs; from then on the optimizer's steps are projected back to the range of the data. (The paper clips in
    the forward pass; a pixel that starts at 0 and is pushed below would then never get a gradient again.) Any posterior
    with a density will do; with an "iaf" flow each evaluation takes L - 1 passes through the flow. The KL to it is
    sampled.

    Args:
        latent_dim: L.
        num_pseudo_inputs: M.
    """

    NOISE = 0.01  # of pseudo-inputs that repeat an example, in units of the range of each value

    def __init__(self, latent_dim: int, num_pseudo_inputs: int, **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        self.num_pseudo_inputs = check_count("num_pseudo_inputs", num_pseudo_inputs)
        self.num_examples = self.num_pseudo_inputs

    def build(self, input_shape: tuple) -> None:
        """Make pseudo-inputs of the shape of the data, [M, *event_shape], uniform on [0, 1] until `adapt` sees data."""
        if self.built:
            return
        unbounded = keras.initializers.Constant(np.array([-np.inf, np.inf], "float32"))
        self.range = self.add_weight(name="range", shape=(2,), initializer=unbounded, trainable=False)
        self.pseudo_inputs = self.add_weight(
            name="pseudo_inputs",
            shape=(self.num_pseudo_inputs, *input_shape[1:]),
            initializer=keras.initializers.RandomUniform(0.0, 1.0),
            constraint=self._into_range,
        )

    def _into_range(self, values: tf.Tensor) -> tf.Tensor:
        low, high = tf.unstack(tf.convert_to_tensor(self.range))
        return tf.clip_by_value(values, low, high)

    def adapt(self, data: Summary) -> None:
        """Start from M examples, repeated with a little noise if there are fewer."""
        values = np.resize(data.examples, self.pseudo_inputs.shape)
        noise = tf.random.stateless_normal(values.shape, seed=[0, 0]) * self.NOISE * (data.high - data.low)
        repeats = np.arange(len(values)) >= len(data.examples)
        values[repeats] += noise.numpy()[repeats]
        self.range.assign([data.low.min(), data.high.max()])
        self.pseudo_inputs.assign(np.clip(values, data.low.min(), data.high.max()))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The mixture of `encoder`'s posteriors, batch [], event [L].

        Raises:
            ValueError: without an encoder, or with a posterior that has no density.
        """
        if encoder is None:
            raise ValueError("VampPrior is made of posteriors: call distribution(encoder=vae.encoder).")
        components = encoder(tf.convert_to_tensor(self.pseudo_inputs))
        if isinstance(components, tfd.VectorDeterministic):
            raise ValueError(
                "VampPrior is a mixture of the densities q(z|u), and Deterministic has none: use a posterior that has "
                f"one, or priors.StandardNormal({self.latent_dim}), which an autoencoder ignores."
            )
        return mixture(tf.zeros([self.num_pseudo_inputs]), components)


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

    def __init__(self, latent_dim: int, num_layers: int = 8, units: Sequence[int] = (128, 128), **kwargs: Any) -> None:
        super().__init__(latent_dim, **kwargs)
        check_count("num_layers", num_layers)
        self.layers = bijectors.conditioners("coupling", latent_dim, num_layers, check_sizes("units", units))
        # What the head converts to is not used, and must not use the weights: a Keras 2 layer complains of those.
        self.head = tfpl.DistributionLambda(self._flow, convert_to_tensor_fn=lambda p: p.distribution.mean())

    def _flow(self, loc: tf.Tensor) -> tfd.Distribution:
        base = tfd.MultivariateNormalDiag(loc, tf.ones_like(loc))
        return tfd.TransformedDistribution(base, tfb.Invert(bijectors.chain(self.layers)))

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The flow, batch [], event [L]."""
        return self.head(tf.zeros([self.latent_dim])).tensor_distribution
