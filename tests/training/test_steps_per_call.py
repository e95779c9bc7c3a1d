"""How many steps a call makes: told by nobody but the clock."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import callbacks, likelihoods, networks, posteriors, priors
from keras_vae.training import steps_per_call
from keras_vae.training.callback import FitCallback

X = (np.random.default_rng(0).random((215, 4, 4, 1)) < 0.3).astype("float32")


class Looks(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)


class Glances(FitCallback, Looks):
    """It has a hook for batches, and only wants to be called now and then."""


def make_vae(chooses=True, **options):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.StandardNormal(2),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    vae.chooses_steps_per_execution = chooses
    return vae


def batches(number, size=None):
    data = tf.data.Dataset.from_tensors(X[:2]).repeat(number)
    return data if size is None else data.apply(tf.data.experimental.assert_cardinality(size))


def test_the_number_follows_from_the_data():
    def number(x, step=0, **options):
        return steps_per_call.suitable({"x": x, **options}, step)

    assert [number(batches(n)) for n in (1, 19, 20, 59, 101, 469)] == [1, 1, 2, 5, 10, 10]
    assert [number(batches(None), steps_per_epoch=n) for n in (1, 60, 469, 391, 600)] == [1, 6, 7, 1, 10]
    # One that was interrupted after 14 of 469 steps goes on in sevens, one after 10 in ones.
    assert [number(batches(None), step, steps_per_epoch=469) for step in (14, 10)] == [7, 1]
    assert number(batches(None)) == number(batches(5, tf.data.UNKNOWN_CARDINALITY)) == number(X) == 1


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        (Looks, True),
        (Glances, False),
        (lambda: keras.callbacks.LambdaCallback(on_train_batch_end=print), True),
        (lambda: keras.callbacks.LambdaCallback(on_epoch_end=print), False),
        (keras.callbacks.TerminateOnNaN, True),
        (lambda: keras.callbacks.TensorBoard("logs"), False),
        (lambda: keras.callbacks.TensorBoard("logs", update_freq="batch"), True),
        (lambda: keras.callbacks.ModelCheckpoint("model.keras"), False),
        (lambda: keras.callbacks.ModelCheckpoint("model.keras", save_freq=10), True),
        (lambda: keras.callbacks.BackupAndRestore("backup"), False),
        (lambda: keras.callbacks.EarlyStopping(), False),
        (lambda: callbacks.SkippedSteps(), False),
        (lambda: callbacks.Checkpoints("checkpoints"), False),
    ],
)
def test_which_callbacks_are_called_after_each_step(make, needs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert steps_per_call.needs_every_batch(make()) is needs


def test_nobody_can_tell_but_by_the_clock():
    looks, glances, results = Looks(), Glances(), []
    for options, callback in [({}, looks), ({}, glances), ({"chooses": False}, Glances())]:
        vae = make_vae(**options)
        history = vae.fit(X, batch_size=4, epochs=2, validation_data=(X[:7],), callbacks=[callback], verbose=0)
        results.append((vae.get_weights(), history.history, vae.evaluate(X[:7], verbose=0, return_dict=True)))
    assert looks.seen == [*range(54)] * 2
    assert len(glances.seen) == 2 * 11
    for weights, history, evaluated in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(weights, results[0][0], strict=True))
        assert (history, evaluated) == results[0][1:]


def test_what_is_no_training_is_done_step_by_step():
    vae = make_vae()
    vae.fit(batches(None), steps_per_epoch=100, validation_data=batches(None), validation_steps=3, verbose=0)
    assert int(vae.step) == 100
    # The noise of an evaluation follows from the number of batches that it saw.
    assert int(tf.convert_to_tensor(vae._batch_index.result())) == 3
    vae.evaluate(batches(None), steps=7, verbose=0)
    assert int(tf.convert_to_tensor(vae._batch_index.result())) == 7
    assert vae.predict(batches(None), steps=7, verbose=0).shape == (14, 4, 4, 1)
    vae.train_on_batch(X[:2])
    assert int(vae.step) == 101
    vae.fit(X[:8], batch_size=2, verbose=0)
    assert int(vae.step) == 105


def test_a_model_that_was_not_compiled_is_loaded_as_such(tmp_path):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.StandardNormal(2),
    )
    vae.save(tmp_path / "vae.keras")
    assert not keras.saving.load_model(tmp_path / "vae.keras").compiled


def test_a_loaded_model_chooses_as_the_saved_one_did(tmp_path):
    for options, calls in (({}, 11), ({"steps_per_execution": 3}, 18)):
        vae = make_vae(**options)
        vae.fit(X, batch_size=4, verbose=0)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        assert loaded.steps_per_execution == options.get("steps_per_execution", 1)
        assert int(loaded.optimizer.iterations) == 54
        glances = Glances()
        loaded.fit(X, batch_size=4, callbacks=[glances], verbose=0)
        assert len(glances.seen) == calls


def test_the_choice_can_be_taken_back(tmp_path):
    vae = make_vae()
    for chooses, calls in ((True, 11), (False, 54), (True, 11)):
        vae.chooses_steps_per_execution = chooses
        glances = Glances()
        vae.fit(X, batch_size=4, callbacks=[glances], verbose=0)
        assert len(glances.seen) == calls
    assert int(vae.step) == 3 * 54


def test_the_largest_divisor():
    assert [steps_per_call.largest_divisor(n, 10) for n in (11, 12, 285, 7, 1, 100)] == [1, 6, 5, 7, 1, 10]
    assert steps_per_call.largest_divisor(10, 3) == 2
