"""Runs that are cut off and go on, in one process; test_resume.py kills real ones."""

import os
import signal

import keras
import numpy as np
import parts
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import callbacks, data, files, likelihoods, networks, objectives, posteriors, priors
from keras_vae.training import checkpoint_files

EPOCHS, STEPS = 4, 5


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        if int(keras.ops.convert_to_numpy(self.model.step)) >= self.at:
            raise Killed


class Terminate(keras.callbacks.Callback):
    """Send this process SIGTERM, as Kubernetes, Slurm and Docker do, once at a moment of training."""

    def __init__(self, hook, at):
        super().__init__()
        self.is_sent, self.at = False, at
        vars(self)[hook] = self.send

    def send(self, *_, **__):
        if not self.is_sent and int(keras.ops.convert_to_numpy(self.model.step)) >= self.at:
            self.is_sent = True
            os.kill(os.getpid(), signal.SIGTERM)


def make_vae(case="", seed=None, **options):
    body = networks.mlp([8])
    if case == "float16":
        body = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.Dropout(0.5, seed=3)])
    encoder = kv.Encoder(body, posteriors.MultivariateNormalDiag(2))
    decoder = kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1)))
    if case == "levels":
        encoder = parts.encoder("ladder_iaf", [4, 4], encoder.posterior)
        decoder = parts.decoder("ladder_iaf", [4, 4], decoder.likelihood)
    vae = kv.VAE(encoder, decoder, priors.StandardNormal(2), seed=seed, **options)
    options = {
        "averages": {"use_ema": True, "ema_momentum": 0.9},
        "accumulation": {"gradient_accumulation_steps": 2},
    }.get(case, {})
    optimizer = keras.optimizers.Adam(0.02, **options)
    if case == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**20, dynamic_growth_steps=3)
    vae.compile(optimizer, steps_per_execution=5 if case == "accumulation" else 1)
    vae.chooses_steps_per_execution = False
    return vae


def fit(folder, x, case="", kill=None, epochs=EPOCHS, **options):
    """Train a new model, from the checkpoints in `folder`; without a seed of its own it would be another one."""
    if case == "float16":
        keras.config.set_dtype_policy("mixed_float16")
    vae = make_vae(case, seed=1 if kill == "never" else None)
    vae.build()
    if kill == "never" or not checkpoint_files.paths(folder):
        # The same start for all; a resumed one takes its weights from the checkpoint.
        vae.seed = 1
        for index, variable in enumerate(vae.trainable_variables):
            noise = np.random.default_rng(index).normal(size=variable.shape)
            variable.assign(0.1 * noise)
    stoppers = [
        keras.callbacks.ReduceLROnPlateau(monitor="val_elbo", mode="max", patience=1, min_delta=1.0, factor=0.5),
        keras.callbacks.EarlyStopping(
            monitor="val_loss", mode="min", min_delta=1e-4, patience=3, restore_best_weights=True
        ),
    ]
    saver = callbacks.Checkpoints(folder, best=folder.with_suffix(".keras"), steps=1 if kill != "never" else 3)
    killer = [Kill(kill)] if isinstance(kill, int) else [Terminate(*kill)] if isinstance(kill, tuple) else []
    average = [keras.callbacks.SwapEMAWeights()] if case == "averages" else []
    history = vae.fit(
        x,
        epochs=epochs,
        validation_data=np.ones((8, 8, 8, 1), "float32"),
        callbacks=[*stoppers, saver, *killer, *average],
        verbose=0,
        **options,
    )
    return vae, history


def state(vae):
    metrics = [variable for metric in vae.metrics for variable in metric.variables]
    return [np.asarray(v) for v in [*vae.variables, *vae.optimizer.variables, *metrics, vae.skip_counts.counts]]


def assert_equal(a, b):
    for u, v in zip(state(a[0]), state(b[0]), strict=True):
        np.testing.assert_array_equal(u, v)
    assert a[0].history.history == b[0].history.history
    assert a[0].history.epoch == b[0].history.epoch


