"""The aggregate posterior q(z): mutual information and its divergence from the prior."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae import seeds
from keras_vae.distributions.gaussian import dimensions
from keras_vae.evaluation.statistics import gather, refuse_conditional, refuse_deterministic, standard_error
from keras_vae.models.vae import VAE

# Log-densities of the aggregate posterior are taken in chunks of about this many numbers.
CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """The rate split in two, KL = I + marginal KL, for the mixture q(z) = 1/N sum_n q(z|x_n) of N examples.

    The split is exact for these N examples up to the noise of the draws; I cannot exceed log N, so that the mutual
    information of the data's distribution is larger wherever `is_saturated`.

    Attributes:
        num_examples: N, also the number of draws.
        mutual_information: I_q(x; z) = E log q(z|x) - log q(z), in nats.
        marginal_kl: KL(q(z) || p(z)) = E log q(z) - log p(z), in nats: the gap between aggregate posterior and prior.
        mutual_information_error: standard error of the first over the draws.
        marginal_kl_error: standard error of the second.
        total_correlation: KL(q(z) || prod_j q(z_j)) = E log q(z) - sum_j log q(z_j), in nats, the part of the marginal
            KL that independent dimensions would not have; None where the q(z_j|x) have no closed form.
        total_correlation_error: its standard error.
    """

    num_examples: int
    mutual_information: float
    marginal_kl: float
    mutual_information_error: float
    marginal_kl_error: float
    total_correlation: float | None = None
    total_correlation_error: float | None = None

    @property
    def is_saturated(self) -> bool:
        """Whether the mutual information is within 0.1 nat of log N, the most that N examples can show."""
        return self.mutual_information > math.log(self.num_examples) - 0.1


def aggregate_posterior(vae: VAE, data: Any, num_examples: int = 2000, seed: int = 0) -> Aggregate:
    """Mutual information and marginal KL by the full mixture of the first `num_examples` posteriors.

    After Hoffman and Johnson 2016, "ELBO surgery". One draw z_n ~ q(z|x_n) for each example, log q(z_n) by all N
    components; the cost is N^2 L.

    Args:
        vae: a model with one group of latents.
        data: a finite data set.
        num_examples: N at most.
        seed: of the draws.

    Raises:
        ValueError: for a posterior without a density, and a conditional model.
    """
    refuse_deterministic(vae, "The aggregate posterior")
    refuse_conditional(vae, "The aggregate posterior")
    x, _ = gather(data, num_examples)
    q = vae.encode(x)
    p = vae.prior.distribution(encoder=vae.encoder)
    z, log_q = q.experimental_sample_and_log_prob(1, seed=seeds.as_pair(seed))
    z, log_q, log_p = z[0], log_q[0], p.log_prob(z[0])
    n = len(x)
    chunk = max(1, CHUNK // (n * vae.prior.latent_dim))
    has_dimensions = dimensions(q) is not None

    @tf.function(reduce_retracing=True, autograph=False)
    def log_mixtures(part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = part[:, tf.newaxis]
        joint = tf.reduce_logsumexp(q.log_prob(pairs), axis=1) - math.log(n)
        each = dimensions(q)
        if each is None:
            return joint, joint
        dims = tf.reduce_logsumexp(each.log_prob(pairs), axis=1) - math.log(n)
        return joint, tf.reduce_sum(dims, axis=-1)

    chunks = [log_mixtures(z[start : start + chunk]) for start in range(0, n, chunk)]
    log_mixture_q, log_product = (tf.concat(parts, axis=0) for parts in zip(*chunks, strict=True))
    information = np.asarray(log_q - log_mixture_q, "float64")
    marginal = np.asarray(log_mixture_q - log_p, "float64")
    correlation = np.asarray(log_mixture_q - log_product, "float64") if has_dimensions else None
    return Aggregate(
        n,
        float(information.mean()),
        float(marginal.mean()),
        standard_error(information),
        standard_error(marginal),
        None if correlation is None else float(correlation.mean()),
        None if correlation is None else standard_error(correlation),
    )
