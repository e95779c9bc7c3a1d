"""A uniform class."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import check_count
from keras_vae.distributions.one_hot import OneHot
from keras_vae.distributions.support import UNIT
from keras_vae.distributions.tails.tail import NONE
from keras_vae.priors.prior import Prior
from keras_vae.serialization import register


@register
class UniformOneHot(Prior):
    """p(d) = 1 / S for each one-hot d of S classes.

    Args:
        num_classes: S.
    """

    support, tails = UNIT, NONE

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(check_count("num_classes", num_classes, at_least=2), **kwargs)
        self.num_classes = num_classes

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        """A one-hot of S."""
        return (("one-hot", self.num_classes),)

    def distribution(self, encoder: Any = None, condition: tf.Tensor | None = None) -> tfd.Distribution:
        """The uniform categorical, batch [], event [S]."""
        return OneHot(tf.zeros([self.num_classes]))
