"""The record that a model hands to its objective: p(x|z), and q(z|x) against p(z) for each group of latents."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.gaussian import marginals
from keras_vae.distributions.joint import leaves


@dataclasses.dataclass(frozen=True)
class LatentGroup:
    """One group of latents: K draws from the posterior q(z|x) and what the objectives need to know of them.

    Attributes:
        q: posterior, batch [B], event [L].
        p: prior, event [L].
        z: draws from q, [K, B, L].
        log_q: log q(z|x), [K, B], in nats.
        log_p: log p(z), [K, B], in nats.
        kl: KL(q || p), [B], in nats.
        kl_is_exact: True for a closed form; False for the mean of log q - log p over the K draws.
        kl_per_dim: [B, L] where q and p both factorise over the L dimensions, else None.
    """

    q: tfd.Distribution
    p: tfd.Distribution
    z: tf.Tensor
    log_q: tf.Tensor
    log_p: tf.Tensor
    kl: tf.Tensor
    kl_is_exact: bool
    kl_per_dim: tf.Tensor | None


@dataclasses.dataclass(frozen=True)
class Terms:
    """Everything an objective may combine. A plain VAE has one latent group, a hierarchical one several.

    Attributes:
        log_likelihood: log p(x|z), [K, B], summed over the event, in nats.
        groups: the latent groups.
        likelihood: the distribution p(x|z), batch [K, B].
        sample_weight: [B], or None for equal weights.
        pathwise: [K, B], or None unless the objective needs it; see `pathwise`.
        fixed_log_weights: [K, B], the `log_weights` that go with `pathwise`.
        extras: numbers [B, ...] of the posterior's own, by name, such as the commitment of a quantised one.
        target: what p(x|z) is of, [B, *event_shape]; None if nobody has said.
        is_stand_in: bool, whether the batch has no examples, and an invented one stands in its place; None for no.
        few: the terms at M of the K draws, chosen by their weights, which alone bring gradients; None for all. See
            `few_of_many`.
        shares: [M, B], the normalised weights of these among all K.
    """

    log_likelihood: tf.Tensor
    groups: list[LatentGroup]
    likelihood: tfd.Distribution
    sample_weight: tf.Tensor | None = None
    pathwise: tf.Tensor | None = None
    fixed_log_weights: tf.Tensor | None = None
    extras: Mapping[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    is_stand_in: tf.Tensor | None = None
    target: tf.Tensor | None = None
    few: "Terms | None" = None
    shares: tf.Tensor | None = None

    @property
    def kl(self) -> tf.Tensor:
        """KL(q(z|x) || p(z)) summed over the groups, [B]."""
        return tf.add_n([group.kl for group in self.groups])

    @property
    def elbo(self) -> tf.Tensor:
        """E_q[log p(x|z)] - KL(q(z|x) || p(z)), [B], the expectation as a mean over the K draws."""
        return tf.reduce_mean(self.log_likelihood, axis=0) - self.kl

    @property
    def log_weights(self) -> tf.Tensor:
        """log p(x|z) + log p(z) - log q(z|x), [K, B]: the importance weights of log p(x).

        Beside `pathwise` they give gradients to decoder and prior only.
        """
        if self.fixed_log_weights is not None:
            return self.fixed_log_weights
        return self.log_likelihood + tf.add_n([group.log_p - group.log_q for group in self.groups])

    @property
    def total_weight(self) -> tf.Tensor:
        """The sum of `sample_weight`, or the number of examples."""
        if self.sample_weight is None:
            total = tf.cast(tf.shape(self.kl)[0], tf.float32)
        else:
            total = tf.reduce_sum(self.sample_weight)
        return total if self.is_stand_in is None else tf.where(self.is_stand_in, 0.0, total)

    def mean(self, per_example: tf.Tensor) -> tf.Tensor:
        """Mean over the batch, the first axis, weighted by `sample_weight`: sum(w v) / sum(w)."""
        if self.sample_weight is None:
            return tf.reduce_mean(per_example, axis=0)
        total = tf.tensordot(self.sample_weight, per_example, axes=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(self.sample_weight))


def drawn(q: tfd.Distribution, num_samples: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws of q in one pass with their log-densities: z [K, B, L], log q(z) [K, B]."""
    z, log_q = q.experimental_sample_and_log_prob(num_samples, seed=seed)
    if z.shape.rank is None or z.shape[-1] is None:  # some of TFP's distributions lose it inside a graph
        z = tf.ensure_shape(z, [None, None, *q.event_shape])
    return z, log_q


