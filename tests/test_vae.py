"""The model as users meet it: fit, evaluate, sample, save, load; and its numbers against known answers."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives, posteriors, priors, schedules

tfd = tfp.distributions
NAMES = {"loss", "elbo", "log_likelihood", "kl"}


def make_vae(network=networks.mlp, sizes=(32,), event_shape=(8, 8, 1), latent_dim=4, likelihood=None, **options):
    return kv.VAE(
        kv.Encoder(network(list(sizes)), posteriors.MultivariateNormalDiag(latent_dim)),
        kv.Decoder(network(list(sizes)[::-1]), likelihood or likelihoods.Bernoulli(event_shape)),
        priors.StandardNormal(latent_dim),
        **options,
    )


def compiled(**options):
    vae = make_vae(**options)
    vae.compile(keras.optimizers.Adam(1e-3))
    return vae


def test_the_elbo_is_the_one_computed_by_hand(digits):
    vae = make_vae()
    x = digits[:5]
    terms = vae.infer(x, num_samples=3, seed=7)
    (group,) = terms.groups
    loc, scale = np.asarray(group.q.mean()), np.asarray(group.q.stddev())
    kl = 0.5 * np.sum(scale**2 + loc**2 - 1 - np.log(scale**2), axis=-1)
    np.testing.assert_allclose(group.kl, kl, rtol=1e-5)
    np.testing.assert_allclose(np.sum(group.kl_per_dim, axis=-1), kl, rtol=1e-5)
    probabilities = np.asarray(vae.decode(group.z).mean(), "float64")
    by_hand = np.sum(x * np.log(probabilities) + (1 - x) * np.log1p(-probabilities), axis=(2, 3, 4))
    np.testing.assert_allclose(terms.log_likelihood, by_hand, rtol=1e-5)
    np.testing.assert_allclose(terms.elbo, by_hand.mean(axis=0) - kl, rtol=1e-5)
    log_ratio = -0.5 * np.square(group.z) + 0.5 * np.square((group.z - loc) / scale) + np.log(scale)
    np.testing.assert_allclose(terms.log_weights, by_hand + log_ratio.sum(axis=-1), rtol=1e-4)


def test_evaluate_reports_sums_over_the_event_and_means_over_all_examples(digits):
    vae = compiled()
    x = digits[:50]  # 50 is no multiple of the batch size: a mean of the batches' means would be wrong
    logs = vae.evaluate(x, batch_size=32, return_dict=True, verbose=0)
    assert set(logs) == NAMES
    parts = [vae.evaluate(part, batch_size=32, return_dict=True, verbose=0) for part in (x[:32], x[32:])]
    # KL has a closed form, so that it does not depend on the noise of the batches.
    assert logs["kl"] == pytest.approx((32 * parts[0]["kl"] + 18 * parts[1]["kl"]) / 50, rel=1e-5)
    assert logs["elbo"] == pytest.approx(logs["log_likelihood"] - logs["kl"], rel=1e-5)
    assert logs["loss"] == pytest.approx(-logs["elbo"], rel=1e-5)
    assert logs["log_likelihood"] == pytest.approx(-64 * np.log(2), rel=0.2)
    assert vae.evaluate(x, verbose=0) == pytest.approx([logs[n] for n in ("loss", "elbo", "log_likelihood", "kl")])


def test_the_reported_elbo_is_the_true_one_whatever_the_objective_weighs(digits):
    plain, weighted = compiled(seed=1), compiled(seed=1, objective=objectives.ELBO(kl_weight=10.0))
    weighted.build()
    plain.build()
    weighted.set_weights(plain.get_weights())
    a, b = (vae.evaluate(digits[:64], return_dict=True, verbose=0) for vae in (plain, weighted))
    for name in ("elbo", "log_likelihood", "kl"):
        assert a[name] == b[name]
    assert b["loss"] == pytest.approx(-(b["log_likelihood"] - 10 * b["kl"]), rel=1e-5)


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
    "options", [{}, {"run_eagerly": True}, {"steps_per_execution": 2}, {"jit_compile": True}], ids=str
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
        model.fit(images, y=x, sample_weight=weight, epochs=1, batch_size=64, shuffle=False, verbose=0)
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


def test_evaluation_repeats_itself_and_steps_do_not(digits):
    vae = compiled()
    a, b = (vae.evaluate(digits[:64], return_dict=True, verbose=0) for _ in range(2))
    assert a == b
    vae.optimizer.learning_rate = 0.0
    losses = vae.fit(digits[:32], batch_size=32, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert losses[0] != losses[1]


def test_sample_encode_decode_reconstruct(digits):
    vae = make_vae()
    np.testing.assert_array_equal(vae.sample(5, seed=1), vae.sample(5, seed=1))
    assert not np.array_equal(vae.sample(5, seed=1), vae.sample(5, seed=2))
    assert vae.sample(16, seed=0).shape == (16, 8, 8, 1)
    q = vae.encode(digits[:3])
    assert isinstance(q, tfd.Distribution)
    assert (tuple(q.batch_shape), tuple(q.event_shape)) == ((3,), (4,))
    p = vae.decode(np.zeros((2, 3, 4)))
    assert (tuple(p.batch_shape), tuple(p.event_shape)) == ((2, 3), (8, 8, 1))
    np.testing.assert_allclose(vae.reconstruct(digits[:3]), vae.decode(q.mean()).mean(), atol=1e-6)
    np.testing.assert_allclose(vae.predict(digits[:3], verbose=0), vae.reconstruct(digits[:3]), atol=1e-6)


def test_log_prob_rises_above_the_elbo_and_matches_the_terms(digits):
    vae = make_vae()
    x = digits[:4]
    assert vae.log_prob(x, num_samples=50).shape == (4,)
    np.testing.assert_array_equal(vae.log_prob(x, seed=5), vae.log_prob(x, seed=5))
    assert (vae.log_prob(x, num_samples=500) > np.asarray(vae.infer(x, 500, seed=0).elbo)).all()
    assert vae.log_prob(x[:0]).shape == (0,)


def test_log_prob_in_chunks_agrees_with_log_prob_at_once(digits, monkeypatch):
    vae = make_vae()
    at_once = vae.log_prob(digits[:4], num_samples=4000)
    monkeypatch.setattr("keras_vae.vae.CHUNK_VALUES", 256 * 300)
    np.testing.assert_allclose(vae.log_prob(digits[:4], num_samples=4000), at_once, atol=0.3)


@pytest.mark.parametrize("network, sizes", [(networks.mlp, (32,)), (networks.conv, (4, 8))])
def test_a_saved_model_goes_on_in_a_fresh_process(digits, tmp_path, network, sizes):
    vae = compiled(network=network, sizes=sizes)
    vae.fit(digits[:64], batch_size=32, epochs=1, shuffle=False, verbose=0)
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", digits[:64])
    program = """
        import sys, numpy as np, keras, keras_vae
        vae = keras.saving.load_model("vae.keras")
        x = np.load("x.npy")
        np.save("reconstruction.npy", vae.reconstruct(x))
        np.save("sample.npy", vae.sample(3, seed=0))
        assert int(vae.step) == 2 and int(vae.optimizer.iterations) == 2
        vae.fit(x, batch_size=32, epochs=1, shuffle=False, verbose=0)
        np.savez("weights.npz", *vae.get_weights())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "reconstruction.npy"), vae.reconstruct(digits[:64]))
    np.testing.assert_array_equal(np.load(tmp_path / "sample.npy"), vae.sample(3, seed=0))
    vae.fit(digits[:64], batch_size=32, epochs=1, shuffle=False, verbose=0)
    saved = np.load(tmp_path / "weights.npz")
    for a, name in zip(vae.get_weights(), saved.files, strict=True):
        np.testing.assert_array_equal(a, saved[name])


