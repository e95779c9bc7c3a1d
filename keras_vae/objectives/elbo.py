"""The evidence lower bound, its KL weighted, balanced or with free bits, and with a commitment for codebooks."""

from typing import Any

import tensorflow as tf

from keras_vae import schedules
from keras_vae.arguments import check_count, check_number, check_weight
from keras_vae.objectives.objective import Objective
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import LatentGroup, Terms


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
        kl_balancing: while w < 1, charge each level of a hierarchy g_l KL_l, g_l proportional to the batch's mean of
            KL_l + 0.01 nats over the number of dimensions of the level, without a gradient, of mean 1: a level that is
            little used is cheap, so that none is lost in a warm-up (Vahdat and Kautz 2020, "NVAE", appendix A, with
            the offset of their code). Of several replicas each takes the mean of its own part of the batch.

    Raises:
        ValueError: for numbers out of range, and for `kl_balancing` without a schedule of `kl_weight`.
    """

    kl_weight = Weight()
    free_bits = Weight()

    def __init__(
        self,
        kl_weight: float | Schedule = 1.0,
        free_bits: float = 0.0,
        num_samples: int = 1,
        kl_balancing: bool = False,
    ) -> None:
        check_weight("kl_weight", kl_weight)
        check_number("free_bits", free_bits, at_least=0, hint=" of nats")
        if kl_balancing and not callable(kl_weight):
            raise ValueError(
                "kl_balancing acts while kl_weight is below 1: give a warm-up, as kl_weight=schedules.Linear(10000)."
            )
        self.kl_weight, self.free_bits, self.kl_balancing = kl_weight, free_bits, bool(kl_balancing)
        self.num_samples = check_count("num_samples", num_samples)
        if callable(kl_weight):
            self.metric_names = ("kl_weight",)

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The ELBO, if that is what the loss comes to: with a weight of one at the end, and no free bits."""
        return "elbo" if schedules.final(self.kl_weight) == 1.0 and self.free_bits == 0.0 else "loss"

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the current weight if it follows a schedule."""
        weight = schedules.at_step(self.kl_weight, step)
        log_likelihood = tf.reduce_mean(terms.log_likelihood, axis=0)
        charges = [self._charge(terms, group) for group in terms.groups]
        kl = tf.add_n(charges)
        if self.kl_balancing:
            kl = tf.where(weight < 1.0, tf.add_n(_balanced(terms, charges)), kl)
        loss = -(terms.mean(log_likelihood) - weight * kl)
        extra: dict[str, Any] = {"kl_weight": weight} if callable(self.kl_weight) else {}
        return loss, extra

    def _charge(self, terms: Terms, group: LatentGroup) -> tf.Tensor:
        per_dim = group.kl[:, None] if group.kl_per_dim is None else group.kl_per_dim
        limited = tf.reduce_sum(tf.maximum(terms.mean(per_dim), self.free_bits))
        # Without a limit the KL of draws may be negative.
        return tf.where(self.free_bits > 0.0, limited, terms.mean(group.kl))


def _balanced(terms: Terms, charges: list[tf.Tensor]) -> list[tf.Tensor]:
    per_dim = [(tf.abs(terms.mean(group.kl)) + 0.01) / group.z.shape[-1] for group in terms.groups]
    weights = tf.unstack(tf.stop_gradient(tf.stack(per_dim) / tf.reduce_mean(per_dim)))
    return [weight * charge for weight, charge in zip(weights, charges, strict=True)]


@register
class CommittedELBO(ELBO):
    """loss = -E log p(x|z) + w KL + beta |e(x) - c|^2, the last summed over the grid: the commitment of VQ-VAE.

    Without it the features may run away from their codes. The KL, -log p(codes), trains the prior alone. Logs
    `commitment`, without its weight.

    The best model is that of the best log p(x|z): of the ELBO under a uniform prior of the codes, whose KL is the same
    for all models. Under the prior that is learned the ELBO falls while more codes come into use, for each of which it
    pays, and a model of few codes would be kept.

    Args:
        commitment_weight: beta, a number or a schedule of the step; 0.25 in van den Oord et al. 2017, of a likelihood
            of unit variance.
        kl_weight: as in `objectives.ELBO`.

    Raises:
        ValueError: if called with terms of a posterior that quantises nothing.
    """

    commitment_weight = Weight()
    monitor = "log_likelihood"
    needs = frozenset({"commitment"})

    def __init__(self, commitment_weight: float | Schedule = 0.25, kl_weight: float | Schedule = 1.0) -> None:
        super().__init__(kl_weight)
        check_weight("commitment_weight", commitment_weight)
        self.commitment_weight = commitment_weight
        self.metric_names = (*self.metric_names, "commitment")

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss and the commitment."""
        if not self.needs <= set(terms.extras):
            raise ValueError(
                "CommittedELBO is for posteriors of codes, such as posteriors.VectorQuantized: give objectives.ELBO to "
                "other models."
            )
        loss, extra = super().__call__(terms, step)
        commitment = terms.mean(terms.extras["commitment"])
        loss += schedules.at_step(self.commitment_weight, step) * commitment
        return loss, {**extra, "commitment": commitment}
