"""Adam for trees of JAX arrays, as Keras computes it."""

import jax
import sizes
from jax import numpy as jnp

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def start(weights) -> tuple:
    """The optimizer's state: both moments, and the count of steps."""
    zeros = jax.tree.map(jnp.zeros_like, weights)
    return zeros, jax.tree.map(jnp.zeros_like, weights), jnp.float32(0.0)


def update(weights, state: tuple, gradient) -> tuple:
    """The weights after a step, and the state."""
    first, second, count = state
    count += 1
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1.0 - BETA_1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1.0 - BETA_2) * g * g, second, gradient)
    rate = sizes.LEARNING_RATE * jnp.sqrt(1.0 - BETA_2**count) / (1.0 - BETA_1**count)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), weights, first, second)
    return weights, (first, second, count)
