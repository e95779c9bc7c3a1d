"""The reconstruction alone: a plain autoencoder."""

import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.objectives.objective import Objective
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class Reconstruction(Objective):
    """loss = -E_q[log p(x|z)]: an autoencoder, with noise in its code unless the posterior is `Deterministic`.

    Nothing holds q(z|x) near the prior, whose weights are not trained: draws from the prior need not look like data.

    Args:
        num_samples: number K of draws from the posterior.
    """

    uses_prior = False
    monitor = "log_likelihood"

    def __init__(self, num_samples: int = 1) -> None:
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and no other numbers."""
        return -terms.mean(tf.reduce_mean(terms.log_likelihood, axis=0)), {}
