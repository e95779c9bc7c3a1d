"""What the codes know of labels and measurements: linear probes, clusters and directions.

evaluation.linear_probe(vae, train, test)              # are the codes good features?
evaluation.cluster(vae, test)                          # do the components of the prior find the classes?
evaluation.directions(vae, test, {"smile": teeth})     # where in z is what one can measure in the data?
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.table
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.arguments import check_number
from keras_vae.evaluation.disentanglement import unsupervised_accuracy
from keras_vae.evaluation.statistics import gather, points, refuse_conditional
from keras_vae.models import inputs
from keras_vae.models.vae import VAE

tfd = tfp.distributions


@dataclasses.dataclass(frozen=True)
class Probe:
    """Accuracy on the test data of one classifier on one kind of features, trained on a fraction of the labels.

    Attributes:
        features: "latents" (points of q(z|x)), "pixels", or "pca" of as many dimensions as there are latents.
        classifier: "linear" (logistic regression) or "knn".
        fraction: of the training labels.
        num_labels: as a number.
        accuracy: on the test data, in [0, 1].
    """

    features: str
    classifier: str
    fraction: float
    num_labels: int
    accuracy: float


def linear_probe(
    vae: VAE,
    train: Any,
    test: Any,
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    seed: int = 0,
    neighbors: int = 5,
    max_train: int = 20_000,
) -> list[Probe]:
    """How well classes can be read from the codes: a linear classifier and nearest neighbours, against two baselines.

    Logistic regression (scikit-learn, L2 with C = 1) and k nearest neighbours, both on posterior points, raw pixels,
    and the principal components of the pixels, as many as there are latents. Features are centred and divided by one
    standard deviation for all dimensions: one for each would enlarge latents that carry nothing, and margins of
    images, to the size of the others. Labels are taken evenly from the classes, at least one of each.

    Args:
        vae: the model; it never sees a label.
        train: (x, y), or a finite dataset of (image, label) batches.
        test: likewise.
        fractions: parts of the training labels that the classifiers see.
        seed: of the choice of labels.
        neighbors: k, or the number of labels if that is smaller.
        max_train: number of training examples that are used at most, evenly from the classes; the fractions are parts
            of these.

    Raises:
        ValueError: for data without labels, fractions outside (0, 1], and a conditional model.
    """
    refuse_conditional(vae, "A probe")
    for fraction in fractions:
        check_number("fractions", fraction, above=0, at_most=1)
    x, y = _with_labels(train, "train", None)
    x = inputs.examples(vae, x)
    if len(x) > max_train:
        # Data often come sorted by class: the first ones would be of a few classes only.
        some = _evenly(y, max_train / len(x), seed)
        x, y = x[some], y[some]
    x_test, y_test = _with_labels(test, "test", None)
    x_test = inputs.examples(vae, x_test)
    flat, flat_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    # Here, because scikit-learn would make `import keras_vae` longer by 6%.
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    pca = PCA(min(vae.prior.latent_dim, *flat.shape), random_state=0).fit(flat)
    kinds = {
        "latents": (points(vae, x)[0], points(vae, x_test)[0]),
        "pixels": (flat, flat_test),
        "pca": (pca.transform(flat), pca.transform(flat_test)),
    }
    probes = []
    for fraction in fractions:
        chosen = _evenly(y, fraction, seed)
        classifiers = {
            "linear": LogisticRegression(max_iter=1000, tol=1e-3),
            "knn": KNeighborsClassifier(min(neighbors, len(chosen))),
        }
        for kind, (known, unknown) in kinds.items():
            for name, classifier in classifiers.items():
                mean, deviation = known[chosen].mean(axis=0), known[chosen].std() or 1.0
                fitted = classifier.fit((known[chosen] - mean) / deviation, y[chosen])
                accuracy = float(fitted.score((unknown - mean) / deviation, y_test))
                probes.append(Probe(kind, name, fraction, len(chosen), accuracy))
    return probes


def probe_table(probes: Sequence[Probe]) -> rich.table.Table:
    """The probes as a table: one row for each classifier and kind of features, one column for each fraction."""
    table = rich.table.Table(title="accuracy on the test data")
    table.add_column("classifier")
    table.add_column("features")
    columns = dict.fromkeys((probe.fraction, probe.num_labels) for probe in probes)
    for fraction, count in columns:
        table.add_column(f"{fraction:.0%} ({count} labels)", justify="right")
    rows: dict[tuple[str, str], list[str]] = {}
    for probe in probes:
        rows.setdefault((probe.classifier, probe.features), []).append(f"{probe.accuracy:.1%}")
    for (classifier, kind), accuracies in sorted(rows.items(), reverse=True):
        table.add_row(classifier, kind, *accuracies)
    return table


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Clusters found without labels, compared with labels.

    Attributes:
        accuracy: fraction of examples whose label is that of their cluster, under the best one-to-one map of clusters
            to labels (with more clusters than labels, those left over take the label most of their members have).
        clusters: the most responsible component for each example, [N].
        num_clusters: number of components of the prior.
        num_used: number of those that have any example.
    """

    accuracy: float
    clusters: np.ndarray
    num_clusters: int
    num_used: int


