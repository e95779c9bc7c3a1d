"""How good a trained model is, in honest units: nats and bits per dimension, each with its error.

evaluation.log_likelihood(vae, test, num_samples=5000)      # importance-weighted log p(x)
evaluation.annealed_importance_sampling(vae, test)          # the same number by an independent way, on a subset
evaluation.evaluate(vae, test, train)                       # everything, JSON-ready
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import rich.console
import rich.markup
import rich.progress
import rich.table
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae import codes, diagnosis, inputs, seeds
from keras_vae.features import Clustering, Probe, cluster, linear_probe, probe_table
from keras_vae.latents import REAL
from keras_vae.vae import VAE

__all__ = [
    "AnnealedEstimate",
    "Clustering",
    "LogLikelihood",
    "Probe",
    "annealed_importance_sampling",
    "bits_per_dim",
    "cluster",
    "evaluate",
    "linear_probe",
    "log_likelihood",
    "probe_table",
    "report_table",
]

tfb = tfp.bijectors

# One chunk of draws gives about this many numbers at the decoder's output: matrix products are then at their full
# speed and memory stays small, whatever the number of samples.
CHUNK_VALUES = 2**20
MIN_ROWS, MAX_ROWS = 64, 4096
# Draws of one image in a chunk, where there are images enough to fill it.
DRAWS = 32

LogWeights = Callable[[int, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) for N examples, in nats.

    Attributes:
        mean: over the examples.
        standard_error: of `mean` over the examples: how far other examples of the same kind would move it.
        monte_carlo_error: of `mean` over other draws for the same examples, sqrt(sum_n (1 / ess_n - 1 / K)) / N;
            NaN for K = 1.
        effective_sample_size: (sum w)^2 / sum w^2 of the K weights, mean over the examples; between 1 and K.
        num_samples: K, the number of importance samples, without which the number cannot be compared.
        bits_per_dim: -mean / (D log 2) for discrete data of D values, else None.
        values: [N].
        effective_sample_sizes: [N].
    """

    mean: float
    standard_error: float
    monte_carlo_error: float
    effective_sample_size: float
    num_samples: int
    bits_per_dim: float | None
    values: np.ndarray
    effective_sample_sizes: np.ndarray

    @property
    def relative_effective_sample_size(self) -> float:
        """`effective_sample_size` / `num_samples`: near zero where the posterior fits badly."""
        return self.effective_sample_size / self.num_samples

    def as_dict(self) -> dict[str, Any]:
        """The numbers without the arrays, JSON-ready."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "num_samples": self.num_samples,
            "num_examples": len(self.values),
            "bits_per_dim": self.bits_per_dim,
            "effective_sample_size": self.effective_sample_size,
            "relative_effective_sample_size": self.relative_effective_sample_size,
            "monte_carlo_error": self.monte_carlo_error,
        }


def log_likelihood(vae: VAE, data: Any, num_samples: int = 5000, seed: int = 0, verbose: bool = True) -> LogLikelihood:
    """Importance-weighted estimate of log p(x) for each example.

    log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): a lower bound in expectation, which rises to
    log p(x) with K (Burda et al. 2016, "Importance weighted autoencoders"). The draws are taken in chunks whose sums
    are kept on the log scale, so that memory does not grow with K; each example is encoded once. The result depends on
    the seed, the model, K and the data, not on how the data are cut into batches.

    Args:
        vae: the model.
        data: a finite data set: array, (x, y), `tf.data.Dataset` or other iterable of batches, with or without labels.
        num_samples: K.
        seed: of the draws.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: for data outside the support of the likelihood, no data, and a posterior without a density.
    """
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise ValueError(f"num_samples must be a positive int, not {num_samples!r}.")
    codes.refuse_deterministic(vae, "Importance sampling")
    rows = int(np.clip(CHUNK_VALUES // math.prod(vae.decoder.event_shape), MIN_ROWS, MAX_ROWS))
    block = max(1, rows // min(num_samples, DRAWS))
    results: list[np.ndarray] = []
    with _progress(verbose) as progress:
        task = progress.add_task(f"log p(x), {num_samples} samples", total=_num_examples(data))
        run = None
        for x in _blocks(vae, data, block):
            if run is None:
                # Data that fill no block are padded no further than they reach.
                block = min(block, len(x))
                run = _importance_sampler(vae, num_samples, max(1, rows // block))
            padded = x[np.arange(block) % len(x)]
            part = run(tf.constant(padded), seeds.fold_in(seed, len(results)))
            results.append(np.asarray(part)[:, : len(x)])
            progress.advance(task, len(x))
    if not results:
        raise ValueError("There are no data to evaluate: the first batch is empty.")
    values, sizes = np.concatenate(results, axis=1).astype("float64")
    # An effective size is at most K; rounding of the sums can exceed it by a little.
    sizes = np.minimum(sizes, num_samples)
    mean = float(values.mean())
    return LogLikelihood(
        mean=mean,
        standard_error=codes.standard_error(values),
        monte_carlo_error=_monte_carlo_error(sizes, num_samples),
        effective_sample_size=float(sizes.mean()),
        num_samples=num_samples,
        bits_per_dim=bits_per_dim(vae, mean),
        values=values,
        effective_sample_sizes=sizes,
    )


def bits_per_dim(vae: VAE, nats: float) -> float | None:
    """-nats / (D log 2), D the number of values of an example; None unless the likelihood is of discrete data."""
    if vae.decoder.likelihood.levels is None:
        return None
    return -nats / (math.prod(vae.decoder.event_shape) * math.log(2.0))


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
    values: np.ndarray

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

    Args:
        vae: a model with one group of latents.
        data: a finite data set; its first `num_examples`.
        num_examples: N.
        num_chains: for each example.
        num_steps: number of temperatures; more are better and slower in proportion.
        num_leapfrog_steps: of each Hamiltonian step.
        seed: of the chains.

    Raises:
        ValueError: for data outside the support of the likelihood, no data, and a posterior without a density.
    """
    codes.refuse_deterministic(vae, "Annealed importance sampling")
    x, _ = codes.gather(data, num_examples)
    vae.decoder.likelihood.check(x)
    anneal = tf.function(_anneal, autograph=False)
    weights, acceptance = anneal(vae, tf.constant(x, tf.float32), num_chains, num_steps, num_leapfrog_steps, seed)
    total, squares = tf.reduce_logsumexp(weights, axis=0), tf.reduce_logsumexp(2.0 * weights, axis=0)
    values = np.asarray(total, "float64") - math.log(num_chains)
    sizes = np.asarray(tf.exp(2.0 * total - squares), "float64")
    return AnnealedEstimate(
        mean=float(values.mean()),
        standard_error=codes.standard_error(values),
        monte_carlo_error=_monte_carlo_error(sizes, num_chains),
        num_chains=num_chains,
        num_steps=num_steps,
        acceptance=float(acceptance),
        values=values,
    )