DATA = {
    "arrays": lambda x: x[: 16 * STEPS - 3],
    "data.load": lambda x: data.Arrays(x[: 16 * STEPS - 3]).dataset(16, seed=3, shuffle=True),
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices(x[: 16 * STEPS - 3]).batch(16),
    "endless": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(16).repeat(),
}
CASES = [
    ("arrays", ""),
    pytest.param("arrays", "levels", marks=pytest.mark.slow),
    pytest.param("data.load", "averages", marks=pytest.mark.slow),
    pytest.param("dataset", "float16", marks=pytest.mark.slow),
    pytest.param("endless", "accumulation", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind, case", CASES)
def test_a_run_that_is_cut_off_ends_as_if_it_had_not_been(digits, tmp_path, capsys, kind, case):
    x = DATA[kind](digits)
    options = {"batch_size": 16} if kind == "arrays" else {"steps_per_epoch": STEPS} if kind == "endless" else {}
    whole = fit(tmp_path / "whole", x, case, kill="never", **options)
    assert len(whole[1].history["learning_rate"]) == EPOCHS
    assert whole[1].history["learning_rate"][-1] < whole[1].history["learning_rate"][0]
    for moment in (3, 3 * STEPS + 4) if kind == "arrays" else (3 * STEPS + 4,):
        with pytest.raises(Killed):
            fit(tmp_path / "cut", x, case, kill=moment, **options)
    capsys.readouterr()
    again = fit(tmp_path / "cut", x, case, **options)
    position = "step 15 (3 epochs)" if case == "accumulation" else "step 19 (3 epochs and 4 steps)"
    assert f"resumed from {position}" in capsys.readouterr().out
    assert_equal(whole, again)
    best = [keras.saving.load_model(tmp_path / f"{name}.keras").get_weights() for name in ("whole", "cut")]
    for a, b in zip(*best, strict=True):
        np.testing.assert_array_equal(a, b)
    if kind == "arrays":
        # A run that has ended has nothing left to do.
        done, history = fit(tmp_path / "cut", x, case, **options)
        assert history.history == whole[1].history
        for a, b in zip(done.get_weights(), whole[0].get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def own_signals():
    """That of the system for SIGTERM: a test runner that shares its work among processes has a handler of its own."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


MOMENTS = {
    "within an epoch": (("on_train_batch_end", 2 * STEPS + 2), "step 13 (2 epochs and 3 steps)"),
    "at the end of an epoch": (("on_epoch_end", 2 * STEPS), "step 11 (2 epochs and 1 steps)"),
    "before a validation": (("on_train_batch_begin", 2 * STEPS - 1), "step 10 (1 epochs and 5 steps)"),
    "within a validation": (("on_test_batch_begin", 2 * STEPS), "step 10 (1 epochs and 5 steps)"),
    "after a validation": (("on_test_end", 2 * STEPS), "step 10 (2 epochs)"),
}


@pytest.mark.parametrize(
    ("case", "moments"),
    [
        ("", ["within an epoch", "within a validation"]),
        pytest.param("averages", [*MOMENTS], marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("own_signals")
def test_a_run_that_is_told_to_end_is_saved_to_the_step_and_goes_on(digits, tmp_path, capsys, case, moments):
    x = digits[: 16 * STEPS - 3]
    whole = fit(tmp_path / "whole", x, case, kill="never", batch_size=16)
    before = signal.getsignal(signal.SIGTERM)
    for moment in moments:
        kill, position = MOMENTS[moment]
        with pytest.raises(SystemExit) as end:
            fit(tmp_path / moment, x, case, kill=kill, batch_size=16)
        assert end.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before
        capsys.readouterr()
        again = fit(tmp_path / moment, x, case, batch_size=16)
        assert f"resumed from {position}" in capsys.readouterr().out, moment
        assert_equal(whole, again)


@pytest.mark.slow
def test_a_signal_goes_to_whoever_handles_it_once_the_run_is_saved_and_a_second_one_at_once(digits, tmp_path):
    class Own(Exception):
        pass

    def own(*_):
        raise Own

    before = signal.signal(signal.SIGTERM, own)
    try:
        for hook in ("on_train_batch_end", "on_train_begin"):
            with pytest.raises(Own):
                fit(tmp_path / hook, digits[:64], kill=(hook, 0), batch_size=16)
            # Where nothing was trained yet there is nothing to wait for.
            assert bool(checkpoint_files.paths(tmp_path / hook)) == (hook == "on_train_batch_end")
            assert signal.getsignal(signal.SIGTERM) == own
        twice = Terminate("on_train_batch_end", 2), Terminate("on_train_batch_end", 2)
        vae, saver = make_vae(seed=1), callbacks.Checkpoints(tmp_path / "twice")
        with pytest.raises(Own):
            vae.fit(digits[:64], batch_size=16, callbacks=[saver, *twice], verbose=0)
        assert not checkpoint_files.paths(tmp_path / "twice") and int(vae.step) == 2
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        fit(tmp_path / "ignored", digits[:64], kill=("on_train_batch_end", 2), batch_size=16, epochs=1)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("own_signals")
def test_a_run_without_checkpoints_within_epochs_ends_at_the_last_one_when_it_is_told_to(digits, tmp_path):
    def batches():
        while True:
            yield (digits[:16],)

    vae, saver = make_vae(seed=1), callbacks.Checkpoints(tmp_path, seconds=0)
    ends = Terminate("on_train_batch_begin", 7)
    with pytest.raises(SystemExit):
        vae.fit(batches(), epochs=3, steps_per_epoch=STEPS, callbacks=[saver, ends], verbose=0)
    assert saver.saved == (5, 1, 0)


def test_while_training_the_folder_is_no_other_process_s(digits, tmp_path):
    with files.locked(tmp_path), pytest.raises(files.Busy, match=f"process {os.getpid()} on .* has been writing to"):
        make_vae().fit(digits[:32], callbacks=[callbacks.Checkpoints(tmp_path)], verbose=0)
    with pytest.raises(Killed):
        make_vae().fit(digits[:64], callbacks=[callbacks.Checkpoints(tmp_path), Kill(1)], verbose=0)
    with files.locked(tmp_path):  # whatever ended the training
        pass


def test_a_run_that_was_stopped_early_goes_on_with_more_patience(digits, tmp_path):
    def train(patience, epochs=8):
        stopper = keras.callbacks.EarlyStopping(monitor="loss", mode="min", min_delta=1e9, patience=patience)
        callers = [stopper, callbacks.Checkpoints(tmp_path)]
        return len(make_vae(seed=1).fit(digits[:32], epochs=epochs, callbacks=callers, verbose=0).epoch)

    assert [train(2), train(2), train(2, epochs=20), train(4), train(4)] == [3, 3, 3, 5, 5]


def test_checkpoints_of_another_run_are_refused(digits, tmp_path):
    def train(folder, run):
        return make_vae(seed=1).fit(digits[:32], callbacks=[callbacks.Checkpoints(folder, run=run)], verbose=0)

    train(tmp_path / "a", "a")
    for run in ("b", "c"):
        with pytest.raises(ValueError, match="are of another run"):
            train(tmp_path / "a", run)
    train(tmp_path / "a", None)


def damage(path, how):
    arrays, state = path / checkpoint_files.ARRAYS, path / checkpoint_files.STATE
    if how == "cut off":
        arrays.write_bytes(arrays.read_bytes()[:-100])
    elif how == "one bit":
        content = bytearray(arrays.read_bytes())
        content[len(content) // 2] ^= 1
        arrays.write_bytes(bytes(content))
    elif how == "no arrays":
        arrays.unlink()
    elif how == "no state":
        state.unlink()
    elif how == "half a state":
        state.write_bytes(state.read_bytes()[: len(state.read_bytes()) // 2])
    elif how == "changed state":
        text = state.read_text()
        assert "best_epoch" in text
        state.write_text(text.replace("best_epoch", "best_epocH"))
    elif how == "zeros":
        for file in (arrays, state):
            file.write_bytes(bytes(file.stat().st_size))
    elif how == "empty folder":
        arrays.unlink()
        state.unlink()


@pytest.mark.parametrize(
    "how",
    ["cut off", "one bit", "no arrays", "no state", "half a state", "changed state", "zeros", "empty folder"],
)
def test_damaged_checkpoints_are_reported_and_skipped_for_the_one_before(tmp_path, how):
    for step in (1, 2, 3):
        checkpoint_files.write(tmp_path, step, {"best_epoch": step}, {"a": np.arange(1000.0) + step})
    assert [path.name for path in checkpoint_files.paths(tmp_path)] == ["step-000000003", "step-000000002"]
    damage(checkpoint_files.paths(tmp_path)[0], how)
    lines = []
    state, arrays = checkpoint_files.newest(tmp_path, lines.append)
    assert state == {"best_epoch": 2}
    np.testing.assert_array_equal(arrays["a"], np.arange(1000.0) + 2)
    assert len(lines) == 1 and "step-000000003 is damaged and skipped" in lines[0]
    checkpoint_files.write(tmp_path, 3, {}, {})
    assert [path.name for path in checkpoint_files.paths(tmp_path)] == ["step-000000003", "step-000000002"]


def test_what_was_left_of_an_attempt_is_no_checkpoint(tmp_path):
    checkpoint_files.write(tmp_path, 1, {}, {})
    (tmp_path / f"{files.PREFIX}{files.HOST}-999999999-abc-step-000000002").mkdir()
    assert checkpoint_files.newest(tmp_path, print) is not None
    checkpoint_files.write(tmp_path, 2, {}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000001", "step-000000002"]


def test_a_folder_that_cannot_be_written_costs_one_line_and_no_training(digits, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    vae = make_vae()
    saver = callbacks.Checkpoints(tmp_path / "file" / "checkpoints", steps=1)
    history = vae.fit(digits[:64], epochs=2, callbacks=[saver], verbose=0)
    assert history.epoch == [0, 1]
    out = capsys.readouterr().out
    assert out.count("No checkpoint could be written") == 1
    assert "Training goes on; there is none yet." in out


def test_weights_that_are_not_finite_overwrite_nothing(digits, tmp_path, capsys):
    vae = make_vae()
    saver = callbacks.Checkpoints(tmp_path / "checkpoints", best=tmp_path / "vae.keras")
    vae.fit(digits[:64], callbacks=[saver], verbose=0)
    before = (tmp_path / "vae.keras").read_bytes()
    bias = vae.decoder.output_layer.bias
    bias.assign(np.full(bias.shape, np.nan))
    with pytest.raises(ValueError, match="weights hold NaN or infinity"):
        saver.save(2)
    with pytest.raises(ValueError, match="weights hold NaN or infinity"):
        saver.save_best(tmp_path / "vae.keras")
    assert (tmp_path / "vae.keras").read_bytes() == before
    assert len(checkpoint_files.paths(tmp_path / "checkpoints")) == 1


def test_checkpoints_of_another_model_and_a_wrong_order_are_refused(digits, tmp_path):
    make_vae().fit(digits[:64], callbacks=[callbacks.Checkpoints(tmp_path)], verbose=0)
    other = kv.VAE(
        kv.Encoder(networks.mlp([9]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(2),
    )
    other.compile(keras.optimizers.Adam(1e-3))
    with pytest.raises(ValueError, match="of another model or optimizer"):
        other.fit(digits[:64], callbacks=[callbacks.Checkpoints(tmp_path)], verbose=0)
    stopper = keras.callbacks.EarlyStopping(monitor="loss", patience=1)
    with pytest.raises(ValueError, match="must stand behind it"):
        make_vae().fit(digits[:64], callbacks=[callbacks.Checkpoints(tmp_path / "new"), stopper], verbose=0)


def test_a_checkpoint_that_still_says_best_elbo_is_read(digits, tmp_path):
    vae, _ = fit(tmp_path / "run", digits[:48], epochs=1, kill="never", batch_size=16)
    folder = checkpoint_files.paths(tmp_path / "run")[0]
    state, arrays = checkpoint_files.read(folder)
    state["best_elbo"] = state.pop("best_value")
    checkpoint_files.write(tmp_path / "run", state["position"][0], state, arrays)
    saver = callbacks.Checkpoints(tmp_path / "run")
    assert saver.restore(vae) is not None
    assert (saver.best_value, saver.best_epoch) == (state["best_elbo"], state["best_epoch"])


def test_bound_of_several_samples_decides_which_model_is_the_best(tmp_path):
    vae = make_vae(seed=1, objective=objectives.ImportanceWeighted(5))
    x = np.random.default_rng(0).integers(0, 2, (32, 8, 8, 1)).astype("float32")
    saver = callbacks.Checkpoints(tmp_path / "checkpoints")
    history = vae.fit(x, validation_data=x[:16], epochs=3, batch_size=16, verbose=0, callbacks=[saver]).history
    assert saver.best_value == pytest.approx(max(history["val_bound"]))
    assert all(bound > elbo for bound, elbo in zip(history["val_bound"], history["val_elbo"], strict=True))

    saver.on_epoch_begin(7)
    saver.on_test_end({"elbo": -1000.0, "bound": saver.best_value + 1})
    saver.on_epoch_begin(8)
    saver.on_test_end({"elbo": 1000.0, "bound": saver.best_value - 1})
    assert saver.best_epoch == 7
