"""What `fit`, `evaluate` and `adapt` are given: pairs, sources that run once or never end, and what is refused."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from small_models import compiled, make_conditional, make_vae

import keras_vae as kv
from keras_vae import conditions, likelihoods, networks, objectives, posteriors, priors

SHAPE = (8, 8, 1)
RANDOM = np.random.default_rng(0)
CLEAN = (RANDOM.random((48, *SHAPE)) < 0.3).astype("float32")
NOISY = np.abs(CLEAN - (RANDOM.random(CLEAN.shape) < 0.1)).astype("float32")
SPEC = tf.TensorSpec((None, *SHAPE), tf.float32)


def dataset(*parts, size=16):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(size)


class TestTargets:
    @staticmethod
    def make(**options):
        """A denoising autoencoder without noise of its own, that does not learn."""
        vae = kv.VAE(
            kv.Encoder(networks.mlp([8]), posteriors.Deterministic(2)),
            kv.Decoder(networks.mlp([8]), likelihoods.Bernoulli(SHAPE)),
            priors.StandardNormal(2),
            objectives.Reconstruction(),
            seed=1,
            targets=True,
            **options,
        )
        vae.compile(keras.optimizers.SGD(0.0))
        vae.build()
        vae.adapted.assign(1)
        return vae

    FORMS = {
        "arrays": lambda: (NOISY, {"y": CLEAN, "batch_size": 16}),
        "mapping": lambda: ({"image": NOISY, "target": CLEAN}, {"batch_size": 16}),
        "dataset": lambda: (dataset(NOISY, CLEAN), {}),
        "dataset of mappings": lambda: (dataset({"image": NOISY, "target": CLEAN}), {}),
    }

    @pytest.mark.parametrize("form", FORMS)
    def test_the_encoder_sees_x_and_the_likelihood_the_target(self, form):
        vae = self.make()
        expected = float(np.mean(vae.decode(vae.encode(NOISY).mean()).log_prob(CLEAN)))
        assert abs(expected - float(np.mean(vae.decode(vae.encode(CLEAN).mean()).log_prob(CLEAN)))) > 1e-3
        data, options = self.FORMS[form]()
        assert vae.evaluate(data, **options, verbose=0, return_dict=True)["log_likelihood"] == pytest.approx(expected)
        validation = (data, options["y"]) if "y" in options else data
        history = vae.fit(data, **options, validation_data=validation, verbose=0).history
        assert history["log_likelihood"] == pytest.approx([expected], rel=1e-5)
        assert history["val_log_likelihood"] == pytest.approx([expected], rel=1e-5)

    def test_x_need_not_lie_where_the_targets_do(self):
        vae = self.make()
        noisy = CLEAN + RANDOM.normal(size=CLEAN.shape).astype("float32")
        vae.fit(noisy, CLEAN, verbose=0)
        expected = vae.decode(vae.encode(noisy).mean()).mean()
        np.testing.assert_allclose(vae.reconstruct(noisy), expected, rtol=1e-5)
        np.testing.assert_allclose(vae.predict(dataset(noisy, CLEAN), verbose=0), expected, rtol=1e-5)
        np.testing.assert_allclose(vae.encoder.features_model()(noisy), vae.encode(noisy).mean(), rtol=1e-5)
        with pytest.raises(ValueError, match=r"finite|NaN"):
            vae.reconstruct(noisy * np.inf)

    def test_it_learns_to_denoise_and_starts_at_the_mean_of_the_targets(self, tmp_path):
        vae = make_vae(sizes=(32,), seed=1, targets=True)
        vae.compile(keras.optimizers.Adam(1e-2))
        half = CLEAN * 0.0 + np.eye(8, dtype="float32")[:, :, None]
        noisy = np.abs(half - (RANDOM.random(half.shape) < 0.1)).astype("float32")
        vae.adapt((noisy, half))
        mean = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(vae.decoder.output_layer.bias)))
        np.testing.assert_allclose(mean, np.clip(half[0].reshape(-1), 1e-3, 1 - 1e-3), rtol=1e-4)
        vae.fit(noisy, half, epochs=2, verbose=0)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        assert loaded.targets is True
        expected = vae.evaluate(noisy, half, verbose=0, return_dict=True)
        assert loaded.evaluate(noisy, half, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(loaded.reconstruct(noisy[:2]), vae.reconstruct(noisy[:2]), rtol=1e-5)

    def test_with_a_condition_and_weights(self):
        vae = make_conditional(conditions.Label(3), targets=True)
        vae.compile("adam")
        x = (RANDOM.random((24, 6, 5, 2)) < 0.3).astype("float32")
        target, label = 1 - x, np.arange(24) % 3
        data = {"image": x, "condition": label, "target": target}
        weights = RANDOM.random(24).astype("float32")
        history = vae.fit(data, sample_weight=weights, validation_data=(data, None, weights), verbose=0).history
        assert np.isfinite(history["val_elbo"]).all()
        first = vae.evaluate(data, sample_weight=weights, verbose=0, return_dict=True)
        other = vae.evaluate(dataset(data, label, weights, size=32), verbose=0, return_dict=True)
        assert first == pytest.approx(other, rel=1e-5)
        assert abs(first["log_likelihood"] - vae.evaluate({**data, "target": x}, verbose=0)[2]) > 1e-3

    @pytest.mark.parametrize("model", [kv.FactorVAE, kv.CascadeVAE])
    def test_of_other_procedures(self, model):
        plain = make_vae(latent_dim=4 if model is kv.FactorVAE else 7)
        encoder = make_vae(latent_dim=4).encoder
        options = {"discriminator_units": (4,)} if model is kv.FactorVAE else {"switch_on": 0}
        vae = model(encoder, plain.decoder, priors.StandardNormal(4), seed=1, targets=True, **options)
        vae.compile("adam")
        history = vae.fit(NOISY, CLEAN, validation_data=(NOISY, CLEAN), verbose=0).history
        assert np.isfinite(history["loss"]).all()
        swapped = vae.evaluate(NOISY, 1 - CLEAN, verbose=0, return_dict=True)["log_likelihood"]
        assert vae.evaluate(NOISY, CLEAN, verbose=0, return_dict=True)["log_likelihood"] != pytest.approx(swapped)

    def test_what_is_checked(self):
        vae = self.make()
        vae.evaluate(NOISY * 0.5, CLEAN, verbose=0)  # the noise may be any
        bad = [
            (lambda: vae.fit(NOISY, verbose=0), "targets are missing"),
            (lambda: vae.evaluate(dataset(NOISY), verbose=0), "targets are missing"),
            (lambda: vae.fit(NOISY, CLEAN * 0.5, verbose=0), "zeros and ones"),
            (lambda: vae.fit(NOISY, CLEAN[:7], verbose=0), "48 examples"),
            (lambda: vae.fit(NOISY, np.arange(48), verbose=0), "shape"),
            (lambda: vae.fit(np.where(NOISY > 0, np.nan, NOISY), CLEAN, verbose=0), "finite"),
            (
                lambda: vae.evaluate(dataset(NOISY, np.where(np.arange(48)[:, None, None, None] == 40, 0.5, CLEAN))),
                "Batch 2",
            ),
            (lambda: make_vae(targets=True).log_prob(NOISY), "targets"),
            (lambda: compiled().fit({"image": NOISY, "target": CLEAN}, verbose=0), "targets=True"),
        ]
        for call, message in bad:
            with pytest.raises(ValueError, match=message):
                call()

    def test_a_pair_that_would_be_ignored_is_refused(self):
        vae = compiled()
        for call in (
            lambda: vae.fit(NOISY, CLEAN, verbose=0),
            lambda: vae.fit(dataset(NOISY, CLEAN), verbose=0),
            lambda: vae.evaluate(NOISY, CLEAN, verbose=0),
            lambda: vae.fit(CLEAN, validation_data=(NOISY, CLEAN), verbose=0),
        ):
            with pytest.raises(ValueError, match=r"VAE\(\.\.\., targets=True\)"):
                call()
        vae.fit(CLEAN, CLEAN, verbose=0)
        vae.fit(dataset(CLEAN, CLEAN), validation_data=(CLEAN, CLEAN.copy()), verbose=0)


class Counted:
    """A source of batches that counts what is drawn; without end, or of so many."""

    def __init__(self, number=None):
        self.number, self.drawn = number, 0

    def __iter__(self):
        while self.number is None or self.drawn < self.number:
            self.drawn += 1
            batch = np.zeros((4, *SHAPE), "float32")
            batch[:, 0, 0, 0] = self.drawn % 2
            yield batch


class TestSources:
    @pytest.mark.parametrize("kind", ["dataset", "generator", "iterator", "PyDataset", "repeated"])
    def test_endless_data_are_looked_at_a_little(self, kind):
        source = Counted()

        class Endless(keras.utils.PyDataset):
            num_batches = None

            def __getitem__(self, index):
                return next(iter(source))

        data = {
            "dataset": lambda: tf.data.Dataset.from_generator(lambda: source, output_signature=SPEC),
            "repeated": lambda: tf.data.Dataset.from_generator(lambda: source, output_signature=SPEC).repeat(),
            "generator": lambda: iter(source),
            "iterator": lambda: map(np.copy, iter(source)),
            "PyDataset": Endless,
        }[kind]()
        vae = compiled()
        history = vae.fit(data, steps_per_epoch=5, epochs=2, verbose=0).history
        assert len(history["loss"]) == 2 and int(vae.step) == 10
        assert source.drawn < 60

    @pytest.mark.parametrize("kind", ["dataset", "pairs", "generator", "iterator"])
    @pytest.mark.parametrize("number", [3, 150])
    def test_sources_that_run_once_lose_nothing(self, kind, number):
        source = Counted(number)
        once = iter(source)
        data = {
            "dataset": lambda: tf.data.Dataset.from_generator(lambda: once, output_signature=SPEC),
            "pairs": lambda: tf.data.Dataset.from_generator(
                lambda: ((x, x[:, 0, 0, 0]) for x in once),
                output_signature=(SPEC, tf.TensorSpec((None,), tf.float32)),
            ),
            "generator": lambda: once,
            "iterator": lambda: zip(once),
        }[kind]()
        vae = compiled()
        vae.fit(data, steps_per_epoch=number, verbose=0)
        assert int(vae.step) == number == source.drawn

    @pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras says so wherever it does not know the size
    def test_the_first_batch_is_trained_on_first_and_every_epoch_is_whole(self):
        seen = []

        class Note(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                seen.append(batch)

        numbers = (np.full((2, *SHAPE), n % 2, "float32") for n in range(7))
        kept = list(numbers)
        data = tf.data.Dataset.from_generator(lambda: iter(kept), output_signature=SPEC)
        vae, twin = compiled(seed=1), compiled(seed=1)
        vae.build(), twin.build()
        twin.set_weights(vae.get_weights())
        vae.fit(data, epochs=3, callbacks=[Note()], validation_data=data, verbose=0)
        twin.adapt(np.concatenate(kept))
        twin.fit(tf.data.Dataset.from_tensor_slices(np.stack(kept)), epochs=3, verbose=0)
        assert seen == [*range(7)] * 3 and int(vae.step) == int(twin.step) == 21
        for a, b in zip(vae.trainable_variables, twin.trainable_variables, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    @pytest.mark.filterwarnings("ignore:Your input ran out of data")
    def test_evaluate_loses_nothing_either(self):
        once = iter(Counted(6))
        vae = compiled(seed=1)
        data = tf.data.Dataset.from_generator(lambda: once, output_signature=SPEC)
        expected = vae.evaluate(np.concatenate(list(Counted(6))), batch_size=4, verbose=0)
        assert vae.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-5)

    def test_an_iterator_validates_one_epoch(self):
        vae = compiled()
        with pytest.raises(ValueError, match=r"used up after the first of 2 epochs.*array, a dataset or a PyDataset"):
            vae.fit(CLEAN, validation_data=iter(Counted(3)), epochs=2, verbose=0)
        assert int(vae.step) == 0
        history = vae.fit(CLEAN, validation_data=iter(Counted(3)), validation_steps=3, verbose=0).history
        assert np.isfinite(history["val_elbo"]).all()

    def test_no_examples(self):
        vae = compiled()
        for call in (
            lambda: vae.fit(CLEAN[:0], verbose=0),
            lambda: vae.evaluate(CLEAN[:0], verbose=0),
            lambda: vae.fit(CLEAN, validation_data=CLEAN[:0], verbose=0),
        ):
            with pytest.raises(ValueError, match="x holds no examples"):
                call()

    def test_labels_that_are_ignored_may_be_strings(self):
        vae, labels = compiled(), ["a"] * 48
        assert np.isfinite(vae.evaluate(CLEAN, labels, verbose=0)).all()
        vae.fit(CLEAN, labels, validation_data=(CLEAN, labels), verbose=0)
        vae.fit(CLEAN, labels, steps_per_epoch=1, verbose=0)


class Frame:
    """What of a frame of pandas is needed to be read as an array."""

    def __init__(self, values):
        self.values = values
        self.shape, self.columns = values.shape, [f"c{i}" for i in range(values.shape[1])]

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.columns)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class TestForms:
    FLAT = CLEAN.reshape(48, 64)

    @pytest.fixture(scope="class")
    @staticmethod
    def flat():
        vae = make_vae(event_shape=(64,), seed=1)
        vae.compile(keras.optimizers.SGD(0.0))
        return vae

    def test_frames_and_lists_are_arrays(self, flat):
        flat.adapt(self.FLAT)
        expected = flat.evaluate(self.FLAT, verbose=0)
        for data in (Frame(self.FLAT), Frame(self.FLAT.astype("float64")), self.FLAT.tolist(), tf.constant(self.FLAT)):
            assert flat.evaluate(data, verbose=0) == pytest.approx(expected, rel=1e-5)
            flat.fit(data, validation_data=(data,), verbose=0)
            flat.adapt(data)
        assert flat.evaluate(Frame(self.FLAT), Frame(self.FLAT), verbose=0) == pytest.approx(expected, rel=1e-5)

    BAD = {
        "scipy": lambda x: scipy.sparse.csr_matrix(x),
        "sparse": lambda x: tf.sparse.from_dense(x),
        "ragged": lambda x: tf.RaggedTensor.from_tensor(x),
        "sparse dataset": lambda x: tf.data.Dataset.from_tensor_slices(tf.sparse.from_dense(x)).batch(16),
        "ragged dataset": lambda x: tf.data.Dataset.from_tensor_slices(tf.RaggedTensor.from_tensor(x)).batch(16),
        "sparse generator": lambda x: (tf.sparse.from_dense(x[i : i + 16]) for i in (0, 16)),
    }

    @pytest.mark.parametrize("kind", BAD)
    def test_sparse_and_ragged_ones_are_refused_with_the_remedy(self, flat, kind):
        for call in (
            lambda data: flat.fit(data, verbose=0),
            lambda data: flat.evaluate(data, verbose=0),
            lambda data: flat.fit(self.FLAT, validation_data=data, verbose=0),
            lambda data: flat.adapt(data),
        ):
            with pytest.raises(ValueError, match=r"to_dense|toarray|to_tensor"):
                call(self.BAD[kind](self.FLAT))

    @pytest.mark.parametrize(
        "data", [None, "abc", 3, len, (CLEAN, CLEAN)], ids=["None", "str", "int", "function", "tuple"]
    )
    def test_what_is_no_data(self, data):
        for method in (compiled().fit, compiled().evaluate):
            with pytest.raises(ValueError, match=r"no data|arrays of examples|must be an array|x is a tuple"):
                method(data, verbose=0)


class TestSettings:
    def test_compile_comes_first(self):
        vae = make_vae()
        for method in (vae.fit, vae.evaluate, vae.train_on_batch, vae.test_on_batch):
            with pytest.raises(ValueError, match=r"comes after compile: vae\.compile\("):
                method(CLEAN)
        assert int(vae.adapted) == 0

    @pytest.mark.parametrize(
        "options",
        [{"loss": "mse"}, {"metrics": ["mae"]}, {"weighted_metrics": [lambda y, p: 0.0]}],
        ids=lambda options: next(iter(options)),
    )
    def test_what_would_be_ignored_is_refused(self, options):
        vae = make_vae()
        vae.compile("adam", **options)
        for method in (vae.fit, vae.evaluate, vae.train_on_batch, vae.test_on_batch):
            with pytest.raises(ValueError, match=rf"compile.{next(iter(options))}=\.\.\..*Leave them out.*objective"):
                method(CLEAN)
        vae.compile("adam")
        vae.fit(CLEAN, verbose=0)

    def test_monitors_know_which_way_is_better(self, tmp_path):
        made = [
            keras.callbacks.EarlyStopping("val_elbo", patience=5),
            keras.callbacks.ReduceLROnPlateau("val_log_likelihood", patience=1, min_delta=1e9, factor=0.5),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_kl", save_best_only=True),
            keras.callbacks.EarlyStopping(),
        ]
        vae = compiled()
        vae.fit(CLEAN, validation_data=CLEAN, callbacks=made, epochs=3, verbose=0)
        assert [callback.mode for callback in made] == ["max", "max", "min", "min"]
        assert float(vae.optimizer.learning_rate) < 1e-3
        bound = make_vae(objective=objectives.ImportanceWeighted(2))
        bound.compile("adam")
        stopping = keras.callbacks.EarlyStopping("val_bound", patience=5)
        bound.fit(CLEAN, validation_split=0.5, callbacks=[stopping], verbose=0)
        assert stopping.mode == "max"

    @pytest.mark.parametrize(
        "callback, message",
        [
            (lambda: keras.callbacks.EarlyStopping("val_elbo", mode="max"), "no validation data.*'elbo'"),
            (lambda: keras.callbacks.EarlyStopping(), "'val_loss'.*no validation data"),
            (lambda: keras.callbacks.ReduceLROnPlateau("val_loss"), "no validation data"),
            (lambda: keras.callbacks.ModelCheckpoint("a.keras", "val_elbo", save_best_only=True), "no validation data"),
            (lambda: keras.callbacks.EarlyStopping("accuracy", mode="max"), "'accuracy', which is not logged.*elbo"),
            (lambda: keras.callbacks.EarlyStopping("mmd"), "mode='max' or mode='min'"),
        ],
    )
    def test_monitors_without_a_number_or_a_direction_are_refused_before_training(self, callback, message):
        vae = make_vae(objective=objectives.MMD())
        vae.compile("adam")
        with pytest.raises(ValueError, match=message):
            vae.fit(CLEAN, callbacks=[callback()], verbose=0)
        assert int(vae.step) == 0

    def test_a_checkpoint_in_another_kind_of_file_is_refused_before_training(self, tmp_path):
        vae = compiled()
        with pytest.raises(ValueError, match=r"ends in \.keras"):
            vae.fit(CLEAN, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "x.h5")], verbose=0)
        assert int(vae.step) == 0

    def test_keras_own_export_right_after_fit(self, tmp_path):
        vae = compiled()
        vae.fit(CLEAN, verbose=0)
        vae.export(tmp_path / "folder", verbose=False)
        loaded = tf.saved_model.load(tmp_path / "folder")
        served = loaded.serve(CLEAN[:3])
        np.testing.assert_allclose(served, vae.reconstruct(CLEAN[:3]), atol=1e-6)
        with pytest.raises(ValueError, match=r"keras_vae\.export\.to_saved_model"):
            make_conditional(conditions.Label(3)).export(tmp_path / "other")

    def test_numbers_of_numpy_are_numbers(self, tmp_path):
        vae = make_vae(
            likelihood=likelihoods.Normal(SHAPE, scale=np.float64(0.5)),
            objective=objectives.ELBO(kl_weight=np.float32(2), free_bits=np.float64(0.5), num_samples=np.int64(2)),
            seed=np.int32(3),
            gradient_skip_norm=np.float32(1e6),
        )
        vae.compile("adam")
        vae.fit(CLEAN, verbose=0)
        vae.save(tmp_path / "vae.keras")
        loaded = keras.saving.load_model(tmp_path / "vae.keras")
        assert (loaded.objective.kl_weight, loaded.objective.free_bits, loaded.objective.num_samples) == (2.0, 0.5, 2)
        assert loaded.decoder.likelihood.scale == 0.5 and loaded.seed == 3
