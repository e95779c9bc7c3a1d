"""The yardstick: one hand-written compiled training step, called on batches that lie ready in memory."""

import sys

import child
import keras
import networks
import sizes
import tensorflow as tf


def make(architecture: str):
    """A function that trains for a number of steps."""
    encoder, decoder, _ = networks.pair(architecture)
    optimizer = keras.optimizers.Adam(sizes.LEARNING_RATE)
    variables = encoder.trainable_variables + decoder.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(encoder(x), 2, axis=-1)
            z = mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
            cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(x, decoder(z))
            kl = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1.0 - log_variance, axis=-1)
            loss = tf.reduce_mean(tf.reduce_sum(cross_entropy, axis=(1, 2, 3)) + kl)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    batches = [tf.constant(child.images(sizes.BATCH_SIZE, seed=seed)) for seed in range(8)]

    def run(steps):
        for index in range(steps):
            loss = step(batches[index % len(batches)])
        loss.numpy()

    return run


if __name__ == "__main__":
    child.serve(make(sys.argv[1]), warm_up=20)
