"""`fit`: what it takes, in which modes, and what it reports."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import compiled, make_vae

import keras_vae as kv
from keras_vae import networks, posteriors, priors

NAMES = {"loss", "elbo", "log_likelihood", "kl"}


@pytest.mark.parametrize("kind", ["array", "tuple of arrays", "dataset", "dataset of pairs", "generator", "PyDataset"])
def test_fit_takes_what_keras_takes(digits, kind):
    x, y = digits[:96], np.arange(96)

    class Pairs(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return x[32 * index : 32 * index + 32], y[32 * index : 32 * index + 32]

    data, options = {
        "array": lambda: (x, {}),
        "tuple of arrays": lambda: (x, {"y": y}),
        "dataset": lambda: (tf.data.Dataset.from_tensor_slices(x).batch(32), {}),
        "dataset of pairs": lambda: (tf.data.Dataset.from_tensor_slices((x, y)).batch(32), {}),
        "generator": lambda: (((x[i : i + 32],) for i in (0, 32, 64)), {"steps_per_epoch": 3}),
        "PyDataset": lambda: (Pairs(), {}),
    }[kind]()
    vae = compiled()
    history = vae.fit(data, **options, validation_data=(digits[:40], y[:40]), epochs=1, verbose=0)
    assert set(history.history) == NAMES | {f"val_{name}" for name in NAMES}
    assert np.isfinite(list(history.history.values())).all()
    assert int(vae.step) == 3


def test_training_raises_the_elbo(digits):
    vae = compiled(sizes=(64,))
    history = vae.fit(digits, epochs=15, batch_size=64, validation_data=digits[:300], verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0] + 2
    assert history["val_elbo"][-1] > history["val_elbo"][0] + 2
    assert history["kl"][-1] > 1


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"run_eagerly": True}, {"steps_per_execution": 2}),
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_modes_of_execution(digits, options):
    vae = make_vae()
    vae.compile(keras.optimizers.Adam(1e-3), **options)
    history = vae.fit(digits[:128], epochs=2, batch_size=32, verbose=0).history
    assert int(vae.step) == 8
    assert history["elbo"][1] > history["elbo"][0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_the_numbers_in_float32(digits, policy):
    keras.config.set_dtype_policy(policy)
    vae = compiled()
    history = vae.fit(digits[:256], epochs=2, batch_size=32, verbose=0).history
    assert history["elbo"][1] > history["elbo"][0]
    terms = vae.infer(digits[:4], 2, seed=0)
    assert {terms.log_likelihood.dtype, terms.kl.dtype, terms.groups[0].z.dtype} == {tf.float32}
    assert vae.encoder.body.layers[-1].compute_dtype == policy.removeprefix("mixed_")
    if policy == "mixed_float16":
        assert isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)


def test_sample_weight_is_honoured(digits):
    vae = compiled()
    x, weight = digits[:64], np.r_[np.ones(32), np.zeros(32)].astype("float32")
    vae.build()
    kept = vae.evaluate(x[:32], batch_size=64, return_dict=True, verbose=0)["kl"]
    dataset = tf.data.Dataset.from_tensor_slices((x, x, weight)).batch(64)
    assert vae.evaluate(dataset, return_dict=True, verbose=0)["kl"] == pytest.approx(kept, rel=1e-5)
    twin = compiled()
    twin.build()
    twin.set_weights(vae.get_weights())
    other = x.copy()
    other[32:] = 1 - other[32:]  # rows of weight zero must not matter
    for model, images in ((vae, x), (twin, other)):
        model.seed = 0
        model.adapt(x)
        model.fit(images, y=np.zeros(64), sample_weight=weight, epochs=1, batch_size=64, shuffle=False, verbose=0)
    for a, b in zip(vae.encoder.get_weights(), twin.encoder.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_train_on_batch_and_gradient_accumulation_and_averages(digits):
    vae = make_vae()
    vae.compile(keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.9))
    first = vae.train_on_batch(digits[:32], return_dict=True)
    assert set(first) == NAMES
    before = vae.encoder.get_weights()[0]
    vae.train_on_batch(digits[:32])
    assert not np.array_equal(before, vae.encoder.get_weights()[0])
    assert int(vae.step) == 2
    assert vae.test_on_batch(digits[:32], return_dict=True)["elbo"] < 0


def test_the_same_seed_gives_the_same_weights_bit_for_bit(digits):
    def train():
        keras.utils.set_random_seed(3)
        vae = compiled(network=networks.conv, sizes=(4, 8))
        vae.fit(digits[:128], epochs=2, batch_size=32, verbose=0)
        return vae.get_weights()

    for a, b in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_training_step_is_traced_once(digits, monkeypatch):
    traces, step = [], kv.VAE.train_step
    monkeypatch.setattr(kv.VAE, "train_step", lambda self, data: traces.append(data) or step(self, data))
    compiled().fit(digits[:64], batch_size=32, epochs=2, verbose=0)
    assert len(traces) == 1


def test_callbacks_of_keras(digits, tmp_path):
    vae = compiled()
    callbacks = [
        keras.callbacks.EarlyStopping(monitor="val_elbo", mode="max", patience=1, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_elbo", mode="max", save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor="val_elbo", mode="max", patience=1, factor=0.5, min_delta=1e9),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.CSVLogger(tmp_path / "history.csv"),
    ]
    x = digits[:128]
    vae.fit(x, validation_data=x, epochs=4, batch_size=64, callbacks=callbacks, verbose=0)
    assert "val_elbo" in (tmp_path / "history.csv").read_text()
    assert list((tmp_path / "logs").rglob("events*"))
    assert float(vae.optimizer.learning_rate) < 1e-3
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert best.sample(2, seed=0).shape == (2, 8, 8, 1)


class TestBadInput:
    @pytest.mark.parametrize("method", ["fit", "evaluate", "log_prob", "validation"])
    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda x: x * 0.5, "neither.*binarize.*Normal"),
            (lambda x: np.where(np.arange(len(x))[:, None, None, None] == 3, np.nan, x), "NaN or infinite"),
            (lambda x: (x * 255).astype("uint8"), "integers.*255"),
            (lambda x: x[:, :4], "shape"),
            (lambda x: x[..., 0], r"channel axis: x\[..., None\]"),
        ],
        ids=["gray", "nan", "uint8", "size", "no channels"],
    )
    def test_data_outside_the_support(self, digits, method, make, message):
        vae = compiled()
        bad = make(digits[:16])
        calls = {
            "fit": lambda: vae.fit(bad, verbose=0),
            "evaluate": lambda: vae.evaluate(tf.data.Dataset.from_tensor_slices(bad).batch(8), verbose=0),
            "log_prob": lambda: vae.log_prob(bad),
            "validation": lambda: vae.fit(digits[:16], validation_data=(bad, bad), verbose=0),
        }
        with pytest.raises(ValueError, match=f"(?s){message}"):
            calls[method]()

    def test_parts_that_do_not_fit(self):
        with pytest.raises(ValueError, match="4 latent dimensions and the prior 5"):
            kv.VAE(make_vae().encoder, make_vae().decoder, priors.StandardNormal(5))
        with pytest.raises(TypeError, match="prior must be"):
            kv.VAE(make_vae().encoder, make_vae().decoder, posteriors.MultivariateNormalDiag(4))
        with pytest.raises(TypeError, match="network must be"):
            kv.Encoder([512, 256], posteriors.MultivariateNormalDiag(4))

    def test_a_condition_that_would_be_ignored_is_refused(self, digits):
        with pytest.raises(ValueError, match="takes no condition"):
            make_vae().sample(2, condition=np.zeros((2, 10)))

    @pytest.mark.parametrize(
        "variables, message",
        [({"KERAS_BACKEND": "jax"}, "KERAS_BACKEND"), ({"TF_USE_LEGACY_KERAS": "1"}, "TF_USE_LEGACY_KERAS")],
    )
    def test_a_wrong_environment(self, variables, message):
        import os

        environment = {**os.environ, **variables}
        result = subprocess.run(
            [sys.executable, "-c", "import keras_vae"], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 1
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError") and message in last
