"""beta-TCVAE: the KL split into mutual information, total correlation and the rest."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules
from keras_vae.arguments import check_count, check_weight
from keras_vae.objectives.regularizer import Regularizer, require_marginals
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class TotalCorrelation(Regularizer):
    """loss = -(E_q[log p(x|z)] - a I(x; z) - b TC(z) - c sum_j KL(q(z_j) || p(z_j))), the beta-TCVAE.

    E KL(q(z|x) || p(z)) is the sum of the three, with TC(z) = KL(q(z) || prod_j q(z_j)), so that a = b = c = 1 is the
    ELBO. Chen et al. 2018, "Isolating sources of disentanglement in variational autoencoders". Only what the weights
    add to the ELBO is estimated, by `log_aggregate`; its KL keeps its closed form.

    Args:
        num_examples: N, the size of the training data.
        tc_weight: b, a number or a schedule of the step.
        information_weight: a.
        marginal_weight: c.
        num_samples: number K of draws from the posterior.
    """

    tc_weight = Weight()
    information_weight = Weight()
    marginal_weight = Weight()

    def __init__(
        self,
        num_examples: int,
        tc_weight: float | Schedule = 6.0,
        information_weight: float | Schedule = 1.0,
        marginal_weight: float | Schedule = 1.0,
        num_samples: int = 1,
    ) -> None:
        weights = {"tc_weight": tc_weight, "information_weight": information_weight, "marginal_weight": marginal_weight}
        for name, weight in weights.items():
            check_weight(name, weight)
        self.num_examples = check_count("num_examples, the size of the training data,", num_examples)
        self.tc_weight, self.information_weight, self.marginal_weight = weights.values()
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and no other numbers."""
        group = self._group(terms)
        log_joint, log_marginals = log_aggregate(group.q, group.z, self.num_examples)
        log_product = tf.reduce_sum(log_marginals, axis=-1)
        penalty = (schedules.at_step(self.tc_weight, step) - 1.0) * (log_joint - log_product)
        penalty += (schedules.at_step(self.information_weight, step) - 1.0) * (group.log_q - log_joint)
        penalty += (schedules.at_step(self.marginal_weight, step) - 1.0) * (log_product - group.log_p)
        return -terms.mean(terms.elbo - tf.reduce_mean(penalty, axis=0)), {}


def log_aggregate(q: tfd.Distribution, z: tf.Tensor, num_examples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """log q(z) and log q(z_j) for the draws of a minibatch, each by an unbiased estimate of the density.

    The batch holds M of the N examples, without repetition. For z_i ~ q(z|x_i), one of the N terms of
    q(z_i) = 1/N sum_n q(z_i|x_n) is known, that of x_i itself; the other N - 1 are estimated by the mean of those of
    the M - 1 others of the batch, which are a uniform draw from them:

        q(z_i) ~ 1/N q(z_i|x_i) + (N - 1)/N 1/(M - 1) sum_{j != i} q(z_i|x_j).

    It is unbiased, and exact for M = N. Chen et al. 2018, appendix C.2, give the other examples unequal weights of the
    same sum, 1/(M - 1) each but (N - M + 1) / (N (M - 1)) for one of them, which is unbiased too and noisier. (Often
    implemented with those weights in the columns of a matrix in place of its diagonals, which is neither.) The
    logarithms are biased, by Jensen's inequality: use them as a gradient, not as a result.

    Args:
        q: posteriors, batch [M], event [L].
        z: draws from them, [K, M, L].
        num_examples: N, or the size of the batch if that is larger.

    Returns:
        [K, M] and [K, M, L], in nats.
    """
    batch = tf.shape(z)[1]
    size = tf.cast(batch, tf.float32)
    total = tf.maximum(float(num_examples), size)
    others = tf.math.log(total - 1.0) - tf.math.log(total) - tf.math.log(tf.maximum(size - 1.0, 1.0))
    # A batch of all data of one example has no others.
    others = tf.where(total > 1.0, others, 0.0)
    log_weights = tf.where(tf.eye(batch, dtype=tf.bool), -tf.math.log(total), others)
    pairs = z[:, :, tf.newaxis]
    log_joint = tf.reduce_logsumexp(q.log_prob(pairs) + log_weights, axis=2)
    log_dims = require_marginals(q).log_prob(pairs) + log_weights[..., tf.newaxis]
    return log_joint, tf.reduce_logsumexp(log_dims, axis=2)
