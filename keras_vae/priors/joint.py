"""Independent blocks side by side."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.conditions.handed import condition_for, require
from keras_vae.data.batches import Summary
from keras_vae.distributions.joint import Joint
from keras_vae.distributions.support import Support, union
from keras_vae.distributions.tails.tail import Tails, heavier
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register


@register
class JointPrior(Prior):
    """p(z, d) = p(z) p(d), in one vector [z, d].

    Args:
        continuous: a prior of z.
        discrete: a prior of d, such as `UniformOneHot`.

    Raises:
        ValueError: for a `VampPrior`, and for parts with different conditions.
    """

    def __init__(self, continuous: Prior, discrete: Prior, **kwargs: Any) -> None:
        super().__init__(continuous.latent_dim + discrete.latent_dim, **kwargs)
        self.continuous, self.discrete = continuous, discrete
        self.support = union(continuous.support, discrete.support)
        self.tails = heavier(continuous.tails, discrete.tails)
        self.num_examples = max(continuous.num_examples, discrete.num_examples)
        given = [part.condition for part in (continuous, discrete) if part.condition is not None]
        needs_all = any(part.uses_encoder or part.uses_codebook for part in (continuous, discrete))
        if needs_all or (len(given) == 2 and not given[0].agrees(given[1])):
            raise ValueError(
                "The parts of a JointPrior have one condition, or none, and none is made of the encoder's "
                "posteriors, which are of all of z, as a VampPrior is, or over the codes of one."
            )
        self.condition = given[0] if given else None

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """Those of both."""
        return (*self.continuous.blocks, *self.discrete.blocks)

    @property
    def supports(self) -> tuple[Support, ...]:
        """Those of both."""
        return (*self.continuous.supports, *self.discrete.supports)

    @property
    def tails_of_blocks(self) -> tuple[Tails | None, ...]:
        """Those of both."""
        return (*self.continuous.tails_of_blocks, *self.discrete.tails_of_blocks)

    @property
    def draw_size(self) -> int:
        """That of both."""
        return self.continuous.draw_size + self.discrete.draw_size

    def build(self, input_shape: tuple) -> None:
        """Make the weights of both."""
        self.continuous.build(input_shape)
        self.discrete.build(input_shape)

    def adapt(self, data: Summary) -> None:
        """Adapt both."""
        self.continuous.adapt(data)
        self.discrete.adapt(data)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """Both, independent."""
        require(self, condition)
        parts = (self.continuous, self.discrete)
        return Joint([part.distribution(encoder, condition_for(part, condition)) for part in parts])
