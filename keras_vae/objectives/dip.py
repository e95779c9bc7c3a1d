"""DIP-VAE: the covariance of the aggregate posterior drawn to the identity."""

import tensorflow as tf

from keras_vae import schedules
from keras_vae.arguments import check_choice, check_count, check_weight
from keras_vae.distributions.gaussian import marginals
from keras_vae.objectives.regularizer import Regularizer, require_marginals
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class DIP(Regularizer):
    """loss = -ELBO + lambda_od sum_{i != j} C_ij^2 + lambda_d sum_i (C_ii - 1)^2, C a covariance over the batch.

    C is Cov(E[z|x]) in DIP-VAE-I, and Cov(z) = E[Cov(z|x)] + Cov(E[z|x]) in DIP-VAE-II: the latter is the identity if
    q(z) is the standard normal prior. Kumar et al. 2018, "Variational inference of disentangled latent concepts from
    unlabeled observations", equations 5 to 7.

    Args:
        kind: "I" or "II".
        off_diagonal_weight: lambda_od, a number or a schedule of the step.
        diagonal_weight: lambda_d; None for 10 lambda_od in "I" and lambda_od in "II", as in Locatello et al. 2019.
        num_samples: number K of draws from the posterior.

    Raises:
        ValueError: for another kind, or a schedule as `off_diagonal_weight` without a `diagonal_weight`.
    """

    off_diagonal_weight = Weight()
    diagonal_weight = Weight()
    metric_names = ("covariance_penalty",)

    def __init__(
        self,
        kind: str = "I",
        off_diagonal_weight: float | Schedule = 10.0,
        diagonal_weight: float | Schedule | None = None,
        num_samples: int = 1,
    ) -> None:
        check_choice("kind", kind, ("I", "II"))
        check_weight("off_diagonal_weight", off_diagonal_weight)
        if diagonal_weight is None:
            if callable(off_diagonal_weight):
                raise ValueError("Give diagonal_weight too where off_diagonal_weight is a schedule.")
            diagonal_weight = off_diagonal_weight * (10.0 if kind == "I" else 1.0)
        check_weight("diagonal_weight", diagonal_weight)
        self.kind = kind
        self.off_diagonal_weight, self.diagonal_weight = off_diagonal_weight, diagonal_weight
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the penalty in it."""
        q = self._group(terms).q
        each = require_marginals(q)
        centred = each.mean() - terms.mean(each.mean())
        covariance = terms.mean(centred[:, :, tf.newaxis] * centred[:, tf.newaxis, :])
        if self.kind == "II":
            within = tf.linalg.diag(each.variance()) if marginals(q) is not None else q.covariance()
            covariance += terms.mean(within)
        diagonal = tf.linalg.diag_part(covariance)
        off = tf.reduce_sum(tf.square(covariance)) - tf.reduce_sum(tf.square(diagonal))
        penalty = schedules.at_step(self.off_diagonal_weight, step) * off
        penalty += schedules.at_step(self.diagonal_weight, step) * tf.reduce_sum(tf.square(diagonal - 1.0))
        return penalty - terms.mean(terms.elbo), {"covariance_penalty": penalty}
