"""The model as users meet it: fit, evaluate, sample, save, load; and its numbers against known answers."""

import copy

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp
from small_models import compiled, make_vae

import keras_vae as kv
from keras_vae import likelihoods, networks, objectives

tfd = tfp.distributions
NAMES = {"loss", "elbo", "log_likelihood", "kl"}


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
    monkeypatch.setattr("keras_vae.models.inference.CHUNK_VALUES", 256 * 300)
    np.testing.assert_allclose(vae.log_prob(digits[:4], num_samples=4000), at_once, atol=0.3)


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


def test_summary_counts_all_weights(capsys):
    vae = make_vae()
    vae.build()
    vae.summary()
    shown = capsys.readouterr().out
    assert f"{sum(w.size for w in vae.get_weights()) - 2:,}" in shown  # the two are counters


def test_numbers_of_the_objective_that_nobody_gave_are_part_of_the_model(tmp_path):
    vae = make_vae(seed=1)
    vae.build()
    vae.objective.kl_weight = 0.25
    vae.save(tmp_path / "vae.keras")
    copies = [kv.load(tmp_path / "vae.keras"), keras.models.clone_model(vae), copy.deepcopy(vae)]
    assert [float(each.objective.kl_weight) for each in copies] == [0.25] * 3
