"""The script that people write in Keras: a custom train_step, and tf.data with cache, shuffle, batch, prefetch.

usual_keras.py ARCHITECTURE [no-autotune]
"""

import sys

import child
import keras
import networks
import sizes
import tensorflow as tf


class Sampling(keras.layers.Layer):
    """z = mean + exp(log_var / 2) eps."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator(0)

    def call(self, inputs):
        mean, log_variance = inputs
        return mean + keras.ops.exp(0.5 * log_variance) * keras.random.normal(keras.ops.shape(mean), seed=self.noise)


class UsualVAE(keras.Model):
    """The model with a train_step of its own, as scripts have it."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.sampling = encoder, decoder, Sampling()
        self.trackers = [keras.metrics.Mean(name=name) for name in ("loss", "reconstruction_loss", "kl_loss")]

    @property
    def metrics(self):
        return self.trackers

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_variance = keras.ops.split(self.encoder(data, training=True), 2, axis=-1)
            reconstruction = keras.ops.sigmoid(self.decoder(self.sampling([mean, log_variance]), training=True))
            pixels = keras.losses.binary_crossentropy(data, reconstruction)
            reconstruction_loss = keras.ops.mean(keras.ops.sum(pixels, axis=(1, 2)))
            kl = -0.5 * (1 + log_variance - keras.ops.square(mean) - keras.ops.exp(log_variance))
            kl_loss = keras.ops.mean(keras.ops.sum(kl, axis=1))
            loss = reconstruction_loss + kl_loss
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        for tracker, value in zip(self.trackers, (loss, reconstruction_loss, kl_loss), strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}


def make(architecture: str, autotune: bool):
    """A function that trains for a number of steps."""
    encoder, decoder, _ = networks.pair(architecture)
    vae = UsualVAE(encoder, decoder)
    vae.compile(keras.optimizers.Adam(sizes.LEARNING_RATE))
    per_epoch = sizes.STEPS_PER_EPOCH[architecture]
    x = child.images(sizes.BATCH_SIZE * per_epoch)
    dataset = tf.data.Dataset.from_tensor_slices(x).cache().shuffle(len(x)).batch(sizes.BATCH_SIZE)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    if not autotune:
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.with_options(options)

    def run(steps):
        vae.fit(dataset, epochs=max(1, steps // per_epoch), verbose=0)

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1], "no-autotune" not in sys.argv), warm_up=1)
