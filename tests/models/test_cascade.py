"""CascadeVAE: the assignment, the cascade, and the model around them."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import export, likelihoods, networks, objectives, posteriors, priors
from keras_vae.evaluation import disentanglement
from keras_vae.evaluation.aggregate import aggregate_posterior
from keras_vae.evaluation.statistics import is_flat
from keras_vae.models import cascade_vae

RNG = np.random.default_rng(0)


def test_the_assignment_is_that_of_brute_force():
    for size, classes, pair_cost in itertools.product((1, 3, 6), (2, 3), (0.0, 0.3, 2.0)):
        unary = RNG.standard_normal((size, classes))

        def value(codes, unary=unary, size=size, pair_cost=pair_cost):
            pairs = sum(codes[i] == codes[j] for i in range(size) for j in range(i))
            return unary[np.arange(size), list(codes)].sum() - pair_cost * pairs

        found = cascade_vae.assign(unary, pair_cost)
        best = max(value(codes) for codes in itertools.product(range(classes), repeat=size))
        assert value(found) == pytest.approx(best)
        assert found.dtype == np.int64


def test_without_a_cost_each_takes_its_best_and_with_a_high_one_all_classes_are_used():
    unary = RNG.standard_normal((12, 3)).astype("float32")
    np.testing.assert_array_equal(cascade_vae.assign(unary, 0.0), unary.argmax(axis=1))
    np.testing.assert_array_equal(np.bincount(cascade_vae.assign(unary, 1e4)), [4, 4, 4])
    assert cascade_vae.assign(np.full((4, 2), np.nan), 0.1).tolist() == [0, 0, 0, 0]


# Three patterns, a discrete factor, at brightnesses that are a continuous one.
PATTERNS = np.zeros((3, 8), "float32")
PATTERNS[0, :4] = PATTERNS[1, 4:] = PATTERNS[2, ::2] = 1.0
LABELS = np.tile([0, 1, 2], 64)
X = (PATTERNS[LABELS] * RNG.uniform(0.3, 1.0, (192, 1))).astype("float32")


def make(num_classes=3, switch_on=40, stage=20, **options):
    return kv.CascadeVAE(
        kv.Encoder(networks.mlp([32]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([32]), likelihoods.Normal((8,), scale=0.1)),
        priors.StandardNormal(2),
        objectives.InformationCascade(low=1.0, stage=stage),
        seed=0,
        num_classes=num_classes,
        switch_on=switch_on,
        **options,
    )


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    vae = make(switch_on=20)
    vae.compile(keras.optimizers.Adam(5e-3))
    history = vae.fit(X, batch_size=64, epochs=100, validation_data=X, validation_freq=20, verbose=0).history
    return vae, history


def test_the_code_finds_the_discrete_factor(trained):
    vae, history = trained
    assert history["released"][0] == 1.0 and history["released"][-1] == 2.0
    z = np.asarray(vae.encode(X).mean())
    assert z.shape == (192, 5)
    # A mean is a softmax, whose 1 is not exact on every processor.
    codes = z[:, 2:].round()
    np.testing.assert_allclose(z[:, 2:], codes, atol=1e-6)
    assert set(np.unique(codes)) == {0.0, 1.0} and np.all(codes.sum(axis=1) == 1)
    assert disentanglement.unsupervised_accuracy(codes.argmax(axis=1), LABELS) > 0.6
    # The best of the three at the mean of z, by a loop over classes and examples.
    unary = np.stack([vae.decode(np.c_[z[:, :2], np.tile(e, (192, 1))]).log_prob(X) for e in np.eye(3)], axis=1)
    np.testing.assert_array_equal(codes.argmax(axis=1), unary.argmax(axis=1))
    np.testing.assert_allclose(vae.decode(z).mean(), vae.reconstruct(X), atol=1e-5)
    drawn = vae.generate(6, seed=0)
    assert drawn.z.shape == (6, 5) and np.all(drawn.z[:, 2:].numpy().sum(axis=1) == 1)


def test_the_code_is_part_of_what_pictures_and_reports_see(trained):
    vae, _ = trained
    assert is_flat(vae)
    found = aggregate_posterior(vae, X, num_examples=32)
    # The code is certain, and one of three.
    assert 0.0 < found.mutual_information <= math.log(32) + 1e-4 and found.total_correlation is None
    with pytest.raises(ValueError, match="discrete latents do not have"):
        kv.evaluation.annealed_importance_sampling(vae, X)


def test_the_elbo_is_a_bound_with_the_code_in_it(trained):
    vae, history = trained
    terms = vae.infer(X, seed=0)
    normal, code = terms.groups
    np.testing.assert_allclose(code.kl, np.log(3.0), rtol=1e-5)
    np.testing.assert_allclose(terms.kl, normal.kl + np.log(3.0), rtol=1e-5)
    assert vae.kl_is_exact
    bound = vae.log_prob(X[:20], num_samples=500).mean()
    elbo = vae.evaluate(X[:20], return_dict=True, verbose=0)["elbo"]
    assert bound > elbo - 0.2
    assert history["val_elbo"][-1] > history["val_elbo"][0]


def test_before_the_switch_on_the_decoder_sees_no_code():
    vae = make(switch_on=3)
    vae.build()
    first = vae.infer(X[:8], seed=0, training=True).likelihood.mean()
    terms = vae.infer(X[:8], seed=0)
    expected = vae.decode(tf.concat([terms.groups[0].z, tf.zeros([1, 8, 3])], axis=-1)).mean()
    np.testing.assert_allclose(first, expected, atol=1e-6)
    assert not vae.generate(5, seed=0).z[:, 2:].numpy().any()
    vae.step.assign(3)
    assert vae.generate(5, seed=0).z[:, 2:].numpy().any()
    assert np.abs(vae.infer(X[:8], seed=0, training=True).likelihood.mean() - first).max() > 1e-4


def test_the_training_code_is_the_assignment_of_the_batch():
    vae = make(switch_on=0, pair_cost=1e4)
    vae.build()
    terms = vae.infer(X[:12], seed=0, training=True)
    unary = vae.unary(X[:12], terms.groups[0].z).numpy()
    found = terms.groups[1].z[0].numpy().argmax(axis=1)
    np.testing.assert_array_equal(found, cascade_vae.assign(unary, 1e4))
    np.testing.assert_array_equal(np.bincount(found), [4, 4, 4])


def test_weights_follow_the_stages():
    objective = objectives.InformationCascade(low=0.5, high=10.0, stage=5)
    vae = make()
    vae.build()
    terms = vae.infer(X[:16], seed=0)
    per_dim = terms.groups[0].kl_per_dim.numpy().mean(axis=0)
    distortion = -terms.log_likelihood.numpy().mean()
    for step, weights in ((0, (0.5, 10)), (4, (0.5, 10)), (5, (0.5, 0.5)), (1000, (0.5, 0.5))):
        loss, extra = objective(terms, tf.constant(step, tf.int64))
        assert float(loss) == pytest.approx(distortion + per_dim @ weights, rel=1e-4)
        assert extra["released"] == sum(w == 0.5 for w in weights)
    waiting = objectives.InformationCascade(stage=5, released=0)
    assert [int(waiting.num_released(tf.constant(step), 2)) for step in (0, 4, 5, 10, 99)] == [0, 0, 1, 2, 2]


def released_by_the_authors(step, stage, latents, code_from):
    """How many weights of their loss are low: `run_batch` of CascadeVAE/model.py, or of CascadeVAE-C without a code."""
    train_idx = step // stage
    if code_from is None:
        return min(train_idx, latents - 1) + 1
    return min(train_idx, latents) if train_idx >= code_from else min(train_idx + 1, latents)


@pytest.mark.parametrize("code_from", [None, 0, 1, 2, 3, 9])
def test_latents_are_released_as_in_both_models_of_the_authors(code_from):
    stage, latents = 5, 4
    vae = kv.CascadeVAE(
        kv.Encoder(networks.mlp([]), posteriors.MultivariateNormalDiag(latents)),
        kv.Decoder(networks.mlp([]), likelihoods.Normal((8,))),
        priors.StandardNormal(latents),
        objectives.InformationCascade(stage=stage),
        num_classes=None if code_from is None else 3,
        switch_on=stage * (code_from or 0),
    )
    vae.build()
    for step in range(60):
        vae.step.assign(step)
        released = vae.objective.num_released(vae.objective_step(), latents)
        assert released == released_by_the_authors(step, stage, latents, code_from), step


def test_a_switch_on_within_a_stage_takes_nothing_back():
    vae = make(switch_on=13, stage=5)
    vae.build()
    counts = []
    for step in range(40):
        vae.step.assign(step)
        counts.append(int(vae.objective.num_released(vae.objective_step(), 9)))
    assert np.all(np.diff(counts) >= 0) and counts[12] == counts[16] == 3 and counts[20] == 4


def iterations(vae):
    """The optimizer's count of steps after each of twelve batches."""
    counts = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            counts.append(int(self.model.optimizer.iterations))

    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)))
    vae.fit(X, batch_size=16, epochs=1, shuffle=False, verbose=0, callbacks=[Count()])
    return counts


