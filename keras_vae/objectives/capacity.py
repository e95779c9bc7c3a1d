"""Objectives that hold the KL at a capacity which grows with the step."""

import tensorflow as tf

from keras_vae import schedules
from keras_vae.arguments import check_count, check_weight
from keras_vae.objectives.objective import Objective
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class Capacity(Objective):
    """loss = -E_q[log p(x|z)] + gamma |KL(q(z|x) || p(z)) - C|, the KL averaged over the batch.

    A capacity C that grows lets the latents in one after another: Burgess et al. 2018, "Understanding disentangling in
    beta-VAE", equation 8.

    Args:
        capacity: C in nats, a number or a schedule of the step: `schedules.Linear(steps, start=0.0, end=25.0)`.
        kl_weight: gamma, a number or a schedule of the step.
        num_samples: number K of draws from the posterior.
    """

    capacity = Weight()
    kl_weight = Weight()
    metric_names = ("capacity",)

    def __init__(
        self,
        capacity: float | Schedule,
        kl_weight: float | Schedule = 100.0,
        num_samples: int = 1,
    ) -> None:
        check_weight("capacity", capacity)
        check_weight("kl_weight", kl_weight)
        self.capacity, self.kl_weight = capacity, kl_weight
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the current capacity."""
        capacity = schedules.at_step(self.capacity, step)
        distance = tf.abs(terms.mean(terms.kl) - capacity)
        loss = schedules.at_step(self.kl_weight, step) * distance - terms.mean(
            tf.reduce_mean(terms.log_likelihood, axis=0)
        )
        return loss, {"capacity": capacity}


@register
class JointCapacity(Objective):
    """loss = -E_q[log p(x|z, d)] + gamma |KL_z - C_z| + gamma |KL_d - C_d|, the objective of JointVAE.

    Each KL is averaged over the batch and held at a capacity of its own, which grows: Dupont 2018, "Learning
    disentangled joint continuous and discrete representations", equation 7. For models of two groups of latents, such
    as `posteriors.JointPosterior` makes. A capacity beyond log S, the most that d can carry, is taken as log S.

    Args:
        capacity: C_z in nats, a number or a schedule of the step.
        discrete_capacity: C_d, likewise.
        kl_weight: gamma, likewise.
        num_samples: number K of draws from the posterior.
    """

    capacity = Weight()
    discrete_capacity = Weight()
    kl_weight = Weight()
    metric_names = ("kl_continuous", "kl_discrete")
    is_of_one_level = True

    def __init__(
        self,
        capacity: float | Schedule,
        discrete_capacity: float | Schedule,
        kl_weight: float | Schedule = 100.0,
        num_samples: int = 1,
    ) -> None:
        check_weight("capacity", capacity)
        check_weight("discrete_capacity", discrete_capacity)
        check_weight("kl_weight", kl_weight)
        self.capacity, self.discrete_capacity, self.kl_weight = capacity, discrete_capacity, kl_weight
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the KL of either group."""
        if len(terms.groups) != 2:
            raise ValueError(
                f"JointCapacity is for two groups of latents, continuous and discrete, and this model has "
                f"{len(terms.groups)}: use posteriors.JointPosterior and priors.JointPrior."
            )
        kls = [terms.mean(group.kl) for group in terms.groups]
        most = tf.math.log(float(terms.groups[1].z.shape[-1]))
        capacities = [
            schedules.at_step(self.capacity, step),
            tf.minimum(schedules.at_step(self.discrete_capacity, step), most),
        ]
        distance = tf.add_n([tf.abs(kl - c) for kl, c in zip(kls, capacities, strict=True)])
        log_likelihood = terms.mean(tf.reduce_mean(terms.log_likelihood, axis=0))
        loss = schedules.at_step(self.kl_weight, step) * distance - log_likelihood
        return loss, dict(zip(self.metric_names, kls, strict=True))
