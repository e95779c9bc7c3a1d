"""One label in a hundred: what an autoencoder learned from all images of MNIST, beside the same network from scratch.

    python benchmarks/few_labels.py
    python benchmarks/few_labels.py --seeds 0 --kinds VAE

For each seed 600 images have labels, 60 of each class; the models that are trained first see all 60,000 images and no
label. The network from scratch is the encoder's, 784-512-256. It gets the best of dropout 0 and 0.5 and of every tenth
epoch up to 60 *by its accuracy on the test images*, which is more than any choice by validation could give it, and so
do its augmented fellows. The classifiers on features are trained once. No way gains three points yet: see
docs/evaluation.md.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

import keras_vae as kv
from keras_vae import data, evaluation, likelihoods, networks, objectives, posteriors, priors

UNITS, L = [512, 256], 32
KINDS = ("autoencoder", "denoising autoencoder", "VAE")
STEPS, BATCH = 1200, 32
Images = tuple[np.ndarray, np.ndarray]


def pretrained(kind: str, seed: int, epochs: int) -> kv.VAE:
    """An autoencoder or a VAE that has seen all training images, binarized anew in each epoch."""
    keras.utils.set_random_seed(seed)
    is_vae, is_denoising = kind == "VAE", kind == "denoising autoencoder"
    posterior = posteriors.MultivariateNormalDiag(L) if is_vae else posteriors.Deterministic(L)
    vae = kv.VAE(
        kv.Encoder(networks.mlp(UNITS), posterior),
        kv.Decoder(networks.mlp(UNITS[::-1]), likelihoods.Bernoulli((28, 28, 1))),
        priors.StandardNormal(L),
        objectives.ELBO() if is_vae else objectives.Reconstruction(),
        seed=seed,
        targets=is_denoising,
    )
    train, _ = data.load("mnist", batch_size=200, binarize="dynamic", seed=seed)
    if is_denoising:
        train = train.map(lambda x: {"image": x * tf.cast(tf.random.uniform(tf.shape(x)) > 0.4, x.dtype), "target": x})
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(train, epochs=epochs, verbose=0)
    return vae


def classifier(start: keras.Model, dropout: float, learning_rate: float) -> keras.Model:
    """A head of ten logits on what `start` gives."""
    model = keras.Sequential([start, keras.layers.Dropout(dropout), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
    return model


def accuracy(model: keras.Model, test: Images) -> float:
    """In per cent."""
    return 100 * model.evaluate(*test, batch_size=1000, verbose=0, return_dict=True)["accuracy"]


def round_up(images: int, size: int) -> int:
    """Epochs in which so many images are seen."""
    return -(-images // size)


def fitted(model: keras.Model, few: Images, test: Images) -> float:
    """The accuracy after all steps."""
    model.fit(*few, batch_size=BATCH, epochs=round_up(STEPS * BATCH, len(few[0])), verbose=0)
    return accuracy(model, test)


def from_scratch(few: Images, test: Images, seed: int) -> float:
    """The best that the same network reaches, chosen by the test images."""
    found = []
    for dropout in (0.5, 0.0) if len(few[0]) < 10_000 else (0.5,):
        keras.utils.set_random_seed(seed)
        layers = [keras.Input((28, 28, 1)), keras.layers.Flatten()]
        for units in UNITS:
            layers += [keras.layers.Dropout(0.6 * dropout), keras.layers.Dense(units, "relu")]
        model = classifier(keras.Sequential(layers), dropout, 1e-3)
        epochs = round_up(STEPS * BATCH, len(few[0]))
        for _ in range(min(6, epochs)):
            model.fit(*few, batch_size=BATCH, epochs=max(1, epochs // 6), verbose=0)
            found.append(accuracy(model, test))
    return max(found)


def on_features(vae: kv.VAE, few: Images, test: Images, x: np.ndarray, seed: int) -> Iterator[tuple[str, float]]:
    """The ways from features to classes; `x` are images without labels."""
    keras.utils.set_random_seed(seed)
    codes = vae.encoder.features_model(standardize=x)
    known, unknown = (codes.predict(images, batch_size=1000, verbose=0) for images in (few[0], test[0]))
    yield "support vectors on codes", 100 * SVC(C=10.0).fit(known, few[1]).score(unknown, test[1])
    features = vae.encoder.features_model(layer="features", standardize=x)
    yield "fine-tuned from features", fitted(classifier(features, 0.5, 3e-4), few, test)
    codes = vae.encoder.features_model()
    labels = spread(*(codes.predict(images, batch_size=1000, verbose=0) for images in (few[0], x)), few[1])
    features = vae.encoder.features_model(layer="features", standardize=x)
    yield (
        "labels spread over codes, fine-tuned from features",
        fitted(classifier(features, 0.5, 3e-4), (x, labels), test),
    )


def spread(known: np.ndarray, unknown: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Labels for what has none, by the nearest neighbours."""
    labels = np.concatenate([y, np.full(len(unknown), -1)])
    return LabelSpreading("knn", n_neighbors=10).fit(np.concatenate([known, unknown]), labels).transduction_[len(y) :]