def test_a_model_that_was_only_called_part_by_part_reloads_with_its_weights(digits, tmp_path):
    vae = make_vae()
    images = np.asarray(vae.decoder(np.zeros((2, 4), "float32")).mean())
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.decoder(np.zeros((2, 4), "float32")).mean(), images)
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "vae.keras").sample(2, seed=0), vae.sample(2, seed=0)
    )


def test_schedules_and_parts_survive_saving(tmp_path):
    objective = objectives.ELBO(kl_weight=schedules.Linear(10), free_bits=0.1)
    likelihood = likelihoods.Normal((5, 7, 2), scale="per_pixel")
    vae = make_vae(networks.conv, (4,), likelihood=likelihood, objective=objective, seed=5)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.seed == 5
    assert loaded.objective.free_bits == 0.1
    assert loaded.objective.kl_weight.steps == 10
    assert loaded.decoder.likelihood.scale == "per_pixel"
    assert loaded.decoder.event_shape == (5, 7, 2)


@pytest.mark.parametrize("event_shape", [(28, 28, 1), (5, 7, 3), (1, 1, 1), (13, 8, 2)])
def test_conv_networks_fit_any_height_width_and_channels(event_shape):
    vae = make_vae(networks.conv, (4, 6, 8), likelihood=likelihoods.Normal(event_shape))
    x = np.random.default_rng(0).random((3, *event_shape), "float32")
    assert vae.reconstruct(x).shape == x.shape
    assert vae.log_prob(x, num_samples=2).shape == (3,)


