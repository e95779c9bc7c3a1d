"""Objectives: plain objects that turn the terms of a model into a loss. They know no model.

An objective of your own is a subclass with one method that returns the loss, a scalar, and the numbers to log beside
`loss`, `elbo`, `log_likelihood` and `kl`, whose names stand in `metric_names`.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import schedules
from keras_vae.schedules import Adoptable
from keras_vae.serialization import Serializable
from keras_vae.terms import Terms

# Logged whatever the objective weighs.
LOGGED = ("elbo", "log_likelihood", "kl")


class Objective(Adoptable, Serializable):
    """A loss to minimise, computed from `Terms`.

    Numbers that a callback may set while `fit` runs are declared as `schedules.Weight`, as `ELBO.kl_weight` is. The
    other arguments of the constructor cannot be changed once a model has the objective.

    Attributes:
        num_samples: number K of draws from the posterior for each example.
        backward_samples: number M of those through which gradients go, chosen by their weights; None for all K. See
            `Terms.few`.
        needs: names of optional terms: "pathwise", which the model computes in training, see `Terms.pathwise`; others
            must be among the `extras` of the posterior.
        metric_names: names of the extra numbers that a call returns.
        monitor: the logged number by whose validation value the best model is chosen: what the loss is there to
            improve. Of "loss" less is better, of any other number more.
        uses_prior: False for a loss of log p(x|z) alone, which leaves the prior as it is, and under which the posterior
            needs no density.
        uses_marginals: True for a loss that needs the marginals of q(z|x) over single dimensions.
        is_of_one_level: True for a loss that has no meaning for a hierarchy, such as one of the first group alone.
        networks: frozen networks that the loss measures in, whose weights are saved with the model.
        num_examples: how many examples `adapt` is given when the model is adapted to its data; 0 for none.
        releases_latents: True for one that has `num_released(step, latent_dim)` and `stage`, steps between
            releases, as `CascadeVAE` needs.
    """

    num_samples: int = 1
    backward_samples: int | None = None
    needs: frozenset[str] = frozenset()
    metric_names: tuple[str, ...] = ()
    monitor: str = "loss"
    uses_prior: bool = True
    uses_marginals: bool = False
    is_of_one_level: bool = False
    releases_latents: bool = False
    networks: tuple[keras.Layer, ...] = ()
    num_examples: int = 0

    def __call__(self, terms: Terms, step: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, a scalar in nats per example, and the numbers named by `metric_names`.

        Args:
            terms: what the model computed for a batch.
            step: the model's step, an int64 scalar.
        """
        raise TypeError(f"{type(self).__name__} must define __call__(terms, step).")

    def adapt(self, examples: np.ndarray) -> None:
        """Initialise from the data what is better not random; nothing, unless a subclass says so.

        Args:
            examples: a random choice of `num_examples` of them, [N, *event_shape], or all if there are fewer.
        """

    def weights_at(self, step: int, latent_dim: int) -> tuple[float, ...]:
        """The numbers in the formula that may change while `fit` runs, at a step: losses under others do not compare.

        Args:
            step: the model's.
            latent_dim: number of latent dimensions of the model.
        """
        return schedules.weights_at(self, step)
