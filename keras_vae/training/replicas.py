"""What replicas and workers need beyond TensorFlow's strategies, so that together they do what one would."""

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import internals

# Each of these says how the data of the workers differ already.
OWN_SHARDING = (tf.data.experimental.AutoShardPolicy.OFF, tf.data.experimental.AutoShardPolicy.FILE)


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether there is more than this process: a cluster may have one worker alone."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or strategy.cluster_resolver is None:
        return False
    return sum(len(tasks) for tasks in strategy.cluster_resolver.cluster_spec().as_dict().values()) > 1


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files; always, where it is alone."""
    resolver = strategy.cluster_resolver if is_multi_worker(strategy) else None
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs)


def share_of_mean(mean: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """This replica's part of the mean over all replicas: the parts sum to it, however unequal the batches are.

    Args:
        mean: over the examples of this replica.
        count: their number, or the sum of their weights; where it is 0 the part is 0, whatever the mean.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return mean
    part = tf.math.divide_no_nan(count, replica.all_reduce("SUM", count))
    return tf.where(count > 0, mean * tf.cast(part, mean.dtype), tf.zeros_like(mean))


def fill_if_empty(*batch: tf.Tensor | None) -> tuple[list[Any], tf.Tensor | None]:
    """The tensors [B, ...], with one row of zeros if B = 0, and whether that was so; None for both if it cannot be.

    A replica may get nothing of a batch smaller than the number of replicas, or of the last one, and must still take
    part in the step. Few operations work on no examples: TFP does not sample for them.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return list(batch), None

    def filled(values: tf.Tensor | None) -> tf.Tensor | None:
        if values is None:
            return None
        missing = tf.maximum(0, 1 - tf.shape(values)[0])
        return tf.pad(values, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))

    return [filled(values) for values in batch], tf.equal(tf.shape(batch[0])[0], 0)


def sum_gradients(gradients: Sequence[tf.Tensor | None]) -> list:
    """The gradients summed over the replicas; let the optimizer apply them inside of `summed_already`.

    Keras sums inside `apply`, after it has clipped and looked for values that are not finite: on each replica its own.
    Replicas that come to different conclusions would drift apart or wait for each other for ever.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return list(gradients)
    summed = iter(replica.all_reduce("SUM", [g for g in gradients if g is not None]))
    return [None if g is None else next(summed) for g in gradients]


def check_devices(strategy: tf.distribute.Strategy) -> None:
    """See that no strategy over other devices was used before: TensorFlow gives the groups of all the same number.

    Raises:
        RuntimeError: saying what to do. Without it the process would be lost to an error of TensorFlow's.
    """
    if not isinstance(strategy, tf.distribute.MirroredStrategy) or strategy.num_replicas_in_sync == 1:
        return
    devices = tuple(strategy.extended.worker_devices)
    if _DEVICES and devices not in _DEVICES:
        raise RuntimeError(
            f"A MirroredStrategy over {len(_DEVICES[0])} devices was used in this process before, and TensorFlow takes "
            f"no second one over others (now {len(devices)}): use the first again, or start a new process."
        )
    if not _DEVICES:
        _DEVICES.append(devices)


# Of the first MirroredStrategy over several devices in this process.
_DEVICES: list[tuple[str, ...]] = []


def summed_already(optimizer: keras.optimizers.Optimizer) -> contextlib.AbstractContextManager[None]:
    """A context in which an optimizer does not sum gradients over the replicas, as they are summed."""
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return internals.gradients_left_as_they_are(optimizer) if several else contextlib.nullcontext()


def shard(strategy: tf.distribute.Strategy, data: Any, steps: int | None = None) -> tuple[Any, int | None]:
    """A dataset of whole batches as one of which every replica gets its part of every batch, in order.

    TensorFlow's own sharding joins all batches and cuts them anew: if an endless dataset has smaller batches now and
    then, its steps are no longer those of one device. Here every worker makes whole batches and keeps its own part,
    so the workers' datasets must be the same.

    Args:
        strategy: of the model.
        data: a `tf.data.Dataset`; anything else, and a dataset whose `auto_shard_policy` is OFF or FILE, is returned
            as it is.
        steps: of an epoch, if they are not all that `data` has.

    Returns:
        (`data`, `steps`), which belong together.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1 or not isinstance(data, tf.data.Dataset):
        return data, steps
    if data.options().experimental_distribute.auto_shard_policy in OWN_SHARDING:
        return data, steps
    if steps is None and int(data.cardinality()) > 0:
        # Of endless data nobody has to ask, before each step, whether all workers have got another batch.
        data, steps = data.repeat(), int(data.cardinality())

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def parts(*batch: Any) -> tf.data.Dataset:
            def part(replica: tf.Tensor) -> Any:
                def rows(values: tf.Tensor) -> tf.Tensor:
                    size = tf.shape(values, tf.int64)[0]
                    return values[size * replica // replicas : size * (replica + 1) // replicas]

                return tf.nest.map_structure(rows, batch if len(batch) > 1 else batch[0])

            return tf.data.Dataset.range(first, first + here).map(part)

        options = tf.data.Options()
        options.autotune.enabled = False
        result = data.flat_map(parts)
        if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
            result = result.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return result.prefetch(2 * here).with_options(options)

    return strategy.distribute_datasets_from_function(of_worker), steps


def for_keras(results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a step returns, in the form that Keras can average over workers: it does so over the first axis."""
    several = is_multi_worker(tf.distribute.get_strategy())
    return {name: result[tf.newaxis] if several else result for name, result in results.items()}


