"""What the encoder makes of a data set: codes, rate and distortion, active units, the aggregate posterior.

Works on anything that `keras.Model.fit` takes as `x`: arrays, (x, y) tuples, `tf.data.Dataset`, other iterables of
batches, with or without labels.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import conditions, inputs, latents, seeds
from keras_vae.vae import VAE

BATCH = 256
# Log-densities of the aggregate posterior are taken in chunks of about this many numbers.
CHUNK = 2**22
# A latent dimension is active if the variance of its posterior mean over the data exceeds this (Burda et al. 2016).
ACTIVE = 0.01


def labelled_batches(data: Any, batch_size: int = BATCH) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(examples [B, ...], labels or conditions [B, ...] or None) for all of the data.

    Of batches {"image": x, "condition": c} the second are the conditions.

    Raises:
        ValueError: for data that never end.
    """
    if inputs.is_endless(data):
        raise ValueError("The data never end: give a finite dataset, for example data.take(100).")
    for batch in inputs.whole_batches(data, batch_size):
        x, y, _ = inputs.unpack(batch, conditional=True)
        yield np.asarray(x), None if y is None else np.asarray(y)


def given(vae: VAE, labels: np.ndarray | None) -> np.ndarray | None:
    """What stands beside the examples of `labelled_batches`, if the model is conditioned on it; else None."""
    return None if vae.condition is None else labels


