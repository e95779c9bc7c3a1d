"""Continuous and discrete latents side by side in a single z.

JointVAE (Dupont 2018, "Learning disentangled joint continuous and discrete representations") is made of them:

    posterior = posteriors.JointPosterior(posteriors.MultivariateNormalDiag(10), posteriors.RelaxedOneHot(3))
    prior = priors.JointPrior(priors.StandardNormal(10), priors.UniformOneHot(3))
    objective = objectives.JointCapacity(schedules.Linear(25_000, 0.0, 40.0), schedules.Linear(25_000, 0.0, 1.1))

z is then [ten numbers, a one-hot of three]: what `encode` gives, `decode` takes and `sample` draws.
"""

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.joint import Joint
from keras_vae.distributions.support import Support, union
from keras_vae.distributions.tails.tail import Tails, heavier
from keras_vae.posteriors.posterior import Posterior
from keras_vae.serialization import register


@register
class JointPosterior(Posterior):
    """q(z, d|x) = q(z|x) q(d|x), in one vector [z, d].

    `Terms` then has two groups, so that an objective can treat the KL of either in its own way.

    Args:
        continuous: a posterior of z.
        discrete: a posterior of d, such as `RelaxedOneHot`.
    """

    def __init__(self, continuous: Posterior, discrete: Posterior, **kwargs: Any) -> None:
        super().__init__(continuous.latent_dim + discrete.latent_dim, **kwargs)
        self.continuous, self.discrete = continuous, discrete
        self.support = union(continuous.support, discrete.support)
        self.tails = heavier(continuous.tails, discrete.tails)
        self.has_density = continuous.has_density and discrete.has_density
        self.is_certain = continuous.is_certain and discrete.is_certain
        self.extras = continuous.extras | discrete.extras

    has_marginals = False

    @property
    def usage_shape(self) -> tuple[int, int] | None:  # type: ignore[override]
        """That of d."""
        return self.discrete.usage_shape

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
    def densities(self) -> tuple[bool, ...]:
        """Those of both."""
        return (*self.continuous.densities, *self.discrete.densities)

    @property
    def certainties(self) -> tuple[bool, ...]:
        """Those of both."""
        return (*self.continuous.certainties, *self.discrete.certainties)

    @property
    def params_size(self) -> int:
        """That of both; each has a projection of its own."""
        return int(self.continuous.params_size) + int(self.discrete.params_size)

    def follow(self, step: keras.Variable) -> None:
        """Tell both."""
        self.continuous.follow(step)
        self.discrete.follow(step)

    def build(self, input_shape: tuple) -> None:
        """Make both projections."""
        self.continuous.build(input_shape)
        self.discrete.build(input_shape)

    def call(self, features: tf.Tensor, training: bool | None = None) -> tfd.Distribution:
        """q(z, d|x) from features [B, F]."""
        return Joint([self.continuous(features), self.discrete(features, training=training)])

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """Both points, [B, L]."""
        return tf.concat([self.continuous.point(q.parts[0]), self.discrete.point(q.parts[1])], axis=-1)
