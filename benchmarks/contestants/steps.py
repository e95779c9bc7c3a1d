"""Seconds of single training steps in one process, taking turns."""

import time

import keras
import tensorflow as tf

import keras_vae as kv


def compiled(vae: kv.VAE, x):
    """The compiled training step of a model on one batch: a function of nothing."""
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.build()
    vae.optimizer.build(vae.trainable_variables)
    step = tf.function(vae.train_step)
    batch = tf.constant(x)
    step(batch)
    return lambda: step(batch)["loss"].numpy()


def seconds(run, calls: int) -> float:
    """Per call."""
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def calls_for(run, turn: float) -> int:
    """How many calls fill a turn of so many seconds."""
    return max(1, round(turn / seconds(run, 2)))
