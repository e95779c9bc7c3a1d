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
    """loss = -E_q[log p(x|z, d)] + gamma (|KL_z - C_z| + |I(x; d) - C_d| + KL(q(d) || p(d))), for JointVAE.

    Each KL is averaged over the batch, and each capacity grows: Dupont 2018, "Learning disentangled joint continuous
    and discrete representations". His equation 7 holds KL_d itself at C_d. That of a code is the sum of two,

        KL_d = E_x KL(q(d|x) || p(d)) = I(x; d) + KL(q(d) || p(d)),  q(d) = E_x q(d|x),

    and a code that is the same class for all x has the whole of it, log S, in the second: it fulfils equation 7 to the
    end and says nothing. So here it is the information that is held at C_d, and all classes are to be used. Both are
    those of the batch, with its mean as q(d), whose sum is KL_d exactly. A batch of B examples shows at most log B
    nats, and should hold each class several times.

    For models of two groups of latents, such as `posteriors.JointPosterior` makes, the second of which is a one-hot. A
    capacity beyond log S, the most that d can carry, is taken as log S.

    Args:
        capacity: C_z in nats, a number or a schedule of the step.
        discrete_capacity: C_d, likewise.
        kl_weight: gamma, likewise.
        num_samples: number K of draws from the posterior.
    """

    capacity = Weight()
    discrete_capacity = Weight()
    kl_weight = Weight()
    metric_names = ("kl_continuous", "kl_discrete", "information_discrete")
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
        """The loss, the KL of either group, and I(x; d)."""
        if len(terms.groups) != 2:
            raise ValueError(
                f"JointCapacity is for two groups of latents, continuous and discrete, and this model has "
                f"{len(terms.groups)}: use posteriors.JointPosterior and priors.JointPrior."
            )
        continuous, discrete = terms.groups
        if not hasattr(discrete.q, "class_probabilities"):
            raise ValueError(
                "JointCapacity is for a discrete code behind the continuous latents, and the second group of this "
                "model has no classes: use posteriors.JointPosterior(continuous, posteriors.RelaxedOneHot(...))."
            )
        kl, kl_discrete = terms.mean(continuous.kl), terms.mean(discrete.kl)
        marginal = _divergence(terms.mean(discrete.q.class_probabilities), discrete.p.class_probabilities)
        information = kl_discrete - marginal
        most = tf.math.log(float(discrete.z.shape[-1]))
        distance = tf.abs(kl - schedules.at_step(self.capacity, step))
        distance += tf.abs(information - tf.minimum(schedules.at_step(self.discrete_capacity, step), most)) + marginal
        log_likelihood = terms.mean(tf.reduce_mean(terms.log_likelihood, axis=0))
        loss = schedules.at_step(self.kl_weight, step) * distance - log_likelihood
        return loss, dict(zip(self.metric_names, (kl, kl_discrete, information), strict=True))


def _divergence(q: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
    """KL(q || p) of two categorical distributions [S], with 0 log 0 = 0."""
    return tf.reduce_sum(tf.math.xlogy(q, q) - tf.math.xlogy(q, p))
