"""Names of Keras and TensorFlow that nobody has promised: all that the package uses of them stands here.

Each function says why no public name would do; tests/test_internals.py fails when one of them goes or changes.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# Methods of TensorFlow's and TFP's own that classes of ours replace, and which of ours: they would be silently ignored
# if they went.
REPLACED = {
    "tensorflow_probability.distributions.MixtureSameFamily._per_mixture_component_log_prob": "DiagonalMixture",
    "tensorflow.linalg.LinearOperatorLowRankUpdate._make_capacitance": "LowRankUpdate",
    "keras.Model._maybe_symbolic_build": "VAE",
}
# The name under which `fit` tells `evaluate` that its data were prepared already: they must not be looked at again.
CACHED_EVALUATION = "_use_cached_eval_dataset"
# Replicas that are in `gradients_left_as_they_are`, by the ids of their optimizers.
_INSIDE: dict[int, int] = {}
_LOCK = threading.Lock()


def adam_slots(adam: keras.optimizers.Adam, variable: keras.Variable) -> tuple[keras.Variable, keras.Variable]:
    """The moments m and v that Adam keeps of a variable. `optimizer.variables` lists them without saying whose."""
    index = adam._get_variable_index(variable)
    return adam._momentums[index], adam._velocities[index]


def optimizer_memory(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """What an optimizer remembers of past gradients, and its count of steps; not averaged weights, nor a loss scale.

    `optimizer.variables` does not tell the learning rate and the averages from the rest.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    kept = [inner._learning_rate, *(getattr(inner, "_model_variables_moving_average", None) or [])]
    ids = {id(variable) for variable in kept}
    return [variable for variable in inner.variables if id(variable) not in ids]


@contextlib.contextmanager
def gradients_left_as_they_are(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Gradients that are summed over the replicas already are not summed again; `apply` has no argument for that.

    The optimizer is the user's: once all replicas, which are threads, have left the context, it is as it was.
    """
    inner, name = getattr(optimizer, "inner_optimizer", optimizer), "_all_reduce_sum_gradients"
    with _LOCK:
        _INSIDE[id(inner)] = _INSIDE.get(id(inner), 0) + 1
        vars(inner)[name] = list
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE[id(inner)] -= 1
            if not _INSIDE[id(inner)]:
                del _INSIDE[id(inner)], vars(inner)[name]


def applies_without_merge_call() -> bool:
    """Whether an optimizer may be called inside of a condition, on each replica for itself."""
    return bool(tf.__internal__.distribute.strategy_supports_no_merge_call())


def settings_of_compile(model: keras.Model) -> dict[str, Any]:
    """What `compile` was given, by name, unchanged; `get_compile_config` fails for a user's own functions."""
    return dict(model._compile_config.config) if model.compiled else {}


def forget_losses(model: keras.Model) -> None:
    """Forget what layers have added to the loss in calls before; Keras does so at each call of a whole model."""
    model._clear_losses()


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """All layers at any depth; `model.layers` lists the outermost."""
    return list(model._flatten_layers())


def set_trainable(layer: keras.Layer, value: bool) -> None:
    """Freeze or thaw a layer and the weights of its own; `layer.trainable` does the same to all layers inside."""
    layer._trainable = value
    for variable in layer._trainable_variables:
        variable.trainable = value


class _Announced(list):
    """Takes the place of Keras's list of variables that have no value yet."""

    def __init__(self, announce: Callable[[keras.Variable], None]) -> None:
        super().__init__()
        self.announce = announce

    def append(self, variable: Any) -> None:
        self.announce(variable)


@contextlib.contextmanager
def variables_without_values(announce: Callable[[keras.Variable], None]) -> Iterator[None]:
    """Variables that are made inside of the context are announced and get no value: they take no memory.

    That is `keras.StatelessScope`, which keeps a list of them; nothing public says that there is one more.
    """
    from keras.src.backend.common import global_state

    name = "uninitialized_variables"
    before = global_state.get_global_attribute(name)
    global_state.set_global_attribute(name, _Announced(announce))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(name, before)


def profiles_batches(tensorboard: keras.callbacks.TensorBoard) -> bool:
    """Whether a profile is to start at some batch; the argument itself is not kept."""
    return tensorboard._start_batch > 0


def evaluate_step_by_step(model: keras.Model) -> None:
    """Let the validation that `fit` has prepared make one step in a call.

    Its iterator took over the number of steps of the training.
    """
    iterator = getattr(model, "_eval_epoch_iterator", None)
    if iterator is not None:
        iterator.steps_per_execution = 1


def build_ahead(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
    """Takes the place of `keras.Model._maybe_symbolic_build`.

    Under a strategy Keras averages the first batch over the replicas to learn its shape: labels and unequal parts have
    no mean. A VAE knows its shapes.
    """
    if self._distribute_strategy is not None:
        self.prepare_to_learn()


def write_fingerprint(folder: str) -> bytes:
    """The fingerprint of a SavedModel, as `tf.saved_model.save` writes it; the public API only reads it."""
    from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

    content: bytes = fingerprinting.CreateFingerprintDef(folder)
    return content


def partly_quantized(converter: tf.lite.TFLiteConverter, prepare: Callable[[bytes], tuple[bytes, set[str]]]) -> bytes:
    """What a converter to 8 bits gives, with some operators left in float32.

    `tf.lite.experimental.QuantizationDebugger` does the same, with a data set for its debugging and one signature.

    Args:
        converter: with its representative data set.
        prepare: of the calibrated model, the model that is to be quantised, and the names of the tensors whose
            operators stay in float32. At a range that ends at infinity TensorFlow's quantizer crashes, and the process
            with it.
    """
    from tensorflow.lite.python.convert import mlir_quantize

    converter._experimental_calibrate_only = True
    calibrated, in_float = prepare(converter.convert())
    content: bytes = mlir_quantize(
        calibrated, input_data_type=tf.float32, output_data_type=tf.float32, denylisted_nodes=in_float
    )
    return content


def slurm_lists() -> Any:
    """TensorFlow's readers of Slurm's lists of hosts and tasks; its resolver sorts n10 before n9."""
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver

    return slurm_cluster_resolver