def evaluate(
    vae: VAE,
    test: Any,
    train: Any = None,
    history: Mapping[str, Any] | None = None,
    num_samples: int = 5000,
    max_examples: int | None = None,
    annealed: bool = False,
    seed: int = 0,
    verbose: bool = True,
) -> dict[str, Any]:
    """Everything that can be said about a model in numbers, JSON-ready, in nats per example.

    `report["test"]` (and `report["train"]`, if training data are given, without the expensive estimates) holds

    - `elbo`, its `standard_error`, `rate` (the mean KL) and `distortion` (the mean -log p(x|z)), `elbo_bits_per_dim`;
    - `kl_is_exact`, `kl_per_dim` (None if the KL does not split), `active_units`, `latent_dim`;
    - `log_likelihood`: `mean`, `standard_error`, `num_samples` and the rest of `LogLikelihood`;
    - `annealed_importance_sampling`, if asked for, with the importance-weighted mean of the same examples beside it;
    - `aggregate_posterior`: `mutual_information`, `marginal_kl` and how they were estimated.

    What a plain autoencoder does not have is None. `report["findings"]` is the diagnosis.

    Args:
        vae: the model.
        test: a finite data set, with or without labels.
        train: training data, for the gap between training and test.
        history: of `fit`, for the diagnosis.
        num_samples: of the importance-weighted estimate.
        max_examples: use only as many examples of each data set; None for all.
        annealed: whether to run annealed importance sampling on the first 64 examples: minutes for a large model.
        seed: of all draws.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: for data outside the support of the likelihood, and no data.
    """
    report: dict[str, Any] = {}
    found, x = {}, {}
    for name, data in (("test", test), ("train", train)):
        if data is not None:
            x[name], _ = codes.gather(data, max_examples)
            found[name] = codes.statistics(vae, x[name], seed)
            report[name] = _describe(vae, found[name])
    report["test"].update(log_likelihood=None, annealed_importance_sampling=None, aggregate_posterior=None)
    healthy = found["test"].num_nonfinite == 0
    if healthy and not codes.is_deterministic(vae):
        estimate = log_likelihood(vae, x["test"], num_samples, seed, verbose)
        report["test"]["log_likelihood"] = _plain(estimate.as_dict())
        if type(vae).infer is VAE.infer:
            report["test"]["aggregate_posterior"] = _describe_aggregate(codes.aggregate(vae, x["test"], seed=seed))
            if annealed:
                other = annealed_importance_sampling(vae, x["test"], seed=seed)
                same = float(estimate.values[: len(other.values)].mean())
                report["test"]["annealed_importance_sampling"] = _plain(
                    {**other.as_dict(), "importance_weighted_mean_of_the_same": same}
                )
    if history is None and "train" in found:
        history = {"elbo": [found["train"].elbo], "val_elbo": [found["test"].elbo]}
    findings = diagnosis.examine(vae, found["test"], x["test"][: diagnosis.SCALE_EXAMPLES], history)
    report["findings"] = [finding.as_dict() for finding in findings]
    return report


