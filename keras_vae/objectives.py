"""Objectives: plain objects that turn the terms of a model into a loss. They know no model.

An objective of your own is a subclass with one method that returns the loss, a scalar, and the numbers to log beside
`loss`, `elbo`, `log_likelihood` and `kl`, whose names stand in `metric_names`.
"""

import math
from typing import Any

import tensorflow as tf

from keras_vae import schedules
from keras_vae.latents import Terms
from keras_vae.serialization import Serializable, register


class Objective(Serializable):
    """A loss to minimise, computed from `Terms`.

    Attributes:
        num_samples: number K of draws from the posterior for each example.
        needs: names of optional terms that the model computes on demand.
        metric_names: names of the extra numbers that a call returns.
    """

    num_samples: int = 1
    needs: frozenset[str] = frozenset()
    metric_names: tuple[str, ...] = ()

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, a scalar in nats per example, and the numbers named by `metric_names`.

        Args:
            terms: what the model computed for a batch.
            step: the model's step, an int64 scalar.
        """
        raise TypeError(f"{type(self).__name__} must define __call__(terms, step).")


@register
class ELBO(Objective):
    """loss = -(E_q[log p(x|z)] - w KL(q(z|x) || p(z))), in nats, a mean over the batch.

    With w = 1 and no free bits it is the evidence lower bound of Kingma and Welling 2014; with w > 1 the beta-VAE of
    Higgins et al. 2017. Only the loss is weighted: the logged `elbo` and `kl` always have weight one.

    Args:
        kl_weight: w, a number or a schedule of the step (`schedules.Linear` for a warm-up).
        free_bits: lower limit, in nats, on what each latent dimension is charged for its KL, averaged over the batch
            (Kingma et al. 2016, appendix C.8). Where the KL does not split into dimensions, it limits each group.
        num_samples: number K of draws from the posterior.
    """

    def __init__(
        self, kl_weight: float | schedules.Schedule = 1.0, free_bits: float = 0.0, num_samples: int = 1
    ) -> None:
        schedules.check_weight("kl_weight", kl_weight)
        if isinstance(free_bits, bool) or not isinstance(free_bits, (int, float)) or not 0 <= free_bits < math.inf:
            raise ValueError(f"free_bits must be a finite number of nats >= 0, not {free_bits!r}.")
        self.kl_weight, self.free_bits = kl_weight, free_bits
        self.num_samples = check_num_samples(num_samples)
        if callable(kl_weight):
            self.metric_names = ("kl_weight",)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the current weight if it follows a schedule."""
        weight = schedules.at_step(self.kl_weight, step)
        log_likelihood = tf.reduce_mean(terms.log_likelihood, axis=0)
        kl = self._with_free_bits(terms) if self.free_bits else terms.mean(terms.kl)
        loss = -(terms.mean(log_likelihood) - weight * kl)
        extra: dict[str, Any] = {"kl_weight": weight} if self.metric_names else {}
        return loss, extra

    def _with_free_bits(self, terms: Terms) -> tf.Tensor:
        charged = []
        for group in terms.groups:
            per_dim = group.kl[:, None] if group.kl_per_dim is None else group.kl_per_dim
            charged.append(tf.reduce_sum(tf.maximum(terms.mean(per_dim), self.free_bits)))
        return tf.add_n(charged)


def check_num_samples(num_samples: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(f"num_samples must be a positive int, not {num_samples!r}.")
    return num_samples
