"""What a page holds beside its networks: the order of the latents, their ranges, the prior, examples."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import seeds
from keras_vae.conditions.handed import condition_for
from keras_vae.evaluation.statistics import gather, given
from keras_vae.explorer.layers import CannotShow
from keras_vae.explorer.weights import PackedArrays

# Examples by which latents are ordered, and values in those that are shown.
LOOKED_AT, SHOWN, SHOWN_VALUES = 512, 24, 60_000
# Draws from the prior, for the ends of the sliders and where the page cannot draw itself.
DRAWS, KEPT = 4000, 500
# Of the prior, that lies inside of the sliders.
INSIDE = 0.99
CHECKED = 8


class Seen(NamedTuple):
    """Examples and their posteriors.

    Attributes:
        x: [N, *event_shape].
        condition: [N, ...] or None.
        means: points of q(z|x), [N, L].
        deviations: [N, L], None where TFP knows none.
        worth: of each latent, [L].
        unit: of `worth`.
    """

    x: np.ndarray
    condition: np.ndarray | None
    means: np.ndarray
    deviations: np.ndarray | None
    worth: np.ndarray
    unit: str


def look_at(vae: Any, data: Any) -> Seen:
    """The posteriors of examples, and how much is in each latent: its KL in nats, else the variance of its mean."""
    x, y = gather(data, LOOKED_AT)
    x = x.astype("float32")
    condition = given(vae, y, data)
    q = vae.encode(x, condition)
    means = np.asarray(vae.encoder.posterior.point(q))
    try:
        deviations = np.asarray(q.stddev())
    except NotImplementedError:  # TFP has no formula, as of a flow: the page then draws no posteriors
        deviations = None
    worth, unit = means.var(axis=0), "variance"
    if deviations is not None and vae.encoder.posterior.has_density:
        worth, unit = _kl_per_dim(vae, means, deviations, condition), "nats"
    return Seen(x, condition, means, deviations, worth, unit)


def _kl_per_dim(vae: Any, means: np.ndarray, deviations: np.ndarray, condition: Any) -> np.ndarray:
    """Mean KL of each marginal of q(z|x) to the Gaussian with mean and deviation of the prior there: of diagonal
    Gaussians the KL, of other priors and posteriors what is near it and has a closed form."""
    given = condition_for(vae.prior, None if condition is None else tf.convert_to_tensor(condition))
    p = vae.prior.distribution(encoder=vae.encoder, condition=given)
    try:
        loc, scale = np.asarray(p.mean()), np.asarray(p.stddev())
    except NotImplementedError:  # TFP has no formula: by draws
        z = np.asarray(p.sample(DRAWS if given is None else (), seed=seeds.as_pair(0)))
        loc, scale = z.mean(axis=0), z.std(axis=0)
    ratio = np.square(deviations / scale)
    return np.mean(0.5 * (ratio + np.square((means - loc) / scale) - 1.0 - np.log(ratio)), axis=0)


def condition_of(vae: Any, seen: Seen) -> dict[str, Any] | None:
    """What can be chosen in the page: a class, or numbers.

    Raises:
        CannotShow: for an image.
    """
    condition = vae.condition
    if condition is None:
        return None
    if condition.num_classes is not None:
        names = condition.names or [str(k) for k in range(condition.num_classes)]
        return {"kind": "label", "names": list(names), "size": condition.num_classes}
    if len(condition.features_shape) != 1:
        raise CannotShow(f"The page has classes and numbers as conditions, and this model's is {condition}.")
    values = np.asarray(seen.condition, "float64").reshape(len(seen.x), -1)
    low, high = values.min(axis=0), values.max(axis=0)
    high = np.where(high > low, high, low + 1.0)
    return {"kind": "vector", "size": values.shape[1], "low": low.tolist(), "high": high.tolist()}


def priors_of(vae: Any, seen: Seen, weights: PackedArrays) -> tuple[list[dict[str, Any]], np.ndarray]:
    """How the page draws z, for each class if the prior is given one, and draws from it [DRAWS, L].

    A Gaussian and a mixture of diagonal ones are drawn in the page. Of others it holds draws.

    Raises:
        CannotShow: for a prior that is given numbers.
    """
    if vae.prior.condition is None:
        z = np.asarray(vae.draw_latents(DRAWS, seeds.as_pair(0), _some(vae, seen, DRAWS), 1.0))
        return [_prior(vae.prior.distribution(encoder=vae.encoder), z, weights)], z
    if vae.condition.num_classes is None:
        raise CannotShow(f"The page has priors that are given a class, and this model's is given {vae.condition}.")
    made, drawn = [], []
    for label in range(vae.condition.num_classes):
        c = tf.fill([KEPT], label)
        z = np.asarray(vae.draw_latents(KEPT, seeds.as_pair(label), c, 1.0))
        p = vae.prior.distribution(encoder=vae.encoder, condition=condition_for(vae.prior, c[:1]))
        made.append(_prior(p, z, weights))
        drawn.append(z)
    return made, np.concatenate(drawn)


def _some(vae: Any, seen: Seen, n: int) -> Any:
    if vae.condition is None or seen.condition is None:
        return None
    return tf.convert_to_tensor(np.resize(seen.condition, (n, *vae.condition.shape)))


def _prior(p: tfd.Distribution, z: np.ndarray, weights: PackedArrays) -> dict[str, Any]:
    size = z.shape[-1]
    if isinstance(p, tfd.MultivariateNormalDiag):
        loc, scale = (np.broadcast_to(np.asarray(value).reshape(-1, size)[:1], (1, size)) for value in _moments(p))
        return {"kind": "mixture", "probs": [1.0], "loc": weights.add(loc), "scale": weights.add(scale)}
    if isinstance(p, tfd.MixtureSameFamily) and isinstance(p.components_distribution, tfd.MultivariateNormalDiag):
        loc, scale = (np.asarray(value) for value in _moments(p.components_distribution))
        if loc.ndim == 2:
            probs = np.asarray(tf.nn.softmax(p.mixture_distribution.logits_parameter())).round(6).tolist()
            return {"kind": "mixture", "probs": probs, "loc": weights.add(loc), "scale": weights.add(scale)}
    return {"kind": "draws", "draws": weights.add(z[:KEPT])}


def _moments(p: tfd.Distribution) -> tuple[Any, Any]:
    return p.mean(), p.stddev()


def ranges(z: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the sliders, [L] each: quantiles of draws from the prior, and as far as codes of examples go."""
    tail = (1 - INSIDE) / 2
    low, high = (np.quantile(np.concatenate([z, means]), q, axis=0) for q in (tail, 1 - tail))
    return low, np.maximum(high, low + 1e-3)


def examples_of(vae: Any, seen: Seen, weights: PackedArrays) -> dict[str, Any]:
    """Some examples with their posteriors; of classes in turn."""
    n = min(len(seen.x), SHOWN, max(4, SHOWN_VALUES // math.prod(seen.x.shape[1:])))
    chosen = np.arange(n)
    labels = None
    if seen.condition is not None:
        labels = seen.condition
        if vae.condition.num_classes is not None:
            # The first of each class, then the second of each, and so on.
            rank = np.array([np.sum(labels[:k] == labels[k]) for k in range(len(labels))])
            chosen = np.lexsort((labels, rank))[:n]
    return {
        "pictures": weights.picture(seen.x[chosen]),
        "means": weights.exact(seen.means[chosen]),
        "deviations": None if seen.deviations is None else weights.exact(seen.deviations[chosen]),
        "conditions": None if labels is None else np.asarray(labels)[chosen].tolist(),
    }


def features(vae: Any, condition: Any) -> np.ndarray:
    """What networks see of conditions, [N, F]."""
    return np.asarray(vae.condition.features(tf.convert_to_tensor(condition)))
