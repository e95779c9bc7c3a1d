"""The callbacks inside `fit`."""

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import callbacks, likelihoods, networks, objectives, posteriors, priors


def make(objective=None) -> kv.VAE:
    vae = kv.VAE(
        kv.Encoder(networks.mlp([16]), posteriors.MultivariateNormalDiag(2)),
        kv.Decoder(networks.mlp([16]), likelihoods.Bernoulli((8, 8, 1))),
        priors.StandardNormal(2),
        objective,
        seed=0,
    )
    vae.compile(optimizer=keras.optimizers.Adam(5e-3))
    return vae


def test_each_finding_is_printed_once(digits):
    lines = []
    callback = callbacks.Diagnosis(digits[:200], every=1, write=lines.append)
    make(objectives.ELBO(kl_weight=50.0)).fit(digits[:500], epochs=5, verbose=0, callbacks=[callback])
    assert [finding.name for finding in callback.findings] == ["posterior_collapse"]
    collapses = [line for line in lines if "posterior collapse" in line]
    assert len(collapses) == 1
    assert collapses[0].startswith("epoch ")


def test_nothing_is_printed_of_a_healthy_model(digits):
    lines = []
    callback = callbacks.Diagnosis((digits[:200], None), every=7, write=lines.append)
    make().fit(digits[:1200], epochs=8, verbose=0, callbacks=[callback])
    assert lines == []
    assert callback.findings == []


def test_broken_numbers_are_found_at_once(digits):
    lines = []
    vae = make()
    callback = callbacks.Diagnosis(digits[:50], every=100, write=lines.append)
    callback.set_model(vae)
    callback.on_epoch_end(0, {"loss": float("nan")})
    assert len(lines) == 1
    assert "nonfinite: The last value of loss" in lines[0]


def test_pictures_are_written_for_tensorboard(digits, tmp_path):
    callback = callbacks.TensorBoardPictures(tmp_path, digits, every=2, n=4)
    make().fit(digits[:128], epochs=3, verbose=0, callbacks=[callback])
    (path,) = tmp_path.iterdir()
    values = []
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        values += [(event.step, value) for value in event.summary.value]
    assert [(step, value.tag) for step, value in values] == [(2, "samples"), (2, "reconstructions")]
    for _, value in values:
        assert value.metadata.plugin_data.plugin_name == "images"
        width, height, png = value.tensor.string_val
        (tmp_path / "x.png").write_bytes(png)
        with PIL.Image.open(tmp_path / "x.png") as image:
            assert image.size == (int(width), int(height))


def test_refusals(digits, tmp_path):
    with pytest.raises(ValueError, match="every"):
        callbacks.Diagnosis(digits, every=0)
    with pytest.raises(ValueError, match="every"):
        callbacks.TensorBoardPictures(tmp_path, digits, every=0)
    with pytest.raises(ValueError, match="no data"):
        callbacks.Diagnosis(np.zeros((0, 8, 8, 1), "float32"))
