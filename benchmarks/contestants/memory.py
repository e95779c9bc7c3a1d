"""Peak memory: memory.py idle | training. Bytes, JSON."""

import json
import os
import resource
import sys

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability  # noqa: F401

BATCH_SIZE = 200


def train() -> dict:
    """Train for an epoch on MNIST-sized images in bytes."""
    import dense

    from keras_vae import data

    if os.environ.get("TFDS_DATA_DIR"):
        what = "MNIST"
        train, test = data.load("mnist", batch_size=BATCH_SIZE, binarize="dynamic", download=False)
    else:
        what = "random images of the size of MNIST (set TFDS_DATA_DIR for MNIST itself)"
        pixels = np.random.default_rng(0).integers(0, 256, (70_000, 28, 28, 1), np.uint8)
        arrays = {"x_train": pixels[:60_000], "x_test": pixels[60_000:]}
        train, test = data.load(arrays, batch_size=BATCH_SIZE, binarize="dynamic")
    vae = dense.model([200, 200], 50)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(train, validation_data=test, epochs=2, verbose=0)
    return {"what": what, "data": 70_000 * 784}


def main() -> None:
    """Print the peak of the resident memory."""
    found = {}
    if sys.argv[1] == "training":
        found = train()
    else:
        tf.function(tf.matmul)(tf.ones((200, 784)), tf.ones((784, 200)))
    print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
