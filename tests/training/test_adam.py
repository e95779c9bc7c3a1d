import keras
import numpy as np
import pytest
import small_models
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


def averaged(optimizer, steps):
    """The weight at each step, which falls by 1 in each, and its average at the end."""
    weight = keras.Variable(0.0)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.build([weight])

    @tf.function
    def step():
        with adam.growing_window(optimizer):
            optimizer.apply([tf.ones(())], [weight])

    values = []
    for _ in range(steps):
        step()
        values.append(float(weight.numpy()))
    return np.array(values), float(inner._model_variables_moving_average[0].numpy())


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("momentum", "steps"), [(0.999, 1), (0.999, 2), (0.999, 300), (0.9, 300)])
def test_the_window_is_a_tenth_of_the_steps_until_it_is_full(momentum, steps, scaled):
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=momentum)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    values, found = averaged(optimizer, steps)
    expected = values[0]
    for t, value in enumerate(values[1:], start=1):
        m = min(momentum, (1 + t) / (10 + t))
        expected = m * expected + (1 - m) * value
    assert found == pytest.approx(expected, rel=1e-4)
    assert getattr(optimizer, "inner_optimizer", optimizer).ema_momentum == momentum
    # A weight that moves steadily lies as far behind as the window is long.
    behind = found - values[-1]
    assert behind <= max(1.0, 0.15 * steps, 0)
    assert behind <= momentum / (1 - momentum) + 1e-3


def test_after_few_steps_averaged_weights_are_as_good_as_those_they_average():
    x = (np.random.default_rng(0).random((256, 8, 8, 1)) < 0.1).astype("float32")
    keras.utils.set_random_seed(0)
    vae = small_models.make_vae(seed=0)
    vae.compile(keras.optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.9999))
    start = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    vae.fit(x, epochs=25, verbose=0)
    raw = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    vae.optimizer.finalize_variable_values(vae.trainable_variables)
    averaged = vae.evaluate(x, verbose=0, return_dict=True)["elbo"]
    assert raw > start + 10
    assert averaged > raw - 0.5