def cluster(vae: VAE, data: Any) -> Clustering:
    """Clusters by the responsibilities of a mixture prior: argmax_m p(m|z) at the point z of q(z|x).

    After Jiang et al. 2017, "Variational deep embedding", whose measure of accuracy this is.

    Args:
        vae: a model whose prior is a mixture: `priors.NormalMixture`, `priors.VampPrior`.
        data: (x, y), or a finite dataset of (image, label) batches.

    Raises:
        ValueError: for another prior, data without labels, and a conditional model.
    """
    refuse_conditional(vae, "Clustering")
    p = vae.prior.distribution(encoder=vae.encoder)
    if not isinstance(p, tfd.MixtureSameFamily):
        raise ValueError(
            f"Clusters are the components of a mixture prior, and this model's prior is {type(vae.prior).__name__}: "
            "train with priors.NormalMixture(latent_dim, num_components)."
        )
    x, y = _with_labels(data, "data", None)
    z, _ = points(vae, x)
    log_weights = tf.math.log_softmax(p.mixture_distribution.logits_parameter())
    found = [
        np.argmax(p.components_distribution.log_prob(part[:, None]) + log_weights, axis=-1)
        for part in np.array_split(z, max(1, len(z) // 256))
    ]
    clusters = np.concatenate(found)
    num_clusters = int(log_weights.shape[-1])
    accuracy = unsupervised_accuracy(clusters, y, one_to_one=False)
    return Clustering(accuracy, clusters, num_clusters, len(np.unique(clusters)))


def directions(vae: VAE, data: Any, measured: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Directions in z along which measured properties of the data vary, for `pictures.traversals(directions=...)`.

    Least squares of the codes on the measurements, z = c + sum_k d_k m_k + rest, each m_k in units of its standard
    deviation: d_k is how far the mean code moves when the k-th measurement grows by one of these and the others stay.
    (The weights of a regression the other way round, of m on z, would point where m is told best from the rest, and
    the images there need not look like it: Haufe et al. 2014, "On the interpretation of weight vectors".)

    Args:
        vae: the model; of a hierarchy, z is that of its top level.
        data: a finite data set.
        measured: a name and one number for each example, [N]; a label of two classes as 0 and 1.

    Returns:
        [L] for each name.

    Raises:
        ValueError: for another number of measurements than examples, and for measurements that do not vary, are not
            finite, or follow from each other.
    """
    return directions_of(points(vae, data)[0], measured)


def directions_of(z: np.ndarray, measured: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`directions` of points z [N, L] that are known already."""
    if not measured:
        raise ValueError("Nothing is measured: give a name and one number for each example.")
    columns = []
    for name, values in measured.items():
        column = np.asarray(values, "float64")
        if column.shape != (len(z),):
            raise ValueError(f"{name!r} must be one number for each of the {len(z)} examples, not {column.shape}.")
        if not np.isfinite(column).all() or not column.std() > 0:
            raise ValueError(f"{name!r} must be finite, and not the same for all examples.")
        columns.append((column - column.mean()) / column.std())
    units = np.stack(columns, axis=1)
    found, _, rank, _ = np.linalg.lstsq(units, z - z.mean(axis=0), rcond=1e-6)
    if rank < len(columns):
        raise ValueError(f"{', '.join(map(repr, measured))}: one of these follows from the others. Leave it out.")
    return {name: direction.astype("float32") for name, direction in zip(measured, found, strict=True)}


def _with_labels(data: Any, name: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    x, y = gather(data, limit)
    if y is None:
        raise ValueError(f"{name} has no labels: give (x, y), or load with data.load(..., labels=True).")
    return x, y.reshape(len(y))


def _evenly(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Indices of a fraction of the examples, the same part of each class and at least one."""
    random = np.random.default_rng(seed)
    members = [random.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    return np.sort(np.concatenate([part[: max(1, round(fraction * len(part)))] for part in members]))
