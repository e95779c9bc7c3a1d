"""Codes in an export: the same indices in Keras, in the SavedModel and in the TFLite file, and back to the images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_vae as kv
from keras_vae import export, likelihoods, networks, objectives, posteriors, priors
from keras_vae.export.proof import battery, fresh
from keras_vae.export.proof.fresh import Call

GRID = (2, 2)
# Beyond this part of the indices, differences are no ties.
TIES = 2e-3
KINDS = {
    "rotation": lambda: posteriors.VectorQuantized(16, GRID, 32, cosine=True, through="rotation"),
    "levels": lambda: posteriors.FiniteScalar([5, 4, 4], GRID),
    "signs": lambda: posteriors.LookupFree(6, GRID),
    "residual": lambda: posteriors.Residual(posteriors.VectorQuantized(16, GRID, 32), 3),
    "grouped": lambda: posteriors.Grouped(posteriors.FiniteScalar([4, 4], GRID), 2),
}
EVERYDAY = "residual"


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

    report = export.to_saved_model(vae, tmp_path / "served")
    assert report.ok and not report.left_out
    served = tf.saved_model.load(report.path).signatures
    found = served["encode_indices"](x=tf.constant(x[:1000]))["indices"].numpy()
    assert found.dtype == np.int32 and np.mean(found != expected) <= TIES
    images = served["decode_indices"](indices=tf.constant(expected))["mean"]
    np.testing.assert_allclose(images, vae.reconstruct(x[:1000]), atol=1e-4)
    wrong = expected[:3].copy()
    wrong[1].flat[0] = posterior.num_codes
    images = served["decode_indices"](indices=tf.constant(wrong))["mean"].numpy()
    assert np.isnan(images[1]).all() and np.isfinite(images[[0, 2]]).all()
    if kind == "residual":
        assert "2 x 2 vectors of 4 numbers each of 3 codes out of 32" in " ".join(report.notes)

    assert export.to_tflite(vae, tmp_path / "vae.tflite").ok
    size = battery.BATCHES[-1]
    calls = [Call(f"encode_indices_{size}", {"x": x[start : start + size]}) for start in range(0, 960, size)]
    found = np.concatenate([result.outputs["indices"] for result in fresh.run(tmp_path / "vae.tflite", calls).results])
    assert np.mean(found != expected[: len(found)]) <= TIES
    assert export.verify(tmp_path / "vae.tflite").ok and export.verify(tmp_path / "served").ok


def test_of_integers_a_few_ties_are_no_error():
    indices = np.arange(4000, dtype="int32")
    other = indices.copy()
    other[:3] += 7
    assert battery.errors({"indices": other}, {"indices": indices}) == (0.0, 0.0)
    other[:9] += 1
    assert battery.errors({"indices": other}, {"indices": indices})[0] > 0
