"""The networks of a model in batches of one size, in which they give the same numbers whenever they are called.

A product of matrices may be summed in another order where it has other shapes. Its rows do not depend on each other.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_vae.compression.latents import FlowCode, MixtureCode, NormalCode, Normals
from keras_vae.compression.refinement import refined
from keras_vae.conditions.handed import condition_for
from keras_vae.likelihoods.observed import INDEPENDENT
from keras_vae.models.vae import VAE

# Rows of a batch at most, and numbers in the table of the probabilities of all levels of its values.
MOST_ROWS, TABLE = 64, 2**24
# Levels of a value at most.
MOST_LEVELS = 4096


class Encoded(NamedTuple):
    """q(z_1|x), what lower levels need of x, and the sum of the ELBOs where q was fitted, in nats."""

    q: Normals
    features: Any
    bound: float | None


def rows_of(vae: VAE) -> int:
    """Rows of a batch."""
    levels = vae.decoder.likelihood.levels or 2
    numbers = math.prod(vae.decoder.event_shape) * (1 if levels == 2 else levels)
    return int(np.clip(TABLE // numbers, 1, MOST_ROWS))


class Networks:
    """q(z|x), p(z) and p(x|z) in numbers, for up to `rows` examples at a time.

    Args:
        vae: a model that `codec.check_codable` has passed.
        rows: of a batch.
        refine_steps: of the fit of each posterior; see `refinement`.
    """

    def __init__(self, vae: VAE, rows: int, refine_steps: int = 0) -> None:
        self.vae, self.rows, self.refine_steps = vae, rows, refine_steps
        self.sizes = [vae.prior.latent_dim, *vae.decoder.noise_sizes]
        self._encode, self._levels = tf.function(self._encoded), tf.function(self._numbers_of_levels)
        self._table, self._prior = tf.function(self._probabilities), tf.function(self._prior_numbers)
        self._layers = [tf.function(layer) for layer in vae.prior.flow_layers]

    def posterior(self, x: np.ndarray, c: np.ndarray | None, key: int = 0) -> Encoded:
        """q(z_1|x) of the top level, and what the lower ones need of x; see `refined` for the key."""
        loc, scale, features, bound = self._encode(self._padded(x), self._condition(c), tf.constant(key))
        n = len(x)
        total = None if bound is None else float(np.sum(np.float64(bound.numpy()[:n])))
        return Encoded(Normals(loc.numpy()[:n], scale.numpy()[:n]), features, total)

    def no_features(self) -> Any:
        """In the place of those of x, where x is not known yet."""
        if not self.vae.decoder.needs_features:
            return None
        x = tf.zeros([self.rows, *self.vae.decoder.event_shape])
        return self._encode(x, self._condition(None), tf.constant(0))[2]

    def prior(self, n: int, c: np.ndarray | None, bits: int) -> NormalCode | MixtureCode | FlowCode:
        """The code of p(z_1) for n examples."""
        vae = self.vae
        if vae.prior.coded_as == "flow":
            layers = zip(self._layers, vae.prior.flow_layers, strict=True)
            conditioners = [(self._conditioner(run), layer.order) for run, layer in layers]
            return FlowCode(conditioners, (n, vae.prior.latent_dim), bits)
        numbers = [part.numpy() for part in self._prior(self._condition(c))]
        if vae.prior.coded_as == "mixture":
            log_weights, loc, scale = numbers
            return MixtureCode(log_weights, Normals(loc, scale), n, bits)
        shape = (self.rows, vae.prior.latent_dim)
        return NormalCode(Normals(*(np.broadcast_to(part, shape)[:n] for part in numbers)), bits)

    def level(
        self, number: int, z: Sequence[np.ndarray], features: Any, c: np.ndarray | None
    ) -> tuple[Normals, Normals]:
        """p(z_l|z_<l) and q(z_l|z_<l, x) of the level below the top with this number, from 1 on, given those above."""
        n = len(z[0])
        below = [np.zeros((n, size), "float32") for size in self.sizes[len(z) :]]
        given = [self._padded(part) for part in (*z, *below)]
        p_loc, p_scale, q_loc, q_scale = (
            part.numpy()[:n] for part in self._levels(given, features, self._condition(c))[number - 1]
        )
        return Normals(p_loc, p_scale), Normals(q_loc, q_scale)

    def values(self, z: Sequence[np.ndarray], features: Any, c: np.ndarray | None) -> np.ndarray:
        """The probabilities of the levels of each value, [n D, levels], given z of all levels."""
        n = len(z[0])
        table = self._table([self._padded(part) for part in z], features, self._condition(c)).numpy()[:n]
        found: np.ndarray = table.reshape(-1, table.shape[-1])
        return found

    def _padded(self, values: np.ndarray) -> tf.Tensor:
        full = np.zeros((self.rows, *values.shape[1:]), "float32")
        full[: len(values)] = values
        return tf.constant(full)

    def _condition(self, c: np.ndarray | None) -> tf.Tensor | None:
        if self.vae.condition is None:
            return None
        full = self.vae.condition.zeros(self.rows)
        if c is not None:
            full[: len(c)] = c
        return tf.constant(full)

    def _conditioner(self, run: Any) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        def numbers(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            shift, log_scale = run(self._padded(z))
            shape = (self.rows, z.shape[1])
            return tuple(np.broadcast_to(part.numpy(), shape)[: len(z)] for part in (shift, log_scale))  # type: ignore[return-value]

        return numbers

    def _encoded(
        self, x: tf.Tensor, c: tf.Tensor | None, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, Any, tf.Tensor | None]:
        encoder = self.vae.encoder
        q, features = encoder.ascend(x, condition=condition_for(encoder, c), training=False)
        if not self.refine_steps:
            return q.mean(), q.stddev(), features, None
        loc, scale, bound = refined(self.vae, x, c, q, self.refine_steps, key)
        return loc, scale, features, bound

    def _prior_numbers(self, c: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        vae = self.vae
        p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, c))
        if vae.prior.coded_as == "mixture":
            parts = p.components_distribution
            return tf.math.log_softmax(p.mixture_distribution.logits_parameter()), parts.mean(), parts.stddev()
        return p.mean(), p.stddev()

    def _descended(self, z: list[tf.Tensor], features: Any, c: tf.Tensor | None) -> Any:
        decoder = self.vae.decoder
        given = {"given": [part[tf.newaxis] for part in z[1:]]} if decoder.needs_features else {}
        return decoder.descend(z[0][tf.newaxis], features, None, condition_for(decoder, c), False, **given)

    def _numbers_of_levels(self, z: list[tf.Tensor], features: Any, c: tf.Tensor | None) -> list[list[tf.Tensor]]:
        return [
            [
                tf.reshape(part, [self.rows, size])
                for part in (group.p.mean(), group.p.stddev(), group.q.mean(), group.q.stddev())
            ]
            for group, size in zip(self._descended(z, features, c).groups, self.sizes[1:], strict=True)
        ]

    def _probabilities(self, z: list[tf.Tensor], features: Any, c: tf.Tensor | None) -> tf.Tensor:
        likelihood = self.vae.decoder.likelihood
        p = self._descended(z, features, c).likelihood
        if not isinstance(p, INDEPENDENT):
            raise ValueError(
                "Values that are independent given z have a code, as those of a tfd.Independent are: "
                f"{type(likelihood).__name__} gives {type(p).__name__}."
            )
        values, levels = p.distribution, likelihood.levels
        assert levels is not None
        shape = likelihood.event_shape
        grid = tf.reshape(tf.range(levels, dtype=tf.float32) / (levels - 1), [levels, *[1] * (2 + len(shape))])
        log_p = tf.reshape(values.log_prob(grid), [levels, self.rows, math.prod(shape)])
        return tf.transpose(tf.exp(log_p), [1, 2, 0])
