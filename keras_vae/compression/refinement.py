"""Posteriors that are fitted to each example before it is coded, which both sides do alike.

An encoder gives q(z|x) at a glance, and for examples that it was not trained on there are better ones (Cremer et al.
2018, "Inference suboptimality in variational autoencoders"). Whoever has decoded x can look for them as well as whoever
codes it, so that bits back may use them: Yang et al. 2020, "Improving inference for neural image compression".
"""

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions.handed import condition_for
from keras_vae.models.vae import VAE

# First step size in deviations of q, and what it falls to at the last step; chosen by validation images.
RATE, FALL = 0.05, 0.1
# Of the estimate of what was won, pairs of draws.
PAIRS = 4
SEED = 0


def refined(
    vae: VAE, x: tf.Tensor, c: tf.Tensor | None, q: tfd.Distribution, steps: int, key: Any = 0
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and deviation [B, L] of the diagonal Gaussian with the best ELBO, and an estimate of that, [B].

    By Adam from q on, each step with a pair of draws on both sides of the mean; what was averaged over the last half of
    the steps is taken.

    Args:
        vae: a model of one level whose prior has a density on the whole real line.
        x: data [B, *event_shape].
        c: conditions [B, ...], or None.
        q: q(z|x).
        steps: at least 1.
        key: of the draws of the estimate alone, so that batches have others.
    """
    start, unit = q.mean(), q.stddev()
    size = int(start.shape[-1])
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, c))

    def bound(params: tf.Tensor, pairs: int, seed: Any) -> tf.Tensor:
        proposal = at(params)
        noise = tf.random.stateless_normal([pairs, *start.shape], seed)
        z = proposal.mean() + proposal.stddev() * tf.concat([noise, -noise], axis=0)
        log_p = vae.decoder(z, condition=condition_for(vae.decoder, c)).log_prob(x) + p.log_prob(z)
        return tf.reduce_mean(log_p, axis=0) + proposal.entropy()

    def at(params: tf.Tensor) -> tfd.Distribution:
        shift, log_scale = params[:, :size], tf.clip_by_value(params[:, size:], -5.0, 5.0)
        return tfd.MultivariateNormalDiag(start + unit * shift, unit * tf.exp(log_scale))

    def step(number: tf.Tensor, params: Any, m: Any, v: Any, mean: Any) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(params)
            value = bound(params, 1, seeds.fold_in(seeds.as_pair(SEED), number))
        gradient = tape.gradient(value, params)
        time = tf.cast(number + 1, tf.float32)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * tf.square(gradient)
        rate = RATE * tf.pow(FALL, time / steps)
        params += rate * (m / (1.0 - tf.pow(0.9, time))) / (tf.sqrt(v / (1.0 - tf.pow(0.99, time))) + 1e-8)
        late = tf.cast(number >= steps // 2, tf.float32) / (steps - steps // 2)
        return number + 1, params, m, v, mean + late * params

    nothing = tf.zeros([start.shape[0], 2 * size])
    *_, mean = tf.while_loop(
        lambda number, *_: number < steps, step, [0, nothing, nothing, nothing, nothing], parallel_iterations=1
    )
    found = at(mean)
    return found.mean(), found.stddev(), bound(mean, PAIRS, seeds.fold_in(seeds.as_pair(SEED), -1, key))
