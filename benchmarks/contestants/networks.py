"""The architectures in Keras, from images to features and from z to logits."""

import keras
import sizes
from keras import layers


def bodies(architecture: str) -> tuple[list, list, int]:
    """Layers of the encoder up to its features, of the decoder up to logits [B, 28, 28, 1], and latent dimensions."""
    if architecture == "mlp":
        encoder = [layers.Flatten(), *(layers.Dense(n, "relu") for n in sizes.MLP_UNITS)]
        decoder = [*(layers.Dense(n, "relu") for n in sizes.MLP_UNITS[::-1]), layers.Dense(784)]
        return encoder, [*decoder, layers.Reshape((28, 28, 1))], sizes.MLP_LATENT
    first, second = sizes.CONV_FILTERS
    encoder = [
        layers.Conv2D(first, 3, 2, "same", activation="relu"),
        layers.Conv2D(second, 3, 2, "same", activation="relu"),
        layers.Flatten(),
        layers.Dense(sizes.CONV_UNITS, "relu"),
    ]
    decoder = [
        layers.Dense(7 * 7 * second, "relu"),
        layers.Reshape((7, 7, second)),
        layers.Conv2DTranspose(second, 3, 2, "same", activation="relu"),
        layers.Conv2DTranspose(first, 3, 2, "same", activation="relu"),
        layers.Conv2DTranspose(1, 3, padding="same"),
    ]
    return encoder, decoder, sizes.CONV_LATENT


def pair(architecture: str) -> tuple[keras.Sequential, keras.Sequential, int]:
    """An encoder that gives mean and log-variance side by side, and a decoder that gives logits."""
    encoder, decoder, latent_dim = bodies(architecture)
    return (
        keras.Sequential([keras.Input((28, 28, 1)), *encoder, layers.Dense(2 * latent_dim)]),
        keras.Sequential([keras.Input((latent_dim,)), *decoder]),
        latent_dim,
    )
