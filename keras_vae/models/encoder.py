"""The encoder: a network and a posterior, x -> q(z|x)."""

import math
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_choice, require_kind
from keras_vae.conditions.condition import Condition
from keras_vae.conditions.handed import check_condition, require
from keras_vae.distributions.distribution import Distribution
from keras_vae.distributions.support import REAL, Support
from keras_vae.likelihoods.observed import MayMiss, with_mask
from keras_vae.models.storage import model_files
from keras_vae.networks.conditioned import conditioned
from keras_vae.networks.network import CHANNELS_LAST, Network, check_network, feature_shape
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import Serializable, register


@register
class Encoder(MayMiss, keras.Model):
    """Network, flattened features, posterior.

    Args:
        network: a recipe of `keras_vae.networks`, or any Keras layer or model of your own (`keras.Sequential`,
            `keras.applications`) from a batch of data to features.
        posterior: a part of `keras_vae.posteriors`.
        condition: a part of `keras_vae.conditions`, for q(z|x, c): the network sees it beside the data.

    Example:

        encoder = kv.Encoder(networks.mlp([512, 256]), posteriors.MultivariateNormalDiag(16))
        q = encoder(images)          # tfd.Distribution, batch [B], event [16]
    """

    gives_features: bool = False  # of every stage, for the levels of a hierarchy

    def __init__(
        self,
        network: Network | keras.Layer,
        posterior: Posterior,
        condition: Condition | None = None,
        **kwargs: Any,
    ) -> None:
        # The layers inside cast for themselves; a cast here would round the data of a float32 head.
        super().__init__(autocast=False, **kwargs)
        check_network(network)
        require_kind("posterior", posterior, Posterior, "a part of keras_vae.posteriors")
        check_condition(condition)
        self.network = network
        self.posterior = posterior
        self.condition = condition
        self.view: Any = None

    quantize = model_files.refuse_quantization

    def follow(self, support: Support, missing: bool = False, view: keras.layers.Layer | None = None) -> None:
        """Be the encoder of a model whose data lie there.

        Args:
            support: of the data.
            missing: whether values may be missing: the network then sees zeros in their place, and beside all values,
                on the last axis, whether they are there.
            view: the layer through which the network sees the data, which says itself what is missing.

        Raises:
            ValueError: if the network was made for data of which none, or some, may be missing, and it is otherwise.
        """
        self.__dict__["__support__"] = support
        if self.built and missing != self.missing:
            how = "knows of no missing values" if missing else "was made for data of which some are missing"
            raise ValueError(f"The encoder is built already, and {how}: give the VAE a new one.")
        self.missing = missing
        if view is not None and self.view is None:
            if self.built:
                raise ValueError("The encoder is built already, for data as they are: give the VAE a new one.")
            self.view = view
        if self.view is not None:
            self.view.missing = missing

    def adapt_to(self, examples: np.ndarray) -> None:
        """Initialise what the data are seen through from examples of them, [n, *event_shape]."""
        if self.view is not None:
            self.view.adapt_to(examples)

    def get_config(self) -> dict[str, Any]:
        """The parts, and what the data are seen through."""
        seen = {} if self.view is None else {"view": keras.saving.serialize_keras_object(self.view)}
        return {**super().get_config(), **seen}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An encoder with the parts of `config`."""
        arguments = dict(config)
        view = arguments.pop("view", None)
        encoder = super().from_config(arguments)
        encoder.view = None if view is None else keras.saving.deserialize_keras_object(view)
        return encoder

    @property
    def latent_dim(self) -> int:
        """Number L of latent dimensions."""
        return self.posterior.latent_dim

    @property
    def feature_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of what `ascend` gives beside q(z|x), for one example, the topmost first; of a built encoder."""
        return []

    def build(self, input_shape: tuple) -> None:
        """Make the layers for data of shape [B, *event_shape]."""
        if self.built:
            return
        network = self.network
        event_shape = self.seen_shape(input_shape[1:])
        if isinstance(network, Network):
            network = network.encoder_body(event_shape, self.dtype_policy)
        self.body = conditioned(self.network, network, self.condition)
        shape: Any = (None, *event_shape)
        if self.condition is not None:
            shape = [shape, (None, *self.condition.features_shape)]
        features = feature_shape(self.body, shape)
        sizes = [n for n in features if n is not None]
        if len(sizes) < len(features):
            raise ValueError(
                f"The encoder's network gives features of shape {features}, whose size is not fixed: end it with "
                "keras.layers.Flatten or GlobalAveragePooling2D."
            )
        self.num_features = math.prod(sizes)
        self.posterior.feature_shape = tuple(sizes)
        self.posterior.build((None, self.num_features))

    if TYPE_CHECKING:

        def __call__(self, x: Any, condition: Any = None, training: bool | None = None) -> Distribution:
            """q(z|x): Keras's own method says nothing of what comes."""

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tfd.Distribution:
        """q(z|x), batch [B], event [L], for data [B, *event_shape] and conditions [B, ...] if there are any."""
        return self.posterior(self.features(x, condition, training))

    def features(self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """What the posterior sees of the data, [B, F]."""
        require(self, condition)
        x = self.seen(x)
        seen = x if self.condition is None else [x, self.condition.features(condition)]
        return tf.reshape(self.body(seen, training=training), [-1, self.num_features])

    def seen(self, x: tf.Tensor) -> tf.Tensor:
        """What the network sees of the data: these, or where values may be missing zeros in their place and a mask."""
        if self.view is not None:
            seen: tf.Tensor = self.view(x)
            return seen
        return with_mask(x) if self.missing else x

    def seen_shape(self, event_shape: Any) -> tuple[int, ...]:
        """The shape of that for one example."""
        if self.view is not None:
            return tuple(self.view.compute_output_shape((None, *event_shape))[1:])
        *places, size = event_shape
        return (*places, 2 * size if self.missing else size)

    def ascend(
        self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None
    ) -> tuple[tfd.Distribution, Any]:
        """q(z|x), and what the lower levels of a hierarchy need of x: here nothing, None."""
        return self(x, condition=condition, training=training), None

    def features_model(self, trainable: bool = True, layer: str = "codes", standardize: Any = None) -> keras.Model:
        """The encoder as an ordinary Keras model, data [B, *event_shape] -> features, to stack a head on.

            features = vae.encoder.features_model(layer="features", standardize=x)
            model = keras.Sequential([features, keras.layers.Dense(10, activation="softmax")])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            model.fit(x, y)

        The weights are a copy: fine-tuning leaves the VAE as it was. Data that are not finite, or lie outside the range
        of the VAE's likelihood, are refused.

        Args:
            trainable: False freezes the copy, for training the head alone.
            layer: "codes", the point of q(z|x), its mean, [B, L]; "features", what the posterior's projection sees,
                [B, F], which know more of the data than fits into the code.
            standardize: data, with or without labels, over which each output then has mean 0 and variance 1. One
                whose variance is below a hundredth of the average is divided by a tenth of the average deviation: a
                latent that carries nothing, or a unit that hardly ever fires, would be noise of the size of the others.
                The codes of a VAE with many such latents are better left as they are.

        Raises:
            ValueError: for an encoder that has no weights yet, or is conditional, and another layer.
        """
        check_choice("layer", layer, ("codes", "features"))
        if self.condition is not None:
            raise ValueError(f"This encoder is conditioned on {self.condition}: features are of the data alone.")
        if not self.built:
            raise ValueError("The encoder has no weights yet: train or load the VAE first, or call vae.build().")
        if self.missing:
            raise ValueError("This encoder is of data with missing values: encode(x) gives its codes.")
        shape = tuple(self.get_build_config()["input_shape"][1:])
        copy = type(self).from_config(self.get_config())
        copy.build((None, *shape))
        copy.set_weights(self.get_weights())
        # A name that Keras does not track: see `follow`.
        ends = vars(self).get("__support__", REAL)
        looked_at = DataWithin(*(end if math.isfinite(end) else None for end in ends))
        flat = keras.layers.Flatten(CHANNELS_LAST, dtype="float32")
        layers = [keras.Input(shape), looked_at, *([] if copy.view is None else [copy.view]), copy.body, flat]
        if layer == "codes":
            layers.append(PosteriorPoint(copy.posterior))
        model = keras.Sequential(layers, name="features")
        if standardize is not None:
            # In a model of its own: `add` does not make Keras forget the function that `predict` has compiled.
            layers.append(_standardized(model.predict(standardize, verbose=0)))
            model = keras.Sequential(layers, name="features")
        model.trainable = trainable
        return model


def _standardized(features: np.ndarray) -> keras.layers.Normalization:
    """To mean 0 and variance 1 over `features` [N, F], but no output enlarged more than ten times the average one."""
    variance = features.var(axis=0)
    floor = 0.01 * variance.mean() or 1.0
    return keras.layers.Normalization(
        mean=features.mean(axis=0), variance=np.maximum(variance, floor), dtype="float32", name="standardized"
    )


@register
class DataWithin(Serializable, keras.layers.Layer):
    """Data as they are, after a look: finite numbers in [low, high], of the shape that they had when it was built.

    Args:
        low: the smallest that is allowed; None for no bound.
        high: the largest.
    """

    def __init__(self, low: float | None, high: float | None, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.low, self.high = low, high

    def build(self, input_shape: tuple) -> None:
        """Remember the shape."""
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The data.

        Raises:
            ValueError: for others; inside a graph, as `tf.errors.InvalidArgumentError`.
        """
        low, high = REAL.low if self.low is None else self.low, REAL.high if self.high is None else self.high
        good = tf.reduce_all(tf.math.is_finite(x) & (x >= low) & (x <= high))
        what = (
            f"The data must be finite numbers on {Support(low, high)}, as those that the model has learned from. Of "
            "pixels of 0 to 255: x / 255."
        )
        if tf.executing_eagerly() and not good:
            raise ValueError(what)
        tf.debugging.Assert(good, [what])
        # Of a graph that was traced for data of other shapes too, the shape is known only when it runs.
        return tf.ensure_shape(x, self.input_spec.shape)


@register
class PosteriorPoint(Serializable, keras.layers.Layer):
    """The point of a posterior as a layer: features [B, F] -> [B, L].

    Args:
        posterior: a part of `keras_vae.posteriors`.
    """

    def __init__(self, posterior: Posterior, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.posterior = posterior

    def build(self, input_shape: tuple) -> None:
        """Make the posterior's projection."""
        self.posterior.build(input_shape)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """The point of q(z|x)."""
        return self.posterior.point(self.posterior(features))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """[B, L]."""
        return (input_shape[0], self.posterior.latent_dim)
