"""Discrete latents: one-hot variables with relaxed draws, alone or beside continuous ones in a single z.

JointVAE (Dupont 2018, "Learning disentangled joint continuous and discrete representations") is made of them:

    posterior = discrete.JointPosterior(posteriors.MultivariateNormalDiag(10), discrete.RelaxedOneHot(3))
    prior = discrete.JointPrior(priors.StandardNormal(10), discrete.UniformOneHot(3))
    objective = regularizers.JointCapacity(schedules.Linear(25_000, 0.0, 40.0), schedules.Linear(25_000, 0.0, 1.1))

z is then [ten numbers, a one-hot of three]: what `encode` gives, `decode` takes and `sample` draws.
"""

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors, priors, schedules
from keras_vae.conditions import require, seen_by
from keras_vae.inputs import Summary
from keras_vae.joint import Joint, OneHot
from keras_vae.latents import UNIT, Support
from keras_vae.serialization import register


@register
class RelaxedOneHot(posteriors.Posterior):
    """q(d|x) = Categorical(softmax(linear features)) over one-hots d of S classes, with relaxed draws in training.

    In training draws are softmax((logits + Gumbel noise) / temperature); everywhere else they are exact one-hots, so
    that `val_elbo` is the ELBO of the discrete model. The KL to a uniform categorical is log S - H(pi), in training as
    elsewhere. `point` is the one-hot of the most probable class. See `joint.OneHot`.

    Args:
        num_classes: S.
        temperature: a number or a schedule of the step, such as `schedules.Linear(20_000, 1.0, 0.5)`. Low is close to
            discrete and noisy in its gradients.
        straight_through: whether draws in training are one-hots too, with the gradient of the relaxed draw.

    Raises:
        ValueError: for fewer than two classes, or a temperature that is not positive.
    """

    support = UNIT

    def __init__(
        self,
        num_classes: int,
        temperature: float | schedules.Schedule = 0.67,
        straight_through: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(check_num_classes(num_classes), **kwargs)
        schedules.check_weight("temperature", temperature)
        if not callable(temperature) and temperature == 0:
            raise ValueError("temperature must be positive: at zero draws have no gradient.")
        self.num_classes, self.temperature, self.straight_through = num_classes, temperature, straight_through

    has_marginals = False

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A one-hot of S."""
        return (("one-hot", self.num_classes),)

    @property
    def params_size(self) -> int:
        """S: the logits."""
        return self.num_classes

    def distribution(self, params: tf.Tensor) -> tfd.Distribution:
        """The categorical distribution, with exact draws, from [B, S]."""
        return OneHot(params)

    def point(self, q: tfd.Distribution) -> tf.Tensor:
        """The one-hot of the most probable class."""
        return q.mode()

    def call(self, features: tf.Tensor, training: bool | None = None) -> tfd.Distribution:
        """q(d|x) from features [B, F]; in training with relaxed draws."""
        if not training:
            return super().call(features)
        temperature = schedules.at_step(self.temperature, self.step)
        return OneHot(self.projection(features), temperature, self.straight_through)


@register
class UniformOneHot(priors.Prior):
    """p(d) = 1 / S for each one-hot d of S classes.

    Args:
        num_classes: S.
    """

    support = UNIT

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(check_num_classes(num_classes), **kwargs)
        self.num_classes = num_classes

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A one-hot of S."""
        return (("one-hot", self.num_classes),)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The uniform categorical, batch [], event [S]."""
        return OneHot(tf.zeros([self.num_classes]))


@register
class JointPosterior(posteriors.Posterior):
    """q(z, d|x) = q(z|x) q(d|x), in one vector [z, d].

    `Terms` then has two groups, so that an objective can treat the KL of either in its own way.

    Args:
        continuous: a posterior of z.
        discrete: a posterior of d, such as `RelaxedOneHot`.
    """

    def __init__(self, continuous: posteriors.Posterior, discrete: posteriors.Posterior, **kwargs: Any) -> None:
        super().__init__(continuous.latent_dim + discrete.latent_dim, **kwargs)
        self.continuous, self.discrete = continuous, discrete
        self.support = union(continuous.support, discrete.support)

    has_marginals = False

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """Those of both."""
        return (*self.continuous.blocks, *self.discrete.blocks)

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


@register
class JointPrior(priors.Prior):
    """p(z, d) = p(z) p(d), in one vector [z, d].

    Args:
        continuous: a prior of z.
        discrete: a prior of d, such as `UniformOneHot`.

    Raises:
        ValueError: for a `VampPrior`, and for parts with different conditions.
    """

    def __init__(self, continuous: priors.Prior, discrete: priors.Prior, **kwargs: Any) -> None:
        super().__init__(continuous.latent_dim + discrete.latent_dim, **kwargs)
        self.continuous, self.discrete = continuous, discrete
        self.support = union(continuous.support, discrete.support)
        self.num_examples = max(continuous.num_examples, discrete.num_examples)
        given = [part.condition for part in (continuous, discrete) if part.condition is not None]
        if isinstance(continuous, priors.VampPrior) or (len(given) == 2 and given[0] != given[1]):
            raise ValueError(
                "The parts of a JointPrior have one condition, or none, and are no VampPrior, which is a mixture of "
                "posteriors of all of z."
            )
        self.condition = given[0] if given else None

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """Those of both."""
        return (*self.continuous.blocks, *self.discrete.blocks)

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
        return Joint([part.distribution(encoder, seen_by(part, condition)) for part in parts])


def union(a: Support, b: Support) -> Support:
    """The smallest interval that holds both."""
    return Support(min(a.low, b.low), max(a.high, b.high))


def check_num_classes(num_classes: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not an int of at least two.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes must be an int of at least 2, not {num_classes!r}.")
    return num_classes