def follow_chief(strategy: tf.distribute.Strategy, variables: Iterable[Any]) -> None:
    """Give all workers the chief's values of `variables`; all workers must call this at the same point."""
    if not is_multi_worker(strategy):
        return
    variables = list(variables)
    values = _of_chief(strategy, [tf.convert_to_tensor(variable) for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def from_chief(strategy: tf.distribute.Strategy, value: Any = None) -> Any:
    """The chief's `value`, which JSON can express, on all workers; all must call this at the same point."""
    if not is_multi_worker(strategy):
        return value
    return json.loads(_bytes_from_chief(strategy, json.dumps(value).encode()))


def agree(strategy: tf.distribute.Strategy, is_asked: bool, number: int) -> tuple[bool, int]:
    """Whether any worker asks for something, and the chief's `number`; all must call this at the same point."""
    if not is_multi_worker(strategy):
        return is_asked, number
    asked, of_chief = _agreed(strategy)(tf.constant(int(is_asked)), tf.constant(number))
    local = strategy.experimental_local_results
    return bool(local(asked)[0] > 0), int(local(of_chief)[0])


def arrays_from_chief(strategy: tf.distribute.Strategy, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The chief's arrays, by name, on all workers; all must call this at the same point."""
    if not is_multi_worker(strategy):
        return dict(arrays)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    with np.load(io.BytesIO(_bytes_from_chief(strategy, stream.getvalue())), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def _bytes_from_chief(strategy: tf.distribute.Strategy, content: bytes) -> bytes:
    """The chief's bytes; those that the others give are not looked at."""
    (size,) = _of_chief(strategy, [tf.constant(len(content), tf.int64)])
    words = -(-int(size) // 4)
    mine = content.ljust(words * 4, b"\0")[: words * 4]
    (summed,) = _of_chief(strategy, [tf.constant(np.frombuffer(mine, np.int32))], [tf.TensorSpec([None], tf.int32)])
    return summed.numpy().tobytes()[: int(size)]


def _of_chief(
    strategy: tf.distribute.Strategy, values: list[tf.Tensor], specs: list[tf.TensorSpec] | None = None
) -> list[tf.Tensor]:
    """The chief's tensors on all workers."""
    reduced = _reduced(strategy, tuple(specs or [tf.TensorSpec.from_tensor(value) for value in values]))
    return [strategy.experimental_local_results(value)[0] for value in reduced(*values)]


@functools.lru_cache(maxsize=8)
def _reduced(strategy: tf.distribute.Strategy, specs: tuple[tf.TensorSpec, ...]) -> Callable[..., list[Any]]:
    @tf.function(input_signature=specs)
    def reduced(*values: tf.Tensor) -> list[Any]:
        def on_replica(*values: tf.Tensor) -> list[tf.Tensor]:
            replica = tf.distribute.get_replica_context()
            is_first = tf.equal(replica.replica_id_in_sync_group, 0)
            # A worker's own value may be NaN, which a product with 0 would keep.
            return [replica.all_reduce("SUM", tf.where(is_first, v, tf.zeros_like(v))) for v in values]

        return strategy.run(on_replica, args=values)

    return reduced


@functools.lru_cache(maxsize=8)
def _agreed(strategy: tf.distribute.Strategy) -> Callable[..., tuple[Any, Any]]:
    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)] * 2)
    def agreed(is_asked: tf.Tensor, number: tf.Tensor) -> tuple[Any, Any]:
        def on_replica(is_asked: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            replica = tf.distribute.get_replica_context()
            is_first = tf.equal(replica.replica_id_in_sync_group, 0)
            sums = replica.all_reduce("SUM", tf.stack([is_asked, tf.where(is_first, number, 0)]))
            return sums[0], sums[1]

        return strategy.run(on_replica, args=(is_asked, number))

    return agreed
