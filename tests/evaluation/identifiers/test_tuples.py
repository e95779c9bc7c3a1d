"""Identifiers by hand, and those of a model."""

import numpy as np
import pytest
from scipy import stats
from small_models import make_vae

import keras_vae as kv
from keras_vae import evaluation, likelihoods, networks, posteriors, priors
from keras_vae.evaluation.identifiers.tuples import SemanticIDs

DIGITS = np.array([[0, 1], [0, 1], [2, 1], [0, 3], [2, 1], [0, 1]], np.int32)


def test_numbers_of_identifiers_are_those_by_hand():
    ids = SemanticIDs(DIGITS, num_codes=4)
    assert len(ids) == 6 and ids.num_distinct == 3
    assert ids.collision_rate == pytest.approx(5 / 6)
    assert ids.entropies == pytest.approx([stats.entropy([4, 2], base=2), stats.entropy([5, 1], base=2)])
    assert ids.joint_entropy == pytest.approx(stats.entropy([3, 2, 1], base=2))
    assert ids.usage == [0.5, 0.5]
    assert "83.33%" in str(ids) and ids.as_dict()["num_distinct"] == 3
    alone = SemanticIDs(DIGITS[3:4], num_codes=4)
    assert alone.collision_rate == 0.0 and alone.joint_entropy == 0.0


def test_a_last_digit_counts_those_before_with_the_same_others():
    distinct = SemanticIDs(DIGITS, num_codes=4).distinct()
    np.testing.assert_array_equal(distinct[:, :2], DIGITS)
    assert distinct[:, 2].tolist() == [0, 1, 0, 0, 1, 2]
    assert len(np.unique(distinct, axis=0)) == 6


def test_those_of_a_model_are_the_indices_of_its_codes():
    posterior = posteriors.Residual(posteriors.VectorQuantized(4, (1, 1), num_codes=5), 3)
    vae = kv.VAE(
        kv.Encoder(networks.mlp([8]), posterior),
        kv.Decoder(networks.mlp([8]), likelihoods.Normal((6,))),
        priors.UniformCodes.of(posterior),
    )
    x = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
    vae.compile("adam")
    vae.fit(x, epochs=1, verbose=0)
    ids = evaluation.semantic_ids(vae, x)
    assert ids.digits.dtype == np.int32 and ids.digits.shape == (50, 3) and ids.num_codes == 5
    np.testing.assert_array_equal(ids.digits, np.asarray(vae.encode(x).indices).reshape(50, 3))
    # And back: the digits alone say what is decoded.
    z = posterior.lookup(ids.digits.reshape(50, 1, 3))
    np.testing.assert_allclose(vae.decode(z).mean(), vae.reconstruct(x), atol=1e-6)
    report = evaluation.evaluate(vae, x, num_samples=2, verbose=False)
    assert report["test"]["semantic_ids"]["collision_rate"] == ids.collision_rate
    with pytest.raises(ValueError, match="no data"):
        evaluation.semantic_ids(vae, x[:0])


def test_a_model_without_codes_has_none():
    with pytest.raises(ValueError, match="MultivariateNormalDiag has no codes"):
        evaluation.semantic_ids(make_vae(), np.zeros((2, 8, 8, 1), "float32"))
