"""A model of data with missing values goes out with them: what is there counts, in every signature that sees x."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from small_models import make_vae

from keras_vae import export, likelihoods, networks


@pytest.fixture(scope="module")
def model():
    vae = make_vae(networks.mlp, (8,), (4, 4, 1), 2, likelihoods.Normal((4, 4, 1)), missing=True, seed=0)
    x = np.random.default_rng(0).random((20, 4, 4, 1)).astype("float32")
    x[:, :2], x[1] = np.nan, np.nan
    vae.compile("adam")
    vae.fit(x, epochs=1, verbose=0)
    return vae, x


def expected(vae, x, z):
    return {
        "encode": ("loc", np.asarray(vae.encode(x).mean()), {"x": x}),
        "reconstruct": ("mean", vae.reconstruct(x), {"x": x}),
        "log_likelihood": ("log_likelihood", np.asarray(vae.decode(z).log_prob(x)), {"x": x, "z": z}),
    }


@pytest.mark.slow
def test_a_saved_model_takes_missing_values(model, tmp_path):
    vae, x = model
    export.to_saved_model(vae, tmp_path / "model")
    signatures = tf.saved_model.load(tmp_path / "model" / "1").signatures
    for name, (output, value, given) in expected(vae, x, np.ones((20, 2), "float32")).items():
        found = signatures[name](**{key: tf.constant(array) for key, array in given.items()})[output]
        assert np.asarray(found) == pytest.approx(value, abs=1e-4), name
        assert np.isfinite(value).all()


@pytest.mark.slow
def test_a_file_for_devices_takes_missing_values(model, tmp_path):
    vae, x = model
    export.to_tflite(vae, tmp_path / "model.tflite")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    for name, (output, value, given) in expected(vae, x[:1], np.ones((1, 2), "float32")).items():
        found = interpreter.get_signature_runner(f"{name}_1")(**given)[output]
        assert found == pytest.approx(value, abs=1e-4), name