def latent_group(
    q: tfd.Distribution,
    p: tfd.Distribution,
    z: tf.Tensor,
    log_q: tf.Tensor | None = None,
    has_density: bool = True,
) -> LatentGroup:
    """The group for draws `z` [K, B, L] of `q`, with KL(q || p) in closed form wherever there is one.

    Without a density, where log q(z|x) does not exist, `log_q` is NaN and `kl` zero. Where q and p depend on the draws
    of levels above, with a batch of [K, B], the KL is the mean over the K.
    """
    if has_density and hasattr(q, "chain") and hasattr(p, "log_prob_of"):
        return _group_of_codes(q, p, z)
    log_p = p.log_prob(z)
    if not has_density:
        # TFP's "KL" for a point mass is -log p(z), and its log q is log 1.
        return LatentGroup(q, p, z, log_p * math.nan, log_p, tf.zeros_like(log_p[0]), False, None)
    log_q = q.log_prob(z) if log_q is None else log_q
    kl_per_dim = _kl_per_dim(q, p)
    if kl_per_dim is not None:
        kl, exact = tf.reduce_sum(kl_per_dim, axis=-1), True
    else:
        kl, exact = _kl(q, p, log_q - log_p)
    if q.batch_shape.rank == 2:
        kl = tf.reduce_mean(kl, axis=0) if exact else kl
        kl_per_dim = None if kl_per_dim is None else tf.reduce_mean(kl_per_dim, axis=0)
    return LatentGroup(q, p, z, log_q, log_p, kl, exact, kl_per_dim)


def _group_of_codes(q: tfd.Distribution, p: tfd.Distribution, z: tf.Tensor) -> LatentGroup:
    """The group of codes that are certain, and of the prior over their indices, which z need not tell."""
    log_prob = p.log_prob_of(q.chain)
    log_p = tf.broadcast_to(log_prob, tf.shape(z)[:-1])
    return LatentGroup(q, p, z, tf.zeros_like(log_p), log_p, -log_prob, True, None)


def latent_groups(
    q: tfd.Distribution,
    p: tfd.Distribution,
    z: tf.Tensor,
    log_q: tf.Tensor | None = None,
    densities: Sequence[bool] = (True,),
) -> list[LatentGroup]:
    """The group for draws `z` of `q`; of independent blocks on both sides, one group for each.

    Args:
        q: posterior; of several blocks, their `distributions.joint.Joint`.
        p: prior, likewise.
        z: draws, [K, B, L].
        log_q: log q(z|x) of one block, if it is known already.
        densities: whether each block of q has one.
    """
    if len(densities) == 1:
        return [latent_group(q, p, z, log_q, densities[0])]
    parts = leaves(q)
    each = tf.split(z, [int(part.event_shape[0]) for part in parts], axis=-1)
    blocks = zip(parts, leaves(p), each, densities, strict=True)
    return [latent_group(q_b, p_b, z_b, has_density=has_density) for q_b, p_b, z_b, has_density in blocks]