def report_table(report: Mapping[str, Any]) -> rich.console.Group:
    """The report of `evaluate` as a table for people, with the findings below."""
    parts = {name: report[name] for name in ("test", "train") if name in report}
    table = rich.table.Table("", title="nats per example, unless another unit is named")
    for name in parts:
        table.add_column(name, justify="right")
    num_samples = (report["test"]["log_likelihood"] or {}).get("num_samples")
    for label, key, error, digits in (
        ("examples", "num_examples", None, 0),
        ("ELBO", "elbo", "standard_error", 2),
        ("  rate: KL(q(z|x) || p(z))", "rate", None, 2),
        ("  distortion: -log p(x|z)", "distortion", None, 2),
        ("  bits per dimension", "elbo_bits_per_dim", None, 4),
        (f"log p(x), {num_samples} importance samples", "log_likelihood.mean", "standard_error", 2),
        ("  bits per dimension", "log_likelihood.bits_per_dim", None, 4),
        ("  effective sample size", "log_likelihood.effective_sample_size", None, 1),
        ("  Monte Carlo error", "log_likelihood.monte_carlo_error", None, 3),
        ("log p(x), annealed, on a subset", "annealed_importance_sampling.mean", "monte_carlo_error", 2),
        (
            "  importance-weighted, the same subset",
            "annealed_importance_sampling.importance_weighted_mean_of_the_same",
            None,
            2,
        ),
        ("active units", "active_units", None, 0),
        ("  of latent dimensions", "latent_dim", None, 0),
        ("mutual information of x and z", "aggregate_posterior.mutual_information", "mutual_information_error", 2),
        ("KL(aggregate posterior || prior)", "aggregate_posterior.marginal_kl", "marginal_kl_error", 2),
    ):
        cells = [_cell(part, key, error, digits) for part in parts.values()]
        if any(cells):
            table.add_row(label, *cells)
    if report["test"]["aggregate_posterior"]:
        table.caption = report["test"]["aggregate_posterior"]["estimator"]
    words = [
        f"[bold]{'!' if finding['is_harmful'] else '-'} {finding['name'].replace('_', ' ')}[/bold]: "
        f"{rich.markup.escape(finding['message'])} {rich.markup.escape(finding['remedy'])}"
        for finding in report["findings"]
    ]
    return rich.console.Group(table, *(words or ["Nothing wrong was found."]))


