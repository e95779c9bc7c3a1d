"""The terms of the scores of single examples, each by the same draws whatever stands beside it."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions import condition_for
from keras_vae.models.vae import VAE
from keras_vae.terms import Terms, latent_group

ELBO, LOG_PROB, RECONSTRUCTION, KL = "elbo", "log_prob", "reconstruction", "kl"
Values = dict[str, tf.Tensor]
Evaluated = Callable[[tf.Tensor, tf.Tensor | None], Values]


def noise(vae: VAE, num_samples: int, seed: int = 0) -> np.ndarray:
    """Standard normals [K, 1, L], the same for all examples, in pairs of opposite sign: their mean is 0 for an even K.

    E_q of what is linear in z is then exact, with the variance of other terms smaller (antithetic variates).
    """
    half = -(-num_samples // 2)
    # In the graph of an export it is a constant.
    with tf.init_scope(), tf.device("CPU:0"):
        drawn = tf.random.stateless_normal([half, 1, vae.prior.latent_dim], seeds.as_pair(seed)).numpy()
    return np.concatenate([drawn, -drawn])[:num_samples]


def evaluated(vae: VAE, num_samples: int, seed: int = 0) -> Evaluated:
    """A function of x [B, *event_shape] and conditions that gives the numbers of each example, [B] in nats, by name.

    - `elbo`: E_q[log p(x|z)] - KL(q(z|x) || p(z)), the expectation as a mean over the K draws;
    - `log_prob`: log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), as `VAE.log_prob`;
    - `reconstruction`: E_q[log p(x|z)];
    - `kl`: KL(q(z|x) || p(z)).

    Of a Gaussian q of one level, all examples share the noise from which z is made, and are decoded together; of any
    other q, each is drawn from by itself, with the same seed. A certain q has one draw. Of a plain autoencoder, which
    has no densities of z, there is `reconstruction` alone.
    """
    posterior = vae.encoder.posterior
    if not posterior.has_density:
        return lambda x, c: {RECONSTRUCTION: vae.infer(x, condition=c).log_likelihood[0]}
    if has_shared_noise(vae):
        eps = noise(vae, num_samples, seed)
        return lambda x, c: _together(vae, x, c, eps)
    if all(vae.certainties) and not vae.encodes_as_a_whole:
        return lambda x, c: _of_terms(vae.infer(x, 1, seed, c))
    draws = 1 if all(vae.certainties) else num_samples

    def one(row: tuple[tf.Tensor, ...]) -> Values:
        x, *rest = (part[tf.newaxis] for part in row)
        return {name: value[0] for name, value in _of_terms(vae.infer(x, draws, seed, *rest)).items()}

    names = (ELBO, LOG_PROB, RECONSTRUCTION, KL)
    signature = {name: tf.TensorSpec([], tf.float32) for name in names}
    # Outside of graphs a row would take longer to be prepared than to be computed.
    one = tf.function(one, autograph=False)
    return lambda x, c: tf.map_fn(one, (x,) if c is None else (x, c), fn_output_signature=signature)


def scores_together(vae: VAE) -> bool:
    """Whether `evaluated` computes all examples at once, by the operations of networks and densities alone."""
    certain = all(vae.certainties) and not vae.encodes_as_a_whole
    return not vae.encoder.posterior.has_density or certain or has_shared_noise(vae)


def has_shared_noise(vae: VAE) -> bool:
    """Whether q(z|x) is one Gaussian, so that draws for all examples can be made from the same noise."""
    if type(vae).infer is not VAE.infer or vae.num_levels > 1 or any(vae.certainties) or len(vae.prior.blocks) > 1:
        return False
    with tf.init_scope():
        q = vae.encoder.posterior.distribution(tf.zeros([1, int(vae.encoder.posterior.params_size)]))
    return isinstance(q, tfd.MultivariateNormalLinearOperator)


def _together(vae: VAE, x: tf.Tensor, condition: tf.Tensor | None, eps: np.ndarray) -> Values:
    q = vae.encoder(x, condition=condition_for(vae.encoder, condition), training=False)
    q = getattr(q, "tensor_distribution", q)
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
    z = q.loc + q.scale.matvec(tf.constant(eps))
    given = condition_for(vae.decoder, condition)
    log_likelihood = vae.decoder(z, condition=given, training=False).log_prob(x)
    group = latent_group(q, p, z)
    log_weights = log_likelihood + group.log_p - group.log_q
    return _named(log_likelihood, group.kl, log_weights)


def _of_terms(terms: Terms) -> Values:
    return _named(terms.log_likelihood, terms.kl, terms.log_weights)


def _named(log_likelihood: tf.Tensor, kl: tf.Tensor, log_weights: tf.Tensor) -> Values:
    expected = tf.reduce_mean(log_likelihood, axis=0)
    log_prob = tf.reduce_logsumexp(log_weights, axis=0) - math.log(int(log_weights.shape[0]))
    return {ELBO: expected - kl, LOG_PROB: log_prob, RECONSTRUCTION: expected, KL: kl}
