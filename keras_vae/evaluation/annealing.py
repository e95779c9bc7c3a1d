"""log p(x) by annealed importance sampling: an independent check, for which the encoder is not needed."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae import seeds
from keras_vae.conditions import handed
from keras_vae.conditions.handed import condition_for
from keras_vae.distributions.support import Support
from keras_vae.evaluation.importance import monte_carlo_error
from keras_vae.evaluation.statistics import gather, given, refuse_deterministic, standard_error
from keras_vae.models.vae import VAE

tfb, tfd = tfp.bijectors, tfp.distributions


@dataclasses.dataclass(frozen=True)
class AnnealedEstimate:
    """Estimates of log p(x) for N examples by annealed importance sampling, in nats.

    Attributes:
        mean: over the examples.
        standard_error: of `mean` over the examples.
        monte_carlo_error: of `mean` over other chains for the same examples.
        num_chains: for each example.
        num_steps: temperatures between prior and posterior.
        acceptance: mean probability of accepting a proposal in the last step; the step size is steered to 0.65.
        values: [N].
    """

    mean: float
    standard_error: float
    monte_carlo_error: float
    num_chains: int
    num_steps: int
    acceptance: float
    values: np.ndarray = dataclasses.field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The numbers without the array, JSON-ready."""
        numbers = {**vars(self), "num_examples": len(self.values)}
        del numbers["values"]
        return numbers


def annealed_importance_sampling(
    vae: VAE,
    data: Any,
    num_examples: int = 64,
    num_chains: int = 16,
    num_steps: int = 500,
    num_leapfrog_steps: int = 5,
    seed: int = 0,
) -> AnnealedEstimate:
    """log p(x) without the encoder: from prior to posterior through p(z) p(x|z)^b, b from 0 to 1.

    Like the importance-weighted estimate a lower bound in expectation, but one that no bad q(z|x) can spoil: where both
    agree, both are right. Hamiltonian Monte Carlo steps of TFP, at each temperature one; the step size of each
    example follows the acceptance of its chains. Neal 2001, "Annealed importance sampling"; for decoders, Wu et al.
    2017, "On the quantitative analysis of decoder-based generative models".

    Of a hierarchy all levels move together: the chains are in z_1 and in the standard normal noise eps_l of the levels
    below, z_l = mu_l(z_<l) + sigma_l(z_<l) eps_l, which has the same p(x).

    Args:
        vae: a model of continuous latents, on one level or several.
        data: a finite data set; its first `num_examples`.
        num_examples: N.
        num_chains: for each example.
        num_steps: number of temperatures; more are better and slower in proportion.
        num_leapfrog_steps: of each Hamiltonian step.
        seed: of the chains.

    Raises:
        ValueError: for data outside the support of the likelihood, no data, discrete latents, and a posterior without a
            density.
    """
    refuse_annealing(vae)
    x, y = gather(data, num_examples)
    condition = handed.given(vae.condition, given(vae, y, data), len(x))
    vae.decoder.likelihood.check(x)
    anneal = tf.function(_anneal, autograph=False)
    x = tf.constant(x, tf.float32)
    weights, acceptance = anneal(vae, x, condition, num_chains, num_steps, num_leapfrog_steps, seed)
    total, squares = tf.reduce_logsumexp(weights, axis=0), tf.reduce_logsumexp(2.0 * weights, axis=0)
    values = np.asarray(total, "float64") - math.log(num_chains)
    sizes = np.asarray(tf.exp(2.0 * total - squares), "float64")
    return AnnealedEstimate(
        mean=float(values.mean()),
        standard_error=standard_error(values),
        monte_carlo_error=monte_carlo_error(sizes, num_chains),
        num_chains=num_chains,
        num_steps=num_steps,
        acceptance=float(acceptance),
        values=values,
    )


def refuse_annealing(vae: VAE) -> None:
    """Refuse a model whose log p(x) cannot be estimated by annealed importance sampling.

    Raises:
        ValueError: with the reason, for a plain autoencoder and for discrete latents.
    """
    refuse_deterministic(vae, "Annealed importance sampling")
    discrete = [f"{size} dimensions of kind {kind!r}" for kind, size in vae.prior.blocks if kind != "continuous"]
    if discrete:
        raise ValueError(
            f"Annealed importance sampling moves z along a gradient, which discrete latents do not have: of this model "
            f"{', '.join(discrete)}. Leave it out: evaluation.log_likelihood is there for all models."
        )