def _cell(part: Mapping[str, Any], key: str, error: str | None, digits: int) -> str:
    group, _, name = key.rpartition(".")
    numbers = (part.get(group) or {}) if group else part
    if numbers.get(name) is None:
        return ""
    plus_minus = f" ± {numbers[error]:.{digits}f}" if error and numbers.get(error) is not None else ""
    return f"{numbers[name]:,.{digits}f}{plus_minus}"


def _describe(vae: VAE, found: codes.Statistics) -> dict[str, Any]:
    numbers = {
        "num_examples": found.num_examples,
        "elbo": found.elbo,
        "standard_error": found.standard_error,
        "rate": found.rate,
        "distortion": found.distortion,
        "elbo_bits_per_dim": bits_per_dim(vae, found.elbo),
        "kl_is_exact": found.kl_is_exact,
        "kl_per_dim": None if found.kl_per_dim is None else found.kl_per_dim.tolist(),
        "active_units": int(found.active.sum()),
        "latent_dim": len(found.active),
    }
    if codes.is_deterministic(vae):
        numbers.update(elbo=None, standard_error=None, rate=None, elbo_bits_per_dim=None, kl_is_exact=None)
    return _plain(numbers)


def _describe_aggregate(aggregate: codes.Aggregate) -> dict[str, Any]:
    n = aggregate.num_examples
    limit = f"at most log {n} = {math.log(n):.2f} nats" + (", reached" if aggregate.is_saturated else "")
    text = f"Mutual information and aggregate posterior: mixture of the posteriors of {n} examples ({limit})."
    return _plain({**dataclasses.asdict(aggregate), "is_saturated": aggregate.is_saturated, "estimator": text})


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """With None for numbers that JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


def _anneal(
    vae: VAE, x: tf.Tensor, num_chains: int, num_steps: int, num_leapfrog_steps: int, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logarithms of the weights of the chains, [C, B], and the mean acceptance of the last step."""
    p = vae.prior.distribution(encoder=vae.encoder)
    support = vae.prior.support
    # Chains move on the whole real line.
    to_support = tfb.Identity() if support == REAL else tfb.Sigmoid(support.low, support.high)
    start = to_support.inverse(p.sample([num_chains, tf.shape(x)[0]], seed=seeds.fold_in(seed, 0)))

    def log_prior(u: tf.Tensor) -> tf.Tensor:
        return p.log_prob(to_support(u)) + to_support.forward_log_det_jacobian(u, event_ndims=1)

    _, weights, results = tfp.mcmc.sample_annealed_importance_chain(
        num_steps=num_steps,
        proposal_log_prob_fn=log_prior,
        target_log_prob_fn=lambda u: log_prior(u) + vae.decode(to_support(u)).log_prob(x),
        current_state=start,
        make_kernel_fn=lambda log_prob: SteeredHamiltonian(log_prob, num_leapfrog_steps),
        parallel_iterations=1,
        seed=seeds.fold_in(seed, 1),
    )
    log_accept = results.inner_results.inner_results.log_accept_ratio
    return weights, tf.reduce_mean(tf.exp(tf.minimum(log_accept, 0.0)))


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


