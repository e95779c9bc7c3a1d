"""Decode one z in three ways that take turns: decode.py ROUNDS. Milliseconds, JSON."""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dense
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_vae import export

LATENT_DIM = 50
CALLS = {"tflite": 200, "vae.decoder, eager": 10, "predict": 2}


def main(rounds: int) -> None:
    """Time the three, in turns."""
    vae = dense.model([200, 200], LATENT_DIM)
    vae.build()
    z = np.random.default_rng(0).normal(size=(1, LATENT_DIM)).astype("float32")
    path = Path(tempfile.mkdtemp(prefix="keras-vae-")) / "decoder.tflite"
    export.to_tflite(vae, path)
    runner = Interpreter(str(path), num_threads=1).get_signature_runner("decode_1")

    # As a Keras user would: a model from z to images.
    given = keras.Input((LATENT_DIM,))
    model = keras.Model(given, _Mean(vae.decoder)(given))
    tensor = tf.constant(z)
    ways = {
        "tflite": lambda: runner(z=z)["mean"],
        "vae.decoder, eager": lambda: vae.decoder(tensor).mean().numpy(),
        "predict": lambda: model.predict(z, verbose=0),
    }
    results = [np.asarray(way()) for way in ways.values()]
    assert all(np.allclose(result.ravel(), results[0].ravel(), atol=1e-4) for result in results)
    taken = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(CALLS[name]):
                way()
            taken[name].append(1e3 * (time.perf_counter() - started) / CALLS[name])
    print(json.dumps({name: {"median": statistics.median(t), "least": min(t)} for name, t in taken.items()}))


class _Mean(keras.layers.Layer):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def call(self, z):
        return self.decoder(z).mean()

    def compute_output_shape(self, shape):
        return (shape[0], *self.decoder.event_shape)


if __name__ == "__main__":
    main(int(sys.argv[1]))