def _anneal(
    vae: VAE,
    x: tf.Tensor,
    condition: tf.Tensor | None,
    num_chains: int,
    num_steps: int,
    num_leapfrog_steps: int,
    seed: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logarithms of the weights of the chains, [C, B], and the mean acceptance of the last step."""
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))
    to_support = _to_support(vae)
    batch = tf.shape(x)[0]
    top = p.sample([num_chains] if p.batch_shape.rank else [num_chains, batch], seed=seeds.fold_in(seed, 0))
    sizes = [vae.prior.latent_dim, *vae.decoder.noise_sizes]
    noise = tf.random.stateless_normal([num_chains, batch, sum(sizes[1:])], seeds.fold_in(seed, 2))
    start = tf.concat([to_support.inverse(top), noise], axis=-1)

    def log_prior(u: tf.Tensor) -> tf.Tensor:
        u, noise = tf.split(u, [sizes[0], -1], axis=-1)
        below = tf.reduce_sum(tfd.Normal(0.0, 1.0).log_prob(noise), axis=-1)
        return p.log_prob(to_support(u)) + to_support.forward_log_det_jacobian(u, event_ndims=1) + below

    def log_joint(u: tf.Tensor) -> tf.Tensor:
        top, *below = tf.split(u, sizes, axis=-1)
        rows = [tf.reshape(noise, [-1, noise.shape[-1]]) for noise in below]
        likelihood = vae.decoder.draw(to_support(top), rows, condition_for(vae.decoder, condition))
        return log_prior(u) + likelihood.log_prob(x)

    _, weights, results = tfp.mcmc.sample_annealed_importance_chain(
        num_steps=num_steps,
        proposal_log_prob_fn=log_prior,
        target_log_prob_fn=log_joint,
        current_state=start,
        make_kernel_fn=lambda log_prob: SteeredHamiltonian(log_prob, num_leapfrog_steps),
        parallel_iterations=1,
        seed=seeds.fold_in(seed, 1),
    )
    log_accept = results.inner_results.inner_results.log_accept_ratio
    return weights, tf.reduce_mean(tf.exp(tf.minimum(log_accept, 0.0)))


def _to_support(vae: VAE) -> tfp.bijectors.Bijector:
    """From the whole real line, on which the chains move, to the support of the prior, block by block."""
    sizes = [size for _, size in vae.prior.blocks]
    return tfb.Blockwise([_onto(support) for support in vae.prior.supports], block_sizes=sizes)


def _onto(support: Support) -> tfp.bijectors.Bijector:
    low, high = support
    if math.isfinite(low) and math.isfinite(high):
        return tfb.Sigmoid(low, high)
    if math.isfinite(low):
        return tfb.Chain([tfb.Shift(low), tfb.Softplus()])
    return tfb.Chain([tfb.Shift(high), tfb.Scale(-1.0), tfb.Softplus()]) if math.isfinite(high) else tfb.Identity()


class SteeredResults(NamedTuple):
    """What the kernel hands from step to step: the results of its Hamiltonian step, and the step sizes [1, B, 1]."""

    inner_results: Any
    step_size: tf.Tensor


class SteeredHamiltonian(tfp.mcmc.TransitionKernel):
    """A Hamiltonian step for states [C, B, L] whose step size for each b is steered to an acceptance of 0.65.

    Unlike the plain kernel of TFP it evaluates the target anew at each step: annealing changes the target between
    steps, and the ratio of acceptance would otherwise compare two temperatures.
    """

    RATE, TARGET, FIRST = 0.05, 0.65, 0.1

    def __init__(self, target_log_prob_fn: Callable[[tf.Tensor], tf.Tensor], num_leapfrog_steps: int) -> None:
        self._target, self._num_leapfrog_steps = target_log_prob_fn, num_leapfrog_steps

    @property
    def is_calibrated(self) -> bool:
        """Each step leaves its target unchanged."""
        return True

    def bootstrap_results(self, state: tf.Tensor) -> SteeredResults:
        """Results before the first step."""
        step_size = tf.fill([1, tf.shape(state)[1], 1], self.FIRST)
        return SteeredResults(self._kernel(step_size).bootstrap_results(state), step_size)

    def one_step(
        self, state: tf.Tensor, previous: SteeredResults, seed: Any = None
    ) -> tuple[tf.Tensor, SteeredResults]:
        """The next state and results."""
        kernel = self._kernel(previous.step_size)
        state, results = kernel.one_step(state, kernel.bootstrap_results(state), seed=seed)
        accepted = tf.reduce_mean(tf.exp(tf.minimum(results.log_accept_ratio, 0.0)), axis=0)
        step_size = previous.step_size * tf.exp(self.RATE * (accepted - self.TARGET))[tf.newaxis, :, tf.newaxis]
        return state, SteeredResults(results, step_size)

    def _kernel(self, step_size: tf.Tensor) -> tfp.mcmc.HamiltonianMonteCarlo:
        return tfp.mcmc.HamiltonianMonteCarlo(self._target, step_size, self._num_leapfrog_steps)
