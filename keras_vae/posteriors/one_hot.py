"""A class as a relaxed one-hot vector (Gumbel-softmax)."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules
from keras_vae.arguments import check_count
from keras_vae.distributions.one_hot import OneHot
from keras_vae.distributions.support import UNIT
from keras_vae.distributions.tails.tail import NONE
from keras_vae.posteriors.posterior import Posterior
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register


@register
class RelaxedOneHot(Posterior):
    """q(d|x) = Categorical(softmax(linear features)) over one-hots d of S classes, with relaxed draws in training.

    In training draws are softmax((logits + Gumbel noise) / temperature); everywhere else they are exact one-hots, so
    that `val_elbo` is the ELBO of the discrete model. The KL to a uniform categorical is log S - H(pi), in training as
    elsewhere. `point` is the one-hot of the most probable class. See `distributions.one_hot.OneHot`.

    Args:
        num_classes: S.
        temperature: a number or a schedule of the step, such as `schedules.Linear(20_000, 1.0, 0.5)`. Low is close to
            discrete and noisy in its gradients.
        straight_through: whether draws in training are one-hots too, with the gradient of the relaxed draw.
        detached_steps: for so many steps draws pass no gradient on: the decoder reads the code, but the likelihood has
            no say in what it is, which its KL and other terms of the loss decide.

    Raises:
        ValueError: for fewer than two classes, or a temperature that is not positive.
    """

    support, tails = UNIT, NONE
    # At zero draws have no gradient.
    temperature = Weight(positive=True)

    def __init__(
        self,
        num_classes: int,
        temperature: float | Schedule = 0.67,
        straight_through: bool = False,
        detached_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(check_count("num_classes", num_classes, at_least=2), **kwargs)
        self.num_classes, self.temperature, self.straight_through = num_classes, temperature, straight_through
        self.detached_steps = check_count("detached_steps", detached_steps, at_least=0)

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
        gradient = 1.0 if not self.detached_steps else tf.cast(self.step >= self.detached_steps, tf.float32)
        return OneHot(self.projection(features), temperature, self.straight_through, gradient)
