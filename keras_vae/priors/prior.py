"""Priors p(z): Keras layers that own their weights and return TFP distributions.

A prior of your own is a subclass with one method:

    @kv.register
    class Laplace(priors.Prior):
        def distribution(self, encoder=None, condition=None):
            return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count
from keras_vae.conditions.condition import Condition
from keras_vae.data.batches import Summary
from keras_vae.distributions.support import REAL, Support
from keras_vae.distributions.tails.lookup import UNKNOWN, LookedUp, Region, looked_up, undeclare
from keras_vae.distributions.tails.tail import Tails
from keras_vae.serialization import Serializable

# Of more dimensions tails are not looked up.
LOOKED_AT = 2**20


class Prior(Serializable, keras.layers.Layer):
    """A distribution over z of `latent_dim` dimensions, in float32 whatever the dtype policy.

    Args:
        latent_dim: number L of latent dimensions.

    Attributes:
        support: of every component of z; of several blocks, the smallest interval that holds all. A class with a
            `distribution` of its own that declares none has that of the distribution, as far as TFP knows it.
        tails: how fast log p(z) falls at both ends, at its lightest; None where that is not known. Looked up likewise.
        uses_encoder: whether it is made of the encoder's posteriors.
        uses_codebook: whether it is over the codes of the encoder's posterior.
        num_examples: number of examples that `adapt` wants to see.
        num_clusters: number of its components that stand for clusters, with `responsibilities`; 0 for none. Its
            distribution is a `tfd.MixtureSameFamily` of them.
        adapts_to_codes: whether it can take its start from the codes of a trained encoder.
        condition: what it is conditioned on.
        coded_as: how `keras_vae.compression` codes z: "normal", where its distribution has independent normal
            components with `mean` and `stddev`; "mixture", where it is a `tfd.MixtureSameFamily` of such; "flow", where
            it is `flow_layers` and then the standard normal; None where there is no code.
    """

    support: Any = LookedUp(lambda region: region.support or REAL)
    tails: Any = LookedUp(lambda region: region.lightest)
    uses_encoder: bool = False
    uses_codebook: bool = False
    num_examples: int = 0
    num_clusters: int = 0
    adapts_to_codes: bool = False
    condition: Condition | None = None
    coded_as: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        undeclare(cls, Prior)

    def __init__(self, latent_dim: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.latent_dim = check_count("latent_dim", latent_dim)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """What z is made of, as (kind, size): the posterior's must be the same."""
        return (("continuous", self.latent_dim),)

    @property
    def supports(self) -> tuple[Support, ...]:
        """`support` of each block."""
        return (self.support,) * len(self.blocks)

    @property
    def tails_of_blocks(self) -> tuple[Tails | None, ...]:
        """`tails` of each block."""
        return (self.tails,) * len(self.blocks)

    @property
    def region(self) -> Region:
        """Where TFP says that the distribution lies, and how its tails fall; unknown until it has its weights."""
        if self.uses_encoder or self.latent_dim > LOOKED_AT:
            return UNKNOWN
        condition = None if self.condition is None else tf.constant(self.condition.zeros(1))
        return looked_up(self, lambda: self.distribution(condition=condition))

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the supports of all dimensions, float32 [L] each."""
        sizes = [size for _, size in self.blocks]
        low, high = (np.repeat(np.asarray(ends, "float32"), sizes) for ends in zip(*self.supports, strict=True))
        return low, high

    @property
    def flow_layers(self) -> Sequence[Any]:
        """Of a flow, from z to the standard normal: each as `distributions.bijectors.Conditioner`; of all else none."""
        return ()

    @property
    def draw_size(self) -> int:
        """Numbers that one draw takes in memory while it is made: many are made in blocks."""
        return self.latent_dim

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

    def adapt_to_codes(self, codes: np.ndarray, seed: int = 0) -> None:
        """Take the start from the codes [N, L] of a trained encoder, where `adapts_to_codes` says that it can.

        Raises:
            ValueError: where it cannot.
        """
        raise ValueError(
            f"{type(self).__name__} takes no start from codes. priors.NormalMixture({self.latent_dim}, ...) does."
        )
