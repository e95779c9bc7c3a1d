"""Objectives that ask more of the aggregate posterior q(z) = 1/N sum_n q(z|x_n): that its dimensions be independent, or
that it be the prior. For beta-VAE and its capacity schedule see `objectives.ELBO` and `objectives.Capacity`.

What they estimate from a minibatch is biased or noisy, and is not logged as if it were a result: the total correlation
of a trained model is `codes.aggregate(vae, data).total_correlation`, from all of the data.
"""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules, seeds
from keras_vae.latents import LatentGroup, Terms, dimensions, marginals
from keras_vae.objectives import Objective, check_num_samples
from keras_vae.serialization import register


class Regularizer(Objective):
    """An objective that needs the marginals of q(z|x) over single dimensions, for one group of latents."""

    uses_marginals = True

    def _group(self, terms: Terms) -> LatentGroup:
        if len(terms.groups) != 1:
            raise ValueError(
                f"{type(self).__name__} is defined for one group of continuous latents, and this model has "
                f"{len(terms.groups)}."
            )
        return terms.groups[0]


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

    def __init__(
        self,
        num_examples: int,
        tc_weight: float | schedules.Schedule = 6.0,
        information_weight: float | schedules.Schedule = 1.0,
        marginal_weight: float | schedules.Schedule = 1.0,
        num_samples: int = 1,
    ) -> None:
        weights = {"tc_weight": tc_weight, "information_weight": information_weight, "marginal_weight": marginal_weight}
        for name, weight in weights.items():
            schedules.check_weight(name, weight)
        self.num_examples = check_num_examples(num_examples)
        self.tc_weight, self.information_weight, self.marginal_weight = weights.values()
        self.num_samples = check_num_samples(num_samples)

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


def require_marginals(q: tfd.Distribution) -> tfd.Distribution:
    """The marginals of a posterior over single dimensions, batch [B, L].

    Raises:
        ValueError: where they have no closed form.
    """
    found = dimensions(q)
    if found is None:
        raise ValueError(
            f"The marginals of {type(q).__name__} over single dimensions have no closed form: use a Gaussian "
            "posterior, such as posteriors.MultivariateNormalDiag."
        )
    return found


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

    metric_names = ("covariance_penalty",)

    def __init__(
        self,
        kind: str = "I",
        off_diagonal_weight: float | schedules.Schedule = 10.0,
        diagonal_weight: float | schedules.Schedule | None = None,
        num_samples: int = 1,
    ) -> None:
        if kind not in ("I", "II"):
            raise ValueError(f'kind must be "I" or "II", not {kind!r}.')
        schedules.check_weight("off_diagonal_weight", off_diagonal_weight)
        if diagonal_weight is None:
            if callable(off_diagonal_weight):
                raise ValueError("Give diagonal_weight too where off_diagonal_weight is a schedule.")
            diagonal_weight = off_diagonal_weight * (10.0 if kind == "I" else 1.0)
        schedules.check_weight("diagonal_weight", diagonal_weight)
        self.kind = kind
        self.off_diagonal_weight, self.diagonal_weight = off_diagonal_weight, diagonal_weight
        self.num_samples = check_num_samples(num_samples)

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


