"""What several replicas and workers need beyond TensorFlow's strategies."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def follow_chief(strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]) -> None:
    """Give all workers the chief's values: each may have initialised them from its own part of the data."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return

    @tf.function
    def chief_values() -> list[tf.Tensor]:
        def on_replica() -> list[tf.Tensor]:
            replica = tf.distribute.get_replica_context()
            is_chief = tf.equal(replica.replica_id_in_sync_group, 0)
            values = [tf.convert_to_tensor(variable) for variable in variables]
            return [replica.all_reduce("SUM", tf.where(is_chief, v, tf.zeros_like(v))) for v in values]

        return strategy.run(on_replica)

    for variable, value in zip(variables, chief_values(), strict=True):
        variable.assign(strategy.experimental_local_results(value)[0])
