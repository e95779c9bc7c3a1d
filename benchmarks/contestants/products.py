"""Matrix products and nothing else: products.py 784x500,500x50 ROWS training|forward.

A step is, for each AxB, the product of [ROWS, A] and [A, B]; in training also those of both gradients.
"""

import sys

import child
import tensorflow as tf


def make(shapes: list[tuple[int, int]], rows: int, training: bool):
    """A function that makes the products a number of times."""
    inputs = [(tf.random.normal((rows, a)), tf.random.normal((a, b)), tf.random.normal((rows, b))) for a, b in shapes]

    @tf.function
    def step(inputs):
        products = []
        for x, w, gradient in inputs:
            products.append(tf.matmul(x, w))
            if training:
                products.append(tf.matmul(gradient, w, transpose_b=True))
                products.append(tf.matmul(x, gradient, transpose_a=True))
        return [product[0, 0] for product in products]

    def run(steps):
        for _ in range(steps):
            results = step(inputs)
        results[0].numpy()

    return run


if __name__ == "__main__":
    pairs = [tuple(int(n) for n in shape.split("x")) for shape in sys.argv[1].split(",")]
    child.serve(make(pairs, int(sys.argv[2]), sys.argv[3] == "training"), warm_up=20)