def pathwise(terms_at: Callable[[tf.Tensor], Terms], z: tf.Tensor) -> Terms:
    """The terms at draws `z` [K, B, L], with the two ways of the gradient of their log-weights taken apart.

    `Terms.log_weights` of the result, log p(x|z) + log p(z) - log q(z|x), give gradients to decoder and prior only.
    What the encoder receives through z, with the parameters of q held fixed, is the gradient of `Terms.pathwise`, which
    is zero in value: (d log w / dz) (z - stop_gradient(z)). An objective may so weigh the two differently. All other
    terms, those of the groups and `log_likelihood`, have the whole gradient that they have in any model, so that a
    penalty made of them reaches the encoder.

    Args:
        terms_at: the terms as a function of z, with log q(z|x) evaluated at that z.
        z: reparameterised draws.
    """
    leaf = tf.stop_gradient(z)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(leaf)
        terms = terms_at(leaf)

    def path(values: tf.Tensor) -> tf.Tensor:
        """Zero, with the gradient that values [K, B] at the leaf would have through z."""
        slope = tape.gradient(values, leaf, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.reduce_sum(tf.stop_gradient(slope) * (z - leaf), axis=-1)

    of_likelihood, ratios, of_ratios, groups = path(terms.log_likelihood), [], [], []
    for group, block in zip(terms.groups, tf.split(z, [g.z.shape[-1] for g in terms.groups], axis=-1), strict=True):
        of_q, of_p = path(group.log_q), path(group.log_p)
        ratios.append(group.log_p - tf.stop_gradient(group.log_q))
        of_ratios.append(of_p - of_q)
        kl = group.kl if group.kl_is_exact else group.kl - tf.reduce_mean(of_ratios[-1], axis=0)
        groups.append(dataclasses.replace(group, z=block, log_q=group.log_q + of_q, log_p=group.log_p + of_p, kl=kl))
    return dataclasses.replace(
        terms,
        log_likelihood=terms.log_likelihood + of_likelihood,
        groups=groups,
        pathwise=of_likelihood + tf.add_n(of_ratios),
        fixed_log_weights=terms.log_likelihood + tf.add_n(ratios),
    )


def pathwise_of_levels(terms: Terms, terms_at: Callable[[list[tf.Tensor]], Terms]) -> Terms:
    """As `pathwise`, of the levels of a hierarchy: log q(z|x) is the sum over them, and so is what comes through z.

    A draw of a level moves p and q of those below it. Those ways are in d log w / dz, of all z together, and in dz; the
    weights of the network that p and q share receive what each of both gives: as part of the decoder that of
    `log_weights`, as part of q that of `pathwise`.

    Args:
        terms: at the draws, as they are.
        terms_at: the terms at given z of the groups, from the top down, each [K, B, L].
    """
    z = [group.z for group in terms.groups]
    leaves = [tf.stop_gradient(each) for each in z]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(leaves)
        found = terms_at(leaves)
        log_weights = found.log_weights
    slopes = tape.gradient(log_weights, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    moved = [
        tf.reduce_sum(tf.stop_gradient(slope) * (each - leaf), axis=-1)
        for slope, each, leaf in zip(slopes, z, leaves, strict=True)
    ]
    ratios = [group.log_p - tf.stop_gradient(group.log_q) for group in found.groups]
    fixed = found.log_likelihood + tf.add_n(ratios)
    return dataclasses.replace(terms, pathwise=tf.add_n(moved), fixed_log_weights=fixed)


def few_of_many(terms: Terms, num_samples: int, seed: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """M of K draws, chosen with probabilities v_k = w_k / sum_j w_j: z of each group, [M, B, L], and v [M, B].

    The mean over the M of any f_k has the expectation sum_k v_k f_k, so that backward passes through M draws give an
    unbiased estimate of the gradient of the bound of all K: Burda et al. 2016, section 3. Systematic resampling,
    Kitagawa 1996: one uniform number for each example, moved in steps of 1 / M, chooses draw k at least
    floor(M v_k) times. The z depend on the parameters of q as before.

    Args:
        terms: at all K draws.
        num_samples: M.
        seed: of the choice.
    """
    v = tf.stop_gradient(tf.nn.softmax(terms.log_weights, axis=0))
    steps = tf.range(num_samples, dtype=tf.float32)[:, tf.newaxis]
    places = (steps + tf.random.stateless_uniform(tf.shape(v)[1:], seed)) / num_samples
    passed = tf.cumsum(v)[tf.newaxis] <= places[:, tf.newaxis]
    # The last sum may be a little less than 1.
    chosen = tf.minimum(tf.reduce_sum(tf.cast(passed, tf.int32), axis=1), tf.shape(v)[0] - 1)
    columns = tf.broadcast_to(tf.range(tf.shape(v)[1]), tf.shape(chosen))
    where = tf.stack([chosen, columns], axis=-1)
    return [tf.gather_nd(group.z, where) for group in terms.groups], tf.gather_nd(v, where)


def _kl(q: tfd.Distribution, p: tfd.Distribution, log_ratio: tf.Tensor) -> tuple[tf.Tensor, bool]:
    try:
        return tfd.kl_divergence(q, p), True
    except NotImplementedError:  # TFP has no formula
        return tf.reduce_mean(log_ratio, axis=0), False


def _kl_per_dim(q: tfd.Distribution, p: tfd.Distribution) -> tf.Tensor | None:
    q_marginals, p_marginals = marginals(q), marginals(p)
    if q_marginals is None or p_marginals is None:
        return None
    try:
        return tfd.kl_divergence(q_marginals, p_marginals)
    except NotImplementedError:  # TFP has no formula
        return None
