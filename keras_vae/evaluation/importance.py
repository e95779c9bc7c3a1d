"""Importance-weighted estimates of log p(x), in chunks that fit in memory whatever the number of samples."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rich.console
import rich.progress
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.arguments import check_count
from keras_vae.conditions import handed
from keras_vae.conditions.handed import condition_for
from keras_vae.data.batches import is_array
from keras_vae.distributions.support import REAL
from keras_vae.evaluation.statistics import checked_batches, given, refuse_deterministic, standard_error
from keras_vae.likelihoods.observed import Observed
from keras_vae.models.inputs import refuse_targets
from keras_vae.models.vae import VAE
from keras_vae.terms import drawn

# One chunk of draws gives about this many numbers at the decoder's output: matrix products are then at their full
# speed and memory stays small, whatever the number of samples.
CHUNK_VALUES = 2**20
MIN_ROWS, MAX_ROWS = 64, 4096
# They are counted in 32 bits.
MOST_SAMPLES = 2**31 - 1
# Draws of one image in a chunk, where there are images enough to fill it.
DRAWS = 32
IMPORTANCE, CODES_FIXED, ELBO = "importance samples", "importance samples of z beside a fixed code", "ELBO"
ESTIMATORS = {
    IMPORTANCE: "log p(x) by importance samples: a lower bound in expectation, which rises to it with their number.",
    CODES_FIXED: "A part of q(z|x) is certain, so that all samples have the same code: the estimate is of log p(x, "
    "code), a lower bound of log p(x) that more samples do not close.",
    ELBO: "q(z|x) is certain, so that all importance weights of an example are equal: the number is the ELBO, a lower "
    "bound of log p(x), whatever the number of samples.",
}
# With a smaller effective sample size an importance-weighted estimate rests on single draws.
FEW = 10.0
# Draws of each step that refines a proposal, and its first step size, in deviations of q.
REFINING_DRAWS, REFINING_RATE = 8, 0.1
LogWeights = Callable[[int, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) for N examples, in nats.

    Attributes:
        mean: over the examples.
        standard_error: of `mean` over the examples: how far other examples of the same kind would move it.
        monte_carlo_error: of `mean` over other draws for the same examples, sqrt(sum_n (1 / ess_n - 1 / K)) / N;
            NaN for K = 1, and where `is_bound`: of so few draws their scatter is not known.
        effective_sample_size: (sum w)^2 / sum w^2 of the K weights, mean over the examples; between 1 and K, and NaN
            for the ELBO, which has no weights.
        num_samples: K, the number of importance samples, without which the number cannot be compared; 1 for the ELBO.
        bits_per_dim: -mean / (D log 2) for discrete data of D values, else None.
        values: [N].
        effective_sample_sizes: [N].
        estimator: one of `ESTIMATORS`: what the numbers are.
        refine_steps: by which the proposals were fitted to each example; 0 for those of the encoder.
    """

    mean: float
    standard_error: float
    monte_carlo_error: float
    effective_sample_size: float
    num_samples: int
    bits_per_dim: float | None
    values: np.ndarray = dataclasses.field(repr=False)
    effective_sample_sizes: np.ndarray = dataclasses.field(repr=False)
    estimator: str = IMPORTANCE
    refine_steps: int = 0

    @property
    def relative_effective_sample_size(self) -> float:
        """`effective_sample_size` / `num_samples`: near zero where the posterior fits badly."""
        return self.effective_sample_size / self.num_samples

    @property
    def is_bound(self) -> bool:
        """Whether `mean` is no more than a bound: log p(x) is at least that, and likely higher by nats.

        So it is of the ELBO, and where `rests_on_few`.
        """
        return self.estimator == ELBO or rests_on_few(self.effective_sample_sizes, self.num_samples)

    def as_dict(self) -> dict[str, Any]:
        """The numbers without the arrays, JSON-ready."""
        return {
            "mean": self.mean,
            "is_bound": self.is_bound,
            "standard_error": self.standard_error,
            "estimator": self.estimator,
            "refine_steps": self.refine_steps,
            "num_samples": self.num_samples,
            "num_examples": len(self.values),
            "bits_per_dim": self.bits_per_dim,
            "effective_sample_size": self.effective_sample_size,
            "relative_effective_sample_size": self.relative_effective_sample_size,
            "monte_carlo_error": self.monte_carlo_error,
        }