def test_the_optimizer_starts_afresh_at_a_release_and_only_there():
    # Step 4 releases the second latent of two; nothing is left for step 8.
    assert iterations(make(num_classes=None, stage=4)) == [1, 2, 3, 4, *range(1, 9)]
    # The code begins at step 4, and the second latent waits for step 8.
    assert iterations(make(switch_on=4, stage=4)) == [*range(1, 9), 1, 2, 3, 4]


@pytest.mark.slow
def test_it_is_saved_loaded_resumed_and_exported(trained, tmp_path):
    vae, _ = trained
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, kv.CascadeVAE) and loaded.pair_cost == 0.001
    np.testing.assert_array_equal(loaded.sample(4, seed=1), vae.sample(4, seed=1))
    np.testing.assert_array_equal(loaded.encode(X).mean(), vae.encode(X).mean())
    data = tf.data.Dataset.from_tensor_slices(X).batch(64)
    copies = [keras.saving.load_model(tmp_path / "vae.keras") for _ in range(2)]
    for copy in copies:
        copy.fit(data, epochs=1, verbose=0)
    for a, b in zip(copies[0].weights, copies[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    report = export.to_saved_model(loaded, tmp_path / "serving")
    assert report.ok and not report.left_out


def test_a_cascade_without_a_code_is_a_plain_model():
    vae = make(num_classes=None)
    vae.compile()
    vae.fit(X, epochs=1, verbose=0)
    assert vae.sample(2, seed=0).shape == (2, 8) and vae.prior.latent_dim == 2
    assert vae.supports_jit and not make().supports_jit


def test_other_objectives_and_numbers_are_refused():
    arguments = (
        kv.Encoder(networks.mlp([8]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([8]), likelihoods.Normal((8,))),
        priors.StandardNormal(2),
    )
    with pytest.raises(ValueError, match="InformationCascade, not ELBO"):
        kv.CascadeVAE(*arguments, objectives.ELBO())
    with pytest.raises(ValueError, match="switch_on"):
        kv.CascadeVAE(*arguments, switch_on=-1)
    with pytest.raises(ValueError, match="stage must be an int"):
        objectives.InformationCascade(stage=0)
    with pytest.raises(ValueError, match="num_classes"):
        kv.CascadeVAE(*arguments, num_classes=1)