def test_vectors(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 11)).astype("float32")
    vae = compiled(likelihood=likelihoods.Normal((11,)))
    assert np.isfinite(vae.fit(x, epochs=1, verbose=0).history["elbo"]).all()
    assert vae.sample(3, seed=0).shape == (3, 11)


def test_networks_of_the_users_own(digits, tmp_path):
    body = keras.Sequential([keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()])
    head = keras.Sequential([keras.layers.Dense(32, activation="relu"), keras.layers.Dropout(0.1)])
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(3)),
        kv.Decoder(head, likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(3),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(digits[:64], epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.reconstruct(digits[:4]), vae.reconstruct(digits[:4]))
    assert len(loaded.trainable_weights) == len(vae.trainable_weights) == 8


def test_a_network_of_keras_applications(tmp_path):
    body = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    vae = kv.VAE(
        kv.Encoder(body, posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.conv([8, 8]), likelihoods.Normal((32, 32, 3))),
        priors.StandardNormal(2),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    x = np.random.default_rng(0).random((16, 32, 32, 3), "float32")
    moving = body.non_trainable_weights[0].numpy()
    vae.fit(x, epochs=1, verbose=0)
    assert not np.array_equal(moving, body.non_trainable_weights[0].numpy())
    vae.save(tmp_path / "vae.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "vae.keras").reconstruct(x), vae.reconstruct(x))


@kv.register
class LaplacePosterior(posteriors.Posterior):
    @property
    def params_size(self):
        return 2 * self.latent_dim

    def distribution(self, params):
        loc, raw_scale = tf.split(params, 2, axis=-1)
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), 1)


@kv.register
class LaplacePrior(priors.Prior):
    def distribution(self, encoder=None, condition=None):
        return tfd.Independent(tfd.Laplace(tf.zeros(self.latent_dim), 1.0), 1)


@kv.register
class LaplaceLikelihood(likelihoods.Likelihood):
    params_per_value = 2

    def distribution(self, loc, raw_scale):
        return tfd.Independent(tfd.Laplace(loc, posteriors.positive(raw_scale)), len(self.event_shape))


def test_parts_of_the_users_own(digits, tmp_path):
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), LaplacePosterior(3)),
        kv.Decoder(networks.conv([8]), LaplaceLikelihood((8, 8, 1))),
        LaplacePrior(3),
    )
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(digits[:256], epochs=3, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0]
    assert vae.infer(digits[:2], seed=0).groups[0].kl_is_exact
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.log_prob(digits[:4]), vae.log_prob(digits[:4]))


