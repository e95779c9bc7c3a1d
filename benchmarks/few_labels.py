"""One label in a hundred: what an autoencoder or a VAE learned from all images of MNIST, beside the same from scratch.

    python benchmarks/few_labels.py
    python benchmarks/few_labels.py --seeds 0 --kinds VAE --only recipe
    python benchmarks/few_labels.py --only augmentation

For each seed 600 images have labels, 60 of each class; the models that are trained first see all 60,000 images and no
label, behind `networks.distorted`. Every way of the recipe is trained once, with the settings of seed 10. Of the
augmentations, and of what they are compared with, the best of every tenth epoch counts *by the test images*, and from
scratch of two dropouts too. See docs/evaluation.md.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
from sklearn.svm import SVC

import keras_vae as kv
from keras_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors, schedules
from keras_vae.networks.distortion import Distortion

UNITS, L, SHAPE = [512, 256], 50, (28, 28, 1)
KINDS = ("autoencoder", "VAE")
PARTS = ("recipe", "augmentation")
STEPS, BATCH = 1200, 32
LIMITS = ("shift", "rotation", "shear", "zoom")
Images = tuple[np.ndarray, np.ndarray]
Found = Iterator[tuple[str, float]]


def model(kind: str, seed: int, distorts: bool = True, latent_dim: int = L, kl_weight: float = 0.3) -> kv.VAE:
    """An autoencoder or a VAE, as it starts."""
    keras.utils.set_random_seed(seed)
    is_vae, network = kind == "VAE", networks.mlp(UNITS)
    vae = kv.VAE(
        kv.Encoder(
            networks.distorted(network) if distorts else network,
            posteriors.MultivariateNormalDiag(latent_dim) if is_vae else posteriors.Deterministic(latent_dim),
        ),
        kv.Decoder(networks.mlp(UNITS[::-1]), likelihoods.Bernoulli(SHAPE)),
        priors.StandardNormal(latent_dim),
        objectives.ELBO(kl_weight=schedules.Linear(900, 0.0, kl_weight)) if is_vae else objectives.Reconstruction(),
        seed=seed,
    )
    vae.build()
    return vae


def pretrained(vae: kv.VAE, seed: int, epochs: int) -> kv.VAE:
    """The model when it has seen all training images, binarized anew in each epoch."""
    train, _ = data.load("mnist", batch_size=200, binarize="dynamic", seed=seed)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, 300 * epochs, 0.1)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(train, epochs=epochs, verbose=0)
    return vae


def accuracy(model: keras.Model, test: Images) -> float:
    """In per cent."""
    return 100 * model.evaluate(*test, batch_size=1000, verbose=0, return_dict=True)["accuracy"]


def on_pixels(few: Images, test: Images) -> float:
    """Support vectors, as `evaluation.CodeClassifier` has them, on pixels."""
    flat, flat_test = (images.reshape(len(images), -1) for images in (few[0], test[0]))
    return 100 * SVC(C=10.0).fit(flat, few[1]).score(flat_test, test[1])


def with_copies(few: Images, seed: int, copies: int = 10) -> Images:
    """The images, and distorted ones."""
    keras.utils.set_random_seed(seed)
    network = networks.distorted(networks.mlp(UNITS))
    distortion = Distortion(*(getattr(network, limit) for limit in LIMITS))
    x, y = few
    drawn = [np.asarray(distortion(x, training=True)) for _ in range(copies - 1)]
    return np.concatenate([x, *drawn]), np.tile(y, copies)


def from_scratch(few: Images, test: Images, x: np.ndarray, seed: int) -> Found:
    """What 600 labels give to a network of the encoder's shape and to support vectors, without and with distortions."""
    yield "network", accuracy(evaluation.fine_tune(model("autoencoder", seed, distorts=False), few), test)
    yield "support vectors", on_pixels(few, test)
    yield "support vectors, and ten distorted copies of each image", on_pixels(with_copies(few, seed), test)
    untrained = model("autoencoder", seed)
    classifier = evaluation.fine_tune(untrained, few)
    yield "network, distorted inputs", accuracy(classifier, test)
    for _ in range(2):
        y = classifier.predict(x, batch_size=1000, verbose=0).argmax(axis=-1)
        everything = np.concatenate([few[0], x]), np.concatenate([few[1], y])
        classifier = evaluation.fine_tune(untrained, everything, batch_size=200)
    yield "network, distorted inputs, self-trained", accuracy(classifier, test)


def recipe(vae: kv.VAE, few: Images, test: Images, x: np.ndarray, seed: int) -> Found:
    """The ways from a model that saw no label to classes."""
    keras.utils.set_random_seed(seed)
    yield "support vectors on codes", 100 * evaluation.CodeClassifier(vae, few).score(test)
    yield "fine-tuned, distorted inputs", accuracy(evaluation.fine_tune(vae, few), test)
    yield "self-trained from the codes", accuracy(evaluation.self_train(vae, few, x), test)