@register
class MMD(Objective):
    """loss = -E_q[log p(x|z)] + w KL(q(z|x) || p(z)) + m MMD^2(q(z), p(z)): InfoVAE.

    In the terms of Zhao et al. 2019, "InfoVAE: balancing learning and inference in variational autoencoders", w = 1 -
    alpha and m = alpha + lambda - 1. With w = 0 it is their MMD-VAE, and a Wasserstein autoencoder (Tolstikhin et al.
    2018) with noise in its code. MMD^2 is the unbiased estimate (Gretton et al. 2012, lemma 6) between the draws of the
    batch and as many draws from the prior; below zero now and then, for that reason.

    Args:
        mmd_weight: m, a number or a schedule of the step.
        kl_weight: w, likewise.
        kernel: "inverse_multiquadratic", the sum of c / (c + |z - z'|^2) over c = 2 L s, s in 0.1, 0.2, 0.5, 1, 2, 5,
            10 (as Tolstikhin et al.); or "gaussian", exp(-|z - z'|^2 / (2 L)).
        num_samples: number K of draws from the posterior.

    Raises:
        ValueError: for another kernel.
    """

    KERNELS = ("inverse_multiquadratic", "gaussian")
    SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    SEED = 0x6D6D64
    metric_names = ("mmd",)

    def __init__(
        self,
        mmd_weight: float | schedules.Schedule = 1000.0,
        kl_weight: float | schedules.Schedule = 0.0,
        kernel: str = "inverse_multiquadratic",
        num_samples: int = 1,
    ) -> None:
        schedules.check_weight("mmd_weight", mmd_weight)
        schedules.check_weight("kl_weight", kl_weight)
        if kernel not in self.KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(self.KERNELS)}, not {kernel!r}.")
        self.mmd_weight, self.kl_weight, self.kernel = mmd_weight, kl_weight, kernel
        self.num_samples = check_num_samples(num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and MMD^2."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        distances = []
        for index, group in enumerate(terms.groups):
            seed = seeds.fold_in(self.SEED, step, replica, index)
            draws = tf.shape(group.z)[1]
            # A prior given a condition is a batch [B] of distributions already, one given the levels above [K, B].
            shape: Any = () if group.p.batch_shape.rank else draws
            prior = tf.broadcast_to(group.p.sample(shape, seed=seed), tf.shape(group.z))
            pairs = zip(*(tf.unstack(part, num=self.num_samples) for part in (group.z, prior)), strict=True)
            distances += [self.squared_distance(z, drawn) for z, drawn in pairs]
        mmd = tf.add_n(distances) / self.num_samples
        loss = schedules.at_step(self.mmd_weight, step) * mmd - terms.mean(
            tf.reduce_mean(terms.log_likelihood, axis=0) - schedules.at_step(self.kl_weight, step) * terms.kl
        )
        return loss, {"mmd": mmd}

    def squared_distance(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """The unbiased estimate of MMD^2 from draws x [M, L] and y [M, L]; 0 for M = 1."""
        size = tf.cast(tf.shape(x)[0], tf.float32)
        within = self._sum(x, x, without_diagonal=True) + self._sum(y, y, without_diagonal=True)
        return tf.math.divide_no_nan(within, size * (size - 1.0)) - tf.math.divide_no_nan(
            2.0 * self._sum(x, y), size * size
        ) * tf.cast(size > 1.0, tf.float32)

    def _sum(self, x: tf.Tensor, y: tf.Tensor, without_diagonal: bool = False) -> tf.Tensor:
        dims = x.shape[-1]
        squares = tf.reduce_sum(tf.math.squared_difference(x[:, tf.newaxis], y[tf.newaxis]), axis=-1)
        if self.kernel == "gaussian":
            values = tf.exp(-squares / (2.0 * dims))
        else:
            values = tf.add_n([2.0 * dims * s / (2.0 * dims * s + squares) for s in self.SCALES])
        if without_diagonal:
            values *= 1.0 - tf.eye(tf.shape(x)[0])
        return tf.reduce_sum(values)


@register
class JointCapacity(Objective):
    """loss = -E_q[log p(x|z, d)] + gamma |KL_z - C_z| + gamma |KL_d - C_d|, the objective of JointVAE.

    Each KL is averaged over the batch and held at a capacity of its own, which grows: Dupont 2018, "Learning
    disentangled joint continuous and discrete representations", equation 7. For models of two groups of latents, such
    as `discrete.JointPosterior` makes. A capacity beyond log S, the most that d can carry, is taken as log S.

    Args:
        capacity: C_z in nats, a number or a schedule of the step.
        discrete_capacity: C_d, likewise.
        kl_weight: gamma, likewise.
        num_samples: number K of draws from the posterior.
    """

    metric_names = ("kl_continuous", "kl_discrete")

    def __init__(
        self,
        capacity: float | schedules.Schedule,
        discrete_capacity: float | schedules.Schedule,
        kl_weight: float | schedules.Schedule = 100.0,
        num_samples: int = 1,
    ) -> None:
        schedules.check_weight("capacity", capacity)
        schedules.check_weight("discrete_capacity", discrete_capacity)
        schedules.check_weight("kl_weight", kl_weight)
        self.capacity, self.discrete_capacity, self.kl_weight = capacity, discrete_capacity, kl_weight
        self.num_samples = check_num_samples(num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and the KL of either group."""
        if len(terms.groups) != 2:
            raise ValueError(
                f"JointCapacity is for two groups of latents, continuous and discrete, and this model has "
                f"{len(terms.groups)}: use discrete.JointPosterior and discrete.JointPrior."
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


def check_num_examples(num_examples: int) -> int:
    """The number as an int.

    Raises:
        ValueError: if it is not a positive int.
    """
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise ValueError(f"num_examples, the size of the training data, must be a positive int, not {num_examples!r}.")
    return num_examples
