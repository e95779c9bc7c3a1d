"""The terms of the scores of single examples, each by the same draws whatever stands beside it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions.handed import condition_for
from keras_vae.models.vae import VAE
from keras_vae.terms import Terms, drawn, latent_groups

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

    Of a Gaussian q of one level, or a flow from one, all examples share the noise from which z is made, and are decoded
    together; of any other q, each is drawn from by itself, with the same seed. A certain q has one draw. Of a plain
    autoencoder, which has no densities of z, there is `reconstruction` alone.
    """
    posterior, pair = vae.encoder.posterior, seeds.as_pair(seed)
    if not posterior.has_density:
        return lambda x, c: {
            RECONSTRUCTION: _terms(vae, x, c, lambda q: posterior.point(q)[tf.newaxis]).log_likelihood[0]
        }
    if has_shared_noise(vae):
        eps = tf.constant(noise(vae, num_samples, seed))
        return lambda x, c: _named(_terms(vae, x, c, lambda q: made_of(q, eps)))
    if all(vae.certainties) and not vae.encodes_as_a_whole:
        return lambda x, c: _named(_terms(vae, x, c, lambda q: drawn(q, 1, pair)))
    draws = 1 if all(vae.certainties) else num_samples

    def one(row: tuple[tf.Tensor, ...]) -> Values:
        x, *rest = (part[tf.newaxis] for part in row)
        if type(vae).infer is not VAE.infer:
            terms = vae.infer(x, draws, pair, *rest)
        else:
            terms = _terms(vae, x, rest[0] if rest else None, lambda q: drawn(q, draws, pair), pair)
        return {name: value[0] for name, value in _named(terms).items()}

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
    """Whether q(z|x) is one Gaussian or a flow from one: draws for all examples can be made from the same noise."""
    if type(vae).infer is not VAE.infer or vae.num_levels > 1 or any(vae.certainties) or len(vae.prior.blocks) > 1:
        return False
    with tf.init_scope():
        q = vae.encoder.posterior.distribution(tf.zeros([1, int(vae.encoder.posterior.params_size)]))
    return _is_made_of_noise(q)


def _is_made_of_noise(q: tfd.Distribution) -> bool:
    if isinstance(q, tfd.MultivariateNormalLinearOperator):
        return True
    # `tfd.TransformedDistribution` of a bijector that is no composite tensor is not an instance of it.
    if not hasattr(q, "bijector") or q.event_shape.rank != 1 or q.event_shape != q.distribution.event_shape:
        return False
    return _is_made_of_noise(q.distribution)


def made_of(q: tfd.Distribution, eps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws z [K, B, L] of a Gaussian q, or a flow from one, made of standard normals eps, and log q(z|x) [K, B].

    z = f(u), u = mu + A eps: log q(z|x) = log N(eps; 0, I) - log |det A| - log |det df/du|. Nothing is inverted, nor is
    an equation solved, for which LiteRT, which exports run on, has no operation.

    Args:
        q: batch [B], event [L].
        eps: [K, 1, L].
    """
    if isinstance(q, tfd.MultivariateNormalLinearOperator):
        of_eps = -0.5 * (tf.reduce_sum(tf.square(eps), axis=-1) + eps.shape[-1] * math.log(2.0 * math.pi))
        return q.loc + q.scale.matvec(eps), of_eps - q.scale.log_abs_determinant()
    u, log_u = made_of(q.distribution, eps)
    return q.bijector.forward(u), log_u - q.bijector.forward_log_det_jacobian(u, event_ndims=1)


def _terms(
    vae: VAE, x: tf.Tensor, condition: tf.Tensor | None, draw: Callable[[Any], Any], seed: tf.Tensor | None = None
) -> Terms:
    """The terms of `VAE.infer` at draws that are given, without its checks: they would be assertions in an export.

    Args:
        vae: the model.
        x: [B, *event_shape].
        condition: one for each, or None.
        draw: of q(z|x), z [K, B, L], or z and log q(z|x) [K, B].
        seed: of the lower levels of a hierarchy.
    """
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
    q, features = vae.encoder.ascend(x, condition=condition_for(vae.encoder, condition), training=False)
    found = draw(q)
    z, log_q = found if isinstance(found, tuple) else (found, None)
    likelihood, levels = vae.decoder.descend(z, features, seed, condition_for(vae.decoder, condition), False)
    groups = [*latent_groups(q, p, z, log_q, vae.encoder.posterior.densities), *levels]
    return Terms(likelihood.log_prob(x), groups, likelihood)


def _named(terms: Terms) -> Values:
    expected, log_weights = tf.reduce_mean(terms.log_likelihood, axis=0), terms.log_weights
    log_prob = tf.reduce_logsumexp(log_weights, axis=0) - math.log(int(log_weights.shape[0]))
    return {ELBO: expected - terms.kl, LOG_PROB: log_prob, RECONSTRUCTION: expected, KL: terms.kl}