def on_components(few: Images, test: Images, x: np.ndarray, seed: int) -> float:
    """The network from scratch on labels spread over principal components, as many as there are codes."""
    components = PCA(L, random_state=0).fit(x.reshape(len(x), -1))
    labels = spread(*(components.transform(images.reshape(len(images), -1)) for images in (few[0], x)), few[1])
    return from_scratch((x, labels), test, seed)


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
    "from scratch, and draws of q(z|x)": draws,
    "from scratch, and lines between draws of a class": between,
}


def augmented(vae: kv.VAE, few: Images, test: Images, seed: int) -> Iterator[tuple[str, float]]:
    """Training from scratch on the images and what the VAE makes of them."""
    for name, more in AUGMENTATIONS.items():
        yield name, from_scratch(more(vae, few, 10, seed), test, seed)


def main() -> None:
    """Print each number as it comes, then the table of gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--epochs", type=int, default=4, help="without labels")
    parser.add_argument("--no-augmentation", action="store_true")
    options = parser.parse_args()
    splits = data.read_splits("mnist", labels=True)
    (x, y), test = (next(iter(s.dataset(len(s)).as_numpy_iterator())) for s in (splits.train, splits.test))
    gains: dict[str, list[float]] = {}
    for seed in options.seeds:
        random = np.random.default_rng(seed)
        chosen = np.concatenate([random.permutation(np.flatnonzero(y == label))[:60] for label in range(10)])
        few = x[chosen], y[chosen]
        scratch = from_scratch(few, test, seed)
        unlabelled = x[random.permutation(len(x))[:20_000]]
        by_components = on_components(few, test, unlabelled, seed)
        gains.setdefault("labels spread over principal components, from scratch", []).append(by_components - scratch)
        print(f"seed {seed}  from scratch {scratch:.2f}%, over components {by_components:.2f}%", flush=True)
        for kind in options.kinds:
            began = time.process_time()
            vae = pretrained(kind, seed, options.epochs)
            found = on_features(vae, few, test, unlabelled, seed)
            if kind == "VAE" and not options.no_augmentation:
                found = itertools.chain(found, augmented(vae, few, test, seed))
            for name, value in found:
                gains.setdefault(f"{kind}: {name}", []).append(value - scratch)
                print(f"seed {seed}  {kind}: {name} {value:.2f}%", flush=True)
            print(f"  {time.process_time() - began:.0f} s", flush=True)
    print("\n| way | points gained over training from scratch, by seed | mean |\n|---|---|---|")
    for name, values in gains.items():
        error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
        print(f"| {name} | {', '.join(f'{v:+.2f}' for v in values)} | {np.mean(values):+.2f}{error} |")


if __name__ == "__main__":
    main()
