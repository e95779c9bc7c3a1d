"""What the encoder makes of a data set: codes, rate and distortion, active units.

Works on anything that `keras.Model.fit` takes as `x`: arrays, (x, y) tuples, `tf.data.Dataset`, other iterables of
batches, with or without labels.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions import handed
from keras_vae.data.batches import is_array, is_endless, unpack, whole_batches
from keras_vae.models import inputs
from keras_vae.models.vae import VAE
from keras_vae.posteriors.points import centre
from keras_vae.terms import LatentGroup, drawn

BATCH, MOST = 256, 4096
# A latent dimension is active if the variance of its posterior mean over the data exceeds this (Burda et al. 2016).
ACTIVE = 0.01
# What `measure` gives of a discrete code, by the dimension at which it begins.
CODE = "code_"
# Draws whose largest, one in so many, tell how fast a tail falls.
TAIL_DRAWS, TAIL_SHARE = 20_000, 100


def labelled_batches(data: Any, batch_size: int = BATCH) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(examples [B, ...], labels or conditions [B, ...] or None) for all of the data.

    Of batches {"image": x, "condition": c} the second are the conditions.

    Raises:
        ValueError: for data that never end.
    """
    if is_endless(data):
        raise ValueError("The data never end: give a finite dataset, for example data.take(100).")
    for batch in whole_batches(data, batch_size):
        x, y, _ = unpack(batch, conditional=True)
        x, y = np.asarray(x), None if y is None else np.asarray(y)
        # A whole data set may come as one batch.
        for start in range(0, max(1, len(x)), MOST):
            yield x[start : start + MOST], None if y is None else y[start : start + MOST]


def checked_batches(vae: VAE, data: Any) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """`labelled_batches` as float32, after the look that `fit` takes: at arrays before the first, else at each.

    Raises:
        ValueError: for data that never end, of another shape, or outside the likelihood's support.
    """
    handed.check_names_of(vae.condition, data)
    holds_all = is_array(data) or isinstance(data, (tuple, list, Mapping))
    if holds_all:
        inputs.examples(vae, unpack(tuple(data) if isinstance(data, list) else data, conditional=True)[0])
    for number, (x, y) in enumerate(labelled_batches(data)):
        try:
            yield x.astype("float32") if holds_all or not len(x) else inputs.examples(vae, x), y
        except ValueError as error:
            raise ValueError(f"Batch {number} of the data: {error}") from None