def gather(data: Any, n: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The first `n` examples and their labels or conditions, or all of them, as arrays ([N, ...], [N, ...] or None).

    Raises:
        ValueError: if there are none.
    """
    parts, labels, count = [], [], 0
    for x, y in labelled_batches(data):
        keep = len(x) if n is None else min(len(x), n - count)
        parts.append(x[:keep])
        labels.append(None if y is None else y[:keep])
        count += keep
        if n is not None and count >= n:
            break
    if not count:
        raise ValueError("There are no data: the first batch is empty.")
    have_labels = all(label is not None for label in labels)
    return np.concatenate(parts), np.concatenate(labels) if have_labels else None  # type: ignore[arg-type]


def points(vae: VAE, data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The point (the mean) of q(z|x) for each example, [N, L], and the labels [N], or None if the data have none."""
    encode = _batchwise(lambda x, condition: vae.encoder.posterior.point(vae.encode(x, condition)))
    codes, labels = [], []
    for x, y in labelled_batches(data):
        codes.append(encode(x, given(vae, y)))
        labels.append(y)
    if not sum(map(len, codes)):
        raise ValueError("There are no data to encode.")
    have_labels = all(label is not None for label in labels)
    return np.concatenate(codes), np.concatenate(labels) if have_labels else None  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Statistics:
    """One pass over a data set with one draw from q(z|x) for each example, in nats per example.

    Attributes:
        num_examples: N.
        elbo: -(rate + distortion).
        rate: mean KL(q(z|x) || p(z)).
        distortion: mean -log p(x|z).
        standard_error: of `elbo`, over the examples.
        kl_is_exact: whether every KL has a closed form; otherwise it is the mean of log q - log p over the draws.
        kl_per_dim: mean KL of each latent dimension, [L], or None where q or p does not factorise.
        variance_of_means: variance over the data of the posterior's point, [L].
        mean_variance: mean over the data of the posterior's variance, [L], or None where TFP has none.
        num_nonfinite: number of examples whose ELBO is not finite.
        points: posterior points, [N, L].
    """

    num_examples: int
    elbo: float
    rate: float
    distortion: float
    standard_error: float
    kl_is_exact: bool
    kl_per_dim: np.ndarray | None
    variance_of_means: np.ndarray
    mean_variance: np.ndarray | None
    num_nonfinite: int
    points: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """Which latent dimensions are active, [L]: Var_x(E[z|x]) > 0.01 (Burda et al. 2016, section 5.2)."""
        return self.variance_of_means > ACTIVE


Measure = Callable[[np.ndarray, tf.Tensor | None, tf.Tensor], dict[str, np.ndarray]]


def measure(vae: VAE, seed: int = 0) -> Measure:
    """The compiled function of a batch and its index that `statistics` is made of, for those who need it repeatedly."""
    stochastic = not is_deterministic(vae)

    def run(x: tf.Tensor, condition: tf.Tensor | None, index: tf.Tensor) -> dict[str, tf.Tensor]:
        terms = vae.infer(x, seed=seeds.fold_in(seed, index) if stochastic else None, condition=condition)
        values = {"distortion": -tf.reduce_mean(terms.log_likelihood, axis=0), "kl": terms.kl}
        kls = [group.kl_per_dim for group in terms.groups]
        if all(kl is not None for kl in kls):
            values["kl_per_dim"] = tf.concat(kls, axis=-1)
        points = [_averaged(_point(vae, group.q, len(terms.groups))) for group in terms.groups]
        values["points"] = tf.concat(points, axis=-1)
        variances = [_variance(group.q) for group in terms.groups]
        if all(variance is not None for variance in variances):
            values["variance"] = tf.concat([_averaged(variance) for variance in variances], axis=-1)
        exact = all(group.kl_is_exact for group in terms.groups)
        return {**values, "exact": tf.fill(tf.shape(terms.kl), float(exact))}

    return _batchwise(run)


def statistics(vae: VAE, data: Any, seed: int = 0, run: Measure | None = None) -> Statistics:
    """Rate, distortion, KL per dimension and active units, in one pass.

    Of a model with several groups of latents, `kl_per_dim` and the points are those of all groups side by side.

    Args:
        vae: the model.
        data: a finite data set.
        seed: of the draws, one for each example.
        run: what `measure` gave for this model and seed, if it is there already.
    """
    run = run or measure(vae, seed)
    parts: list[dict[str, np.ndarray]] = []
    for index, (x, y) in enumerate(labelled_batches(data)):
        if len(x):
            if not parts:
                vae.decoder.likelihood.check(x)
            parts.append(run(x, conditions.given(vae.condition, given(vae, y), len(x)), tf.constant(index)))
    if not parts:
        raise ValueError("There are no data to evaluate: the first batch is empty.")
    values = {name: np.concatenate([part[name] for part in parts]).astype("float64") for name in parts[0]}
    elbo = -values["distortion"] - values["kl"]
    return Statistics(
        num_examples=len(elbo),
        elbo=float(elbo.mean()),
        rate=float(values["kl"].mean()),
        distortion=float(values["distortion"].mean()),
        standard_error=standard_error(elbo),
        kl_is_exact=bool(values["exact"].all()),
        kl_per_dim=values["kl_per_dim"].mean(axis=0) if "kl_per_dim" in values else None,
        variance_of_means=values["points"].var(axis=0),
        mean_variance=values["variance"].mean(axis=0) if "variance" in values else None,
        num_nonfinite=int((~np.isfinite(elbo)).sum()),
        points=values["points"],
    )


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


def aggregate(vae: VAE, data: Any, num_examples: int = 2000, seed: int = 0) -> Aggregate:
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
    has_dimensions = latents.dimensions(q) is not None

    @tf.function(reduce_retracing=True, autograph=False)
    def log_mixtures(part: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        again, pairs = vae.encode(x), part[:, tf.newaxis]
        joint = tf.reduce_logsumexp(again.log_prob(pairs), axis=1) - math.log(n)
        each = latents.dimensions(again)
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


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of `values` [N]; NaN for a single value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def is_deterministic(vae: VAE) -> bool:
    """Whether the posterior is a point without a density: the model is a plain autoencoder."""
    condition = None if vae.condition is None else vae.condition.zeros(1)
    q = vae.encode(np.zeros((1, *vae.decoder.event_shape), "float32"), condition)
    inner = q.distribution if isinstance(q, tfd.Independent) else q
    return isinstance(inner, (tfd.Deterministic, tfd.VectorDeterministic))


def is_flat(vae: VAE) -> bool:
    """Whether `encode` gives q(z|x) of all latents and `decode` takes them: the model is no hierarchy."""
    own = type(vae)
    return vae.num_levels == 1 and (own.infer is VAE.infer or own.complete is not VAE.complete)


def refuse_deterministic(vae: VAE, what: str) -> None:
    """Refuse a plain autoencoder where densities are needed.

    Raises:
        ValueError: with the reason.
    """
    if is_deterministic(vae):
        raise ValueError(
            f"{what} needs a posterior with a density, but that of this model, {type(vae.encoder.posterior).__name__}, "
            "is a single point: an autoencoder has no log p(x). Train with a stochastic posterior such as "
            "posteriors.MultivariateNormalDiag."
        )


def refuse_conditional(vae: VAE, what: str) -> None:
    """Refuse a conditional model where a condition would say what is to be found out.

    Raises:
        ValueError: with the reason.
    """
    if vae.condition is not None:
        raise ValueError(f"{what} is for models without a condition, and this one is conditioned on {vae.condition}.")


def _point(vae: VAE, q: tfd.Distribution, num_groups: int) -> tf.Tensor:
    return vae.encoder.posterior.point(q) if num_groups == 1 else q.mean()


def _averaged(values: tf.Tensor) -> tf.Tensor:
    """[B, L], the mean over the draws of levels above, of which the lower levels of a hierarchy depend."""
    return tf.reduce_mean(values, axis=0) if values.shape.rank == 3 else values


def _variance(q: tfd.Distribution) -> tf.Tensor | None:
    try:
        return q.variance()
    except NotImplementedError:  # TFP has no formula
        return None


def _batchwise(function: Any) -> Any:
    """A compiled function of a batch of data that gives numpy arrays."""
    compiled = tf.function(function, reduce_retracing=True, autograph=False)

    def run(x: np.ndarray, *rest: Any) -> Any:
        rest = tuple(None if value is None else tf.convert_to_tensor(value) for value in rest)
        return tf.nest.map_structure(np.asarray, compiled(tf.constant(x, tf.float32), *rest))

    return run
