"""Objectives: plain objects that turn the terms of a model into a loss. They know no model.

An objective of your own is a subclass with one method that returns the loss, a scalar, and the numbers to log beside
`loss`, `elbo`, `log_likelihood` and `kl`, whose names stand in `metric_names`.
"""

import math
from typing import Any

import tensorflow as tf

from keras_vae import schedules
from keras_vae.latents import LatentGroup, Terms
from keras_vae.serialization import Serializable, register

# Logged whatever the objective weighs.
LOGGED = ("elbo", "log_likelihood", "kl")


class Objective(Serializable):
    """A loss to minimise, computed from `Terms`.

    Attributes:
        num_samples: number K of draws from the posterior for each example.
        needs: names of optional terms: "pathwise", which the model computes in training, see `Terms.pathwise`; others
            must be among the `extras` of the posterior.
        metric_names: names of the extra numbers that a call returns.
        monitor: the logged number by whose validation value the best model is chosen; the greater, the better.
        uses_prior: False for a loss of log p(x|z) alone, which leaves the prior as it is, and under which the posterior
            needs no density.
        uses_marginals: True for a loss that needs the marginals of q(z|x) over single dimensions.
    """

    num_samples: int = 1
    needs: frozenset[str] = frozenset()
    metric_names: tuple[str, ...] = ()
    monitor: str = "elbo"
    uses_prior: bool = True
    uses_marginals: bool = False

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
        kl_balancing: while w < 1, charge each level of a hierarchy g_l KL_l, g_l proportional to the batch's mean of
            KL_l + 0.01 nats over the number of dimensions of the level, without a gradient, of mean 1: a level that is
            little used is cheap, so that none is lost in a warm-up (Vahdat and Kautz 2020, "NVAE", appendix A, with
            the offset of their code). Of several replicas each takes the mean of its own part of the batch.

    Raises:
        ValueError: for numbers out of range, and for `kl_balancing` without a schedule of `kl_weight`.
    """

    def __init__(
        self,
        kl_weight: float | schedules.Schedule = 1.0,
        free_bits: float = 0.0,
        num_samples: int = 1,
        kl_balancing: bool = False,
    ) -> None:
        schedules.check_weight("kl_weight", kl_weight)
        if isinstance(free_bits, bool) or not isinstance(free_bits, (int, float)) or not 0 <= free_bits < math.inf:
            raise ValueError(f"free_bits must be a finite number of nats >= 0, not {free_bits!r}.")
        if kl_balancing and not callable(kl_weight):
            raise ValueError(
                "kl_balancing acts while kl_weight is below 1: give a warm-up, as kl_weight=schedules.Linear(10000)."
            )
        self.kl_weight, self.free_bits, self.kl_balancing = kl_weight, free_bits, bool(kl_balancing)
        self.num_samples = check_num_samples(num_samples)
        if callable(kl_weight):
            self.metric_names = ("kl_weight",)

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
        if not self.free_bits:
            return terms.mean(group.kl)
        per_dim = group.kl[:, None] if group.kl_per_dim is None else group.kl_per_dim
        return tf.reduce_sum(tf.maximum(terms.mean(per_dim), self.free_bits))


def _balanced(terms: Terms, charges: list[tf.Tensor]) -> list[tf.Tensor]:
    per_dim = [(tf.abs(terms.mean(group.kl)) + 0.01) / group.z.shape[-1] for group in terms.groups]
    weights = tf.unstack(tf.stop_gradient(tf.stack(per_dim) / tf.reduce_mean(per_dim)))
    return [weight * charge for weight, charge in zip(weights, charges, strict=True)]


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

    metric_names = ("capacity",)

    def __init__(
        self,
        capacity: float | schedules.Schedule,
        kl_weight: float | schedules.Schedule = 100.0,
        num_samples: int = 1,
    ) -> None:
        schedules.check_weight("capacity", capacity)
        schedules.check_weight("kl_weight", kl_weight)
        self.capacity, self.kl_weight = capacity, kl_weight
        self.num_samples = check_num_samples(num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the current capacity."""
        capacity = schedules.at_step(self.capacity, step)
        distance = tf.abs(terms.mean(terms.kl) - capacity)
        loss = schedules.at_step(self.kl_weight, step) * distance - terms.mean(
            tf.reduce_mean(terms.log_likelihood, axis=0)
        )
        return loss, {"capacity": capacity}


@register
class ImportanceWeighted(Objective):
    """loss = -log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x).

    A bound on log p(x) that is tighter than the ELBO: Burda et al. 2016, "Importance weighted autoencoders". Its value
    is the same for all estimators of the gradient. With v_k = w_k / sum_j w_j, decoder and prior always receive
    sum_k v_k d log w_k, and the encoder

    - "iwae": the same, through z and through the parameters of q;
    - "stl": sum_k v_k (d log w_k / dz) dz_k, through z only: Roeder et al. 2017, "Sticking the landing". Unbiased for
      K = 1; biased for K > 1;
    - "dreg": sum_k v_k^2 (d log w_k / dz) dz_k, unbiased, and better with growing K: Tucker et al. 2019, "Doubly
      reparameterized gradient estimators for Monte Carlo objectives".

    The last two vanish where q is the true posterior, which is why they are less noisy; they cost one more pass back
    through the decoder, and need a posterior with reparameterised draws. They take log q at a z whose origin is
    forgotten: a flow is inverted, which takes L - 1 passes for each "iaf" layer, one for each "coupling" layer.

    The bound is logged as `bound`, and decides which model is the best: the ELBO falls while the bound rises, as
    q(z|x) spreads over what K draws can cover.

    Args:
        num_samples: number K of draws from the posterior.
        estimator: "iwae", "stl" or "dreg".
    """

    ESTIMATORS = ("iwae", "stl", "dreg")
    metric_names = ("bound",)
    monitor = "bound"

    def __init__(self, num_samples: int, estimator: str = "iwae") -> None:
        if estimator not in self.ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(self.ESTIMATORS)}, not {estimator!r}.")
        self.num_samples, self.estimator = check_num_samples(num_samples), estimator
        self.needs = frozenset() if estimator == "iwae" else frozenset({"pathwise"})

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the bound."""
        bound = tf.reduce_logsumexp(terms.log_weights, axis=0) - math.log(self.num_samples)
        if terms.pathwise is not None:
            # Here the weights know only decoder and prior; the path, zero in value, brings the gradient of the encoder.
            share = tf.stop_gradient(tf.nn.softmax(terms.log_weights, axis=0))
            share = share if self.estimator == "stl" else tf.square(share)
            bound += tf.reduce_sum(share * terms.pathwise, axis=0)
        mean = terms.mean(bound)
        return -mean, {"bound": mean}


@register
class Reconstruction(Objective):
    """loss = -E_q[log p(x|z)]: an autoencoder, with noise in its code unless the posterior is `Deterministic`.

    Nothing holds q(z|x) near the prior, whose weights are not trained: draws from the prior need not look like data.

    Args:
        num_samples: number K of draws from the posterior.
    """

    uses_prior = False

    def __init__(self, num_samples: int = 1) -> None:
        self.num_samples = check_num_samples(num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and no other numbers."""
        return -terms.mean(tf.reduce_mean(terms.log_likelihood, axis=0)), {}


def check_num_samples(num_samples: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(f"num_samples must be a positive int, not {num_samples!r}.")
    return num_samples
