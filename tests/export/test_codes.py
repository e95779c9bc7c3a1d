"""Codes in an export: the same indices in Keras, in the SavedModel and in the TFLite file, and back to the images."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import export, likelihoods, networks, objectives, posteriors, priors
from keras_vae.distributions.codes.codebooks import Codebook, Levels, Listed, Products, Stages
from keras_vae.export.proof import battery, verify
from keras_vae.export.proof.fresh import Call, Result
from keras_vae.export.proof.on_examples import indices
from keras_vae.export.proof.report import Report

GRID = (2, 2)
KINDS = {
    "rotation": lambda: posteriors.VectorQuantized(16, GRID, 32, cosine=True, through="rotation"),
    "levels": lambda: posteriors.FiniteScalar([5, 4, 4], GRID),
    "signs": lambda: posteriors.LookupFree(6, GRID),
    "residual": lambda: posteriors.Residual(posteriors.VectorQuantized(16, GRID, 32), 3),
    "grouped": lambda: posteriors.Grouped(posteriors.FiniteScalar([4, 4], GRID), 2),
}
EVERYDAY = "levels"


@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k == EVERYDAY else pytest.mark.slow) for k in KINDS])
def test_indices_of_a_thousand_images_are_the_same_everywhere(kind, tmp_path):
    x = (load_digits().images[..., None] / 16).astype("float32")
    keras.utils.set_random_seed(0)
    posterior = KINDS[kind]()
    vae = kv.VAE(
        kv.Encoder(networks.mlp([32]), posterior),
        kv.Decoder(networks.mlp([32]), likelihoods.Normal((8, 8, 1))),
        priors.AutoregressiveCodes.of(posterior, units=8, num_layers=1, num_heads=1),
        objectives.CommittedELBO(),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(3e-3))
    vae.fit(x[1000:], epochs=2, batch_size=64, verbose=0)
    expected = np.reshape(vae.encode(x[:1000]).indices, (1000, *posterior.indices_shape))
    assert len(np.unique(expected)) > 10
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(np.reshape(loaded.encode(x[:1000]).indices, expected.shape), expected)

    report = export.to_saved_model(vae, tmp_path / "served", examples=x[:1000])
    assert report.ok and not report.left_out
    said = f"{expected.size:,} indices of 1,000 held-out examples are those of Keras"
    assert said in " ".join(report.notes) and report.errors["encode_indices"]["examples, max"] <= 1e-5
    served = tf.saved_model.load(report.path).signatures
    assert served["encode_indices"](x=tf.constant(x[:1]))["indices"].dtype == tf.int32
    images = served["decode_indices"](indices=tf.constant(expected))["mean"]
    np.testing.assert_allclose(images, vae.reconstruct(x[:1000]), atol=1e-4)
    wrong = expected[:3].copy()
    wrong[1].flat[0] = posterior.num_codes
    images = served["decode_indices"](indices=tf.constant(wrong))["mean"].numpy()
    assert np.isnan(images[1]).all() and np.isfinite(images[[0, 2]]).all()
    if kind == "residual":
        assert "2 x 2 vectors of 4 numbers each of 3 codes out of 32" in " ".join(report.notes)

    file = tmp_path / "vae.tflite"
    report = export.to_tflite(vae, file, examples=tf.data.Dataset.from_tensor_slices(x[:1000]).batch(100))
    assert said in " ".join(report.notes)
    # What the decoder makes of codes is at hand, too, where there are no data.
    assert "1,000 examples that the decoder made" in " ".join(export.verify(file, against=vae).notes)
    assert export.verify(tmp_path / "served").ok
    for part in posterior.leaves():
        # Of a model with another code the indices of the file are wrong, and no ties.
        for weight in part.weights:
            if weight.name == "sums":
                weight.assign(np.concatenate([weight[1:] * 1.1, weight[:1]]))
            elif weight.name == "center":
                weight.assign(weight + 0.1)
    with pytest.raises(export.VerificationError, match=r"indices of 1,000 held-out examples: .* are no ties"):
        export.verify(file, against=vae, examples=x[:1000])


CODEBOOKS = {
    "listed": Listed(tf.constant([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])),
    "levels": Levels([2, 3], [-1.0, -1.0], [2.0, 1.0]),
}


def test_a_tie_is_told_by_the_distance_to_the_plane_between_two_codes():
    listed, levels = CODEBOOKS.values()
    for shift in (1e-6, 0.2, 0.7):
        v = np.array([[1.0 + shift, 0.0]])
        assert listed.gaps(v, np.array([0])) == pytest.approx(shift) and listed.gaps(v, np.array([1])) == 0.0
        v = np.array([[-0.9, 0.5 + shift]])
        assert levels.gaps(v, np.array([2])) == pytest.approx(shift)
        assert levels.gaps(v, np.array([4])) == 0.0
        # Of the second stage in units of the first; the first one is right.
        stages = Stages([levels, levels], [1.0, 0.25], [0.0, 0.0])
        v = np.array([[1.0 - 0.2, 0.0 + 0.125 + shift / 10]])
        found = stages.gaps(v, np.array([[3, 2]]))
        np.testing.assert_allclose(found, [[0.0, shift / 10]], atol=1e-9)
        products = Products([levels, listed])
        found = products.gaps(np.array([[-0.9, 0.5 + shift, 1.0 + shift, 0.0]]), np.array([[2, 0]]))
        np.testing.assert_allclose(found, [[shift, shift]], rtol=1e-6)


@pytest.mark.parametrize("name", CODEBOOKS)
def test_what_is_nearest_has_no_gap_and_everything_else_has_one(name):
    codes = CODEBOOKS[name]
    v = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    nearest = np.asarray(codes.nearest(tf.constant(v)))
    distances = np.linalg.norm(v[:, np.newaxis] - np.asarray(codes.lookup(tf.range(codes.num_codes))), axis=-1)
    for index in range(codes.num_codes):
        gaps, general = (of(codes, v, np.full(200, index)) for of in (type(codes).gaps, Codebook.gaps))
        np.testing.assert_array_equal(gaps > 1e-6, distances[:, index] > distances.min(axis=1) + 1e-6)
        np.testing.assert_array_equal(general > 1e-6, nearest != index)


def test_an_index_that_is_wrong_without_a_tie_is_an_error():
    codes = CODEBOOKS["listed"]
    vectors = np.array([[[1.0 + 1e-7, 0.0], [0.1, 0.0]], [[0.0, 2.9], [1.9, 0.1]]])
    right = np.array([[1, 0], [2, 1]], "int32")
    known = indices.Indices({}, right, vectors, codes)
    for place, wrong, least, most in (
        (0, 0, 0.0, 1e-6),
        (1, 1, 0.2, 0.4),
        (1, 3, np.inf, np.inf),
        (1, -1, np.inf, np.inf),
    ):
        other = right.copy()
        other[0, place] = wrong
        largest, _ = battery.errors({"indices": other}, {"indices": right}, known)
        assert least <= largest <= most, (place, wrong, largest)
        # Where nobody knows the vectors, nothing is taken for a tie.
        assert battery.errors({"indices": other}, {"indices": right})[0] >= 0.25
        report = Report(Path(), "tflite")
        result = Result("OK", "", [], {"indices": other})
        known.judge(report, [Call("encode_indices", {})], [result], verify.TOLERANCE)
        assert report.ok == (most <= 1e-5)
    assert battery.errors({"indices": right}, {"indices": right}, known) == (0.0, 0.0)
