"""What a training step of the model multiplies whose published CIFAR-10 result is 3.11 bits/dim.

    python benchmarks/gpu/published_iaf.py

Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", in the sizes of the command that
its authors give for that result: 20 levels of 32 maps of 16x16 between blocks of 160 filters, one masked layer of 160
filters in each flow. Only the arithmetic is here, forwards and backwards, and no model that learns: convolutions of
these shapes, compiled, and counted by `flops.py`. The masks leave zeros in the products, which count as others do.
"""

import argparse
from collections.abc import Callable, Sequence

import flops
import tensorflow as tf

FILTERS, LATENTS, LEVELS, SIZE, IMAGES = 160, 32, 20, 32, 50_000
# FLOP/s of products of 8192 x 8192 on an H100, of docs/measurements.md.
RATES = {"float32": 51e12, "float32 with TF32": 400e12, "bfloat16": 771e12}


def make_step(batch: int) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """A function of images [batch, 32, 32, 3] that gives the gradients of all kernels."""
    kernels: list[tf.Variable] = []

    def kernel(*shape: int) -> tf.Variable:
        kernels.append(tf.Variable(tf.random.stateless_normal(shape, [0, len(kernels)], stddev=0.05)))
        return kernels[-1]

    first, last = kernel(5, 5, 3, FILTERS), kernel(5, 5, 3, FILTERS)
    levels = [
        {
            "up": kernel(3, 3, FILTERS, 2 * LATENTS + 2 * FILTERS),
            "up_out": kernel(3, 3, FILTERS, FILTERS),
            "down": kernel(3, 3, FILTERS, 4 * LATENTS + 2 * FILTERS),
            "flow": kernel(3, 3, LATENTS, FILTERS),
            "flow_out": kernel(3, 3, FILTERS, 2 * LATENTS),
            "down_out": kernel(3, 3, LATENTS + FILTERS, FILTERS),
        }
        for _ in range(LEVELS)
    ]

    def conv(x: tf.Tensor, weights: tf.Variable, stride: int = 1) -> tf.Tensor:
        return tf.nn.conv2d(tf.nn.elu(x), weights, stride, "SAME")

    def loss(x: tf.Tensor) -> tf.Tensor:
        h, seen, kl = tf.nn.conv2d(x, first, 2, "SAME"), [], 0.0
        for level in levels:
            q, context, on = _split(conv(h, level["up"]), [2 * LATENTS, FILTERS, FILTERS])
            seen.append((q, context))
            h += 0.1 * conv(on, level["up_out"])
        h = tf.zeros_like(h)
        for level, (q, context) in zip(reversed(levels), reversed(seen), strict=True):
            p, r, of_h, on = _split(conv(h, level["down"]), [2 * LATENTS, 2 * LATENTS, FILTERS, FILTERS])
            loc, log_scale = tf.split(q + r, 2, axis=-1)
            u = loc + tf.exp(log_scale) * tf.random.stateless_normal(tf.shape(loc), [0, 1])
            hidden = tf.nn.conv2d(u, level["flow"], 1, "SAME") + context + of_h
            shift, log_factor = tf.split(0.1 * conv(hidden, level["flow_out"]), 2, axis=-1)
            z = (u - shift) * tf.exp(-log_factor)
            kl += tf.reduce_sum(tf.square(z - p[..., :LATENTS]) * tf.exp(-p[..., LATENTS:]) + log_factor - log_scale)
            h += 0.1 * conv(tf.concat([z, on], axis=-1), level["down_out"])
        mean = tf.nn.conv2d_transpose(tf.nn.elu(h), last, [batch, SIZE, SIZE, 3], 2, "SAME")
        return kl + tf.reduce_sum(tf.square(mean - x))

    @tf.function(jit_compile=True, autograph=False)
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(x)
        found: list[tf.Tensor] = tape.gradient(value, kernels)
        return found

    return step


def _split(x: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    parts: list[tf.Tensor] = tf.split(x, sizes, axis=-1)
    return parts


def of_one_image(batch: int = 2) -> float:
    """FLOP of a training step for each image of the batch."""
    images = tf.zeros([batch, SIZE, SIZE, 3])
    return flops.count(make_step(batch).experimental_get_compiler_ir(images)(stage="stablehlo")) / batch


def main() -> None:
    """Print FLOP of an image and of an epoch, and the hours of some epochs at the speed of large products."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[400, 640])
    found = of_one_image()
    print(f"{found / 1e9:.1f} GFLOP an image, {found * IMAGES / 1e15:.2f} PFLOP an epoch of {IMAGES:,} images")
    for epochs in parser.parse_args().epochs:
        hours = ", ".join(f"{found * IMAGES * epochs / rate / 3600:.1f} h in {name}" for name, rate in RATES.items())
        print(f"{epochs} epochs at the speed of large products on an H100: {hours}")


if __name__ == "__main__":
    main()
