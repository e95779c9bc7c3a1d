"""InfoVAE: the maximum mean discrepancy between aggregate posterior and prior."""

import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import schedules, seeds
from keras_vae.arguments import check_choice, check_count, check_weight
from keras_vae.distributions.gaussian import marginals
from keras_vae.objectives.objective import Objective
from keras_vae.schedules import Schedule, Weight
from keras_vae.serialization import register
from keras_vae.terms import LatentGroup, Terms


@register
class MMD(Objective):
    """loss = -E_q[log p(x|z)] + w KL(q(z|x) || p(z)) + m MMD^2(q(z), p(z)): InfoVAE.

    In the terms of Zhao et al. 2019, "InfoVAE: balancing learning and inference in variational autoencoders", w = 1 -
    alpha and m = alpha + lambda - 1. With w = 0 it is their MMD-VAE, and a Wasserstein autoencoder (Tolstikhin et al.
    2018) with noise in its code. MMD^2 is the unbiased estimate (Gretton et al. 2012, lemma 6) between the draws of the
    batch and as many draws from the prior; below zero now and then, for that reason.

    A large m multiplies the noise of these draws, in which the gradient of a decoder that has learned nothing yet is
    lost: the posterior then stays the prior from the first epoch to the last. The Gaussian kernel has none of it where
    q(z|x) and p(z) are Gaussians that factorise: the mean over the draws has a closed form, which is taken. With the
    other kernel let m rise from zero.

    Args:
        mmd_weight: m, a number or a schedule of the step.
        kl_weight: w, likewise.
        kernel: "inverse_multiquadratic", the sum of c / (c + |z - z'|^2) over c = 2 L s, s in 0.1, 0.2, 0.5, 1, 2, 5,
            10 (as Tolstikhin et al.); or "gaussian", exp(-|z - z'|^2 / (2 L)), without draws wherever there is a closed
            form.
        num_samples: number K of draws from the posterior.

    Raises:
        ValueError: for another kernel.
    """

    KERNELS = ("inverse_multiquadratic", "gaussian")
    SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    SEED = 0x6D6D64
    mmd_weight = Weight()
    kl_weight = Weight()
    metric_names = ("mmd",)

    def __init__(
        self,
        mmd_weight: float | Schedule = 1000.0,
        kl_weight: float | Schedule = 0.0,
        kernel: str = "inverse_multiquadratic",
        num_samples: int = 1,
    ) -> None:
        check_weight("mmd_weight", mmd_weight)
        check_weight("kl_weight", kl_weight)
        check_choice("kernel", kernel, self.KERNELS)
        self.mmd_weight, self.kl_weight, self.kernel = mmd_weight, kl_weight, kernel
        self.num_samples = check_count("num_samples", num_samples)

    def __call__(self, terms: Terms, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss, and MMD^2."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        distances = []
        for index, group in enumerate(terms.groups):
            expected = self._expected(group)
            if expected is not None:
                distances += [expected] * self.num_samples
                continue
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

    def _expected(self, group: LatentGroup) -> tf.Tensor | None:
        """The mean over all draws of what `squared_distance` gives of them; None where it has no closed form."""
        q, p = marginals(group.q), marginals(group.p)
        if self.kernel != "gaussian" or not (isinstance(q, tfd.Normal) and isinstance(p, tfd.Normal)):
            return None
        if q.batch_shape.rank != 2 or p.batch_shape.rank != 1:
            return None
        size, length = tf.cast(tf.shape(q.loc)[0], tf.float32), float(q.loc.shape[-1])

        def between(a: tfd.Normal, b: tfd.Normal) -> tf.Tensor:
            """E exp(-|z - z'|^2 / (2 L)) for each z of a [A, L] and z' of b [B, L], [A, B]."""
            total = length + tf.square(a.scale)[:, tf.newaxis] + tf.square(b.scale)[tf.newaxis]
            squares = tf.math.squared_difference(a.loc[:, tf.newaxis], b.loc[tf.newaxis])
            return tf.exp(0.5 * tf.reduce_sum(math.log(length) - tf.math.log(total) - squares / total, axis=-1))

        prior = tfd.Normal(p.loc[tf.newaxis], p.scale[tf.newaxis])
        within = between(q, q) * (1.0 - tf.eye(tf.shape(q.loc)[0]))
        distance = tf.math.divide_no_nan(tf.reduce_sum(within), size * (size - 1.0))
        distance += tf.reduce_sum(between(prior, prior)) - 2.0 * tf.reduce_mean(between(q, prior))
        return tf.where(size > 1.0, distance, 0.0)

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
