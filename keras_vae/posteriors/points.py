"""One deterministic z for a distribution of TFP: its mean, or what takes its place where it has none."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def centre(q: tfd.Distribution, has_mean: bool = True) -> tf.Tensor:
    """The mean, [B, L]; where there is none, or TFP has no formula, the first that there is of:

    what a distribution of this package calls its `point`, the median,
    f of the centre of the base of a transformed distribution z = f(u), the mode.

    Args:
        q: batch [B], event [L].
        has_mean: whether the mean is known to exist.

    Raises:
        ValueError: if there is none of these.
    """
    inner = q.distribution if hasattr(q, "reinterpreted_batch_ndims") else q
    ways = [
        lambda: inner.point,
        lambda: inner.quantile(0.5),
        lambda: inner.bijector.forward(centre(inner.distribution)),
        inner.mode,
    ]
    for way in [inner.mean, *ways] if has_mean else ways:
        try:
            point = way()
        except (NotImplementedError, AttributeError):  # TFP has no formula, or q is not transformed
            continue
        return tf.ensure_shape(point, [None, *q.event_shape]) if point.shape.rank is None else point
    raise ValueError(
        f"TFP knows neither mean nor median nor mode of {type(inner).__name__}, one of which is the z that stands for "
        "an example in reconstructions, codes and exports: define it in your posterior, def point(self, q), [B, L]."
    )
