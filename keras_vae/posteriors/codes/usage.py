"""How a model uses its codes: what `fit` logs of every posterior of codes, whatever the objective."""

from typing import Any

import keras
import tensorflow as tf

from keras_vae.distributions.codes.codebooks import perplexity
from keras_vae.terms import Terms


class Counts(keras.metrics.Metric):
    """`usage`, the share of the codes that were used since the metrics were reset: in an epoch, or an evaluation.

    Args:
        shape: (depth, S).
    """

    def __init__(self, shape: tuple[int, int], name: str = "usage") -> None:
        super().__init__(name=name, dtype="float32")
        self.counts = self.add_variable(shape, "zeros", dtype="float32", name="counts")

    def see(self, terms: Terms, count: tf.Tensor) -> None:
        """Count the codes of a batch; a count of 0 examples is of a batch that is not to be counted."""
        used = tf.reduce_sum(terms.extras["usage"], axis=0)
        seen = tf.where(count > 0.0, tf.reshape(used, self.counts.shape), 0.0)
        self.counts.assign_add(tf.where(tf.math.is_finite(seen), seen, 0.0))

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `see` counts."""

    def result(self) -> tf.Tensor:
        """The share that is used, over all depths."""
        return share(tf.convert_to_tensor(self.counts))


class OfDepth(keras.metrics.Metric):
    """A number of the counts of one depth, or of all: it keeps nothing itself.

    Args:
        of: the counts.
        name: "usage" or "perplexity", with the depth behind it.
        depth: from 0; None for all, of whose perplexities this is the geometric mean.
    """

    def __init__(self, of: Counts, name: str, depth: int | None = None) -> None:
        super().__init__(name=name, dtype="float32")
        self.__dict__["of"] = of
        self.depth = depth

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the counts are kept elsewhere."""

    def result(self) -> tf.Tensor:
        """The number."""
        counts = tf.unstack(tf.convert_to_tensor(self.of.counts))
        counts = counts if self.depth is None else counts[self.depth : self.depth + 1]
        if self.name.startswith("usage"):
            return share(tf.stack(counts))
        return tf.exp(tf.add_n([tf.math.log(perplexity(each)) for each in counts]) / len(counts))


def share(counts: tf.Tensor) -> tf.Tensor:
    """The share of them that is above zero."""
    return tf.reduce_mean(tf.cast(counts > 0.0, tf.float32))


def metrics_of(posterior: Any, taken: Any) -> dict[str, keras.metrics.Metric]:
    """The metrics of a posterior's codes by their names in the logs, `usage` first; none if it has no codes.

    Args:
        posterior: which declares `usage_shape`.
        taken: names that the objective has for numbers of its own.
    """
    shape = posterior.usage_shape
    if shape is None:
        return {}
    counts = Counts(shape)
    found: dict[str, keras.metrics.Metric] = {"usage": counts, "perplexity": OfDepth(counts, "perplexity")}
    for depth in range(shape[0]) if shape[0] > 1 else ():
        for name in ("usage", "perplexity"):
            found[f"{name}_{depth + 1}"] = OfDepth(counts, f"{name}_{depth + 1}", depth)
    return {name: metric for name, metric in found.items() if name == "usage" or name not in taken}
