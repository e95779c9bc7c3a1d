"""The ELBO under a mixture whose components are to be told from the data, and used alike."""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules
from keras_vae.arguments import check_weight
from keras_vae.objectives.elbo import ELBO
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import Terms


@register
class ClusteredELBO(ELBO):
    """loss = -E_q[log p(x|z)] + w KL(q(z|x) || p(z)) - g I(x; c) + b KL(p(c) || uniform), p(z) a mixture over c.

    p(c|x) is p(c|z) at the mean z of q(z|x), which `evaluation.cluster` takes too, p(c) its mean over the batch, and
    I(x; c) = H(c) - E_x H(c|x), at most log M nats of M components. The ELBO alone leaves the clusters as they were
    where it begins (Jiang et al. 2017, "Variational deep embedding"): it is content with two components that lie on
    each other. The information wants each example in one of them, the last term wants all of them of one size. Both are
    those of Hu et al. 2017, "Learning discrete representations via information maximizing self-augmented training";
    they say nothing of where the borders are to be, which is for `kv.SmoothCodeVAE` to say.

    Logs `information`, I(x; c), and `imbalance`, KL(p(c) || uniform), in nats. Of a batch of B examples in classes of
    one size the latter is about (M - 1) / 2 B: a batch should hold each class many times.

    Args:
        information_weight: g, a number or a schedule of the step.
        balance_weight: b, likewise.
        kl_weight: as in `objectives.ELBO`.

    Raises:
        ValueError: for numbers out of range; if called with terms whose prior is no mixture, or whose posterior has no
            mean in closed form.
    """

    information_weight = Weight()
    balance_weight = Weight()
    monitor = "loss"
    is_of_one_level = True

    def __init__(
        self,
        information_weight: float | Schedule,
        balance_weight: float | Schedule,
        kl_weight: float | Schedule = 1.0,
    ) -> None:
        super().__init__(kl_weight)
        check_weight("information_weight", information_weight)
        check_weight("balance_weight", balance_weight)
        self.information_weight, self.balance_weight = information_weight, balance_weight
        self.metric_names = (*self.metric_names, "information", "imbalance")

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, I(x; c) and KL(p(c) || uniform)."""
        loss, extra = super().__call__(terms, step)
        log_probs = _log_responsibilities(terms)
        probs = tf.exp(log_probs)
        mean = terms.mean(probs)
        entropy = -tf.reduce_sum(tf.math.xlogy(mean, mean))
        information = entropy + terms.mean(tf.reduce_sum(probs * log_probs, axis=-1))
        imbalance = tf.math.log(float(probs.shape[-1])) - entropy
        loss -= schedules.at_step(self.information_weight, step) * information
        loss += schedules.at_step(self.balance_weight, step) * imbalance
        return loss, {**extra, "information": information, "imbalance": imbalance}


def _log_responsibilities(terms: Terms) -> tf.Tensor:
    """log p(c|z) at the mean z of q(z|x), [B, M]."""
    group, *others = terms.groups
    if others or not isinstance(group.p, tfd.MixtureSameFamily):
        raise ValueError(
            "ClusteredELBO is for one group of latents whose prior is a mixture: give priors.NormalMixture("
            f"{group.z.shape[-1]}, num_components), or objectives.ELBO to other models."
        )
    try:
        z = group.q.mean()
    except NotImplementedError:  # TFP has no formula: of a flow, for one
        raise ValueError(
            "ClusteredELBO takes the component of an example at the mean of q(z|x), which this posterior has not in "
            f"closed form: give posteriors.MultivariateNormalDiag({group.z.shape[-1]}) or another Gaussian."
        ) from None
    log_probs: Any = tf.math.log_softmax(group.p.posterior_marginal(z).logits_parameter())
    return log_probs
