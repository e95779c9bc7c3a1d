"""Averaged weights follow the weights from the first steps on."""

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf

from keras_vae.training import averages


def averaged(optimizer, steps):
    """The weight at each step, which falls by 1 in each, and its average at the end."""
    weight = keras.Variable(0.0)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.build([weight])

    @tf.function
    def step():
        with averages.growing_window(optimizer):
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
