import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae.training import adam

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "all arguments": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(0.1, 6), beta_1=0.5, beta_2=0.9, epsilon=0.1
    ),
    "adamw, clipped and averaged": lambda: keras.optimizers.AdamW(
        0.01, weight_decay=0.1, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9
    ),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01), initial_scale=4.0),
    "amsgrad": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "another": lambda: keras.optimizers.Nadam(0.01),
}


def trained(optimizer, apply, compiled=True):
    """The weights and the optimizer's own after five updates by the same gradients, one of them sparse."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in [(50, 7), (7,), (4, 3)]]
    optimizer.build(variables)

    def step(*dense):
        *gradients, values = dense
        apply(optimizer, [*gradients, tf.IndexedSlices(values, tf.constant([2, 0]), tf.constant([4, 3]))], variables)

    step = tf.function(step) if compiled else step
    for _ in range(5):
        step(*(tf.constant(rng.normal(size=shape).astype("float32")) for shape in [(50, 7), (7,), (2, 3)]))
    return [np.asarray(v) for v in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_as_keras(name):
    expected = trained(OPTIMIZERS[name](), lambda optimizer, *rest: optimizer.apply(*rest))
    for a, b in zip(trained(OPTIMIZERS[name](), adam.apply), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def operations(optimizer):
    variable = keras.Variable(np.ones(3, "float32"))
    optimizer.build([variable])
    graph = tf.function(lambda g: adam.apply(optimizer, [g], [variable])).get_concrete_function(tf.ones(3)).graph
    return [operation.type for operation in graph.get_operations()]


def test_adam_is_one_kernel_and_leaves_no_trace():
    optimizer = keras.optimizers.AdamW(0.01)
    assert operations(optimizer).count("ResourceApplyAdam") == 1
    assert optimizer.update_step.__func__ is keras.optimizers.Adam.update_step


def test_formulas_of_others_are_theirs():
    class Mine(keras.optimizers.Adam):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, 2.0 * gradient)

    assert "ResourceApplyAdam" not in operations(Mine())


def test_eager():
    optimizers = [keras.optimizers.Adam(0.01) for _ in range(2)]
    for a, b in zip(
        trained(optimizers[0], adam.apply, compiled=False), trained(optimizers[1], adam.apply), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
