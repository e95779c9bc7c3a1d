"""JAX, nothing else: jax_steps.py ARCHITECTURE step|scan, a jitted step in a loop or an epoch in one `lax.scan`.

The work of `fit` with `data.load`: images in bytes, gathered by a new order in each epoch, binarized anew in every
step, noise, the ELBO, and Adam.
"""

import functools
import sys

import child
import jax
import jax_adam
import numpy as np
import sizes
from jax import lax
from jax import numpy as jnp

LAYOUT = ("NHWC", "HWIO", "NHWC")


def dense(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias, as Keras starts them."""
    limit = (6.0 / (inputs + outputs)) ** 0.5
    return jax.random.uniform(key, (inputs, outputs), jnp.float32, -limit, limit), jnp.zeros(outputs)


def convolution(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of 3 x 3 pixels."""
    limit = (6.0 / (9 * (inputs + outputs))) ** 0.5
    return jax.random.uniform(key, (3, 3, inputs, outputs), jnp.float32, -limit, limit), jnp.zeros(outputs)


def layers(architecture: str) -> tuple[list, int]:
    """Weights of the encoder and the decoder, one after the other, and the latent dimensions."""
    keys = iter(jax.random.split(jax.random.key(0), 16))
    if architecture == "mlp":
        a, b = sizes.MLP_UNITS
        latent = sizes.MLP_LATENT
        shapes = [(784, a), (a, b), (b, 2 * latent), (latent, b), (b, a), (a, 784)]
        return [dense(next(keys), *shape) for shape in shapes], latent
    first, second = sizes.CONV_FILTERS
    latent, flat = sizes.CONV_LATENT, 7 * 7 * second
    return [
        convolution(next(keys), 1, first),
        convolution(next(keys), first, second),
        dense(next(keys), flat, sizes.CONV_UNITS),
        dense(next(keys), sizes.CONV_UNITS, 2 * latent),
        dense(next(keys), latent, flat),
        convolution(next(keys), second, second),
        convolution(next(keys), second, first),
        convolution(next(keys), first, 1),
    ], latent


def encode(architecture: str, weights: list, x: jax.Array) -> jax.Array:
    """Mean and log-variance side by side, of images [B, 28, 28, 1]."""
    if architecture == "mlp":
        h = x.reshape(len(x), 784)
        for kernel, bias in weights[:2]:
            h = jax.nn.relu(h @ kernel + bias)
        return h @ weights[2][0] + weights[2][1]
    h = x
    for kernel, bias in weights[:2]:
        h = jax.nn.relu(lax.conv_general_dilated(h, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT) + bias)
    h = jax.nn.relu(h.reshape(len(x), -1) @ weights[2][0] + weights[2][1])
    return h @ weights[3][0] + weights[3][1]


def decode(architecture: str, weights: list, z: jax.Array) -> jax.Array:
    """Logits [B, 28, 28, 1]."""
    if architecture == "mlp":
        h = z
        for kernel, bias in weights[3:5]:
            h = jax.nn.relu(h @ kernel + bias)
        return (h @ weights[5][0] + weights[5][1]).reshape(-1, 28, 28, 1)
    h = jax.nn.relu(z @ weights[4][0] + weights[4][1]).reshape(len(z), 7, 7, -1)
    for kernel, bias in weights[5:7]:
        h = jax.nn.relu(lax.conv_transpose(h, kernel, (2, 2), "SAME", dimension_numbers=LAYOUT) + bias)
    kernel, bias = weights[7]
    return lax.conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT) + bias


def make(architecture: str, way: str):
    """A function that trains for a number of steps."""
    weights, latent = layers(architecture)
    per_epoch = sizes.STEPS_PER_EPOCH[architecture]
    shape = (sizes.BATCH_SIZE * per_epoch, 28, 28, 1)
    pixels = jnp.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))

    def loss(weights, key, rows):
        of_pixels, of_noise = jax.random.split(key)
        gray = pixels[rows].astype(jnp.float32) / 255.0
        x = (jax.random.uniform(of_pixels, gray.shape) < gray).astype(jnp.float32)
        mean, log_variance = jnp.split(encode(architecture, weights, x), 2, axis=-1)
        z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(of_noise, (len(rows), latent))
        logits = decode(architecture, weights, z)
        log_likelihood = jnp.sum(x * logits - jax.nn.softplus(logits)) / len(rows)
        kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1.0 - log_variance) / len(rows)
        return kl - log_likelihood

    def step(state, rows):
        weights, optimizer, key = state
        key, now = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(weights, now, rows)
        weights, optimizer = jax_adam.update(weights, optimizer, gradient)
        return (weights, optimizer, key), value

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(state, order):
        return lax.scan(step, state, order)

    one = jax.jit(step, donate_argnums=0)
    state = (weights, jax_adam.start(weights), jax.random.key(1))
    rng = np.random.default_rng(1)

    def run(steps):
        nonlocal state
        for _ in range(max(1, steps // per_epoch)):
            order = jnp.asarray(rng.permutation(shape[0]).reshape(per_epoch, sizes.BATCH_SIZE))
            if way == "scan":
                state, values = epoch(state, order)
                value = values[-1]
            else:
                for rows in order:
                    state, value = one(state, rows)
        value.block_until_ready()

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1], sys.argv[2]), warm_up=1)
