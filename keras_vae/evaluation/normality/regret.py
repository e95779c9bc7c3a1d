"""Likelihood regret: how much of the ELBO of an example its encoder misses."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions.handed import condition_for
from keras_vae.evaluation.importance import refined, refuse_refinement
from keras_vae.evaluation.normality.terms import Evaluated, Values, has_shared_noise, made_of, noise
from keras_vae.models.vae import VAE
from keras_vae.terms import Terms, latent_group

REGRET = "regret"
# Of Adam, for each example, and draws by which deviations of q are known where it is a flow.
STEPS, DRAWS_OF_SCALE = 300, 64


def refuse_regret(vae: VAE) -> None:
    """Refuse a model whose q cannot be fitted to single examples, each by itself.

    Raises:
        ValueError: with the reason.
    """
    try:
        refuse_refinement(vae)
    except ValueError:
        raise ValueError(
            "kind='regret' fits a Gaussian q(z|x) to each example, and z of this model is not one level of real "
            "numbers: take another kind."
        ) from None
    if not has_shared_noise(vae):
        raise ValueError(
            "kind='regret' fits q(z|x) by the same draws for all examples, which must be Gaussian or a flow from a "
            f"Gaussian, and {type(vae.encoder.posterior).__name__} is neither: take another kind."
        )


def regrets(vae: VAE, num_samples: int, seed: int = 0) -> Evaluated:
    """A function of x [B, *event_shape] and conditions that gives `regret`, ELBO(q*) - ELBO(q), [B] in nats.

    q is that of the encoder, and q* the Gaussian of full covariance that 300 steps of Adam fit to the example, from q
    on. Both expectations are means over the same K draws of noise.
    """
    eps, pair = tf.constant(noise(vae, num_samples, seed)), seeds.as_pair(seed)

    def regret(x: tf.Tensor, condition: tf.Tensor | None) -> Values:
        p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
        q, features = vae.encoder.ascend(x, condition=condition_for(vae.encoder, condition), training=False)

        def terms(q: tfd.Distribution, eps: tf.Tensor) -> Terms:
            z, log_q = made_of(q, eps)
            given = condition_for(vae.decoder, condition)
            likelihood, _ = vae.decoder.descend(z, features, None, given, False)
            return Terms(likelihood.log_prob(x), [latent_group(q, p, z, log_q)], likelihood)

        def weigh(q: tfd.Distribution, num: int, seed: tf.Tensor) -> tf.Tensor:
            """By the same draws for all examples: what is found for one does not depend on its neighbours."""
            return terms(q, tf.random.stateless_normal([num, 1, eps.shape[-1]], seed)).log_weights

        few = tf.random.stateless_normal([DRAWS_OF_SCALE, 1, eps.shape[-1]], seeds.fold_in(pair, 0))
        scale = tf.math.reduce_std(made_of(q, few)[0], axis=0)
        best = refined(vae.encoder.posterior.point(q), scale, weigh, STEPS, seeds.fold_in(pair, 1))
        return {REGRET: terms(best, eps).elbo - terms(q, eps).elbo}

    return regret
