"""Parts written in JAX beside the plain model: jax_parts.py TURNS. JSON: part -> ratios and ms, as part_costs.py.

The model, the parts and the step are those of part_costs.py: 784-256-256-32, batch 128, one draw, Adam.
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Callable

import child
import jax
import jax_adam
import numpy as np
from jax import numpy as jnp

LATENT, UNITS, BATCH, VALUES, TURN = 32, (256, 256), 128, 784, 0.25
LAYERS, COUPLING_UNITS, PSEUDO_INPUTS, COMPONENTS, LEVELS = 8, (128, 128), 500, 5, 256
LOG_2_PI = math.log(2.0 * math.pi)
TRIANGLE = LATENT * (LATENT + 1) // 2


def dense(key: jax.Array, inputs: int, outputs: int) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias, as Keras starts them."""
    limit = (6.0 / (inputs + outputs)) ** 0.5
    return jax.random.uniform(key, (inputs, outputs), jnp.float32, -limit, limit), jnp.zeros(outputs)


def network(key: jax.Array, widths: tuple[int, ...]) -> list:
    """Layers between these widths."""
    keys = jax.random.split(key, len(widths) - 1)
    return [dense(k, a, b) for k, a, b in zip(keys, widths[:-1], widths[1:], strict=True)]


def applied(layers: list, x: jax.Array, activation: Callable = jax.nn.relu) -> jax.Array:
    """The network of `x`, without an activation at its end."""
    for kernel, bias in layers[:-1]:
        x = activation(x @ kernel + bias)
    return x @ layers[-1][0] + layers[-1][1]