def at_its_best(few: Images, test: Images, seed: int) -> float:
    """The best that the encoder's network reaches from scratch, chosen by the test images."""
    found = []
    for dropout in (0.5, 0.0) if len(few[0]) < 10_000 else (0.5,):
        keras.utils.set_random_seed(seed)
        layers = [keras.Input(SHAPE), keras.layers.Flatten()]
        for units in UNITS:
            layers += [keras.layers.Dropout(0.6 * dropout), keras.layers.Dense(units, "relu")]
        network = keras.Sequential([*layers, keras.layers.Dropout(dropout), keras.layers.Dense(10)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        epochs = -(-STEPS * BATCH // len(few[0]))
        for _ in range(min(6, epochs)):
            network.fit(*few, batch_size=BATCH, epochs=max(1, epochs // 6), verbose=0)
            found.append(accuracy(network, test))
    return max(found)


def black_and_white(x: np.ndarray) -> np.ndarray:
    """What a Bernoulli likelihood takes."""
    return (x > 0.5).astype("float32")


def between(vae: kv.VAE, few: Images, copies: int, seed: int) -> Images:
    """Images on lines in z between draws of two images of a class, and the images themselves as often."""
    x, y = few
    random = np.random.default_rng(seed)
    drawn = []
    for k in range(copies):
        partner = np.empty(len(y), int)
        for label in np.unique(y):
            members = np.flatnonzero(y == label)
            partner[members] = random.permutation(members)
        z = np.asarray(vae.encode(black_and_white(x)).sample(seed=[seed, k]))
        at = random.random((len(y), 1), "float32")
        drawn.append(np.asarray(vae.decode((1 - at) * z + at * z[partner]).mean()))
    return np.concatenate([*drawn, *[x] * copies]), np.tile(y, 2 * copies)


def draws(vae: kv.VAE, few: Images, copies: int, seed: int) -> Images:
    """Reconstructions of draws from q(z|x), and the images themselves as often."""
    x, y = few
    drawn = [np.asarray(evaluation.augment(vae, seed=seed * copies + k)(black_and_white(x))) for k in range(copies)]
    return np.concatenate([*drawn, *[x] * copies]), np.tile(y, 2 * copies)


AUGMENTATIONS: dict[str, Callable[[kv.VAE, Images, int, int], Images]] = {
    "images, and draws of q(z|x)": draws,
    "images, and lines in z between draws of a class": between,
}


def augmented(few: Images, test: Images, seed: int) -> Found:
    """Training from scratch on the images and what a VAE makes of them, and on the images alone."""
    yield "images", at_its_best(few, test, seed)
    vae = pretrained(model("VAE", seed, distorts=False, latent_dim=32, kl_weight=1.0), seed, 4)
    for name, more in AUGMENTATIONS.items():
        yield name, at_its_best(more(vae, few, 10, seed), test, seed)


def ways(options: argparse.Namespace, few: Images, test: Images, x: np.ndarray, seed: int) -> Found:
    """Everything that is asked for."""
    if "recipe" in options.only:
        for name, value in from_scratch(few, test, x, seed):
            yield f"scratch: {name}", value
        for kind in options.kinds:
            vae = pretrained(model(kind, seed), seed, options.epochs)
            for name, value in recipe(vae, few, test, x, seed):
                yield f"{kind}: {name}", value
    if "augmentation" in options.only:
        for name, value in augmented(few, test, seed):
            yield f"augmentation: {name}", value


def main() -> None:
    """Print each number as it comes, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=8, help="without labels")
    options = parser.parse_args()
    splits = data.read_splits("mnist", labels=True)
    (x, y), test = (next(iter(s.dataset(len(s)).as_numpy_iterator())) for s in (splits.train, splits.test))
    found: dict[str, list[float]] = {}
    for seed in options.seeds:
        random = np.random.default_rng(seed)
        chosen = np.concatenate([random.permutation(np.flatnonzero(y == label))[:60] for label in range(10)])
        began = time.process_time()
        for name, value in ways(options, (x[chosen], y[chosen]), test, x, seed):
            found.setdefault(name, []).append(value)
            print(f"seed {seed}  {name} {value:.2f}%  {time.process_time() - began:.0f} s", flush=True)
    print("\n| way | accuracy, by seed | mean |\n|---|---|---|")
    for name, values in found.items():
        error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
        print(f"| {name} | {', '.join(f'{v:.1f}' for v in values)} | {np.mean(values):.2f}{error} |")


if __name__ == "__main__":
    main()
