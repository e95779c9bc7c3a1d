"""CascadeVAE's objective: latents whose information is released one after the other."""

import tensorflow as tf

from keras_vae.arguments import check_count, check_weight
from keras_vae.objectives.objective import Objective
from keras_vae.schedules import Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class InformationCascade(Objective):
    """loss = -E_q[log p(x|z)] + sum_j w_j(step) KL(q(z_j|x) || p(z_j)): w_j is high until z_j is released, then low.

    z_1 is released from the start, z_2 after `stage` steps, and so on: each can only gain by carrying what those
    before it do not. So do both models of Jeong and Song's code (https://github.com/snu-mllab/DisentanglementICML19),
    which is followed here. Needs a posterior and a prior that factorise over the dimensions. A discrete code has no
    part in it, but for its beginning in a `CascadeVAE`, which takes a stage.

    Args:
        low: weight of a latent that is released. 0.1 in the authors' code; reimplementations use 1 to 2.
        high: weight of one that is not, 10 in the paper.
        stage: steps between releases, 20,000 of 300,000 in the paper.
        released: number of latents that are released from the start; with 0, z_1 waits for one stage.
        num_samples: number K of draws from the posterior.
    """

    low = Weight()
    high = Weight()
    metric_names = ("released",)
    uses_marginals = True
    is_of_one_level = True
    releases_latents = True

    def __init__(
        self, low: float = 0.1, high: float = 10.0, stage: int = 20_000, released: int = 1, num_samples: int = 1
    ) -> None:
        check_weight("low", low)
        check_weight("high", high)
        if callable(low) or callable(high):
            raise ValueError("low and high are numbers here: it is their exchange that follows the step.")
        self.low, self.high = float(low), float(high)
        self.stage, self.released = check_count("stage", stage), check_count("released", released, at_least=0)
        self.num_samples = check_count("num_samples", num_samples)

    def num_released(self, step: tf.Tensor, latent_dim: int) -> tf.Tensor:
        """How many of the latents are released at `step`, an int64 scalar."""
        count = self.released + tf.cast(step, tf.int64) // self.stage
        return tf.clip_by_value(count, 0, latent_dim)

    def weights_at(self, step: int, latent_dim: int) -> tuple[float, ...]:
        """As of any objective, and how many latents are released."""
        released = self.num_released(tf.constant(step, tf.int64), latent_dim)
        return (*super().weights_at(step, latent_dim), float(released))

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the number of released latents."""
        kl = terms.groups[0].kl_per_dim
        if kl is None:
            raise ValueError(
                "InformationCascade weighs the KL of each latent dimension, which needs a posterior and a prior that "
                "factorise: MultivariateNormalDiag and StandardNormal."
            )
        size = kl.shape[-1]
        count = self.num_released(step, size)
        weights = tf.where(tf.range(size, dtype=tf.int64) < count, self.low, self.high)
        loss = terms.mean(tf.linalg.matvec(kl, weights) - tf.reduce_mean(terms.log_likelihood, axis=0))
        return loss, {"released": tf.cast(count, tf.float32)}
