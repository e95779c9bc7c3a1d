"""The names of Keras and TensorFlow that nobody has promised are there, and mean what the package takes them for."""

import functools
import importlib
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae  # noqa: F401 - its classes are looked for
from keras_vae import internals


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.Sequential([keras.layers.Dense(2)]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), loss="mse")
    return model


def test_adam_keeps_two_moments_of_each_variable(model):
    x = np.ones((4, 3), "float32")
    model.fit(x, x[:, :1], epochs=1, verbose=0)
    adam = model.optimizer
    for variable in model.trainable_variables:
        m, v = internals.adam_slots(adam, variable)
        assert m.shape == v.shape == variable.shape
        # After one step m = (1 - beta_1) g and v = (1 - beta_2) g^2.
        np.testing.assert_allclose(np.square(m / (1 - adam.beta_1)), v / (1 - adam.beta_2), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer])
def test_the_memory_of_an_optimizer_is_all_but_rate_and_averages(wrap):
    weight = keras.Variable(np.ones(3, "float32"))
    adam = keras.optimizers.Adam(0.1, use_ema=True)
    optimizer = wrap(adam)
    optimizer.build([weight])
    memory = internals.optimizer_memory(optimizer)
    assert {variable.path.rsplit("/", 1)[-1].rsplit("_", 1)[-1] for variable in memory} == {
        "iteration",
        "momentum",
        "velocity",
    }
    assert len(memory) == len(adam.variables) - 2


def test_gradients_are_not_summed_again_and_the_optimizer_is_as_it_was():
    adam = keras.optimizers.Adam()
    gradients, before = [tf.ones(2)], dict(vars(adam))
    left = internals.gradients_left_as_they_are
    with pytest.raises(ZeroDivisionError), left(adam):
        with left(keras.optimizers.LossScaleOptimizer(adam)):
            assert adam._all_reduce_sum_gradients(gradients)[0] is gradients[0]
        # Another replica is still inside.
        assert adam._all_reduce_sum_gradients(gradients)[0] is gradients[0]
        raise ZeroDivisionError
    assert vars(adam) == before and callable(adam._all_reduce_sum_gradients)


def test_a_merge_call_is_needed_on_several_devices_of_one_process_only():
    assert internals.applies_without_merge_call()


def test_layers_are_found_at_any_depth(model):
    dense = [layer for layer in internals.layers_of(model) if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == 2


@pytest.mark.parametrize("profile_batch, profiles", [(0, False), (3, True), ((2, 4), True)])
def test_tensorboard_says_when_it_profiles(profile_batch, profiles, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, profile_batch=profile_batch)
    assert internals.profiles_batches(board) is profiles


def test_fit_keeps_the_iterator_of_its_validation_and_says_so(model):
    seen = []

    class Watched(keras.Sequential):
        def evaluate(self, *args, **kwargs):
            seen.append((kwargs[internals.CACHED_EVALUATION], self._eval_epoch_iterator.steps_per_execution))
            internals.evaluate_step_by_step(self)
            seen.append(self._eval_epoch_iterator.steps_per_execution)
            self.steps_per_execution = 1
            return super().evaluate(*args, **kwargs)

    watched = Watched([keras.Input((3,)), keras.layers.Dense(1)])
    watched.compile("sgd", loss="mse", steps_per_execution=2)
    x = np.ones((8, 3), "float32")
    watched.fit(x, x[:, :1], batch_size=2, validation_data=(x, x[:, :1]), verbose=0)
    assert seen == [(True, 2), 1]


def test_keras_builds_ahead_by_the_method_that_is_replaced():
    assert callable(keras.Model._maybe_symbolic_build)
    called = []

    class Model:
        _distribute_strategy = None

        def prepare_to_learn(self):
            called.append(True)

    model = Model()
    internals.build_ahead(model, iterator=None)
    assert not called
    model._distribute_strategy = tf.distribute.get_strategy()
    internals.build_ahead(model, data_batch=None)
    assert called


@pytest.mark.parametrize("name, ours", internals.REPLACED.items())
def test_what_classes_of_ours_replace_is_there(name, ours):
    module, owner, method = name.rsplit(".", 2)
    root, *inner = module.split(".")
    found = functools.reduce(getattr, inner, importlib.import_module(root))
    assert callable(getattr(getattr(found, owner), method))
    (mine,) = (cls for cls in subclasses(getattr(found, owner)) if cls.__name__ == ours)
    assert method in vars(mine)


def subclasses(cls):
    return {child for each in cls.__subclasses__() for child in (each, *subclasses(each))}


def test_a_fingerprint_is_written(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda: tf.ones([]), input_signature=[])
    tf.saved_model.save(module, str(tmp_path / "model"))
    assert internals.write_fingerprint(str(tmp_path / "model"))


def test_slurm_lists_are_read_in_their_order():
    lists = internals.slurm_lists()
    assert lists.expand_hostlist("n[9-10]") == ["n9", "n10"]
    assert lists.expand_tasks_per_node("2(x2)") == [2, 2]


def test_a_layer_is_frozen_without_those_inside(model):
    inner = model.layers[0]
    internals.set_trainable(inner, False)
    assert not inner.trainable and inner.layers[0].trainable
    dense = inner.layers[0]
    internals.set_trainable(dense, False)
    assert not dense.kernel.trainable and len(model.trainable_variables) == 2


def test_variables_without_values_are_announced_and_none_is_left():
    announced = []
    with internals.variables_without_values(announced.append):
        layer = keras.layers.Dense(10**6)
        layer.build((None, 10**6))  # 4 TB
    assert announced == [layer.kernel, layer.bias]
    with keras.StatelessScope():
        pass  # at its end Keras makes the values of all that have none
    assert keras.layers.Dense(2)(np.ones((1, 3), "float32")).shape == (1, 2)


def test_the_converter_stops_after_the_calibration_and_takes_names_of_what_stays_in_float():
    """What that is worth, `tests/export/test_tflite.py` measures: scores that tell anomalies."""
    from tensorflow.lite.python.convert import mlir_quantize

    traced = tf.function(lambda x: x + 1.0).get_concrete_function(tf.TensorSpec([1, 2]))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    assert converter._experimental_calibrate_only is False
    assert {"input_data_type", "output_data_type", "denylisted_nodes"} <= set(
        inspect.signature(mlir_quantize).parameters
    )
