"""The progress bar that users see, as it is printed."""

import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import callbacks, likelihoods, networks, posteriors, priors

X = (np.random.default_rng(0).random((67, 4, 4, 1)) < 0.3).astype("float32")  # 34 batches of 2


def make_vae(**options):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((4, 4, 1))),
        priors.StandardNormal(2),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


def dataset():
    return tf.data.Dataset.from_tensor_slices(X).batch(2)


def counts(printed: str) -> list[tuple[int, str]]:
    """Steps and total of every state of the bars, in the order in which they were printed."""
    plain = re.sub(r"\x1b\[\d+m", "", printed)
    return [(int(step), total) for step, total in re.findall(r"(\d+)/(\d+|Unknown) ", plain)]


@pytest.fixture
def every_state(monkeypatch):
    """The bar is printed at each call, and not 20 times a second."""
    draw = keras.utils.Progbar.__init__
    monkeypatch.setattr(keras.utils.Progbar, "__init__", lambda *a, **k: draw(*a, **{**k, "interval": -1.0}))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras says so of any data of unknown size
@pytest.mark.parametrize("steps", [None, 3, pytest.param(34, marks=pytest.mark.slow), 50])
def test_it_counts_to_its_own_total(steps, every_state, capsys):
    vae = make_vae(**({} if steps is None else {"steps_per_execution": steps}))
    kinds = {
        "array": {"x": X, "batch_size": 2},
        "dataset": {"x": dataset()},
        "unknown": {"x": dataset().filter(lambda _: True)},
        "endless": {"x": dataset().repeat(), "steps_per_epoch": 34},
    }
    for kind, options in kinds.items():
        vae.fit(**options, validation_data=dataset(), epochs=2)
        seen = counts(capsys.readouterr().out)
        ends = [index for index, state in enumerate(seen) if state == (34, "34")]
        assert ends[-1] == len(seen) - 1 and len(ends) >= 2
        if kind == "unknown":  # the first epoch tells how many there are
            seen = seen[ends[0] :]
        assert all(total == "34" and step <= 34 for step, total in seen), (kind, seen)
        steps_seen = [step for step, _ in seen]
        assert all(a <= b or a == 34 for a, b in itertools.pairwise(steps_seen)), (kind, seen)


def test_evaluations_and_predictions_count_too(every_state, capsys):
    vae = make_vae(steps_per_execution=10)
    for work in (lambda: vae.evaluate(dataset()), lambda: vae.evaluate(X, batch_size=2), lambda: vae.predict(X, 2)):
        work()
        seen = counts(capsys.readouterr().out)
        assert seen[-1] == (34, "34") and max(step for step, _ in seen) == 34 and len(seen) >= 4


def test_an_epoch_that_is_resumed_is_counted_to_its_end(tmp_path, every_state, capsys):
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 19:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept = callbacks.Checkpoints(tmp_path, seconds=None, steps=10)
        make_vae().fit(X, batch_size=2, epochs=2, callbacks=[kept, Stops()])
    capsys.readouterr()
    make_vae().fit(X, batch_size=2, epochs=2, callbacks=[callbacks.Checkpoints(tmp_path)])
    seen = counts(capsys.readouterr().out)
    first = seen[: 1 + seen.index((34, "34"))]
    assert next(step for step, _ in first) > 20 and all(total == "34" and step <= 34 for step, total in seen)
    assert seen[-1] == (34, "34") and min(step for step, _ in seen[len(first) + 1 :]) < 20


def test_a_bar_of_the_users_and_none_are_left_alone(capsys):
    class Own(keras.callbacks.ProgbarLogger):
        def on_epoch_begin(self, epoch, logs=None):
            print("mine")
            super().on_epoch_begin(epoch, logs)

    vae = make_vae()
    vae.fit(X, batch_size=2, callbacks=[Own()], verbose=2)
    assert capsys.readouterr().out.count("mine") == 1
    vae.fit(X, batch_size=2, verbose=0)
    assert capsys.readouterr().out == ""
    vae.fit(X, batch_size=2, verbose=2)
    assert counts(capsys.readouterr().out) == [(34, "34")]
