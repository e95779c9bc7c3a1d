"""Several independent blocks in one z."""

from collections.abc import Sequence

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