def log_likelihood(
    vae: VAE, data: Any, num_samples: int = 5000, seed: int = 0, verbose: bool = True, refine_steps: int = 0
) -> LogLikelihood:
    """Importance-weighted estimate of log p(x) for each example.

    log 1/K sum_k w_k, w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): a lower bound in expectation, which rises to
    log p(x) with K (Burda et al. 2016, "Importance weighted autoencoders"). The draws are taken in chunks whose sums
    are kept on the log scale, so that memory does not grow with K; each example is encoded once. The result depends on
    the seed, the model, K and the data, not on how the data are cut into batches.

    Where q(z|x) is a point mass, as that of a codebook, all weights are equal, and the mean of any number of them is
    the ELBO: it is taken once, and the result says so.

    Args:
        vae: the model.
        data: a finite data set: array, (x, y), `tf.data.Dataset` or other iterable of batches, with or without labels.
        num_samples: K.
        seed: of the draws.
        verbose: whether to show a progress bar.
        refine_steps: of Adam that fit a proposal of full covariance to each example before its samples are drawn, by
            its ELBO, from q(z|x) on (Cremer et al. 2018, "Inference suboptimality in variational autoencoders"): what
            the encoder lacks for single examples, above all new ones, is then not in the estimate. 0 for q(z|x) itself.

    Raises:
        ValueError: for data outside the support of the likelihood, no data, and a posterior without a density; for
            `refine_steps` of a model whose z is not one level of real numbers.
    """
    num_samples = check_count("num_samples", num_samples, at_most=MOST_SAMPLES)
    refine_steps = check_count("refine_steps", refine_steps, at_least=0)
    if refine_steps:
        refuse_refinement(vae)
    refuse_deterministic(vae, "Importance sampling")
    refuse_targets(vae)
    estimator = ELBO if all(vae.certainties) else CODES_FIXED if any(vae.certainties) else IMPORTANCE
    if estimator == ELBO:
        num_samples = 1
    rows = int(np.clip(CHUNK_VALUES // math.prod(vae.decoder.event_shape), MIN_ROWS, MAX_ROWS))
    block = max(1, rows // min(num_samples, DRAWS))
    results: list[np.ndarray] = []
    with _progress(verbose) as progress:
        what = "ELBO" if estimator == ELBO else f"log p(x), {num_samples} samples"
        task = progress.add_task(what, total=_num_examples(data))
        run = None
        for x, condition in _blocks(vae, data, block):
            if run is None:
                # Data that fill no block are padded no further than they reach.
                block = min(block, len(x))
                run = _importance_sampler(vae, num_samples, max(1, rows // block), refine_steps)
            padding = np.arange(block) % len(x)
            condition = handed.given(vae.condition, None if condition is None else condition[padding], block)
            part = run(tf.constant(x[padding]), condition, seeds.fold_in(seed, len(results)))
            results.append(np.asarray(part)[:, : len(x)])
            progress.advance(task, len(x))
    if not results:
        raise ValueError("There are no data to evaluate: the first batch is empty.")
    values, sizes = np.concatenate(results, axis=1).astype("float64")
    # An effective size is at most K; rounding of the sums can exceed it by a little.
    sizes = np.full_like(sizes, math.nan) if estimator == ELBO else np.minimum(sizes, num_samples)
    mean = float(values.mean())
    return LogLikelihood(
        mean=mean,
        standard_error=standard_error(values),
        monte_carlo_error=math.nan if rests_on_few(sizes, num_samples) else monte_carlo_error(sizes, num_samples),
        effective_sample_size=float(sizes.mean()),
        num_samples=num_samples,
        bits_per_dim=vae.decoder.likelihood.bits_per_dim(mean),
        values=values,
        effective_sample_sizes=sizes,
        estimator=estimator,
        refine_steps=refine_steps,
    )


def rests_on_few(sizes: np.ndarray, num_samples: int) -> bool:
    """Whether single draws carry the estimates of half of the examples: effective sizes below 10 and K / 2."""
    return bool(np.median(sizes) < min(FEW, num_samples / 2))


def monte_carlo_error(sizes: np.ndarray, num_samples: int) -> float:
    """Of the mean over N estimates by `num_samples` weights of effective sizes [N]; NaN for one weight."""
    if num_samples == 1:
        return math.nan
    return float(np.sqrt(np.sum(np.maximum(1.0 / sizes - 1.0 / num_samples, 0.0))) / len(sizes))


def refuse_refinement(vae: VAE) -> None:
    """Refuse a model whose proposals cannot be refined.

    Raises:
        ValueError: with the reason.
    """
    if type(vae).infer is not VAE.infer or vae.num_levels > 1 or any(vae.certainties):
        raise ValueError("refine_steps fits Gaussians to z of one level of real numbers, which this model has not.")
    if any(kind != "continuous" for kind, _ in vae.prior.blocks) or any(s != REAL for s in vae.prior.supports):
        raise ValueError("refine_steps fits Gaussians, and z of this model is not on the whole real line.")


def _importance_sampler(vae: VAE, num_samples: int, rows_each: int, refine_steps: int = 0) -> Callable[..., tf.Tensor]:
    """A compiled function of x [B, *event_shape], conditions (or None) and a seed.

    It gives [2, B], log-likelihoods and effective sample sizes.
    """
    num_chunks = math.ceil(num_samples / rows_each)
    draws = math.ceil(num_samples / num_chunks)

    @tf.function(autograph=False)
    def run(x: tf.Tensor, condition: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        log_weights = _log_weights(vae, x, condition, refine_steps, seed)

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


def _log_weights(
    vae: VAE, x: tf.Tensor, condition: tf.Tensor | None, refine_steps: int = 0, seed: Any = 0
) -> LogWeights:
    """A function of a number K of draws and a seed that gives log p(x, z) - log q(z|x), [K, B], encoding only once."""
    if type(vae).infer is not VAE.infer or vae.num_levels > 1:
        # A model with another way to its latents, a hierarchy for example: its groups are drawn anew from the data.
        return lambda num, seed: vae.infer(x, num, seed, condition).log_weights
    q = vae.encode(x, condition)
    p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, condition))

    def weigh(q: tfd.Distribution, num: int, seed: tf.Tensor) -> tf.Tensor:
        z, log_q = drawn(q, num, seed)
        return _log_prob(vae.decode(z, condition), x) + p.log_prob(z) - log_q

    if refine_steps:
        seed = seeds.fold_in(seed, -1)
        # Of a posterior without moments, a rough scale will do: it is fitted.
        scale = tf.math.reduce_std(q.sample(64, seed=seeds.fold_in(seed, 0)), axis=0)
        q = refined(vae.encoder.posterior.point(q), scale, weigh, refine_steps, seed)
    return lambda num, seed: weigh(q, num, seed)


def refined(
    point: tf.Tensor,
    scale: tf.Tensor,
    weigh: Callable[[tfd.Distribution, int, tf.Tensor], tf.Tensor],
    steps: int,
    seed: tf.Tensor,
) -> tfd.Distribution:
    """N(m, A A^T) for each example, [B], fitted to the mean of its log-weights by Adam, in units of deviations of q.

    A is lower triangular. The step falls to a tenth; what was averaged over the last half of the steps is taken.

    Args:
        point: where it starts, [B, L].
        scale: the deviations, [B, L].
        weigh: the log-weights [K, B] of a proposal, by a number K of draws and a seed.
        steps: of Adam.
        seed: of the draws.
    """
    size, scale = int(point.shape[-1]), scale + 1e-6
    count = size + size * (size + 1) // 2

    def proposal(params: tf.Tensor) -> tfd.Distribution:
        triangle = tfp.math.fill_triangular(params[:, size:])
        diagonal = tf.exp(tf.clip_by_value(tf.linalg.diag_part(triangle), -5.0, 5.0))
        lower = triangle * (1.0 - tf.eye(size)) + tf.linalg.diag(diagonal)
        return tfd.MultivariateNormalTriL(point + scale * params[:, :size], scale[..., tf.newaxis] * lower)

    def step(at: tf.Tensor, params: tf.Tensor, m: tf.Tensor, v: tf.Tensor, mean: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(params)
            log_w = weigh(proposal(params), REFINING_DRAWS, seeds.fold_in(seed, at + 1))
            elbo = tf.reduce_mean(log_w, axis=0)
        gradient = tape.gradient(elbo, params)
        time = tf.cast(at + 1, tf.float32)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * tf.square(gradient)
        rate = REFINING_RATE * tf.pow(0.1, time / steps)
        change = rate * (m / (1.0 - tf.pow(0.9, time))) / (tf.sqrt(v / (1.0 - tf.pow(0.99, time))) + 1e-8)
        params += change
        late = tf.cast(at >= steps // 2, tf.float32) / (steps - steps // 2)
        return at + 1, params, m, v, mean + late * params

    nothing = tf.zeros([tf.shape(point)[0], count])
    *_, mean = tf.while_loop(
        lambda at, *_: at < steps, step, [0, nothing, nothing, nothing, nothing], parallel_iterations=1
    )
    return proposal(tf.stop_gradient(mean))


def _log_prob(likelihood: tfd.Distribution, x: tf.Tensor) -> tf.Tensor:
    """log p(x|z), [K, B], for x [B, ...].

    Of zeros and ones it is sum_i min(m_i, 0) + log prod_i sigmoid(|m_i|), m = (2 x - 1) logit: one logarithm for a
    hundred factors, each at least 1/2, instead of two for each value.
    """
    # Of missing values the distribution itself knows.
    is_whole = isinstance(likelihood, tfd.Independent) and not isinstance(likelihood, Observed)
    inner = likelihood.distribution if is_whole else None
    if not isinstance(inner, tfd.Bernoulli) or inner.parameters.get("logits") is None:
        return likelihood.log_prob(x)
    size = math.prod(x.shape[1:])
    group = max(n for n in range(1, min(size, 112) + 1) if size % n == 0)
    logits = tf.reshape(inner.logits, [-1, tf.shape(x)[0], size])
    signs = tf.reshape(2.0 * x - 1.0, [-1, size])
    factors = tf.reshape(tf.sigmoid(tf.abs(logits)), [-1, size // group, group])
    logs = tf.reduce_sum(tf.math.log(tf.reduce_prod(factors, axis=-1)), axis=-1)
    return tf.reduce_sum(tf.minimum(signs * logits, 0.0), axis=-1) + tf.reshape(logs, tf.shape(logits)[:2])


def _blocks(vae: VAE, data: Any, size: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The examples in blocks of `size` (the last may be smaller), however the data are batched, each checked.

    With their conditions, or None.
    """
    held: list[np.ndarray] = []
    beside: list[np.ndarray] = []
    count = 0
    for x, y in checked_batches(vae, data):
        if not len(x):
            continue
        held.append(x.astype("float32"))
        condition = handed.given(vae.condition, given(vae, y), len(x))
        beside.append(np.zeros(len(x)) if condition is None else condition.numpy())
        count += len(x)
        whole = count - count % size
        if whole:
            x, condition = np.concatenate(held), np.concatenate(beside)
            for start in range(0, whole, size):
                yield x[start : start + size], given(vae, condition[start : start + size])
            held, beside, count = [x[whole:]], [condition[whole:]], count - whole
    if count:
        yield np.concatenate(held), given(vae, np.concatenate(beside))


def _num_examples(data: Any) -> int | None:
    first = data[0] if isinstance(data, (tuple, list)) else data
    return len(first) if is_array(first) else None


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
