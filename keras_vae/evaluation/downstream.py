"""A trained encoder at work in other tasks: classes from few labels, augmentation, a density of codes.

evaluation.CodeClassifier(vae, (few_x, few_y)).score(test)                # support vectors on codes
classifier = evaluation.self_train(vae, (few_x, few_y), unlabelled)       # a Keras model
augmented = train.map(evaluation.augment(vae, seed=0))
density = evaluation.CodeDensity(autoencoder, train)   # makes a plain autoencoder generate
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import seeds
from keras_vae.arguments import check_count, check_number
from keras_vae.evaluation.statistics import gather, points, refuse_conditional, refuse_deterministic
from keras_vae.models.vae import VAE


def augment(vae: VAE, seed: int = 0, temperature: float = 1.0, sample_pixels: bool = False) -> Callable[..., Any]:
    """A function for `tf.data.Dataset.map` that turns images into variations of themselves.

    Draws z ~ q(z|x) and gives the mean of p(x|z); labels and weights pass through. A conditional model takes y as the
    condition. The draw follows from the seed and
    the images, so that the same batch gives the same variations; for others in each epoch, repeat the data before the
    map and shuffle them.

        train = train.repeat(epochs).map(evaluation.augment(vae, seed=0))

    Args:
        vae: the model.
        seed: of the draws.
        temperature: factor on the distance of z from the point of q(z|x); 0 gives reconstructions. 1 for a hierarchy,
            all levels of which are drawn.
        sample_pixels: whether to draw from p(x|z) instead of taking its mean.

    Returns:
        A function of a batch x, or of (x, y) and (x, y, sample_weight).

    Raises:
        ValueError: for a posterior without a density, whose variations would all be one image, a negative temperature,
            and another than 1 for a hierarchy.
    """
    refuse_deterministic(vae, "Augmentation")
    check_number("temperature", temperature, at_least=0)
    if vae.num_levels > 1 and temperature != 1:
        raise ValueError(f"A temperature is of one level of latents, and this model has {vae.num_levels}: 1.")

    def vary(x: tf.Tensor, *rest: tf.Tensor) -> Any:
        x = tf.cast(x, tf.float32)
        # The content decides the noise: a counter would give other images whenever the pipeline is restarted.
        content = tf.strings.to_hash_bucket_fast(tf.strings.reduce_join(tf.io.serialize_tensor(x)), 2**31 - 1)
        key = seeds.fold_in(seed, content)
        condition = rest[0] if rest and vae.condition is not None else None
        if vae.num_levels > 1:
            likelihood = vae.infer(x, 1, key, condition).likelihood
            varied = likelihood.sample(seed=seeds.fold_in(key, 1)) if sample_pixels else likelihood.mean()
            return (varied[0], *rest) if rest else varied[0]
        q = vae.encode(x, condition)
        point = vae.encoder.posterior.point(q)
        z = point + temperature * (q.sample(seed=key) - point)
        likelihood = vae.decode(z, condition)
        varied = likelihood.sample(seed=seeds.fold_in(key, 1)) if sample_pixels else likelihood.mean()
        return (varied, *rest) if rest else varied

    return vary


class CodeDensity:
    """A density of the codes of a model, which makes a plain autoencoder generate: a mixture of Gaussians.

    An autoencoder is trained to reconstruct; nothing makes its codes follow its prior, and draws from that prior decode
    to no data. A mixture fitted to the codes afterwards is the simplest remedy (Ghosh et al. 2020, "From variational to
    deterministic autoencoders"). By scikit-learn, with full covariances.

    Args:
        vae: the model; also of use for a VAE whose aggregate posterior is far from its prior.
        data: a finite data set, the training data as a rule.
        num_components: of the mixture.
        seed: of the fit.

    Raises:
        ValueError: for fewer examples than components, and a conditional model.
    """

    def __init__(self, vae: VAE, data: Any, num_components: int = 10, seed: int = 0) -> None:
        refuse_conditional(vae, "A density of codes")
        check_count("num_components", num_components)
        from sklearn.mixture import GaussianMixture

        z, _ = points(vae, data)
        if len(z) < 2 * num_components:
            raise ValueError(
                f"A mixture of {num_components} components cannot be fitted to {len(z)} codes: give more data or fewer "
                "components."
            )
        self.mixture = GaussianMixture(num_components, random_state=seed, reg_covar=1e-5).fit(z.astype("float64"))
        self._bounds = vae.prior.bounds

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws of codes, [n, L]."""
        random = np.random.default_rng(seed)
        members = random.choice(len(self.mixture.weights_), n, p=self.mixture.weights_)
        noise = random.standard_normal((n, self.mixture.means_.shape[1]))
        factors = np.linalg.cholesky(self.mixture.covariances_)
        z = self.mixture.means_[members] + np.einsum("nij,nj->ni", factors[members], noise)
        return np.clip(z, *self._bounds).astype("float32")


class CodeClassifier:
    """Classes from few labels: support vectors on the codes of a model that saw no label.

    By scikit-learn, with the kernel exp(-|a - b|^2 / (L v)), v the variance over all codes and dimensions: a latent
    that carries nothing is not enlarged to the size of the others. After M1 of Kingma et al. 2014, "Semi-supervised
    learning with deep generative models".

    Args:
        vae: the model, a VAE or a plain autoencoder; of a hierarchy its top level counts.
        data: (x, y), or a finite dataset of (image, label) batches.
        penalty: C, of labels on the wrong side.

    Raises:
        ValueError: for data without labels or of a single class, and a conditional model.
    """

    def __init__(self, vae: VAE, data: Any, penalty: float = 10.0) -> None:
        refuse_conditional(vae, "A classifier of codes")
        check_number("penalty", penalty, above=0)
        from sklearn.svm import SVC

        x, y = gather(data)
        classes = _labels(y, len(x), "data")
        self._codes = vae.encoder.features_model()
        self._machine = SVC(C=penalty).fit(self._codes.predict(x, verbose=0), classes)

    def predict(self, data: Any) -> np.ndarray:
        """The class of each example, [N]; labels of the data, if any, are not looked at."""
        return self._machine.predict(self._codes.predict(gather(data)[0], batch_size=1000, verbose=0))

    def score(self, data: Any) -> float:
        """The share of the data, which have labels, whose class is found."""
        x, y = gather(data)
        return float(np.mean(self.predict(x) == _labels(y, len(x), "data", at_least=1)))


def fine_tune(
    vae: VAE,
    data: Any,
    steps: int = 1500,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    dropout: float = 0.5,
) -> keras.Model:
    """A classifier that starts from a copy of the encoder and learns from labels, all of it.

    `features_model(layer="features", standardize=x)`, dropout, and a dense layer of one logit for each class, by Adam
    with a learning rate that falls to 0 as a cosine. What the encoder's network does in training alone it does here
    too: behind `networks.distorted` the images are distorted. Of a model that was built and not trained this is
    training from scratch. Draws follow `keras.utils.set_random_seed`.

    Args:
        vae: the model, which stays as it is.
        data: (x, y), or a finite dataset of (image, label) batches; labels are whole numbers from 0.
        steps: of Adam.
        batch_size: images in each.
        learning_rate: at the start.
        dropout: share of the features that each step drops.

    Returns:
        A compiled Keras model, data -> logits [B, C], with the accuracy among its metrics.

    Raises:
        ValueError: for data without labels or of a single class, other labels, and a conditional model.
    """
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    check_number("learning_rate", learning_rate, above=0)
    check_number("dropout", dropout, at_least=0, below=1)
    x, y = gather(data)
    y = _whole(_labels(y, len(x), "data"))
    some = x[:: max(1, len(x) // 10_000)]
    start = vae.encoder.features_model(layer="features", standardize=some)
    model = keras.Sequential([start, keras.layers.Dropout(dropout), keras.layers.Dense(int(y.max()) + 1)])
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).repeat().batch(batch_size)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model


def self_train(vae: VAE, labelled: Any, unlabelled: Any, rounds: int = 2, **options: Any) -> keras.Model:
    """A classifier from few labels and many examples without: what the codes say is learned, and learned again.

    `CodeClassifier` gives all examples a class, `fine_tune` learns these and gives them anew, as often as there are
    rounds; each begins with the encoder as it was trained without labels. Those whose label is known are learned with
    it too, beside the class that was found for them if they are among `unlabelled`. Wrong classes are as far apart as
    chance has them, and a network behind `networks.distorted` does not learn them all: each round is better than its
    teacher.

    Args:
        vae: the model, which stays as it is.
        labelled: (x, y), or a finite dataset of (image, label) batches; labels are whole numbers from 0.
        unlabelled: examples of the same kind, the training data as a rule; their labels, if any, are not looked at.
        rounds: number of times that a classifier is trained.
        options: of `fine_tune`; unless told otherwise, batches of 200.

    Returns:
        The last of the classifiers.

    Raises:
        ValueError: as those two.
    """
    check_count("rounds", rounds)
    known, y = gather(labelled)
    y = _whole(_labels(y, len(known), "labelled"))
    x, _ = gather(unlabelled)
    found = CodeClassifier(vae, (known, y)).predict(x)
    everything = np.concatenate([known, x])
    for _ in range(rounds):
        model = fine_tune(vae, (everything, np.concatenate([y, found])), **{"batch_size": 200, **options})
        found = model.predict(x, batch_size=1000, verbose=0).argmax(axis=-1)
    return model


def _labels(y: np.ndarray | None, size: int, name: str, at_least: int = 2) -> np.ndarray:
    """Labels [N], of two classes or more."""
    if y is None:
        raise ValueError(f"{name} has no labels: give (x, y), or load with data.load(..., labels=True).")
    y = y.reshape(-1)
    if len(y) != size:
        raise ValueError(f"{name} must have one label for each of its {size} examples, not labels of {len(y)}.")
    if len(np.unique(y)) < at_least:
        raise ValueError(f"{name} has examples of one class alone, {y[0]!r}: there is nothing to tell apart.")
    return y


def _whole(y: np.ndarray) -> np.ndarray:
    """Labels that number the logits."""
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise ValueError(f"Labels must be whole numbers from 0, as data.load gives them, not such as {y[0]!r}.")
    return y.astype("int64")
