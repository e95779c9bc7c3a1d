"""Steps whose numbers go wrong: left out, counted, named, and never silent."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import likelihoods, networks, posteriors, priors, seeds
from keras_vae.callbacks import SkippedSteps, TrainingDiverged
from keras_vae.training.step_guard import REASONS


def make_vae(optimizer=None, body=None, likelihood=None, options=None, **arguments):
    vae = kv.VAE(
        kv.Encoder(body or networks.mlp([16]), posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(networks.mlp([16]), likelihood or likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(3),
        seed=1,
        **arguments,
    )
    vae.compile(optimizer or keras.optimizers.Adam(1e-2), **(options or {}))
    return vae


def state(vae):
    """All that training changes, but for the counters."""
    variables = [*vae.weights, *vae.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in variables if v is not vae.step]


def batches(x, size=16):
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


def with_nan(x, row):
    x = x.copy()
    x[row, 0, 0, 0] = np.nan
    return x


def is_finite(vae):
    return all(np.isfinite(value).all() for value in state(vae))


def body_with_statistics():
    layers = keras.layers
    return keras.Sequential([layers.Flatten(), layers.Dense(16), layers.BatchNormalization(), layers.ReLU()])


CASES = {
    "eager": {"run_eagerly": True},
    "xla": {"jit_compile": True},
    "averages, statistics": {"use_ema": True, "ema_momentum": 0.9},
    "accumulation": {"gradient_accumulation_steps": 2},
    "float16": {},
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case == "xla" else case for case in CASES]
)
def test_a_batch_with_a_nan_is_as_if_it_had_not_been(digits, case):
    compiled = case in ("eager", "xla")
    optimizer = keras.optimizers.Adam(1e-2, **({} if compiled else CASES[case]))
    if case == "float16":
        keras.config.set_dtype_policy("mixed_float16")
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**7)
    body = body_with_statistics() if "statistics" in case else None
    vae = make_vae(optimizer, body, options=CASES[case] if compiled else {})
    x = digits[:64]
    vae.adapt(x)
    optimizer.build(vae.trainable_variables)
    start = [keras.ops.convert_to_numpy(v) for v in (*vae.variables, *optimizer.variables)]
    for batch in np.split(with_nan(x, 20), 4):
        vae.train_on_batch(batch)
    assert vae.skip_counts.counts.numpy().tolist() == [1, 0, REASONS.index("x") + 1]
    assert int(vae.step) == 4
    skipped = state(vae)
    for variable, value in zip((*vae.variables, *optimizer.variables), start, strict=True):
        variable.assign(value)
    for step in (0, 2, 3):
        vae.step.assign(step)
        vae.train_on_batch(x[16 * step : 16 * step + 16])
    for a, b in zip(skipped, state(vae), strict=True):
        np.testing.assert_array_equal(a, b)


def test_logs_stay_as_they_are_where_nothing_is_skipped_and_rectangular_where_something_is(digits):
    vae = make_vae(keras.optimizers.Adam(0.0), options={"steps_per_execution": 2})
    x = digits[:64]
    vae.adapt(x)
    assert set(vae.fit(batches(x), verbose=0).history) == {"loss", "elbo", "log_likelihood", "kl"}
    vae.step.assign(0)
    data = batches(x).concatenate(batches(with_nan(x, 20))).repeat()
    history = vae.fit(data, epochs=2, steps_per_epoch=4, verbose=0).history
    assert history["skipped_steps"] == [0, 1]
    assert {len(values) for values in history.values()} == {2}
    # The means are over the steps that were taken: KL has a closed form, without noise.
    kl = [float(np.mean(vae.infer(x[i : i + 16], seed=0).kl)) for i in (0, 32, 48)]
    assert history["kl"][1] == pytest.approx(np.mean(kl), rel=1e-4)
    always = vae.fit(batches(x), callbacks=[SkippedSteps(always=True)], verbose=0).history
    assert always["skipped_steps"] == [0]
    vae.gradient_skip_norm, vae.train_function = 1e-6, None
    none = vae.fit(batches(x), verbose=0).history
    assert none["skipped_steps"] == [4] and np.isnan(none["elbo"]).all()


def gradient_norms(vae, x):
    norms = []
    for start in range(0, len(x), 16):
        with tf.GradientTape() as tape:
            seed = seeds.fold_in(vae.seed, tf.constant(start // 16, tf.int64))
            loss = vae.compute_objective(x[start : start + 16], None, None, seed, training=True)[1]
        norms.append(float(tf.linalg.global_norm(tape.gradient(loss, vae.trainable_variables))))
    return norms


@pytest.mark.parametrize("scale", [None, 2.0**10])
def test_steps_above_the_threshold_are_skipped(digits, scale):
    x = digits[:64]
    optimizer = keras.optimizers.SGD(0.0)
    if scale:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
    vae = make_vae(optimizer)
    vae.adapt(x)
    norms = gradient_norms(vae, x)
    keras.utils.set_random_seed(0)
    vae.gradient_skip_norm = float(np.sort(norms)[1:3].mean())
    assert vae.fit(batches(x), verbose=0).history["skipped_steps"] == [2]
    assert int(vae.optimizer.iterations) == 2
    assert REASONS[vae.skip_counts.counts.numpy()[2] - 1] == "norm"


def test_a_threshold_below_all_norms_stops_the_run_and_says_so(digits, tmp_path):
    vae = make_vae(gradient_skip_norm=1e-3)
    vae.adapt(digits)
    before = state(vae)
    with pytest.raises(TrainingDiverged, match=r"20 steps in a row .* above gradient_skip_norm=0\.001.*Raise"):
        vae.fit(batches(digits), epochs=2, verbose=0)
    for a, b in zip(before, state(vae)[: len(before)], strict=True):
        np.testing.assert_array_equal(a, b)
    vae.save(tmp_path / "vae.keras")
    assert keras.saving.load_model(tmp_path / "vae.keras").gradient_skip_norm == 1e-3
    with pytest.raises(ValueError, match="gradient_skip_norm must be a positive number"):
        make_vae(gradient_skip_norm=0)


INJECTED = {
    "rate 1e3, Adam": lambda: (make_vae(keras.optimizers.Adam(1e3)), None),
    "rate 1e3, SGD": lambda: (make_vae(keras.optimizers.SGD(1e3)), None),
    "rate 1e3, Normal": lambda: (make_vae(keras.optimizers.Adam(1e3), likelihood=likelihoods.Normal((8, 8, 1))), None),
    "black": lambda: (make_vae(keras.optimizers.Adam(0.1), likelihood=likelihoods.Normal((8, 8, 1))), 0.0),
    "constant": lambda: (make_vae(keras.optimizers.Adam(0.1), likelihood=likelihoods.Normal((8, 8, 1))), 0.7),
    "black, binary": lambda: (make_vae(keras.optimizers.Adam(0.1)), 0.0),
}


@pytest.mark.parametrize("name", INJECTED)
def test_training_survives_or_stops_with_a_message(digits, name):
    vae, constant = INJECTED[name]()
    x = digits[:256] if constant is None else np.full_like(digits[:256], constant)
    try:
        history = vae.fit(x, batch_size=8, epochs=3, verbose=0).history
    except TrainingDiverged as error:
        assert "was not finite" in str(error) and "Lower the learning rate (now 1000)" in str(error)
    else:
        assert np.isfinite(history["elbo"]).all()
    assert is_finite(vae)


def test_only_nan_data_stop_with_the_name_of_the_data(digits):
    vae = make_vae()
    data = batches(digits[:16]).concatenate(batches(np.full_like(digits[:16], np.nan)).repeat())
    with pytest.raises(TrainingDiverged, match=r"x \(the data\) was not finite; \d+ were skipped.*np\.isfinite"):
        vae.fit(data, steps_per_epoch=20, epochs=1, callbacks=[SkippedSteps(limit=5)], verbose=0)
    assert is_finite(vae)


def test_an_overflow_of_float16_is_left_to_the_scale_of_the_loss(digits):
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), initial_scale=2.0**24)
    vae = make_vae(optimizer)
    history = vae.fit(digits[:512], batch_size=16, epochs=2, verbose=0).history
    assert float(optimizer.dynamic_scale) < 2.0**24  # there were overflows
    assert int(optimizer.iterations) < 64
    assert "skipped_steps" not in history
    assert history["elbo"][1] > history["elbo"][0]


def test_a_lasting_overflow_of_float16_stops_with_that_advice(digits):
    keras.config.set_dtype_policy("mixed_float16")
    vae = make_vae(likelihood=likelihoods.Normal((8, 8, 1), scale=1.0))
    with pytest.raises(TrainingDiverged, match="float16 ends at 65504"):
        vae.fit(digits[:400] * 1e6, batch_size=16, epochs=1, verbose=0)
    assert is_finite(vae)


def test_adapt_leaves_out_examples_that_are_not_finite(digits):
    vae, twin = make_vae(), make_vae()
    vae.adapt(with_nan(digits[:20], 3))
    twin.adapt(np.delete(digits[:20], 3, axis=0))
    np.testing.assert_array_equal(vae.decoder.output_layer.bias, twin.decoder.output_layer.bias)
    with pytest.raises(ValueError, match="all finite"):
        vae.adapt(np.full_like(digits[:4], np.inf))