def _importance_sampler(vae: VAE, num_samples: int, rows_each: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A compiled function of x [B, *event_shape] and a seed: [2, B], log-likelihoods and effective sample sizes."""
    num_chunks = math.ceil(num_samples / rows_each)
    draws = math.ceil(num_samples / num_chunks)

    @tf.function(autograph=False)
    def run(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        log_weights = _log_weights(vae, x)

        def add(chunk: tf.Tensor, total: tf.Tensor, total_of_squares: tf.Tensor) -> tuple[tf.Tensor, ...]:
            log_w = log_weights(draws, seeds.fold_in(seed, chunk))
            surplus = chunk * draws + tf.range(draws) >= num_samples
            log_w = tf.where(surplus[:, tf.newaxis], -math.inf, log_w)
            total = tfp.math.log_add_exp(total, tf.reduce_logsumexp(log_w, axis=0))
            squares = tf.reduce_logsumexp(2.0 * log_w, axis=0)
            return chunk + 1, total, tfp.math.log_add_exp(total_of_squares, squares)

        nothing = tf.fill([tf.shape(x)[0]], -math.inf)
        _, total, squares = tf.while_loop(
            lambda chunk, *_: chunk < num_chunks, add, [0, nothing, nothing], parallel_iterations=2
        )
        return tf.stack([total - math.log(num_samples), tf.exp(2.0 * total - squares)])

    return run


def _log_weights(vae: VAE, x: tf.Tensor) -> LogWeights:
    """A function of a number K of draws and a seed that gives log p(x, z) - log q(z|x), [K, B], encoding only once."""
    if type(vae).infer is not VAE.infer:
        # A model with another way to its latents, a hierarchy for example: its groups are drawn anew from the data.
        return lambda num, seed: vae.infer(x, num, seed).log_weights
    q = vae.encode(x)
    p = vae.prior.distribution(encoder=vae.encoder)

    def log_weights(num: int, seed: tf.Tensor) -> tf.Tensor:
        z, log_q = q.experimental_sample_and_log_prob(num, seed=seed)
        return _log_prob(vae.decode(z), x) + p.log_prob(z) - log_q

    return log_weights


def _log_prob(likelihood: tfd.Distribution, x: tf.Tensor) -> tf.Tensor:
    """log p(x|z), [K, B], for x [B, ...].

    Of zeros and ones it is sum_i min(m_i, 0) + log prod_i sigmoid(|m_i|), m = (2 x - 1) logit: one logarithm for a
    hundred factors, each at least 1/2, instead of two for each value.
    """
    inner = likelihood.distribution if isinstance(likelihood, tfd.Independent) else None
    if not isinstance(inner, tfd.Bernoulli) or inner.parameters.get("logits") is None:
        return likelihood.log_prob(x)
    size = math.prod(x.shape[1:])
    group = max(n for n in range(1, min(size, 112) + 1) if size % n == 0)
    logits = tf.reshape(inner.logits, [-1, tf.shape(x)[0], size])
    signs = tf.reshape(2.0 * x - 1.0, [-1, size])
    factors = tf.reshape(tf.sigmoid(tf.abs(logits)), [-1, size // group, group])
    logs = tf.reduce_sum(tf.math.log(tf.reduce_prod(factors, axis=-1)), axis=-1)
    return tf.reduce_sum(tf.minimum(signs * logits, 0.0), axis=-1) + tf.reshape(logs, tf.shape(logits)[:2])


def _blocks(vae: VAE, data: Any, size: int) -> Iterator[np.ndarray]:
    """The examples in blocks of `size` (the last may be smaller), however the data are batched, each checked."""
    held: list[np.ndarray] = []
    count = 0
    for x, _ in codes.labelled_batches(data):
        if not len(x):
            continue
        vae.decoder.likelihood.check(x)
        held.append(x.astype("float32"))
        count += len(x)
        if count >= size:
            joined = np.concatenate(held)
            whole = count - count % size
            yield from np.split(joined[:whole], whole // size)
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _monte_carlo_error(sizes: np.ndarray, num_samples: int) -> float:
    if num_samples == 1:
        return math.nan
    return float(np.sqrt(np.sum(np.maximum(1.0 / sizes - 1.0 / num_samples, 0.0))) / len(sizes))


def _num_examples(data: Any) -> int | None:
    first = data[0] if isinstance(data, (tuple, list)) else data
    return len(first) if inputs.is_array(first) else None


def _progress(verbose: bool) -> rich.progress.Progress:
    console = rich.console.Console()
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    return rich.progress.Progress(
        *columns, console=console, disable=not (verbose and console.is_terminal), transient=True
    )
