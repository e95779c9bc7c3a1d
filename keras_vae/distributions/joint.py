"""Several independent blocks in one z: side by side, or at the places of a map."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class Joint(tfd.Distribution):
    """Independent blocks side by side in one vector: z = [z_1, z_2, ...], log p(z) = sum_b log p_b(z_b).

    Args:
        parts: distributions of vectors, whose batch shapes are equal or [].
    """

    def __init__(self, parts: Sequence[tfd.Distribution]) -> None:
        self.parts = tuple(parts)
        reparameterized = all(p.reparameterization_type == tfd.FULLY_REPARAMETERIZED for p in self.parts)
        super().__init__(
            dtype=self.parts[0].dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED if reparameterized else tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={"parts": self.parts},
        )

    @property
    def extras(self) -> dict[str, tf.Tensor]:
        """Those of all parts, by name."""
        return {name: value for part in self.parts for name, value in getattr(part, "extras", {}).items()}

    def split(self, z: tf.Tensor) -> list[tf.Tensor]:
        """The blocks of z [..., L]."""
        return tf.split(z, [int(p.event_shape[0]) for p in self.parts], axis=-1)

    def _batch_shape(self) -> tf.TensorShape:
        shape = self.parts[0].batch_shape
        for part in self.parts[1:]:
            shape = tf.broadcast_static_shape(shape, part.batch_shape)
        return shape

    def _batch_shape_tensor(self) -> tf.Tensor:
        shape = self.parts[0].batch_shape_tensor()
        for part in self.parts[1:]:
            shape = tf.broadcast_dynamic_shape(shape, part.batch_shape_tensor())
        return shape

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([sum(int(p.event_shape[0]) for p in self.parts)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list(), tf.int32)

    def _seeds(self, seed: tf.Tensor) -> list[tf.Tensor]:
        return tf.unstack(tfp.random.split_seed(seed, n=len(self.parts)))

    def _sample_n(self, n: int, seed: tf.Tensor) -> tf.Tensor:
        parts = zip(self.parts, self._seeds(seed), strict=True)
        return tf.concat([p.sample(self._draws(p, [n]), s) for p, s in parts], axis=-1)

    def _draws(self, part: tfd.Distribution, shape: tf.Tensor | list[int]) -> tf.Tensor:
        """How many draws of a part make `shape` draws of all: more where only the others have a batch."""
        missing = [] if part.batch_shape.rank else self._batch_shape_tensor()
        return tf.concat([shape, missing], axis=0) if self.batch_shape.rank else shape

    def _sample_and_log_prob(self, sample_shape: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn = [
            p.experimental_sample_and_log_prob(self._draws(p, sample_shape), seed=s)
            for p, s in zip(self.parts, self._seeds(seed), strict=True)
        ]
        return tf.concat([z for z, _ in drawn], axis=-1), tf.add_n([log_prob for _, log_prob in drawn])

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return sum(p.log_prob(block) for p, block in zip(self.parts, self.split(z), strict=True))

    def _mean(self) -> tf.Tensor:
        return self._side_by_side([p.mean() for p in self.parts])

    def _variance(self) -> tf.Tensor:
        return self._side_by_side([p.variance() for p in self.parts])

    def _side_by_side(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """[..., L] for values [..., L_b] of the blocks, each repeated for the batch if it has none of its own."""
        if any(value.shape.rank != self.batch_shape.rank + 1 for value in values):
            batch = self.batch_shape_tensor()
            values = [tf.broadcast_to(v, tf.concat([batch, v.shape[-1:]], axis=0)) for v in values]
        return tf.concat(values, axis=-1)

    def _entropy(self) -> tf.Tensor:
        return sum(p.entropy() for p in self.parts)


def leaves(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    """The blocks of a joint distribution, those of joint blocks among them; of any other one, itself."""
    parts = getattr(distribution, "parts", ())
    return [leaf for part in parts for leaf in leaves(part)] or [distribution]


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
        # As TFP's own: whoever asks takes a mean over draws then.
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
