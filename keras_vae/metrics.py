"""What the compiled steps keep between batches beside the running means."""

from typing import Any

import keras
import tensorflow as tf


class BatchIndex(keras.metrics.Metric):
    """Counts the batches of an evaluation: like any metric it starts from zero whenever metrics are reset."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = self.add_variable((), "zeros", dtype="int32", name="index")

    def next(self) -> tf.Tensor:
        """The number of batches so far."""
        index = tf.identity(tf.convert_to_tensor(self.index))
        self.index.assign_add(1)
        return index

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `next` counts."""

    def result(self) -> tf.Tensor:
        """The number of batches so far."""
        return tf.convert_to_tensor(self.index)
