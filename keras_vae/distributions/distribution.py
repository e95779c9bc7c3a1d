"""What users call of a distribution, with types: TFP has none, and type checkers and editors do not know it."""

from typing import Any, Protocol

import tensorflow as tf


class Distribution(Protocol):
    """A distribution of TFP, as `encode` and `decode` give them.

    It is for annotations alone: what comes is an object of TFP, and has all that its class has. Tensors are `Any`,
    since TensorFlow's own types refuse an index such as z[..., 0].
    """

    @property
    def batch_shape(self) -> tf.TensorShape:
        """Of the distributions that stand side by side."""

    @property
    def event_shape(self) -> tf.TensorShape:
        """Of one draw of one of them."""

    def sample(self, sample_shape: Any = (), seed: Any = None) -> Any:
        """Draws, [*sample_shape, *batch_shape, *event_shape]."""

    def log_prob(self, value: Any) -> Any:
        """Log-densities, in nats."""

    def prob(self, value: Any) -> Any:
        """Densities."""

    def mean(self) -> Any:
        """Means, [*batch_shape, *event_shape]."""

    def mode(self) -> Any:
        """Where the density is largest."""

    def variance(self) -> Any:
        """Variances of each dimension."""

    def stddev(self) -> Any:
        """Standard deviations of each dimension."""

    def covariance(self) -> Any:
        """Covariances within an event."""

    def entropy(self) -> Any:
        """Entropies, in nats."""

    def kl_divergence(self, other: Any) -> Any:
        """KL(self || other), in nats."""

    def __getattr__(self, name: str) -> Any:
        """What the class at hand has beside that, such as the `indices` of codes."""