def given(vae: VAE, labels: np.ndarray | None, data: Any = None) -> np.ndarray | None:
    """What stands beside the examples of `labelled_batches`, if the model is conditioned on it; else None.

    Raises:
        ValueError: if the labels of `data`, where they come from, stand for other classes than the model's.
    """
    handed.check_names_of(vae.condition, data)
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
    """The point (the mean) of q(z|x) for each example, [N, L], and the labels [N], or None if the data have none.

    Of a hierarchy these are the points of its top level.
    """

    def point(x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        return vae.encoder.posterior.point(vae.encode(x, condition))

    # Once for a model: of several pictures each would trace it, which TensorFlow complains of.
    encode = _batchwise(vae.compiled_methods.get(vae, "points", point))
    codes, labels = [], []
    for x, y in checked_batches(vae, data):
        codes.append(encode(x, given(vae, y)))
        labels.append(y)
    if not sum(map(len, codes)):
        raise ValueError("There are no data to encode.")
    have_labels = all(label is not None for label in labels)
    return np.concatenate(codes), np.concatenate(labels) if have_labels else None  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class CodeStatistics:
    """How the data use a discrete code: a one-hot, or a grid of entries of a codebook.

    Attributes:
        depth: where several indices make a vector, which of them, from 1; 0 where there is one.
        first: dimension of the latents at which it begins.
        size: number of dimensions.
        shares: q(d), the share of each of the S classes over the data and the places of the grid, [S].
        information: I(x; d) = H(q(d)) - E_x H(q(d|x)), in nats; of a grid, that of a place.
        num_draws: number of examples times places.
    """

    first: int
    size: int
    shares: np.ndarray
    information: float
    num_draws: int
    depth: int = 0

    @property
    def num_classes(self) -> int:
        """S."""
        return len(self.shares)

    @property
    def perplexity(self) -> float:
        """exp H(q(d)): 1 if one class is used, S if all are used alike."""
        return math.exp(entropy(self.shares))


def entropy(probabilities: np.ndarray) -> float:
    """H = -sum_k p_k log p_k in nats, of p [S]."""
    used = probabilities[probabilities > 0]
    return float(-np.sum(used * np.log(used)))


@dataclasses.dataclass(frozen=True)
class LatentStatistics:
    """One pass over a data set with one draw from q(z|x) for each example, in nats per example.

    Attributes:
        num_examples: N.
        elbo: -(rate + distortion).
        rate: mean KL(q(z|x) || p(z)).
        distortion: mean -log p(x|z).
        standard_error: of `elbo`, over the examples.
        kl_is_exact: whether every KL has a closed form; otherwise it is the mean of log q - log p over the draws.
        kl_per_dim: mean KL of each latent dimension, [L], or None where q or p does not factorise.
        variance_of_means: variance over the data of the posterior's point, [L]. Where the prior is given something, a
            condition or the levels above, the point moves with that too: there it is the variance of (mean of q - mean
            of p) / standard deviation of p, which is zero where q = p.
        mean_variance: mean over the data of the posterior's variance, [L], in the same units, or None where TFP has
            none.
        num_nonfinite: number of examples whose ELBO is not finite.
        points: posterior points, [N, L].
        levels: level of each dimension, int [L]: 1 at the top, and everywhere in a model that is no hierarchy.
        rates: mean KL of each level, from the top down; their sum is `rate`.
        codes: the discrete codes among the latents.
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
    levels: np.ndarray
    rates: np.ndarray
    codes: tuple[CodeStatistics, ...] = ()

    @property
    def active(self) -> np.ndarray:
        """Which latent dimensions are active, [L]: Var_x(E[z|x]) > 0.01 (Burda et al. 2016, section 5.2).

        In a hierarchy, and under a prior that is given a condition, of what q moves beyond p: see `variance_of_means`.
        """
        return self.variance_of_means > ACTIVE


Measure = Callable[[np.ndarray, tf.Tensor | None, tf.Tensor], dict[str, np.ndarray]]


def measure(vae: VAE, seed: int = 0) -> Measure:
    """The compiled function of a batch and its index that `latent_statistics` is made of, for repeated use."""
    stochastic = not is_deterministic(vae)

    def run(x: tf.Tensor, condition: tf.Tensor | None, index: tf.Tensor) -> dict[str, tf.Tensor]:
        terms = vae.infer(x, seed=seeds.fold_in(seed, index) if stochastic else None, condition=condition)
        values = {"distortion": -tf.reduce_mean(terms.log_likelihood, axis=0), "kl": terms.kl}
        kls = [group.kl_per_dim for group in terms.groups]
        if all(kl is not None for kl in kls):
            values["kl_per_dim"] = tf.concat(kls, axis=-1)
        points = [_point(vae, group.q, len(terms.groups)) for group in terms.groups]
        values["points"] = tf.concat([_averaged(point) for point in points], axis=-1)
        moved, spread = zip(*(_beyond_prior(*pair) for pair in zip(terms.groups, points, strict=True)), strict=True)
        values["moved"] = tf.concat([_averaged(m) for m in moved], axis=-1)
        if all(variance is not None for variance in spread):
            values["variance"] = tf.concat([_averaged(variance) for variance in spread], axis=-1)
        # Each group below the top is a level of its own; those of the top are the blocks of its z.
        levels = list(itertools.accumulate((_is_below(group) for group in terms.groups), initial=1))[1:]
        repeated = np.repeat(levels, [point.shape[-1] for point in points])
        values["level"] = tf.constant(repeated[np.newaxis])
        values["rates"] = tf.stack(
            [
                tf.add_n([g.kl for g, at in zip(terms.groups, levels, strict=True) if at == level])
                for level in set(levels)
            ],
            axis=-1,
        )
        values |= _codes(terms.groups, points)
        exact = all(group.kl_is_exact for group in terms.groups)
        return {**values, "exact": tf.fill(tf.shape(terms.kl), float(exact))}

    return _batchwise(tf.function(run, reduce_retracing=True, autograph=False))


def latent_statistics(vae: VAE, data: Any, seed: int = 0, run: Measure | None = None) -> LatentStatistics:
    """Rate, distortion, KL per dimension and active units, in one pass.

    Of a model with several groups of latents, `kl_per_dim` and the points are those of all groups side by side, the
    levels of a hierarchy from the top down.

    Args:
        vae: the model.
        data: a finite data set.
        seed: of the draws, one for each example.
        run: what `measure` gave for this model and seed, if it is there already.
    """
    run = run or measure(vae, seed)
    parts: list[dict[str, np.ndarray]] = []
    for index, (x, y) in enumerate(checked_batches(vae, data)):
        if len(x):
            parts.append(run(x, handed.given(vae.condition, given(vae, y), len(x)), tf.constant(index)))
    if not parts:
        raise ValueError("There are no data to evaluate: the first batch is empty.")
    values = {name: np.concatenate([part[name] for part in parts]).astype("float64") for name in parts[0]}
    elbo = -values["distortion"] - values["kl"]
    return LatentStatistics(
        num_examples=len(elbo),
        elbo=float(elbo.mean()),
        rate=float(values["kl"].mean()),
        distortion=float(values["distortion"].mean()),
        standard_error=standard_error(elbo),
        kl_is_exact=bool(values["exact"].all()),
        kl_per_dim=values["kl_per_dim"].mean(axis=0) if "kl_per_dim" in values else None,
        variance_of_means=values["moved"].var(axis=0),
        mean_variance=values["variance"].mean(axis=0) if "variance" in values else None,
        num_nonfinite=int((~np.isfinite(elbo)).sum()),
        points=values["points"],
        levels=values["level"][0].astype(int),
        rates=values["rates"].mean(axis=0),
        codes=tuple(_code_statistics(rows, len(elbo)) for name, rows in values.items() if name.startswith(CODE)),
    )


def tail_of_log_ratio(vae: VAE, x: np.ndarray, condition: np.ndarray | None = None, seed: int = 0) -> float | None:
    """Hill's estimate of the tail index k of log q(z) - log p(z), z ~ q(z|x), whose mean is a sampled KL.

    Its probability of exceeding t falls like t^(-1 / k): for k >= 1 there is no mean, and KL(q || p) is infinite,
    whatever a mean over draws says; for k >= 1/2 there is no variance. Tails that fall faster give a small k. Of the
    top level of a hierarchy.

    Args:
        vae: the model.
        x: a few examples, [B, *event_shape], whose ratios are pooled, each less its median and by its spread.
        condition: theirs, of a conditional model.
        seed: of the draws.

    Returns:
        k; None where all KLs have a closed form, or q is certain or has no density.
    """
    if is_deterministic(vae) or any(vae.certainties) or not vae.encodes_all or vae.kl_is_exact:
        return None
    q = vae.encode(x, condition)
    c = handed.condition_for(vae.prior, handed.given(vae.condition, condition, len(x)))
    p = vae.prior.distribution(encoder=vae.encoder, condition=c)
    z, log_q = drawn(q, TAIL_DRAWS // len(x), seeds.as_pair(seed))
    ratio = np.asarray(log_q - p.log_prob(z), "float64")
    quarter, median, three = np.quantile(ratio, [0.25, 0.5, 0.75], axis=0)
    pooled = np.sort(((ratio - median) / np.maximum(three - quarter, 1e-9)).ravel())
    top = len(pooled) // TAIL_SHARE
    return float(np.mean(np.log(pooled[-top:] / pooled[-top - 1])))


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of `values` [N]; NaN for a single value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def is_deterministic(vae: VAE) -> bool:
    """Whether the posterior is a point without a density: the model is a plain autoencoder."""
    return not vae.encoder.posterior.has_density


def is_flat(vae: VAE) -> bool:
    """Whether `encode` gives q(z|x) of all latents and `decode` takes them: the model is no hierarchy."""
    return vae.num_levels == 1 and vae.encodes_all


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
    return vae.encoder.posterior.point(q) if num_groups == 1 else centre(q)


def _codes(groups: Sequence[LatentGroup], points: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """For each discrete code a row [1, 5 + S]: where it begins, its size, places and depth, and sums over the batch."""
    rows, first = {}, 0
    for group, point in zip(groups, points, strict=True):
        size = int(point.shape[-1])
        if hasattr(group.q, "class_probabilities"):
            shares, uncertainty = group.q.class_probabilities, tf.reduce_sum(group.q.entropy())
            has_depth = len(shares.shape) == len(group.q.batch_shape) + 2
            for depth, each in enumerate(tf.unstack(shares, axis=-2), 1) if has_depth else [(0, _averaged(shares))]:
                place = [first, size, group.q.num_places, depth, uncertainty]
                sums = tf.concat([place, tf.reduce_sum(each, axis=0)], axis=0)
                rows[f"{CODE}{first}/{depth}"] = sums[tf.newaxis]
        first += size
    return rows


def _code_statistics(rows: np.ndarray, num_examples: int) -> CodeStatistics:
    """Of the rows of all batches, [batches, 5 + S]."""
    first, size, places, depth = rows[0, :4].astype(int)
    uncertainty, shares = rows[:, 4].sum() / num_examples, rows[:, 5:].sum(axis=0) / num_examples
    information = entropy(shares) - float(uncertainty)
    return CodeStatistics(int(first), int(size), shares, information, num_examples * int(places), int(depth))


def _is_below(group: LatentGroup) -> bool:
    """Whether a group is of a level below the top, whose posterior depends on the draws of those above."""
    return group.q.batch_shape.rank == 2


def _beyond_prior(group: LatentGroup, point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
    """What the data move the point by, and the variance of q, both in standard deviations of a prior that moves too."""
    variance = _variance(group.q)
    if not group.p.batch_shape.rank:
        return point, variance
    try:
        mean, deviation = group.p.mean(), group.p.stddev()
    except NotImplementedError:  # TFP has no formula
        return point, variance
    return (point - mean) / deviation, None if variance is None else variance / tf.square(deviation)


def _averaged(values: tf.Tensor) -> tf.Tensor:
    """[B, L], the mean over the draws of levels above, of which the lower levels of a hierarchy depend."""
    return tf.reduce_mean(values, axis=0) if values.shape.rank == 3 else values


def _variance(q: tfd.Distribution) -> tf.Tensor | None:
    try:
        return q.variance()
    except NotImplementedError:  # TFP has no formula
        return None


def _batchwise(compiled: Any) -> Any:
    """A compiled function of a batch of data, so that it gives numpy arrays."""

    def run(x: np.ndarray, *rest: Any) -> Any:
        rest = tuple(None if value is None else tf.convert_to_tensor(value) for value in rest)
        return tf.nest.map_structure(np.asarray, compiled(tf.constant(x, tf.float32), *rest))

    return run
