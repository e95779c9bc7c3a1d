"""What each side of the game pays, how much the game weighs in the decoder, and which side waits for the other.

Logits are positive for what is taken for data. Costs are per example; of a patch discriminator they are means over the
patches.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_vae.training import replicas

# What a side pays that knows nothing: log 2 of the cross-entropy, as the code of Larsen et al. rounds it, and 1 of the
# hinge loss.
EQUILIBRIUM = {"cross_entropy": 0.68, "hinge": 1.0}
# Of the adaptive weight, in the code of Esser et al.; theirs is of losses that are means over the values of an image.
TINY, MOST = 1e-4, 1e4
# A discriminator that pays less than this part of the equilibrium for data and for what is made has won.
WON = 0.05


class Costs(NamedTuple):
    """Means over the batch, over all replicas: what the discriminator pays for data, and for what the decoder makes."""

    real: tf.Tensor
    made: tf.Tensor


def per_example(logits: tf.Tensor) -> tf.Tensor:
    """Mean over all axes but the first, [B]."""
    return tf.reduce_mean(logits, axis=list(range(1, logits.shape.rank)))


def cost_of_real(kind: str, logits: tf.Tensor) -> tf.Tensor:
    """-log D(x), with D = sigmoid of the logit d; or max(0, 1 - d). [B]."""
    return per_example(tf.nn.softplus(-logits) if kind == "cross_entropy" else tf.nn.relu(1.0 - logits))


def cost_of_made(kind: str, logits: tf.Tensor) -> tf.Tensor:
    """-log(1 - D(x)), or max(0, 1 + d). [B]."""
    return per_example(tf.nn.softplus(logits) if kind == "cross_entropy" else tf.nn.relu(1.0 + logits))


def cost_of_maker(kind: str, logits: tf.Tensor) -> tf.Tensor:
    """What the decoder pays for what it makes: -log D(x), which does not fade where D is sure; or -d. [B]."""
    return per_example(tf.nn.softplus(-logits) if kind == "cross_entropy" else -logits)


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """|a - b|^2 / 2 for each example: -log N(a | b, I) without its constant, in nats.

    Args:
        a: [B, ...].
        b: [K B, ...], K of them for each a.

    Returns:
        [K B].
    """
    times = tf.math.floordiv(tf.shape(b)[0], tf.maximum(tf.shape(a)[0], 1))
    difference = tf.tile(a, [times, *[1] * (a.shape.rank - 1)]) - b
    return 0.5 * tf.reduce_sum(tf.square(difference), axis=list(range(1, difference.shape.rank)))


def adaptive_weight(reconstruction: tf.Tensor, adversarial: tf.Tensor, num_values: int) -> tf.Tensor:
    """|g_r| / (|g_a| + 0.0001), at most 10^4 D: the ratio at which both terms pull alike at the decoder's last layer.

    Esser et al. 2021, "Taming transformers for high-resolution image synthesis", equation 7.

    Args:
        reconstruction: gradient g_r of the reconstruction term in the kernel of the last layer, over all replicas.
        adversarial: g_a, of the adversarial term.
        num_values: D, of one example: here losses are sums over the values, there means.
    """
    return tf.minimum(tf.norm(reconstruction) / (tf.norm(adversarial) + TINY), MOST * num_values)


def who_learns(costs: Costs, equilibrium: float, margin: float | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Whether the decoder learns, and whether the discriminator does, [], []: the side that is ahead waits.

    The discriminator waits where it pays less than equilibrium - margin for one of the two, the decoder where the
    discriminator pays more than equilibrium + margin; if both should wait, both learn. So does the code of Larsen et
    al. 2016, with 0.68 and 0.35.
    """
    if margin is None:
        return tf.constant(True), tf.constant(True)
    low, high = equilibrium - margin, equilibrium + margin
    discriminator = ~((costs.real < low) | (costs.made < low))
    decoder = ~((costs.real > high) | (costs.made > high))
    neither = ~(decoder | discriminator)
    return decoder | neither, discriminator | neither


def has_won(costs: Costs, equilibrium: float) -> tf.Tensor:
    """Whether the discriminator is so sure of both that the decoder learns little from it."""
    return tf.maximum(costs.real, costs.made) < WON * equilibrium


def over_replicas(mean: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The mean over all replicas of a mean over the `count` examples of this one."""
    share = replicas.share_of_mean(mean, count)
    replica = tf.distribute.get_replica_context()
    return share if replica.num_replicas_in_sync == 1 else replica.all_reduce("SUM", share)


def told(logits: tf.Tensor, real: bool) -> tf.Tensor:
    """Whether the discriminator is right, 0 or 1 for each example, by the mean of its patches, [B]."""
    found = per_example(logits)
    return tf.cast(found > 0 if real else found <= 0, tf.float32)