def log_normal(z: jax.Array, mean: jax.Array | float, scale: jax.Array | float) -> jax.Array:
    """Of independent dimensions, the last axis."""
    return jnp.sum(-0.5 * ((z - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_2_PI, axis=-1)


def diagonal(params: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z, and log q(z|x)."""
    mean, scale = params[..., :LATENT], jax.nn.softplus(params[..., LATENT:]) + 1e-5
    return mean + scale * noise, log_normal(noise, 0.0, 1.0) - jnp.sum(jnp.log(scale), axis=-1)


def triangular(params: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z = mean + L noise, and log q(z|x)."""
    rows, columns = np.tril_indices(LATENT)
    lower = jnp.zeros((*params.shape[:-1], LATENT, LATENT)).at[..., rows, columns].set(params[..., LATENT:])
    scale = jax.nn.softplus(jnp.diagonal(lower, axis1=-2, axis2=-1)) + 1e-5
    lower = jnp.tril(lower, -1) + scale[..., None] * jnp.eye(LATENT)
    z = params[..., :LATENT] + jnp.einsum("bij,bj->bi", lower, noise)
    return z, log_normal(noise, 0.0, 1.0) - jnp.sum(jnp.log(scale), axis=-1)


def standard(weights: dict, z: jax.Array) -> jax.Array:
    """log p(z) of the standard normal."""
    return log_normal(z, 0.0, 1.0)


def real_nvp(weights: dict, z: jax.Array) -> jax.Array:
    """log p(z) of coupling layers whose masks are of the inputs."""
    total = 0.0
    for index, layers in enumerate(weights["prior"]):
        place = np.arange(LATENT)
        first = (place < LATENT // 2, place >= LATENT // 2, place % 2 == 0, place % 2 == 1)[index % 4]
        found = applied(layers, jnp.where(first, z, 0.0), jax.nn.elu)
        shift = jnp.where(first, 0.0, found[..., :LATENT])
        log_scale = jnp.where(first, 0.0, 3.0 * jnp.tanh(found[..., LATENT:] / 3.0))
        z, total = z * jnp.exp(log_scale) + shift, total + jnp.sum(log_scale, axis=-1)
    return log_normal(z, 0.0, 1.0) + total


def vamp(weights: dict, z: jax.Array) -> jax.Array:
    """log p(z) of the mixture of posteriors at pseudo-inputs."""
    params = applied(weights["encoder"], jax.nn.sigmoid(weights["prior"]))
    mean, scale = params[:, :LATENT], jax.nn.softplus(params[:, LATENT:]) + 1e-5
    return jax.nn.logsumexp(log_normal(z[:, None], mean, scale), axis=-1) - math.log(PSEUDO_INPUTS)


def bernoulli(params: jax.Array, x: jax.Array) -> jax.Array:
    """log p(x|z)."""
    return jnp.sum(x * params - jax.nn.softplus(params), axis=-1)


def logistics(params: jax.Array, x: jax.Array) -> jax.Array:
    """log p(x|z) of mixtures of discretized logistics."""
    logits, loc, raw = jnp.split(params.reshape(len(params), VALUES, 3 * COMPONENTS), 3, axis=-1)
    scale, top = 0.1 * jnp.exp(jnp.clip(raw, -6.0, 4.0)), LEVELS - 1
    x = x[..., None]
    centre, half = (x - loc) / scale, 0.5 / (top * scale)
    each = jnp.where(x < 1.0, -jax.nn.softplus(-centre - half), 0.0)
    each += jnp.where(x > 0.0, -jax.nn.softplus(centre - half), 0.0)
    each += jnp.where((x > 0.0) & (x < 1.0), jnp.log(-jnp.expm1(-2.0 * half)), 0.0)
    return jnp.sum(jax.nn.logsumexp(jax.nn.log_softmax(logits) + each, axis=-1), axis=-1)


def categorical(params: jax.Array, x: jax.Array) -> jax.Array:
    """log p(x|z) of any probabilities of the levels."""
    logits = jax.nn.log_softmax(params.reshape(len(params), VALUES, LEVELS))
    level = jnp.round(x * (LEVELS - 1)).astype(jnp.int32)
    return jnp.sum(jnp.take_along_axis(logits, level[..., None], axis=-1), axis=(-2, -1))


def step_of(
    posterior: Callable = diagonal,
    prior: Callable = standard,
    likelihood: Callable = bernoulli,
    code: int = 2 * LATENT,
    values: int = VALUES,
    prior_weights: Callable[[jax.Array], object] | None = None,
) -> Callable[[], None]:
    """The compiled training step of a model on one batch: a function of nothing that ends when the step has."""
    keys = jax.random.split(jax.random.key(0), 4)
    weights = {
        "encoder": network(keys[0], (VALUES, *UNITS, code)),
        "decoder": network(keys[1], (LATENT, *UNITS[::-1], values)),
        "prior": None if prior_weights is None else prior_weights(keys[2]),
    }
    x = jnp.asarray(child.images(BATCH).reshape(BATCH, VALUES))
    if likelihood is not bernoulli:
        x = jnp.asarray(
            (np.random.default_rng(0).integers(0, LEVELS, (BATCH, VALUES)) / (LEVELS - 1)).astype("float32")
        )

    def loss(weights, key):
        noise = jax.random.normal(key, (BATCH, LATENT))
        z, log_q = posterior(applied(weights["encoder"], x), noise)
        return jnp.mean(log_q - prior(weights, z) - likelihood(applied(weights["decoder"], z), x))

    def step(weights, optimizer, key):
        key, now = jax.random.split(key)
        value, gradient = jax.value_and_grad(loss)(weights, now)
        return (*jax_adam.update(weights, optimizer, gradient), key), value

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    state = (weights, jax_adam.start(weights), keys[3])

    def run() -> None:
        nonlocal state
        state, value = compiled(*state)
        value.block_until_ready()

    run()
    return run


PARTS = {
    "MultivariateNormalTriL": lambda: step_of(posterior=triangular, code=LATENT + TRIANGLE),
    "RealNVP, 8 layers": lambda: step_of(
        prior=real_nvp,
        prior_weights=lambda key: [
            network(one, (LATENT, *COUPLING_UNITS, 2 * LATENT)) for one in jax.random.split(key, LAYERS)
        ],
    ),
    "VampPrior, 500 pseudo-inputs": lambda: step_of(
        prior=vamp, prior_weights=lambda key: jax.random.normal(key, (PSEUDO_INPUTS, VALUES))
    ),
    "DiscretizedLogisticMixture, 5 components": lambda: step_of(likelihood=logistics, values=3 * COMPONENTS * VALUES),
    "Categorical, 256 levels": lambda: step_of(likelihood=categorical, values=LEVELS * VALUES),
}


def seconds(run: Callable[[], None], calls: int) -> float:
    """Per call."""
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def main(turns: int) -> None:
    """Time every part beside the plain model, in turns."""
    plain, found = step_of(), {}
    calls = max(1, round(TURN / seconds(plain, 2)))
    for name, part in PARTS.items():
        run = part()
        own = max(1, round(TURN / seconds(run, 2)))
        pairs = [(seconds(run, own), seconds(plain, calls)) for _ in range(turns)]
        ms = 1e3 * statistics.median(taken for taken, _ in pairs)
        found[name] = {"ratios": [a / b for a, b in pairs], "ms": ms}
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
