"""Digits on demand: are the samples the digits asked for, and do they help a classifier that has few labels?

    keras-vae train configs/mnist_conditional.yaml
    python benchmarks/conditional_digits.py runs/mnist_conditional

The judge is a small convolutional network trained on real training images, its accuracy on the real test images printed
beside. For the second question nothing may know more labels than the classifier: for each seed another conditional
model is trained on the same 1% of the labels as the classifier, which then sees real images, real and drawn ones, or
real ones moved by up to two pixels, for the same number of steps.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_vae as kv
from keras_vae import data, likelihoods, networks, posteriors, priors
from keras_vae.conditions import Label

STEPS = 3000


def classifier(x: np.ndarray, y: np.ndarray, steps: int, shift: float = 0.0, seed: int = 0) -> keras.Model:
    """A small convolutional network, trained for `steps` steps of 64 images."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.RandomTranslation(shift, shift, fill_mode="constant"),
            keras.layers.Conv2D(16, 3, 2, activation="relu"),
            keras.layers.Conv2D(32, 3, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    epochs = -(-steps * 64 // len(x))
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """The share of `x` that the model takes for `y`."""
    return model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]


def conditional_vae(x: np.ndarray, y: np.ndarray, seed: int) -> kv.VAE:
    """The network of `configs/mnist_conditional.yaml`, smaller, stopped by a tenth of the images."""
    digit = Label(10)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([256]), posteriors.MultivariateNormalDiag(4), condition=digit),
        kv.Decoder(networks.mlp([256]), likelihoods.Bernoulli(x.shape[1:]), condition=digit),
        priors.StandardNormal(4),
        seed=seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", patience=5, restore_best_weights=True)
    binary = (np.random.default_rng(seed).random((10, *x.shape)) < x).astype("float32")
    held = len(x) // 10
    train = np.concatenate(binary[:, held:]), np.tile(y[held:], len(binary))
    vae.fit(
        *train, batch_size=64, epochs=100, validation_data=(binary[0, :held], y[:held]), callbacks=[stop], verbose=0
    )
    return vae


def drawn(vae: kv.VAE, y: np.ndarray, seed: int) -> np.ndarray:
    """One image for each label, gray, the mean of p(x|z)."""
    return np.concatenate(
        [vae.sample(len(part), seed=seed + i, condition=part) for i, part in enumerate(np.array_split(y, 10))]
    )


def main() -> None:
    """Print both answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    splits = data.read_splits("mnist", labels=True)
    (x, y), (x_test, y_test) = (next(iter(s.dataset(len(s)).as_numpy_iterator())) for s in (splits.train, splits.test))

    judge = classifier(x, y, 6 * STEPS)
    asked = np.arange(options.samples) % 10
    samples = drawn(keras.saving.load_model(options.run / "vae.keras", compile=False), asked, 0)
    print(f"real test digits recognised: {accuracy(judge, x_test, y_test):.4f}")
    print(f"samples recognised as asked: {accuracy(judge, samples, asked):.4f} of {options.samples}")

    print("\n| seed | 600 real | and 6,000 drawn | moved | moved, and drawn |\n|---|---|---|---|---|")
    for seed in options.seeds:
        few = np.random.default_rng(seed).permutation(len(x))[: len(x) // 100]
        wanted = np.arange(6000) % 10
        more = drawn(conditional_vae(x[few], y[few], seed), wanted, seed)
        # The real ones ten times over: half of what is seen is real.
        both = np.concatenate([*[x[few]] * 10, more]), np.concatenate([*[y[few]] * 10, wanted])
        row = [
            accuracy(classifier(*given, STEPS, shift, seed), x_test, y_test)
            for shift in (0.0, 2 / 28)
            for given in ((x[few], y[few]), both)
        ]
        print(f"| {seed} | " + " | ".join(f"{100 * a:.2f}%" for a in row) + " |", flush=True)


if __name__ == "__main__":
    main()
