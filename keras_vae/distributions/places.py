"""Distributions over the places of a map as one over a vector."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class Flat(tfd.Distribution):
    """A distribution of vectors [L], made of one whose batch holds the places of maps, or whose events are maps.

    L numbers in a row are those of one map: log q(z) is the sum over its places. KL(q || p) to a diagonal Gaussian has
    a closed form where it has one at the places.

    Args:
        distribution: batch [M] and event [C], M = B L / C, or event [H, W, C] of L numbers in all.
        size: L.
        point: of the distribution, its deterministic z.
        batch: the shape of the batch, a tensor or a list; [B] unless given.
    """

    def __init__(
        self,
        distribution: tfd.Distribution,
        size: int,
        point: Callable[[tfd.Distribution], tf.Tensor],
        batch: Any = None,
    ) -> None:
        self.distribution, self.size, self._point = distribution, size, point
        self.batch = tf.convert_to_tensor([-1] if batch is None else batch, tf.int32)
        super().__init__(
            dtype=distribution.dtype,
            reparameterization_type=distribution.reparameterization_type,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"distribution": distribution},
        )

    def in_batch(self, batch: Any) -> "Flat":
        """The same in a batch of another shape."""
        return Flat(self.distribution, self.size, self._point, batch)

    def point_and_log_prob(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The point, [*batch, L], and its log-density: of a flow without its inverse."""
        point = self._point(self.distribution)
        # At the very tensor that a flow gave.
        return self._rows(point), self._sums(self.distribution.log_prob(point))

    def drawn(self, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One draw for each of the batch, [*batch, L], and its log-density: of a flow without its inverse."""
        z, log_prob = self.distribution.experimental_sample_and_log_prob(seed=seed)
        return self._rows(z), self._sums(log_prob)

    @property
    def point(self) -> tf.Tensor:
        """The point of the distribution, [*batch, L]."""
        return self._rows(self._point(self.distribution))

    def places_of(self, values: tf.Tensor) -> tf.Tensor:
        """Values [*batch, L] in the shape of the draws of the distribution, [M, C] or [B, H, W, C]."""
        return tf.reshape(values, [-1, *self.distribution.event_shape])

    def of_places(self, values: tf.Tensor) -> tf.Tensor:
        """Sums over the places of each map of values at them, [*batch]."""
        return self._sums(values)

    def _rows(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, tf.concat([self.batch, [self.size]], axis=0))

    def _sums(self, values: tf.Tensor) -> tf.Tensor:
        places = self.size // self.distribution.event_shape.num_elements()
        return tf.reduce_sum(tf.reshape(values, tf.concat([self.batch, [places]], axis=0)), axis=-1)

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([None] * self.batch.shape[0])

    def _batch_shape_tensor(self) -> tf.Tensor:
        return tf.shape(self.point)[:-1]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.size])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self.size], tf.int32)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self._sums(self.distribution.log_prob(self.places_of(z)))

    def _mean(self) -> tf.Tensor:
        return self._rows(self.distribution.mean())

    def _variance(self) -> tf.Tensor:
        return self._rows(self.distribution.variance())


@tfd.RegisterKL(Flat, tfd.MultivariateNormalDiag)
def _kl(q: Flat, p: tfd.MultivariateNormalDiag, name: str | None = None) -> tf.Tensor:
    if q.distribution.event_shape.rank != 1:
        raise NotImplementedError("There is no formula for a distribution over maps.")
    deviation = q.places_of(p.stddev())
    return q.of_places(tfd.kl_divergence(q.distribution, tfd.MultivariateNormalDiag(q.places_of(p.mean()), deviation)))


def flat(q: tfd.Distribution, size: int, point: Callable[[tfd.Distribution], tf.Tensor]) -> tfd.Distribution:
    """Distributions at places, or of maps, as one of vectors [size]: diagonal Gaussians as what they are."""
    if isinstance(q, tfd.MultivariateNormalDiag):
        return tfd.MultivariateNormalDiag(tf.reshape(q.loc, [-1, size]), tf.reshape(q.scale.diag_part(), [-1, size]))
    return Flat(q, size, point)


def drawn(q: tfd.Distribution, seed: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """One z for each of the batch of what `flat` gave, and its log-density if it is known with it.

    Args:
        q: batch [N], event [L].
        seed: of the draws; None for the points.
    """
    if isinstance(q, Flat):
        return q.point_and_log_prob() if seed is None else q.drawn(seed)
    return (q.mean() if seed is None else q.sample(seed=seed)), None


def in_batch(q: tfd.Distribution, batch: tf.Tensor) -> tfd.Distribution:
    """What `flat` gave, in a batch of another shape."""
    if isinstance(q, Flat):
        return q.in_batch(batch)
    loc, scale = q.mean(), q.stddev()
    shape = tf.concat([batch, [loc.shape[-1]]], axis=0)
    return tfd.MultivariateNormalDiag(tf.reshape(loc, shape), tf.reshape(scale, shape))