class TestAdapt:
    def test_the_model_starts_at_the_mean_of_the_data(self, digits):
        mean = np.clip(digits.mean(axis=0), 1e-3, 1 - 1e-3)
        vae = make_vae()
        vae.adapt(digits)
        bias = vae.decoder.output_layer.bias.numpy().reshape(8, 8, 1)
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), mean, rtol=1e-4)
        gained = vae.infer(digits[:100], seed=0).elbo - make_vae().infer(digits[:100], seed=0).elbo
        assert np.mean(gained) > 10

    def test_a_convolution_starts_at_the_mean_of_each_channel(self):
        x = np.stack([np.full((4, 6, 6), 0.2), np.full((4, 6, 6), 0.7)], axis=-1).astype("float32")
        vae = make_vae(networks.conv, (4,), likelihood=likelihoods.Normal((6, 6, 2), scale="per_pixel"))
        x[::2] += 0.1
        vae.adapt(x)
        np.testing.assert_allclose(vae.decoder.output_layer.bias, [0.25, 0.75, *[np.log(0.05)] * 2], rtol=1e-5)

    def test_a_learned_scale_starts_at_the_spread_of_the_data(self, digits):
        vae = make_vae(likelihood=likelihoods.Normal((8, 8, 1)))
        vae.adapt(digits)
        spread = np.sqrt(digits.var(axis=0).mean())
        assert vae.decode(np.zeros((1, 4))).distribution.scale.numpy() == pytest.approx(spread, rel=1e-4)

    def test_constant_data_leave_a_scale_that_can_learn(self):
        vae = make_vae(likelihood=likelihoods.Normal((4,)))
        vae.adapt(np.ones((10, 4), "float32"))
        assert vae.decode(np.zeros((1, 4))).distribution.scale.numpy() == pytest.approx(2e-3, rel=1e-3)

    @pytest.mark.parametrize("endless", [False, True])
    def test_fit_adapts_a_fresh_model_from_datasets(self, digits, endless):
        data = tf.data.Dataset.from_tensor_slices(digits[:96]).batch(32)
        vae = compiled()
        vae.optimizer.learning_rate = 0.0
        vae.fit(data.repeat() if endless else data, epochs=1, steps_per_epoch=3, verbose=0)
        bias = vae.decoder.output_layer.bias.numpy()
        expected = np.clip(digits[:96].mean(axis=0), 1e-3, 1 - 1e-3).reshape(-1)
        # 100 batches of the endless data are not a whole number of rounds.
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), expected, atol=0.02 if endless else 1e-4)

    def test_a_second_fit_is_not_disturbed(self, digits):
        vae = compiled()
        vae.fit(digits[:64], epochs=1, verbose=0)
        vae.optimizer.learning_rate = 0.0
        before = vae.decoder.get_weights()
        vae.fit(1 - digits[:64], epochs=1, verbose=0)
        for a, b in zip(before, vae.decoder.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("how", ["load_model", "load_weights", "decoder of another model"])
    def test_loaded_weights_are_not_disturbed(self, digits, tmp_path, how):
        vae = make_vae()
        if how == "decoder of another model":
            vae.compile(keras.optimizers.Adam(1e-3))
            vae.fit(digits[:64], epochs=1, verbose=0)
            loaded = kv.VAE(make_vae().encoder, vae.decoder, priors.StandardNormal(4))
        elif how == "load_model":  # never trained or adapted, but loaded: someone wants these weights
            vae.save(tmp_path / "vae.keras")
            loaded = keras.saving.load_model(tmp_path / "vae.keras")
        else:
            vae.build()
            vae.save_weights(tmp_path / "vae.weights.h5")
            loaded = make_vae()
            loaded.build()
            loaded.load_weights(tmp_path / "vae.weights.h5")
        loaded.compile(keras.optimizers.Adam(0.0))
        before = loaded.decoder.get_weights()
        loaded.fit(digits[:64], epochs=1, verbose=0)
        for a, b in zip(before, loaded.decoder.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_data(self):
        with pytest.raises(ValueError, match="no data"):
            make_vae().adapt(np.zeros((0, 8, 8, 1)))


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


def test_summary_counts_all_weights(capsys):
    vae = make_vae()
    vae.build()
    vae.summary()
    shown = capsys.readouterr().out
    assert f"{sum(w.size for w in vae.get_weights()) - 2:,}" in shown  # the two are counters


def test_the_parts_can_be_taken_from_a_saved_model_in_one_line(tmp_path):
    make_vae().save(tmp_path / "vae.keras")
    decoder = keras.saving.load_model(tmp_path / "vae.keras").decoder
    assert decoder(np.zeros((1, 4), "float32")).mean().shape == (1, 8, 8, 1)
